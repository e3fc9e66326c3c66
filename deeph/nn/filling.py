"""Up to where electrons fill the levels of the training data: where the Fermi level of a prediction is looked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from deeph.physics.system import NUMBERS, SYMBOLS, FloatArray, IntArray
from deeph.runtime.log import logger

SAME = 1e-3
"""Electrons: counts that differ by less are the same."""


class Filled(NamedTuple):
    """What one structure of the training data says.

    Attributes
    ----------
    numbers : (n_atoms,) int array
        Its elements.
    fermi_energy : float or None
        eV, on the energy zero of its H.
    n_electrons : float or None
        Valence electrons, both spins.
    """

    numbers: IntArray
    fermi_energy: float | None
    n_electrons: float | None


@dataclass(frozen=True)
class Filling:
    """Fermi levels and valence electrons of the training data.

    Attributes
    ----------
    fermi : (float, float) or None
        Mean Fermi level and the largest distance of one from it, eV, each on the energy zero of its own H; None if no structure has one.
    electrons : tuple of (composition, float)
        Valence electrons of compositions ``{"C": 1}`` that determine those of all structures seen: of single elements where the data tell
        these apart, else of linearly independent structures. Empty where they are not known.
    """

    fermi: tuple[float, float] | None = None
    electrons: tuple[tuple[Mapping[str, int], float], ...] = ()

    @classmethod
    def of(cls, structures: Iterable[Filled]) -> Self:
        """What the training data say.

        Electrons that no number for each element explains, because some structures are ions or a potential was changed, are not kept.
        """
        known = list(structures)
        levels = np.array([one.fermi_energy for one in known if one.fermi_energy is not None])
        level = float(levels.mean()) if len(levels) else 0.0
        fermi = (level, float(np.abs(levels - level).max())) if len(levels) else None
        return cls(fermi, _electrons([(_composition(one.numbers), one.n_electrons) for one in known if one.n_electrons is not None]))

    def n_electrons(self, numbers: IntArray) -> float | None:
        """Valence electrons of some atoms; None if the training data do not determine them."""
        wanted = _composition(numbers)
        symbols = sorted(set(wanted).union(*(composition for composition, _ in self.electrons)))
        target, rows = _row(wanted, symbols), np.array([_row(composition, symbols) for composition, _ in self.electrons])
        if not len(rows):
            return None
        weights, *_ = np.linalg.lstsq(rows.T, target)
        if np.abs(weights @ rows - target).max() > SAME:
            return None
        return round(float(weights @ [n for _, n in self.electrons]), 6)

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"fermi_eV": self.fermi, "electrons": [[dict(composition), n] for composition, n in self.electrons]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON values."""
        fermi = plain["fermi_eV"]
        return cls(None if fermi is None else (fermi[0], fermi[1]), tuple((dict(c), float(n)) for c, n in plain["electrons"]))


def _electrons(counts: list[tuple[dict[str, int], float]]) -> tuple[tuple[Mapping[str, int], float], ...]:
    """As few compositions as determine the electrons of all, with these."""
    symbols = sorted({symbol for composition, _ in counts for symbol in composition})
    if not symbols:
        return ()
    rows = np.array([_row(composition, symbols) for composition, _ in counts])
    electrons = np.array([n for _, n in counts])
    each, _, rank, _ = np.linalg.lstsq(rows, electrons)
    wrong = int(np.abs(rows @ each - electrons).argmax())
    if abs(rows[wrong] @ each - electrons[wrong]) > SAME:
        logger.warning("the electrons of the training data are not those of neutral atoms (%g in %s): predictions will not state theirs",
                       electrons[wrong], counts[wrong][0])  # fmt: skip
        return ()
    if rank == len(symbols) and not all(SAME < n <= NUMBERS[symbol] + SAME for symbol, n in zip(symbols, each.tolist(), strict=True)):
        found = ", ".join(f"{symbol} {n:g}" for symbol, n in zip(symbols, each.tolist(), strict=True))
        logger.warning("the electrons of the training data are not those of neutral atoms (%s): predictions will not state theirs", found)
        return ()
    if rank == len(symbols):
        return tuple(({symbol: 1}, round(float(n), 6)) for symbol, n in zip(symbols, each, strict=True))
    chosen: list[int] = []
    for n in np.unique(rows, axis=0, return_index=True)[1].tolist():
        if np.linalg.matrix_rank(rows[[*chosen, n]]) > len(chosen):
            chosen.append(n)
    return tuple((counts[n][0], round(counts[n][1], 6)) for n in chosen)


def _composition(numbers: IntArray) -> dict[str, int]:
    """Atoms of each element."""
    kinds, times = np.unique(numbers, return_counts=True)
    return {SYMBOLS[z]: n for z, n in zip(kinds.tolist(), times.tolist(), strict=True)}


def _row(composition: Mapping[str, int], symbols: list[str]) -> FloatArray:
    return np.array([composition.get(symbol, 0) for symbol in symbols], float)
