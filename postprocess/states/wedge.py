"""Which k-points symmetry relates, and what becomes of vectors and tensors on the way from one to the other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.system import FloatArray, IntArray
from postprocess.lattice.mesh import Divisions
from postprocess.states.kjobs import Result

DIGITS = 10**9
"""Fractional k that agree to 1/DIGITS are the same."""
ON_MESH = 1e-6
"""Of a step; images so near to a mesh point are that one."""


@dataclass(frozen=True)
class Orbits:
    """One of each set of equivalent k-points.

    Attributes
    ----------
    k : (m, 3) array
        Fractional.
    place : (n,) int array
        Which of them each point is equivalent to.
    operation : (n,) int array
        The operation that takes each point there.
    """

    k: FloatArray
    place: IntArray
    operation: IntArray

    def added(self, weights: FloatArray) -> FloatArray:
        """(n_sums, m) sums of (n_sums, n) weights over equivalent points."""
        return np.stack([np.bincount(self.place, row, len(self.k)) for row in weights])


@dataclass(frozen=True)
class Wedge:
    """Operations k -> W k of a crystal, a group, and how they turn a vector or tensor.

    Attributes
    ----------
    on_k : (n, 3, 3) int array
        W, on fractional k.
    turns : (n, c, c) array
        Orthogonal; the c components at k become ``turns @ components`` at W k.
    """

    on_k: IntArray
    turns: FloatArray

    @classmethod
    def none(cls) -> "Wedge":
        """The identity alone."""
        return cls(np.eye(3, dtype=np.int64)[None], np.eye(3)[None])

    @property
    def order(self) -> int:
        """Number of operations."""
        return len(self.on_k)

    def keeping(self, *meshes: Divisions) -> "Wedge":
        """Those of the operations, again a group, that map meshes with a point at Gamma onto themselves."""
        kept = np.ones(self.order, bool)
        for n in map(np.array, meshes):
            images = self.on_k.swapaxes(1, 2) / n[:, None] * n  # of the points one step from Gamma, in steps
            kept &= (np.abs(images - np.rint(images)) < ON_MESH).all(axis=(1, 2))
        return replace(self, on_k=self.on_k[kept], turns=self.turns[kept])

    def orbits(self, k: FloatArray) -> Orbits:
        """One of each set of points that the operations take to each other, up to reciprocal vectors."""
        best, chosen, operation = _key(k @ self.on_k[0].T), k @ self.on_k[0].T, np.zeros(len(k), np.int64)
        for n, W in enumerate(self.on_k[1:], 1):
            image = k @ W.T
            key = _key(image)
            differ = key != best
            first = np.argmax(differ, axis=1)[:, None]
            before = np.take_along_axis(key, first, axis=1) < np.take_along_axis(best, first, axis=1)
            taken = np.flatnonzero(before[:, 0])
            best[taken], chosen[taken], operation[taken] = key[taken], image[taken], n
        _, where, place = np.unique(best, axis=0, return_index=True, return_inverse=True)
        return Orbits(chosen[where], place.ravel(), operation)

    def at_points(self, values: FloatArray, orbits: Orbits) -> FloatArray:
        """(n_spin, n, ...) values at all points from those (n_spin, m, ...) at one of each orbit; tensors have four axes, (..., c)."""
        found = values[:, orbits.place]
        if found.ndim < 4 or self.order == 1:
            return np.asarray(found)
        for operation in np.unique(orbits.operation).tolist():
            own = orbits.operation == operation
            found[:, own] = self._turned(found[:, own], self.turns[operation].T)
        return np.asarray(found)

    def _turned(self, values: FloatArray, turn: FloatArray) -> FloatArray:
        """``turn @ components`` of (..., c) components, or (..., n c) of n tensors, such as real and imaginary parts."""
        return np.asarray((values.reshape(*values.shape[:-1], -1, len(turn)) @ turn.T).reshape(values.shape))

    def mean(self, sums: Result, tensor_axes: Mapping[str, int]) -> Result:
        """Sums over one point of each orbit, with its weight, as sums over all points: tensors averaged over the operations.

        Parameters
        ----------
        sums : dict of str to array
            By name.
        tensor_axes : mapping of str to int
            The axis of each array of vectors or tensors that holds their components; others are scalars.
        """
        if self.order == 1:
            return sums
        P = self.turns.mean(axis=0)
        tensors = {name: np.moveaxis(self._turned(np.moveaxis(sums[name], axis, -1), P), -1, axis) for name, axis in tensor_axes.items()}
        return {**sums, **tensors}


def _key(k: FloatArray) -> IntArray:
    return np.asarray(np.rint(k * DIGITS).astype(np.int64) % DIGITS)
