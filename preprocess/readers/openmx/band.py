"""OpenMX's ``.Band`` file: eigenvalues along a path, the reference for what was read from the ``.scfout``."""

from pathlib import Path

import numpy as np

from deeph.files.text import integer, number, numbers, read_text
from deeph.physics.system import System
from deeph.physics.units import OPENMX
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
    lines = read_text(path).splitlines()
    try:
        head = lines[0].split()
        n_bands, n_spin, fermi = integer(head[0]), 2 if integer(head[1]) == 1 else 1, number(head[2])
        reciprocal = numbers(lines[1].split()).reshape(3, 3) / OPENMX.bohr
        segments = integer(lines[2].strip())
        n_k = sum(integer(line.split()[0]) for line in lines[3 : 3 + segments])
        table = numbers(" ".join(lines[3 + segments :]).split()).reshape(n_k, n_spin, 4 + n_bands)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a complete OpenMX .Band file: {error}") from error
    if not np.allclose(reciprocal, system.reciprocal, atol=1e-5):
        raise DataError(f"{path} was computed for another cell than the .scfout beside it (reciprocal vectors differ)")
    energies = table[:, :, 4:].transpose(1, 0, 2) * OPENMX.hartree
    return ReferenceBands(path.name, table[:, 0, 1:4], energies, fermi * OPENMX.hartree)
