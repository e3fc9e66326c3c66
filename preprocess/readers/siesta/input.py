"""The structure that an fdf input of SIESTA describes."""

from pathlib import Path

import numpy as np

from deeph.files.fdf import Fdf, fdf_key, read_fdf_file
from deeph.files.text import number
from deeph.physics.system import FloatArray, System
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError

_FORMATS = {
    "notscaledcartesianbohr": "bohr", "bohr": "bohr", "notscaledcartesianang": "ang", "ang": "ang", "scaledcartesian": "constant",
    "latticeconstant": "constant", "scaledbylatticevectors": "fractional", "fractional": "fractional",
}  # fmt: skip
"""What the coordinates of the atoms are in units of."""


def read_fdf(path: Path) -> System:
    """The structure an fdf input describes.

    Parameters
    ----------
    path : path
        The main input file; included files are looked for beside the file that names them.

    Raises
    ------
    DataError
        If lattice, species or coordinates are missing or given in a way that is not supported (Z matrix, SuperCell, ghost atoms).
    """
    fdf = read_fdf_file(path)
    for label in ("SuperCell", "Zmatrix"):
        if fdf.has(label):
            raise DataError(f"{path}: {label} is not supported; give the cell and the coordinates of all atoms themselves")
    constant = fdf.length("LatticeConstant")
    if constant is None:
        raise DataError(f"{path}: there is no LatticeConstant, and a structure needs a cell; give LatticeConstant and LatticeVectors")
    constant *= SIESTA_5.bohr
    cell = constant * _lattice(fdf)
    rows = fdf.numbers("AtomicCoordinatesAndAtomicSpecies", 4)
    if not len(rows):
        raise DataError(f"{path}: there is no block AtomicCoordinatesAndAtomicSpecies")
    count = fdf.word("NumberOfAtoms", str(len(rows)))
    if count != str(len(rows)):
        raise DataError(f"{path}: NumberOfAtoms is {count}, but the block of coordinates has {len(rows)} lines")
    origin = fdf.numbers("AtomicCoordinatesOrigin", 3) if fdf.block("AtomicCoordinatesOrigin") else np.zeros((1, 3))
    if fdf.word("AtomicCoordinatesOrigin", ""):
        raise DataError(
            f"{path}: AtomicCoordinatesOrigin {fdf.word('AtomicCoordinatesOrigin', '')} is not supported; shift the atoms yourself"
        )
    coordinates = rows[:, :3] + origin
    form = _FORMATS.get(fdf_key(fdf.word("AtomicCoordinatesFormat", "Bohr")))
    if form is None:
        raise DataError(f"{path}: AtomicCoordinatesFormat {fdf.word('AtomicCoordinatesFormat', '')} is none of SIESTA's formats")
    scale = {"bohr": SIESTA_5.bohr, "ang": 1.0, "constant": constant}
    positions = coordinates @ cell if form == "fractional" else coordinates * scale[form]
    species = _species(fdf)
    return System(cell, positions, np.array([species.get(int(s), 0) for s in rows[:, 3]]))


def _lattice(fdf: Fdf) -> FloatArray:
    """(3, 3) lattice vectors in rows, in units of the lattice constant."""
    if fdf.block("LatticeVectors"):
        vectors = fdf.numbers("LatticeVectors", 3)
        if len(vectors) != 3:
            raise DataError(f"{fdf.path}: block LatticeVectors has {len(vectors)} lines, expected 3")
        return vectors
    if not fdf.block("LatticeParameters"):
        return np.eye(3)
    a, b, c, *angles = fdf.numbers("LatticeParameters", 6)[0]
    (cos_a, cos_b, cos_c), sin_c = np.cos(np.radians(angles)), np.sin(np.radians(angles[2]))
    y = (cos_a - cos_b * cos_c) / sin_c
    return np.array([[a, 0, 0], [b * cos_c, b * sin_c, 0], [c * cos_b, c * y, c * np.sqrt(1 - cos_b**2 - y**2)]])


def _species(fdf: Fdf) -> dict[int, int]:
    """Atomic number of each species index; ghost atoms are refused."""
    species = fdf.species()
    if not species or min(species.values()) < 1:
        raise DataError(
            f"{fdf.path}: block ChemicalSpeciesLabel is missing, or holds ghost atoms (negative numbers), which are not supported"
        )
    return species


def read_net_charge(path: Path) -> float:
    """``NetCharge`` of an fdf input: elementary charges per cell, positive where electrons are missing; 0 if it is not given.

    Raises
    ------
    DataError
        If it is not a number.
    """
    word = read_fdf_file(path).word("NetCharge", "0")
    try:
        return number(word)
    except ValueError as error:
        raise DataError(f"{path}: NetCharge {word}: expected a number") from error
