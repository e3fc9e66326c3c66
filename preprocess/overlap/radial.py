"""Two-centre functions of pairs of shells, by spherical Bessel transforms.

With the transform f(k) = int r^2 R(r) j_l(kr) dr of each shell, everything two shells a on atom i and b on atom j can do is in
g_L(d) = int k^2 f_a(k) f_b(k) w(k) j_L(kd)/d^L dk,     w = 1 (overlap) or k^2 / 2 (kinetic energy).
Functions of finite range are sampled exactly on a coarse mesh of the other space (Whittaker-Shannon), so the trapezoidal rule with
dk = pi / (sum of the two ranges) has no error but that of ending at the ``k_max`` of the orbitals.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, make_interp_spline
from scipy.special import factorial2, spherical_jn

from deeph.physics.orbitals import RadialFunction
from deeph.physics.system import FloatArray

SPACING = 0.01
"""Mesh of the tabulated functions g_L(d), Angstrom; quintic splines between them are good to 1e-10."""


class Transform(NamedTuple):
    """f(k) of a shell, on k = 0, dk, 2 dk, ...; ``l`` is that of its harmonics."""

    l: int
    values: FloatArray


def resampled(shell: RadialFunction, power: int, k_max: float) -> tuple[FloatArray, FloatArray]:
    """Grid and r^power R(r) on a uniform mesh that resolves ``k_max`` up to the end of the shell."""
    n = int(np.ceil(shell.r[-1] * k_max / np.pi * 2.5)) + 16
    r = np.linspace(0.0, shell.r[-1], n)
    return r, CubicSpline(shell.r, shell.values)(np.maximum(r, shell.r[0])) * r**power


def bessel_transform(shell: RadialFunction, l: int, power: int, k: FloatArray, k_max: float) -> Transform:
    """Transform of r^power R(r) with j_l; for the overlap l is the shell's own and ``power`` 0."""
    r, values = resampled(shell, power, k_max)
    weights = np.full(len(r), r[1] - r[0])
    weights[[0, -1]] /= 2
    integrand = weights * r**2 * values
    return Transform(l, np.concatenate([spherical_jn(l, np.outer(part, r)) @ integrand for part in np.array_split(k, len(k) // 500 + 1)]))


class Table(NamedTuple):
    """g_L(d) of some pairs of shells (a, b): ``spline(d)`` is (n, n_pairs) for n distances."""

    L: int
    shells: list[tuple[int, int]]
    spline: Any


def two_centre_tables(
    left: dict[int, list[Transform]], right: dict[int, list[Transform]], weight: FloatArray, k: FloatArray, reach: float
) -> dict[tuple[int, int], list[Table]]:
    """g_L(d) of all pairs of shells of all pairs of elements; they share the Bessel functions, which are the work.

    Parameters
    ----------
    left, right : dict of atomic number to list of Transform
        Shells of each element, in basis order.
    weight : (n_k,) array
        w(k).
    k : (n_k,) array
        Uniform mesh from zero.
    reach : float
        Largest distance, Angstrom.
    """
    d = np.linspace(0.0, reach, int(np.ceil(reach / SPACING)) + 1)
    parts = np.array_split(np.arange(len(k)), len(k) // 500 + 1)
    measure = weight * k**2 * (k[1] - k[0])
    out: dict[tuple[int, int], list[Table]] = {(zi, zj): [] for zi in left for zj in right}
    for L in range(max(t.l for f in left.values() for t in f) + max(t.l for f in right.values() for t in f) + 1):
        members = [
            (pair, (a, b))
            for pair in out
            for a, s in enumerate(left[pair[0]])
            for b, t in enumerate(right[pair[1]])
            if couples(s.l, t.l, L)
        ]
        if not members:
            continue
        products = np.stack([left[zi][a].values * right[zj][b].values * measure for (zi, zj), (a, b) in members], axis=1)
        g = np.zeros((len(d), len(members)))
        for part in parts:
            g += _reduced_bessel(L, k[part], d) @ products[part]
        for pair, tables in out.items():
            columns = [n for n, (own, _) in enumerate(members) if own == pair]
            if columns:
                tables.append(Table(L, [members[n][1] for n in columns], _even_spline(d, g[:, columns])))
    return out


def couples(l1: int, l2: int, L: int) -> bool:
    """Whether harmonics of l1 and l2 have a product with a part of L."""
    return abs(l1 - l2) <= L <= l1 + l2 and (l1 + l2 - L) % 2 == 0


def _reduced_bessel(L: int, k: FloatArray, d: FloatArray) -> FloatArray:
    """(n_d, n_k) j_L(kd)/d^L, finite at d = 0."""
    x = np.outer(d, k)
    small = x < 0.3
    out = np.empty_like(x)
    series, term = np.zeros(int(small.sum())), np.ones(int(small.sum()))
    y = x[small] ** 2 / 2
    for n in range(1, 7):  # Abramowitz & Stegun 10.1.2
        series += term
        term = -term * y / (n * (2 * L + 2 * n + 1))
    out[small] = series / factorial2(2 * L + 1)
    large = ~small
    out[large] = spherical_jn(L, x[large]) / x[large] ** L
    return np.asarray(out * k**L)


def _even_spline(d: FloatArray, values: FloatArray) -> Any:
    """Quintic spline of functions that are even in d, from d >= 0."""
    mirror = slice(8, 0, -1)
    return make_interp_spline(np.concatenate([-d[mirror], d]), np.concatenate([values[mirror], values]), k=5)
