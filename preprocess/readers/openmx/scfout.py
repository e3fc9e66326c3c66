"""The binary layout of OpenMX's ``.scfout``: from bytes to named arrays, still in OpenMX's units and orbital order.

The file is a raw dump without record markers: the length of each part follows from the counts before it. Every count is
checked before it is used and the last byte must be the end of the last part, so that another layout cannot pass unnoticed.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Spin
from deeph.physics.pairs import is_onsite, pair_keys
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError

RECORD = 256  # bytes of one line of the input copy
MAX_COUNT = 10_000  # orbitals of an atom, index of a cell; more is nonsense and would overflow
SPINS: dict[int, Spin] = {0: "none", 1: "collinear", 3: "spinor"}


@dataclass(frozen=True)
class Scfout:
    """Content of one ``.scfout``; Hartree and Bohr, orbitals in OpenMX's order.

    Attributes
    ----------
    version : int
        Format version: 0 for OpenMX 3.8 and older, 3 for 3.9.
    spin : int
        OpenMX's SpinP_switch: 0 none, 1 collinear, 3 non-collinear.
    n_orbitals : (n_atoms,) int array
        Orbitals of each atom.
    pairs : (n_pairs, 5) int array
        R1 R2 R3 i j of each block, atoms counted from 0.
    cell, positions : (3, 3) and (n_atoms, 3) arrays
        Rows, Bohr.
    H : (spin + 1, n_entries) array
        Kohn-Sham matrix, Hartree; blocks row-major, one after the other.
    iH : (3 or 0, n_entries) array
        The imaginary parts OpenMX keeps apart; three for spin = 3, else none.
    S : (n_entries,) array
        Overlap.
    position : (3, n_entries) array
        <i, 0| x - x_i |j, R>, Bohr.
    density : (spin + 1, n_entries) array
        Density matrix of each spin, sum of f conj(c_m) c_n; for spin = 3 up-up, down-down, and real and imaginary part of up-down.
    density_imaginary : (2 or 0, n_entries) array
        Imaginary parts of up-up and down-down, which OpenMX writes since 3.9.
    solver : int
        2 cluster, 3 band, 4 NEGF, 5 divide-conquer, 8 Krylov.
    fermi_energy, temperature, n_electrons : float
        Hartree, kelvin, valence electrons.
    input : str
        The copy of the input file.
    """

    version: int
    spin: int
    n_orbitals: IntArray
    pairs: IntArray
    cell: FloatArray
    positions: FloatArray
    H: FloatArray
    iH: FloatArray
    S: FloatArray
    position: FloatArray
    density: FloatArray
    density_imaginary: FloatArray
    solver: int
    fermi_energy: float
    temperature: float
    n_electrons: float
    input: str


def read_scfout(path: Path) -> Scfout:
    """Read a ``.scfout`` of OpenMX 3.7 to 3.9, or of a later version that kept the layout of 3.9.

    Raises
    ------
    DataError
        If the file is truncated, has bytes left over, or is of another kind.
    """
    cursor = _Cursor(path)
    version, spin, n_atoms, n_cells = _read_header(cursor)
    order_max = int(cursor.integers("the order of the position matrices", 1)[0]) if version >= 3 else 1
    if not 1 <= order_max <= 10:
        raise cursor.error(f"position matrices up to order {order_max}: expected 1 to 10; the file is damaged or of an unknown layout")
    cells = cursor.floats("the cell vectors", n_cells, 4)[:, 1:], cursor.integers("the cell indices", n_cells, 4)[:, 1:]
    n_orbitals, pairs = _read_neighbours(cursor, n_atoms, cells[1])
    vectors = cursor.floats("the lattice vectors", 6, 4)[:3, 1:]
    if not np.allclose(cells[0], cells[1] @ vectors, rtol=0, atol=1e-6):
        raise cursor.error("the list of cells does not belong to the lattice vectors; the file is damaged or of an unknown layout")
    positions = cursor.floats("the positions", n_atoms, 4)[:, 1:]

    size = int((n_orbitals[pairs[:, 3]] * n_orbitals[pairs[:, 4]]).sum())
    H = cursor.floats("the Hamiltonian", spin + 1, size)
    iH = cursor.floats("the imaginary part of the Hamiltonian", 3 if spin == 3 else 0, size)
    S = cursor.floats("the overlap", size)
    position = cursor.floats("the position matrices", 3, order_max, size)[:, 0]
    if version >= 3:
        cursor.floats("the momentum matrices", 3, size)
    density = cursor.floats("the density matrix", spin + 1, size)
    density_imaginary = cursor.floats("the imaginary part of the density matrix", 2 if version >= 3 else 0, size)
    solver = int(cursor.integers("the solver", 1)[0])
    numbers = cursor.floats("the chemical potential and the moments", 10)
    if not (0 < solver < 100 and np.isfinite(numbers).all()):
        raise cursor.error(
            f"solver {solver} and chemical potential {numbers[0]:g} after the matrices make no sense: the file was written by a modified "
            "OpenMX or is damaged; expected the output of OpenMX 3.7 to 3.9"
        )
    return Scfout(
        version, spin, n_orbitals, pairs, vectors, positions, H, iH, S, position, density, density_imaginary, solver,
        fermi_energy=float(numbers[0]), temperature=float(numbers[1]), n_electrons=float(numbers[8]), input=_read_input_copy(cursor),
    )  # fmt: skip


class _Cursor:
    """Walk through a file and refuse to read past its end."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.byte_order = path, 0, "<"
        try:
            self.size = path.stat().st_size
            self._bytes = np.memmap(path, np.uint8, "r") if self.size else np.zeros(0, np.uint8)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error

    def take(self, what: str, dtype: str, *shape: int) -> npt.NDArray[Any]:
        """The next numbers as they are in the file."""
        kind = np.dtype(self.byte_order + dtype)
        stop = self.at + prod(shape) * kind.itemsize
        if stop > self.size:
            raise self.error(
                f"ends at byte {self.size} inside {what}, which should reach byte {stop}: the file is truncated (run or copy "
                "interrupted?) or of an unknown layout; copy it again or repeat the run"
            )
        out = self._bytes[self.at : stop].view(kind).reshape(shape)
        self.at = stop
        return np.asarray(out)

    def integers(self, what: str, *shape: int) -> IntArray:
        """The next 4-byte integers."""
        return self.take(what, "i4", *shape).astype(np.int64)

    def floats(self, what: str, *shape: int) -> FloatArray:
        """The next doubles; not copied, so that parts nobody needs are never read."""
        return self.take(what, "f8", *shape)

    def error(self, message: str) -> DataError:
        """An error that names the file."""
        return DataError(f"{self.path}: {message}")


def _read_header(cursor: _Cursor) -> tuple[int, int, int, int]:
    """Format version, spin switch, number of atoms and number of cells."""

    def plausible(header: IntArray) -> bool:
        # 4 integers and 3 coordinates an atom, a vector and 4 integers a cell
        return bool(header[0] >= 1 and 0 <= header[1] < 64 and header[5] >= 0 and 48 * (header[0] + header[5]) < cursor.size)

    header = cursor.integers("the header", 6)
    if not plausible(header) and plausible(header.astype("i4").byteswap().astype(np.int64)):
        cursor.at, cursor.byte_order = 0, ">"
        header = cursor.integers("the header", 6)
    n_atoms, switch, *leads, n_copies = header.tolist()
    version, spin = divmod(switch, 4)
    if n_atoms < 1 or n_copies < 0 or not 0 <= switch < 64 or min(leads) < 0 or sum(leads) > n_atoms:
        raise cursor.error(f"the header {header.tolist()} is not that of a .scfout (atoms, spin switch, three lead counts, cells)")
    if spin not in SPINS:
        raise cursor.error(f"spin switch {spin}: expected 0 (none), 1 (collinear) or 3 (non-collinear)")
    if version in (1, 2):
        raise cursor.error(
            f"format version {version} of a development version of OpenMX; expected 0 (3.8 and older) or 3 (3.9). Repeat the run with a "
            "released version"
        )
    if any(leads):
        raise cursor.error(f"central, left and right regions of {leads} atoms: transport (NEGF) runs are not supported; use a band run")
    return version, spin, n_atoms, n_copies + 1


def _read_neighbours(cursor: _Cursor, n_atoms: int, cells: IntArray) -> tuple[IntArray, IntArray]:
    """Orbitals of each atom, and the (n_pairs, 5) list of blocks."""
    n_orbitals = cursor.integers("the numbers of orbitals", n_atoms)
    counts = cursor.integers("the numbers of neighbours", n_atoms) + 1
    if n_orbitals.min() < 1 or n_orbitals.max() > MAX_COUNT or counts.min() < 1 or np.abs(cells).max() > MAX_COUNT:
        raise cursor.error(
            f"atoms with {n_orbitals.min()} to {n_orbitals.max()} orbitals and at least {counts.min() - 1} neighbours, in cells up to "
            f"{np.abs(cells).max()}: the file is damaged or not a .scfout"
        )
    total = int(counts.sum())
    j = cursor.integers("the neighbour lists", total) - 1
    cell = cursor.integers("the cells of the neighbours", total)
    if j.min() < 0 or j.max() >= n_atoms or cell.min() < 0 or cell.max() >= len(cells):
        raise cursor.error(
            f"neighbours {j.min() + 1} to {j.max() + 1} of {n_atoms} atoms in cells {cell.min()} to {cell.max()} of {len(cells)}: the file "
            "is damaged or of an unknown layout"
        )
    i = np.repeat(np.arange(n_atoms), counts)
    pairs = np.concatenate([cells[cell], i[:, None], j[:, None]], axis=1)
    if len(np.unique(pair_keys(pairs)[0])) != total or is_onsite(pairs).sum() != n_atoms:
        raise cursor.error("the neighbour lists hold an atom pair twice or miss an atom itself; the file is damaged")
    return n_orbitals, pairs


def _read_input_copy(cursor: _Cursor) -> str:
    """The input file; a line longer than a record continues in the next one."""
    if cursor.at == cursor.size:
        raise cursor.error("holds no copy of the input file, so that the basis is unknown; expected a file written by OpenMX itself")
    n_lines = int(cursor.integers("the number of input lines", 1)[0])
    if n_lines < 0:
        raise cursor.error(f"{n_lines} lines of input: the file is damaged or of an unknown layout")
    records = cursor.take("the copy of the input file", "u1", n_lines, RECORD).tobytes()
    if cursor.at != cursor.size:
        raise cursor.error(
            f"{cursor.size - cursor.at} bytes are left after the end: junk, or a layout other than OpenMX 3.7 to 3.9; repeat the run"
        )
    lines = (records[n * RECORD : (n + 1) * RECORD].split(b"\0", 1)[0] for n in range(n_lines))
    return b"".join(lines).decode("utf-8", "replace")
