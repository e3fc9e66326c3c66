"""Which libraries factor sparse matrices, in order of preference, and how they are combined."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import UsageError
from postprocess.eigen.factorization import Factorization
from postprocess.eigen.pardiso import Pardiso, is_installed
from postprocess.eigen.superlu import SuperLU
from postprocess.eigen.wrapped_factors import Counting, Doubled, Refined

Array = npt.NDArray[Any]
BACKENDS = ("pardiso", "superlu")
"""In order of preference."""


def make_factorization(indptr: Array, indices: Array, dtype: npt.DTypeLike, backend: str, *, single: bool = False) -> Factorization:
    """A factorization for one pattern.

    Parameters
    ----------
    indptr, indices : int arrays
        Upper triangle in compressed sparse rows, columns sorted, every diagonal element present.
    dtype : float64 or complex128
        Real symmetric or complex Hermitian.
    backend : {"pardiso", "superlu"}
        The library.
    single : bool
        Factor in single precision; the solution is refined to double precision (PARDISO only).

    Raises
    ------
    UsageError
        If the library is not installed.
    """
    if backend == "pardiso":
        plain = Pardiso(indptr, indices, dtype, single=single)
        if single:
            return Refined(plain, indptr, indices)
        if np.issubdtype(dtype, np.complexfloating):
            return Counting(plain, Doubled(indptr, indices, Pardiso))
        return plain
    if backend == "superlu":
        if single:
            raise UsageError("single-precision factors need PARDISO: pip install 'deeph[sparse]'")

        return SuperLU(indptr, indices)
    raise UsageError(f"solver {backend!r}: expected one of {', '.join(BACKENDS)}")


def best_backend() -> str:
    """The first of the installed libraries."""
    return "pardiso" if is_installed() else "superlu"
