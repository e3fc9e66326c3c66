"""The cells of a mesh of k-points: the finer meshes in them, and how much an integrand varies from one to the next.

The cell of a point is the part of the zone that is nearer to it than to any other point of the mesh, so that what is refined keeps every
symmetry of the mesh.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.lattice.mesh import Divisions, KMesh

FINER = 3
"""Times as fine is the mesh in a refined cell: odd, so that its point stays."""
SAMPLED = 5
"""Times as fine is the mesh that the second moment of a cell is taken from; odd, so that most of its cells lie within."""
TIE = 1e-6
"""Relative; points so alike far from two cells belong to both."""


@dataclass(frozen=True)
class FinerMesh:
    """The finer mesh in a cell: see :func:`cell_points`, and for each of its points those next to it."""

    offsets: FloatArray
    shares: FloatArray
    neighbours: IntArray

    @property
    def own(self) -> int:
        """Points of a cell if those on its surface, which other cells have as well, count in part."""
        return round(float(1 / self.shares.max()))

    @classmethod
    def of(cls, reciprocal: FloatArray, mesh: KMesh) -> "FinerMesh":
        """In the cells of a mesh."""
        offsets, shares = cell_points(reciprocal, mesh.divisions)
        return cls(offsets, shares, _nearest(offsets @ reciprocal))

    def variation(self, values: FloatArray) -> FloatArray:
        """(n, m) largest difference of (n_spin, n, m) values, or (n_spin, n, m, c) vectors, to those next to them in their cell."""
        families = values.reshape(len(values), -1, len(self.offsets), *values.shape[2:])
        out = np.zeros(families.shape[1:4])
        for near in self.neighbours.T:
            np.maximum(out, _length(families - families[:, :, near], 4).max(axis=0), out=out)
        return out.reshape(values.shape[1:3])


def mesh_variation(values: FloatArray, mesh: KMesh, reciprocal: FloatArray) -> FloatArray:
    """(n_points, m) largest difference of (n_spin, n_points, m[, c]) values to those at the next points of the mesh."""
    out = np.zeros(values.shape[1:3])
    for step in _steps(reciprocal, mesh.divisions).tolist():
        near = np.roll(mesh.index, step, axis=(0, 1, 2)).ravel()
        np.maximum.at(out, mesh.index.ravel(), _length(values[:, mesh.index.ravel()] - values[:, near], 3).max(axis=0))
    return out


def _steps(reciprocal: FloatArray, divisions: Divisions) -> IntArray:
    """(n, 3) steps of a mesh, as far as the longest one along its axes; the axes alone are not all that symmetry makes of them."""
    steps = np.array(list(product(*[(-2, -1, 0, 1, 2) if n > 1 else (0,) for n in divisions])))
    spacing = reciprocal / np.array(divisions)[:, None]
    length = np.linalg.norm(steps @ spacing, axis=1)
    longest = np.linalg.norm(spacing[np.array(divisions) > 1], axis=1).max(initial=0.0)
    return np.asarray(steps[(length <= longest * (1 + TIE)) & steps.any(axis=1)])


def _length(values: FloatArray, n_axes: int) -> FloatArray:
    """Magnitudes of numbers with so many axes, lengths of vectors with one axis more."""
    return np.asarray(np.linalg.norm(values, axis=-1) if values.ndim > n_axes else np.abs(values))


def _nearest(points: FloatArray) -> IntArray:
    """(n, m) for each of n points the ones next to it, filled up with the point itself."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    near = distance <= distance.min(axis=1, keepdims=True) * (1 + TIE)
    out = np.tile(np.arange(len(points))[:, None], (1, int(near.sum(axis=1).max())))
    for row, line in zip(out, near, strict=True):
        row[: line.sum()] = np.flatnonzero(line)
    return out


def second_moment(reciprocal: FloatArray, divisions: Divisions) -> FloatArray:
    """(3, 3) mean of dk dk^T over the cell of a mesh point, Cartesian.

    From a finer mesh, whose own cells are alike but so many times smaller.
    """
    offsets, shares = cell_points(reciprocal, divisions, SAMPLED)
    dk = offsets @ reciprocal
    return np.asarray((dk * shares[:, None]).T @ dk / (1 - 1 / SAMPLED**2))


def cell_points(reciprocal: FloatArray, divisions: Divisions, finer: int = FINER) -> tuple[FloatArray, FloatArray]:
    """The finer mesh in the cell of a mesh point: what is nearer to it than to any other point of the mesh.

    Parameters
    ----------
    reciprocal : (3, 3) array
        Reciprocal vectors in rows.
    divisions : tuple of 3 int
        Of the mesh; directions with one point are not refined.
    finer : int
        Times as fine.

    Returns
    -------
    offsets : (m, 3) array
        From the point, in fractional coordinates; the first one is zero.
    shares : (m,) array
        Part of the cell that each stands for; points on its surface are shared with the cells beside it.

    Raises
    ------
    DataError
        If the reciprocal vectors are very skewed.
    """
    axes = [n > 1 for n in divisions]
    to_cartesian = reciprocal / np.array(divisions)[:, None]
    for reach in range(2, 9):  # a skewed cell reaches farther
        near = np.array(list(product(*[range(-reach, reach + 1) if a else (0,) for a in axes])))
        fine = np.array(list(product(*[range(-reach * finer, reach * finer + 1) if a else (0,) for a in axes]))) / finer
        own = np.linalg.norm(fine @ to_cartesian, axis=-1)
        tie = TIE * float(np.linalg.norm(to_cartesian[axes], axis=-1).max(initial=1.0))
        possible = np.flatnonzero(own <= np.linalg.norm(to_cartesian[axes], axis=-1).sum() / 2 + tie)
        distance = np.linalg.norm((fine[possible, None] - near[None]) @ to_cartesian, axis=-1)
        inside = own[possible] <= distance.min(axis=1) + tie
        place, distance = possible[inside], distance[inside]
        shares = 1 / (distance <= distance.min(axis=1, keepdims=True) + tie).sum(axis=1) / finer ** sum(axes)
        if abs(shares.sum() - 1) < TIE:
            order = np.argsort(own[place], kind="stable")
            return fine[place][order] / np.array(divisions), shares[order]
    raise DataError("the lattice vectors are so skewed that no cell of the mesh is found; choose shorter ones of the same lattice")
