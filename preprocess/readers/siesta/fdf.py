"""SIESTA's input format fdf, and the structure described in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeph.files.text import integer, number, read_text
from deeph.physics.system import FloatArray, System
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError

_UNITS = {"bohr": SIESTA_5.bohr, "ang": 1.0, "nm": 10.0, "pm": 0.01, "cm": 1e8, "mm": 1e7, "m": 1e10}
_FORMATS = {
    "notscaledcartesianbohr": "bohr", "bohr": "bohr", "notscaledcartesianang": "ang", "ang": "ang", "scaledcartesian": "constant",
    "latticeconstant": "constant", "scaledbylatticevectors": "fractional", "fractional": "fractional",
}  # fmt: skip
"""What the coordinates of the atoms are in units of."""


def _key(label: str) -> str:
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
        return self.blocks.get(_key(label), [])

    def has(self, label: str) -> bool:
        """Whether a value or a block of this name is given."""
        return _key(label) in self.values or _key(label) in self.blocks

    def word(self, label: str, default: str) -> str:
        """First word after a label."""
        words = self.values.get(_key(label), [])
        return words[0] if words else default

    def is_value(self, label: str, value: str) -> bool:
        """Whether a label has this value, in SIESTA's way of comparing."""
        return _key(self.word(label, "")) == _key(value)

    def is_true(self, label: str) -> bool:
        """Whether a label is given alone or with a word for true."""
        words = self.values.get(_key(label))
        return words is not None and (not words or words[0].lower().strip(".") in ("true", "t", "yes", "y"))

    def length(self, label: str) -> float | None:
        """A length in Bohr; None if it is not given.

        Raises
        ------
        DataError
            If it is not a number with a unit of length.
        """
        words = self.values.get(_key(label))
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
            _collect(fdf, _named_file(words[at + 1 :], path), here, frozenset(_key(w) for w in words[:at]))
        elif wanted is None or _key(head) in wanted:
            fdf.values.setdefault(_key(head), words[1:])


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
    label = _key(words[1]) if len(words) > 1 else ""
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


def read_fdf(path: Path) -> System:
    """The structure an fdf input describes.

    Parameters
    ----------
    path : path
        The main input file; included files are looked for beside the file that names them.

    Raises
    ------
    DataError
        If lattice, species or coordinates are missing or given in a way that is not supported (Z matrix, SuperCell, ghost atoms).
    """
    fdf = read_fdf_file(path)
    for label in ("SuperCell", "Zmatrix"):
        if fdf.has(label):
            raise DataError(f"{path}: {label} is not supported; give the cell and the coordinates of all atoms themselves")
    constant = fdf.length("LatticeConstant")
    if constant is None:
        raise DataError(f"{path}: there is no LatticeConstant, and a structure needs a cell; give LatticeConstant and LatticeVectors")
    constant *= SIESTA_5.bohr
    cell = constant * _lattice(fdf)
    rows = fdf.numbers("AtomicCoordinatesAndAtomicSpecies", 4)
    if not len(rows):
        raise DataError(f"{path}: there is no block AtomicCoordinatesAndAtomicSpecies")
    count = fdf.word("NumberOfAtoms", str(len(rows)))
    if count != str(len(rows)):
        raise DataError(f"{path}: NumberOfAtoms is {count}, but the block of coordinates has {len(rows)} lines")
    origin = fdf.numbers("AtomicCoordinatesOrigin", 3) if fdf.block("AtomicCoordinatesOrigin") else np.zeros((1, 3))
    if fdf.word("AtomicCoordinatesOrigin", ""):
        raise DataError(
            f"{path}: AtomicCoordinatesOrigin {fdf.word('AtomicCoordinatesOrigin', '')} is not supported; shift the atoms yourself"
        )
    coordinates = rows[:, :3] + origin
    form = _FORMATS.get(_key(fdf.word("AtomicCoordinatesFormat", "Bohr")))
    if form is None:
        raise DataError(f"{path}: AtomicCoordinatesFormat {fdf.word('AtomicCoordinatesFormat', '')} is none of SIESTA's formats")
    scale = {"bohr": SIESTA_5.bohr, "ang": 1.0, "constant": constant}
    positions = coordinates @ cell if form == "fractional" else coordinates * scale[form]
    species = _species(fdf)
    return System(cell, positions, np.array([species.get(int(s), 0) for s in rows[:, 3]]))


def _lattice(fdf: Fdf) -> FloatArray:
    """(3, 3) lattice vectors in rows, in units of the lattice constant."""
    if fdf.block("LatticeVectors"):
        vectors = fdf.numbers("LatticeVectors", 3)
        if len(vectors) != 3:
            raise DataError(f"{fdf.path}: block LatticeVectors has {len(vectors)} lines, expected 3")
        return vectors
    if not fdf.block("LatticeParameters"):
        return np.eye(3)
    a, b, c, *angles = fdf.numbers("LatticeParameters", 6)[0]
    (cos_a, cos_b, cos_c), sin_c = np.cos(np.radians(angles)), np.sin(np.radians(angles[2]))
    y = (cos_a - cos_b * cos_c) / sin_c
    return np.array([[a, 0, 0], [b * cos_c, b * sin_c, 0], [c * cos_b, c * y, c * np.sqrt(1 - cos_b**2 - y**2)]])


def _species(fdf: Fdf) -> dict[int, int]:
    """Atomic number of each species index; ghost atoms are refused."""
    species = fdf.species()
    if not species or min(species.values()) < 1:
        raise DataError(
            f"{fdf.path}: block ChemicalSpeciesLabel is missing, or holds ghost atoms (negative numbers), which are not supported"
        )
    return species
