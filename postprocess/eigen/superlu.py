"""SuperLU of scipy, the factorization that is installed everywhere."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError
from deeph.runtime.log import logger, telling
from postprocess.eigen.factorization import SingularError, backward_error
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.work import SMALL, announce, multiplication_rate

Array = npt.NDArray[Any]
PIVOT_THRESHOLD = 0.01
"""SuperLU leaves the diagonal for pivots smaller than this part of the largest element of the column."""


def advise_pardiso(n: int) -> None:
    """Say once, where it matters, that a faster library is missing.

    Parameters
    ----------
    n : int
        Orbitals.
    """
    if n > SMALL and not is_installed() and not _advised:
        _advised.append(n)
        logger.warning(
            "PARDISO is not installed: SuperLU takes its place, several times slower and in several times the memory. On x86 processors: "
            "pip install mkl (the extra 'sparse' of this package)"
        )


_advised: list[int] = []


def expected_cost(n: int, n_elements: int, dtype: Any) -> tuple[float, float]:
    """Bytes and seconds of a factorization, by the fill that was measured of twisted layers; other shapes are off by a factor.

    Parameters
    ----------
    n : int
        Orbitals.
    n_elements : int
        Of the upper triangle.
    dtype : dtype
        Of the matrix.
    """
    elements = min(float(n) ** 2, 2.1 * n_elements * max(1.0, n / 1000) ** 0.77)
    size = np.dtype(dtype).itemsize
    return elements * (size + 4), 5 * elements**1.5 * (4 if size > 8 else 1) / multiplication_rate("float64")


class SuperLU:
    """SuperLU of scipy: runs everywhere, needs several times the memory and time of PARDISO.

    For a count only diagonal pivots are taken, in a symmetric order, so that K = L U with U = D L^H and the signs of D count the negative
    eigenvalues. An order that had to leave the diagonal, or too large an error of a solution, makes the count unknown: the larger the
    matrix, the more often.

    Parameters
    ----------
    indptr, indices
        See :func:`make_factorization`.
    """

    name = "SuperLU"

    def __init__(self, indptr: Array, indices: Array) -> None:
        self._pattern = indices, indptr
        self._lu: Any = None
        self._seconds: float | None = None
        advise_pardiso(len(indptr) - 1)

    def _upper(self, values: Array) -> Any:
        from scipy import sparse

        n = len(self._pattern[1]) - 1
        return sparse.csr_array((values, *self._pattern), shape=(n, n))

    def factor(self, values: Array) -> None:
        """See :class:`Factorization`."""
        self._factor(values, PIVOT_THRESHOLD)

    def _factor(self, values: Array, threshold: float) -> None:
        from scipy import sparse
        from scipy.sparse.linalg import splu

        self._lu = None
        upper = self._upper(values)
        n = upper.shape[0]
        if self._seconds is None:
            memory, self._seconds = expected_cost(n, upper.nnz, upper.dtype)
            announce(self.name, n, upper.dtype, memory, self._seconds)
        full = (upper + sparse.triu(upper, 1).conj().T).tocsc()
        try:
            with telling(f"factoring the matrix of {n} orbitals", expected=self._seconds):
                start = time.perf_counter()
                self._lu = splu(full, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=threshold, options={"SymmetricMode": True})
                self._seconds = time.perf_counter() - start
        except RuntimeError as error:
            raise SingularError(f"SuperLU: the matrix is singular ({error})") from error
        except MemoryError as error:
            raise DataError(f"SuperLU ran out of memory at {n} orbitals; install PARDISO: pip install 'deeph[sparse]'") from error

    def solve(self, right: Array) -> Array:
        """See :class:`Factorization`."""
        return np.asarray(self._lu.solve(np.ascontiguousarray(right)))

    def count_negative(self, values: Array, distance: float) -> int | None:
        """See :class:`Factorization`."""
        try:
            self._factor(values, 0.0)
        except SingularError:
            return None
        trusted = bool((self._lu.perm_r == self._lu.perm_c).all()) and backward_error(self, self._upper(values)) < 0.1 * distance
        return int((self._lu.U.diagonal().real < 0).sum()) if trusted else None

    def negative(self, distance: float) -> int | None:
        """See :class:`Factorization`; the pivots taken for solutions do not tell."""
        del distance
        return None

    def forget(self) -> None:
        """See :class:`Factorization`."""
        self._lu = None

    def release(self) -> None:
        """See :class:`Factorization`."""
        self._lu = None
