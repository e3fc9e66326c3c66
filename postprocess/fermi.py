"""The Fermi level from the number of electrons."""

import numpy as np

from deeph.errors import DataError
from deeph.hamiltonian import Hamiltonian
from deeph.system import FloatArray, System
from postprocess.eigen import Solver, compute_energies
from postprocess.lattice import periodic_directions

SPACING = 0.2
"""Distance of the k-points of the default mesh, 1/Angstrom with 2 pi."""


def regular_mesh(system: System, spacing: float = SPACING) -> tuple[int, int, int]:
    """Numbers of k-points along the reciprocal vectors; one along directions with vacuum."""
    lengths = np.linalg.norm(system.reciprocal, axis=1)
    a, b, c = (max(1, int(np.ceil(x / spacing))) if p else 1 for x, p in zip(lengths, periodic_directions(system), strict=True))
    return a, b, c


def mesh_points(mesh: tuple[int, int, int]) -> FloatArray:
    """(n_k, 3) fractional k-points of a Gamma-centred mesh."""
    axes = [np.arange(n) / n for n in mesh]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def compute_fermi_energy(hamiltonian: Hamiltonian, *, mesh: tuple[int, int, int] | None = None, solver: Solver | None = None) -> float:
    """Fermi level at zero temperature by filling the levels of a mesh.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    mesh : tuple of 3 int, optional
        Gamma-centred; by default about 0.2 1/Angstrom between points.
    solver : Solver, optional
        See :func:`postprocess.eigen.compute_energies`.

    Returns
    -------
    float
        Half way between the highest occupied and the lowest empty level of the mesh, eV.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of bands.
    """
    if hamiltonian.n_electrons is None:
        raise DataError("the number of electrons is not known: info.json has no 'occupation', so no Fermi level can be computed")
    k = mesh_points(mesh or regular_mesh(hamiltonian.system))
    levels = np.sort(compute_energies(hamiltonian, k, solver=solver), axis=None)
    per_level = 2 if hamiltonian.basis.spin == "none" else 1
    filled = round(hamiltonian.n_electrons * len(k) / per_level)
    if not 0 < filled < len(levels):
        raise DataError(
            f"{hamiltonian.n_electrons:g} electrons, but the bands hold {per_level * len(levels) / len(k):g}; "
            "check 'occupation' in info.json (valence electrons per cell, both spins)"
        )
    return float(levels[filled - 1] + levels[filled]) / 2
