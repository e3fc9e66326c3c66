"""Closed lines smaller than a step of the mesh, which no crossing between its points tells of.

A pocket lies around a minimum or maximum of its band, and next to every one of these the levels of the mesh have one that is lowest or
highest among its neighbours, unless the dip is much narrower than a step and has no slope around. From those of these points that are near
enough to the energy, judged by the largest slope of the band, the extremum is followed by a parabola through its neighbourhood and by ever
smaller steps, until the band is on the other side of the energy, or too far from it to reach it within what is left. From a place inside,
the line is where rays meet the energy.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.system import FloatArray, IntArray
from postprocess.contours.lines import STEPS
from postprocess.contours.roots import BandEnergies, Targets, find_roots

ROUNDS = 16
"""Times that the steps of a search are halved: to 1e-5 steps of the mesh."""
MARGIN = 1.5
"""The band is taken to be no steeper than so many times its largest slope on the mesh."""
RAYS = 24
"""From a place inside a pocket to its line."""
TURNS = 8
"""Times that they are sent out, until they know the shape of the pocket."""
LONGER = 1.2
"""Growth of the longer axis relative to the shorter one from which on they are sent out again."""
NEAREST = 1 / 16
"""Where those behind the first ones begin to look for the line, in sizes of the pocket."""
FARTHEST = 16.0
"""Steps of the mesh up to which a ray looks for the line."""
AROUND = np.array([[1, 0], [1, 1], [0, 1], [-1, 0], [-1, -1], [0, -1]])
"""Neighbours of a point of the mesh, in steps."""


@dataclass(frozen=True)
class Seeds:
    """Places that lie in pockets, or may.

    Attributes
    ----------
    targets : Targets
        Of which band and energy.
    places : (n, 2) array
        In units of the vectors of the plane.
    off : (n,) array
        E(k) - E there, eV.
    """

    targets: Targets
    places: FloatArray
    off: FloatArray

    def __getitem__(self, which: IntArray) -> "Seeds":
        return Seeds(self.targets[which], self.places[which], self.off[which])

    def __len__(self) -> int:
        return len(self.off)


def extreme_points(values: FloatArray, basis: FloatArray) -> tuple[IntArray, float]:
    """Points (m, 2) of a mesh that a pocket may be next to, and the largest slope.

    Parameters
    ----------
    values : (n1, n2) array
        E(k) - E, eV; NaN where it is not known.
    basis : (2, 2) array
        Vectors of the plane, 1/Angstrom.

    Returns
    -------
    points : (m, 2) int array
        In steps: above the energy no neighbour is lower, below it none is higher, and the slope may lead to the energy within a step.
    slope : float
        eV Angstrom.
    """
    lengths = np.linalg.norm(STEPS / values.shape @ basis, axis=1)
    around = np.stack([np.roll(values, tuple(-a), axis=(0, 1)) for a in AROUND])
    slope = MARGIN * float(np.nanmax(np.abs(around - values) / np.tile(lengths[[0, 2, 1]], 2)[:, None, None], initial=0.0))
    with np.errstate(invalid="ignore"):
        lowest, highest = (around >= values).all(axis=0), (around <= values).all(axis=0)
        near = np.abs(values) <= slope * lengths.max()
    return np.argwhere(near & np.where(values >= 0, lowest, highest)), slope


def follow(energies: BandEnergies, seeds: Seeds, slopes: FloatArray, step: FloatArray) -> tuple[Seeds, IntArray]:
    """Those seeds from which the other side of the energy is reached within a step or two of the mesh, moved there, and their places.

    Parameters
    ----------
    energies : BandEnergies
        The bands.
    seeds : Seeds
        Extreme points of the mesh.
    slopes : (n,) array
        Largest slope of each band, eV Angstrom.
    step : (2,) array
        Of the mesh, in units of the vectors of the plane.
    """
    places, off, side = seeds.places.copy(), seeds.off.copy(), np.where(seeds.off < 0, -1.0, 1.0)
    size = float(np.linalg.norm(STEPS * step @ energies.plane.basis, axis=1).max())
    left, inside = np.arange(len(seeds)), np.zeros(len(seeds), bool)
    for n in range(1, ROUNDS + 1):
        scale = 0.5**n
        left = left[(side * off)[left] <= slopes[left] * 4 * scale * size]  # what two moves at each of the next steps may reach
        for _ in range(2):  # moves before the steps are halved
            if not len(left):
                break
            f = _star(energies, seeds.targets[left], places[left], scale * step)
            best = _parabola(f * side[left, None], off[left] * side[left]) * scale * step + places[left]
            f_best = seeds.targets[left].off(energies, best)
            tried = np.column_stack([off[left], f, f_best]) * side[left, None]
            where = np.concatenate([places[left, None], places[left, None] + AROUND * scale * step, best[:, None]], axis=1)
            choice = np.nanargmin(tried, axis=1)
            rows = np.arange(len(left))
            places[left], off[left] = where[rows, choice], (tried[rows, choice]) * side[left]
            inside[left] = off[left] * side[left] < 0
            moved = choice > 0
            left = left[~inside[left]]
            if not moved.any():
                break
    kept = np.flatnonzero(inside)
    return Seeds(seeds.targets[kept], places[kept], off[kept]), kept


def _star(energies: BandEnergies, targets: Targets, places: FloatArray, step: FloatArray) -> FloatArray:
    """(n, 6) E(k) - E at the neighbours of places, so many steps away."""
    n = len(places)
    at = (places[:, None] + AROUND * step).reshape(-1, 2)
    return targets[np.repeat(np.arange(n), len(AROUND))].off(energies, at).reshape(n, -1)


def _parabola(f: FloatArray, middle: FloatArray) -> FloatArray:
    """(n, 2) lowest place, in steps, of parabolas through middles and their six neighbours; the neighbours' lowest where there is none."""
    x, y = AROUND.T
    fit = np.linalg.pinv(np.column_stack([x, y, x**2, x * y, y**2]))
    f = np.where(np.isnan(f), 0.0, f - middle[:, None])
    gx, gy, a, b, c = fit @ f.T
    det = 4 * a * c - b**2
    good = (det > 1e-9) & (a + c > 0)
    det = np.where(good, det, 1.0)
    place = np.stack([(b * gy - 2 * c * gx) / det, (b * gx - 2 * a * gy) / det], axis=1)
    good &= np.abs(place).max(axis=1) <= 1
    return np.where(good[:, None], place, AROUND[f.argmin(axis=1)] / 2)


def outline(energies: BandEnergies, seed: Seeds, step: FloatArray, tolerance: float) -> tuple[FloatArray, FloatArray] | None:
    """Points of the line around a place in a pocket, the first one repeated, and E(k) - E there; None if it does not close near by.

    Rays go in all directions, at first evenly, then evenly as the pocket is seen when it is stretched to a circle, until its shape is
    known. The smaller values lie to the left of the line.

    Parameters
    ----------
    energies : BandEnergies
        The bands.
    seed : Seeds
        One place.
    step : (2,) array
        Of the mesh, in units of the vectors of the plane.
    tolerance : float
        eV.
    """
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    circle, shape, centre = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.diag(step), seed.places[0]
    points, off, nearest, aspect = np.zeros((0, 2)), np.zeros(0), 0.5**ROUNDS, 0.0
    for _ in range(TURNS):
        found = _on_rays(energies, seed, centre, circle @ shape, nearest, tolerance)
        if found is None:
            return None
        points, off = found
        middle, longer = points.mean(axis=0), aspect
        _, size, axes = np.linalg.svd((points - middle) / np.sqrt(RAYS / 2), full_matrices=False)
        shape, nearest, aspect = size[:, None] * axes, NEAREST, float(size[0] / size[1])
        shape[1] *= np.sign(np.linalg.det(shape))
        if (seed.targets.off(energies, middle[None])[0] < 0) == (seed.off[0] < 0):
            centre = middle  # deeper inside
        if 0 < aspect < LONGER * longer:
            break
    order = slice(None, None, 1 if seed.off[0] < 0 else -1)
    points, off = points[order], off[order]
    return np.vstack([points, points[:1]]), np.append(off, off[0])


def _on_rays(
    energies: BandEnergies, seed: Seeds, start: FloatArray, directions: FloatArray, reach: float, tolerance: float
) -> tuple[FloatArray, FloatArray] | None:
    """Where rays from a place inside meet the line, by ever longer ones; None if one does not."""
    n = len(directions)
    targets = seed.targets[np.zeros(n, int)]
    inner = np.repeat(start[None], n, axis=0)
    f_inner = np.full(n, targets[np.zeros(1, int)].off(energies, start[None])[0])
    outer, f_outer = inner.copy(), f_inner.copy()
    left = np.arange(n)
    while len(left) and reach <= FARTHEST:
        outer[left] = start + reach * directions[left]
        f_outer[left] = targets[left].off(energies, outer[left])
        left = left[(f_outer[left] < 0) == (f_inner[left] < 0)]
        inner[left], f_inner[left] = outer[left], f_outer[left]
        reach *= 2
    if len(left) or not np.isfinite(f_outer).all():
        return None
    return find_roots(energies, targets, (inner, outer), (f_inner, f_outer), tolerance)
