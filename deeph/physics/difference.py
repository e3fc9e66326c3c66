"""Errors of a matrix, entry by entry, sorted by where they sit. The sums behind them add up over structures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import Array, PairBlocks, energy_zero
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.system import SYMBOLS, IntArray, System

TABLES = ("total", "by_site", "by_elements", "by_distance", "by_shells")


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
        (pairs of elements), ``by_distance`` (bins of 1 Angstrom, off-site only) and ``by_shells`` (pairs of shells).
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
        """One table; the bins of the distance in ascending order."""
        rows = {label: _errors(values) for label, values in self.sums[name].items()}
        if name == "by_distance":
            return dict(sorted(rows.items(), key=lambda row: int(row[0].split("-")[0])))
        return rows


def _errors(sums: Array) -> Errors:
    n, total, squares, largest = sums.tolist()
    return Errors(int(n), total / max(n, 1), float(np.sqrt(squares / max(n, 1))), largest)


def sum_errors(system: System, basis: Basis, difference: PairBlocks, S: PairBlocks) -> tuple[ErrorSums, float]:
    """Sort the errors of H of one structure.

    Parameters
    ----------
    system : System
        The structure.
    basis : Basis
        Shells and spin; the order of its elements decides whether a pair is called C-H or H-C.
    difference : PairBlocks
        H - H_ref in meV.
    S : PairBlocks
        The spin-free overlap, on the same pairs.

    Returns
    -------
    sums : ErrorSums
        All tables.
    mu : float
        The common energy zero of the difference, meV.
    """
    mu = energy_zero(difference, S)
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
            if chosen.any():
                out.add("by_site", site, blocks[:, chosen])
        for n in np.unique(ring[members][~onsite[members]]).tolist():
            out.add("by_distance", f"{n}-{n + 1}", blocks[:, ring[members] == n])
        for shells, part in _shell_parts(basis, elements, blocks):
            out.add("by_shells", shells, part)
    return out, mu


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
