"""Lines f = 0 of a function that is known at the corners of a periodic mesh of triangles: where they cross the edges, and what joins them.

The n1 x n2 points of the mesh have the places (i, j) in steps. Each parallelogram is cut along its diagonal from (i, j) to
(i + 1, j + 1); edges begin at a point and lead to (1, 0), (0, 1) or (1, 1). The number of an edge is 3 times that of its first point
plus the place in :data:`STEPS`.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.system import FloatArray, IntArray

STEPS = np.array([[1, 0], [0, 1], [1, 1]])


@dataclass(frozen=True)
class Crossings:
    """Where one line crosses the edges of the mesh, and how it goes on.

    Attributes
    ----------
    edges : (n,) int array
        Numbers of the edges, ascending.
    start, end : (n, 2) int arrays
        Both ends of each edge, in steps.
    low, high : (n,) arrays
        The values there.
    segments : (m, 2) int array
        Pairs of crossings in one triangle (places in ``edges``), so directed that the smaller values lie to the left.
    shifts : (m, 2, 2) int array
        By how many steps each end of a segment is moved to lie in the triangle of the segment, which may be across the boundary.
    below : float
        Part of the mesh whose triangles lie below zero as a whole.
    partly : (m, 3) array
        For each segment: the corner that lies alone on its side, in steps, and its value.
    """

    edges: IntArray
    start: IntArray
    end: IntArray
    low: FloatArray
    high: FloatArray
    segments: IntArray
    shifts: IntArray
    below: float
    partly: FloatArray


def find_crossings(values: FloatArray) -> Crossings:
    """The line f = 0 of (n1, n2) values; NaN where they are not known, which no line crosses."""
    n = np.array(values.shape)
    points = np.stack(np.meshgrid(*map(np.arange, n), indexing="ij"), axis=-1).reshape(-1, 2)

    def at(place: IntArray) -> FloatArray:
        return np.asarray(values[place[..., 0] % n[0], place[..., 1] % n[1]])

    ends = points[:, None] + STEPS
    low, high = np.broadcast_to(at(points)[:, None], ends.shape[:2]), at(ends)
    crossed = ((low < 0) != (high < 0)) & np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(crossed)
    first, kind = np.divmod(edges, 3)
    corners, segments, shifts, alone = [], [], [], []
    for middle in (0, 1):  # triangles (0, 0), (1, 0) or (0, 1), (1, 1), counterclockwise for the first and clockwise for the second
        corner = points[:, None] + np.array([[0, 0], STEPS[middle], [1, 1]])
        f = at(corner)
        known = np.isfinite(f).all(axis=1)
        corners.append(np.where(known, (f < 0).sum(axis=1), -1))
        mixed = np.flatnonzero(known & ((f < 0).any(axis=1)) & (f >= 0).any(axis=1))
        corner, f, negative = corner[mixed], f[mixed], f[mixed] < 0
        single = np.where(negative.sum(axis=1) == 1, np.argmax(negative, axis=1), np.argmin(negative, axis=1))
        which = np.arange(len(mixed))
        lone, (b, c) = corner[which, single], (corner[which, (single + 1) % 3], corner[which, (single + 2) % 3])
        forward = negative[which, single] == (middle == 0)  # see below: the crossing on the edge to b comes first
        pair = np.stack([_edge(lone, b, n), _edge(lone, c, n)], axis=1)
        moved = np.stack([_shift(lone, b, n), _shift(lone, c, n)], axis=1)
        order = np.where(forward, 0, 1)[:, None] ^ np.arange(2)
        segments.append(np.take_along_axis(pair, order, 1))
        shifts.append(np.take_along_axis(moved, order[..., None], 1))
        alone.append(np.column_stack([lone, f[which, single]]))
    place = np.searchsorted(edges, np.concatenate(segments))
    below = float((np.concatenate(corners) == 3).mean())
    return Crossings(
        edges, points[first], points[first] + STEPS[kind], low.ravel()[edges], high.ravel()[edges], place, np.concatenate(shifts), below,
        np.concatenate(alone),
    )  # fmt: skip


def _edge(a: IntArray, b: IntArray, n: IntArray) -> IntArray:
    """Number of the edge between two corners."""
    start = np.minimum(a, b)
    step = np.abs(b - a)
    kind = np.where(step.sum(axis=1) == 2, 2, step[:, 1])
    return np.asarray(3 * np.ravel_multi_index(tuple((start % n).T), tuple(n)) + kind)


def _shift(a: IntArray, b: IntArray, n: IntArray) -> IntArray:
    start = np.minimum(a, b)
    return start - start % n


def chains(segments: IntArray, n_points: int) -> list[IntArray]:
    """Directed segments (m, 2) between points as lines: places of the segments one after the other, each line as long as possible."""
    following = np.full(n_points, -1)
    following[segments[:, 0]] = np.arange(len(segments))
    begins = np.setdiff1d(segments[:, 0], segments[:, 1])  # of lines that end where nothing is known
    left = np.ones(len(segments), bool)
    out = []
    for start in [*following[begins].tolist(), *range(len(segments))]:
        line, place = [], start
        while place >= 0 and left[place]:
            left[place] = False
            line.append(place)
            place = int(following[segments[place, 1]])
        if line:
            out.append(np.array(line))
    return out
