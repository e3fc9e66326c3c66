"""Sparse factorization of Hermitian matrices on a fixed pattern: what the eigensolver needs of a library."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError

Array = npt.NDArray[Any]


class SingularError(DataError):
    """The shift lies on a level: the matrix is singular to working precision."""


class Factorization(Protocol):
    """LDL^H of one Hermitian matrix after another, all with the same pattern.

    Attributes
    ----------
    name : str
        For messages.
    """

    name: str

    def factor(self, values: Array) -> None:
        """Factor the matrix with these upper-triangle values; replaces the previous one.

        Raises
        ------
        SingularError
            If the matrix is singular to working precision.
        DataError
            If the memory does not suffice.
        """

    def solve(self, right: Array) -> Array:
        """(n, m) solution of K X = right."""

    def count_negative(self, values: Array, distance: float) -> int | None:
        """Number of negative eigenvalues (Sylvester's law of inertia) of the matrix with these values, which is factored for it.

        Afterwards :meth:`solve` belongs to this matrix.

        Parameters
        ----------
        values : array
            Upper triangle.
        distance : float
            Eigenvalues of the matrix closer to zero than this need not be counted right.

        Returns
        -------
        int or None
            None if the factorization cannot tell.
        """

    def negative(self, distance: float) -> int | None:
        """The same number for the matrix factored last, where its factor gives it for nothing; None if it does not.

        Parameters
        ----------
        distance : float
            See :meth:`count_negative`.
        """

    def forget(self) -> None:
        """Give the memory of the factor and of its matrix back; the symbolic analysis is kept."""

    def release(self) -> None:
        """Give all memory back; the object can factor again."""


def upper_product(upper: Any, X: Array) -> Array:
    """K X of a Hermitian K from its upper triangle (``scipy.sparse.csr_array``), without a second copy of the matrix."""
    below = (upper.T @ X.conj()).conj() if np.iscomplexobj(upper.data) else upper.T @ X
    diagonal = upper.diagonal()
    return np.asarray(upper @ X + below - (diagonal if X.ndim == 1 else diagonal[:, None]) * X)


def backward_error(factorization: "Factorization", upper: Any) -> float:
    """Size of the matrix that must be added to K to make a computed solution exact: |K x - b| / |x|, in the unit of K."""
    b = np.random.default_rng(0).normal(size=(upper.shape[0], 1)).astype(upper.dtype)
    x = factorization.solve(b)
    if not np.isfinite(x).all():
        return np.inf
    return float(np.linalg.norm(upper_product(upper, x) - b) / np.linalg.norm(x))
