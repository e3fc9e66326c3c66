"""FHI-aims' real-space matrices: sparse elements with their index (``output_rs_matrices plain`` or ``hdf5``).

An element is <row, cell | M | column, 0> with row >= column: of two elements that Hermiticity makes equal only one is stored. The elements
of a row in a cell are those from index_hamiltonian(1, cell, row) to index_hamiltonian(2, cell, row). One empty cell (999999999) and one
zero element stand at the end.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.files.text import integer, lines_of_words, numbers, read_text
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from preprocess.readers.common import finite

INDICES = "rs_indices.out"
HEADS = ("cell_index", "index_hamiltonian(1,:,:)", "index_hamiltonian(2,:,:)", "column_index_hamiltonian")
EMPTY_CELL = 999999999
WRITTEN_WITH = "FHI-aims writes it with 'output_rs_matrices plain'"


class Index(NamedTuple):
    """Where the elements belong.

    Attributes
    ----------
    n_basis : int
        Number of basis functions.
    cell : (n_elements, 3) int array
        Lattice vector of the row orbital.
    row, column : (n_elements,) int arrays
        Basis functions, counted from 0.
    place : (n_elements,) int array
        Position of each element in the files of the values.
    n_stored : int
        Number of values in these files.
    """

    n_basis: int
    cell: IntArray
    row: IntArray
    column: IntArray
    place: IntArray
    n_stored: int


def read_index(path: Path) -> Index:
    """Read rs_indices.out.

    Raises
    ------
    DataError
        If the file is missing, truncated or contradicts itself.
    """
    lines = read_text(path, WRITTEN_WITH).splitlines()
    try:
        size, n_cells, n_basis = (integer(line.split(":")[1].strip()) for line in lines[:3])
        heads = [next(n for n, line in enumerate(lines) if line.strip() == head) for head in HEADS]
    except (IndexError, ValueError, StopIteration) as error:
        raise DataError(f"{path} is truncated or no index of FHI-aims: expected its sizes and the parts {', '.join(HEADS)}") from error
    counts = [3 * n_cells, n_cells * n_basis, n_cells * n_basis, size]
    parts = []
    for head, stop, count in zip(heads, [*heads[1:], len(lines)], counts, strict=True):
        try:
            numbers = np.array(" ".join(lines[head + 1 : stop]).split(), np.int64)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path} after line {head + 1}: expected integers: {error}") from error
        if len(numbers) != count:
            raise DataError(f"{path}: {len(numbers)} numbers after line {head + 1} ({lines[head].strip()}), expected {count}: truncated?")
        parts.append(numbers)
    cells, first, last, column = parts[0].reshape(-1, 3), parts[1], parts[2], parts[3] - 1
    used = np.flatnonzero((first > 0) & (last >= first) & np.repeat(cells[:, 0] != EMPTY_CELL, n_basis))
    length = last[used] - first[used] + 1
    owner = np.repeat(used, length)
    place = np.repeat(first[used] - 1, length) + np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    if not len(place) or place.max() >= size or len(np.unique(place)) != len(place):
        raise DataError(f"{path}: index_hamiltonian points outside the {size} elements, or twice to the same one")
    column, row = column[place], owner % n_basis
    if column.min() < 0 or (column > row).any():
        raise DataError(f"{path}: expected columns from 1 to their row, found {column.min() + 1} and larger ones: another layout")
    return Index(n_basis, cells[owner // n_basis], row, column, place, size)


def read_values(path: Path, index: Index) -> FloatArray:
    """(n_elements,) elements of one matrix, in the order of the index.

    Raises
    ------
    DataError
        If the file is missing, truncated, or holds NaN.
    """
    values = _read_h5(path) if path.suffix == ".h5" else _read_text(path)
    if values.shape != (index.n_stored,):
        raise DataError(f"{path} holds {values.size} numbers, expected the {index.n_stored} of {INDICES}: truncated, or of another run")
    return finite(np.asarray(values[index.place]), path, "elements of the matrix")


def _read_h5(path: Path) -> FloatArray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file["sparse_matrix"][()], np.float64)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not a complete HDF5 file with the numbers 'sparse_matrix': damaged, or run or copy interrupted; copy it again or "
            "repeat the run"
        ) from error


def _read_text(path: Path) -> FloatArray:
    text = read_text(path, WRITTEN_WITH)
    try:
        return numbers(text.split())
    except ValueError:
        for line, words in lines_of_words(text):
            try:
                numbers(words)
            except ValueError as error:
                raise DataError(
                    f"{path} line {line}: {error}; expected one number a line: the run failed or the file is damaged"
                ) from error
        raise
