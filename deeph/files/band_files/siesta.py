"""SIESTA's ``.EIG`` (on the k mesh, whose points are in ``.KP``) and ``.bands`` (along lines, or at points), in eV."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.band_files.base import BandFile, Line, count, exact_points, label, numbers, read_lines
from deeph.physics.system import FloatArray
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError

_LENGTHS = {"bohr": 1.0, "ang": 1 / SIESTA_5.bohr, "nm": 10 / SIESTA_5.bohr}
"""Units of LatticeConstant in Bohr."""
ROUNDING = 2e-5
"""1/Bohr, relative to the length of the path: digits of the distances in ``.bands``."""


class _Eigenvalues(NamedTuple):
    energies: FloatArray
    fermi_energy: float
    spinor: bool
    decimals: int
    before: FloatArray
    """(n_k, n) the numbers in front of the energies of each k-point."""


def read_siesta_eig(path: Path, cell: FloatArray) -> BandFile:
    """Read ``.EIG``, with the k-points of the ``.KP`` beside it, which are Cartesian, in 1/Bohr with 2 pi.

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
    lines = read_lines(points)
    try:
        n_k = count(lines[0].strip())
        k = np.array([numbers(line.split()[1:4]) for line in lines[1 : 1 + n_k]]).reshape(n_k, 3)
    except (ValueError, IndexError) as error:
        raise DataError(f"{points} is not a complete list of k points: {error}") from error
    if n_k != found.energies.shape[1]:
        raise DataError(f"{path.name} holds {found.energies.shape[1]} k points, but {points} {n_k}")
    own = read_cell(path.with_suffix(".XV"))
    return _band_file(path, exact_points(_fractional(k, cell if own is None else own)), found, own)


def read_siesta_bands(path: Path, cell: FloatArray) -> BandFile:
    """Read ``.bands``; its lines are those of the block BandLines in an fdf file beside it, for the file itself tells only distances.

    Parameters
    ----------
    path : path
        ``SystemLabel.bands``.
    cell : (3, 3) array
        Angstrom; the ``.XV`` beside the file comes before it.

    Raises
    ------
    DataError
        If the file is incomplete, no fdf file holds its lines, or they do not fit.
    """
    own = read_cell(path.with_suffix(".XV"))
    cell = cell if own is None else own
    head = read_lines(path)[2:3]
    if head and len(head[0].split()) == 3:  # after the Fermi level and the range of energies: BandPoints
        found = _read_eigenvalues(path, header=2, before=3)
        return _band_file(path, exact_points(_fractional(found.before, cell)), found, own)
    found = _read_eigenvalues(path, header=3, before=1)
    fdf, rows, settings = _find_band_lines(path)
    try:
        k, lines = _points_of_lines(rows, found.energies.shape[1])
        if [_key(word) for word in settings.get("bandlinesscale", [])] != ["reciprocallatticevectors"]:
            k = _fractional(k * np.pi / _constant(settings), cell)
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(f"{path} and the block BandLines of {fdf} do not fit together: {error}") from error
    expected = np.linalg.norm(np.diff(k, axis=0) @ (2 * np.pi * np.linalg.inv(cell).T * SIESTA_5.bohr), axis=1)
    within = np.isin(np.arange(1, len(k)), np.concatenate([np.arange(line.start + 1, line.stop) for line in lines]))  # no jumps
    if not np.abs(np.cumsum((np.diff(found.before[:, 0]) - expected) * within)).max() < ROUNDING * (1 + expected.sum()):
        raise DataError(f"{path} and the block BandLines of {fdf} do not fit together: distances differ, so they are of different runs")
    return _band_file(path, k, found, own, lines)


def read_cell(xv: Path) -> FloatArray | None:
    """(3, 3) lattice vectors in rows, Angstrom with SIESTA 5's Bohr, from the first lines of ``.XV``; None without the file."""
    if not xv.is_file():
        return None
    try:
        cell = np.array([numbers(line.split()[:3]) for line in read_lines(xv)[:3]]).reshape(3, 3)
        np.linalg.inv(cell)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(f"{xv} does not begin with three lattice vectors: {error}") from error
    return cell * SIESTA_5.bohr


def _read_eigenvalues(path: Path, header: int, before: int) -> _Eigenvalues:
    """Fermi level, sizes in line ``header`` (from 0), and for each k-point ``before`` numbers and the energies of all spins."""
    lines = read_lines(path)
    try:
        fermi = float(numbers(lines[0].split()[:1])[0])
        n_bands, n_components, n_k = (count(word) for word in lines[header].split())
        n_spin = 2 if n_components == 2 else 1
        words = " ".join(lines[header + 1 :]).split()[: n_k * (before + n_spin * n_bands)]
        table = numbers(words).reshape(n_k, before + n_spin * n_bands)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of eigenvalues: {error}") from error
    mantissa, _, exponent = words[before].upper().partition("E")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    energies = table[:, before:].reshape(n_k, n_spin, n_bands).swapaxes(0, 1)
    return _Eigenvalues(np.sort(energies), fermi, n_components > 2, decimals, table[:, :before])


def _find_band_lines(path: Path) -> tuple[str, list[list[str]], dict[str, list[str]]]:
    """The fdf file with the block BandLines, the words of the lines of this block, and the settings of the file."""
    for fdf in sorted(path.parent.glob("*.fdf")):
        inside = False
        rows: list[list[str]] = []
        settings: dict[str, list[str]] = {}
        for text in read_lines(fdf):
            words = re.split(r"[#;!]", text, maxsplit=1)[0].translate(str.maketrans("=:,", "   ")).split()
            keys = [_key(word) for word in words]
            if keys[:1] == ["%block"] or keys[:1] == ["%endblock"]:
                inside = keys == ["%block", "bandlines"]
            elif inside and words:
                rows.append(words)
            elif words:
                settings.setdefault(keys[0], words[1:])
        if rows:
            return fdf.name, rows, settings
    raise DataError(f"{path} tells distances, not k-points: the fdf input with the block BandLines must lie beside it")


def _points_of_lines(rows: list[list[str]], n_k: int) -> tuple[FloatArray, tuple[Line, ...]]:
    """Points of BandLines, in the units of the block: a line with 1 begins anew, any other gives the points on the way to its own."""
    sizes = [count(row[0]) for row in rows]
    if sum(sizes) != n_k:
        raise ValueError(f"the block asks for {sum(sizes)} k points, the file holds {n_k}")
    ends = np.array([numbers(row[1:4]) for row in rows]).reshape(-1, 3)
    names = [label(row[4]) if len(row) > 4 else "?" for row in rows]
    points, lines, start = [ends[0]] * sizes[0], [], sizes[0] - 1
    for n in range(1, len(rows)):
        jump = sizes[n] == 1
        points += [ends[n]] if jump else list(ends[n - 1] + np.arange(1, sizes[n] + 1)[:, None] / sizes[n] * (ends[n] - ends[n - 1]))
        if not jump:
            lines.append(Line(start, start + sizes[n] + 1, names[n - 1], names[n]))
        start += sizes[n]
    if not lines:
        raise ValueError("the block holds no line")
    return np.array(points), tuple(lines)


def _constant(settings: dict[str, list[str]]) -> float:
    """LatticeConstant in Bohr."""
    words = settings.get("latticeconstant")
    if not words:
        raise ValueError("k points are in units of pi/a, but there is no LatticeConstant")
    return float(numbers(words[:1])[0]) * _LENGTHS[words[1].lower() if len(words) > 1 else "bohr"]


def _key(word: str) -> str:
    """Labels of fdf are equal whatever their case and their ``-``, ``_`` and ``.``."""
    return re.sub("[-_.]", "", word).lower()


def _fractional(k: FloatArray, cell: FloatArray) -> FloatArray:
    """Cartesian k, 1/Bohr with 2 pi, in the reciprocal vectors of a cell."""
    return np.asarray(k @ cell.T / SIESTA_5.bohr / (2 * np.pi))


def _band_file(path: Path, k: FloatArray, found: _Eigenvalues, cell: FloatArray | None, lines: tuple[Line, ...] = ()) -> BandFile:
    return BandFile(path.name, k, found.energies, found.fermi_energy, cell, lines, found.spinor, found.decimals)
