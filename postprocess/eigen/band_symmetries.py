"""Meshes of k-points reduced by the symmetries that the levels show."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import IntArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.selection import DENSE_LIMIT
from postprocess.eigen.solver import compute_energies
from postprocess.lattice.mesh import DENSITY, IDENTITY, Divisions, KMesh, Symmetry, mesh_divisions, reduced_mesh
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.lattice.point_group import lattice_symmetries

SAME_ENERGY = 1e-4
"""eV; levels at two k-points related by a symmetry may differ by so much, the noise of a DFT code's integration grid."""
GENERIC = np.array([[0.1273, 0.0781, 0.0419], [0.2911, -0.1637, 0.3583]])
"""Two k-points without symmetry."""


def make_mesh(
    hamiltonian: Hamiltonian,
    divisions: Divisions | None = None,
    *,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    symmetry: Symmetry = "all",
) -> KMesh:
    """A mesh for one structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    divisions : tuple of 3 int, optional
        By default :func:`mesh_divisions`, of a large cell without more points for special ones.
    shift : tuple of 3 float
        In units of a step; 0 puts a point at Gamma, 0.5 half a step beside it.
    symmetry : {"all", "reversal", "none"}
        Which points with the same levels are left out: all (see :func:`band_symmetries`), only -k beside k, or none; of a cell that is too
        large for dense matrices only -k beside k where that is known without trying.

    Raises
    ------
    UsageError
        If the divisions are not three positive numbers.
    """
    large = hamiltonian.n_orbitals > DENSE_LIMIT
    n = divisions or mesh_divisions(hamiltonian, DENSITY if large else None)
    if len(n) != 3 or min(n) < 1 or not np.isfinite(shift).all():
        raise UsageError(f"k mesh {' '.join(map(str, n))}: expected three positive numbers, such as 12 12 1 for a slab in x and y")
    if symmetry == "none" or max(n) == 1:
        return reduced_mesh(n, shift, IDENTITY[None])
    candidates = np.stack([IDENTITY, -IDENTITY])
    if large:  # to try a symmetry would take dense matrices of the whole cell
        return reduced_mesh(n, shift, candidates if conjugate_at_minus_k(hamiltonian) else candidates[:1])
    if symmetry == "all":
        whole = lattice_symmetries(in_plane_reciprocal(hamiltonian))
        if np.prod(n) > 4 * len(whole):  # trying costs a diagonalization for each
            candidates = whole
    return reduced_mesh(n, shift, band_symmetries(hamiltonian, candidates))


def conjugate_at_minus_k(hamiltonian: Hamiltonian) -> bool:
    """Whether -k has the conjugate states of k: without spinors, unless H(R) is complex (a magnetic flux, Haldane's model)."""
    return hamiltonian.basis.spin != "spinor" and not np.iscomplexobj(hamiltonian.hamiltonian.entries)


def band_symmetries(hamiltonian: Hamiltonian, candidates: IntArray) -> IntArray:
    """Those operations k -> W k that leave the levels at two generic k-points unchanged.

    Judging by the levels needs no knowledge of spins, magnetic order or noise in the atomic positions, and never uses a symmetry that the
    structure has but H lacks (integration grids of DFT codes break some by several meV).

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    candidates : (n, 3, 3) int array
        Such as :func:`lattice_symmetries`; k -> -k is what time reversal gives.
    """
    for k in GENERIC:
        levels = compute_energies(hamiltonian, np.vstack([k, candidates @ k]))
        candidates = candidates[(np.abs(levels[:, 1:] - levels[:, :1]) < SAME_ENERGY).all(axis=(0, 2))]
    return candidates
