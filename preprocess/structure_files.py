"""The structure an overlap is wanted for: any structure file, or the input file of a DFT code."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deeph.physics.system import System
from deeph.physics.system import read_structure as read_any
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.stru import read_stru
from preprocess.readers.openmx.input import read_structure as read_openmx
from preprocess.readers.siesta.input import read_fdf

NAMES = ("POSCAR", "CONTCAR", "STRU", "*.vasp", "*.cif", "*.xyz", "*.dat", "*.fdf")
"""What is looked for in a folder."""


class Structure(NamedTuple):
    """A structure and what its file says besides.

    Attributes
    ----------
    system : System
        The atoms.
    basis_names : mapping of atomic number to str
        OpenMX's names of the bases; empty for other files.
    n_electrons : float or None
        Valence electrons, where the file tells.
    """

    system: System
    basis_names: Mapping[int, str] = {}
    n_electrons: float | None = None


def read_structure_file(path: Path) -> Structure:
    """Read POSCAR, cif, xyz, ..., or an input file of OpenMX (``.dat``), SIESTA (``.fdf``) or ABACUS (``STRU``).

    Raises
    ------
    DataError
        If the file is missing or not understood.
    """
    if not path.is_file():
        raise DataError(f"no structure file at {path}")
    if path.suffix.lower() == ".fdf":
        return Structure(read_fdf(path))
    if path.name.startswith("STRU") or path.suffix.lower() == ".stru":
        return Structure(read_stru(path))
    if path.suffix.lower() == ".dat" or _is_openmx(path):
        system, species, n_electrons = read_openmx(path)
        return Structure(system, {s.number: s.pao for s in species}, n_electrons)
    return Structure(read_any(path))


def _is_openmx(path: Path) -> bool:
    with path.open("rb") as file:
        return re.search(rb"<Atoms\.SpeciesAndCoordinates", file.read(20000), re.IGNORECASE) is not None


def find_structure_files(path: Path) -> list[Path]:
    """The structure file itself, or those of the folders below a folder, one each, sorted.

    Raises
    ------
    DataError
        If there is none, or a folder holds more than one of a kind.
    """
    if not path.is_dir():
        return [path]
    out = []
    for folder in sorted([path, *(p for p in path.rglob("*") if p.is_dir() and not p.name.startswith("."))]):
        found = next((matches for name in NAMES if (matches := sorted(folder.glob(name)))), [])
        if len(found) > 1:
            raise DataError(f"{folder} holds {len(found)} structure files ({found[0].name}, {found[1].name}, ...): expected one a folder")
        out += found
    if not out:
        raise DataError(f"no structure file in {path}: expected one of {', '.join(NAMES)}")
    return out
