"""HDF5 files: what is wrong with one in plain words, and writing that a full disk cannot hurt.

The HDF5 library crashes when it finds no room while it closes a file. So small files are made in memory, and the room for large ones is
reserved before the library writes.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from deeph.files.folders import room_on_disk
from deeph.runtime.errors import DataError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, OverflowError)
"""What h5py raises for damaged files, depending on where the damage is."""

OVERHEAD = 2**16
"""Bytes that HDF5 needs beside the arrays of a file of few arrays."""


@contextmanager
def open_hdf5(path: Path, content: str) -> Iterator[h5py.File]:
    """An HDF5 file to read from.

    Parameters
    ----------
    path : Path
        The file.
    content : str
        What it is expected to be, for the message: "a complete matrix file (atom_pairs, entries)".

    Raises
    ------
    DataError
        If it is missing, cut off, damaged, no HDF5 file, or does not hold what the ``with`` block takes from it.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error
    except ERRORS as error:
        raise DataError(f"{path} is not {content}: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """What is wrong with a file that raised an error of h5py."""
    if not os.access(path, os.R_OK):
        return "you may not read it"
    words = str(error)
    if cut := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", words):
        return f"it is cut off after {cut[1]} of {cut[2]} bytes; the copy or the program that wrote it was interrupted"
    if missing := re.search(r"object '(.+)' doesn't exist", words):
        return f"it lacks {missing[1]!r}"
    if "lock" in words:
        return "another program is writing it"
    if not h5py.is_hdf5(path):
        return "it is empty" if path.stat().st_size == 0 else "it is no HDF5 file, or its beginning is damaged"
    return "parts of it are damaged or of another kind than expected"


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """A small HDF5 file to write into, made in memory and written at the end of the ``with`` block.

    Raises
    ------
    FullDiskError
        If the disk is full.
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with room_on_disk(path):
        path.write_bytes(image)


@contextmanager
def reserved_hdf5(path: Path, size: int) -> Iterator[h5py.File]:
    """A large HDF5 file to write into, whose room is taken from the disk first.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Bytes of all its arrays.

    Raises
    ------
    FullDiskError
        If the disk is full.
    """
    with room_on_disk(path), _Reserved(path, "w+") as raw:
        _reserve(raw.fileno(), size + OVERHEAD)
        with h5py.File(raw, "w") as file:  # closing it cuts off what it did not need
            yield file


class _Reserved(FileIO):
    """A file that looks as long as what was written to it, although its room was taken before."""

    end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return super().seek(self.end + offset) if whence == os.SEEK_END else super().seek(offset, whence)

    def write(self, data: "ReadableBuffer", /) -> int:
        count = super().write(data)
        self.end = max(self.end, self.tell())
        return count


def _reserve(descriptor: int, size: int) -> None:
    """Take room from the disk; OSError if there is not enough. What was only promised (a sparse file) would kill a program that maps it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(2**20)  # macOS
    for start in range(0, size, len(zeros)):
        os.write(descriptor, zeros[: size - start])
