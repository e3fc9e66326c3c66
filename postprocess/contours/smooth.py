"""Points between those of a line, until the straight ways between them are near to it: the middle of every one of them is tested."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray
from postprocess.contours.roots import BandEnergies, Targets, find_roots

ROUNDS = 14
"""Times that chords are halved: around a corner they become 2^14 times shorter."""
BENT = 0.01
"""Distance of a line from the middle of a chord, as part of the chord, from which on both halves are halved again."""
STRAIGHT = 1e-3
"""eV; so far from the energy the middle of a chord may be, where the tolerance of the points is smaller."""
SHALLOW = 2e-3
"""In a pocket that is less deep than 0.5 eV, so much of its depth instead: areas are as exact."""
REACH = (1 / 16, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances from a chord, as parts of it, up to which the line is looked for one after the other: far where it is sharply bent."""

INSIDE = 6
"""About so many places beside the middle where the depth of a pocket is looked for."""

Target = tuple[int, int, float]


@dataclass(frozen=True)
class Smooth:
    """A line.

    Attributes
    ----------
    points : (n, 2) array
        In units of the vectors of the plane; of a closed line the first one is repeated.
    off : (n,) array
        E(k) - E, eV.
    midway : (n - 1,) array
        E(k) - E in the middle between each point and the next, eV.
    limit : float
        What that should not exceed, eV.
    """

    points: FloatArray
    off: FloatArray
    midway: FloatArray
    limit: float

    @property
    def is_closed(self) -> bool:
        """Whether it comes back to its first point."""
        return bool(np.abs(self.points[-1] - self.points[0]).max() < 1e-9)

    @property
    def is_coarse(self) -> bool:
        """Whether the middle of some chord is too far from the energy."""
        return bool(np.nanmax(np.abs(self.midway), initial=0.0) > self.limit)


def smooth_line(energies: BandEnergies, points: FloatArray, off: FloatArray, target: Target, tolerance: float) -> Smooth:
    """A line with more points, until no middle between two of them is farther from the energy than :data:`STRAIGHT`.

    The line lies on the side of a chord that the sign of E(k) - E in its middle tells: smaller values are to the left of a line. It is
    looked for along the normal, at first near by. Where it is not found within :data:`REACH` the chord stays, and its ``midway`` tells.

    Parameters
    ----------
    energies : BandEnergies
        The bands.
    points : (n, 2) array
        On the line, in its direction, in units of the vectors of the plane.
    off : (n,) array
        E(k) - E there, eV.
    target : (int, int, float)
        Spin channel, band, energy (eV).
    tolerance : float
        Largest ``|E(k) - E|`` of new points, eV.
    """
    straight = _straight(energies, points, target, tolerance)
    midway = np.full(len(points) - 1, np.nan)
    limit = np.full(len(points) - 1, tolerance)  # eV, of each chord
    tested = np.zeros(len(points) - 1, bool)
    for number in range(ROUNDS + 1):
        which = np.flatnonzero(~tested)
        if not len(which):
            break
        middle = (points[which] + points[which + 1]) / 2
        f = _targets(target, len(which)).off(energies, middle)
        midway[which], tested[which] = f, True
        coarse = np.abs(f) > limit[which]  # NaN is not
        which, middle, f = which[coarse], middle[coarse], f[coarse]
        if number == ROUNDS:
            break
        found, new, error = _beside(energies, points[which], points[which + 1], f, target, tolerance)
        which, middle, f = which[found], middle[found], f[found]
        basis = energies.plane.basis
        length = np.linalg.norm((points[which + 1] - points[which]) @ basis, axis=1)
        bent = np.linalg.norm((new - middle) @ basis, axis=1) > BENT * length
        allowed = np.where(bent, tolerance, np.clip(np.abs(f) / 2, tolerance, straight))
        points, off = np.insert(points, which + 1, new, axis=0), np.insert(off, which + 1, error)
        limit[which] = allowed
        tested[which] = False
        limit, tested, midway = np.insert(limit, which, allowed), np.insert(tested, which, False), np.insert(midway, which, np.nan)
    return Smooth(points, off, midway, straight)


def _straight(energies: BandEnergies, points: FloatArray, target: Target, tolerance: float) -> float:
    """Largest distance of the middle of a chord from the energy, eV: less in shallow pockets, by the levels at some places inside."""
    if np.abs(points[-1] - points[0]).max() > 1e-9:
        return max(STRAIGHT, tolerance)
    middle = points[:-1].mean(axis=0)
    places = np.vstack([middle, (middle + points[:-1][:: max(1, (len(points) - 1) // INSIDE)]) / 2])
    depth = np.abs(_targets(target, len(places)).off(energies, places))
    return max(tolerance, min(STRAIGHT, SHALLOW * float(np.nanmax(depth, initial=0.0)) or STRAIGHT))


def _targets(target: Target, n: int) -> Targets:
    return Targets(*(np.full(n, x) for x in target))


def _beside(
    energies: BandEnergies, p: FloatArray, q: FloatArray, f: FloatArray, target: Target, tolerance: float
) -> "tuple[IntArray, FloatArray, FloatArray]":
    """On the normals through the middles of chords: which of them meet the line, where, and E(k) - E there."""
    basis = energies.plane.basis
    along = (q - p) @ basis
    right = np.stack([along[:, 1], -along[:, 0]], axis=1) @ np.linalg.inv(basis)
    away = np.where(f < 0, 1, -1)[:, None] * right
    inner, f_inner = (p + q) / 2, f.copy()
    outer, f_outer = inner.copy(), np.full(len(f), np.nan)
    left: npt.NDArray[np.int64] = np.arange(len(f))
    for distance in REACH:
        if not len(left):
            break
        outer[left] = (p[left] + q[left]) / 2 + distance * away[left]
        f_outer[left] = _targets(target, len(left)).off(energies, outer[left])
        left = left[np.isfinite(f_outer[left]) & ((f_outer[left] < 0) == (f[left] < 0))]
        inner[left], f_inner[left] = outer[left], f_outer[left]
    met = np.flatnonzero(np.isfinite(f_outer) & ((f_outer < 0) != (f < 0)))
    place, off = find_roots(energies, _targets(target, len(met)), (inner[met], outer[met]), (f_inner[met], f_outer[met]), tolerance)
    return met, place, off


def counted_twice(lines: Sequence[FloatArray]) -> list[bool]:
    """Which closed lines of a band lie in another one as no line can: the next line outwards goes around the same way.

    A needle that passes between the points of the mesh falls into pieces on it; a smooth line leads around all of them.

    Parameters
    ----------
    lines : sequence of (n, 2) arrays
        Closed ones with the first point repeated, in units of the vectors of the plane.
    """
    areas = np.array([signed_area(line) for line in lines])
    out = [False] * len(lines)
    kept: list[int] = []
    for number in np.argsort(-np.abs(areas), kind="stable").tolist():
        inner = _just_inside(lines[number], areas[number])
        around = 0.0
        for other in kept:
            around += np.sign(areas[other]) * encloses(lines[other], inner)
        out[number] = bool(around * np.sign(areas[number]) > 0)
        kept += [] if out[number] else [number]
    return out


def encloses(line: FloatArray, points: FloatArray) -> bool:
    """Whether most points (n, 2), or of their images under periods one and the same, lie in a closed line."""
    from matplotlib.path import Path

    low, path = np.floor(line.min(axis=0) - points[0]), Path(line)
    images = [path.contains_points(points + low + np.array([a, b])).mean() for a in range(3) for b in range(3)]
    return bool(max(images) > 0.5)


def _just_inside(line: FloatArray, area: float) -> FloatArray:
    """Points beside the middles of chords: so are those of two lines that are the same."""
    along = np.diff(line, axis=0)
    return np.asarray((line[1:] + line[:-1]) / 2 + 0.05 * np.sign(area) * np.stack([-along[:, 1], along[:, 0]], axis=1))


def signed_area(points: FloatArray) -> float:
    """Between a line and the straight way from its first to its last point."""
    a = points - points[0]
    return float((a[:-1, 0] * a[1:, 1] - a[:-1, 1] * a[1:, 0]).sum() / 2)
