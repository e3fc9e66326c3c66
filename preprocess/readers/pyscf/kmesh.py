"""From matrices on a regular k mesh to blocks: M(R) = 1/N sum_k exp(-2 pi i k.R) M(k).

On n1 x n2 x n3 points only R modulo (n1, n2, n3) is known: the Born-von Karman cell. A pattern of pairs can be filled when no two of its
pairs are the same in that sense.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.pairs import pair_vectors
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

ComplexArray = npt.NDArray[np.complex128]
Array = npt.NDArray[Any]


def mesh_points(mesh: IntArray) -> FloatArray:
    """(n_k, 3) fractional points n/mesh of the mesh through Gamma, the last direction running fastest."""
    return np.stack(np.meshgrid(*[np.arange(n) / n for n in mesh], indexing="ij"), -1).reshape(-1, 3)


def aliased_pairs(pairs: IntArray, mesh: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs that a mesh cannot tell from another one of the list: positions of both, neighbours in a sorted order."""
    cell = np.concatenate([pairs[:, :3] % mesh, pairs[:, 3:]], axis=1)
    order = np.lexsort(cell.T)
    same = (cell[order][1:] == cell[order][:-1]).all(axis=1)
    return order[:-1][same], order[1:][same]


def smallest_mesh(pairs: IntArray) -> IntArray:
    """(3,) smallest mesh on which all pairs are different, grown along the directions in which they are not."""
    mesh = np.ones(3, np.int64)
    while True:
        first, second = aliased_pairs(pairs, mesh)
        if not len(first):
            return mesh
        mesh += (pairs[first, :3] != pairs[second, :3]).any(axis=0)


def blocks_from_mesh(
    system: System, basis: Basis, matrices: ComplexArray, mesh: IntArray, pairs: IntArray, *, real: bool = True
) -> tuple[PairBlocks, float]:
    """Spin-free blocks from matrices on a mesh.

    Parameters
    ----------
    system, basis : System, Basis
        The atoms, and how many orbitals each has; the orbitals of atom 0 come first.
    matrices : (n_components, n_k, n_orbitals, n_orbitals) array
        M(k) on :func:`mesh_points`, phases exp(2 pi i k.R).
    mesh : (3,) int array
        Number of points along each direction.
    pairs : (n_pairs, 5) int array
        Which blocks are wanted; all others are dropped.
    real : bool
        Whether M(R) has to be real.

    Returns
    -------
    PairBlocks, float
        The blocks, and the largest entry that was dropped.

    Raises
    ------
    DataError
        If the mesh is too small for the range of the pairs, or M(R) is not real and should be.
    """
    first, second = aliased_pairs(pairs, mesh)
    if len(first):
        distance = np.linalg.norm(pair_vectors(system, pairs[[first[0], second[0]]]), axis=1)
        raise DataError(
            f"the {'x'.join(map(str, mesh))} k mesh is too small: orbitals reach two images of one atom, {distance.min():.1f} and "
            f"{distance.max():.1f} Angstrom away, that it cannot tell apart; expected at least "
            f"{'x'.join(map(str, smallest_mesh(pairs)))}, or more vacuum"
        )
    n = matrices.shape[-1]
    cells: npt.NDArray[Any] = np.fft.fftn(matrices.reshape(len(matrices), *mesh, n, n), axes=(1, 2, 3)) / np.prod(mesh)
    if real:
        imaginary, scale = float(np.abs(cells.imag).max()), float(np.abs(cells).max())
        if imaginary > 1e-5 * scale:
            raise DataError(
                f"the matrix in real space has an imaginary part of {imaginary:.1e} (largest entry {scale:.1e}); expected real numbers"
            )
        cells = cells.real
    place = np.ravel_multi_index(tuple((pairs[:, :3] % mesh).T), tuple(mesh))
    return blocks_from_cells(system, basis, cells.reshape(len(cells), -1, n, n), place, pairs)


def blocks_from_cells(system: System, basis: Basis, cells: Array, place: IntArray, pairs: IntArray) -> tuple[PairBlocks, float]:
    """Spin-free blocks from whole matrices M(R).

    Parameters
    ----------
    system, basis : System, Basis
        The atoms, and how many orbitals each has; the orbitals of atom 0 come first.
    cells : (n_components, n_R, n_orbitals, n_orbitals) array
        M(R) between the orbitals of the home cell and those of cell R.
    place : (n_pairs,) int array
        Which of the cells each pair belongs to.
    pairs : (n_pairs, 5) int array
        Which blocks are wanted.

    Returns
    -------
    PairBlocks, float
        The blocks, and the largest entry outside of them.
    """
    left = cells.copy()
    start = np.concatenate([[0], np.cumsum(basis.n_orbitals(system.numbers))])
    out = PairBlocks.zeros(pairs, block_shapes(basis, system.numbers, pairs, spin=False), len(cells), cells.dtype)
    for (rows, columns), members in out.groups():
        row = start[pairs[members, 3], None, None] + np.arange(rows)[:, None]
        column = start[pairs[members, 4], None, None] + np.arange(columns)
        where = (slice(None), place[members, None, None], row, column)
        out.put(members, left[where])
        left[where] = 0.0
    return out, float(np.abs(left).max(initial=0.0))
