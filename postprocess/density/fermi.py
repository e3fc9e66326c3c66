"""The Fermi level from the number of electrons."""

from typing import NamedTuple

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.density.counting import MeshLevels, StateCount
from postprocess.lattice.mesh import KMesh
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions

SPACING = 0.2
"""Distance of the k-points of the default mesh, 1/Angstrom with 2 pi."""
SHARPNESS = 1e-11
"""Electrons per electron that may be missing: where fewer change, there is a gap."""
RESOLUTION = 1e-7
"""eV, to which the edges of a gap are located."""
DEGENERATE = 1e-6
"""eV; levels so close are one level."""


def regular_mesh(hamiltonian: Hamiltonian, spacing: float = SPACING) -> tuple[int, int, int]:
    """Numbers of k-points along the reciprocal vectors; one along directions that are not periodic."""
    lengths = np.linalg.norm(in_plane_reciprocal(hamiltonian), axis=1) - 1e-6
    a, b, c = (max(1, int(np.ceil(x / spacing))) if p else 1 for x, p in zip(lengths, periodic_directions(hamiltonian), strict=True))
    return a, b, c


def mesh_points(mesh: tuple[int, int, int]) -> FloatArray:
    """(n_k, 3) fractional k-points of a Gamma-centred mesh."""
    axes = [np.arange(n) / n for n in mesh]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def known_electrons(hamiltonian: Hamiltonian) -> float:
    """The number of electrons, or a clear error."""
    if hamiltonian.n_electrons is None:
        raise DataError("the number of electrons is not known: info.json has no 'occupation', so no Fermi level can be computed")
    return hamiltonian.n_electrons


class FermiInterval(NamedTuple):
    """Energies up to which the levels hold the electrons, eV.

    Attributes
    ----------
    energy : float
        Half way between the two others, unless the count is uncertain.
    low, high : float
        Ends of the gap of an insulator; equal for a metal; with an uncertain count, what it leaves open.
    """

    energy: float
    low: float
    high: float


def find_fermi_level(count: StateCount, n_electrons: float, bracket: tuple[float, float], *, error: float = 0.0) -> FermiInterval:
    """Where the number of states reaches the number of electrons.

    Parameters
    ----------
    count : StateCount
        By tetrahedra, smeared levels, or the kernel polynomial method.
    n_electrons : float
        Electrons per cell.
    bracket : (low, high)
        Energies below and above all levels, eV.
    error : float
        By how many electrons the count may be wrong.

    Raises
    ------
    DataError
        If there are more electrons than the levels hold, or none.
    """
    total = float(count(np.array(bracket))[:, 0].sum(axis=0)[1])
    sharp = SHARPNESS * n_electrons
    if not 0 < n_electrons < total - sharp:
        raise _does_not_fit(n_electrons, total)
    low, high = (_crossing(count, n_electrons + side * max(error, sharp), bracket) for side in (-1, 1))
    return FermiInterval(_crossing(count, n_electrons, bracket) if error > sharp else (low + high) / 2, low, high)


def mesh_gap(levels: MeshLevels, energy: float) -> FermiInterval:
    """An energy with the gap around it: the highest level below and the lowest above it, if equally many lie below it at every k-point."""
    below = levels.energies < energy
    n_below = below.sum(axis=-1)
    if not below.any() or below.all() or (n_below != n_below[:, :1]).any():
        return FermiInterval(energy, energy, energy)
    return FermiInterval(energy, float(levels.energies[below].max()), float(levels.energies[~below].min()))


def _crossing(count: StateCount, wanted: float, bracket: tuple[float, float]) -> float:
    """Energy where the rising count passes a number."""
    low, high = bracket
    while high - low > RESOLUTION:
        grid = np.linspace(low, high, 33)
        place = int(np.clip(np.searchsorted(count(grid)[:, 0].sum(axis=0), wanted), 1, 32))
        low, high = float(grid[place - 1]), float(grid[place])
    return (low + high) / 2


def _does_not_fit(n_electrons: float, room: float) -> DataError:
    return DataError(
        f"{n_electrons:g} electrons, but the bands hold {room:g}; check 'occupation' in info.json (valence electrons per cell, both spins)"
    )


def fermi_by_inertia(hamiltonian: Hamiltonian, mesh: KMesh) -> FermiInterval:
    """Fermi level of a large cell from counts of levels at all points of a coarse mesh, see :mod:`postprocess.density.fermi_count`.

    Raises
    ------
    DataError
        If a level is partly filled: a metal that needs a mesh and another method; or as for
        :func:`postprocess.density.fermi_count.fermi_by_counts`.
    """
    from postprocess.density.fermi_count import fermi_by_counts

    k = mesh.points[mesh.index.ravel()]
    filled = known_electrons(hamiltonian) * len(k) / (2 if hamiltonian.basis.spin == "none" else 1)
    found = fermi_by_counts(hamiltonian, k) if abs(filled - round(filled)) < 1e-6 else None
    if found is None or found.lumo - found.homo < DEGENERATE:
        at = "" if found is None else f" at {found.homo:.6f} eV"
        raise DataError(
            f"{hamiltonian.n_electrons:g} electrons leave a level{at} partly filled at these {len(k)} k-points: this is a metal, whose "
            "Fermi level needs a mesh; use --fermi count with --method tetrahedron, gaussian or kpm"
        )
    return FermiInterval(found.energy, found.homo, found.lumo)
