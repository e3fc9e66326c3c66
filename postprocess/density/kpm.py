"""Kernel polynomial method with overlap: densities of states without eigenvalues (Weisse et al., doi:10.1103/RevModPhys.78.275).

The recursion runs with A = S^-1 H, which is self-adjoint in the scalar product <x|S|y>. With y_n = S x_n and the scaled
h = (H - b S)/a, whose levels lie within -1..1,

    y_{n+1} = 2 h x_n - y_{n-1},   x_{n+1} = S^-1 y_{n+1},

so one product with H and one solution with a factor of S make a step, and no product with S is needed. For the trace, random vectors of
covariance S^-1 give two moments a step: mu_{2n} = 2 <x_n|y_n> - mu_0, mu_{2n+1} = 2 <x_{n+1}|y_n> - mu_1. For the local density of an
orbital e in Mulliken's sense, x_0 = e, and each step gives one, exact, moment e^dagger x_n.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.cholesky import Cholesky, factor_overlap
from postprocess.eigen.factorization import upper_product
from postprocess.eigen.pencil import Pencil

Array = npt.NDArray[Any]
BLOCK = 16
"""Vectors that are worked on at the same time."""
LANCZOS_STEPS = 60
MARGIN = 0.01
"""Of the width of the spectrum, added at both ends."""
MAX_MOMENTS = 200_000


@dataclass(frozen=True)
class Moments:
    """Chebyshev moments of one or several densities of states.

    Attributes
    ----------
    center, half_width : float
        b and a of the scaled energies x = (E - b)/a, eV.
    values : (n_samples, n_densities, n_moments) array
        Samples of tr T_n(x); one sample where they are exact.
    """

    center: float
    half_width: float
    values: FloatArray

    @property
    def width(self) -> float:
        """Standard deviation of the Jackson kernel in the middle of the spectrum, eV (eq. 78 of the review)."""
        return float(np.pi * self.half_width / self.values.shape[-1])

    def counts(self, energies: FloatArray) -> FloatArray:
        """(n_samples, n_densities, m) states below energies: the density smoothed by Jackson's kernel, integrated analytically."""
        x = np.clip((np.asarray(energies, float) - self.center) / self.half_width, -1.0, 1.0)
        theta, n = np.arccos(x), np.arange(1, self.values.shape[-1])
        damped = self.values * jackson_kernel(self.values.shape[-1])
        out = damped[..., :1] * (1 - theta / np.pi)
        for part in np.array_split(np.arange(len(x)), max(1, x.size * len(n) // 2**22)):
            out[..., part] -= (damped[..., 1:] / n) @ np.sin(np.outer(n, theta[part])) * (2 / np.pi)
        return np.asarray(out)


def jackson_kernel(n: int) -> FloatArray:
    """(n,) damping factors of the moments (eq. 71 of the review); the density stays positive."""
    m, q = np.arange(n), np.pi / (n + 1)
    return np.asarray(((n - m + 1) * np.cos(q * m) + np.sin(q * m) / np.tan(q)) / (n + 1))


class KPMOperator:
    """H and S at one k, ready for the recursion.

    Parameters
    ----------
    pencil : Pencil
        Upper triangles of H and S.
    single : bool
        Everything in single precision, which halves the memory and shifts levels by about 1e-6 of their distance from zero.

    Attributes
    ----------
    center, half_width : float
        Of the spectrum with its margin, eV.
    n_steps : int
        Products with H and solutions with S so far, counted per vector.

    Raises
    ------
    DataError
        If S is not positive definite, or the memory does not suffice.
    """

    def __init__(self, pencil: Pencil, *, single: bool = False) -> None:
        self.n = pencil.n
        is_complex = np.issubdtype(pencil.dtype, np.complexfloating)
        self.dtype = np.dtype((np.complex64 if single else np.complex128) if is_complex else (np.float32 if single else np.float64))
        self._H, self._S = pencil.H.astype(self.dtype, copy=False), pencil.S.astype(self.dtype, copy=False)
        self._factor: Cholesky = factor_overlap(self._S, single=single)
        self.n_steps = 0
        self.center, self.half_width = 0.0, 1.0
        low, high = self._bounds()
        margin = MARGIN * (high - low)
        self.center, self.half_width = (low + high) / 2, (high - low) / 2 + margin

    def step(self, x: Array, y: Array) -> Array:
        """(n, m) h x, with y = S x."""
        self.n_steps += x.shape[1]
        hx = upper_product(self._H, x)
        hx -= self.dtype.type(self.center) * y
        hx /= self.dtype.type(self.half_width)
        return hx

    def solve(self, y: Array) -> Array:
        """(n, m) S^-1 y."""
        return np.ascontiguousarray(self._factor.solve(y))

    def random_vectors(self, m: int, random: np.random.Generator) -> tuple[Array, Array]:
        """(n, m) random vectors of covariance S^-1 with <x|S|x> = n, and S x."""
        signs = random.choice([-1.0, 1.0], size=(self.n, m)) if self.dtype.kind == "f" else np.exp(2j * np.pi * random.random((self.n, m)))
        x = np.ascontiguousarray(self._factor.half_solve(signs.astype(self.dtype)))
        return x, upper_product(self._S, x)

    def unit_vectors(self, orbitals: IntArray) -> tuple[Array, Array]:
        """(n, m) unit vectors of some orbitals, and S x."""
        x = np.zeros((self.n, len(orbitals)), self.dtype)
        x[orbitals, np.arange(len(orbitals))] = 1
        return x, upper_product(self._S, x)

    def chebyshev(self, x: Array, y: Array) -> Iterator[tuple[Array, Array]]:
        """(x_n, y_n) for n = 0, 1, 2, ..."""
        before, now = y, self.step(x, y)
        yield x, y
        while True:
            x = self.solve(now)
            yield x, now
            following = self.step(x, now)
            following *= 2
            following -= before
            before, now = now, following

    def _bounds(self) -> tuple[float, float]:
        """Lowest and highest level by Lanczos, widened by the residual."""
        x, y = self.random_vectors(1, np.random.default_rng(0))
        norm = np.sqrt(float(self.n))
        x, y, y_before, beta = x / norm, y / norm, np.zeros_like(y), 0.0
        diagonal, off = [], []
        for _ in range(min(LANCZOS_STEPS, self.n)):
            z = self.step(x, y)
            alpha = float(np.vdot(x, z).real)
            z = z - self.dtype.type(alpha) * y - self.dtype.type(beta) * y_before
            w = self.solve(z)
            beta = float(np.sqrt(max(0.0, np.vdot(w, z).real)))
            diagonal.append(alpha)
            off.append(beta)
            if beta < 1e-6 * max(map(abs, diagonal)):
                break
            x, y_before, y = w / self.dtype.type(beta), y, z / self.dtype.type(beta)
        levels, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
        if not np.isfinite(levels).all():
            raise DataError("the largest and smallest levels of H could not be found: H or S holds numbers that are not finite")
        low, high = levels[0] - off[-1] * abs(vectors[-1, 0]), levels[-1] + off[-1] * abs(vectors[-1, -1])
        if high - low < 1e-9 * max(1.0, abs(low)):
            low, high = low - 1.0, high + 1.0
        return float(low), float(high)


def moments_for(operator: KPMOperator, width: float) -> int:
    """How many moments give Jackson's kernel a standard deviation in eV.

    Raises
    ------
    UsageError
        If the width is not positive, or so small that another method is called for.
    """
    n = int(np.ceil(np.pi * operator.half_width / width)) if width > 0 else 0
    if not 2 <= n <= MAX_MOMENTS:
        least, span = np.pi * operator.half_width / MAX_MOMENTS, 2 * operator.half_width
        raise UsageError(f"width {width:g} eV: expected {least:.1e} to {span / 2:.3g} eV for levels that span {span:.4g} eV")
    return n


def trace_moments(operator: KPMOperator, n_moments: int, n_vectors: int = 10, *, seed: int = 0) -> Moments:
    """Moments of the whole density of states by a stochastic trace.

    Parameters
    ----------
    operator : KPMOperator
        H and S.
    n_moments : int
        Two come from each step.
    n_vectors : int
        Random vectors; the error falls with the square root of their number, and of that of the orbitals.
    seed : int
        Of the random numbers.

    Returns
    -------
    Moments
        One sample for each vector.
    """
    if n_vectors < 1:
        raise UsageError(f"{n_vectors} random vectors: expected at least one, or two for an error bar")
    random = np.random.default_rng(seed)
    parts = []
    for start in range(0, n_vectors, BLOCK):
        x, y = operator.random_vectors(min(BLOCK, n_vectors - start), random)
        mu = np.zeros((n_moments + 2, x.shape[1]))
        before = np.zeros_like(y)
        for n, (x_n, y_n) in enumerate(operator.chebyshev(x, y)):
            if n == 0:
                mu[0] = _inner(x_n, y_n)
            else:
                mu[2 * n - 1] = _inner(x_n, before) * (1 if n == 1 else 2) - (0 if n == 1 else mu[1])
                mu[2 * n] = 2 * _inner(x_n, y_n) - mu[0]
            before = y_n
            if 2 * n + 1 >= n_moments:
                break
        parts.append(mu[:n_moments].T)
        logger.debug("%d of %d random vectors", start + x.shape[1], n_vectors)
    return _checked(Moments(operator.center, operator.half_width, np.concatenate(parts)[:, None]))


def local_moments(operator: KPMOperator, groups: npt.NDArray[np.bool_], n_moments: int) -> Moments:
    """Exact moments of the Mulliken densities of groups of orbitals.

    Parameters
    ----------
    operator : KPMOperator
        H and S.
    groups : (n_groups, n_orbitals) bool array
        Each orbital that occurs costs one vector, see :class:`postprocess.states.projections.Projections`.
    n_moments : int
        One comes from each step.
    """
    orbitals = np.flatnonzero(groups.any(axis=0))
    out = np.zeros((len(groups), n_moments))
    for start in range(0, len(orbitals), BLOCK):
        part = orbitals[start : start + BLOCK]
        member = groups[:, part].astype(float)
        for n, (x, _) in enumerate(operator.chebyshev(*operator.unit_vectors(part))):
            out[:, n] += member @ x[part, np.arange(len(part))].real
            if n + 1 == n_moments:
                break
    return Moments(operator.center, operator.half_width, out[None])


def _inner(x: Array, y: Array) -> FloatArray:
    """Scalar products of columns, summed in double precision."""
    return np.asarray(np.einsum("nm,nm->m", x.conj(), y, dtype=np.result_type(x, np.float64)).real)


def _checked(moments: Moments) -> Moments:
    """Refuse moments that grow: then a level lies outside of the supposed spectrum."""
    if not np.abs(moments.values).max() <= 1.01 * np.abs(moments.values[..., 0]).max():
        raise DataError("the moments diverge: a level lies outside the bounds that Lanczos found; is S nearly singular?")
    return moments
