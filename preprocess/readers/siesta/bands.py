"""SIESTA's own eigenvalues, the reference for what was read from its matrices: see :mod:`deeph.files.band_files`."""

from pathlib import Path

from deeph.files.band_files import NoPointsError, read_band_file
from deeph.physics.system import System
from preprocess.readers.base import NoBandsError, ReferenceBands
from preprocess.readers.siesta.matrix import is_single_precision

ACCURACY, ACCURACY_SINGLE = 1e-4, 1e-2
"""Accepted difference, eV, with H and S in double and in single precision (where high bands of a nearly singular S suffer)."""


def read_bands(folder: Path, system: System) -> ReferenceBands:
    """The eigenvalues of the run on its k mesh, or along its band lines if there is no mesh.

    Raises
    ------
    NoBandsError
        If neither ``.EIG`` with ``.KP`` nor ``.bands`` with the fdf input is there.
    DataError
        If a file is incomplete.
    """
    meshes = sorted(p for p in folder.glob("*.EIG") if p.with_suffix(".KP").is_file())
    found = meshes or sorted(folder.glob("*.bands"))
    if not found:
        raise NoBandsError(
            f"{folder} holds neither .EIG with .KP nor .bands: there are no eigenvalues to compare with; SIESTA writes both files"
        )
    try:
        return read_reference(found[0], system)
    except NoPointsError as error:
        raise NoBandsError(str(error)) from error


def read_reference(path: Path, system: System) -> ReferenceBands:
    """The eigenvalues in ``.EIG`` or ``.bands``, and how exact they are."""
    file = read_band_file(path, system.cell)
    accuracy = ACCURACY_SINGLE if is_single_precision(path.with_suffix(".HSX")) else ACCURACY
    return ReferenceBands.of(file, max(accuracy, 0.6 * 10.0**-file.decimals))
