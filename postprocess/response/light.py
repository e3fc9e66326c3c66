"""Photon energies, the width of transitions, and which symmetry of time the zone has."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import conjugate_at_minus_k

Array = npt.NDArray[Any]
Shape = Literal["gaussian", "lorentzian"]
SHAPES: tuple[str, ...] = get_args(Shape)


@dataclass(frozen=True)
class Broadening:
    """Transitions as Gaussians of this standard deviation, or as Lorentzians of this half width, eV.

    Raises
    ------
    UsageError
        If the width is not positive, or the shape is none.
    """

    width: float = 0.05
    shape: Shape = "gaussian"

    def __post_init__(self) -> None:
        if not 0 < self.width < np.inf:
            raise UsageError(f"broadening {self.width:g} eV: expected a positive number")
        if self.shape not in SHAPES:
            raise UsageError(f"broadening {self.shape!r}: expected one of {', '.join(SHAPES)}")

    def pole(self, x: Array) -> Array:
        """1/(x - i0), widened: analytic in the photon energy, so that real and imaginary part belong together (Kramers and Kronig)."""
        if self.shape == "lorentzian":
            return np.asarray(1 / (x - 1j * self.width))
        from scipy.special import wofz

        scale = np.sqrt(2) * self.width
        return np.asarray(1j * np.sqrt(np.pi) / scale * wofz(-x / scale))

    def pole_slope(self, x: Array) -> Array:
        """The derivative of :meth:`pole`."""
        if self.shape == "lorentzian":
            return np.asarray(-1 / (x - 1j * self.width) ** 2)
        scale = np.sqrt(2) * self.width
        return np.asarray(-2 * (x * self.pole(x) - 1) / scale**2)

    def delta(self, x: Array) -> FloatArray:
        """The peak itself, 1/eV; its integral is one."""
        if self.shape == "lorentzian":
            return np.asarray(self.width / np.pi / (x**2 + self.width**2))
        return np.asarray(np.exp(-((x / self.width) ** 2) / 2) / (np.sqrt(2 * np.pi) * self.width))

    def describe(self) -> str:
        """In words."""
        return f"{'Gaussians of standard deviation' if self.shape == 'gaussian' else 'Lorentzians of half width'} {self.width:g} eV"


@dataclass(frozen=True)
class Photons:
    """Photon energies from ``low`` to ``high``, eV, and how many.

    Raises
    ------
    UsageError
        If they do not ascend from zero or more.
    """

    low: float = 0.0
    high: float = 6.0
    points: int = 301

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high < np.inf and self.points >= 2):
            raise UsageError(f"{self.points} photon energies from {self.low:g} to {self.high:g} eV: expected two or more, ascending from 0")

    @property
    def energies(self) -> FloatArray:
        """(n,) eV."""
        return np.linspace(self.low, self.high, self.points)


def keeps_time_reversal(hamiltonian: Hamiltonian) -> bool:
    """Whether the states at -k are those of k, reversed: without a flux and without magnetism of spinors."""
    if hamiltonian.basis.spin == "spinor":
        return Magnetism.of(hamiltonian).time_reversal
    return conjugate_at_minus_k(hamiltonian)
