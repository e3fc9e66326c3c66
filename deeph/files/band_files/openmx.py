"""OpenMX's ``.Band``: eigenvalues along lines, absolute, in Hartree."""

from pathlib import Path

import numpy as np

from deeph.files.band_files.base import BandFile, Line, label
from deeph.files.text import count, integer, number, numbers, read_text
from deeph.physics.system import FloatArray
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError


def read_openmx_band(path: Path) -> BandFile:
    """Read a ``.Band`` file.

    k is printed in the reciprocal vectors of the run, which head the file in 1/Bohr with 2 pi. For each k, and with two spin channels for
    each of them, follow a line with the number of bands and k, and a line with the energies.

    Raises
    ------
    DataError
        If it is missing, incomplete, or holds what is no finite number.
    """
    lines = read_text(path).splitlines()
    try:
        head = lines[0].split()
        n_bands, n_spin, fermi = count(head[0]), 2 if integer(head[1]) == 1 else 1, number(head[2])
        reciprocal = numbers(lines[1].split()).reshape(3, 3) / OPENMX.bohr
        cell = np.asarray(2 * np.pi * np.linalg.inv(reciprocal).T, float)
        n_segments = count(lines[2].strip())
        segments, ends = _segments(lines[3 : 3 + n_segments], n_segments)
        n_k = segments[-1].stop
        table = numbers(" ".join(lines[3 + n_segments :]).split()).reshape(n_k, n_spin, 4 + n_bands)
        _check_table(table, n_bands, segments, ends)
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise DataError(f"{path} is not a complete OpenMX .Band file: {error}") from error
    energies = table[:, :, 4:].transpose(1, 0, 2) * OPENMX.hartree
    return BandFile(path.name, table[:, 0, 1:4], np.sort(energies), fermi * OPENMX.hartree, cell, segments)


def _segments(lines: list[str], expected: int) -> tuple[tuple[Line, ...], FloatArray]:
    """The lines of the path, and both ends of each, (n, 2, 3)."""
    if len(lines) != expected:
        raise ValueError(f"{len(lines)} of {expected} lines of the path")
    out: list[Line] = []
    for line in lines:
        words = line.split()
        start = out[-1].stop if out else 0
        out.append(Line(start, start + count(words[0]), label(words[7]), label(words[8])))
    return tuple(out), np.array([numbers(line.split()[1:7]) for line in lines]).reshape(-1, 2, 3)


def _check_table(table: FloatArray, n_bands: int, segments: tuple[Line, ...], ends: FloatArray) -> None:
    """Each row begins with the number of bands, both spins are at one k, and lines go from end to end: else rows are missing or doubled."""
    k = table[:, 0, 1:4]
    at_ends = k[[[line.start, line.stop - 1] for line in segments]]
    if (table[:, :, 0] != n_bands).any() or (table[:, 1:, 1:4] != k[:, None]).any() or np.abs(at_ends - ends).max() > 1e-6:
        raise ValueError("the rows of energies do not fit the head of the file")
