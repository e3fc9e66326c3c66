"""The text files beside SIESTA's matrices: ``.ORB_INDX`` (basis), ``.XV`` and ``.STRUCT_OUT`` (atoms)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import integer, numbers, read_text
from deeph.physics.system import SYMBOLS, FloatArray, IntArray
from deeph.physics.units import SIESTA_4, SIESTA_5, Constants
from deeph.runtime.errors import DataError


class AtomBasis(NamedTuple):
    """Orbitals of one atom.

    Attributes
    ----------
    shells : tuple of int
        Angular momentum of each shell, in SIESTA's order.
    radii : tuple of float
        Cutoff radius of each shell, Bohr.
    """

    shells: tuple[int, ...]
    radii: tuple[float, ...]

    def __str__(self) -> str:
        return f"shells {self.shells} with radii {self.radii} Bohr"


class AtomOrbitals(NamedTuple):
    """Species of one atom (number and label in the input), and its orbitals."""

    species: int
    label: str
    basis: AtomBasis


def read_orb_indx(path: Path) -> list[AtomOrbitals]:
    """Species and shells of each atom of the home cell, from the list of orbitals.

    Raises
    ------
    DataError
        If the file is missing or incomplete, or an atom's orbitals are not whole shells m = -l..l.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: it lists the orbitals of the matrices; SIESTA writes it in every run, copy it too")
    try:
        lines = read_text(path).splitlines()
        n = integer(lines[0].split()[0])
        rows = [line.split() for line in lines[3 : 3 + n]]
        table = np.array([[integer(row[c]) for c in (0, 1, 2, 6, 7)] for row in rows])  # orbital, atom, species, l, m
        radii = numbers([row[-5] for row in rows])
        steps = np.diff(table[:, 1], prepend=0)
        consistent = len(rows) == n and (table[:, 0] == np.arange(1, n + 1)).all() and np.isin(steps, (0, 1)).all()
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of orbitals: {error}") from error
    if not consistent:
        raise DataError(f"{path} does not list the {n} orbitals that its first line announces, in order: it is truncated or damaged")
    out = []
    first = np.flatnonzero(steps)
    for atom, (start, end) in enumerate(zip(first.tolist(), [*first[1:].tolist(), n], strict=True), start=1):
        shells = _shells(table[start:end, 3], table[start:end, 4], atom, path)
        starts = start + np.cumsum([0, *(2 * l + 1 for l in shells[:-1])])
        out.append(AtomOrbitals(int(table[start, 2]), rows[start][3], AtomBasis(shells, tuple(radii[starts].tolist()))))
    return out


def _shells(l: IntArray, m: IntArray, atom: int, path: Path) -> tuple[int, ...]:
    shells, at = [], 0
    while at < len(l):
        size = 2 * int(l[at]) + 1
        if size < 1 or m[at : at + size].tolist() != list(range(-int(l[at]), int(l[at]) + 1)) or (l[at : at + size] != l[at]).any():
            raise DataError(f"{path}: the orbitals of atom {atom} from number {at + 1} on are not a whole shell m = -{l[at]}..{l[at]}")
        shells.append(int(l[at]))
        at += size
    return tuple(shells)


class Geometry(NamedTuple):
    """Atoms as SIESTA wrote them: rows, Bohr (``.XV``) or Angstrom (``.STRUCT_OUT``), atomic numbers and numbers of the species."""

    cell: FloatArray
    positions: FloatArray
    numbers: IntArray
    species: IntArray


def read_geometry(path: Path) -> Geometry | None:
    """Read ``.XV`` (Cartesian) or ``.STRUCT_OUT`` (fractional, made Cartesian); None if there is none.

    Raises
    ------
    DataError
        If the file is incomplete, or holds ghost atoms or mixed species.
    """
    if not path.is_file():
        return None
    try:
        lines = read_text(path).splitlines()
        cell = numbers([x for line in lines[:3] for x in line.split()[:3]]).reshape(3, 3)
        n = integer(lines[3].strip())
        rows = [line.split() for line in lines[4 : 4 + n]]
        species, z = np.array([[integer(x) for x in row[:2]] for row in rows]).reshape(n, 2).T
        positions = numbers([x for row in rows for x in row[2:5]]).reshape(n, 3)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of cell vectors, number of atoms and atoms: {error}") from error
    if n < 1 or not (z > 0).all() or not (z < len(SYMBOLS)).all():
        raise DataError(f"{path} holds atomic numbers {sorted(set(z.tolist()))}: ghost atoms and mixed species are not supported")
    return Geometry(cell, positions if path.suffix == ".XV" else positions @ cell, z, species)


def find_constants(xv: Geometry | None, struct_out: Geometry | None, layout: str) -> Constants:
    """The constants SIESTA was compiled with.

    Cell vectors are printed in Bohr in one file and in Angstrom in the other, with more digits than the two sets of constants agree in.
    Without one of the files, the old layout of the matrices means version 4, any other version 5.

    Raises
    ------
    DataError
        If the two files fit neither, and thus do not belong together.
    """
    if xv is None or struct_out is None:
        return SIESTA_4 if layout.startswith("HSX version 0") else SIESTA_5
    factor = float(np.vdot(xv.cell, struct_out.cell) / np.vdot(xv.cell, xv.cell))
    best = min((SIESTA_4, SIESTA_5), key=lambda constants: abs(constants.bohr - factor))
    if not abs(best.bohr - factor) < 1e-7 * factor:
        raise DataError(f".XV and .STRUCT_OUT give 1 Bohr = {factor:.8f} Angstrom, expected {best.bohr:.8f}: they are of different runs")
    return best
