"""Input files of an FHI-aims run, and its list of basis functions."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.physics.system import NUMBERS, SYMBOLS, System
from deeph.runtime.errors import DataError

GEOMETRY, CONTROL, BASIS = "geometry.in", "control.in", "basis-indices.out"
MOVING = ("relax_geometry", "MD_run", "MD_schedule", "dynamics_type")
"""Keywords of runs that move the atoms: the matrices then belong to another geometry than geometry.in."""


class Control(NamedTuple):
    """What control.in says.

    Attributes
    ----------
    numbers : dict of species name to int
        Nuclear charge of each species; names may be anything ("Fe_up").
    keywords : dict of str to list of str
        The words after each keyword of the general part, the last one if it occurs several times.
    """

    numbers: dict[str, int]
    keywords: dict[str, list[str]]


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


def _words(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and words of every line that is no comment."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); an FHI-aims run needs it beside its matrices") from error
    split = ((number, re.split(r"[#!]", line)[0].split()) for number, line in enumerate(lines, start=1))
    return [(number, words) for number, words in split if words]


def read_control(path: Path) -> Control:
    """Read control.in.

    Raises
    ------
    DataError
        If the file is missing, a species has no nucleus, or the run moves the atoms.
    """
    numbers: dict[str, int] = {}
    keywords: dict[str, list[str]] = {}
    species = ""
    for line, words in _words(path):
        try:
            if words[0] == "species":
                species = words[1]
                numbers[species] = NUMBERS.get(species, 0)
            elif words[0] == "nucleus" and species:
                numbers[species] = round(float(words[1]))
            elif not species:
                keywords[words[0]] = words[1:]
        except (IndexError, ValueError) as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not understood: {error}") from error
        if words[0] in MOVING and words[1:2] != ["none"]:
            raise DataError(
                f"{path} line {line}: '{' '.join(words)}' moves the atoms, so that the matrices do not belong to {GEOMETRY}; "
                "repeat the last step as a run of its own without it"
            )
    nameless = [name for name, number in numbers.items() if not 0 < number < len(SYMBOLS)]
    if nameless:
        raise DataError(f"{path}: the species {nameless[0]!r} has no 'nucleus' between 1 and {len(SYMBOLS) - 1}")
    return Control(numbers, keywords)


def read_geometry(path: Path, numbers: dict[str, int]) -> System:
    """Read geometry.in (Angstrom).

    Parameters
    ----------
    path : path
        The file.
    numbers : dict of species name to int
        From control.in.

    Raises
    ------
    DataError
        If a line is not understood, a species is unknown, there are empty atoms, or not three lattice vectors.
    """
    cell, atoms, species = [], [], []
    for line, words in _words(path):
        try:
            if words[0] == "lattice_vector":
                cell.append([float(x) for x in words[1:4]])
            elif words[0] in ("atom", "atom_frac"):
                atoms.append((words[0], [float(x) for x in words[1:4]]))
                species.append(numbers[words[4]])
            elif words[0] in ("empty", "pseudocore"):
                raise DataError(f"{path} line {line}: '{words[0]}' is not supported; expected atoms with their nucleus only")
        except KeyError:
            raise DataError(f"{path} line {line}: {CONTROL} has no species {words[4]!r}, only {', '.join(numbers)}") from None
        except (ValueError, IndexError) as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not understood: {error}") from error
    if len(cell) != 3:
        raise DataError(f"{path} has {len(cell)} lattice vectors; expected 3: only periodic runs are read (a molecule: in a large box)")
    vectors = np.array(cell)
    positions = [np.array(x) @ vectors if kind == "atom_frac" else np.array(x) for kind, x in atoms]
    try:
        return System(vectors, np.reshape(positions, (-1, 3)), np.array(species))
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
                at, n, l, m = (int(word) for word in words[2:6])
                rows.append((words[1], at, n, l, m))
        except ValueError as error:
            raise DataError(f"{path} line {line}: '{' '.join(words)}' is not 'fn. type at. n l m': {error}") from error
    atoms = [row[1] for row in rows]
    if atoms != sorted(atoms) or sorted(set(atoms)) != list(range(1, system.n_atoms + 1)):
        raise DataError(f"{path}: expected the functions of the atoms 1 to {system.n_atoms} of {GEOMETRY}, one atom after the other")
    found: dict[int, AtomBasis] = {}
    for atom, z in enumerate(system.numbers.tolist(), start=1):
        basis = _shells(path, [row for row in rows if row[1] == atom])
        if found.setdefault(z, basis) != basis:
            raise DataError(f"{path}: atom {atom} and another {SYMBOLS[z]} have different basis functions; use one species an element")
    return found


def _shells(path: Path, rows: list[tuple[str, int, int, int, int]]) -> AtomBasis:
    """The radial functions of one atom from its rows (type, atom, n, l, m)."""
    shells, names = [], []
    start = 0
    while start < len(rows):
        kind, atom, n, l, _ = rows[start]
        stop = start + 2 * l + 1
        if rows[start:stop] != [(kind, atom, n, l, m) for m in range(-l, l + 1)]:
            raise DataError(f"{path}: atom {atom} lacks functions of '{kind} n = {n}, l = {l}', or not in the order m = -{l}..{l}")
        shells.append(l)
        names.append(f"{kind} {n}{'spdfghiklmnoqrt'[l]}")
        start = stop
    return AtomBasis(tuple(shells), tuple(names))
