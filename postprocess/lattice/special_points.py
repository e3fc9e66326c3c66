"""Names of the special k-points, resolved from the actual lattice.

K of a hexagonal cell is (1/3, 1/3) when the two lattice vectors enclose 120 degrees and (1/3, 2/3) when they enclose 60. A slab, a
chain or a molecule in a periodic box is recognized by the empty space around it, so that a bilayer offers G, M, K and not the
points of a three-dimensional crystal.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.system import FloatArray, IntArray, System

VACUUM = 6.0
"""Empty space, in Angstrom, that separates periodic images: bands do not disperse across it."""

EXACT, NEAR = 1e-3, 0.03
"""Relative deviation of lengths and cosines that counts as rounding, and as strain of a still recognizable lattice."""

_PLANE: dict[str, tuple[str, dict[str, tuple[float, float]]]] = {
    "hexagonal": ("GMKG", {"G": (0, 0), "M": (1 / 2, 0), "K": (1 / 3, 1 / 3), "K'": (-1 / 3, -1 / 3)}),
    "square": ("GXMG", {"G": (0, 0), "X": (1 / 2, 0), "M": (1 / 2, 1 / 2)}),
    "rectangular": ("GXSYG", {"G": (0, 0), "X": (1 / 2, 0), "Y": (0, 1 / 2), "S": (1 / 2, 1 / 2)}),
    "oblique": ("GXSYG", {"G": (0, 0), "X": (1 / 2, 0), "Y": (0, 1 / 2), "S": (1 / 2, 1 / 2)}),
}
"""Default path and points of the plane lattices, for reduced vectors that enclose 90 degrees or more."""


@dataclass(frozen=True)
class SpecialPoints:
    """The named k-points of one structure.

    Attributes
    ----------
    lattice : str
        What was recognized, e.g. ``"2D hexagonal"``.
    points : dict of str to (3,) array
        Fractional coordinates in the reciprocal vectors of the given cell.
    path : str
        The usual path, e.g. ``"GMKG"``; a comma is a break.
    """

    lattice: str
    points: dict[str, FloatArray]
    path: str

    def describe(self) -> str:
        """The points with their coordinates, on one line."""
        return ", ".join(f"{name} ({', '.join(f'{x:.4g}' for x in k + 0.0)})" for name, k in self.points.items())


def periodic_directions(system: System) -> tuple[bool, bool, bool]:
    """Along which lattice vectors the structure is connected, i.e. not cut by :data:`VACUUM` of empty space."""
    wrapped = np.sort(system.fractional % 1.0, axis=0)
    gaps = np.diff(np.concatenate([wrapped, wrapped[:1] + 1.0]), axis=0).max(axis=0)
    heights = 2 * np.pi / np.linalg.norm(system.reciprocal, axis=1)
    a, b, c = ((gaps * heights < VACUUM) & np.array(system.pbc)).tolist()
    return a, b, c


def special_points(system: System) -> tuple[SpecialPoints, ...]:
    """Find the named k-points of a structure.

    Returns
    -------
    tuple of SpecialPoints
        The lattice of the cell; a strained cell gives two entries, first the symmetric lattice it comes from (within :data:`NEAR`),
        last its own. Two-dimensional lattices by their reduced vectors; three-dimensional ones by ASE (Setyawan & Curtarolo,
        doi:10.1016/j.commatsci.2010.05.010); the zone boundary of a chain carries the letter of its axis (X, Y or Z).
    """
    axes = np.flatnonzero(periodic_directions(system))
    gamma = {"G": np.zeros(3)}
    if len(axes) == 0:
        return (SpecialPoints("molecule", gamma, "G"),)
    if len(axes) == 1:
        name = "XYZ"[axes[0]]
        return (SpecialPoints("1D chain", {**gamma, name: np.eye(3)[axes[0]] / 2}, "G" + name),)
    find = _plane_points if len(axes) == 2 else _bulk_points
    near, exact = find(system, axes, NEAR), find(system, axes, EXACT)
    return (exact,) if near.lattice == exact.lattice else (near, exact)


def _plane_points(system: System, axes: IntArray, tolerance: float) -> SpecialPoints:
    transform = _reduced(system.cell[axes], tolerance)
    a, b = transform @ system.cell[axes]
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    cosine, equal = float(a @ b / (length_a * length_b)), bool(abs(length_a - length_b) < tolerance * length_a)
    if equal and abs(abs(cosine) - 0.5) < tolerance:
        kind = "hexagonal"
        if cosine > 0:  # 60 degrees: take b - a, which encloses 120 with a
            transform[1] -= transform[0]
    elif abs(cosine) < tolerance:
        kind = "square" if equal else "rectangular"
    else:
        kind = "oblique"
    path, names = _PLANE[kind]
    back = np.linalg.inv(transform)  # fractional k of the reduced cell = transform @ fractional k of the given cell
    points = {name: np.zeros(3) for name in names}
    for name, k in names.items():
        points[name][axes] = back @ np.array(k)
    return SpecialPoints(f"2D {kind}", points, path)


def _reduced(vectors: FloatArray, tolerance: float) -> FloatArray:
    """(2, 2) integer matrix that makes two lattice vectors as short as possible (Gauss reduction)."""
    transform = np.eye(2)
    while True:
        current = transform @ vectors
        lengths = np.linalg.norm(current, axis=1)
        long = int(lengths[1] >= lengths[0] * (1 - tolerance))
        short = 1 - long
        n = np.rint((1 - tolerance) * (current[0] @ current[1]) / lengths[short] ** 2)  # a tie (60, 120 degrees) is left alone
        if n == 0:
            return transform
        transform[long] -= n * transform[short]


def _bulk_points(system: System, _axes: IntArray, tolerance: float) -> SpecialPoints:
    from ase.cell import Cell

    # ASE wants right-handed vectors; inverting all three keeps the fractional coordinates
    cell = Cell(system.cell * np.sign(np.linalg.det(system.cell)))
    try:
        found = cell.bandpath(npoints=0, eps=tolerance)
        name = cell.get_bravais_lattice(eps=tolerance).longname
    except (RuntimeError, ValueError):  # ASE found no lattice within this tolerance
        corners = {"G": (0, 0, 0), "X": (1, 0, 0), "Y": (0, 1, 0), "Z": (0, 0, 1), "R": (1, 1, 1)}
        return SpecialPoints("3D triclinic", {n: np.array(k) / 2 for n, k in corners.items()}, "GX,GY,GZ,GR")
    points = dict(sorted(found.special_points.items(), key=lambda item: item[0] != "G"))
    return SpecialPoints(f"3D {name}", {n: np.asarray(k, float) for n, k in points.items()}, found.path)
