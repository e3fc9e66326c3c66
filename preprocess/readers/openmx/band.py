"""OpenMX's ``.Band`` file: eigenvalues along a path, the reference for what was read from the ``.scfout``."""

from pathlib import Path

import numpy as np

from deeph.files.band_files.openmx import read_openmx_band
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.readers.base import NoBandsError, ReferenceBands
from preprocess.readers.openmx.reader import find_scfout


def read_bands(folder: Path, system: System) -> ReferenceBands:
    """Read the ``.Band`` file of a run.

    Parameters
    ----------
    folder : path
        The run folder; the file has the name of the ``.scfout``.
    system : System
        The structure of the run, to make sure that the bands are of the same cell.

    Returns
    -------
    ReferenceBands
        Converted with OpenMX's Hartree.

    Raises
    ------
    NoBandsError
        If there is no such file.
    DataError
        If it is incomplete or of another cell.
    """
    path = find_scfout(folder).with_suffix(".Band")
    if not path.is_file():
        raise NoBandsError(f"{path} is missing: there are no bands to compare with; OpenMX writes them with 'Band.dispersion on'")
    file = read_openmx_band(path)
    if file.cell is None or not np.allclose(2 * np.pi * np.linalg.inv(file.cell).T, system.reciprocal, atol=1e-5):
        raise DataError(f"{path} was computed for another cell than the .scfout beside it (reciprocal vectors differ)")
    return ReferenceBands.of(file)
