"""The localized orbitals of one element as every basis file gives them: radial functions times real harmonics."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import DataError

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

SMALL_OVERLAP = 1e-8
"""Overlap of two s functions with the smallest exponent at the distance where blocks of Gaussian orbitals end."""


@dataclass(frozen=True)
class RadialFunction:
    """One shell: phi(r) = R(|r|) Y_lm(r/|r|), zero beyond the last grid point.

    Attributes
    ----------
    l : int
        Angular momentum.
    r : (n,) array
        Grid from 0 to the cutoff, ascending, Angstrom; fine enough for a cubic spline (the reader of a coarser file interpolates as its
        code does).
    values : (n,) array
        R(r) in Angstrom^-3/2 (not r R).

    Raises
    ------
    DataError
        If the grid is not ascending from zero, or a number is not finite.
    """

    l: int
    r: FloatArray
    values: FloatArray

    def __post_init__(self) -> None:
        r, values = (np.array(x, np.float64) for x in (self.r, self.values))
        object.__setattr__(self, "r", r)
        object.__setattr__(self, "values", values)
        if r.ndim != 1 or r.shape != values.shape or len(r) < 8:
            raise DataError(f"radial function with grid {r.shape} and values {values.shape}: expected two equally long lists of 8 or more")
        if not (np.isfinite(r).all() and np.isfinite(values).all()):
            raise DataError("radial function with NaN or infinite numbers")
        if r[0] != 0 or not (np.diff(r) > 0).all():
            raise DataError(f"the grid of a radial function starts at {r[0]:g}; expected one that ascends from zero")

    def __call__(self, r: FloatArray) -> FloatArray:
        """R(r) at distances of any shape (Angstrom), Angstrom^-3/2, by a cubic spline; zero beyond the grid."""
        return np.asarray(np.where(r <= self.r[-1], self._spline(np.minimum(r, self.r[-1])), 0.0))

    @cached_property
    def _spline(self) -> "CubicSpline":
        from scipy.interpolate import CubicSpline

        return CubicSpline(self.r, self.values)

    @property
    def norm(self) -> float:
        """Integral of R^2 r^2 dr, which is 1 for a normalized orbital."""
        return float(np.trapezoid(self.values**2 * self.r**2, self.r))


@dataclass(frozen=True)
class Orbitals:
    """The orbitals of one element.

    Attributes
    ----------
    number : int
        Atomic number.
    shells : tuple of RadialFunction
        In the order of the code's basis.
    source : str
        Name of the basis, such as ``C6.0-s2p2d1``, or the file.
    pair_radius : float or None
        Orbitals that have no sharp end (Gaussians): two atoms share a block up to the sum of these radii, Angstrom.
    n_electrons : float or None
        Valence electrons of the neutral atom, where the file tells.
    k_max : float
        Largest wave number in the orbitals, 1/Angstrom. 100 (53 in atomic units, 2,800 Ry) is plenty for pseudopotential codes.
    """

    number: int
    shells: tuple[RadialFunction, ...]
    source: str
    pair_radius: float | None = None
    n_electrons: float | None = None
    k_max: float = 100.0

    def __post_init__(self) -> None:
        if not self.shells:
            raise DataError(f"{self.source}: no orbitals for {SYMBOLS[self.number]}")

    @property
    def ls(self) -> tuple[int, ...]:
        """Angular momentum of each shell."""
        return tuple(shell.l for shell in self.shells)

    @cached_property
    def cutoff(self) -> float:
        """Radius beyond which all orbitals vanish, Angstrom."""
        return max(float(shell.r[-1]) for shell in self.shells)

    @property
    def radius(self) -> float:
        """Two atoms share a block up to the sum of these radii, Angstrom."""
        return self.cutoff if self.pair_radius is None else self.pair_radius


def gaussian_radius(exponent: float) -> float:
    """Half the distance (Angstrom) at which the overlap exp(-a (2r)^2 / 2) of two s functions has fallen to :data:`SMALL_OVERLAP`.

    Parameters
    ----------
    exponent : float
        Smallest exponent a of the element, 1/Angstrom^2.
    """
    return math.sqrt(-math.log(SMALL_OVERLAP) / (2 * exponent))
