"""Kubo formulas from two-fold Chebyshev moments: what is summed over pairs of levels is a function of their two energies.

A smooth function F(E, E') is its Chebyshev series, whose coefficients come from its values at Gauss' nodes; with as many moments as the
function asks for, the sum over all pairs is exact but for the random vectors, and no kernel widens the levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from postprocess.response.light import Broadening
from postprocess.states.occupation import Occupation

Array = npt.NDArray[Any]
NODES = 2
"""Nodes in a direction for each moment."""
OF_WIDTH, OF_WARMTH = 5.0, 2.5
"""Moments times a width (a Gaussian's, kT) over half of the width of the spectrum: what is neglected is exp(-12), exp(-8)."""
OF_WINDOW = 8.0
"""Coefficients of a window times its width over half of the width of the spectrum."""
TAILS, WARM_TAILS = 7.0, 25.0
"""Widths, and kT, beyond which nothing is left to rounding."""
NEAR, WARM_NEAR = 5.0, 12.0
"""Widths, and kT, beyond which exp(-12) is left: levels farther away are not worth their computation."""


@dataclass(frozen=True)
class PairFunctions:
    """What is summed over pairs of a level E and another one E'.

    Attributes
    ----------
    fermi_energy : float
        eV.
    temperature : float
        Kelvin.
    photons : (m,) array
        Photon energies, eV.
    width : float
        Standard deviation of transitions, eV.
    least : float
        eV; pairs nearer to each other do not count in the Hall conductivity, which has no meaning without a gap.
    """

    fermi_energy: float
    temperature: float
    photons: FloatArray
    width: float
    least: float

    def reach(self, widths: float = TAILS, warmths: float = WARM_TAILS) -> float:
        """So far from the Fermi energy lie the levels that absorb these photons, eV."""
        return float(self.photons.max(initial=0.0)) + widths * self.width + warmths * KELVIN * self.temperature

    def moments(self, half_width: float, *, hall: bool) -> int:
        """How many moments the functions ask for."""
        return max(8, *(int(np.ceil(half_width * sharpness)) for sharpness in self._sharpness(hall=hall).values()))

    def finest(self, *, hall: bool) -> str:
        """What asks for most of them, in words."""
        sharpness = self._sharpness(hall=hall)
        return max(sharpness, key=lambda name: sharpness[name])

    def _sharpness(self, *, hall: bool) -> dict[str, float]:
        """Moments times 1 eV of half of the width of the spectrum."""
        out = {f"a width of {self.width:g} eV": OF_WIDTH / self.width, f"{self.temperature:g} K": OF_WARMTH / (KELVIN * self.temperature)}
        return out | ({f"a gap of {2 * self.least:g} eV": OF_WIDTH / self.least} if hall else {})

    def filled(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """(f(E) - f(E'))/(E' - E), 1/eV."""
        f = Occupation(self.fermi_energy, self.temperature)
        step = high - low
        close = np.abs(step) < 1e-3 * KELVIN * self.temperature
        middle = f((low + high) / 2)
        slope = middle * (1 - middle) / (KELVIN * self.temperature)
        return np.where(close, slope, (f(low) - f(high)) / np.where(close, 1.0, step))

    def absorption(self, low: FloatArray, high: FloatArray) -> Iterator[FloatArray]:
        """Of each photon energy: pi (f(E) - f(E'))/(E' - E) delta(E' - E - photon), 1/eV^2; with E = E' it is the Drude peak."""
        filled, delta = np.pi * self.filled(low, high), Broadening(self.width).delta
        for photon in self.photons:
            yield filled * delta(high - low - photon)

    def hall(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """(f(E') - f(E))/(E' - E)^2 of pairs farther from each other than ``least``, 1/eV^2."""
        x = high - low
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.where(x == 0, 0.0, -np.expm1(-((x / self.least) ** 4)) / x)
        return -self.filled(low, high) * apart


@dataclass(frozen=True)
class Window:
    """Polynomial w(E) that a random vector is filtered with: levels that do not take part add nothing but scatter.

    In a basis that is nearly dependent most levels lie tens of eV above the others and have the largest velocities. Of the filtered vector
    the sum over pairs has w(E)^2 of the first level as a factor, which is divided out where it is not small.

    Attributes
    ----------
    coefficients : (n,) array
        Of T_n of the scaled energies.
    center, half_width : float
        Of the scaled energies, eV.
    """

    coefficients: FloatArray
    center: float
    half_width: float

    @classmethod
    def around(cls, functions: PairFunctions, n_most: int, center: float, half_width: float) -> "Window":
        """exp(-x^4) with 1/e at the last level that takes part, and not more than so many coefficients."""
        n = min(n_most, int(np.ceil(OF_WINDOW * half_width / functions.reach())) + 1)
        angles = np.pi * (np.arange(NODES * n) + 0.5) / (NODES * n)
        values = np.exp(-(((center + half_width * np.cos(angles) - functions.fermi_energy) / functions.reach()) ** 4))
        factors = np.where(np.arange(n) == 0, 1.0, 2.0) / (NODES * n)
        return cls(factors * (np.cos(np.outer(np.arange(n), angles)) @ values), center, half_width)

    def __call__(self, energies: FloatArray) -> FloatArray:
        """Values at some energies."""
        return np.asarray(np.polynomial.chebyshev.chebval((energies - self.center) / self.half_width, self.coefficients), float)


@dataclass(frozen=True)
class Nodes:
    """Gauss' nodes where a function of two energies is evaluated, and the sums over moments that its values are multiplied with.

    Attributes
    ----------
    energies : (r,) array
        eV.
    rows : (r, n) array
        Of the moments mu (n, n), rows mu rows^T belongs to the values at all pairs of nodes.
    """

    energies: FloatArray
    rows: FloatArray

    @classmethod
    def of(cls, n: int, center: float, half_width: float, near: tuple[float, float] = (0.0, np.inf)) -> "Nodes":
        """For n moments of scaled energies; of the nodes only those ``near`` an energy, within a distance."""
        angles = np.pi * (np.arange(NODES * n) + 0.5) / (NODES * n)
        energies = center + half_width * np.cos(angles)
        chosen = np.flatnonzero(np.abs(energies - near[0]) < near[1])
        rows = np.cos(np.outer(angles[chosen], np.arange(n))) * np.where(np.arange(n) == 0, 1.0, 2.0) / (NODES * n)
        return cls(energies[chosen], rows)

    def at(self, moments: Array) -> Array:
        """(..., r, r) what the values at pairs of nodes are multiplied with."""
        return np.asarray(self.rows @ moments @ self.rows.T)


def sums_over_pairs(functions: PairFunctions, moments: Array, center: float, half_width: float, *, hall: bool) -> dict[str, Array]:
    """The sums of all functions.

    Parameters
    ----------
    functions : PairFunctions
        Which ones.
    moments : (..., n, n) array
        See :func:`postprocess.large.kubo_moments.double_moments`.
    center, half_width : float
        Of the energies, eV.
    hall : bool
        Whether the Hall conductivity is wanted, which all levels take part in.

    Returns
    -------
    dict of str to array
        ``absorption`` (..., m) of each photon energy, ``hall`` (...).
    """
    n = moments.shape[-1]
    near = Nodes.of(n, center, half_width, (functions.fermi_energy, functions.reach()))
    out = {"absorption": absorbed(functions, near.at(moments), near.energies)}
    if hall:
        nodes = Nodes.of(n, center, half_width)
        F = functions.hall(nodes.energies, nodes.energies[:, None])
        out["hall"] = np.einsum("...ij,ij->...", nodes.at(moments), F)
    return out


def absorbed(functions: PairFunctions, at_nodes: Array, energies: FloatArray, window: Window | None = None) -> Array:
    """(..., m) sums for each photon energy from (..., r, r) :meth:`Nodes.at`; the last axis belongs to the first level."""
    if window is not None:
        at_nodes = at_nodes / window(energies) ** 2
    values = [np.einsum("...ij,ij->...", at_nodes, F) for F in functions.absorption(energies, energies[:, None])]
    return np.stack(values, axis=-1) if values else np.zeros((*at_nodes.shape[:-2], 0))
