"""The point group of a lattice, to within a tolerance, and the cell that has it exactly."""

from functools import cache
from itertools import product

import numpy as np

from deeph.physics.system import FloatArray, IntArray


def lattice_symmetries(vectors: FloatArray, tolerance: float = 1e-3) -> IntArray:
    """(n, 3, 3) integer matrices W, acting on coordinates in some lattice vectors (rows), that keep all lengths.

    Parameters
    ----------
    vectors : (3, 3) array
        Rows; all symmetries are found if they are about as short as possible.
    tolerance : float
        Largest change of a scalar product of two vectors, relative to their lengths.
    """
    W = _unimodular()
    metric = vectors @ vectors.T
    turned = np.swapaxes(W, 1, 2) @ metric @ W
    scale = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
    return np.asarray(W[(np.abs(turned - metric) < tolerance * scale).all(axis=(1, 2))])


@cache
def _unimodular() -> IntArray:
    """All matrices of -1, 0 and 1 with determinant 1 or -1: enough for every symmetry of shortest vectors."""
    W = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    return np.asarray(W[np.abs(np.rint(np.linalg.det(W))) == 1])


def symmetrized(cell: FloatArray, tolerance: float) -> FloatArray:
    """(3, 3) the vectors, up to a rotation, of the symmetric lattice that a cell has to within a tolerance, relative to its lengths."""
    from ase.geometry import minkowski_reduce

    short, transform = minkowski_reduce(cell)
    W = lattice_symmetries(short, 2 * tolerance)
    metric = (np.swapaxes(W, 1, 2) @ (short @ short.T) @ W).mean(axis=0)
    return np.asarray(np.linalg.solve(transform, np.linalg.cholesky(metric)))
