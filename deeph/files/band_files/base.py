"""What a band file holds."""

from dataclasses import dataclass
from typing import NamedTuple

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError


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
    fermi_energy : float or None
        eV; None where no states were filled.
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
    fermi_energy: float | None
    cell: FloatArray | None = None
    lines: tuple[Line, ...] = ()
    spinor: bool | None = None
    decimals: int = 15


class NoPointsError(DataError):
    """Energies, sound otherwise, without the file that tells their k-points."""


def label(word: str) -> str:
    """Name of a k-point, with G for Gamma."""
    name = word.strip("'\"\\")
    return "G" if name.lower() in ("g", "gamma", "γ") else name or "?"
