"""The intrinsic anomalous Hall conductivity: the Berry curvature of the occupied levels, integrated over the zone.

sigma_xy = -(e^2/hbar) int d^dk/(2 pi)^d sum_n f_n Omega^z_n, e > 0; of an insulating layer -C e^2/h with the Chern number
C = (1/2 pi) int d^2k sum_n Omega^z_n.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import CONDUCTANCE
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.against_fermi import AgainstFermi, FermiScan, spins_of_levels, values_of
from postprocess.geometry.allowed import forbidden_components
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.cell_occupation import CellOccupation, LevelEnergies
from postprocess.geometry.geometry import DEGENERATE, Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.geometry.symmetries import OF_LEVELS, OfLevels, Turning, curvatures, tensor_wedge
from postprocess.lattice.mesh import Divisions, Symmetry
from postprocess.lattice.periodic import layer_normal, periodic_directions
from postprocess.states.adaptive import Refinement, half_as_fine, integrate_adaptively
from postprocess.states.batches import evaluate_batches
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.occupation import Occupation
from postprocess.states.wedge import Wedge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_CM = 1e8
"""1/Angstrom in 1/cm."""
TENSOR_AXES = {"curl": -2, "kubo": -2, "watched": -1}
"""Which axis of the sums holds the components of a vector."""
WHOLE = 1e-9
"""Deviation of the number of filled levels between k-points, below which they are equal."""


@dataclass(frozen=True)
class CurvatureOfOccupied:
    """Sums of the curvature over the occupied levels, for several Fermi levels; a BatchQuantity.

    Attributes
    ----------
    fermi_levels : tuple of float
        eV.
    fermi_energy : float
        eV; the mesh is refined for it, and for the others.
    temperature : float
        Of the Fermi-Dirac occupation, Kelvin.
    source : str or None
        Of the positions.
    cells : CellOccupation, optional
        At zero temperature the occupation of a metal, instead of that of the point alone.
    normal : (float, float, float), optional
        Of a layer: the only component that counts where its mesh is refined.
    tolerance : float
        Levels within it are degenerate, eV.
    """

    symmetry: ClassVar[Symmetry] = "none"  # time reversal turns the curvature over, rotations turn it with them
    fermi_levels: tuple[float, ...]
    fermi_energy: float
    temperature: float = 0.0
    source: Source | None = None
    normal: tuple[float, float, float] | None = None
    cells: CellOccupation | None = None
    tolerance: float = DEGENERATE

    def in_cells(self, moment: FloatArray) -> "CurvatureOfOccupied":
        """The same for points that stand for cells of this second moment."""
        if self.cells is None:
            return self
        rows = [(float(a), float(b), float(c)) for a, b, c in moment]
        return replace(self, cells=replace(self.cells, moment=tuple(rows)))

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``curl`` and ``kubo`` (n_k, 3, 1 + m) in Angstrom^2, at the Fermi energy, then at all others.

        And ``watched`` (n_k, 1 + m, 3), the first one alone if there is but one more; ``filled``: levels below it, and this squared.
        """
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))
        every = np.array([self.fermi_energy, *self.fermi_levels])

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin, tolerance=self.tolerance)
            curl, kubo = g.curvatures()
            alone = Occupation(0.0, self.temperature)
            f = alone(g.energies[:, :, None] - every) if self.cells is None else self.cells(g, every)
            out = {"curl": curl @ f, "kubo": kubo @ f}
            watched = out["curl"].swapaxes(1, 2)[:, : None if len(self.fermi_levels) > 1 else 1]
            if self.normal is not None:
                watched = (watched @ np.array(self.normal))[..., None] * self.normal
            filled = (g.energies < self.fermi_energy).sum(axis=1).astype(float)
            counts = np.stack([filled, filled**2], axis=1)
            return out | {"watched": watched, "filled": counts}

        return compute


@dataclass(frozen=True, kw_only=True, repr=False)
class HallConductivity(AgainstFermi):
    """Anomalous Hall conductivity against the Fermi level; components yz, zx, xy in S/cm of a crystal, in e^2/h the one in a layer.

    Attributes
    ----------
    values : (m, c) array
        From the curvature as ``curl``.
    sigma_kubo : (m, c) array
        From the curvature as ``kubo``.
    chern : float or None
        -sigma in e^2/h of a layer at zero temperature, if equally many levels are filled at all k-points; a whole number up to the
        convergence.
    """

    sigma_kubo: FloatArray
    chern: float | None

    @property
    def sigma(self) -> FloatArray:
        """The values."""
        return self.values

    @property
    def difference(self) -> float:
        """Largest difference of ``curl`` and ``kubo`` in all numbers: what the orbitals cannot hold of r|u>."""
        return float(np.abs(self.sigma - self.sigma_kubo).max())

    def plot(self, **options: Any) -> "Axes":
        """Draw sigma against the Fermi level; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.berry_plot import plot_hall

        return plot_hall(self, **options)

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.berry_tables import write_hall

        write_hall(path, self)


def hall_conductivity(
    hamiltonian: Hamiltonian,
    fermi: FermiLevel,
    divisions: Divisions | None = None,
    *,
    scan: FermiScan | None = None,
    source: Source | None = None,
    refinement: Refinement | None = None,
    jobs: Jobs | None = None,
    title: str = "",
) -> HallConductivity:
    """The intrinsic anomalous Hall conductivity; both spins of each level are counted.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Periodic in two or three directions; H and S are made Hermitian.
    fermi : FermiLevel
        The Fermi energy.
    divisions : tuple of 3 int, optional
        Of the mesh.
    scan : FermiScan, optional
        Further Fermi levels, and the temperature.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    refinement, jobs
        See :func:`postprocess.states.adaptive.integrate_adaptively`.
    title : str
        Name for legends and tables.

    Raises
    ------
    UsageError
        If the structure is periodic in less than two directions, or a number is out of range.
    DataError
        As :func:`postprocess.geometry.positions.find_positions`.
    """
    hamiltonian, scan = hermitian(hamiltonian), scan or FermiScan()
    components, project, unit = tensor_components(hamiltonian)
    energies = scan.energies(fermi)
    normal = layer_normal(hamiltonian)
    directions = np.eye(3) if normal is None else normal[None]
    across = None if normal is None else (float(normal[0]), float(normal[1]), float(normal[2]))
    quantity = CurvatureOfOccupied(tuple(energies.tolist()), fermi.energy, scan.temperature, source, across)
    mesh = make_mesh(hamiltonian, divisions, symmetry="none").divisions
    turning = Turning(("axial",), (directions,), "odd", OF_LEVELS)
    wedge = tensor_wedge(hamiltonian, OfLevels(curvatures, source), ("values",), turning, math.prod(mesh), jobs)
    if not scan.temperature:
        quantity = replace(quantity, cells=_cells(hamiltonian, mesh, wedge, jobs))
    options: dict[str, Any] = {
        "refinement": refinement,
        "jobs": jobs,
        "wedge": wedge,
        "tensor_axes": TENSOR_AXES,
        "in_cells": quantity.in_cells,
    }
    integral = integrate_adaptively(hamiltonian, quantity, divisions, watched="watched", **options)
    both = spins_of_levels(hamiltonian)

    def sigma(stage: Result, name: str = "curl") -> FloatArray:
        return np.asarray(-both * project @ stage[name].sum(axis=0)).T

    found = values_of(integral, sigma)
    count, squared = np.moveaxis(integral.value["filled"], -1, 0)
    insulating = bool((np.abs(squared - count**2) < WHOLE * (1 + squared)).all())
    return HallConductivity(
        what="anomalous Hall conductivity", energies=energies, sigma_kubo=sigma(integral.value, "kubo")[1:], components=components,
        forbidden=forbidden_components(hamiltonian, ["axial"], [directions], "odd"), unit=unit, fermi_energy=fermi.energy,
        fermi_origin=fermi.origin, temperature=scan.temperature, positions=find_positions(hamiltonian, source).source, title=title,
        chern=-float(found["at_fermi"][0]) / both if len(components) == 1 and insulating and not scan.temperature else None, **found,
    )  # fmt: skip


def _cells(hamiltonian: Hamiltonian, divisions: Divisions, wedge: Wedge, jobs: Jobs | None) -> CellOccupation:
    """Occupations averaged over cells, with the edges of the levels on every second point of a mesh."""
    k = make_mesh(hamiltonian, half_as_fine(divisions), symmetry="none").points
    k = wedge.keeping(half_as_fine(divisions)).orbits(k).k
    energies = evaluate_batches(hamiltonian, k, LevelEnergies(), jobs=replace(jobs or Jobs(), scratch=None))["energies"]
    edges = np.stack([energies.min(axis=1), energies.max(axis=1)], axis=-1)
    return CellOccupation(((0.0, 0.0, 0.0),) * 3, tuple(tuple((low, high) for low, high in spin) for spin in edges.tolist()))


def tensor_components(hamiltonian: Hamiltonian) -> tuple[tuple[str, ...], FloatArray, str]:
    """Names of the components of sigma, the matrix that makes them of the mean curvature (3,) in Angstrom^2, and their unit.

    Raises
    ------
    UsageError
        If the structure is periodic in less than two directions.
    """
    periodic, cell = np.array(periodic_directions(hamiltonian)), hamiltonian.system.cell
    if periodic.sum() < 2:
        raise UsageError(f"a Hall conductivity takes two or three periodic directions; {hamiltonian.system.formula} has {periodic.sum()}")
    normal = layer_normal(hamiltonian)
    if normal is None:
        per_volume = 2 * np.pi * CONDUCTANCE * PER_CM / abs(np.linalg.det(cell))
        return ("yz", "zx", "xy"), per_volume * np.eye(3), "S/cm"
    axis, area = int(np.argmax(np.abs(normal))), float(np.linalg.norm(np.cross(*cell[periodic])))
    name = ("yz", "zx", "xy")[axis] if normal[axis] > 1 - 1e-6 else "in plane"
    return (name,), 2 * np.pi / area * normal[None], "e^2/h"
