"""Eigenvalues that DFT codes print themselves: OpenMX's ``.Band``, SIESTA's ``.EIG`` and ``.bands``."""

from collections.abc import Callable
from pathlib import Path

from deeph.files.band_files.base import BandFile, Line, NoPointsError
from deeph.files.band_files.openmx import read_openmx_band
from deeph.files.band_files.siesta import read_siesta_bands, read_siesta_eig
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError

__all__ = ["READERS", "BandFile", "Line", "NoPointsError", "read_band_file"]

READERS: dict[str, Callable[[Path, FloatArray], BandFile]] = {
    ".Band": lambda path, _: read_openmx_band(path),
    ".EIG": read_siesta_eig,
    ".bands": read_siesta_bands,
}
"""By suffix; the second argument is the cell of the structure, in whose reciprocal vectors k is wanted, (3, 3), Angstrom."""


def read_band_file(path: Path, cell: FloatArray) -> BandFile:
    """Read the band file of a DFT code; the suffix tells which.

    Parameters
    ----------
    path : path
        ``.Band``, ``.EIG`` or ``.bands``.
    cell : (3, 3) array
        Lattice vectors of the structure in rows, Angstrom, for files that give Cartesian k and no cell.

    Raises
    ------
    UsageError
        If it is a file of another kind.
    DataError
        If it is incomplete, damaged, or a file that it needs is missing; :class:`NoPointsError` where that is the input with its lines.
    """
    if path.suffix not in READERS:
        raise UsageError(f"{path}: expected a structure folder, or a band file: OpenMX's .Band, SIESTA's .EIG or .bands")
    return READERS[path.suffix](path, cell)
