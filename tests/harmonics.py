"""Rotations of real spherical harmonics from their Cartesian formulas, independent of the package and of e3nn."""

from collections.abc import Sequence

import numpy as np

FORMULAS = {
    0: lambda x, y, z: [np.ones_like(x + y + z)],
    1: lambda x, y, z: [y, z, x],
    2: lambda x, y, z: [3**0.5 * x * y, 3**0.5 * y * z, z**2 - (x**2 + y**2) / 2, 3**0.5 * x * z, 3**0.5 / 2 * (x**2 - y**2)],
    3: lambda x, y, z: [
        (5 / 8) ** 0.5 * y * (3 * x**2 - y**2),
        15**0.5 * x * y * z,
        (3 / 8) ** 0.5 * y * (4 * z**2 - x**2 - y**2),
        z * (2 * z**2 - 3 * x**2 - 3 * y**2) / 2,
        (3 / 8) ** 0.5 * x * (4 * z**2 - x**2 - y**2),
        15**0.5 / 2 * z * (x**2 - y**2),
        (5 / 8) ** 0.5 * x * (x**2 - 3 * y**2),
    ],
}
"""m = -l..l, without the Condon-Shortley sign, as on https://en.wikipedia.org/wiki/Table_of_spherical_harmonics."""


def rotation_to_z(vector: np.ndarray) -> np.ndarray:
    """A proper rotation that turns a vector to the z axis."""
    z = vector / np.linalg.norm(vector)
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def rotation_of_shell(rotation: np.ndarray, l: int) -> np.ndarray:
    """(2l+1, 2l+1) matrix D with Y(R v) = D Y(v)."""
    points = np.random.default_rng(0).normal(size=(40, 3))
    before, after = (np.array(FORMULAS[l](*p.T)) for p in (points, points @ rotation.T))
    return np.linalg.lstsq(before.T, after.T, rcond=None)[0].T


def rotation_of_atom(rotation: np.ndarray, shells: Sequence[int]) -> np.ndarray:
    """Block-diagonal rotation of all orbitals of an atom."""
    size = sum(2 * l + 1 for l in shells)
    out, start = np.zeros((size, size)), 0
    for l in shells:
        stop = start + 2 * l + 1
        out[start:stop, start:stop] = rotation_of_shell(rotation, l)
        start = stop
    return out
