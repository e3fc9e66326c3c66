"""A text file of magnetic moments that a network is to be given.

Rows ``ATOM x y z [SIZE]``: ATOM is a number counted from 1, or an element (all its atoms but those with a row of their own); x y z a
direction of any length; SIZE in Bohr magneton. ``#`` starts a comment.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import lines_of_words, number, read_text
from deeph.physics.system import NUMBERS, SYMBOLS, FloatArray, System
from deeph.runtime.errors import DataError

ROW = "ATOM x y z [SIZE], such as 'Cr 0 0 1' or '3 0 0 1 3.4'"


class MomentRow(NamedTuple):
    """A row.

    Attributes
    ----------
    where : str
        File and line, for errors.
    direction : (3,) array
        Of length 1.
    size : float or None
        Bohr magneton; None for the mean of the element in training.
    """

    where: str
    direction: FloatArray
    size: float | None


@dataclass(frozen=True)
class MomentRows:
    """Moments of some atoms.

    Attributes
    ----------
    atoms : mapping of int to MomentRow
        Of single atoms, counted from 1.
    elements : mapping of int to MomentRow
        Of all atoms of an atomic number.
    """

    atoms: Mapping[int, MomentRow]
    elements: Mapping[int, MomentRow]

    def of_atoms(self, system: System) -> list[MomentRow | None]:
        """The row of each atom of a structure, None for those that have none.

        Raises
        ------
        DataError
            If a row is of an atom or an element that the structure does not hold.
        """
        for z, row in self.elements.items():
            if z not in system.numbers:
                raise DataError(f"{row.where}: there is no {SYMBOLS[z]} in {system}")
        for atom, row in self.atoms.items():
            if atom > system.n_atoms:
                raise DataError(f"{row.where}: atom {atom} of {system}; atoms are counted from 1")
        return [self.atoms.get(atom) or self.elements.get(z) for atom, z in enumerate(system.numbers.tolist(), 1)]


def read_moments_file(path: str | Path) -> MomentRows:
    """Read a file of moments.

    Raises
    ------
    DataError
        If it is missing or empty, or a row is not understood or comes twice; with its line.
    """
    path = Path(path).expanduser()
    rows: dict[str, list[tuple[int, MomentRow]]] = {"atom": [], "element": []}
    for n, words in lines_of_words(read_text(path, f"expected rows {ROW}")):
        where = f"{path}, line {n}"
        kind, key = _atom_or_element(words[0], where)
        rows[kind].append((key, _row(words[1:], where)))
    if not any(rows.values()):
        raise DataError(f"{path} holds no moment; expected rows {ROW}")
    return MomentRows(_once(rows["atom"], "atom {}".format), _once(rows["element"], lambda z: SYMBOLS[z]))


def rows_of_elements(vectors: Mapping[str, Sequence[float]]) -> MomentRows:
    """The same from ``{"Cr": (x, y, z)}`` or ``{"Cr": (x, y, z, SIZE)}``; errors as of the file."""
    rows = {}
    for element, vector in vectors.items():
        where = f"moments of {element!r}"
        if element not in NUMBERS or not NUMBERS[element]:
            raise DataError(f"{where}: expected a chemical symbol")
        rows[NUMBERS[element]] = _row([str(x) for x in np.ravel(vector)], where)
    return MomentRows({}, rows)


def _atom_or_element(word: str, where: str) -> tuple[str, int]:
    """What a row is of."""
    if re.fullmatch(r"\d{1,12}", word):
        if int(word) < 1:
            raise DataError(f"{where}: atom {word}; atoms are counted from 1")
        return "atom", int(word)
    if not NUMBERS.get(word):
        raise DataError(f"{where}: {word[:40]!r} is neither the number of an atom, from 1, nor the symbol of an element; expected {ROW}")
    return "element", NUMBERS[word]


def _row(words: Sequence[str], where: str) -> MomentRow:
    if len(words) not in (3, 4):
        raise DataError(f"{where}: {len(words)} numbers, expected three, x y z, or four, x y z SIZE")
    try:
        values = np.array([number(word) for word in words])
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected {ROW}") from error
    largest = np.abs(values[:3]).max()
    if not largest > 0:
        raise DataError(f"{where}: the direction 0 0 0 is none; for an atom without a moment give SIZE 0, or no row")
    if len(values) == 4 and values[3] < 0:
        raise DataError(f"{where}: the size {values[3]:g} is negative; turn the direction round instead")
    direction = values[:3] / largest
    return MomentRow(where, direction / np.linalg.norm(direction), float(values[3]) if len(values) == 4 else None)


def _once(rows: Sequence[tuple[int, MomentRow]], name: Callable[[int], str]) -> dict[int, MomentRow]:
    out: dict[int, MomentRow] = {}
    for key, row in rows:
        if out.setdefault(key, row) is not row:
            raise DataError(f"{row.where}: {name(key)} comes twice; first in {out[key].where}")
    return out
