"""Factorizations made of others: single precision with refinement, and Hermitian matrices as real ones."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from postprocess.eigen.factorization import Factorization, SingularError, upper_product

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[Any]


class Doubled:
    """A Hermitian matrix A + iB as the real symmetric [[A, -B], [B, A]], which has every eigenvalue twice.

    Parameters
    ----------
    indptr, indices
        See :func:`make_factorization`.
    make : callable
        ``make(indptr, indices, dtype)`` gives the factorization of the real matrix.
    """

    def __init__(self, indptr: Array, indices: Array, make: "Callable[[Array, Array, npt.DTypeLike], Factorization]") -> None:
        # real and imaginary part of an orbital are neighbours; each row of the pattern becomes two, and the second lacks the element
        # left of the diagonal
        length = 2 * np.diff(indptr).astype(np.int64)
        lengths = np.column_stack([length, length - 1]).ravel()
        skipped = np.column_stack([2 * indptr[:-1], 2 * indptr[:-1] + 1]).ravel()
        self._from = np.repeat(skipped, lengths) + _ramp(lengths)
        self._second = np.repeat(np.tile([False, True], len(length)), lengths)
        both = np.repeat(2 * indices.astype(np.int64), 2) + np.tile([0, 1], len(indices))
        start = np.concatenate([[0], np.cumsum(lengths)])
        self._real = make(start.astype(np.int32 if start[-1] < 2**31 else np.int64), both[self._from].astype(indices.dtype), np.float64)
        self.name = self._real.name

    def _values(self, values: Array) -> Array:
        """Rows (a, -b) and (b, a) of each element a + ib."""
        upper = np.stack([values.real, -values.imag], axis=1).ravel()[self._from]
        lower = np.stack([values.imag, values.real], axis=1).ravel()[self._from]
        return np.asarray(np.where(self._second, lower, upper))

    def factor(self, values: Array) -> None:
        """See :class:`Factorization`."""
        self._real.factor(self._values(values))

    def solve(self, right: Array) -> Array:
        """See :class:`Factorization`."""
        n, m = right.shape
        interleaved = np.stack([right.real, right.imag], axis=1).reshape(2 * n, m)
        x = self._real.solve(interleaved).reshape(n, 2, m)
        return np.asarray(x[:, 0] + 1j * x[:, 1])

    def count_negative(self, values: Array, distance: float) -> int | None:
        """See :class:`Factorization`."""
        count = self._real.count_negative(self._values(values), distance)
        return None if count is None or count % 2 else count // 2

    def negative(self, distance: float) -> int | None:
        """See :class:`Factorization`."""
        count = self._real.negative(distance)
        return None if count is None or count % 2 else count // 2

    def forget(self) -> None:
        """See :class:`Factorization`."""
        self._real.forget()

    def release(self) -> None:
        """See :class:`Factorization`."""
        self._real.release()


class Counting:
    """One factorization to solve with and another one, which takes longer, to count with; only one of them is in memory.

    Parameters
    ----------
    solver, counter : Factorization
        Of the same pattern.
    """

    def __init__(self, solver: Factorization, counter: Factorization) -> None:
        self.name = solver.name
        self._solver, self._counter = solver, counter
        self._last = solver

    def factor(self, values: Array) -> None:
        """See :class:`Factorization`."""
        self._counter.release()
        self._last = self._solver
        self._solver.factor(values)

    def solve(self, right: Array) -> Array:
        """See :class:`Factorization`."""
        return self._last.solve(right)

    def count_negative(self, values: Array, distance: float) -> int | None:
        """See :class:`Factorization`."""
        self._solver.release()
        self._last = self._counter
        return self._counter.count_negative(values, distance)

    def negative(self, distance: float) -> int | None:
        """See :class:`Factorization`."""
        return self._last.negative(distance)

    def forget(self) -> None:
        """See :class:`Factorization`."""
        self._solver.forget()
        self._counter.forget()

    def release(self) -> None:
        """See :class:`Factorization`."""
        self._solver.release()
        self._counter.release()


def _ramp(lengths: Array) -> Array:
    """0..n-1 for each length n, one after the other."""
    return np.asarray(np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths))


class Refined:
    """An inexact (single-precision) factorization whose solutions are refined until they are good in double precision.

    Each correction solves for the residual of the double-precision matrix and is added with the step that makes the new residual
    smallest, so a factor made inexact by a level near the shift slows the refinement down but does not make it diverge.

    Parameters
    ----------
    inexact : Factorization
        Single precision.
    indptr, indices
        See :func:`make_factorization`.
    """

    TOLERANCE = 1e-11
    """Of the residual, relative to the right-hand side."""
    ENOUGH = 1e-8
    """Reached at least, else it is an error."""
    MAX_STEPS = 25

    def __init__(self, inexact: Factorization, indptr: Array, indices: Array) -> None:
        self.name = inexact.name
        self._inexact = inexact
        self._pattern = indices, indptr
        self._upper: Any = None

    def _matrix(self, values: Array) -> Any:
        from scipy import sparse

        n = len(self._pattern[1]) - 1
        return sparse.csr_array((values, *self._pattern), shape=(n, n))

    def factor(self, values: Array) -> None:
        """See :class:`Factorization`."""
        self._upper = self._matrix(values)
        self._inexact.factor(values)

    def solve(self, right: Array) -> Array:
        """See :class:`Factorization`; the correction directions are kept orthogonal, as in GCR."""
        X, residual = np.zeros_like(right), right.copy()
        size = np.linalg.norm(right, axis=0)
        size[size == 0] = 1.0
        directions: list[tuple[Array, Array]] = []
        worst = previous = 1.0
        for _ in range(self.MAX_STEPS):
            step = self._inexact.solve(residual)
            if not np.isfinite(step).all():
                break
            image = upper_product(self._upper, step)
            for old_step, old_image in directions:
                part = np.einsum("nm,nm->m", old_image.conj(), image)
                step, image = step - part * old_step, image - part * old_image
            norm = np.linalg.norm(image, axis=0)
            norm[norm == 0] = 1.0
            step, image = step / norm, image / norm
            directions.append((step, image))
            part = np.einsum("nm,nm->m", image.conj(), residual)
            X += part * step
            residual -= part * image
            worst = float((np.linalg.norm(residual, axis=0) / size).max())
            if worst < self.TOLERANCE or (worst < self.ENOUGH and worst > 0.5 * previous):
                return X
            previous = worst
        raise SingularError(f"the refinement of the solution stops at a residual of {worst:.1e}")

    def count_negative(self, values: Array, distance: float) -> int | None:
        """See :class:`Factorization`; counted with the inexact factor."""
        self._upper = self._matrix(values)
        return self._inexact.count_negative(values, distance)

    def negative(self, distance: float) -> int | None:
        """See :class:`Factorization`; the inexact factor does not tell."""
        del distance
        return None

    def forget(self) -> None:
        """See :class:`Factorization`."""
        self._upper = None
        self._inexact.forget()

    def release(self) -> None:
        """See :class:`Factorization`."""
        self._upper = None
        self._inexact.release()
