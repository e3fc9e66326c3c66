"""SIESTA's input format fdf: labels with values, and blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeph.files.text import integer, number, read_text
from deeph.physics.system import FloatArray
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError

_UNITS = {"bohr": SIESTA_5.bohr, "ang": 1.0, "nm": 10.0, "pm": 0.01, "cm": 1e8, "mm": 1e7, "m": 1e10}


def fdf_key(label: str) -> str:
    """Labels are equal whatever their case and their ``-``, ``_`` and ``.``."""
    return re.sub(r"[-_.]", "", label).lower()


def _words(line: str) -> list[str]:
    """The words of a line, without its comment; ``=``, ``:`` and ``,`` separate like blanks."""
    return re.split(r"[#;!]", line, maxsplit=1)[0].translate(str.maketrans("=:,", "   ")).replace("<", " < ").split()


@dataclass
class Fdf:
    """An input file with all it includes; of several settings of one label the first one counts, as in SIESTA.

    Attributes
    ----------
    path : path
        The file.
    values : dict
        Words after each label.
    blocks : dict
        Lines of each block.
    """

    path: Path
    values: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, list[str]] = field(default_factory=dict)

    def block(self, label: str) -> list[str]:
        """Lines of a block without comments; empty if there is none."""
        return self.blocks.get(fdf_key(label), [])

    def has(self, label: str) -> bool:
        """Whether a value or a block of this name is given."""
        return fdf_key(label) in self.values or fdf_key(label) in self.blocks

    def word(self, label: str, default: str) -> str:
        """First word after a label."""
        words = self.values.get(fdf_key(label), [])
        return words[0] if words else default

    def is_value(self, label: str, value: str) -> bool:
        """Whether a label has this value, in SIESTA's way of comparing."""
        return fdf_key(self.word(label, "")) == fdf_key(value)

    def is_true(self, label: str) -> bool:
        """Whether a label is given alone or with a word for true."""
        words = self.values.get(fdf_key(label))
        return words is not None and (not words or words[0].lower().strip(".") in ("true", "t", "yes", "y"))

    def length(self, label: str) -> float | None:
        """A length in Bohr; None if it is not given.

        Raises
        ------
        DataError
            If it is not a number with a unit of length.
        """
        words = self.values.get(fdf_key(label))
        if words is None:
            return None
        try:
            return number(words[0]) * _UNITS[words[1].lower() if len(words) > 1 else "bohr"] / SIESTA_5.bohr
        except (ValueError, IndexError, KeyError) as error:
            raise DataError(f"{self.path}: {label} {' '.join(words)}: expected a number and one of {', '.join(_UNITS)}") from error

    def numbers(self, label: str, n_columns: int) -> FloatArray:
        """The first columns of a block as numbers, (n_lines, n_columns)."""
        try:
            rows = [[number(x) for x in line.split()[:n_columns]] for line in self.block(label)]
            return np.array(rows).reshape(len(rows), n_columns)
        except ValueError as error:
            raise DataError(f"{self.path}: block {label} does not hold {n_columns} numbers in each line: {error}") from error

    def species(self) -> dict[int, int]:
        """Atomic number of each species index in the block ChemicalSpeciesLabel; empty if there is none."""
        try:
            return {integer(line.split()[0]): integer(line.split()[1]) for line in self.block("ChemicalSpeciesLabel")}
        except (ValueError, IndexError) as error:
            raise DataError(f"{self.path}: block ChemicalSpeciesLabel is not a list of index, atomic number and label: {error}") from error


def read_fdf_file(path: Path) -> Fdf:
    """Read an fdf file and the files it includes.

    Raises
    ------
    DataError
        If a file is missing, a block does not end, or files include each other.
    """
    fdf = Fdf(path)
    _collect(fdf, path, ())
    return fdf


def _collect(fdf: Fdf, path: Path, above: tuple[Path, ...], wanted: frozenset[str] | None = None) -> None:
    """Add the labels of a file (only the wanted ones, for ``label < file``) that are not set yet."""
    lines = iter(_lines(path, above))
    here = (*above, path)
    for words in lines:
        head = words[0].lower()
        if head == "%block":
            _add_block(fdf, words, lines, here, wanted)
        elif head == "%include":
            _collect(fdf, _named_file(words[1:], path), here, wanted)
        elif "<" in words:
            at = words.index("<")
            _collect(fdf, _named_file(words[at + 1 :], path), here, frozenset(fdf_key(w) for w in words[:at]))
        elif wanted is None or fdf_key(head) in wanted:
            fdf.values.setdefault(fdf_key(head), words[1:])


def _lines(path: Path, above: tuple[Path, ...]) -> list[list[str]]:
    """The words of each line that holds any."""
    if path in above:
        raise DataError(f"{above[0]}: {path.name} includes itself")
    text = read_text(path, f"{above[-1]} includes it" if above else "")
    return [words for line in text.splitlines() if (words := _words(line))]


def _named_file(words: list[str], path: Path) -> Path:
    if not words:
        raise DataError(f"{path}: no file name after '<' or %include")
    return path.parent / words[0]


def _add_block(fdf: Fdf, words: list[str], lines: Iterator[list[str]], here: tuple[Path, ...], wanted: frozenset[str] | None) -> None:
    """A block: the lines up to %endblock, or with ``%block label < file`` the block of that name, or the whole text, of another file."""
    label = fdf_key(words[1]) if len(words) > 1 else ""
    content: list[str] = []
    if "<" in words:
        path = _named_file(words[words.index("<") + 1 :], here[-1])
        inner = Fdf(path)
        _collect(inner, path, here, frozenset([label]))
        content = inner.block(label) or [" ".join(line) for line in _lines(path, here)]
    else:
        for line in lines:
            if line[0].lower() == "%endblock":
                break
            if line[0].lower() == "%block":
                raise DataError(f"{here[-1]}: block {label} has no %endblock before block {line[-1]}")
            content.append(" ".join(line))
        else:
            raise DataError(f"{here[-1]}: block {label} has no %endblock")
    if wanted is None or label in wanted:
        fdf.blocks.setdefault(label, content)
