"""SIESTA's ``.EIG`` (on the k mesh, whose points are in ``.KP``) and ``.bands`` (along lines, or at points), in eV."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.band_files.base import BandFile, Line, NoPointsError
from deeph.files.band_files.siesta_input import find_points
from deeph.files.rounded_points import exact_points
from deeph.files.text import count, integer, number, numbers, read_text
from deeph.physics.system import FloatArray
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError


class _Eigenvalues(NamedTuple):
    energies: FloatArray
    fermi_energy: float | None
    spinor: bool
    decimals: int
    before: FloatArray
    """(n_k, n) the numbers in front of the energies of each k-point."""


def read_siesta_eig(path: Path, cell: FloatArray) -> BandFile:
    """Read ``.EIG``, with the k-points of the ``.KP`` beside it.

    Parameters
    ----------
    path : path
        ``SystemLabel.EIG``.
    cell : (3, 3) array
        Angstrom; the ``.XV`` beside the file comes before it.

    Raises
    ------
    DataError
        If one of the files is missing or incomplete, or they are of different runs.
    """
    found = _read_eigenvalues(path, header=1, before=1)
    points = path.with_suffix(".KP")
    if not points.is_file():
        raise DataError(f"{path} holds energies without k-points: {points.name}, which SIESTA writes beside it, is missing")
    k, _ = read_k_points(points, cell)
    if len(k) != found.energies.shape[1]:
        raise DataError(f"{path.name} holds {found.energies.shape[1]} k points, but {points} {len(k)}")
    return _band_file(path, exact_points(k), found)


def read_k_points(path: Path, cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n_k, 3) fractional k-points of a ``.KP``, which are printed Cartesian, and their weights; ``cell`` as for the energies."""
    lines = read_text(path).splitlines()
    try:
        n_k = count(lines[0].strip())
        rows = numbers([word for line in lines[1 : 1 + n_k] for word in line.split()[1:5]]).reshape(n_k, 4)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of k points: {error}") from error
    return _fractional(rows[:, :3], _bohr_cell(path, cell)), rows[:, 3]


def read_siesta_bands(path: Path, cell: FloatArray) -> BandFile:
    """Read ``.bands``; its points are those of the block BandLines in an fdf file beside it, for the file itself tells only distances.

    BandPoints are in the file, rounded; those of the fdf file are taken if it is there.

    Parameters
    ----------
    path : path
        ``SystemLabel.bands``.
    cell : (3, 3) array
        Angstrom; the ``.XV`` beside the file comes before it.

    Raises
    ------
    NoPointsError
        If no fdf file holds its lines.
    DataError
        If the file is incomplete, or the lines do not fit.
    """
    bohr_cell = _bohr_cell(path, cell)
    head = read_text(path).splitlines()[2:3]
    if head and len(head[0].split()) == 3:  # after the Fermi level and the range of energies: BandPoints
        found = _read_eigenvalues(path, header=2, before=3)
        points = find_points(path, "BandPoints", found.before, bohr_cell)
        return _band_file(path, exact_points(_fractional(found.before, bohr_cell)) if points is None else points[0], found)
    found = _read_eigenvalues(path, header=3, before=1)
    points = find_points(path, "BandLines", found.before, bohr_cell)
    if points is None:
        raise NoPointsError(f"{path} tells distances, not k-points: the fdf input with the block BandLines must lie beside it")
    return _band_file(path, points[0], found, points[1])


def read_fermi_energy(path: Path) -> float | None:
    """The Fermi level (eV) in the first line of ``.EIG``; None without the file, or where no states were filled (it is infinite then)."""
    if not path.is_file():
        return None
    try:
        return _level(read_text(path).split(maxsplit=1)[0])
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} does not start with the Fermi level: {error}") from error


def _level(word: str) -> float | None:
    """A Fermi level, None for infinity and for the stars of a number too large to be printed."""
    return None if re.fullmatch(r"[-+]?(?:inf|infinity|nan|\*+)", word, re.IGNORECASE) else number(word)


def _own_cell(path: Path) -> FloatArray | None:
    """(3, 3) lattice vectors in rows, Bohr, as the run itself has them, from the first lines of ``.XV``; None without the file."""
    xv = path.with_suffix(".XV")
    if not xv.is_file():
        return None
    try:
        cell = numbers([word for line in read_text(xv).splitlines()[:3] for word in line.split()[:3]]).reshape(3, 3)
        np.linalg.inv(cell)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(f"{xv} does not begin with three lattice vectors: {error}") from error
    return cell


def _bohr_cell(path: Path, cell: FloatArray) -> FloatArray:
    """(3, 3) cell in Bohr, whose k-points are in 1/Bohr: that of the run, else the one given in Angstrom, converted."""
    own = _own_cell(path)
    return cell / SIESTA_5.bohr if own is None else own


def _read_eigenvalues(path: Path, header: int, before: int) -> _Eigenvalues:
    """Fermi level, sizes in line ``header`` (from 0), and for each k-point ``before`` numbers and the energies of all spins."""
    lines = read_text(path).splitlines()
    try:
        fermi = _level(lines[0].split()[0])
        n_bands, n_components, n_k = (count(word) for word in lines[header].split())
        n_spin = 2 if n_components == 2 else 1
        words = " ".join(lines[header + 1 :]).split()[: n_k * (before + n_spin * n_bands)]
        table = numbers(words).reshape(n_k, before + n_spin * n_bands)
        mantissa, _, exponent = words[before].upper().partition("E")
        decimals = len(mantissa.partition(".")[2]) - integer(exponent or "0")
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of eigenvalues: {error}") from error
    energies = table[:, before:].reshape(n_k, n_spin, n_bands).swapaxes(0, 1)
    return _Eigenvalues(np.sort(energies), fermi, n_components > 2, decimals, table[:, :before])


def _fractional(k: FloatArray, bohr_cell: FloatArray) -> FloatArray:
    """Cartesian k, 1/Bohr with 2 pi, in the reciprocal vectors of a cell."""
    return np.asarray(k @ bohr_cell.T / (2 * np.pi))


def _band_file(path: Path, k: FloatArray, found: _Eigenvalues, lines: tuple[Line, ...] = ()) -> BandFile:
    own = _own_cell(path)
    cell = None if own is None else own * SIESTA_5.bohr
    return BandFile(path.name, k, found.energies, found.fermi_energy, cell, lines, found.spinor, found.decimals)
