"""How many levels of a mesh lie below an energy, by linear interpolation in tetrahedra, triangles or intervals.

For energies that are linear within a simplex of d dimensions with corners e_0..e_d, the fraction of it below E obeys the recursion of
B-splines (Curry and Schoenberg, doi:10.1007/BF02788653),

    F(E; t_0..t_n) = [(E - t_0) F(E; t_0..t_{n-1}) + (t_n - E) F(E; t_1..t_n)] / (t_n - t_0),  F(E; t) = 1 for E > t, else 0,

and the part that belongs to corner c is F with e_c taken twice, over d + 1. In three dimensions this is the linear tetrahedron method
(Lehmann and Taut, doi:10.1002/pssb.2220540211; weights of Bloechl, Jepsen and Andersen, doi:10.1103/PhysRevB.49.16223).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray
from postprocess.lattice.mesh import simplices
from postprocess.states.mesh_levels import MeshLevels

MAX_TERMS = 2**22
"""Pairs of a simplex or level and an energy that are worked on at once."""


class StateCount(Protocol):
    """Number of states per cell below given energies, the same for every method."""

    def __call__(self, energies: FloatArray) -> FloatArray:
        """(n_spin, n_projections, m) states below (m,) ascending energies in eV."""


@dataclass(frozen=True)
class TetrahedronCount:
    """Linear interpolation in tetrahedra, triangles, intervals, or none for a single k-point; see :class:`StateCount`."""

    levels: MeshLevels

    @cached_property
    def _simplices(self) -> tuple[IntArray, FloatArray]:
        return simplices(self.levels.mesh, self.levels.reciprocal)

    def __call__(self, energies: FloatArray) -> FloatArray:
        """States below energies."""
        corners, size = self._simplices
        return np.stack(
            [
                sum(
                    (_count_band(e[corners, band], w[corners, band], size, energies) for band in range(e.shape[1])),
                    np.zeros((w.shape[-1], len(energies))),
                )
                for e, w in zip(self.levels.energies, self.levels.weights, strict=True)
            ]
        )


def _count_band(corner: FloatArray, weight: FloatArray, size: FloatArray, grid: FloatArray) -> FloatArray:
    """(n_projections, m) states of one band: corner energies (n, d + 1) and weights (n, d + 1, n_projections) of its simplices."""
    order = np.argsort(corner, axis=1)
    corner, weight = np.take_along_axis(corner, order, 1), np.take_along_axis(weight, order[..., None], 1) * size[:, None, None]
    low, high = np.searchsorted(grid, corner[:, 0], side="left"), np.searchsorted(grid, corner[:, -1], side="right")
    full = weight.mean(axis=1)
    out = np.stack([np.bincount(high, part, minlength=len(grid) + 1)[:-1].cumsum() for part in full.T])
    inside = np.flatnonzero(high > low)
    for part in pieces(inside, high[inside] - low[inside]):
        which, place = ragged(low[part], high[part])
        of = part[which]
        if weight.shape[-1] == 1:  # the total only, the same at all corners
            out[0] += np.bincount(place, below(corner[of], grid[place]) * full[of, 0], minlength=len(grid))
            continue
        fractions = _corner_fractions(corner[of], grid[place])
        for p in range(weight.shape[-1]):
            out[p] += np.bincount(place, np.einsum("nc,nc->n", fractions, weight[of, :, p]), minlength=len(grid))
    return out


def _corner_fractions(corner: FloatArray, energy: FloatArray) -> FloatArray:
    """(n, d + 1) parts of simplices below (n,) energies that belong to each of their ascending corners (n, d + 1)."""
    n = corner.shape[1]
    return np.stack([below(corner[:, np.sort([*range(n), c])], energy) / n for c in range(n)], axis=1)


def below(knots: FloatArray, energy: FloatArray) -> FloatArray:
    """F(E; t_0..t_n) of (m, n + 1) ascending knots at (m,) energies; see the head of this module."""
    t = np.ascontiguousarray(knots.T)
    parts = [(energy >= knot).astype(float) for knot in t]
    for n in range(1, len(t)):
        for i in range(len(t) - n):
            width = t[i + n] - t[i]
            left = (energy - t[i]) / np.where(width > 0, width, 1.0)
            mixed = parts[i + 1] + left * (parts[i] - parts[i + 1])
            parts[i] = np.where(energy >= t[i + n], 1.0, np.where(energy <= t[i], 0.0, mixed))
    return np.asarray(parts[0])


def ragged(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """Which range, and which place in it, for all places low..high-1 of several ranges."""
    length = high - low
    which = np.repeat(np.arange(len(low)), length)
    return which, np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - low, length)


def pieces(index: IntArray, length: IntArray) -> list[IntArray]:
    """The index cut so that the lengths of each piece add up to about :data:`MAX_TERMS`."""
    cuts = np.searchsorted(np.cumsum(length), np.arange(MAX_TERMS, length.sum(), MAX_TERMS))
    return [part for part in np.split(index, cuts) if len(part)]


def occupations(levels: MeshLevels, fermi_energy: float, *, corrected: bool = True) -> npt.NDArray[np.float64]:
    """Share of the zone that each level fills: sums with them are integrals over the occupied states.

    Parameters
    ----------
    levels : MeshLevels
        Energies on the mesh.
    fermi_energy : float
        eV.
    corrected : bool
        With Bloechl's correction D_T / (2 (d + 1)(d + 2)) sum_j (e_j - e_c) for the curvature of the bands (eq. 22 of his paper in
        three dimensions, where the factor is 1/40).

    Returns
    -------
    (n_spin, n_k, n_bands) array
        They sum to the number of filled levels per cell; multiply with ``weights`` for electrons.
    """
    corners, size = simplices(levels.mesh, levels.reciprocal)
    d, out = corners.shape[1] - 1, np.zeros_like(levels.energies)
    for spin, band in np.ndindex(levels.energies.shape[0], levels.energies.shape[2]):
        e = levels.energies[spin, corners, band]
        order = np.argsort(e, axis=1)
        e, place = np.take_along_axis(e, order, 1), np.take_along_axis(corners, order, 1)
        at = np.full(len(e), fermi_energy)
        share = _corner_fractions(e, at)
        if corrected and d:
            width = e[:, -1] - e[:, 0]
            slope = (below(e[:, :-1], at) - below(e[:, 1:], at)) * d / np.where(width > 1e-12, width, np.inf)
            share += (slope / (2 * (d + 1) * (d + 2)))[:, None] * (e.sum(axis=1, keepdims=True) - (d + 1) * e)
        out[spin, :, band] = np.bincount(place.ravel(), (share * size[:, None]).ravel(), minlength=len(levels.mesh.points))
    return out
