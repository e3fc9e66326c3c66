"""Densities of states: total and projected, on k meshes or by the kernel polynomial method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.options import SolverOptions
from postprocess.lattice.mesh import KMesh
from postprocess.states.fermi import FermiLevel, fermi_from_count, gap_around, given_or_stored, known_electrons
from postprocess.states.kjobs import Jobs
from postprocess.states.mesh_levels import MeshLevels, compute_mesh_levels
from postprocess.states.orbital_groups import Projections
from postprocess.states.smearing import SmearedCount
from postprocess.states.tetrahedra import StateCount, TetrahedronCount

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Method = Literal["tetrahedron", "gaussian", "kpm"]
METHODS = ("tetrahedron", "gaussian", "kpm")
TOTAL = "total"
NEAR = 5e-4
"""Half of the interval, in eV, whose mean is the density at the Fermi level."""


@dataclass(frozen=True)
class DOS(Savable):
    """Density of states and what it is made of, per cell.

    Every value is the mean over the interval of its energy, so the sum times the distance of the energies is the number of states between
    the first and the last interval, van Hove singularities and flat bands included.

    Attributes
    ----------
    energies : (m,) array
        Equidistant, eV, on the energy zero of H (not shifted).
    density : (n_spin, n_projections, m) array
        States per eV and cell; both spins together unless they are collinear.
    counts : (n_spin, n_projections, m) array
        Number of states below each energy.
    names : tuple of str
        Of the projections; the first is "total".
    method : str
        How it was computed, with its settings.
    fermi_energy : float or None
        eV, on the same zero.
    fermi_origin : str
        Where the Fermi level comes from.
    counted : FermiLevel or None
        The Fermi level that this density of states gives for the number of electrons.
    n_electrons : float or None
        Electrons per cell.
    filled, at_fermi : (n_spin, n_projections) array or None
        Number of states below the Fermi level, and states per eV there.
    errors : (n_spin, n_projections, m) array or None
        Standard errors of ``counts`` where random vectors were used.
    density_errors : (n_spin, n_projections, m) array or None
        Those of ``density``.
    title : str
        Name for legends and tables.
    """

    energies: FloatArray
    density: FloatArray
    counts: FloatArray
    names: tuple[str, ...]
    method: str
    fermi_energy: float | None = None
    fermi_origin: str = "not known"
    counted: FermiLevel | None = None
    n_electrons: float | None = None
    filled: FloatArray | None = None
    at_fermi: FloatArray | None = None
    errors: FloatArray | None = None
    title: str = ""
    density_errors: FloatArray | None = None

    def __repr__(self) -> str:
        fermi = "E_F not known" if self.fermi_energy is None else f"E_F {self.fermi_energy:.3f} eV"
        name = f"{self.title}, " if self.title else ""
        low, high = self.energies[[0, -1]]
        return f"DOS {name}{len(self.energies)} energies from {low:.3f} to {high:.3f} eV, {fermi}, {self.method}"

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.dos_tables import write_dos

        write_dos(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the density of states; options of :func:`postprocess.output.dos_plot.plot_dos`."""
        from postprocess.output.dos_plot import plot_dos

        return plot_dos(self, **options)


@dataclass(frozen=True)
class Window:
    """Energies of a density of states, eV from the Fermi level (absolute if there is none); the ends of the levels where None."""

    low: float | None = None
    high: float | None = None
    points: int = 1001

    def __post_init__(self) -> None:
        ends = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        if not ends[0] < ends[1] or np.isnan(ends).any() or self.points < 2:
            raise UsageError(f"window {ends[0]:g} to {ends[1]:g} eV with {self.points} energies: expected the lower end first, two or more")


def mesh_count(levels: MeshLevels, method: str, width: float = 0.05) -> tuple[StateCount, str]:
    """The count of states of a method on a mesh, and its description.

    Raises
    ------
    UsageError
        If the method is unknown, or the width not positive.
    """
    size = " x ".join(map(str, levels.mesh.divisions))
    kinds = {0: "levels of one k-point", 1: "linear interpolation", 2: "triangles", 3: "tetrahedra"}
    if method == "tetrahedron":
        return TetrahedronCount(levels), f"{kinds[levels.mesh.dimension]}, {size} mesh"
    if method != "gaussian":
        raise UsageError(f"method {method!r}: expected one of {', '.join(METHODS)}")
    if not 0 < width < np.inf:
        raise UsageError(f"width {width:g} eV: expected a positive number")
    return SmearedCount(levels, width), f"Gaussians of standard deviation {width:g} eV, {size} mesh"


def compute_dos(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    *,
    method: str = "tetrahedron",
    width: float = 0.05,
    window: Window | None = None,
    projections: Projections | None = None,
    fermi: float | str | None = None,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> DOS:
    """Density of states on a mesh.

    Parameters
    ----------
    hamiltonian, mesh, projections, options, jobs
        As for :func:`compute_mesh_levels`.
    method : {"tetrahedron", "gaussian"}
        Linear interpolation, or levels widened by ``width`` (standard deviation in eV).
    window : Window, optional
        By default all levels.
    fermi : float or "count", optional
        The Fermi level in eV, or "count" to fill the states with the known number of electrons. By default that of the data, else
        from the number of electrons, else none.

    Raises
    ------
    DataError
        If there is no H, S(k) is not positive definite, the number of electrons is needed but not known, or no level lies in the window.
    """
    levels = compute_mesh_levels(hamiltonian, mesh, projections, options=options, jobs=jobs)
    count, text = mesh_count(levels, method, width)
    reach = 9 * width if method == "gaussian" else 1e-3
    bounds = (float(levels.energies.min()) - reach, float(levels.energies.max()) + reach)
    names = (TOTAL, *(projections.names if projections else ()))
    dos = assemble(hamiltonian, count, bounds, names=names, method=text, window=window or Window(), fermi=fermi)
    if method == "gaussian" and dos.counted is not None:  # between the tails of the Gaussians is less than the gap
        dos = replace(dos, counted=gap_around(levels, dos.counted.energy))
    return dos


def assemble(
    hamiltonian: Hamiltonian,
    count: StateCount,
    bounds: tuple[float, float],
    *,
    window: Window,
    fermi: float | str | None,
    names: Sequence[str] = (TOTAL,),
    method: str = "",
    error: float = 0.0,
) -> DOS:
    """A density of states from a count of states; ``bounds`` enclose all levels, ``error`` is that of the count of electrons."""
    counted = None
    if hamiltonian.n_electrons is not None:
        counted = fermi_from_count(count, hamiltonian.n_electrons, bounds, error=error)
    chosen = given_or_stored(hamiltonian, fermi) or counted
    if chosen is None and fermi is not None:
        known_electrons(hamiltonian)  # says what is missing
    level, origin = (None, "not known") if chosen is None else (chosen.energy, chosen.origin)
    zero = level or 0.0
    low, high = bounds[0] if window.low is None else zero + window.low, bounds[1] if window.high is None else zero + window.high
    half = (high - low) / (window.points - 1) / 2
    counts = count(np.asarray(low + half * np.arange(-1, 2 * window.points), np.float64))
    density = (counts[..., 2::2] - counts[..., :-2:2]) / (2 * half)
    if not (counts[:, 0, -1] - counts[:, 0, 0]).any():
        relative = "" if level is None else f" (E_F = {level:.4f} eV)"
        raise DataError(f"no states between {low:.4f} and {high:.4f} eV{relative}; the levels span {bounds[0]:.4f} to {bounds[1]:.4f} eV")
    filled = at_fermi = None
    if level is not None:
        near = count(level + NEAR * np.array([-1.0, 0.0, 1.0]))
        filled, at_fermi = near[..., 1], (near[..., 2] - near[..., 0]) / (2 * NEAR)
    energies = np.linspace(low, high, window.points)
    return DOS(
        energies, density, counts[..., 1::2], tuple(names), method, level, origin, counted, hamiltonian.n_electrons, filled, at_fermi
    )
