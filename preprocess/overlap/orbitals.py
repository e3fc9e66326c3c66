"""The localized orbitals of one element as every basis file gives them: radial functions times real harmonics."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deeph.errors import DataError
from deeph.system import SYMBOLS, FloatArray


@dataclass(frozen=True)
class RadialFunction:
    """One shell: phi(r) = R(|r|) Y_lm(r/|r|), zero beyond the last grid point.

    Attributes
    ----------
    l : int
        Angular momentum.
    r : (n,) array
        Grid from 0 to the cutoff, ascending, Angstrom.
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
        if r[0] < 0 or not (np.diff(r) > 0).all():
            raise DataError("the grid of a radial function does not ascend from zero")

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
        The file (and contraction) they come from.
    """

    number: int
    shells: tuple[RadialFunction, ...]
    source: str

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
