"""Which levels are occupied: Fermi-Dirac, at zero temperature the lowest ones."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import DataError, UsageError

DEGENERATE = 1e-6
"""eV; at zero temperature levels so close to the highest occupied one are filled alike."""
ROUNDING = 1e-9
"""Of the number of levels: sums of occupations are known no better."""


@dataclass(frozen=True)
class Occupation:
    """Occupation of levels.

    Attributes
    ----------
    fermi_energy : float
        eV.
    temperature : float
        Kelvin.
    share : float or None
        At zero temperature: how much of the levels at the Fermi energy is filled; None in a gap.
    """

    fermi_energy: float
    temperature: float
    share: float | None = None

    def __call__(self, energies: FloatArray) -> FloatArray:
        """Occupation of each level, 0 to 1."""
        from scipy.special import expit

        if self.temperature > 0:
            return np.asarray(expit(-(energies - self.fermi_energy) / (KELVIN * self.temperature)))
        filled = np.asarray(energies < self.fermi_energy, np.float64)
        return filled if self.share is None else np.where(np.abs(energies - self.fermi_energy) < DEGENERATE, self.share, filled)


def fill_levels(energies: FloatArray, n_levels: float, temperature: float, *, weights: FloatArray | float = 1.0) -> Occupation:
    """The Fermi level at which levels hold a number of electrons.

    Parameters
    ----------
    energies : array
        eV.
    n_levels : float
        Sum of the weighted occupations wanted.
    temperature : float
        Kelvin; at 0 the levels are filled from below, so that those of a molecule or an insulator are full or empty.
    weights : array
        Of the levels, to be broadcast against the energies: shares of k-points in the mesh.

    Raises
    ------
    DataError
        If there are not so many levels.
    UsageError
        If the temperature is negative.
    """
    from scipy.optimize import brentq

    if not 0 <= temperature < np.inf:
        raise UsageError(f"temperature {temperature:g} K: expected zero or a positive number")
    weights = np.broadcast_to(weights, energies.shape)
    if not 0 < n_levels < weights.sum():
        raise DataError(f"{n_levels:g} occupied levels wanted, but there are {weights.sum():g}; check 'occupation' in info.json")
    if temperature == 0:
        return _lowest(energies.ravel(), n_levels, weights.ravel())
    n_all = float(weights.sum())
    reach = 1 + KELVIN * temperature * (1 + np.log(n_all / min(n_levels, n_all - n_levels)))
    low, high = float(energies.min()) - reach, float(energies.max()) + reach
    level = brentq(lambda e: (weights * Occupation(e, temperature)(energies)).sum() - n_levels, low, high, xtol=1e-13)
    return Occupation(float(level), temperature)


def _lowest(energies: FloatArray, n_levels: float, weights: FloatArray) -> Occupation:
    """Zero temperature: the highest occupied level and its equals, filled in part, or the middle of the gap above them."""
    order = np.argsort(energies)
    rounding = ROUNDING * n_levels
    highest = energies[order[int(np.searchsorted(np.cumsum(weights[order]), n_levels - rounding))]]
    below, equal = energies <= highest - DEGENERATE, np.abs(energies - highest) < DEGENERATE
    missing, room = n_levels - weights[below].sum(), weights[equal].sum()
    if missing < room - rounding:
        return Occupation(float(highest), 0.0, float(missing / room))
    top, above = float(energies[equal].max()), energies[~(below | equal)]
    return Occupation((top + float(above.min())) / 2 if len(above) else top + DEGENERATE, 0.0)
