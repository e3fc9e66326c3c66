"""SuperLU of scipy, the factorization that is installed everywhere."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError
from postprocess.eigen.factorization import SingularError, backward_error

Array = npt.NDArray[Any]
PIVOT_THRESHOLD = 0.01
"""SuperLU leaves the diagonal for pivots smaller than this part of the largest element of the column."""


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
        full = (upper + sparse.triu(upper, 1).conj().T).tocsc()
        try:
            self._lu = splu(full, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=threshold, options={"SymmetricMode": True})
        except RuntimeError as error:
            raise SingularError(f"SuperLU: the matrix is singular ({error})") from error
        except MemoryError as error:
            n = upper.shape[0]
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
