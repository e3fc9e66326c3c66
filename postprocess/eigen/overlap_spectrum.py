"""Nearly dependent orbitals: the smallest eigenvalues of S(k), and levels without the combinations that belong to them.

Where S has an eigenvalue near zero, an error d of H moves a level by d over that eigenvalue, and ghost levels appear, mostly far below the
bands. Leaving those few combinations out (canonical orthogonalization, P.-O. Lowdin, doi:10.1016/S0065-3276(08)60339-1) removes them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.eigen.levels import Levels
from postprocess.eigen.pencil import Pencil
from postprocess.eigen.search import levels_between, levels_near
from postprocess.eigen.shift_invert import levels_around

Array = npt.NDArray[Any]
WORRYING = 1e-4
"""Smallest eigenvalue of S(k) below which the user is told."""


def smallest_overlap(pencil: Pencil) -> float:
    """The smallest eigenvalue of S(k).

    Raises
    ------
    DataError
        If it is not positive.
    """
    values = levels_near(pencil.overlap(), 0.0, 1, verify=False).energies
    negative = pencil.overlap().count_below(-1e-12)
    if values[0] <= 0 or negative:
        raise not_positive(float(values[0]))
    return float(values[0])


def not_positive(eigenvalue: float) -> DataError:
    """The error for an overlap matrix with such an eigenvalue."""
    return DataError(
        f"the overlap S(k) is not positive definite: it has the eigenvalue {eigenvalue:.3e}. Overlap blocks are missing or wrong (cutoff "
        "too short, other basis, other atom positions), or atoms lie on top of each other"
    )


def report_overlap(smallest: float, k: FloatArray, *, projected: bool) -> None:
    """Tell the user about the smallest eigenvalue of S(k), loudly if it is small."""
    logger.info("smallest eigenvalue of S at k = %s: %.1e", np.round(k, 4).tolist(), smallest)
    if smallest < WORRYING and not projected:
        logger.warning(
            "the smallest eigenvalue of S is %.1e: the orbitals are nearly dependent, and an error of H or S can bring ghost levels below "
            "the bands; --project 1e-3 leaves the combinations out",
            smallest,
        )


def nearly_dependent(pencil: Pencil, threshold: float) -> Array:
    """(n, r) orthonormal eigenvectors of S with eigenvalues below a threshold."""
    found = levels_between(pencil.overlap(), -threshold, threshold)
    if found.first or (len(found.energies) and found.energies[0] <= 0):
        smallest_overlap(pencil)  # says what is wrong
    return found.vectors


class Projected:
    """A pencil within the space orthogonal to some vectors.

    With N the vectors, x = K^-1 b - K^-1 N (N^dagger K^-1 N)^-1 N^dagger K^-1 b solves K x = b within that space, and the inertia of
    K there is that of K plus that of -N^dagger K^-1 N less as many positive and negative signs as there are vectors.

    Parameters
    ----------
    pencil : Pencil
        H and S.
    vectors : (n, r) array
        Orthonormal.
    """

    def __init__(self, pencil: Pencil, vectors: Array) -> None:
        self.pencil, self.vectors = pencil, vectors
        self.n = self.n_rows = pencil.n
        self.dtype = pencil.dtype
        self.n_levels = pencil.n - vectors.shape[1]
        self.apply_H, self.apply_S = pencil.apply_H, pencil.apply_S
        self._solved = vectors
        self._inner = np.eye(vectors.shape[1])

    def project(self, X: Array) -> Array:
        """The part of X orthogonal to the vectors."""
        return np.asarray(X - self.vectors @ (self.vectors.conj().T @ X))

    def factor(self, sigma: float) -> None:
        """See :class:`postprocess.eigen.pencil.Pencil`."""
        self.pencil.factor(sigma)
        self._reduce()

    def _reduce(self) -> None:
        self._solved = self.pencil.solve(self.vectors)
        inner = self.vectors.conj().T @ self._solved
        self._inner = (inner + inner.conj().T) / 2

    def solve(self, right: Array) -> Array:
        """See :class:`postprocess.eigen.pencil.Pencil`."""
        X = self.pencil.solve(right)
        return self.project(X - self._solved @ np.linalg.solve(self._inner, self.vectors.conj().T @ X))

    def search(self, center: float, n: int, known: Array | None = None) -> tuple[float, Levels]:
        """See :class:`postprocess.eigen.search.SearchablePencil`."""
        return levels_around(self, center, n, known)

    def count_below(self, sigma: float, distance: float = 1e-6) -> int | None:
        """See :class:`postprocess.eigen.pencil.Pencil`."""
        count = self.pencil.count_below(sigma, distance)
        if count is None:
            return None
        self._reduce()
        return self._within(count)

    def count_factored(self, distance: float) -> int | None:
        """See :class:`postprocess.eigen.pencil.Pencil`."""
        count = self.pencil.count_factored(distance)
        return None if count is None else self._within(count)

    def _within(self, count: int) -> int:
        return int(count + (np.linalg.eigvalsh(self._inner) > 0).sum() - self.vectors.shape[1])
