"""ABACUS's structure file ``STRU``: cell, atoms, and the names of the orbital files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import lines_of_words, number, numbers, read_text
from deeph.physics.system import NUMBERS, FloatArray, System
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.input import read_input
from preprocess.readers.abacus.lattice import lattice_vectors

SECTIONS = (
    *("ATOMIC_SPECIES", "NUMERICAL_ORBITAL", "NUMERICAL_DESCRIPTOR", "ABFS_ORBITAL", "ABFS_JLES_ORBITAL", "PAW_FILES"),
    *("LATTICE_CONSTANT", "LATTICE_VECTORS", "LATTICE_PARAMETERS", "ATOMIC_POSITIONS"),
)
_COMMENT = r"(?:^|\s|(?<=[\d.]))(?:#|//)"
Line = tuple[int, list[str]]


class Stru(NamedTuple):
    """What a ``STRU`` file says.

    Attributes
    ----------
    system : System
        Atoms in the order of the file, wrapped into the cell as ABACUS does before it computes anything.
    lattice_constant : float
        Bohr.
    labels : tuple of str
        Species of each atom.
    orbital_files : dict of str to str
        File of the orbitals of each species, where one is named.
    """

    system: System
    lattice_constant: float
    labels: tuple[str, ...]
    orbital_files: dict[str, str]


def read_stru(path: str | Path, latname: str | None = None) -> System:
    """Read the structure of a ``STRU`` file.

    Parameters
    ----------
    path : path
        The file.
    latname : str, optional
        Kind of lattice if the file has no LATTICE_VECTORS; by default that of the ``INPUT`` file beside it.

    Returns
    -------
    System
        Angstrom (1 Bohr = 0.529177 Angstrom as in ABACUS), atoms wrapped into the cell.

    Raises
    ------
    DataError
        If the file is missing, incomplete or not understood, with the line.
    """
    return parse_stru(path, latname).system


def parse_stru(path: str | Path, latname: str | None = None) -> Stru:
    """Read a ``STRU`` file completely; parameters and errors as in :func:`read_stru`."""
    path = Path(path)
    sections = _sections(read_text(path, "ABACUS's structure file STRU is needed"))
    for name in ("ATOMIC_SPECIES", "LATTICE_CONSTANT", "ATOMIC_POSITIONS"):
        if not sections.get(name):
            raise DataError(f"{path} has no section {name}; expected an ABACUS STRU file")
    constant = float(_floats(path, sections["LATTICE_CONSTANT"][0], 1)[0])
    if latname is None:
        latname = _latname_beside(path)
    cell = _cell(path, sections, latname)
    labels, positions = _atoms(path, sections["ATOMIC_POSITIONS"], cell, constant)
    species = [fields[0] for _, fields in sections["ATOMIC_SPECIES"]]
    if unknown := sorted(set(labels) - set(species)):
        raise DataError(f"{path}: species {unknown[0]} has positions but is not in ATOMIC_SPECIES, which lists {', '.join(species)}")
    orbitals = [fields[0] for _, fields in sections.get("NUMERICAL_ORBITAL", [])]
    if orbitals and len(orbitals) != len(species):
        raise DataError(f"{path} names {len(orbitals)} files in NUMERICAL_ORBITAL for {len(species)} species in ATOMIC_SPECIES")
    numbers = np.array([_element(path, label) for label in labels])
    scale = constant * ABACUS.bohr
    return Stru(
        System(cell * scale, _wrapped(positions) @ cell * scale, numbers), constant, labels, dict(zip(species, orbitals, strict=False))
    )


def _sections(text: str) -> dict[str, list[Line]]:
    """The lines of each section with their numbers, split into fields, without comments."""
    out: dict[str, list[Line]] = {}
    current: list[Line] = []
    for line, fields in lines_of_words(text, _COMMENT):
        if fields[0].upper() in SECTIONS:
            current = out.setdefault(fields[0].upper(), [])
        else:
            current.append((line, fields))
    return out


def _floats(path: Path, line: Line, count: int) -> FloatArray:
    """The first numbers of a line."""
    n, fields = line
    try:
        values = numbers(fields[:count])
    except ValueError as error:
        raise DataError(f"{path}, line {n}: {error}; expected {count} numbers") from error
    if len(values) != count:
        raise DataError(f"{path}, line {n}: found {' '.join(fields)!r}, expected {count} numbers")
    return values


def _latname_beside(path: Path) -> str:
    """``latname`` of the INPUT in the folder of the STRU file; ``none`` where there is none."""
    return read_input(path.parent / "INPUT").get("latname", "none")


def _cell(path: Path, sections: dict[str, list[Line]], latname: str) -> FloatArray:
    """(3, 3) lattice vectors in units of the lattice constant."""
    if rows := sections.get("LATTICE_VECTORS"):
        if len(rows) < 3:
            raise DataError(f"{path}, line {rows[-1][0]}: {len(rows)} LATTICE_VECTORS, expected 3")
        return np.array([_floats(path, row, 3) for row in rows[:3]])
    given = sections.get("LATTICE_PARAMETERS", [])
    try:
        return lattice_vectors(latname, [number(field) for _, fields in given[:1] for field in fields])
    except (DataError, ValueError) as error:
        raise DataError(f"{path} has no LATTICE_VECTORS, and {error}") from error


def _atoms(path: Path, lines: Sequence[Line], cell: FloatArray, constant: float) -> tuple[tuple[str, ...], FloatArray]:
    """Label and fractional position of every atom; what follows the three coordinates (m, v, mag, ...) does not matter here."""
    (first, (given, *_)), *rest = lines
    if not abs(np.linalg.det(cell)) > 0:
        raise DataError(f"{path}: the lattice vectors span no volume")
    to_fractional = np.linalg.inv(cell)
    shift, form = np.zeros(3), given.lower()
    if form == "direct":
        to_fractional = np.eye(3)
    elif form in ("cartesian_au", "cartesian_angstrom"):
        to_fractional = to_fractional / constant / (1 if form == "cartesian_au" else ABACUS.bohr)
    elif match := re.fullmatch(r"cartesian_angstrom_center_(xy|xz|yz|xyz)", form):
        to_fractional = to_fractional / constant / ABACUS.bohr
        shift = np.array([0.5 if axis in match[1] else 0.0 for axis in "xyz"])
    elif form != "cartesian":
        raise DataError(f"{path}, line {first}: coordinates {given!r}; expected Direct, Cartesian, Cartesian_au or Cartesian_angstrom")
    labels: list[str] = []
    positions: list[FloatArray] = []
    while rest:
        if len(rest) < 3 or not re.fullmatch(r"\d{1,9}", rest[2][1][0]):
            raise DataError(f"{path}, line {rest[0][0]}: expected a species, its magnetization and the number of its atoms on three lines")
        label, count = rest[0][1][0], int(rest[2][1][0])
        if len(rest) < 3 + count:
            raise DataError(f"{path}, line {rest[-1][0]}: the file ends after {len(rest) - 3} of {count} positions of {label}")
        positions += [_floats(path, line, 3) for line in rest[3 : 3 + count]]
        labels += [label] * count
        rest = rest[3 + count :]
    return tuple(labels), np.array(positions).reshape(-1, 3) @ to_fractional + shift


def _wrapped(fractional: FloatArray) -> FloatArray:
    """Into [0, 1), with the rounding of ABACUS, on which the R of a block of an atom at the border depends."""
    shift = np.rint(np.fmod(fractional + 10000, 1.0) - fractional)
    return fractional + shift


def _element(path: Path, label: str) -> int:
    """Atomic number of a species such as ``Fe``, ``Fe1`` or ``C_graphene``."""
    match = re.match(r"[A-Z][a-z]?", label)
    names = (match[0], match[0][0]) if match else ()
    number = next((NUMBERS[name] for name in names if name in NUMBERS), None)
    if number is None or "empty" in label.lower():
        raise DataError(f"{path}: species {label!r} is no chemical element (ghost atoms are not supported)")
    return number
