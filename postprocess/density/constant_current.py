"""The height at which a density has a value: what a tip follows at constant current."""

import numpy as np

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.density.local import ELECTRONS
from postprocess.density.vacuum import LOWEST

STEP = 0.05
"""Angstrom between planes of a constant-current image."""
SMALLEST = 1e-12
"""Of the density at constant current; less is nothing."""
NODE = 1e-3
"""Part of the mean density; where less is reached all states have a node."""


def height_of(density: FloatArray, at: FloatArray, value: float, unit: str = ELECTRONS) -> FloatArray:
    """(n1, n2) the largest height where the density is a value, between planes by its logarithm.

    Parameters
    ----------
    density : (n, n1, n2) array
        At ascending heights.
    at : (n,) array
        The heights, Angstrom.
    value : float
        In the unit of the density.
    unit : str
        For messages.

    Raises
    ------
    DataError
        If it is reached nowhere between the planes at some place.
    """
    above = density >= value
    if above[-1].any():
        raise DataError(f"the density is above {value:.3g} {unit} still at {at[-1]:.2f} Angstrom: choose a larger current, or less height")
    if not above.any(axis=0).all():
        part = 100 * float(1 - above.any(axis=0).mean())
        raise DataError(
            f"on {part:.1f} % of the surface the density is below {value:.3g} {unit} down to {at[0]:.2f} Angstrom: choose a "
            f"smaller current; {reached_everywhere(density):.3g} {unit} are reached everywhere"
        )
    last = len(at) - 1 - np.argmax(above[::-1], axis=0)
    log = np.log(np.maximum(density, SMALLEST * value))
    inner, outer = (np.take_along_axis(log, n[None], axis=0)[0] for n in (last, last + 1))
    step = (inner - np.log(value)) / (inner - outer)
    return np.asarray(at[last] + step * (at[last + 1] - at[last]))


def reached_everywhere(density: FloatArray) -> float:
    """The largest value that densities (n, n1, n2) reach at every place, at some height."""
    return float(density.max(axis=0).min())


def default_current(mean: float, density: FloatArray, height: float, unit: str = ELECTRONS) -> float:
    """The mean density at the height, or less where it is not reached everywhere, as above a node of the states."""
    reached = reached_everywhere(density)
    if reached >= mean:
        return mean
    if reached < NODE * mean:
        raise DataError(
            f"the mean density at {height:g} Angstrom is {mean:.3g} {unit}, but all states have a node somewhere, where "
            f"no more than {reached:.3g} is reached down to {LOWEST:g} Angstrom: no tip can follow it there; take more k-points "
            "or a larger bias, or a constant height"
        )
    part = 100 * float((density.max(axis=0) < mean).mean())
    logger.warning(
        "the mean density at %g Angstrom, %.3g %s, is not reached on %.1f %% of the surface down to %g Angstrom, near "
        "a node or where orbitals are short: the current is that of %.3g %s, the largest that is reached everywhere",
        height, mean, unit, part, LOWEST, reached, unit,
    )  # fmt: skip
    return reached
