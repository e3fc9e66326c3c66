"""How many bands lie below a Fermi level, against how many the electrons fill."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import IntArray
from postprocess.bands.bands import Bands
from postprocess.states.fermi import DEGENERATE

METAL = 1.0, 0.003
"""Bands, and share of all filled ones, by which the number at some k-points of a metal may differ from the mean over the zone."""
WIDE = 0.1
"""eV; a gap on the whole path that no band crosses beside it either."""


@dataclass(frozen=True)
class Filling:
    """Filled bands at the k-points of a band structure, of both spins together where they have bands of their own.

    Attributes
    ----------
    low, high : (n_k,) int arrays
        So many at least and at most; equal where all levels about the Fermi level are known and none lies at it.
    expected : float
        Mean over the zone that the electrons ask for.
    n_electrons : float
        Per cell.
    in_gap : bool
        Whether the Fermi level lies in a wide gap on the whole path.
    bounded : (bool, bool)
        Whether anything is known of the fewest and of the most: not where at some k all levels that were computed lie on the other side of
        the Fermi level, and nobody counted those between.
    """

    low: IntArray
    high: IntArray
    expected: float
    n_electrons: float
    in_gap: bool
    bounded: tuple[bool, bool] = (True, True)

    @property
    def excess(self) -> float:
        """How many bands too many (or, negative, too few) are filled; 0 where a metal explains the difference."""
        tolerance = 1e-6 if self.in_gap else max(METAL[0], METAL[1] * self.expected)
        if self.low.min() > self.expected + tolerance:
            return float(self.low.min() - self.expected)
        return float(min(0.0, self.high.max() - self.expected)) if self.high.max() < self.expected - tolerance else 0.0

    def describe(self) -> str:
        """A line of the summary."""
        low, high = int(self.low.min()), int(self.high.max())
        asked = f"{self.n_electrons:g} electrons fill {self.expected:g}"
        if not any(self.bounded):
            return f"filled       not known: the levels that were computed do not reach the Fermi level everywhere; {asked}"
        where = "the k-point" if len(self.low) == 1 else f"{'each' if low == high else 'some'} of the {len(self.low)} k-points"
        number = f"{low}" if low == high else f"{low} to {high}"
        if not all(self.bounded):
            number, where = (f"at least {low}" if self.bounded[0] else f"at most {high}"), where.replace("some", "each")
        return f"filled       {number} bands at {where}; {asked}"

    def record(self) -> dict[str, float | None]:
        """The same for JSON: the fewest and the most at any k-point, None where they are not known, and how many should be."""
        ends = (int(n) if known else None for n, known in zip((self.low.min(), self.high.max()), self.bounded, strict=True))
        return dict(zip(("low", "high"), ends, strict=True)) | {"expected": self.expected}

    def warning(self, fermi_energy: float, origin: str) -> str | None:
        """What to tell the user where the Fermi level cannot be that of so many electrons."""
        if not self.excess:
            return None
        side, many = ("above", "many") if self.excess > 0 else ("below", "few")
        return (
            f"the Fermi level {fermi_energy:.4f} eV ({origin}) lies {side} that of {self.n_electrons:g} electrons: at every k-point at "
            f"least {abs(self.excess):g} bands too {many} are filled. It belongs to another H or energy zero, or errors of H moved levels "
            "(ghosts of nearly dependent orbitals: --project 1e-3); --fermi count fills the levels with the electrons"
        )


def find_filling(bands: Bands, hamiltonian: Hamiltonian) -> Filling | None:
    """Filled bands at each k-point; None where the Fermi level, the electrons or the numbers of the levels are not known."""
    if bands.fermi_energy is None or hamiltonian.n_electrons is None or not bands.counted:
        return None
    low, high, bounded = _bounds(bands, bands.fermi_energy, hamiltonian.n_orbitals)
    low, high = low.sum(axis=0), high.sum(axis=0)
    gap = bands.gap
    same = (low == low[0]).all() and (low == high).all()
    in_gap = gap is not None and not gap.is_metal and not gap.is_bound and gap.width > WIDE and same
    expected = hamiltonian.n_electrons / (2 if hamiltonian.basis.spin == "none" else 1)
    return Filling(low, high, expected, hamiltonian.n_electrons, bool(in_gap), bounded)


def _bounds(bands: Bands, fermi_energy: float, n_orbitals: int) -> tuple[IntArray, IntArray, tuple[bool, bool]]:
    """(n_spin, n_k) the fewest and the most filled bands, and whether the levels that were computed tell them."""
    levels, numbers = bands.levels, bands.first_band + np.arange(bands.n_bands)
    # a level at the Fermi level itself may be filled in part; NaN is neither
    below, above = levels <= fermi_energy - DEGENERATE, levels > fermi_energy + DEGENERATE
    low = np.where(below, numbers + 1, 0).max(axis=-1)
    high = np.where(above, numbers, n_orbitals).min(axis=-1)
    least = below.any(axis=-1) | (np.isfinite(levels[..., 0]) & (bands.first_band == 0))
    most = above.any(axis=-1) | (np.isfinite(levels[..., -1]) & (numbers[-1] == n_orbitals - 1))
    if bands.searched is not None:
        start, stop, n_below = np.moveaxis(bands.searched, -1, 0)
        inside = (start < fermi_energy - DEGENERATE) & (fermi_energy + DEGENERATE < stop)
        counted = n_below.astype(np.int64)
        low = np.where(inside, counted + below.sum(axis=-1), low)
        high = np.where(inside, counted + (np.isfinite(levels) & ~above).sum(axis=-1), high)
        least, most = least | inside, most | inside
    return low, high, (bool(least.all()), bool(most.all()))
