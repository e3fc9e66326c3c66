"""Real spherical harmonics in the project's order and sign (see :mod:`deeph.physics.conventions`), their products and gradients.

The solid harmonics Y_lm(v) = |v|^l Y_lm(v/|v|) are polynomials: no angles, no special directions, smooth at the origin.
"""

from functools import cache
from math import factorial, pi, sqrt

import numpy as np

from deeph.physics.system import FloatArray


def solid_harmonics(l_max: int, vectors: FloatArray) -> FloatArray:
    """Real solid harmonics, orthonormal on the unit sphere.

    Parameters
    ----------
    l_max : int
        Largest l.
    vectors : (n, 3) array
        x, y, z.

    Returns
    -------
    ((l_max + 1)^2, n) array
        Row l^2 + l + m holds |v|^l Y_lm(v/|v|), m = -l..l, with sin(|m| phi) for m < 0 and cos(m phi) for m >= 0.
    """
    x, y, z = np.asarray(vectors, np.float64).T
    r2 = x * x + y * y + z * z
    out = np.empty(((l_max + 1) ** 2, len(z)))
    cosine, sine = np.ones_like(z), np.zeros_like(z)  # Re and Im of (x + iy)^m
    for m in range(l_max + 1):
        last, legendre = np.zeros_like(z), np.full_like(z, float(_odd_factorial(m)))  # |v|^l P_l^m / (x^2 + y^2)^(m/2)
        for l in range(m, l_max + 1):
            if l > m:
                last, legendre = legendre, ((2 * l - 1) * z * legendre - (l + m - 1) * r2 * last) / (l - m)
            norm = sqrt((2 * l + 1) / (4 * pi) * (2 if m else 1) * factorial(l - m) / factorial(l + m))
            out[l * l + l + m] = norm * legendre * cosine
            if m:
                out[l * l + l - m] = norm * legendre * sine
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
    return out


def _odd_factorial(m: int) -> int:
    """(2m - 1)!!."""
    return int(np.prod(np.arange(1, 2 * m, 2), dtype=np.int64))


@cache
def gaunt(l1: int, l2: int, l3: int) -> FloatArray:
    """(2 l1 + 1, 2 l2 + 1, 2 l3 + 1) integrals of Y_l1 Y_l2 Y_l3 over the unit sphere.

    By a quadrature that is exact for polynomials of this degree (Gauss-Legendre in cos theta, equidistant in phi).
    """
    degree = l1 + l2 + l3
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    phi = 2 * pi * np.arange(degree + 1) / (degree + 1)
    rho = np.sqrt(1 - z * z)
    points = np.stack([np.outer(rho, np.cos(phi)), np.outer(rho, np.sin(phi)), np.outer(z, np.ones_like(phi))], -1).reshape(-1, 3)
    weights = np.repeat(weight, degree + 1) * 2 * pi / (degree + 1)
    Y = solid_harmonics(max(l1, l2, l3), points)
    a, b, c = (Y[l * l : (l + 1) ** 2] for l in (l1, l2, l3))
    out = np.einsum("an,bn,cn,n->abc", a, b, c, weights)
    out[np.abs(out) < 1e-13] = 0.0
    return np.asarray(out)


@cache
def position_coefficients(l: int, other: int) -> FloatArray:
    """(3, 2 l + 1, 2 other + 1) integrals of n_a Y_l Y_other over the unit sphere, n = (x, y, z); zero unless other = l +- 1."""
    return np.asarray(sqrt(4 * pi / 3) * gaunt(1, l, other)[[2, 0, 1]])


def solid_gradient(l: int) -> FloatArray:
    """(3, 2 l + 1, 2 l - 1) coefficients of the gradient, d_a Y_lm = sum_m' C[a, m, m'] Y_(l-1)m' for solid harmonics, l >= 1."""
    return (2 * l + 1) * position_coefficients(l, l - 1)
