"""ABACUS's sparse text files: H(R), S(R), T(R) and r(R), one compressed-sparse-row matrix for every lattice vector R.

Two headers are in use, the old one (``Matrix Dimension of H(R): 26``, with or without a line ``STEP: 0`` above) and the newer one
(``26 # number of localized basis``, then the cell); the numbers below are the same: a line ``R1 R2 R3 n`` and, if n > 0, the values,
their columns and the start of each row. Files of r(R) have the three numbers of R and then n and the three lists for x, y and z.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.physics.blocks import Array
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError

_DIMENSION = re.compile(r"matrix dimension of .*?:\s*(\d+)|(\d+)\s*#\s*number of localized basis", re.IGNORECASE)
_COUNT = re.compile(r"matrix number of .*?:\s*(\d+)|(\d+)\s*#\s*number of bravais lattice", re.IGNORECASE)
_BRACKETS = str.maketrans("()[],", "     ")
_STEP = re.compile(r"\s*(?:STEP:|IONIC_STEP:|---\s*Ionic Step)", re.IGNORECASE)


class SparseMatrix(NamedTuple):
    """All entries of one file.

    Attributes
    ----------
    path : Path
        Where they come from.
    size : int
        Rows (and columns) of the matrix of each R.
    R : (n_entries, 3) int array
        Lattice vector of each entry.
    row, column : (n_entries,) int arrays
        Orbitals, counted from 0; interleaved spinors count twice.
    values : (n_entries,) array
        Complex for spinors.
    component : (n_entries,) int array
        0; for r 0, 1 or 2 for x, y and z.
    n_components : int
        1, or 3 for r.
    """

    path: Path
    size: int
    R: IntArray
    row: IntArray
    column: IntArray
    values: Array
    component: IntArray
    n_components: int = 1


class _Lines:
    """The lines of a file one after the other, with their numbers; blank lines and comments are skipped, the last comment is remembered."""

    def __init__(self, path: Path) -> None:
        self.path, self.number, self.comment, self.gamma_only = path, 0, "", False
        self._source, self._ahead = _text_lines(path), ""

    def error(self, text: str, first: int = 0) -> DataError:
        """An error at the line read last, or in all since ``first``."""
        where = f"lines {first} to {self.number}" if 0 < first < self.number else f"line {self.number}"
        return DataError(f"{self.path}, {where}: {text}")

    def peek(self) -> str | None:
        """The next line that is no comment, None at the end; it stays the next one."""
        while True:
            self._ahead = self._ahead or next(self._source, "")
            text = self._ahead.strip()
            if not self._ahead:
                return None
            if text and not text.startswith("#"):
                return text
            self.take()

    def take(self) -> str:
        """The next line, comment or not."""
        line = self._ahead or next(self._source, "")
        if not line:
            raise self.error("the file ends here: it is truncated; copy it again or repeat the run")
        self._ahead, self.number = "", self.number + 1
        if "#" in line:
            self.comment = line
            self.gamma_only |= "gamma-only" in line
        return line

    def numbers(self, count: int, what: str, *, integer: bool = True) -> Array:
        """``count`` numbers, on as many lines as they take; complex ones are written as (re,im)."""
        parts: list[Array] = []
        wanted, first, seen = count, 0, 0
        while seen < wanted:
            line = self.peek()
            if line is None:
                raise self.error(f"the file ends within the {what}: it is truncated; copy it again or repeat the run")
            self.take()
            first = first or self.number
            if not parts and not integer and line[0] in "([":
                wanted = 2 * count
            text = line.translate(_BRACKETS) if wanted > count else line
            try:
                parts.append(np.array(text.split(), np.int64 if integer else np.float64))
            except (ValueError, OverflowError) as error:
                raise self.error(f"the {what} are not all numbers: {error}") from error
            seen += len(parts[-1])
        values = np.concatenate(parts)
        if len(values) != wanted:
            raise self.error(f"{len(values)} {what}, expected {wanted}: the file is damaged", first)
        if not np.isfinite(values).all():
            raise self.error(f"NaN or infinity among the {what}: the run failed or the file is damaged", first)
        return values.view(np.complex128) if wanted > count else values


def _text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, never empty because they keep their ends."""
    try:
        with path.open("rb") as binary:
            if b"\0" in binary.read(512):
                raise DataError(f"{path} is a binary file; expected text: run ABACUS with 'out_mat_hs2 1' (out_hsr 1)")
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_csr(path: Path, *, n_components: int = 1) -> SparseMatrix:
    """Read a file of H(R), S(R) or T(R), or of r(R).

    Parameters
    ----------
    path : path
        The file.
    n_components : int
        3 for r(R).

    Raises
    ------
    DataError
        If the file is damaged (with the line), binary, or holds several ionic steps.
    """
    lines = _Lines(path)
    size, count, newer = _header(lines)
    parts: list[tuple[list[int], int, IntArray, IntArray, Array]] = []
    for _ in range(count):
        if newer and lines.peek() is None:  # the first versions with the newer header left out empty R; a cut file is not Hermitian
            break
        if n_components == 1:
            *R, n = lines.numbers(4, "numbers R1 R2 R3 n of a lattice vector").tolist()
            parts.append((R, 0, *_matrix(lines, size, n)))
            continue
        R = lines.numbers(3, "numbers R1 R2 R3 of a lattice vector").tolist()
        for component in range(n_components):
            n = int(lines.numbers(1, "number of entries")[0])
            parts.append((R, component, *_matrix(lines, size, n)))
    _check_end(lines)
    if not parts:
        raise DataError(f"{path} holds no lattice vector at all; expected at least R = 0 0 0")
    lengths = [len(part[2]) for part in parts]
    R_all, component_all = (np.repeat(np.array([part[n] for part in parts], np.int64), lengths, axis=0) for n in (0, 1))
    row, column, values = (np.concatenate([part[n] for part in parts]) for n in (2, 3, 4))
    return SparseMatrix(path, size, R_all, row, column, values, component_all, n_components)


def _header(lines: _Lines) -> tuple[int, int, bool]:
    """Dimension of the matrices, number of R, and whether it is the newer header; the lines up to the first R are consumed."""
    found: dict[str, int] = {}
    while len(found) < 2:
        line = lines.take()
        for name, pattern in (("size", _DIMENSION), ("count", _COUNT)):
            if match := pattern.search(line):
                found[name] = int(match[1] or match[2])
        if lines.number > 20:
            raise lines.error("no dimension and number of lattice vectors so far; expected a sparse matrix file of ABACUS")
    first = lines.peek()
    newer = first is not None and not all(re.fullmatch(r"-?\d+", field) for field in first.split())
    if newer:
        while "CSR Format" not in lines.take():  # newer files repeat the cell and end it with a box of comments
            pass
        lines.peek()
    if lines.gamma_only:
        raise lines.error(
            "a gamma-only run, whose matrices are summed over all lattice vectors; repeat it with 'gamma_only 0' and a KPT of one point"
        )
    return found["size"], found["count"], newer


def _matrix(lines: _Lines, size: int, n: int) -> tuple[IntArray, IntArray, Array]:
    """Row, column and value of the n entries of one R."""
    if n < 0 or n > size * size:
        raise lines.error(f"{n} entries in a {size} x {size} matrix: the file is damaged")
    if n == 0:
        lines.comment = ""
        lines.peek()
        if "row" in lines.comment.lower():  # newer files write the empty lists, too
            lines.numbers(size + 1, "row pointers")
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    values = lines.numbers(n, "matrix entries", integer=False)
    column = lines.numbers(n, "columns")
    pointers = lines.numbers(size + 1, "row pointers")
    if pointers[0] != 0 or pointers[-1] != n or (np.diff(pointers) < 0).any() or column.min() < 0 or column.max() >= size:
        raise lines.error(f"rows or columns that do not fit to {n} entries of a {size} x {size} matrix: the file is damaged")
    return np.repeat(np.arange(size), np.diff(pointers)), column, values


def _check_end(lines: _Lines) -> None:
    """Nothing may follow."""
    line = lines.peek()
    if line is None:
        return
    lines.take()
    if _STEP.match(line):
        raise lines.error("a second ionic step; expected one structure a folder. Repeat a 'calculation scf' for each structure")
    raise lines.error("more lines than the header announces: the file is damaged, or of another program")
