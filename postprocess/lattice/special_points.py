"""Names of the special k-points, resolved from the actual lattice.

K of a hexagonal cell is (1/3, 1/3) when the two lattice vectors enclose 120 degrees and (1/3, 2/3) when they enclose 60. A slab, a
chain or a molecule in a periodic box is recognized (see :mod:`postprocess.lattice.periodic`), so that a bilayer offers G, M, K and not
the points of a three-dimensional crystal.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from postprocess.lattice.periodic import periodic_directions
from postprocess.lattice.point_group import symmetrized

EXACT, NEAR = 1e-3, 0.03
"""Relative deviation of lengths and cosines that counts as rounding, and as strain of a still recognizable lattice."""

# ASE has tables of plane lattices, too (3.29). These stay because there K' is missing, as is S of centred rectangular lattices (two of
# the four k with k = -k + G), and because H and H1 of oblique lattices are no corners of the zone in every second cell.
_PLANE: dict[str, tuple[str, dict[str, tuple[float, float]]]] = {
    "hexagonal": ("GMKG", {"G": (0, 0), "M": (1 / 2, 0), "K": (1 / 3, 1 / 3), "K'": (-1 / 3, -1 / 3)}),
    "square": ("GXMG", {"G": (0, 0), "X": (1 / 2, 0), "M": (1 / 2, 1 / 2)}),
    "rectangular": ("GXSYG", {"G": (0, 0), "X": (1 / 2, 0), "Y": (0, 1 / 2), "S": (1 / 2, 1 / 2)}),
    "centred rectangular": ("GXSA1YG", {"G": (0, 0), "S": (1 / 2, 0), "Y": (1 / 2, 1 / 2)}),
    "oblique": ("GYHSH1XG", {"G": (0, 0), "X": (1 / 2, 0), "Y": (0, 1 / 2), "S": (1 / 2, 1 / 2)}),
}
"""Usual path and points of the plane lattices, around the edge of the zone. The two lattice vectors enclose 120 or 90 degrees, or less
than 90 in the last two lattices, whose S is then on the edge; those of a centred one are equally long."""
_CORNERS: dict[str, dict[str, tuple[tuple[int, int], tuple[int, int]]]] = {
    "centred rectangular": {"X": ((1, 0), (0, -1)), "A1": ((1, 0), (1, 1))},
    "oblique": {"H": ((0, 1), (1, 1)), "H1": ((1, 0), (1, 1))},
}
"""Corners of the zone that depend on lengths and angles: the two reciprocal lattice vectors that are as near to them as Gamma."""


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


def special_points(structure: System | Hamiltonian) -> tuple[SpecialPoints, ...]:
    """Find the named k-points of a structure.

    Returns
    -------
    tuple of SpecialPoints
        First the lattice that the cell has to within rounding (:data:`EXACT`), so that a tetragonal crystal keeps Z, however close to
        cubic; then, if there is one, the more symmetric lattice that it is a strained form of (within :data:`NEAR`), whose names one is
        used to. Two-dimensional lattices by their reduced vectors; three-dimensional ones by ASE (Setyawan & Curtarolo,
        doi:10.1016/j.commatsci.2010.05.010); the zone boundary of a chain carries the letter of its axis (X, Y or Z; in ASE always X).
    """
    system = structure if isinstance(structure, System) else structure.system
    axes = np.flatnonzero(periodic_directions(structure))
    gamma = {"G": np.zeros(3)}
    if len(axes) == 0:
        return (SpecialPoints("molecule", gamma, "G"),)
    if len(axes) == 1:
        name = "XYZ"[axes[0]]
        return (SpecialPoints("1D chain", {**gamma, name: np.eye(3)[axes[0]] / 2}, "G" + name),)
    find = _plane_points if len(axes) == 2 else _bulk_points
    exact, near = find(system, axes, EXACT), find(system, axes, NEAR)
    return (exact,) if near.lattice == exact.lattice else (exact, near)


def _plane_points(system: System, axes: IntArray, tolerance: float) -> SpecialPoints:
    kind, transform = _plane_lattice(system.cell[axes], tolerance)
    path, named = _PLANE[kind]
    reduced = {name: np.array(k) for name, k in named.items()}
    b = np.linalg.inv(transform @ system.cell[axes] @ np.linalg.qr(system.cell[axes].T)[0]).T  # reciprocal, without 2 pi
    for name, nearest in _CORNERS.get(kind, {}).items():
        G = np.array(nearest) @ b  # k.G = G.G/2: as far from G as from Gamma
        reduced[name] = np.linalg.solve(G, (G**2).sum(axis=1) / 2) @ np.linalg.inv(b)
    back = np.linalg.inv(transform)  # fractional k of the reduced cell = transform @ fractional k of the given cell
    points = {name: np.zeros(3) for name in reduced}
    for name, k in reduced.items():
        points[name][axes] = back @ k
    return SpecialPoints(f"2D {kind}", points, path)


def _plane_lattice(vectors: FloatArray, tolerance: float) -> tuple[str, FloatArray]:
    """The lattice of two vectors, and the (2, 2) integer matrix that turns them into those to which its points refer."""
    transform = _reduced(vectors, tolerance)
    lengths = np.linalg.norm(transform @ vectors, axis=1)
    equal = bool(abs(lengths[0] - lengths[1]) < tolerance * lengths[0])
    product = float(np.prod(transform @ vectors, axis=0).sum())
    cosine = product / float(np.prod(lengths))
    if abs(cosine) < tolerance:
        return ("square" if equal else "rectangular"), transform
    if equal and abs(abs(cosine) - 0.5) < tolerance:
        if cosine > 0:  # 60 degrees: take b - a, which encloses 120 with a
            transform[1] -= transform[0]
        return "hexagonal", transform
    if cosine < 0:
        transform[1] *= -1
    if equal:
        return "centred rectangular", transform
    short = int(np.argmin(lengths))
    if abs(abs(product) / lengths[short] ** 2 - 0.5) < tolerance:  # the longer vector ends above the middle of the shorter one
        return "centred rectangular", np.array([transform[1 - short], transform[1 - short] - transform[short]])
    return "oblique", transform


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

    # ASE alone takes a hexagonal cell with noise of 1e-4 for a monoclinic one, even at ten times that tolerance. It wants right-handed
    # vectors; inverting all three keeps the fractional coordinates
    symmetric = symmetrized(system.cell, tolerance)
    cell = Cell(symmetric * np.sign(np.linalg.det(symmetric)))
    try:
        found = cell.bandpath(npoints=0, eps=tolerance)
        name = cell.get_bravais_lattice(eps=tolerance).longname
    except (RuntimeError, ValueError):  # ASE found no lattice within this tolerance
        corners = {"G": (0, 0, 0), "X": (1, 0, 0), "Y": (0, 1, 0), "Z": (0, 0, 1), "R": (1, 1, 1)}
        return SpecialPoints("3D triclinic", {n: np.array(k) / 2 for n, k in corners.items()}, "GX,GY,GZ,GR")
    points = dict(sorted(found.special_points.items(), key=lambda item: item[0] != "G"))
    return SpecialPoints(f"3D {name}", {n: np.asarray(k, float) for n, k in points.items()}, found.path)
