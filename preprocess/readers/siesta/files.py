"""The text files beside SIESTA's matrices: ``.ORB_INDX`` (basis), ``.XV`` and ``.STRUCT_OUT`` (atoms)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

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


def read_orb_indx(path: Path) -> list[AtomBasis]:
    """The shells of each atom of the home cell, from the list of orbitals.

    Raises
    ------
    DataError
        If the file is missing or incomplete, or an atom's orbitals are not whole shells m = -l..l.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: it lists the orbitals of the matrices; SIESTA writes it in every run, copy it too")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        n = int(lines[0].split()[0])
        rows = [line.split() for line in lines[3 : 3 + n]]
        numbers = np.array([[int(row[c]) for c in (0, 1, 6, 7, 8)] for row in rows])  # orbital, atom, l, m, zeta
        radii = np.array([float(row[-5]) for row in rows])
        consistent = len(rows) == n and (numbers[:, 0] == np.arange(1, n + 1)).all() and (np.diff(numbers[:, 1]) >= 0).all()
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of orbitals: {error}") from error
    if not consistent:
        raise DataError(f"{path} does not list the {n} orbitals that its first line announces, in order: it is truncated or damaged")
    out = []
    for atom in range(1, int(numbers[-1, 1]) + 1):
        own = numbers[:, 1] == atom
        if not own.any():
            raise DataError(f"{path} lists no orbitals for atom {atom}; every atom needs some (no bare ions or ghosts without orbitals)")
        shells = _shells(numbers[own, 2], numbers[own, 3], atom, path)
        starts = np.cumsum([0, *(2 * l + 1 for l in shells[:-1])])
        out.append(AtomBasis(shells, tuple(radii[own][starts].tolist())))
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
    """Atoms as SIESTA wrote them; rows, Bohr (``.XV``) or Angstrom (``.STRUCT_OUT``)."""

    cell: FloatArray
    positions: FloatArray
    numbers: IntArray


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
        lines = path.read_text(encoding="utf-8").splitlines()
        cell = np.array([[float(x) for x in line.split()[:3]] for line in lines[:3]])
        n = int(lines[3])
        rows = [line.split() for line in lines[4 : 4 + n]]
        numbers = np.array([int(row[1]) for row in rows])
        positions = np.array([[float(x) for x in row[2:5]] for row in rows]).reshape(n, 3)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of cell vectors, number of atoms and atoms: {error}") from error
    if cell.shape != (3, 3) or n < 1 or not (numbers > 0).all() or not (numbers < len(SYMBOLS)).all():
        raise DataError(f"{path} holds atomic numbers {sorted(set(numbers.tolist()))}: ghost atoms and mixed species are not supported")
    return Geometry(cell, positions if path.suffix == ".XV" else positions @ cell, numbers)


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
