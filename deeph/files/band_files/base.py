"""What a band file holds, and the numbers in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

MAX_DIVISIONS = 400
"""Largest number of half steps along a direction for which rounded k-points are recognized."""


class Line(NamedTuple):
    """A straight line of k-points: its first point, the point after its last one, and the names of its ends, ``"G"`` for Gamma."""

    start: int
    stop: int
    start_label: str
    stop_label: str


@dataclass(frozen=True)
class BandFile:
    """Eigenvalues printed by a DFT code.

    Attributes
    ----------
    name : str
        Of the file.
    k : (n_k, 3) array
        Fractional wave vectors.
    energies : (n_spin, n_k, n_bands) array
        eV with the constants of the code, on its energy zero, ascending from the lowest band on.
    fermi_energy : float
        eV.
    cell : (3, 3) array or None
        Lattice vectors of the run in rows, Angstrom, if the files tell.
    lines : tuple of Line
        Along which k runs; empty for a mesh or a list of points.
    spinor : bool or None
        Whether the states are spinors; None if the file does not tell.
    decimals : int
        Digits behind the point with which energies are printed, in the unit of the file.
    """

    name: str
    k: FloatArray
    energies: FloatArray
    fermi_energy: float
    cell: FloatArray | None = None
    lines: tuple[Line, ...] = ()
    spinor: bool | None = None
    decimals: int = 15


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; bytes that are no text become marks, which no parser takes for a number."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def numbers(words: Sequence[str]) -> FloatArray:
    """Finite numbers; exponents may be written with D. ``ValueError`` names the first word that is none."""
    try:
        values = np.array(words, np.float64)
    except ValueError:
        values = np.array([float(re.sub("[dD]", "e", word)) for word in words])
    if not np.isfinite(values).all():
        raise ValueError(f"{words[int(np.argmin(np.isfinite(values)))][:40]!r} is not a finite number")
    return values


def count(word: str) -> int:
    """A number of something; ``ValueError`` if it is none."""
    if not re.fullmatch(r"\d{1,12}", word) or int(word) < 1:
        raise ValueError(f"{word[:40]!r} is not a positive number")
    return int(word)


def exact_points(k: FloatArray) -> FloatArray:
    """(n_k, 3) k-points printed with six digits, moved onto the mesh they are recognized to belong to."""
    out = k.copy()
    for axis in range(3):
        for n in range(2, MAX_DIVISIONS + 1, 2):  # half steps, for shifted meshes
            if np.abs(k[:, axis] * n - np.rint(k[:, axis] * n)).max(initial=0.0) < 3e-6 * n:
                out[:, axis] = np.rint(k[:, axis] * n) / n
                break
    return out


def label(word: str) -> str:
    """Name of a k-point, with G for Gamma."""
    name = word.strip("'\"\\")
    return "G" if name.lower() in ("g", "gamma", "γ") else name or "?"
