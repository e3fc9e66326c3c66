"""Spin-orbit coupling of a given strength, and the strength at which Z2 changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deeph.physics.blocks import Array
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError, UsageError

PRECISION = 1e-4
"""Of the strength at a transition."""

Index = Callable[[Hamiltonian], tuple[tuple[int, ...], float]]
"""Z2 of an H, and the smallest gap (eV) that was seen on the way."""


def with_spin_orbit(hamiltonian: Hamiltonian, strength: float) -> Hamiltonian:
    """H with its spin-orbit part (even under time reversal, three vector components) multiplied by a number.

    Raises
    ------
    UsageError
        If H has no spinors, or the strength is no number.
    """
    if hamiltonian.basis.spin != "spinor":
        raise UsageError(f"H with spin '{hamiltonian.basis.spin}' has no spin-orbit part to be scaled")
    if not np.isfinite(strength):
        raise UsageError(f"strength {strength} of spin-orbit coupling: expected a number, 1 for that of the data")

    def scaled(blocks: Array, _pairs: IntArray) -> Array:
        parts = split_spin(blocks, "spinor")
        return join_spin({**parts, "B": strength * parts["B"]}, "spinor")

    return replace(hamiltonian, H=hamiltonian.hamiltonian.mapped(scaled), extra={}, error_bars=None)


@dataclass(frozen=True)
class Transition:
    """A change of Z2 with the strength of spin-orbit coupling.

    Attributes
    ----------
    low, high : float
        Strengths between which it lies.
    below, above : tuple of int
        Z2 at these.
    gap : float
        The smallest gap at the points that were looked at, at ``low`` or ``high``, eV.
    steps : list of (strength, Z2, gap)
        All that was computed, ascending.
    """

    low: float
    high: float
    below: tuple[int, ...]
    above: tuple[int, ...]
    gap: float
    steps: list[tuple[float, tuple[int, ...], float]]


def find_transition(
    hamiltonian: Hamiltonian, index: Index, *, low: float = 0.0, high: float = 1.0, n_steps: int = 10, precision: float = PRECISION
) -> Transition | None:
    """The strength of spin-orbit coupling nearest to ``high`` at which Z2 changes, by bisection.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Spinors with time reversal.
    index : callable
        Gives Z2 and a gap; raises DataError where the gap is closed, or too small for the mesh: those strengths count as the transition.
    low, high : float
        Strengths to begin with.
    n_steps : int
        Equal steps between the two that are looked at first.
    precision : float
        To which both ends of the transition are found.

    Returns
    -------
    Transition or None
        None if Z2 is the same at all of these steps.
    """
    known: dict[float, tuple[tuple[int, ...], float]] = {}

    def at(strength: float) -> tuple[int, ...]:
        if strength not in known:
            try:
                known[strength] = index(with_spin_orbit(hamiltonian, strength))
            except DataError:
                if strength in (low, high):
                    raise
                known[strength] = ((), np.inf)  # bands touch, or nearly so
        return known[strength][0]

    def edge(good: float, other: float) -> float:
        """The last strength with the Z2 of ``good`` on the way to another one, or to where it cannot be found."""
        while abs(other - good) > precision:
            middle = (good + other) / 2
            good, other = (middle, other) if at(middle) == at(good) else (good, middle)
        return good

    grid = [strength for strength in np.linspace(high, low, n_steps + 1).tolist() if at(strength)]
    ends = next(((a, b) for b, a in pairwise(grid) if at(a) != at(b)), None)
    if ends is None:
        return None
    below = edge(*ends)
    above = edge(ends[1], below)
    return Transition(below, above, at(below), at(above), min(gap for x, (_, gap) in known.items() if below <= x <= above), _sorted(known))


def _sorted(known: dict[float, tuple[tuple[int, ...], float]]) -> list[tuple[float, tuple[int, ...], float]]:
    return [(strength, *known[strength]) for strength in sorted(known)]
