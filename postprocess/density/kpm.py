"""Kernel polynomial method with overlap: densities of states without eigenvalues (Weisse et al., doi:10.1103/RevModPhys.78.275).

The recursion runs with A = S^-1 H, which is self-adjoint in the scalar product <x|S|y>. With y_n = S x_n and the scaled
h = (H - b S)/a, whose levels lie within -1..1,

    y_{n+1} = 2 h x_n - y_{n-1},   x_{n+1} = S^-1 y_{n+1},

so one product with H and one solution with a factor of S make a step, and no product with S is needed. What is started with which vectors:
:mod:`postprocess.density.kpm_moments`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.eigen.cholesky import Cholesky, factor_overlap
from postprocess.eigen.factorization import upper_product
from postprocess.eigen.pencil import Pencil

Array = npt.NDArray[Any]
LANCZOS_STEPS = 60
MARGIN = 0.01
"""Of the width of the spectrum, added at both ends."""


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
    def mean(self) -> "Moments":
        """The mean of the samples as a single one."""
        return replace(self, values=self.values.mean(axis=0, keepdims=True))

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
    memory : float
        Bytes of H, S and the factor of S.

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
        self.memory = self._factor.memory + sum(M.data.nbytes + M.indices.nbytes for M in (self._H, self._S))
        self.center, self.half_width = 0.0, 1.0
        low, high = self._bounds()
        margin = MARGIN * (high - low)
        self.center, self.half_width = (low + high) / 2, (high - low) / 2 + margin

    def step(self, x: Array, y: Array) -> Array:
        """(n, m) h x, with y = S x."""
        hx = upper_product(self._H, x)
        hx -= self.dtype.type(self.center) * y
        hx /= self.dtype.type(self.half_width)
        return hx

    def solve(self, y: Array) -> Array:
        """(n, m) S^-1 y."""
        return np.ascontiguousarray(self._factor.solve(y))

    def overlap(self, x: Array) -> Array:
        """(n, m) S x."""
        return upper_product(self._S, x)

    def random_phases(self, m: int, random: np.random.Generator) -> Array:
        """(n, m) independent random signs, or phases where H is complex; their covariance is the unit matrix."""
        real = self.dtype.kind == "f"
        phases = random.choice([-1.0, 1.0], size=(self.n, m)) if real else np.exp(2j * np.pi * random.random((self.n, m)))
        return phases.astype(self.dtype)

    def half_solve(self, phases: Array) -> tuple[Array, Array]:
        """(n, m) x = L^-dagger phases with S = L L^dagger, so that the covariance of x is S^-1 and <x|S|x> = n; and S x."""
        x = np.ascontiguousarray(self._factor.half_solve(phases))
        return x, self.overlap(x)

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
        x, y = self.half_solve(self.random_phases(1, np.random.default_rng(0)))
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
