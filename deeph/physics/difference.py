"""Errors of a matrix, entry by entry, sorted by where they sit. The sums behind them add up over structures.

Of spinors and collinear spins the errors are sorted by the parts of :mod:`deeph.physics.spin_parts`, too: spin-orbit coupling is 100 to
1,000 times smaller than the spin-free part, and in the mean over all entries of spinor blocks, most of them zero, its error is not seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import Array, PairBlocks, energy_zero
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.spin_parts import PartName, split_spin
from deeph.physics.system import SYMBOLS, IntArray, System

TABLES = ("total", "by_site", "by_elements", "by_distance", "by_shells", "by_spin", "spin_sizes")
SPIN_PARTS: dict[PartName, str] = {"A0": "spin-free", "B0": "imaginary spin-free", "A": "exchange", "B": "spin-orbit"}
"""What the parts of H are in physics; B0, odd under time reversal, comes from orbital currents."""
NOTHING = 1e-3
"""A part of which neither H nor its error is larger anywhere is zero by symmetry, and no row tells of it; meV."""
SPIN_TABLES = TABLES[5:]
SPIN_LABELS = [f"{part}, {site}" for part in SPIN_PARTS.values() for site in ("on-site", "off-site")]


class Errors(NamedTuple):
    """Size of a set of differences, in meV; of complex entries the modulus counts."""

    n: int
    mae: float
    rmse: float
    max: float


Table = dict[str, Errors]


@dataclass
class ErrorSums:
    """Number, sum of moduli, sum of squares and largest modulus of the errors of one or many structures, by table and label.

    Attributes
    ----------
    sums : dict of str to dict of str to (4,) array
        ``total`` with the labels raw (the error as it stands) and projected (without mu S, mu = <dH, S>/<S, S> of each structure,
        which changes no band structure); parts of the projected error in ``by_site`` (on-site and off-site blocks), ``by_elements``
        (pairs of elements), ``by_distance`` (bins of 1 Angstrom, off-site only) and ``by_shells`` (pairs of shells). Where H has spin,
        ``by_spin`` has those of its parts, on-site and off-site, such as ``spin-orbit, off-site``, each component of each element being
        one real number; ``spin_sizes`` has the same of the parts of the reference themselves, the errors of predicting zero.
    """

    sums: dict[str, dict[str, Array]] = field(default_factory=lambda: {name: {} for name in TABLES})

    def add(self, table: str, label: str, errors: Array) -> None:
        """Add a set of errors, given in meV."""
        size = np.abs(errors)
        self._add(table, label, np.array([size.size, size.sum(), (size**2).sum(), size.max(initial=0.0)]))

    def _add(self, table: str, label: str, more: Array) -> None:
        old = self.sums[table].get(label, np.zeros(4))
        self.sums[table][label] = np.append(old[:3] + more[:3], max(old[3], more[3]))

    def merge(self, other: Self) -> None:
        """Add the sums of other structures."""
        for table, rows in other.sums.items():
            for label, values in rows.items():
                self._add(table, label, values)

    def table(self, name: str) -> Table:
        """One table; the bins of the distance in ascending order, without parts of the spin that are zero."""
        rows = {label: _errors(values) for label, values in self.sums[name].items() if name not in SPIN_TABLES or self._is_there(label)}
        if name == "by_distance":
            return dict(sorted(rows.items(), key=lambda row: int(row[0].split("-")[0])))
        if name in SPIN_TABLES:
            return {label: rows[label] for label in SPIN_LABELS if label in rows}
        return rows

    def _is_there(self, label: str) -> bool:
        return any(self.sums[name][label][3] > NOTHING for name in SPIN_TABLES)


def _errors(sums: Array) -> Errors:
    n, total, squares, largest = sums.tolist()
    return Errors(int(n), total / max(n, 1), float(np.sqrt(squares / max(n, 1))), largest)


def sum_errors(system: System, basis: Basis, H: PairBlocks, reference: PairBlocks, S: PairBlocks) -> tuple[ErrorSums, float]:
    """Sort the errors of H of one structure.

    Parameters
    ----------
    system : System
        The structure.
    basis : Basis
        Shells and spin; the order of its elements decides whether a pair is called C-H or H-C.
    H, reference : PairBlocks
        What is judged, and what it should be, eV; on the same pairs.
    S : PairBlocks
        The spin-free overlap, on the same pairs.

    Returns
    -------
    sums : ErrorSums
        All tables.
    mu : float
        The common energy zero of the difference, meV.
    """
    difference = PairBlocks(H.pairs, H.shapes, 1e3 * (H.entries - reference.entries))
    mu, mu_reference = energy_zero(difference, S), energy_zero(reference, S)
    S = S.to_spinor() if basis.spin == "spinor" else S
    projected = PairBlocks(difference.pairs, difference.shapes, difference.entries - mu * S.entries)
    out = ErrorSums()
    out.add("total", "raw", difference.entries)
    out.add("total", "projected", projected.entries)
    onsite = is_onsite(projected.pairs)
    ring = np.where(onsite, -1, np.floor(np.linalg.norm(pair_vectors(system, projected.pairs), axis=1))).astype(int)
    for elements, members in _element_pairs(system, projected.pairs):
        label = "-".join(SYMBOLS[z] for z in sorted(elements, key=list(basis.shells).index))
        blocks = projected.take(members)
        out.add("by_elements", label, blocks)
        for site, chosen in (("on-site", onsite[members]), ("off-site", ~onsite[members])):
            if not chosen.any():
                continue
            out.add("by_site", site, blocks[:, chosen])
            if basis.spin != "none":
                own = members[chosen]
                _add_spin_parts(out, "by_spin", site, split_spin(blocks[:, chosen], basis.spin))
                sizes = 1e3 * (reference.take(own) - mu_reference * S.take(own))
                _add_spin_parts(out, "spin_sizes", site, split_spin(sizes, basis.spin))
        for n in np.unique(ring[members][~onsite[members]]).tolist():
            out.add("by_distance", f"{n}-{n + 1}", blocks[:, ring[members] == n])
        for shells, part in _shell_parts(basis, elements, blocks):
            out.add("by_shells", shells, part)
    return out, mu


def _add_spin_parts(out: ErrorSums, table: str, site: str, parts: dict[PartName, Array]) -> None:
    for name, part in parts.items():
        out.add(table, f"{SPIN_PARTS[name]}, {site}", part)


def _element_pairs(system: System, pairs: IntArray) -> Iterator[tuple[tuple[int, int], IntArray]]:
    z = system.numbers[pairs[:, 3:]]
    for a, b in np.unique(z, axis=0).tolist():
        yield (a, b), np.flatnonzero((z == (a, b)).all(axis=1))


def _shell_parts(basis: Basis, elements: tuple[int, int], blocks: Array) -> Iterator[tuple[str, Array]]:
    """Yield ``"C s1-C p2"`` and the entries between these shells; the two directions of a pair get the same name."""
    orbitals = {z: _named_shells(basis, z) for z in elements}
    rank = {name: number for number, name in enumerate(name for z in basis.shells if z in orbitals for name in orbitals[z])}
    for name_a, rows in orbitals[elements[0]].items():
        for name_b, columns in orbitals[elements[1]].items():
            label = "-".join(sorted((name_a, name_b), key=rank.__getitem__))
            yield label, blocks[:, :, rows[:, None], columns]


def _named_shells(basis: Basis, z: int) -> dict[str, IntArray]:
    """Orbitals of each shell of an element, of both spins of a spinor."""
    shells = basis.shells[z]
    starts = np.concatenate([[0], np.cumsum([2 * l + 1 for l in shells])])
    spins = np.arange(basis.spin_factor)[:, None] * starts[-1]
    names = [f"{SYMBOLS[z]} {'spdfghik'[l]}{shells[: number + 1].count(l)}" for number, l in enumerate(shells)]
    return {name: (np.arange(starts[n], starts[n + 1]) + spins).ravel() for n, name in enumerate(names)}
