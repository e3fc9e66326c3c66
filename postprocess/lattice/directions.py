"""Directions of a lattice that have names: [100], [110], [111] of a cubic one, else from Gamma to its special points."""

from itertools import combinations, product

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.lattice.special_points import special_points

SAME = 1e-3
"""Relative deviation of lengths and cosines that counts as rounding."""


def named_directions(structure: System | Hamiltonian) -> dict[str, FloatArray]:
    """Cartesian unit vectors along which effective masses of degenerate bands are given.

    Returns
    -------
    dict of str to (3,) array
        ``[100]``, ``[110]`` and ``[111]`` of a cubic lattice, whatever its cell; the directions from Gamma to the special points of a
        chain or a slab; the reciprocal vectors ``b1``, ``b2``, ``b3`` of another crystal.
    """
    system = structure if isinstance(structure, System) else structure.system
    lattice = special_points(structure)[0]
    if "cubic" in lattice.lattice and (axes := _cubic_axes(system)) is not None:
        return {f"[{h}{k}{l}]": _unit(np.array([h, k, l]) @ axes) for h, k, l in ((1, 0, 0), (1, 1, 0), (1, 1, 1))}
    if all(periodic_directions(structure)):
        return {f"b{n + 1}": _unit(b) for n, b in enumerate(system.reciprocal)}
    out: dict[str, FloatArray] = {}
    for name, k in lattice.points.items():
        if k.any():
            u = _unit(k @ in_plane_reciprocal(structure))
            if all(abs(u @ other) < 1 - SAME for other in out.values()):
                out[f"G-{name}"] = u
    return out


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))


def _cubic_axes(system: System) -> FloatArray | None:
    """(3, 3) the edges of the conventional cell as rows: the shortest lattice vectors of one length that are orthogonal."""
    vectors = np.array([n for n in product(range(-2, 3), repeat=3) if n > (0, 0, 0)]) @ system.cell
    lengths = np.linalg.norm(vectors, axis=1)
    for length in np.unique(np.round(lengths, 3)):
        shell = vectors[np.abs(lengths - length) < SAME * length]
        for axes in combinations(shell, 3):
            if np.abs(np.array(axes) @ np.transpose(axes) - length**2 * np.eye(3)).max() < 10 * SAME * length**2:
                edges = np.array(axes)
                return np.asarray(edges * np.sign(edges[range(3), np.abs(edges).argmax(axis=1)])[:, None])
    return None
