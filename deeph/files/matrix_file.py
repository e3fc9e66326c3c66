"""The packed matrix file: all blocks of one matrix in four arrays of an HDF5 file.

``atom_pairs`` (n, 5), ``chunk_shapes`` (n, 2), ``chunk_boundaries`` (n + 1) and ``entries``: blocks are row-major and concatenated.
"""

import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from deeph.files.folders import room_on_disk
from deeph.files.hdf5 import open_hdf5, reserved_hdf5
from deeph.physics.blocks import PairBlocks
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError

CONTENT = "a complete matrix file (atom_pairs, chunk_shapes, chunk_boundaries, entries)"

MAPPED = 2**27
"""Bytes from which on a matrix is not copied from its file into memory."""


def read_matrix(path: Path, n_atoms: int) -> PairBlocks:
    """Read a packed matrix file and check that it is consistent and finite.

    Raises
    ------
    DataError
        If the file is missing, truncated, inconsistent, or holds NaN.
    """
    with open_hdf5(path, CONTENT) as file:
        pairs, shapes = file["atom_pairs"][:], file["chunk_shapes"][:]
        boundaries, entries = file["chunk_boundaries"][:], _entries(file["entries"], path)
    kinds = [values.dtype.kind for values in (pairs, shapes, boundaries, entries)]
    if not set(kinds[:3]) <= {"i", "u"} or kinds[3] not in "fc" or entries.ndim > 2:
        raise DataError(
            f"{path}: expected integers in atom_pairs, chunk_shapes and chunk_boundaries, and one or two axes of numbers in entries"
        )
    if pairs.ndim != 2 or pairs.shape[1:] != (5,) or shapes.shape != (len(pairs), 2) or boundaries.shape != (len(pairs) + 1,):
        raise DataError(f"{path}: atom_pairs {pairs.shape}, chunk_shapes {shapes.shape}, chunk_boundaries {boundaries.shape} disagree")
    if not np.array_equal(np.diff(boundaries), shapes.prod(axis=1)) or (len(boundaries) and boundaries[0] != 0):
        raise DataError(f"{path}: chunk_boundaries are not the running sum of the block sizes in chunk_shapes")
    if len(pairs) and (pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= n_atoms):
        low, high = pairs[:, 3:].min(), pairs[:, 3:].max()
        raise DataError(f"{path}: atom indices {low} to {high}, but POSCAR has {n_atoms} atoms (counted from 0)")
    if len(np.unique(pairs, axis=0)) != len(pairs):
        raise DataError(f"{path}: the same atom pair occurs twice in atom_pairs")
    try:
        blocks = PairBlocks(pairs, shapes, entries)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    finite = np.isfinite(blocks.entries).all(axis=0)
    if not finite.all():
        R1, R2, R3, i, j = pairs[np.searchsorted(boundaries, int(np.argmin(finite)), side="right") - 1].tolist()
        raise DataError(f"{path}: NaN or infinite value in block R = {R1} {R2} {R3}, i = {i}, j = {j}")
    return blocks


def _entries(data: h5py.Dataset, path: Path) -> npt.NDArray[Any]:
    """Numbers of a large matrix stay in the file: the system reads what is used, shares it among processes, and can drop it again."""
    offset = data.id.get_offset()  # None if compressed
    if data.nbytes < MAPPED or offset is None or path.stat().st_size < offset + data.nbytes:
        return np.asarray(data[:])
    return np.memmap(path, data.dtype, "r", offset, data.shape)


def drop_pages(blocks: PairBlocks) -> None:
    """Give back the memory of numbers that lie in a file; they are read again when they are used again."""
    owner: Any = blocks.entries
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def write_matrix(path: Path, blocks: PairBlocks) -> None:
    """Write a packed matrix file (to a temporary name, then renamed)."""
    with MatrixWriter(path, blocks.pairs, blocks.shapes, blocks.n_components, blocks.entries.dtype) as writer:
        writer.blocks.entries[:] = blocks.entries


class MatrixWriter:
    """A matrix file whose blocks are written as they are made; it gets its name only when it is complete.

    Parameters
    ----------
    path : path
        Final name.
    pairs, shapes : int arrays
        The whole pattern, see :class:`deeph.physics.blocks.PairBlocks`.
    n_components : int
        Number of matrices; one is stored as a flat array.
    dtype : numpy dtype
        Type of the entries.

    Attributes
    ----------
    blocks : PairBlocks
        Zero at first; its entries lie in the file, so filling them needs no memory of their own.
    """

    def __init__(self, path: Path, pairs: IntArray, shapes: IntArray, n_components: int, dtype: npt.DTypeLike) -> None:
        self.path, self._temporary = path, path.with_name(f".{path.name}.{os.getpid()}.part")
        boundaries = np.concatenate([[0], np.cumsum(np.prod(shapes, axis=1))]).astype(np.int64)
        size = int(boundaries[-1])
        heads = {"atom_pairs": pairs, "chunk_shapes": shapes, "chunk_boundaries": boundaries}
        try:
            with room_on_disk(path):
                offset = _lay_out(self._temporary, heads, (size,) if n_components == 1 else (n_components, size), np.dtype(dtype))
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        entries = np.memmap(self._temporary, dtype, "r+", offset, (n_components, size)) if size else np.zeros((n_components, 0), dtype)
        self.blocks = PairBlocks(pairs, shapes, entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            with room_on_disk(self.path):
                if isinstance(self.blocks.entries, np.memmap):
                    self.blocks.entries.flush()
                self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def _lay_out(path: Path, heads: Mapping[str, IntArray], shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Make a file with the given arrays and room for the entries, which begin at the returned byte."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with reserved_hdf5(path, math.prod(shape) * dtype.itemsize + sum(8 * np.size(values) for values in heads.values())) as file:
        for name, values in heads.items():
            file[name] = np.asarray(values, np.int64)
        return int(file.create_dataset("entries", shape, dtype, dcpl=early).id.get_offset() or 0)  # without entries there is no place
