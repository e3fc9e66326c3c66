"""S = L L^dagger of a sparse overlap: solutions of S x = y, and of L^dagger x = y for random vectors of covariance S^-1."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError
from postprocess.eigen.factorization import SingularError
from postprocess.eigen.pardiso import Pardiso, is_installed
from postprocess.eigen.superlu import SuperLU

Array = npt.NDArray[Any]
POSITIVE, HERMITIAN_POSITIVE = 2, 4
"""Kinds of matrices of PARDISO: positive definite, real and complex."""
BACKWARD = 333
"""Phase of PARDISO that solves with L^dagger only."""
NOT_POSITIVE = (
    "the overlap S(k) is not positive definite, so it has no Cholesky factor. Overlap blocks are missing or wrong (cutoff too short, other "
    "basis, other atom positions), or atoms lie on top of each other"
)


class Cholesky(Protocol):
    """What the kernel polynomial method needs of a factor of S."""

    name: str

    @property
    def memory(self) -> int:
        """Bytes that the factor takes."""

    def solve(self, right: Array) -> Array:
        """(n, m) S^-1 right."""

    def half_solve(self, right: Array) -> Array:
        """(n, m) X with S-products X^dagger S X = right^dagger right: X = L^-dagger right."""


def factor_overlap(S: Any, *, single: bool = False) -> Cholesky:
    """Factor a sparse overlap by the best library installed.

    Parameters
    ----------
    S : csr_array
        Upper triangle of S(k), columns sorted, real or complex.
    single : bool
        In single precision (PARDISO only): half of the memory, and an error of S of its rounding, about 1e-6.

    Raises
    ------
    DataError
        If S is not positive definite or the memory does not suffice.
    """
    return PardisoCholesky(S, single=single) if is_installed() else SuperLUCholesky(S)


class PardisoCholesky(Pardiso):
    """By PARDISO, in half of the time of the indefinite LDL^T; parameters of :func:`factor_overlap`."""

    def __init__(self, S: Any, *, single: bool = False) -> None:
        super().__init__(S.indptr, S.indices, S.dtype, single=single)
        self._kind = HERMITIAN_POSITIVE if np.iscomplexobj(S.data) else POSITIVE
        try:
            self.factor(S.data)
        except SingularError as error:
            raise DataError(NOT_POSITIVE) from error

    def half_solve(self, right: Array) -> Array:
        """See :class:`Cholesky`."""
        given = np.asfortranarray(right, dtype=self._dtype)
        solution = np.empty_like(given, order="F")
        self._run(BACKWARD, given, solution)
        return solution


class SuperLUCholesky(SuperLU):
    """By SuperLU of scipy, with its L U = L D L^dagger; parameters of :func:`factor_overlap`."""

    def __init__(self, S: Any) -> None:
        super().__init__(S.indptr, S.indices)
        try:
            self.factor(S.data)
        except SingularError as error:
            raise DataError(NOT_POSITIVE) from error
        self._dtype = np.dtype(S.dtype)
        self._pivots = self._lu.U.diagonal().real
        if (self._lu.perm_r != self._lu.perm_c).any() or not (self._pivots > 0).all():
            raise DataError(NOT_POSITIVE)

    @property
    def memory(self) -> int:
        """See :class:`Cholesky`; with the row numbers."""
        return int(self._lu.nnz * (self._dtype.itemsize + 4))

    def half_solve(self, right: Array) -> Array:
        """See :class:`Cholesky`."""
        from scipy.sparse.linalg import spsolve_triangular

        U = self._lu.U.tocsr()
        found = spsolve_triangular(U, np.sqrt(self._pivots)[:, None] * right, lower=False)
        return np.asarray(found[self._lu.perm_c])
