"""Regular meshes of k points: all k (fractional, modulo 1) with M k = n + shift for integers n and an integer matrix M."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.rounded_points import MAX_DIVISIONS, ROUNDING, denominator
from deeph.physics.system import FloatArray, IntArray


def k_mesh(size: npt.ArrayLike, shift: npt.ArrayLike, *, fold: bool) -> tuple[FloatArray, FloatArray]:
    """All points of a mesh.

    Parameters
    ----------
    size : three int, or (3, 3) int
        Points along each reciprocal vector (k = (n + shift)/size), or the matrix M.
    shift : three float
        0 or 0.5.
    fold : bool
        Keep one of k and -k, as is allowed where H(R) is real.

    Returns
    -------
    (n_k, 3), (n_k,) arrays
        Fractional wave vectors and their weights, which sum to 1.
    """
    matrix, twice = _triangular(_matrix(size), np.rint(2 * np.array(shift)).astype(np.int64))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in np.diag(matrix)], indexing="ij"), -1).reshape(-1, 3)
    period = 2 * len(index)  # len(index) = det M, and det(M) M^-1 is an integer matrix
    inverse = np.rint(len(index) * np.linalg.inv(matrix)).astype(np.int64)
    point = (2 * index + twice) @ inverse.T % period
    code, mirrored = (p @ np.array([period * period, period, 1]) for p in (point, -point % period))
    keep = code <= mirrored if fold else np.ones(len(code), bool)
    multiplicity = np.where(code == mirrored, 1, 2)[keep] if fold else np.ones(len(code))
    return (point / period)[keep], multiplicity / len(code)


def mesh_entries(size: npt.ArrayLike, shift: npt.ArrayLike) -> dict[str, Any]:
    """``k_grid`` and ``k_shift`` of ``source``: three numbers of points if the mesh goes along the reciprocal vectors, else the matrix M.

    Empty for shifts other than 0 and 0.5 and for matrices that define no mesh.
    """
    matrix, twice = _matrix(size), 2 * np.array(shift, float) % 2
    if not np.isin(twice % 1, 0.0).all() or not 0 < n_points(matrix) < 2**31:
        return {}
    matrix, half_steps = _triangular(matrix, twice.astype(np.int64))
    diagonal = np.diag(matrix)
    plain = (matrix == np.diag(diagonal)).all()
    return {"k_grid": (diagonal if plain else matrix).tolist(), "k_shift": (half_steps % 2 / 2).tolist()}


def stored_mesh(source: Mapping[str, Any]) -> tuple[IntArray, FloatArray] | None:
    """Size (or matrix) and shift of the mesh of the run in ``source``; None where it is not known."""
    try:
        found = mesh_entries(source["k_grid"], source["k_shift"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (np.array(found["k_grid"]), np.array(found["k_shift"])) if found else None


def n_points(size: npt.ArrayLike) -> int:
    """Points of the whole mesh."""
    return abs(round(float(np.linalg.det(_matrix(size)))))


def mesh_of_points(k: FloatArray, weights: FloatArray) -> dict[str, Any]:
    """``k_grid`` and ``k_shift`` of the mesh that a printed list of points is; of k and -k, and of equivalent k, it may have one or more.

    Parameters
    ----------
    k : (n_k, 3) array
        Fractional, to six digits.
    weights : (n_k,) array
        Which sum to 1.

    Returns
    -------
    dict
        As from :func:`mesh_entries`; empty if the points and weights are no such mesh.
    """
    found = [denominator(k[:, axis]) for axis in range(3)]
    if not len(k) or 0 in found:
        return {}
    denominators = np.array(found)
    points = np.rint(k * denominators).astype(np.int64)
    steps = np.unique(np.concatenate([points - points[0], points + points[0]]) % denominators, axis=0)
    basis = _triangular(np.concatenate([steps, np.diag(denominators)]), np.zeros(len(steps) + 3, np.int64))[0] / denominators
    matrix = np.rint(np.linalg.inv(basis)).astype(np.int64).T  # k = basis^T n + k_0, thus M = basis^-T
    entries = mesh_entries(matrix, np.rint(2 * matrix @ (points[0] / denominators)) / 2)
    listed, full = _folded(points, weights, denominators), k_mesh(entries["k_grid"], entries["k_shift"], fold=False)
    expected = _folded(np.rint(full[0] * denominators).astype(np.int64), full[1], denominators)
    if np.array_equal(listed[0], expected[0]) and np.abs(listed[1] - expected[1]).max() < ROUNDING + 1e-3 * weights.max():
        return entries
    return {}


def _folded(points: IntArray, weights: FloatArray, denominators: IntArray) -> tuple[IntArray, FloatArray]:
    """Different points, k and -k being the same, and their weights; integer coordinates with a denominator for each axis."""
    both = np.stack([points % denominators, -points % denominators]) @ np.array([(MAX_DIVISIONS + 1) ** 2, MAX_DIVISIONS + 1, 1])
    found, place = np.unique(both.min(axis=0), return_inverse=True)
    return found.astype(np.int64), np.bincount(place, weights).astype(float)


def _matrix(size: npt.ArrayLike) -> IntArray:
    given = np.array(size, np.int64)
    if given.shape not in ((3,), (3, 3)):
        raise ValueError(f"a mesh of shape {given.shape}")
    return np.diag(given) if given.ndim == 1 else given


def _triangular(rows: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
    """Hermite normal form: rows combined to three that span the same lattice, upper triangular with a positive diagonal.

    The right-hand sides of M k = right take part. The rows have to span all three dimensions.
    """
    left, done = np.column_stack([rows, right]), []
    for column in range(3):
        while np.count_nonzero(left[:, column]) > 1:  # Euclid's algorithm
            size = np.abs(left[:, column])
            smallest = int(np.where(size > 0, size, size.max() + 1).argmin())
            factors = left[:, column] // left[smallest, column]
            factors[smallest] = 0
            left = np.unique(left - factors[:, None] * left[smallest], axis=0)
        row = int(np.flatnonzero(left[:, column])[0])
        done.append(left[row] * np.sign(left[row, column]))
        left = np.delete(left, row, axis=0)
        for above in range(column):
            done[above] = done[above] - done[above][column] // done[column][column] * done[column]
    out = np.array(done)
    return out[:, :3], out[:, 3]
