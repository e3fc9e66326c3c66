"""Supercells from an integer matrix, without rounding: the points of one lattice in the cell of another are found with integers."""

from collections.abc import Sequence

import numpy as np

from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import UsageError


def supercell(system: System, matrix: Sequence[int] | Sequence[Sequence[int]] | IntArray) -> System:
    """Repeat a structure.

    Parameters
    ----------
    system : System
        The structure.
    matrix : 3 integers or (3, 3) integers
        Repetitions along the lattice vectors, or the new lattice vectors in rows in units of the old ones.

    Returns
    -------
    System
        ``|det(matrix)|`` copies; those of one atom follow each other.

    Raises
    ------
    UsageError
        If the matrix is singular or left-handed, or repeats a direction that is not periodic.
    """
    M = np.array(matrix, np.int64)
    M = np.diag(M) if M.ndim == 1 else M
    if M.shape != (3, 3):
        raise UsageError(f"supercell of shape {M.shape}: expected 3 repetitions or a 3 x 3 matrix")
    for axis in np.flatnonzero(~np.array(system.pbc)):
        if (M[axis] != np.eye(3)[axis]).any() or (M[:, axis] != np.eye(3)[axis]).any():
            raise UsageError(f"the structure does not repeat along lattice vector {axis + 1}: keep that one as it is")
    points = lattice_points(M) @ np.linalg.inv(M)
    fractional = (points[None] + (system.fractional @ np.linalg.inv(M))[:, None]).reshape(-1, 3)
    cell = M @ system.cell
    return System(cell, fractional @ cell, np.repeat(system.numbers, len(points)), system.pbc)


def lattice_points(matrix: IntArray) -> IntArray:
    """All integer vectors inside a cell of integer vectors.

    Parameters
    ----------
    matrix : (d, d) int array
        The vectors of the cell in rows, right-handed.

    Returns
    -------
    (det(matrix), d) int array
        One representative of each point modulo the cell, inside it: ``0 <= points @ inv(matrix) < 1`` exactly.

    Raises
    ------
    UsageError
        If the matrix is singular or left-handed.
    """
    volume = round(float(np.linalg.det(matrix)))
    if volume <= 0:
        raise UsageError(
            f"supercell matrix {matrix.tolist()} has determinant {volume}: expected a positive one"
            + (" (exchange two of its rows)" if volume else "")
        )
    ranges = [np.arange(n) for n in np.diag(_triangular(matrix))]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, len(matrix))
    adjugate = np.rint(volume * np.linalg.inv(matrix)).astype(np.int64)
    return np.asarray((points @ adjugate) % volume @ matrix // volume)


def _triangular(matrix: IntArray) -> IntArray:
    """An upper triangular basis of the same lattice (Hermite normal form up to the entries above the diagonal)."""
    H = matrix.copy()
    for c in range(len(H)):
        while H[c + 1 :, c].any() or not H[c, c]:
            rows = c + np.flatnonzero(H[c:, c])
            pivot = rows[np.argmin(abs(H[rows, c]))]
            H[[c, pivot]] = H[[pivot, c]]
            H[c + 1 :] -= (H[c + 1 :, c] // H[c, c])[:, None] * H[c]
    return np.asarray(H * np.sign(np.diag(H))[:, None])


def deformed(system: System, matrix: FloatArray) -> System:
    """The structure with every vector v replaced by ``v @ matrix`` ((3, 3), dimensionless)."""
    return System(system.cell @ matrix, system.positions @ matrix, system.numbers, system.pbc)
