"""Numbers of each structure of a dataset, in a form that can be added up and compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deeph.files.duplicates import Signature
from deeph.files.outliers import SMALL, robust_scores
from deeph.physics.blocks import energy_zero
from deeph.physics.difference import SPIN_PARTS
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, TIME_ODD, Magnetism
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.system import SYMBOLS, FloatArray

BIN = 0.5
"""Width of a bin of distances, Angstrom."""


class Kind(NamedTuple):
    """Two shells at a distance: (element, l, element, l, bin of the distance); on-site in bin -1."""

    first: int
    l_first: int
    second: int
    l_second: int
    bin: int

    @property
    def name(self) -> str:
        """Such as ``C p - C p at 1.0-1.5 Angstrom``."""
        shells = f"{SYMBOLS[self.first]} {'spdfghi'[self.l_first]} - {SYMBOLS[self.second]} {'spdfghi'[self.l_second]}"
        return f"{shells} on site" if self.bin < 0 else f"{shells} at {self.bin * BIN:.1f}-{(self.bin + 1) * BIN:.1f} Angstrom"


@dataclass(frozen=True)
class Summary:
    """What a dataset keeps of one structure.

    Attributes
    ----------
    numbers : dict
        Single numbers by name: shortest bond, mu, Fermi level, largest elements of the parts of the spin, largest moments.
    norms : dict of Kind to (sum of squares, count)
        Of the entries of H - mu S, eV^2; those of both spins, and of their coupling, count as two.
    lengths : (n,) array
        Number of pairs in each bin of the distance.
    labels : dict
        What should be the same in all structures: spin, basis, constants, code.
    formula : str
        Composition.
    signature : Signature
        What is the same for equal structures.
    magnetism : Magnetism
        Parts of the spin and moments.
    """

    numbers: dict[str, float]
    norms: dict[Kind, tuple[float, int]]
    lengths: FloatArray
    labels: dict[str, str]
    formula: str
    signature: Signature
    magnetism: Magnetism


def summarize(data: Hamiltonian) -> Summary:
    """The summary of a structure."""
    constants = data.source.get("constants") or {}
    labels = {
        "spin": data.basis.spin,
        "constants": str(constants.get("name", "not recorded")),
        "code": str(data.source.get("code", "not recorded")),
        **{f"basis of {symbol}": " ".join(map(str, ls)) for symbol, ls in data.basis.to_symbols().items()},
        "H": "present" if data.H is not None else "absent",
    }
    length = np.linalg.norm(pair_vectors(data.system, data.S.pairs), axis=1)
    away = length[~is_onsite(data.S.pairs)]
    numbers: dict[str, float] = {}
    if len(away):  # an isolated atom has none
        numbers |= {"shortest bond (Angstrom)": float(away.min()), "longest pair (Angstrom)": float(away.max())}
    if data.H is not None:
        numbers["<H,S>/<S,S> (eV)"] = energy_zero(data.H, data.S)
        if data.fermi_energy is not None:
            numbers["Fermi level (eV)"] = data.fermi_energy
    magnetism = Magnetism.of(data)
    for name, size in magnetism.parts.items():
        if name != "A0" and size > TIME_ODD:
            numbers[f"largest {SPIN_PARTS[name]} element (eV)"] = size
    for z, (_, high) in (magnetism.moments or {}).items():
        if high >= MOMENT:
            numbers[f"largest moment of {SYMBOLS[z]} (Bohr magneton)"] = high
    bins = np.bincount((away / BIN).astype(int)).astype(float)
    return Summary(numbers, _norms(data, length), bins, labels, data.system.formula, Signature.of(data), magnetism)


def _norms(data: Hamiltonian, length: FloatArray) -> dict[Kind, tuple[float, int]]:
    """Squares of the entries of H - mu S by shells and distance, for each of two spins: H without spin has the same as its spinor form."""
    out: dict[Kind, tuple[float, int]] = {}
    if data.H is None:
        return out
    numbers, mu = data.system.numbers, energy_zero(data.H, data.S)
    n_spins = 1 if data.basis.spin == "none" else 2
    codes = np.column_stack([numbers[data.S.pairs[:, 3:]], np.where(is_onsite(data.S.pairs), -1, (length / BIN).astype(int))])
    for zi, zj, place in np.unique(codes, axis=0).tolist():
        members = np.flatnonzero((codes == (zi, zj, place)).all(axis=1))
        H, S = data.H.take(members), data.S.take(members)
        n, rows, columns = S.shape[1:]
        parts = H.reshape(len(H), n, data.basis.spin_factor, rows, data.basis.spin_factor, columns).copy()
        for s in range(data.basis.spin_factor):
            parts[:, :, s, :, s] -= mu * S[:1]
        squares = (np.abs(parts) ** 2).sum(axis=(0, 1, 2, 4))
        for la, a in _starts(data.basis.shells[zi]):
            for lb, b in _starts(data.basis.shells[zj]):
                part = squares[a : a + 2 * la + 1, b : b + 2 * lb + 1]
                total, count = out.get(kind := Kind(zi, la, zj, lb, place), (0.0, 0))
                out[kind] = (total + float(part.sum()), count + part.size * n * n_spins)
    return out


def _starts(shells: Sequence[int]) -> list[tuple[int, int]]:
    """(l, first orbital) of each shell."""
    stops = np.cumsum([2 * l + 1 for l in shells]).tolist()
    return [(l, stop - 2 * l - 1) for l, stop in zip(shells, stops, strict=True)]


def find_outliers(summaries: dict[str, Summary]) -> dict[str, str]:
    """Structures whose numbers or block norms lie far from those of the others of the same composition, each with the reason.

    The distance from the median is measured in robust standard deviations, 1.4826 times the median absolute deviation.
    """
    out: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for name, summary in summaries.items():
        groups.setdefault(summary.formula, []).append(name)
    for names in groups.values():
        features: dict[str, dict[str, float]] = {}
        for name in names:
            for title, value in _features(summaries[name]).items():
                features.setdefault(title, {})[name] = value
        for title, values in features.items():
            for name, score in robust_scores(values).items():
                out.setdefault(name, f"{title} is {abs(score):.0f} standard deviations off")
    return out


def _features(summary: Summary) -> dict[str, float]:
    """What is compared: the numbers, and logarithms of the norms of on-site shells and of all bonds between two elements."""
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for kind, (total, count) in summary.norms.items():
        title = f"H of {kind.name}" if kind.bin < 0 else f"H of the bonds {SYMBOLS[kind.first]} - {SYMBOLS[kind.second]}"
        totals[title] = totals.get(title, 0.0) + total
        counts[title] = counts.get(title, 0) + count
    norms = {title: (total / counts[title]) ** 0.5 for title, total in totals.items()}
    return {**summary.numbers, **{title: float(np.log(norm)) for title, norm in norms.items() if norm > SMALL}}
