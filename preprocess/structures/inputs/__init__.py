"""Input files of the DFT codes; every run writes the matrices that deeph-preprocess reads."""

import math

from deeph.physics.layers import spacing_of_planes
from deeph.physics.system import System
from deeph.runtime.errors import UsageError
from preprocess.structures.inputs import abacus, openmx, siesta
from preprocess.structures.layers import vacuum_axes
from preprocess.structures.settings import Settings

COMMANDS = {
    "openmx": "mpirun openmx openmx.dat > openmx.std",
    "abacus": "mpirun abacus > abacus.log",
    "siesta": "mpirun siesta < siesta.fdf > siesta.out",
}
"""What is run in each folder, unless the settings say something else."""


def input_files(system: System, settings: Settings) -> dict[str, str]:
    """The input files of one structure.

    Parameters
    ----------
    system : System
        The structure; the atoms of one element together.
    settings : Settings
        How to compute it.

    Returns
    -------
    dict of str to str
        Name and content of each file.

    Raises
    ------
    UsageError
        If the settings lack an element.
    """
    missing = sorted(set(system.symbols) - set(settings.elements))
    if missing:
        raise UsageError(f"the settings lack {', '.join(missing)}: add a table [elements.{missing[0]}]")
    writers = {"openmx": openmx.input_files, "abacus": abacus.input_files, "siesta": siesta.input_files}
    return writers[settings.run.code](system, settings, k_mesh(system, settings))


def k_mesh(system: System, settings: Settings) -> tuple[int, int, int]:
    """The k mesh: as given, or from the density."""
    if settings.run.k_density is None:
        return settings.run.k_grid or (1, 1, 1)
    empty = vacuum_axes(system)
    n = [1 if i in empty else max(1, math.ceil(settings.run.k_density / spacing_of_planes(system, i) - 1e-6)) for i in range(3)]
    return n[0], n[1], n[2]
