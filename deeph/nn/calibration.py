"""What the spread of an ensemble means: measured on structures that no member was trained on.

For each pair of elements and each bin of the distance, on-site blocks apart, the variance of the error of a block is taken as

    sigma^2 = (a s)^2 + (b h)^2 + c^2

s is the standard deviation over the members, h the root mean square element of the predicted block. The members err together as well:
all were trained on the same structures, in one precision, with one cutoff. Of what they do not show a part grows with the block, and what
the DFT data scatter is the same for all. The three coefficients are those of largest likelihood for normal errors; then all three are
scaled so that 68.3 % of the errors lie within one sigma. h of on-site blocks depends on the energy zero and is left out.

Errors of one structure stand or fall together, above all those of its atoms: what counts is the number of structures, not of blocks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from deeph.physics.error_bars import block_rms
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.system import SYMBOLS, FloatArray, IntArray
from deeph.runtime.errors import DataError

BIN = 0.5
"""Angstrom."""
ONSITE = -1
"""The bin of on-site blocks."""
FEW = 30
"""Blocks below which a bin has no coefficients of its own and takes those of the nearest one of these elements."""
ONE_SIGMA = 0.683
"""Share of normal errors within one standard deviation."""
STEPS = 500
"""Of the fit, which has converged by then."""
SMALLEST = 1e-9
"""eV; below any error of a prediction in single precision."""

Key = tuple[int, int, int]
"""Lighter element, heavier element, bin of the distance."""


class Blocks(NamedTuple):
    """Blocks of predictions: their keys (n, 3), spread s, size h, and root mean square error, eV; (n,) each."""

    keys: IntArray
    spread: FloatArray
    size: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class Calibration:
    """From the spread of an ensemble to standard deviations.

    Attributes
    ----------
    rows : mapping of (Z, Z', bin) to (a, b, c)
        c in eV.
    levels : (float, float)
        Of levels: what the first-order error from the deviations of the members is multiplied with, and the error that all levels have
        in common, eV.
    """

    rows: Mapping[Key, tuple[float, float, float]]
    levels: tuple[float, float] = (1.0, 0.0)

    def sigma(self, structure: Hamiltonian, spread: FloatArray, size: FloatArray) -> FloatArray:
        """Standard deviations of the blocks of a prediction.

        Parameters
        ----------
        structure : Hamiltonian
            Its atoms and the pattern of its S.
        spread, size : (n_pairs,) arrays
            Standard deviation of the members and root mean square element of each block, eV.

        Returns
        -------
        (n_pairs,) array
            eV.
        """
        return self.of_keys(block_keys(structure), spread, size)

    def of_keys(self, keys: IntArray, spread: FloatArray, size: FloatArray) -> FloatArray:
        """The same for blocks of these (n, 3) keys."""
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        a, b, c = np.array([self._row((i, j, n)) for i, j, n in distinct.tolist()]).reshape(-1, 3)[which.ravel()].T
        return np.asarray(np.sqrt((a * spread) ** 2 + (b * size) ** 2 + c**2))

    def _row(self, key: Key) -> tuple[float, float, float]:
        """The coefficients of a key: of its nearest bin, of pairs of elements that the validation lacks the largest ones."""
        if key in self.rows:
            return self.rows[key]
        onsite = key[2] == ONSITE
        alike = {k: row for k, row in self.rows.items() if (k[2] == ONSITE) == onsite} or self.rows
        same = [k for k in alike if k[:2] == key[:2]]
        if same:
            return alike[min(same, key=lambda k: abs(k[2] - key[2]))]
        a, b, c = np.max(list(alike.values()), axis=0).tolist()
        return a, b, c

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"bin_angstrom": BIN, "blocks": [[*key, *row] for key, row in self.rows.items()], "levels": list(self.levels)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON values; ValueError, TypeError or KeyError if they are none of a calibration."""
        if plain["bin_angstrom"] != BIN:
            raise ValueError(f"bins of {plain['bin_angstrom']} Angstrom; expected {BIN}")
        rows = {(int(i), int(j), int(n)): (float(a), float(b), float(c)) for i, j, n, a, b, c in plain["blocks"]}
        factor, common = (float(x) for x in plain["levels"])
        numbers = np.array([*rows.values(), (factor, common, 0.0)])
        if not rows or not (np.isfinite(numbers).all() and (numbers >= 0).all()):
            raise ValueError("the coefficients of the calibration have to be positive numbers")
        return cls(rows, (factor, common))


def block_keys(structure: Hamiltonian) -> IntArray:
    """(n_pairs, 3) lighter element, heavier element and bin of the distance of each block."""
    pairs = structure.S.pairs
    elements = np.sort(structure.system.numbers[pairs[:, 3:]], axis=1)
    bins = np.floor(np.linalg.norm(pair_vectors(structure.system, pairs), axis=1) / BIN).astype(np.int64)
    return np.column_stack([elements, np.where(is_onsite(pairs), ONSITE, bins)])


def judged(structure: Hamiltonian, H: Any, spread: FloatArray) -> Blocks:
    """The blocks of a prediction H beside those of DFT, which the structure holds."""
    difference = type(H)(H.pairs, H.shapes, H.entries - structure.hamiltonian.entries)
    return Blocks(block_keys(structure), spread, block_rms(H), block_rms(difference))


def calibrate(found: Iterable[Blocks]) -> Calibration:
    """Fit the coefficients to the errors of predictions.

    Parameters
    ----------
    found : iterable of Blocks
        Of structures that were not trained on.

    Raises
    ------
    DataError
        If there are no blocks.
    """
    parts = list(found)
    if not parts:
        raise DataError("there is no structure to calibrate error bars with")
    keys, spread, size, error = (np.concatenate(column) for column in zip(*parts, strict=True))
    distinct, which, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    rows: dict[Key, tuple[float, float, float]] = {}
    enough = counts >= min(FEW, int(counts.max()))
    for n, (i, j, bin_) in enumerate(distinct.tolist()):
        if enough[n]:
            own = which.ravel() == n
            rows[i, j, bin_] = _fit(spread[own], np.zeros(int(own.sum())) if bin_ == ONSITE else size[own], error[own])
    return Calibration(rows)


def calibrate_levels(expected: FloatArray, true: FloatArray) -> tuple[float, float]:
    """:attr:`Calibration.levels` from (n,) first-order errors and true errors of levels, eV."""
    factor, _, common = _fit(expected, np.zeros_like(expected), true)
    return factor, common


def _fit(spread: FloatArray, size: FloatArray, error: FloatArray) -> tuple[float, float, float]:
    """The a, b, c of one key.

    Notes
    -----
    Multiplicative steps raise the likelihood of variances that are sums of non-negative terms (C. Fevotte, N. Bertin and J.-L. Durrieu,
    doi:10.1162/neco.2008.04-08-771): no coefficient becomes negative, and there is no step width to choose.
    """
    terms = np.stack([spread**2, size**2, np.ones_like(spread)])
    scale = np.maximum(terms.mean(axis=1), SMALLEST**2)
    terms, squares = terms / scale[:, None], np.maximum(error, SMALLEST) ** 2
    weights = np.where(terms.any(axis=1), squares.mean() / 3, 0.0)
    for _ in range(STEPS):
        variance = weights @ terms + SMALLEST**2
        weights *= np.sqrt((terms @ (squares / variance**2)) / (terms @ (1 / variance) + SMALLEST))
    factor = float(np.quantile(error / np.sqrt(weights @ terms + SMALLEST**2), ONE_SIGMA))
    a, b, c = (factor * np.sqrt(weights / scale)).tolist()
    return a, b, c


def held_out(found: Sequence[Blocks]) -> list[float]:
    """For each of two or more structures the share of its errors within one sigma when the others calibrate."""
    shares = []
    for n, own in enumerate(found):
        sigma = calibrate([*found[:n], *found[n + 1 :]]).of_keys(own.keys, own.spread, own.size)
        shares.append(float((own.error <= sigma).mean()))
    return shares


def describe(calibration: Calibration, found: Sequence[Blocks]) -> list[str]:
    """A table for the screen: errors, spread and share within one sigma, bin by bin; and that share of structures held out."""
    keys, spread, size, error = (np.concatenate(column) for column in zip(*found, strict=True))
    sigma = calibration.of_keys(keys, spread, size)
    lines = [f"{'blocks':<20}{'number':>8}{'error (meV)':>13}{'spread':>9}{'sigma':>9}{'within one sigma':>18}"]
    for key in [*np.unique(keys, axis=0).tolist(), None]:
        own = np.ones(len(keys), bool) if key is None else (keys == key).all(axis=1)
        numbers = [1e3 * float(np.sqrt((x[own] ** 2).mean())) for x in (error, spread, sigma)]
        share = float((error[own] <= sigma[own]).mean())
        lines.append(f"{'all' if key is None else _name(key):<20}{own.sum():>8}{numbers[0]:>13.3f}{numbers[1]:>9.3f}{numbers[2]:>9.3f}"
                     f"{100 * share:>16.0f} %")  # fmt: skip
    if len(found) > 1:
        shares = held_out(found)
        low, high = 100 * min(shares), 100 * max(shares)
        lines.append(f"of each of the {len(found)} structures, calibrated by the others: {low:.0f} to {high:.0f} % within one sigma")
    return lines


def _name(key: list[int]) -> str:
    i, j, n = key
    return f"{SYMBOLS[i]} on-site" if n == ONSITE else f"{SYMBOLS[i]}-{SYMBOLS[j]} {n * BIN:.1f}-{(n + 1) * BIN:.1f}"
