"""Input files of an FHI-aims run, and its list of basis functions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import integer, lines_of_words, number, numbers, read_text
from deeph.physics.system import NUMBERS, SYMBOLS, System
from deeph.runtime.errors import DataError
from preprocess.readers.common import one_basis

GEOMETRY, CONTROL, BASIS = "geometry.in", "control.in", "basis-indices.out"
MOVING = ("relax_geometry", "md_run", "md_schedule", "dynamics_type")
"""Keywords of runs that move the atoms: the matrices then belong to another geometry than geometry.in."""
GENERAL = (
    *("charge", "spin", "k_grid", "k_offset", "occupation_type", "include_spin_orbit", "fixed_spin_moment", "sc_accuracy_rho"),
    *("output", "relativistic", "xc"),
)
"""Keywords that belong to no species, and may stand after one, too."""
FUNCTIONS = (
    *("valence", "ion_occ", "cut_pot", "cutoff_type", "basis_dep_cutoff", "include_min_basis", "pure_gauss", "innermost_max"),
    *("basis_acc", "core", "hydro", "ionic", "confined", "gaussian", "sto"),
)
"""Keywords of a species that define its basis functions."""


class Species(NamedTuple):
    """An element and how its basis functions are made; the name may be anything ("Fe_up").

    Attributes
    ----------
    number : int
        Nuclear charge.
    functions : tuple of str
        The lines that define them.
    """

    number: int
    functions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"({'; '.join(self.functions) or 'no lines'})"


class Control(NamedTuple):
    """What control.in says.

    Attributes
    ----------
    species : dict of str to Species
        By name.
    keywords : dict of str to list of str
        The words after each keyword (lower case) of the general part, the last one if it occurs several times.
    """

    species: dict[str, Species]
    keywords: dict[str, list[str]]

    def number(self, keyword: str, default: str) -> float:
        """The first word after a keyword, a number; an error if it is none."""
        word = (self.keywords.get(keyword) or [default])[0]
        try:
            return number(word)
        except ValueError as error:
            raise DataError(f"{CONTROL}: {keyword} is {word!r}, expected a number") from error


LETTERS = "spdfghiklmnoqrt"


class AtomBasis(NamedTuple):
    """Basis functions of one atom.

    Attributes
    ----------
    shells : tuple of int
        Angular momentum of each radial function.
    names : tuple of str
        Such as ``"hydro 4f"``, one for each radial function.
    """

    shells: tuple[int, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.names)})"


def _words(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and words of every line that is no comment."""
    return lines_of_words(read_text(path, "an FHI-aims run needs it beside its matrices"), "[#!]")


def read_control(path: Path) -> Control:
    """Read control.in.

    Raises
    ------
    DataError
        If the file is missing, a species has no nucleus, or the run moves the atoms.
    """
    species: dict[str, Species] = {}
    keywords: dict[str, list[str]] = {}
    current = ""
    for line, words in _words(path):
        keyword = words[0].lower()
        try:
            if keyword == "species":
                current = words[1]
                species[current] = Species(NUMBERS.get(current, 0))
            elif keyword in GENERAL or not current:
                keywords[keyword] = words[1:]
            elif keyword == "nucleus":
                species[current] = species[current]._replace(number=round(number(words[1])))
            elif keyword in FUNCTIONS:
                lines = (*species[current].functions, " ".join([keyword, *words[1:]]))
                species[current] = species[current]._replace(functions=lines)
        except (IndexError, ValueError) as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not understood: {error}") from error
        if keyword in MOVING and words[1:2] != ["none"]:
            raise DataError(
                f"{path} line {line}: '{' '.join(words)}' moves the atoms, so that the matrices do not belong to {GEOMETRY}; "
                "repeat the last step as a run of its own without it"
            )
    nameless = [name for name, one in species.items() if not 0 < one.number < len(SYMBOLS)]
    if nameless:
        raise DataError(f"{path}: the species {nameless[0]!r} has no 'nucleus' between 1 and {len(SYMBOLS) - 1}")
    return Control(species, keywords)


def read_geometry(path: Path, known: dict[str, Species]) -> System:
    """Read geometry.in (Angstrom).

    Parameters
    ----------
    path : path
        The file.
    known : dict of str to Species
        From control.in, by name.

    Raises
    ------
    DataError
        If a line is not understood, a species is unknown, there are empty atoms, or not three lattice vectors, or two species of one
        element have different basis functions.
    """
    cell, atoms, species = [], [], []
    for line, words in _words(path):
        try:
            keyword = words[0].lower()
            if keyword == "lattice_vector":
                cell.append(numbers(words[1:4]))
            elif keyword in ("atom", "atom_frac"):
                atoms.append((keyword, numbers(words[1:4])))
                species.append(known[words[4]])
            elif keyword in ("empty", "pseudocore"):
                raise DataError(f"{path} line {line}: '{words[0]}' is not supported; expected atoms with their nucleus only")
        except KeyError:
            raise DataError(f"{path} line {line}: {CONTROL} has no species {words[4]!r}, only {', '.join(known)}") from None
        except (ValueError, IndexError) as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not understood: {error}") from error
    if len(cell) != 3 or any(len(row) != 3 for row in [*cell, *(x for _, x in atoms)]):
        raise DataError(f"{path} has {len(cell)} lattice vectors; expected 3: only periodic runs are read (a molecule: in a large box)")
    vectors = np.array(cell)
    positions = [x @ vectors if kind == "atom_frac" else x for kind, x in atoms]
    try:
        one_basis((one.number, one) for one in species)
        return System(vectors, np.reshape(positions, (-1, 3)), np.array([one.number for one in species]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_basis(path: Path, system: System) -> dict[int, AtomBasis]:
    """Read basis-indices.out: one line ``fn. type at. n l m`` for each basis function.

    Returns
    -------
    dict of atomic number to AtomBasis
        The atoms of an element must have the same basis.

    Raises
    ------
    DataError
        If the file is incomplete, or in an order that is not known: atom by atom, and m = -l..l within each radial function.
    """
    rows: list[tuple[str, int, int, int, int]] = []
    for line, words in _words(path):
        try:
            if words[0].isdigit():
                at, n, l, m = (integer(word) for word in words[2:6])
                rows.append((words[1], at, n, l, m))
        except ValueError as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not 'fn. type at. n l m': {error}") from error
    atoms = [row[1] for row in rows]
    if atoms != sorted(atoms) or sorted(set(atoms)) != list(range(1, system.n_atoms + 1)):
        raise DataError(f"{path}: expected the functions of the atoms 1 to {system.n_atoms} of {GEOMETRY}, one atom after the other")
    own: dict[int, list[tuple[str, int, int, int, int]]] = {}
    for row in rows:
        own.setdefault(row[1], []).append(row)
    try:
        return one_basis((z, _shells(path, own[atom])) for atom, z in enumerate(system.numbers.tolist(), start=1))
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _shells(path: Path, rows: list[tuple[str, int, int, int, int]]) -> AtomBasis:
    """The radial functions of one atom from its rows (type, atom, n, l, m)."""
    shells, names = [], []
    start = 0
    while start < len(rows):
        kind, atom, n, l, _ = rows[start]
        stop = start + 2 * l + 1
        if l < 0 or l >= len(LETTERS) or rows[start:stop] != [(kind, atom, n, l, m) for m in range(-l, l + 1)]:
            raise DataError(f"{path}: atom {atom} lacks functions of '{kind} n = {n}, l = {l}', or not in the order m = -{l}..{l}")
        shells.append(l)
        names.append(f"{kind} {n}{LETTERS[l]}")
        start = stop
    return AtomBasis(tuple(shells), tuple(names))
