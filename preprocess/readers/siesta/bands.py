"""SIESTA's own eigenvalues: ``.EIG`` with ``.KP``, and ``.bands`` with the lines or points of the fdf input."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.fdf import Fdf, read_fdf_file
from deeph.files.text import integer, number, numbers, read_text
from deeph.physics.system import FloatArray, System
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError
from preprocess.readers.base import NoBandsError, ReferenceBands
from preprocess.readers.kmesh import exact_points
from preprocess.readers.siesta.files import read_geometry
from preprocess.readers.siesta.matrix import is_single_precision

ACCURACY, ACCURACY_SINGLE = 1e-4, 1e-2
"""Accepted difference, eV, with H and S in double and in single precision (where high bands of a nearly singular S suffer)."""


class Eigenvalues(NamedTuple):
    """Eigenvalues of a text file: (n_spin, n_k, n_bands) and Fermi level in eV (NaN if unknown), and the digits they are printed with."""

    energies: FloatArray
    fermi_energy: float
    decimals: int
    before: FloatArray
    """(n_k, n) the numbers in front of the energies of each k point."""


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


def read_bands(folder: Path, system: System) -> ReferenceBands:
    """The eigenvalues of the run on its k mesh, or along its band lines if there is no mesh.

    Raises
    ------
    DataError
        If neither ``.EIG`` with ``.KP`` nor ``.bands`` with the fdf input is there, or a file is incomplete.
    """
    eig = sorted(p for p in folder.glob("*.EIG") if p.with_suffix(".KP").is_file())
    if eig:
        return read_mesh_bands(eig[0], system)
    bands = sorted(folder.glob("*.bands"))
    if bands:
        return read_line_bands(bands[0], system)
    raise NoBandsError(
        f"{folder} holds neither .EIG with .KP nor .bands: there are no eigenvalues to compare with; SIESTA writes both files"
    )


def read_mesh_bands(path: Path, system: System) -> ReferenceBands:
    """``.EIG``, with the k points of the ``.KP`` beside it."""
    found = _read_numbers(path, header=1, before=1)
    k, _ = read_k_points(path.with_suffix(".KP"), system)
    if len(k) != found.energies.shape[1]:
        raise DataError(f"{path.name} holds {found.energies.shape[1]} k points, but {path.with_suffix('.KP')} {len(k)}")
    return _reference(path, exact_points(k), found)


def read_k_points(path: Path, system: System) -> tuple[FloatArray, FloatArray]:
    """(n_k, 3) fractional k points of a ``.KP``, as printed, and their weights."""
    try:
        lines = read_text(path).splitlines()
        n = integer(lines[0].strip())
        rows = numbers([x for line in lines[1 : 1 + n] for x in line.split()[1:5]]).reshape(n, 4)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of k points: {error}") from error
    return rows[:, :3] @ _bohr_cell(path, system).T / (2 * np.pi), rows[:, 3]


def read_line_bands(path: Path, system: System) -> ReferenceBands:
    """``.bands``, with the points that the blocks BandLines or BandPoints of the fdf input ask for."""
    inputs = [(p, read_fdf_file(p)) for p in sorted(path.parent.glob("*.fdf"))]
    chosen = next(((p, fdf) for p, fdf in inputs if fdf.block("BandPoints") or fdf.block("BandLines")), None)
    if chosen is None:
        raise NoBandsError(f"{path} needs the fdf input beside it, whose block BandLines or BandPoints tells the k points")
    lines = not chosen[1].block("BandPoints")
    found = _read_numbers(path, header=3 if lines else 2, before=1 if lines else 3)
    cell = _bohr_cell(path, system)
    k = _points_of_input(chosen[1], cell)
    if len(k) != found.energies.shape[1]:
        raise DataError(f"{path} holds {found.energies.shape[1]} k points, but {chosen[0]} asks for {len(k)}: they are of different runs")
    cartesian = k @ (2 * np.pi * np.linalg.inv(cell).T)
    steps = np.linalg.norm(np.diff(cartesian, axis=0, prepend=cartesian[:1]), axis=1)
    expected = np.cumsum(steps)[:, None] if lines else cartesian
    if not np.abs(expected - found.before).max() < 2e-5 * (1 + np.abs(expected).max()):
        raise DataError(f"{path} and the k points in {chosen[0]} do not fit together: they are of different runs")
    return _reference(path, k, found)


def _points_of_input(fdf: Fdf, cell: FloatArray) -> FloatArray:
    """(n_k, 3) fractional points of BandPoints, or along BandLines: each line gives the points on the way to its own."""
    try:
        points = [[number(x) for x in line.split()[:3]] for line in fdf.block("BandPoints")]
        if not points:
            for line in fdf.block("BandLines"):
                words = line.split()
                end, n = np.array([number(x) for x in words[1:4]]), integer(words[0])
                start = np.array(points[-1]) if points else end
                points += [(start + (end - start) * m / n).tolist() for m in range(1, n + 1)]
        k = np.array(points).reshape(-1, 3)
    except (ValueError, IndexError) as error:
        raise DataError(f"{fdf.path}: the block BandLines or BandPoints is not a list of k points: {error}") from error
    if fdf.is_value("BandLinesScale", "ReciprocalLatticeVectors"):
        return k
    constant = fdf.length("LatticeConstant")
    if constant is None:
        raise DataError(f"{fdf.path}: k points in units of pi/a, but there is no LatticeConstant")
    return np.asarray(k * np.pi / constant @ cell.T / (2 * np.pi))


def _bohr_cell(path: Path, system: System) -> FloatArray:
    """(3, 3) cell in Bohr, whose k points are in 1/Bohr: as the run itself has it in ``.XV``, else converted."""
    xv = read_geometry(path.with_suffix(".XV"))
    return system.cell / SIESTA_5.bohr if xv is None else xv.cell


def _read_numbers(path: Path, header: int, before: int) -> Eigenvalues:
    """Fermi level, sizes in line ``header`` (from 0), and for each k point ``before`` numbers and the energies of all spins."""
    try:
        lines = read_text(path).splitlines()
        n_bands, n_spin, n_k = (integer(x) for x in lines[header].split())
        n_spin = n_spin if n_spin == 2 else 1
        words = " ".join(lines[header + 1 :]).split()
        table = numbers(words[: n_k * (before + n_spin * n_bands)]).reshape(n_k, before + n_spin * n_bands)
        fermi = _level(lines[0].split()[0])
        mantissa, _, exponent = words[before].upper().partition("E")
        decimals = len(mantissa.partition(".")[2]) - integer(exponent or "0")
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete list of eigenvalues: {error}") from error
    energies = table[:, before:].reshape(n_k, n_spin, n_bands).swapaxes(0, 1)
    return Eigenvalues(energies, float("nan") if fermi is None else fermi, decimals, table[:, :before])


def _reference(path: Path, k: FloatArray, found: Eigenvalues) -> ReferenceBands:
    accuracy = ACCURACY_SINGLE if is_single_precision(path.with_suffix(".HSX")) else ACCURACY
    return ReferenceBands(path.name, k, found.energies, found.fermi_energy, max(accuracy, 0.6 * 10.0**-found.decimals))
