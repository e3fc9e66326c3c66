"""PARDISO of Intel's oneMKL (the wheel ``mkl`` of PyPI), called directly: LDL^H of symmetric and Hermitian indefinite matrices.

Parameters are numbered as in the oneMKL reference, https://www.intel.com/content/www/us/en/docs/onemkl/developer-reference-c
("oneMKL PARDISO - Parallel Direct Sparse Solver Interface"), where iparm counts from 1.
"""

import ctypes
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.eigen.factorization import SingularError, backward_error
from postprocess.eigen.work import announce, available_memory, multiplication_rate

Array = npt.NDArray[Any]
SYMMETRIC, HERMITIAN = -2, -4
"""Indefinite, real and complex."""
LARGEST_NARROW = 10**8
"""Elements of the upper triangle from which on the integers have 64 bits, because those of the factor can overflow 32."""
ZERO_PIVOT = -4
ANALYSE, FACTOR, SOLVE, FORGET, RELEASE = 11, 22, 33, 0, -1


@cache
def _library() -> ctypes.CDLL | None:
    """The one library of oneMKL that loads the others, or None."""
    from importlib.metadata import PackageNotFoundError, files

    names = ("libmkl_rt.so", "mkl_rt", "libmkl_rt")
    found: list[Path] = []
    with suppress(PackageNotFoundError):
        found = [Path(str(f.locate())) for f in files("mkl") or [] if f.name.startswith(names)]
    found += sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
    for path in found:
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path.resolve()))
            library.pardiso.restype = library.pardiso_64.restype = None
            return library
    return None


def is_installed() -> bool:
    """Whether PARDISO can be used here."""
    return _library() is not None


class Pardiso:
    """One pattern: the symbolic analysis is done once, then matrix after matrix is factored.

    Parameters
    ----------
    indptr, indices
        See :func:`postprocess.eigen.factorization.make_factorization`.
    dtype : float64 or complex128
        Of the values.
    single : bool
        Factor and solve in single precision, in half of the memory.

    Raises
    ------
    UsageError
        If oneMKL is not installed.
    DataError
        If the memory does not suffice.

    Notes
    -----
    Two-by-two pivots (Bunch and Kaufman) are used throughout; without them the factors of large indefinite matrices are worthless. For
    Hermitian matrices oneMKL then reports no inertia, so in double precision they are factored as real ones of twice the size, see
    :class:`postprocess.eigen.wrapped_factors.Doubled`. Memory and time are announced after the analysis, which knows the size of
    the factor. Its elements to the power 1.5 give the operations of sheets and of bulk alike, up to a factor of two; the time of later
    factorizations is that of the last one.
    """

    ERRORS: ClassVar[dict[int, str]] = {
        -1: "the matrix is not in the expected form",
        -2: "not enough memory",
        -3: "no fill-reducing order was found",
        ZERO_PIVOT: "a pivot is zero: the matrix is singular",
        -8: "more elements than its integers count",
        -9: "not enough memory for the out-of-core factor",
    }

    def __init__(self, indptr: Array, indices: Array, dtype: npt.DTypeLike, *, single: bool = False) -> None:
        library = _library()
        if library is None:
            raise UsageError("PARDISO is not installed: pip install 'deeph[sparse]' (x86 processors), or choose the solver superlu")
        self.name = "PARDISO"
        wide = len(indices) > LARGEST_NARROW
        self._call = library.pardiso_64 if wide else library.pardiso
        self._int: type[np.signedinteger[Any]] = np.int64 if wide else np.int32
        self._n = len(indptr) - 1
        self._indptr, self._indices = indptr.astype(self._int, copy=False), indices.astype(self._int, copy=False)
        is_complex = np.issubdtype(dtype, np.complexfloating)
        self._dtype = np.dtype((np.complex64 if single else np.complex128) if is_complex else (np.float32 if single else np.float64))
        self._kind = HERMITIAN if is_complex else SYMMETRIC
        self._handle = np.zeros(64, np.int64)
        self._iparm = np.zeros(64, self._int)
        # 10: vanishing pivots are not replaced, which can damage the memory (oneMKL 2026.2, Hermitian matrices, and real ones without 24);
        # a shift on a level shows in the solution. 24: two-level factorization. 37: equal rows in blocks, which saves memory and time
        settings = {1: 1, 2: 2, 10: 30, 21: 1, 24: 1, 28: int(single), 35: 1, 37: -99}
        for place, value in settings.items():
            self._iparm[place - 1] = value
        self._values = np.zeros(0, self._dtype)
        self._analysed = False
        self._seconds = 0.0

    def _run(self, phase: int, right: Array | None = None, solution: Array | None = None) -> None:
        def address(value: Array | int | None) -> Any:
            array = np.array(value, self._int) if isinstance(value, int) else value
            if array is None:
                return None
            kept.append(array)
            return ctypes.c_void_p(array.ctypes.data)

        kept: list[Array] = []
        error = np.zeros(1, self._int)
        columns = 1 if right is None else right.shape[1]
        arguments = (
            self._handle,
            1,
            1,
            self._kind,
            phase,
            self._n,
            self._values,
            self._indptr,
            self._indices,
            None,
            columns,
            self._iparm,
            0,
        )
        self._call(*map(address, (*arguments, right, solution, error)))
        if int(error[0]):
            meaning = self.ERRORS.get(int(error[0]), f"internal error {int(error[0])}")
            kind = SingularError if int(error[0]) == ZERO_PIVOT else DataError
            raise kind(f"PARDISO, {self._n} orbitals, {self._dtype}: {meaning}{self._memory_advice(int(error[0]))}")

    def _memory_advice(self, error: int) -> str:
        if error not in (-2, -9):
            return ""
        need = self.memory / 2**30
        half = self._dtype in (np.complex128, np.float64)
        advice = "factors in single precision (single=True, --single) need half of that" if half else "use a machine with more memory"
        return f" (about {need:.1f} GiB needed, {available_memory() / 2**30:.1f} GiB free); {advice}"

    @property
    def memory(self) -> int:
        """Bytes that the factorization takes at its peak, known after the analysis."""
        return 1024 * max(int(self._iparm[14]), int(self._iparm[15] + self._iparm[16]))

    def factor(self, values: Array) -> None:
        """See :class:`postprocess.eigen.factorization.Factorization`."""
        self._values = np.ascontiguousarray(values, self._dtype)  # kept, because a solution may be refined with them
        if not self._analysed:
            self._analyse()
        with telling(f"factoring the matrix of {self._n} orbitals", expected=self._seconds):
            start = time.perf_counter()
            self._run(FACTOR)
            self._seconds = time.perf_counter() - start

    def _analyse(self) -> None:
        """Find the order of elimination; memory and time follow from it, and are announced."""
        with telling(f"looking for an order in which the {self._n} orbitals are eliminated"):
            self._run(ANALYSE)
        self._analysed = True
        operations = 0.5 * (1024 * float(self._iparm[16]) / self._dtype.itemsize) ** 1.5 * (4 if self._dtype.kind == "c" else 1)
        self._seconds = operations / multiplication_rate(self._dtype.name)
        if self.memory > available_memory():
            raise DataError(f"PARDISO, {self._n} orbitals, {self._dtype}: {self.ERRORS[-2]}{self._memory_advice(-2)}")
        announce(self.name, self._n, self._dtype, self.memory, self._seconds)

    def solve(self, right: Array) -> Array:
        """See :class:`postprocess.eigen.factorization.Factorization`."""
        given = np.asfortranarray(right.reshape(self._n, -1), dtype=self._dtype)
        solution = np.empty_like(given, order="F")
        self._run(SOLVE, given, solution)
        return solution.reshape(right.shape).astype(right.dtype, copy=False)

    def count_negative(self, values: Array, distance: float) -> int | None:
        """See :class:`postprocess.eigen.factorization.Factorization`; not known for Hermitian matrices, see the notes of the class."""
        self.factor(values)
        return self._negative(values, distance)

    def negative(self, distance: float) -> int | None:
        """See :class:`postprocess.eigen.factorization.Factorization`; known for real matrices in double precision."""
        double = self._dtype == np.float64  # else the values here are rounded ones
        return self._negative(self._values, distance) if double and len(self._values) else None

    def _negative(self, values: Array, distance: float) -> int | None:
        from scipy import sparse

        if self._kind == HERMITIAN:
            return None
        upper = sparse.csr_array((values, self._indices, self._indptr), shape=(self._n, self._n))
        return int(self._iparm[22]) if backward_error(self, upper) < 0.1 * distance else None

    def forget(self) -> None:
        """See :class:`postprocess.eigen.factorization.Factorization`."""
        if self._analysed:
            self._run(FORGET)
        self._values = np.zeros(0, self._dtype)

    def release(self) -> None:
        """See :class:`postprocess.eigen.factorization.Factorization`."""
        if self._analysed:
            self._run(RELEASE)
            self._analysed = False
            self._values = np.zeros(0, self._dtype)

    def __del__(self) -> None:
        if getattr(self, "_analysed", False):
            with suppress(Exception):
                self.release()
