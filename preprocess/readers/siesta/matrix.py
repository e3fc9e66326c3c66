"""The files SIESTA keeps H and S in: ``.HSX``, ``.TSHS``, ``.onlyS`` and the netCDF ``.nc``, still in Bohr and Rydberg.

All of them hold rows of a sparse matrix: row = orbital of the home cell, column = orbital of an auxiliary supercell, whose cells are
listed (``cells``) or follow from the vectors between the orbitals (``vectors``, old HSX). The layouts are those of SIESTA's own writers
(io_hsx.F90, m_ts_io.F90, cdf_io). A reader of our own, because sisl would bring a Fortran extension for these 150 lines, and shifts the
energies to the Fermi level.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from preprocess.readers.siesta.records import Records

N_SPIN = (1, 2, 4, 8)
"""Spin components of H: none, collinear, non-collinear, spin-orbit."""


@dataclass(frozen=True)
class Matrices:
    """What a matrix file holds.

    Attributes
    ----------
    path : path
        The file.
    layout : str
        Kind and version of the file.
    n_row : (n_orbitals,) int array
        Nonzero elements of each row.
    column : (n_nonzero,) int array
        Orbital of each element in the supercell, from 0; modulo n_orbitals the orbital in the home cell.
    S : (n_nonzero,) array
        Overlap.
    H : (n_spin, n_nonzero) array or None
        Rydberg; spin components as SIESTA orders them. None in ``.onlyS``.
    cells : (n_cells, 3) int array or None
        R of each cell of the supercell.
    vectors : (n_nonzero, 3) array or None
        From the orbital of the row to that of the column, Bohr; instead of ``cells``.
    n_orbitals : (n_atoms,) int array
        Orbitals of each atom.
    cell, positions : arrays or None
        Rows, Bohr; None in old HSX files.
    fermi : float or None
        Rydberg.
    n_electrons, temperature : float or None
        Electrons and k_B T in Rydberg.
    k_cell, k_shift : arrays or None
        Monkhorst-Pack mesh of the run.
    species : (n_atoms,) int array or None
        Number of the species of each atom, from 1.
    """

    path: Path
    layout: str
    n_row: IntArray
    column: IntArray
    S: FloatArray
    H: FloatArray | None
    cells: IntArray | None
    vectors: FloatArray | None
    n_orbitals: IntArray
    cell: FloatArray | None = None
    positions: FloatArray | None = None
    fermi: float | None = None
    n_electrons: float | None = None
    temperature: float | None = None
    k_cell: IntArray | None = None
    k_shift: FloatArray | None = None
    species: IntArray | None = None

    def __post_init__(self) -> None:
        n = len(self.n_row)
        size = n * len(self.cells) if self.cells is not None else int(self.column.max(initial=0)) + 1
        if len(self.column) and not (self.column.min() >= 0 and self.column.max() < size):
            raise DataError(
                f"{self.path} has columns {self.column.min() + 1} to {self.column.max() + 1}, expected 1 to {size}: it is damaged"
            )
        if self.n_orbitals.sum() != n or (self.n_orbitals < 0).any():
            raise DataError(f"{self.path} has atoms with {self.n_orbitals.sum()} orbitals in all, but {n} rows: it is damaged")
        for values in (self.S, self.H, self.cell, self.positions, self.vectors, self.n_electrons, self.temperature):
            if values is not None and not np.isfinite(values).all():
                raise DataError(f"{self.path} holds NaN or infinity: the run failed or the file is damaged; repeat the run")


def read_matrices(path: Path) -> Matrices:
    """Read a matrix file of any kind, told from its name.

    Raises
    ------
    DataError
        If it is damaged or has an unknown layout.
    """
    if path.suffix == ".nc":
        return _read_nc(path)
    records = Records(path)
    out = _read_hsx(records) if path.suffix == ".HSX" else _read_tshs(records)
    if not records.at_end:
        raise records.error("goes on after its last part: it has another layout than expected")
    return out


def is_siesta_nc(path: Path) -> bool:
    """Whether a netCDF file is the one that SIESTA keeps its matrices in; those of grids and bases may be of the older format."""
    import h5py

    from deeph.files.hdf5 import ERRORS

    try:
        with h5py.File(path, "r") as file:
            return "SPARSE" in file
    except ERRORS:
        return False


def is_single_precision(path: Path) -> bool:
    """Whether an ``.HSX`` keeps single-precision numbers; False for any other file."""
    if not path.is_file():
        return False
    records = Records(path)
    return records.next_size() == 16 or (len(records.take("the version")) == 4 and not records.array("the precision", "i4", 1)[0])


def _read_hsx(records: Records) -> Matrices:
    if records.next_size() == 16:
        return _read_hsx_0(records)
    version = _version(records, "HSX", (1, 2))
    double = bool(records.array("the precision", "i4", 1)[0])
    n_atoms, n, n_spin, n_species, *nsc = records.array("the dimensions", "i4", 7).tolist()
    n_cells = int(np.prod(nsc))
    _check_sizes(records, (n_atoms, n, n_species, n_cells), n_spin)
    head = records.fields("the cell", [("cell", "f8", (3, 3)), ("fermi", "f8", ()), ("n_electrons", "f8", ()), ("temperature", "f8", ())])
    atoms = records.fields(
        "the atoms", [("cells", "i4", (n_cells, 3)), ("xa", "f8", (n_atoms, 3)), ("isa", "i4", (n_atoms,)), ("last", "i4", (n_atoms,))]
    )
    _skip_species(records, n_species, one_record=True)
    k: Any = None
    if version == 2:
        k = records.fields("the k mesh", [("cell", "i4", (3, 3)), ("shift", "f8", (3,))])
    n_row, column = _pattern(records, n)
    kind = "f8" if double else "f4"
    H = np.stack([records.rows("H", kind, n_row) for _ in range(n_spin)])
    S = records.rows("S", kind, n_row)
    return Matrices(
        records.path, f"HSX version {version}, {'double' if double else 'single'} precision", n_row, column,
        np.asarray(S, float), np.asarray(H, float), np.asarray(atoms["cells"], np.int64), None, np.diff(atoms["last"], prepend=0),
        head["cell"], atoms["xa"], float(head["fermi"]), float(head["n_electrons"]), float(head["temperature"]),
        None if k is None else k["cell"], None if k is None else k["shift"], np.asarray(atoms["isa"], np.int64),
    )  # fmt: skip


def _read_hsx_0(records: Records) -> Matrices:
    """The layout up to SIESTA 4: single precision, vectors between orbitals in place of cells, and neither geometry nor Fermi level."""
    n, n_super, n_spin, n_nonzero = records.array("the dimensions", "i4", 4).tolist()
    _check_sizes(records, (n, n_super, n_nonzero), n_spin)
    gamma = bool(records.array("the kind of sampling", "i4", 1)[0])
    home = np.arange(n) if gamma else records.array("the orbitals of the supercell", "i4", n_super) - 1
    n_row, column = _pattern(records, n)
    if n_row.sum() != n_nonzero or column.max() >= len(home) or not np.isin(home, np.arange(n)).all():
        raise records.error(f"announces {n_nonzero} elements in {len(home)} columns, which is not what its rows hold: it is damaged")
    H = np.stack([records.rows("H", "f4", n_row) for _ in range(n_spin)])
    S = records.rows("S", "f4", n_row)
    n_electrons, temperature = records.array("the number of electrons", "f8", 2).tolist()
    vectors = None if gamma else records.rows("the vectors between orbitals", "f4", 3 * n_row).reshape(-1, 3)
    _skip_species(records, int(records.array("the number of species", "i4", 1)[0]), one_record=False)
    n_atoms = int(records.array("the number of atoms", "i4", 1)[0])
    species = records.array("the species of the atoms", "i4", n_atoms).astype(np.int64)
    atom_of = records.array("the atoms of the orbitals", "i4", 2 * n)[::2]
    return Matrices(
        records.path, "HSX version 0, single precision", n_row, home[column], np.asarray(S, float), np.asarray(H, float),
        np.zeros((1, 3), np.int64) if gamma else None, None if vectors is None else np.asarray(vectors, float),
        np.bincount(atom_of - 1, minlength=n_atoms), n_electrons=n_electrons, temperature=temperature, species=species,
    )  # fmt: skip


def _read_tshs(records: Records) -> Matrices:
    """TranSIESTA's file; ``.onlyS`` is the same without H."""
    version = _version(records, "TSHS", (1,))
    n_atoms, n, n_super, n_spin, n_nonzero = records.array("the dimensions", "i4", 5).tolist()
    nsc = records.array("the supercell", "i4", 3)
    n_cells = int(nsc.prod())
    _check_sizes(records, (n_atoms, n, n_super, n_cells, n_nonzero), n_spin)
    geometry = records.fields("the atoms", [("cell", "f8", (3, 3)), ("xa", "f8", (n_atoms, 3))])
    gamma, _, only_S = records.array("the kind of run", "i4", 3).astype(bool).tolist()
    k = records.fields("the k mesh", [("cell", "i4", (3, 3)), ("shift", "f8", (3,))])
    fermi, n_electrons, temperature = records.array("the Fermi level", "f8", 3).tolist()
    records.array("the step", "i4", 2)
    last = records.array("the orbitals of the atoms", "i4", n_atoms + 1)
    n_row, column = _pattern(records, n)
    if n_row.sum() != n_nonzero:
        raise records.error(f"announces {n_nonzero} elements, but its rows hold {n_row.sum()}: it is damaged")
    S = records.rows("S", "f8", n_row)
    H = None if only_S else np.stack([records.rows("H", "f8", n_row) for _ in range(n_spin)])
    cells = np.zeros((1, 3), np.int64) if gamma else records.array("the cells", "i4", 3 * n_cells).reshape(-1, 3).astype(np.int64)
    return Matrices(
        records.path, f"TSHS version {version}", n_row, column, S, H, cells, None, np.diff(last), geometry["cell"], geometry["xa"],
        fermi, n_electrons, temperature, k["cell"], k["shift"],
    )  # fmt: skip


def _read_nc(path: Path) -> Matrices:
    """SIESTA's netCDF file, which is HDF5 underneath."""
    from deeph.files.hdf5 import open_hdf5

    with open_hdf5(path, "a complete netCDF file of SIESTA (groups SPARSE and SETTINGS)") as file:
        sparse, settings = file["SPARSE"], file["SETTINGS"]
        n_row, column, cells = (np.asarray(sparse[name][:], np.int64) for name in ("n_col", "list_col", "isc_off"))
        S, cell, positions = (np.asarray(values[:], float) for values in (sparse["S"], file["cell"], file["xa"]))
        H = np.asarray(sparse["H"][:], float) if "H" in sparse else None
        n_orbitals = np.diff(file["lasto"][:], prepend=0)
        fermi, n_electrons, temperature = (
            float(np.ravel(values[()])[0]) for values in (file["Ef"], file["Qtot"], settings["ElectronicTemperature"])
        )
        k_cell, k_shift = settings["BZ"][:], settings["BZ_displ"][:]
    n, n_atoms = int(n_row.sum()), len(n_orbitals)
    shapes = {
        "n_col": (n_row, (int(n_orbitals.sum()),)), "list_col": (column, (n,)), "S": (S, (n,)), "isc_off": (cells, (len(cells), 3)),
        "cell": (cell, (3, 3)), "xa": (positions, (n_atoms, 3)), "BZ": (k_cell, (3, 3)), "BZ_displ": (k_shift, (3,)),
    }  # fmt: skip
    shapes |= {} if H is None else {"H": (H, (len(H), n))}
    for name, (values, shape) in shapes.items():
        if values.shape != shape:
            raise DataError(f"{path}: {name} has the shape {values.shape}, expected {shape}: the file is damaged or of another layout")
    if (n_row < 0).any() or not n_atoms or (H is not None and len(H) not in N_SPIN):
        raise DataError(f"{path}: lengths of rows, atoms or spin components make no sense: the file is damaged or of another layout")
    return Matrices(
        path, "netCDF", n_row, column - 1, S, H, cells, None, n_orbitals, cell, positions, fermi, n_electrons, temperature, k_cell, k_shift
    )


def _version(records: Records, kind: str, known: tuple[int, ...]) -> int:
    version = int(records.array("the version", "i4", 1)[0]) if records.next_size() == 4 else 0
    if version not in known:
        raise records.error(
            f"is a {kind} file of version {version or 'unknown'}, expected {' or '.join(map(str, known))}; use the .HSX of SIESTA 4 or 5 "
            "(fdf option SaveHS)"
        )
    return version


def _check_sizes(records: Records, counts: tuple[int, ...], n_spin: int) -> None:
    if min(counts) < 1 or max(counts) >= 2**31:
        raise records.error(f"has dimensions {counts} that make no sense: it is damaged or of another layout")
    if n_spin not in N_SPIN:
        raise records.error(f"has {n_spin} spin components, expected 1, 2, 4 (non-collinear) or 8 (spin-orbit)")


def _pattern(records: Records, n: int) -> tuple[IntArray, IntArray]:
    """Nonzero elements of each row, and their columns from 0."""
    n_row = records.array("the lengths of the rows", "i4", n).astype(np.int64)
    return n_row, records.rows("the columns", "i4", n_row).astype(np.int64) - 1


def _skip_species(records: Records, n_species: int, *, one_record: bool) -> None:
    """The labels and the quantum numbers of their orbitals, which ``.ORB_INDX`` gives together with m and the radii."""
    dtype = np.dtype([("label", "S20"), ("valence", "f8"), ("n", "i4")])
    data = records.array("the species", "u1", n_species * dtype.itemsize)
    for n in data.view(dtype.newbyteorder(records.order))["n"].tolist():
        for _ in range(1 if one_record else n):
            records.array("the orbitals of a species", "i4", 3 * n if one_record else 3)
