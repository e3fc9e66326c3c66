"""Fortran sequential files: records of bytes between two length markers, as every binary file of SIESTA has them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError

Array = npt.NDArray[Any]


class Records:
    """A cursor over the records of a file, in either byte order.

    Each record has to hold exactly what is asked for, so that another layout or a damaged file cannot pass unnoticed.

    Parameters
    ----------
    path : path
        The file; markers of four bytes, records beyond 2 GiB in parts as gfortran and ifort write them.

    Raises
    ------
    DataError
        If the file cannot be read or does not start with a record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._data = memoryview(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        self._at = 0
        both: tuple[Literal["<", ">"], ...] = ("<", ">")
        orders = [order for order in both if self._starts_with_record(order)]
        if not orders:
            raise self.error("does not start with a Fortran record: it is empty, truncated or another kind of file")
        self.order = orders[0]

    def _starts_with_record(self, order: str) -> bool:
        if len(self._data) < 8:
            return False
        size = int(np.frombuffer(self._data[:4], f"{order}i4")[0])
        if not 0 <= size <= len(self._data) - 8:
            return False
        return self._data[4 + size : 8 + size] == self._data[:4]

    def error(self, text: str) -> DataError:
        """An error that names the file."""
        return DataError(f"{self.path} {text}")

    @property
    def at_end(self) -> bool:
        """Whether all records have been read."""
        return self._at == len(self._data)

    def _marker(self, what: str) -> int:
        if self._at + 4 > len(self._data):
            raise self.error(f"is truncated: it ends before {what}; the run or the copy was interrupted")
        self._at += 4
        return int(np.frombuffer(self._data[self._at - 4 : self._at], f"{self.order}i4")[0])

    def next_size(self) -> int:
        """Bytes of the next record (of its first part), without reading it."""
        at = self._at
        size = abs(self._marker("the next record"))
        self._at = at
        return size

    def take(self, what: str) -> bytes:
        """The next record; ``what`` it should hold is for the message."""
        parts, more = [], True
        while more:
            head = self._marker(what)
            size, more = abs(head), head < 0  # a negative marker: the record goes on
            if self._at + size + 4 > len(self._data):
                raise self.error(f"is truncated within {what}; the run or the copy was interrupted")
            parts.append(self._data[self._at : self._at + size])
            self._at += size
            if abs(self._marker(what)) != size:
                raise self.error(f"is damaged: the length markers around {what} differ")
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def array(self, what: str, kind: str, count: int) -> Array:
        """The next record as ``count`` numbers of one kind, such as ``"i4"`` or ``"f8"``."""
        return self._convert(what, self.take(what), np.dtype(kind).newbyteorder(self.order), count)

    def fields(self, what: str, fields: Sequence[tuple[str, str, tuple[int, ...]]]) -> Any:
        """The next record as named parts ``(name, kind, shape)``; indexed by name."""
        data = self.take(what)
        self._check_size(what, data, sum(np.dtype(kind).itemsize * math.prod(shape) for _, kind, shape in fields))
        return np.frombuffer(data, np.dtype(list(fields)).newbyteorder(self.order))[0]

    def rows(self, what: str, kind: str, counts: IntArray) -> Array:
        """The next records, one for each count, joined."""
        dtype = np.dtype(kind).newbyteorder(self.order)
        rows = [self._convert(what, self.take(what), dtype, n) for n in counts.tolist()]
        return np.concatenate(rows) if rows else np.zeros(0, dtype)

    def _convert(self, what: str, data: bytes, dtype: Any, count: int) -> Array:
        self._check_size(what, data, count * dtype.itemsize)
        return np.frombuffer(data, dtype)

    def _check_size(self, what: str, data: bytes, expected: int) -> None:
        if len(data) != expected:
            raise self.error(
                f"has a record of {len(data)} bytes for {what}, expected {expected}: the file is damaged or has another layout"
            )
