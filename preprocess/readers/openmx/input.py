"""OpenMX's input file: the basis of every atom, the k mesh, the structure."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.files.text import integer, lines_of_words, number, numbers, read_text
from deeph.physics.system import NUMBERS, System
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError
from preprocess.readers.common import one_basis

_PAO = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)[^-]*-((?:[spdf]\d{1,2})+)")
_VPS = re.compile(r"([A-Z][a-z]?)(?:_|$)")


class Species(NamedTuple):
    """One line of ``Definition.of.Atomic.Species``.

    Attributes
    ----------
    number : int
        Atomic number.
    radius : float
        Cutoff radius of the orbitals, Bohr.
    shells : tuple of int
        l of each radial function, ascending as OpenMX orders them.
    pao : str
        Name of the basis, e.g. ``C6.0-s2p2d1``.
    vps : str
        Name of the pseudopotential, e.g. ``C_PBE13``.
    """

    number: int
    radius: float
    shells: tuple[int, ...]
    pao: str
    vps: str

    def __str__(self) -> str:
        return f"{self.pao} with {self.vps}" if self.vps else self.pao


def read_species(text: str, n_atoms: int) -> list[Species]:
    """Species of every atom.

    Parameters
    ----------
    text : str
        The input file.
    n_atoms : int
        Number of atoms expected.

    Raises
    ------
    DataError
        If a definition is missing or unsupported, or one element has two different bases.
    """
    table = {fields[0]: fields for fields in _block(text, "Definition.of.Atomic.Species") if len(fields) >= 2}
    rows = _block(text, "Atoms.SpeciesAndCoordinates")[:n_atoms]
    names = [fields[1] for fields in rows if len(fields) >= 2]
    if len(names) != n_atoms:
        raise DataError(f"the input lists {len(names)} atoms in Atoms.SpeciesAndCoordinates, but the matrices are of {n_atoms} atoms")
    unknown = sorted(set(names) - set(table))
    if unknown:
        raise DataError(f"species {unknown[0]!r} is not in Definition.of.Atomic.Species, which defines {', '.join(table) or 'nothing'}")
    species = {name: _parse_species(*table[name][:3]) for name in dict.fromkeys(names)}
    one_basis((one.number, one) for one in species.values())
    return [species[name] for name in names]


def _parse_species(name: str, pao: str, vps: str = "") -> Species:
    """Element, radius and shells from the names of the orbitals and of the pseudopotential."""
    if ">" in pao:
        raise DataError(f"species {name} with contracted orbitals {pao}: expected primitive ones such as C6.0-s2p2d1")
    match = _PAO.fullmatch(pao)
    if not match or match[1] not in NUMBERS:
        raise DataError(f"species {name} with basis {pao!r}: expected element, cutoff radius and shells s to f, such as C6.0-s2p2d1")
    potential = _VPS.match(vps)
    if potential and potential[1] != match[1]:
        raise DataError(
            f"species {name} puts orbitals of {match[1]} on the pseudopotential {vps}: atoms of two kinds (empty atoms, virtual crystals) "
            "are not supported"
        )
    counts = {"spdf".index(l): int(n) for l, n in re.findall(r"([spdf])(\d+)", match[3])}
    shells = tuple(l for l in sorted(counts) for _ in range(counts[l]))
    return Species(NUMBERS[match[1]], number(match[2]), shells, pao, vps)


def read_structure(path: Path) -> tuple[System, list[Species], float]:
    """The structure an input file describes.

    Parameters
    ----------
    path : path
        The ``.dat`` file.

    Returns
    -------
    System, list of Species, float
        Atoms where the file puts them (also outside the cell), the species of each, and the number of valence electrons (the sum of the
        initial spin occupations, which OpenMX wants to be that).

    Raises
    ------
    DataError
        If a block or keyword is missing or not understood.
    """
    text = read_text(path)
    try:
        n_atoms = integer(keyword(text, "Atoms.Number", "0")[0])
        rows = _block(text, "Atoms.SpeciesAndCoordinates")[:n_atoms]
        species = read_species(text, n_atoms)
        unit = {"ang": 1.0, "au": OPENMX.bohr}
        cell = np.array([numbers(row[:3]) for row in _block(text, "Atoms.UnitVectors")[:3]]).reshape(3, 3)
        cell *= unit[keyword(text, "Atoms.UnitVectors.Unit", "Ang")[0].lower()]
        table = np.array([numbers(row[2:7]) for row in rows]).reshape(n_atoms, -1)
        kind = keyword(text, "Atoms.SpeciesAndCoordinates.Unit", "Ang")[0].lower()
        positions = table[:, :3] @ cell if kind == "frac" else table[:, :3] * unit[kind]
        charge = number(keyword(text, "scf.system.charge", "0")[0])
        system = System(cell, positions, np.array([s.number for s in species]))
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path}: Atoms.Number, Atoms.UnitVectors, Atoms.SpeciesAndCoordinates or scf.system.charge are not understood: {error!r}"
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return system, species, float(table[:, 3:].sum()) - charge


def read_k_mesh(text: str) -> dict[str, Any]:
    """The k mesh of the self-consistent run, k = (n + shift)/grid with n = 0 .. grid - 1; empty where it is not known."""
    solver = keyword(text, "scf.EigenvalueSolver", "cluster")[0].lower()
    grid = keyword(text, "scf.Kgrid", "")
    if solver == "cluster":
        size = [1, 1, 1]
    elif solver == "band" and len(grid) >= 3 and all(re.fullmatch(r"[1-9]\d{0,5}", n) for n in grid[:3]):
        size = [int(n) for n in grid[:3]]
    else:
        return {}
    if keyword(text, "scf.Generation.Kpoint", "regular")[0].lower() != "regular":
        return {}
    return {"k_grid": size, "k_shift": [0.0 if n % 2 else 0.5 for n in size]}


def keyword(text: str, name: str, default: str) -> list[str]:
    """The words after a keyword, without the comment; OpenMX ignores case."""
    return next((words[1:] for _, words in lines_of_words(text) if words[0].lower() == name.lower() and words[1:]), [default])


def _block(text: str, name: str) -> list[list[str]]:
    """The words of each line between ``<name`` and ``name>``."""
    lines = [words for _, words in lines_of_words(text)]
    lowered = ["".join(words).lower() for words in lines]
    try:
        start = next(n for n, line in enumerate(lowered) if line.startswith(f"<{name.lower()}"))
        stop = next(n for n, line in enumerate(lowered) if line.startswith(f"{name.lower()}>"))
    except StopIteration:
        raise DataError(f"the input file has no block <{name} ... {name}>") from None
    return lines[start + 1 : stop]
