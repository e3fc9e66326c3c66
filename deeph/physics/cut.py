"""Ribbons and slabs: so many cells of a crystal between two open boundaries, from the blocks of the crystal.

Blocks between cells of the finite piece are those of the crystal; those that lead out of it are dropped. There are no dangling-bond states
beyond those this gives, and no relaxation or charge transfer at the edges.
"""

from math import gcd
from typing import NamedTuple

import numpy as np

from deeph.physics.layers import heights, spacing_of_planes
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError

EMPTY = 20.0
"""Angstrom between a piece and its images: more than orbitals reach."""
ON_PLANE = 1e-6
"""Of the distance of lattice planes; an atom so little below a plane of the cut lies on it, and belongs to the cell above."""
Direction = int | str | tuple[int, int, int]
"""A lattice vector (0 to 2, or "a", "b", "c"), or the Miller indices of the planes of the cut."""


class Piece(NamedTuple):
    """A finite piece of a crystal.

    Attributes
    ----------
    system : System
        Its atoms: all of the first cell, then of the next. Not periodic along the direction of the cut.
    source : (n_pairs,) int array
        Which block of the crystal each of its blocks is.
    pairs : (n_pairs, 5) int array
        Its pairs.
    atoms : (n_atoms,) int array
        Which atom of the crystal each of its atoms is.
    shifts : (n_atoms, 3) array
        By how much it is displaced from that, Angstrom.
    """

    system: System
    source: IntArray
    pairs: IntArray
    atoms: IntArray
    shifts: FloatArray


def cut_piece(system: System, pairs: IntArray, direction: Direction, width: int, at: float | None = None) -> Piece:
    """So many cells of a crystal between two planes.

    Parameters
    ----------
    system : System
        The crystal, or layer.
    pairs : (n_pairs, 5) int array
        Its pairs, both partners of each.
    direction : int, str or three int
        The lattice vector along which it is cut, the other two lie in the planes of the cut; or the Miller indices of these planes.
    width : int
        Cells (lattice planes) in the piece.
    at : float, optional
        Where the first plane of the cut is, in units of the distance of lattice planes: along a lattice vector its fractional coordinate.
        By default in the widest gap between planes of atoms.

    Raises
    ------
    UsageError
        If the direction is none, or the width not a positive number.
    DataError
        If the structure is not periodic along the direction.
    """
    if isinstance(width, bool) or width != int(width) or width < 1:
        raise UsageError(f"{width} cells: expected a positive whole number")
    n, (vectors, axis) = int(width), plane_vectors(direction, system.cell)
    # the same crystal with lattice vectors of which two lie in the planes
    turned = System(vectors @ system.cell, system.positions, system.numbers)
    R = np.rint(pairs[:, :3] @ np.linalg.inv(vectors)).astype(np.int64)
    i, j = pairs[:, 3], pairs[:, 4]
    wrap = np.floor(turned.fractional[:, axis] - (_widest_gap(turned, axis) if at is None else at) + ON_PLANE).astype(np.int64)
    R[:, axis] += wrap[j] - wrap[i]
    used = np.flatnonzero(vectors[axis])
    if not R[:, axis].any() or not np.array(system.pbc)[used].all():
        raise DataError(f"{system} is not periodic along {direction}: nothing connects its cells there, so there is nothing to cut")

    # cells side by side, each moved back in the planes so that a tilted stack stays upright
    stack, others = turned.cell[axis], [a for a in range(3) if a != axis]
    normal = np.cross(turned.cell[others[0]], turned.cell[others[1]])
    normal *= np.sign(normal @ stack) / np.linalg.norm(normal)
    tilt = np.linalg.solve(np.array([*turned.cell[others], normal]).T, stack)[:2]
    back = np.zeros((n, 3), np.int64)
    back[:, others] = np.rint(np.arange(n)[:, None] * tilt)
    moved = np.arange(n)[:, None] * stack - back @ turned.cell
    positions = (moved[:, None] + system.positions - wrap[:, None] * stack).reshape(-1, 3)
    cell = turned.cell.copy()
    cell[axis] = normal * (np.ptp(positions @ normal) + EMPTY)

    first = np.repeat(np.arange(n), len(pairs))
    source = np.tile(np.arange(len(pairs)), n)
    second = first + R[source, axis]
    inside = np.flatnonzero((second >= 0) & (second < n))
    source, first, second = source[inside], first[inside], second[inside]
    lattice = R[source] + back[second] - back[first]
    lattice[:, axis] = 0
    new = np.column_stack([lattice, first * system.n_atoms + i[source], second * system.n_atoms + j[source]])
    pbc = [a != axis and all(np.array(system.pbc)[np.flatnonzero(vectors[a])]) for a in range(3)]
    atoms = np.tile(np.arange(system.n_atoms), n)
    piece = System(cell, positions, system.numbers[atoms], (pbc[0], pbc[1], pbc[2]))
    return Piece(piece, source, new, atoms, positions - system.positions[atoms])


def _widest_gap(system: System, axis: int) -> float:
    """The middle of the widest gap between planes of atoms, as a fractional coordinate."""
    above, gap = heights(system, axis)
    return float(system.fractional[np.argmin(above), axis] - gap / 2 / spacing_of_planes(system, axis))


def plane_vectors(direction: Direction, cell: FloatArray) -> tuple[IntArray, int]:
    """(3, 3) lattice vectors, rows in units of the given ones, and which of them leads from one plane to the next; UsageError if none."""
    if isinstance(direction, str) and direction in ("a", "b", "c"):
        return np.eye(3, dtype=np.int64), "abc".index(direction)
    if direction in (0, 1, 2):
        return np.eye(3, dtype=np.int64), int(direction)
    miller = np.array(direction) if isinstance(direction, tuple | list | np.ndarray) else np.zeros(0)
    if miller.shape != (3,) or miller.dtype.kind != "i" or not miller.any():
        raise UsageError(
            f"direction {direction!r}: expected a lattice vector (0, 1, 2 or 'a', 'b', 'c') or Miller indices such as (1, 1, 0)"
        )
    h = [int(x) for x in miller // gcd(*miller.tolist())]
    used, out = np.flatnonzero(h), np.eye(3, dtype=np.int64)
    if len(used) == 1:
        return out, int(used[0])
    p, q = used[:2].tolist()
    g, x, y = _bezout(h[p], h[q])
    out[p] = 0
    out[p, [p, q]] = h[q] // g, -h[p] // g
    axis, to_next = q, np.zeros(3, np.int64)
    to_next[[p, q]] = x, y
    if len(used) == 3:
        _, s, t = _bezout(g, h[2])
        out[1] = -h[2] * to_next + g * np.eye(3, dtype=np.int64)[2]
        axis, to_next = 2, s * to_next + t * np.eye(3, dtype=np.int64)[2]
        out[:2] = _shortest(out[:2], cell)
    out[axis] = to_next
    if np.linalg.det(out) < 0:
        out[p] *= -1
    return out, axis


def _bezout(a: int, b: int) -> tuple[int, int, int]:
    """(g, x, y) with g = gcd(a, b) = a x + b y."""
    if b == 0:
        return abs(a), 1 if a > 0 else -1, 0
    g, x, y = _bezout(b, a % b)
    return g, y, x - (a // b) * y


def _shortest(vectors: IntArray, cell: FloatArray) -> IntArray:
    """The two shortest vectors of a plane lattice (Gauss), rows in units of the cell."""
    u, v = sorted(vectors, key=lambda w: float(np.linalg.norm(w @ cell)))
    while True:
        v = v - round(float((v @ cell) @ (u @ cell)) / float(np.linalg.norm(u @ cell)) ** 2) * u
        if np.linalg.norm(v @ cell) >= np.linalg.norm(u @ cell) - 1e-9:
            return np.array([u, v])
        u, v = v, u
