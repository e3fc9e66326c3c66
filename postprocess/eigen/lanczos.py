"""Block Lanczos with thick restart for the levels nearest a shift.

The operator (H - sigma S)^-1 S is self-adjoint in the scalar product <x|S|y>, and its largest eigenvalues theta = 1/(E - sigma) belong
to the levels nearest sigma (Ericsson and Ruhe, doi:10.1090/S0025-5718-1980-0583502-2; restart after Wu and Simon,
doi:10.1137/S0895479898334605). Blocks find degenerate levels, and every new block is made orthogonal to the whole basis twice.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger, telling
from postprocess.eigen.factorization import SingularError

Array = npt.NDArray[Any]
LARGEST_THETA = 1e7
"""1/eV; a level closer to the shift than its inverse makes the inertia ambiguous and spoils the accuracy of the others."""


class Operator(Protocol):
    """What the iteration needs of a :class:`postprocess.eigen.pencil.Pencil`, factored at some shift."""

    n: int
    dtype: Any

    @property
    def n_levels(self) -> int:
        """How many levels there are: n, or fewer if something is projected out."""

    def project(self, X: Array) -> Array:
        """X within the space of the problem."""

    def apply_S(self, X: Array) -> Array:
        """S X."""

    def solve(self, right: Array) -> Array:
        """(H - sigma S)^-1 right."""


@dataclass(frozen=True)
class Pairs:
    """Converged levels, nearest the shift first.

    Attributes
    ----------
    energies : (m,) array
        eV.
    vectors : (n, m) array
        S-orthonormal.
    n_solves : int
        Right-hand sides solved.
    """

    energies: FloatArray
    vectors: Array
    n_solves: int


def nearest_pairs(
    operator: Operator,
    sigma: float,
    n_wanted: int,
    *,
    known: Array | None = None,
    tolerance: float = 1e-9,
    max_restarts: int = 30,
) -> Pairs:
    """The levels nearest sigma.

    Parameters
    ----------
    operator : Operator
        Factored at sigma.
    sigma : float
        eV.
    n_wanted : int
        How many.
    known : (n, m) array, optional
        S-orthonormal vectors of levels that were found already; the search goes on outside them.
    tolerance : float
        Of the residual of theta relative to theta; the energies then err by at most tolerance * |E - sigma|, and Rayleigh's quotient
        by the square of that.
    max_restarts : int
        After so many restarts it is an error.

    Raises
    ------
    SingularError
        If sigma lies on a level.
    DataError
        If S is not positive definite, or the iteration does not converge.
    """
    n = operator.n_levels
    n_wanted = min(n_wanted, n)
    n_known = 0 if known is None else known.shape[1]
    block = int(np.clip(n_wanted // 4, 4, 10))
    capacity = min(n, max(2 * n_wanted, n_known + n_wanted) + 12 * block)
    basis = _Basis(operator, capacity, np.random.default_rng(n_wanted + n_known))
    if known is not None:
        basis.append(known, operator.apply_S(known))
        basis.expand()
    basis.append_random(block)
    with telling(lambda: f"{basis.n_done} of {n_wanted} levels near {sigma:.4f} eV have converged after {basis.n_solves} solutions"):
        return _converged(basis, sigma, n_wanted, block, tolerance, max_restarts)


def _converged(basis: "_Basis", sigma: float, n_wanted: int, block: int, tolerance: float, max_restarts: int) -> Pairs:
    """Steps and restarts until the levels wanted have converged."""
    n, capacity = basis.operator.n_levels, basis.V.shape[1]
    for _ in range(max_restarts):
        while True:
            remainder = basis.expand()
            theta, Y = basis.ritz()
            errors = np.linalg.norm(remainder.coupling @ Y[basis.last], axis=0)
            done = errors <= tolerance * np.abs(theta)
            basis.n_done = int(done[:n_wanted].sum())
            if np.abs(theta[0]) > LARGEST_THETA:
                raise SingularError(f"a level lies within {1 / abs(theta[0]):.1e} eV of the shift {sigma:.6f} eV")
            finished = len(theta) >= n_wanted and bool(done[:n_wanted].all())
            if finished or basis.size == n:
                vectors = basis.V[:, : basis.size] @ Y[:, :n_wanted]
                return Pairs(sigma + 1 / theta[:n_wanted], vectors, basis.n_solves)
            if basis.size + remainder.X.shape[1] > capacity:
                break
            basis.append(remainder.X, remainder.SX, at_least=block)
        logger.debug("restart: %d of %d levels near %.4f eV, %d solves", basis.n_done, n_wanted, sigma, basis.n_solves)
        basis.compress(theta, Y, n_wanted + 2 * block)
        basis.append(remainder.X, remainder.SX, at_least=block)
    raise DataError(
        f"{basis.n_done} of {n_wanted} levels near {sigma:.4f} eV converged after {basis.n_solves} solves; "
        "ask for fewer levels, or for another centre"
    )


@dataclass(frozen=True)
class _Remainder:
    """What is left of a new block outside the basis: S-orthonormal X, S X, and X^dagger S (block) as the coupling."""

    X: Array
    SX: Array
    coupling: Array


class _Basis:
    """S-orthonormal vectors, their products with S, and the operator within them."""

    def __init__(self, operator: Operator, capacity: int, random: np.random.Generator) -> None:
        self.operator, self.random = operator, random
        self.V = np.empty((operator.n, capacity), operator.dtype, order="F")
        self.SV = np.empty_like(self.V)
        self.T = np.zeros((capacity, capacity), operator.dtype)
        self.size = self.n_solves = self.n_done = 0
        self.last = slice(0, 0)

    def append(self, X: Array, SX: Array, *, at_least: int = 0) -> None:
        """New vectors; where the Krylov space is exhausted, random ones go on outside it."""
        new = slice(self.size, self.size + X.shape[1])
        self.V[:, new], self.SV[:, new] = X, SX
        self.size, self.last = new.stop, new
        missing = min(at_least, self.V.shape[1] - new.start) - X.shape[1]
        if missing > 0:
            self.append_random(missing)
            self.last = slice(new.start, self.size)

    def append_random(self, n: int) -> None:
        """Random vectors outside the basis."""
        n = min(n, self.V.shape[1] - self.size)
        X = self.random.normal(size=(self.operator.n, n)).astype(self.operator.dtype)
        if np.iscomplexobj(X):
            X += 1j * self.random.normal(size=X.shape)
        if n:
            remainder, _ = self._outside(self.operator.project(X))
            self.append(remainder.X, remainder.SX)

    def expand(self) -> _Remainder:
        """Apply the operator to the last block."""
        W = self.operator.solve(self.SV[:, self.last])
        self.n_solves += W.shape[1]
        if not np.isfinite(W).all():
            raise SingularError("the solution of the linear system is not finite")
        remainder, inside = self._outside(W)
        self.T[: self.size, self.last] = inside
        self.T[self.last, : self.size] = inside.conj().T
        own = self.T[self.last, self.last]
        self.T[self.last, self.last] = (own + own.conj().T) / 2
        return remainder

    def _outside(self, W: Array) -> tuple[_Remainder, Array]:
        """Split a block into its part outside the basis and its coefficients inside."""
        V, SV = self.V[:, : self.size], self.SV[:, : self.size]
        inside = _inner(SV, W)
        X = W - V @ inside
        SX = self.operator.apply_S(X)
        scale = float(np.sqrt(np.abs(np.einsum("nm,nm->m", W.conj(), SX)).max(initial=0.0)) + np.linalg.norm(inside))
        X, SX, coupling = _orthonormalized(X, SX, (1e-13 * scale) ** 2)
        if X.shape[1]:
            again = _inner(SV, X)
            inside = inside + again @ coupling
            X, SX = X - V @ again, SX - SV @ again
            X, SX, second = _orthonormalized(X, SX, 0.1)  # what shrinks again was rounding noise
            coupling = second @ coupling
        return _Remainder(X, SX, coupling), inside

    def ritz(self) -> tuple[FloatArray, Array]:
        """Eigenvalues of the operator within the basis, largest absolute value first, and their coefficients."""
        theta, Y = np.linalg.eigh(self.T[: self.size, : self.size])
        order = np.argsort(-np.abs(theta))
        return theta[order], Y[:, order]

    def compress(self, theta: FloatArray, Y: Array, n: int) -> None:
        """Keep the n first Ritz vectors."""
        for M in (self.V, self.SV):
            M[:, :n] = M[:, : self.size] @ Y[:, :n]
        self.T[:] = 0
        self.T[range(n), range(n)] = theta[:n]
        self.size = n


def _inner(A: Array, B: Array) -> Array:
    """A^dagger B; only the narrower B is copied for the conjugation."""
    return np.asarray((B.conj().T @ A).conj().T)


def _orthonormalized(X: Array, SX: Array, floor: float) -> tuple[Array, Array, Array]:
    """X made S-orthonormal, its product with S, and the coupling C with X_old = X C; directions of squared norm below floor are dropped."""
    gram = _inner(X, SX)
    weight, U = np.linalg.eigh((gram + gram.conj().T) / 2)
    if len(weight) and weight[0] < -max(1e-8 * weight[-1], 10 * floor):
        raise DataError(
            "the overlap S(k) is not positive definite: a vector of negative norm appeared. Overlap blocks are missing or wrong "
            "(cutoff too short, other basis, other atom positions), or atoms lie on top of each other"
        )
    kept = weight > max(floor, 1e-24 * weight.max(initial=0.0))
    root = np.sqrt(weight[kept])
    U = U[:, kept]
    return X @ (U / root), SX @ (U / root), root[:, None] * U.conj().T
