"""The pair H(k), S(k) as upper triangles on one fixed pattern: products, shifts, factorizations and counts of levels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.physics.bloch import BlochMatrix
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.eigen.backends import best_backend, make_factorization
from postprocess.eigen.factorization import Factorization, SingularError, upper_product
from postprocess.eigen.levels import Levels
from postprocess.eigen.shift_invert import levels_around

Array = npt.NDArray[Any]
PIECE = 2**20
"""Elements that are shifted at once."""


class Pencil:
    """H - sigma S for any sigma, at one k.

    Parameters
    ----------
    H, S : csr_array
        Upper triangles on the same pattern; H in eV. H is taken over: H - sigma S is written in its place, because in a large cell each
        further matrix is a gigabyte.
    factorization : Factorization
        For that pattern; pencils at different k share it, so only the last one factored can solve.

    Attributes
    ----------
    n, n_rows : int
        Number of orbitals.
    dtype : dtype
        float64 or complex128.
    n_factored : int
        Factorizations so far.
    """

    def __init__(self, H: sparse.csr_array, S: sparse.csr_array, factorization: Factorization) -> None:
        self.S, self._shifted, self._sigma = S, H, 0.0
        self.factorization = factorization
        self.n = self.n_rows = int(H.shape[0])
        self.dtype = np.result_type(H.dtype, S.dtype)
        self.n_factored = 0
        self._factored: float | None = None

    @classmethod
    def from_matrices(cls, H: Any, S: Any, *, backend: str | None = None, single: bool = False) -> "Pencil":
        """From two sparse Hermitian matrices of any pattern.

        Raises
        ------
        DataError
            If the shapes disagree, a number is not finite, or a matrix is not Hermitian.
        """
        H, S = sparse.csr_array(H), sparse.csr_array(S)
        if H.shape != S.shape or H.shape[0] != H.shape[1]:
            raise DataError(f"H is {H.shape} and S is {S.shape}; expected two square matrices of the same size")
        for name, M in (("H", H), ("S", S)):
            if not np.isfinite(M.data).all():
                raise DataError(f"{name} holds NaN or infinite numbers")
            error = np.abs((M - M.conj().T).data).max(initial=0.0)
            if error > 1e-8 * max(1.0, np.abs(M.data).max(initial=0.0)):
                raise DataError(f"{name} is not Hermitian: it differs from its adjoint by up to {error:.3g}")
        pattern = (abs(H) + abs(S) + sparse.eye_array(H.shape[0])).tocsr()
        pattern.data[:] = 0
        dtype = np.result_type(H.dtype, S.dtype, np.float64)
        H, S = (sparse.triu(M.astype(dtype), format="csr") for M in (_on(pattern, H), _on(pattern, S)))
        for M in (H, S):
            M.sort_indices()
        return cls(H, S, make_factorization(H.indptr, H.indices, dtype, backend or best_backend(), single=single))

    @property
    def H(self) -> sparse.csr_array:
        """Upper triangle of H: a copy once the pencil was shifted."""
        return self._shifted if self._sigma == 0 else sparse.csr_array(self._shifted + self._sigma * self.S)

    @property
    def n_levels(self) -> int:
        """How many levels there are."""
        return self.n

    def project(self, X: Array) -> Array:
        """X within the space of the problem: all of it."""
        return X

    def apply_H(self, X: Array) -> Array:
        """(n, m) H X."""
        HX: Array = upper_product(self._shifted, X)
        return HX if self._sigma == 0 else np.asarray(HX + self._sigma * self.apply_S(X))

    def apply_S(self, X: Array) -> Array:
        """(n, m) S X."""
        return upper_product(self.S, X)

    def factor(self, sigma: float) -> None:
        """Prepare :meth:`solve` for the shift sigma in eV; the factor of a count there serves as well."""
        if sigma == self._factored:
            return
        self.n_factored += 1
        self._factored = None
        self.factorization.factor(self._shift(sigma))
        self._factored = sigma

    def solve(self, right: Array) -> Array:
        """(n, m) (H - sigma S)^-1 right for the sigma factored last."""
        return self.factorization.solve(right)

    def search(self, center: float, n: int, known: Array | None = None) -> tuple[float, Levels]:
        """See :class:`postprocess.eigen.search.SearchablePencil`."""
        return levels_around(self, center, n, known)

    def count_below(self, sigma: float, distance: float = 1e-6) -> int | None:
        """Number of levels below sigma from the inertia of H - sigma S; None if it cannot be told.

        Parameters
        ----------
        sigma : float
            eV.
        distance : float
            How far the next level is known or hoped to be, eV.
        """
        self.n_factored += 1
        self._factored = None
        try:
            count = self.factorization.count_negative(self._shift(sigma), distance)
        except SingularError:
            return None
        self._factored = None if count is None else sigma
        return count

    def count_factored(self, distance: float) -> int | None:
        """Number of levels below the sigma factored last, if its factor tells; see :meth:`count_below`."""
        return self.factorization.negative(distance)

    def _shift(self, sigma: float) -> Array:
        """Values of H - sigma S, written over those of the last shift piece by piece."""
        values, step = np.asarray(self._shifted.data), sigma - self._sigma
        for start in range(0, len(values), PIECE):
            values[start : start + PIECE] -= step * self.S.data[start : start + PIECE]
        self._sigma = sigma
        return values

    def as_given(self, levels: Levels) -> Levels:
        """The levels with vectors in the orbitals of the Hamiltonian, where those of H and S here are others."""
        return levels

    def overlap(self) -> "Pencil":
        """The pencil of S and the unit matrix: its levels are the eigenvalues of S. It takes the factorization over."""
        self._factored = None
        unit = self.S.copy()
        unit.data = (self.S.indices == np.repeat(np.arange(self.n), np.diff(self.S.indptr))).astype(self.dtype)
        return Pencil(self.S.copy(), unit, self.factorization)


def _on(pattern: sparse.csr_array, M: sparse.csr_array) -> sparse.csr_array:
    """M with explicit zeros where the pattern has elements and M has none."""
    n = M.shape[0]
    rows = [np.repeat(np.arange(n), np.diff(A.indptr)) for A in (pattern, M)]
    columns = np.concatenate([pattern.indices, M.indices])
    data = np.concatenate([pattern.data.astype(M.dtype), M.data])
    return sparse.coo_array((data, (np.concatenate(rows), columns)), shape=M.shape).tocsr()


class BlochPencils:
    """The pencils of a Hamiltonian at all k: the pattern and its symbolic analysis are made once.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    backend : {"pardiso", "superlu"}, optional
        By default the best one installed.
    single : bool
        Factor in single precision and refine.
    """

    def __init__(self, hamiltonian: Hamiltonian, *, backend: str | None = None, single: bool = False) -> None:
        self._H, self._S = hamiltonian.H_bloch, hamiltonian.S_bloch
        self.backend = backend or best_backend()
        self.single = single
        pattern = self._H.pattern
        self.n = pattern.n_orbitals
        above = np.empty(len(pattern.indices), bool)
        counts = np.empty(self.n, np.int64)
        for row in range(self.n):
            part = slice(pattern.indptr[row], pattern.indptr[row + 1])
            above[part] = np.greater_equal(pattern.indices[part], row)
            counts[row] = np.count_nonzero(above[part])
        self._above = above
        self._indices = pattern.indices[above]
        self._indptr = np.concatenate([[0], np.cumsum(counts)]).astype(pattern.indptr.dtype)
        self._factorizations: dict[np.dtype[Any], Factorization] = {}

    def at(self, k: FloatArray, spin: int = 0) -> Pencil:
        """The pencil at a fractional k, real where all phases and H are; those made before cannot solve any more."""
        for factorization in self._factorizations.values():
            factorization.forget()
        H, S = self._upper(self._H, k, spin), self._upper(self._S, k, 0)
        dtype = np.dtype(np.result_type(H.dtype, S.dtype, np.float64))
        H, S = H.astype(dtype, copy=False), S.astype(dtype, copy=False)
        return Pencil(H, S, self._factorization(dtype))

    def _upper(self, bloch: BlochMatrix, k: FloatArray, component: int) -> sparse.csr_array:
        data = bloch.csr(k, component=component).data[self._above]
        return sparse.csr_array((data, self._indices, self._indptr), shape=(self.n, self.n))

    def _factorization(self, dtype: np.dtype[Any]) -> Factorization:
        for other, factorization in self._factorizations.items():
            if other != dtype:
                factorization.release()  # two factors at a time would not fit
        if dtype not in self._factorizations:
            self._factorizations[dtype] = make_factorization(self._indptr, self._indices, dtype, self.backend, single=self.single)
            logger.debug("%s for %d orbitals, %d elements, %s", self.backend, self.n, len(self._indices), dtype)
        return self._factorizations[dtype]
