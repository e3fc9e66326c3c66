"""SIESTA basis files: ``.ion.xml``, ``.ion.nc`` and plain ``.ion``, which hold the same tables.

Each function is tabulated on a uniform grid from 0 to its cutoff as R(r)/r^l, in Bohr^-(3/2 + l); multi-zeta and polarization functions
are shells like any other, in the order of SIESTA's orbitals.
"""

from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from deeph.files.text import integer, number, numbers, read_text
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.physics.units import SIESTA_5
from deeph.runtime.errors import DataError

MAX_NORM_ERROR = 0.02
"""Accepted |norm - 1| of a function."""


class _Table(NamedTuple):
    """One radial table: l, grid step in Bohr, R(r)/r^l."""

    l: int
    step: float
    values: FloatArray


def read_ion(path: Path) -> Orbitals:
    """The orbitals of a species.

    Parameters
    ----------
    path : path
        ``Si.ion.xml``, ``Si.ion.nc`` or ``Si.ion``, told from its ending.

    Raises
    ------
    DataError
        If the file is damaged, or a function is not normalized.
    """
    reader = {".xml": _read_xml, ".nc": _read_nc}.get(path.suffix, _read_text)
    try:
        z, valence, tables = reader(path)
        shells = tuple(_shell(table) for table in tables)
    except DataError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, ET.ParseError) as error:
        raise DataError(f"{path} is not a complete SIESTA basis file: {error}") from error
    if not 0 < z < len(SYMBOLS):
        raise DataError(f"{path} is of atomic number {z}: ghost atoms and mixed species are not supported")
    for n, shell in enumerate(shells):
        if not abs(shell.norm - 1) < MAX_NORM_ERROR:
            raise DataError(f"{path}: function {n + 1} (l = {shell.l}) has the norm {shell.norm:.4f}, expected 1: the file is damaged")
    return Orbitals(z, shells, path.name, n_electrons=valence)


def _shell(table: _Table) -> RadialFunction:
    if table.l < 0 or not table.step > 0:
        raise DataError(f"a function with l = {table.l} and grid step {table.step}: the file is damaged")
    r = table.step * np.arange(len(table.values), dtype=np.float64)
    return RadialFunction(table.l, r * SIESTA_5.bohr, np.asarray(table.values * r**table.l / SIESTA_5.bohr**1.5))


def _read_xml(path: Path) -> tuple[int, float, list[_Table]]:
    root = ET.fromstring(read_text(path))  # noqa: S314 - a basis file of the user's own
    tables = []
    for orbital in root.iter("orbital"):
        points = integer(_text(orbital, "radfunc/npts"))
        values = numbers(_text(orbital, "radfunc/data").split()).reshape(points, 2)[:, 1]
        tables.append(_Table(integer(orbital.attrib["l"].strip()), number(_text(orbital, "radfunc/delta")), values))
    return integer(_text(root, "z")), number(_text(root, "valence")), _checked(tables, integer(_text(root, "norbs_nl")))


def _text(element: Any, name: str) -> str:
    found = element.find(name)
    if found is None:
        raise DataError(f"<{name}> is missing")
    return str(found.text).strip()


def _read_nc(path: Path) -> tuple[int, float, list[_Table]]:
    """NetCDF of the classic kind, which scipy reads, or of the kind that is HDF5 underneath."""
    with path.open("rb") as file:
        classic = file.read(3) == b"CDF"
    names = ("orbnl_l", "delta", "orb")
    if classic:
        from scipy.io import netcdf_file

        try:
            with netcdf_file(path, mmap=False) as data:
                variables = {name: data.variables[name][:].copy() for name in names}
                z, valence = int(data.Atomic_number), float(data.Valence_charge)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
            raise DataError("the netCDF file is cut off or damaged, or lacks orbnl_l, delta or orb; copy it again") from error
    else:
        from deeph.files.hdf5 import open_hdf5

        with open_hdf5(path, "a complete SIESTA basis file (orbnl_l, delta, orb)") as data:
            variables = {name: data[name][:] for name in names}
            z, valence = int(np.ravel(data.attrs["Atomic_number"])[0]), float(np.ravel(data.attrs["Valence_charge"])[0])
    tables = zip(variables["orbnl_l"], variables["delta"], variables["orb"], strict=True)
    return z, valence, [_Table(int(l), float(step), np.array(values, float)) for l, step, values in tables]


def _read_text(path: Path) -> tuple[int, float, list[_Table]]:
    lines = read_text(path).splitlines()
    ends = [n for n, line in enumerate(lines) if line.strip() == "</preamble>"]
    lines = lines[ends[0] + 1 :] if ends else lines
    z, valence, count = integer(lines[2].split()[0]), number(lines[3].split()[0]), integer(lines[6].split()[1])
    start = next(n for n, line in enumerate(lines) if line.lstrip().startswith("# PAOs")) + 1
    tables: list[_Table] = []
    for _ in range(count):
        points, step = lines[start + 1].split()[:2]
        rows = lines[start + 2 : start + 2 + integer(points)]
        if len(rows) != integer(points):
            raise DataError(f"truncated: {len(rows)} of {points} points of function {len(tables) + 1}")
        tables.append(_Table(integer(lines[start].split()[0]), number(step), numbers([row.split()[1] for row in rows])))
        start += 2 + integer(points)
    return z, valence, tables


def _checked(tables: list[_Table], count: int) -> list[_Table]:
    if len(tables) != count:
        raise DataError(f"{len(tables)} functions, but {count} are announced: the file is truncated")
    return tables
