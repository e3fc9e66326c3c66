"""How orbitals and spins turn with the structure: matrices for real harmonics in the project's order, and SU(2)."""

from collections.abc import Sequence
from functools import cache
from math import pi
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.harmonics import solid_harmonics
from deeph.physics.system import FloatArray


@cache
def _quadrature(l: int) -> tuple[FloatArray, FloatArray]:
    """Points (n, 3) on the unit sphere, and (n, 2l+1) weighted harmonics, exact for products of two harmonics of order l."""
    z, weight = np.polynomial.legendre.leggauss(l + 1)
    phi = 2 * pi * np.arange(2 * l + 1) / (2 * l + 1)
    rho = np.sqrt(1 - z * z)
    points = np.stack([np.outer(rho, np.cos(phi)), np.outer(rho, np.sin(phi)), np.outer(z, np.ones_like(phi))], -1).reshape(-1, 3)
    weights = np.repeat(weight, 2 * l + 1) * 2 * pi / (2 * l + 1)
    return points, (solid_harmonics(l, points)[l * l :] * weights).T


def shell_rotation(l: int, Q: FloatArray) -> FloatArray:
    """D with Y_l(Q v) = D Y_l(v), for proper and improper rotations.

    A matrix of a structure turned by Q has the blocks D_i M_ij D_j^T, with the D of the shells of atom i and j.

    Parameters
    ----------
    l : int
        Angular momentum.
    Q : (..., 3, 3) array
        Orthogonal matrices acting on column vectors.

    Returns
    -------
    (..., 2l+1, 2l+1) array
        Orthogonal, m = -l..l.
    """
    Q = np.asarray(Q, np.float64)
    points, weighted = _quadrature(l)
    turned = np.einsum("...ab,nb->...na", Q, points)
    Y = solid_harmonics(l, turned.reshape(-1, 3))[l * l :].reshape(2 * l + 1, *turned.shape[:-1])
    return np.asarray(np.moveaxis(Y, 0, -2) @ weighted)


def atom_rotation(shells: Sequence[int], Q: FloatArray) -> FloatArray:
    """(..., n_orbitals, n_orbitals) block-diagonal rotation of all orbitals of an atom; see :func:`shell_rotation`."""
    size = sum(2 * l + 1 for l in shells)
    out = np.zeros((*np.shape(Q)[:-2], size, size))
    D = {l: shell_rotation(l, Q) for l in set(shells)}
    start = 0
    for l in shells:
        stop = start + 2 * l + 1
        out[..., start:stop, start:stop] = D[l]
        start = stop
    return out


def spin_rotation(Q: FloatArray) -> npt.NDArray[Any]:
    """(2, 2) unitary U = exp(-i angle n.sigma/2) of a rotation about n, up to its sign; an inversion does not turn spins.

    Parameters
    ----------
    Q : (3, 3) array
        Orthogonal; of an improper one the proper part counts, so that U (m.sigma) U^dagger = (det Q) (Q m).sigma.
    """
    from scipy.spatial.transform import Rotation

    Q = np.asarray(Q, np.float64)
    x, y, z, w = Rotation.from_matrix(Q * np.sign(np.linalg.det(Q))).as_quat()
    return np.array([[w - 1j * z, -1j * x - y], [-1j * x + y, w + 1j * z]])


def bond_rotations(vectors: FloatArray) -> FloatArray:
    """(n, 3, 3) proper rotations that turn each vector to the z axis; which roll about it is arbitrary."""
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    x = np.cross(z, np.eye(3)[np.abs(z).argmin(axis=1)])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)
