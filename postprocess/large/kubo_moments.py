"""Two-fold Chebyshev moments of velocities in a basis that is not orthogonal.

With A = S^-1 H, levels p and q and velocities v_pq = <u_p|dH/dk|u_q>, any Kubo formula is a sum of F(E_p, E_q) v_a,pq v_b,qp, and follows
from the moments

    mu_mn = sum_pq T_n(E_p) T_m(E_q) v_a,pq v_b,qp = Tr V_a T_m(A) S^-1 V_b T_n(A) S^-1

(A. Weisse et al., doi:10.1103/RevModPhys.78.275, sec. II.D; J. H. Garcia, L. Covaci and T. G. Rappoport,
doi:10.1103/PhysRevLett.114.116602). What the velocities are between levels (:mod:`postprocess.geometry.geometry`) the matrix

    V = dH + i (H S^-1 A' - A'^dagger S^-1 H),   A' = W + (i/2) dS (the connection of the basis)

is as an operator, since H C = S C E. A random vector x of covariance S^-1 gives mu_mn as the mean of phi_m^dagger V_b psi_n with
psi_n = T_n(A) x and phi_m = T_m(A) S^-1 V_a x; S^-1 H of these vectors follows from their neighbours in the recursion, so that no solution
with S is needed but that of the recursion. Where H and S are real, i dH and i V are: everything is done with U = -i V.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from postprocess.density.kpm import KPMOperator
from postprocess.large.sparse_basis import Matrices, SparseBasis, like

Array = npt.NDArray[Any]
CHUNK = 64
"""Vectors psi_n that the velocity is applied to at once."""


class Velocity(NamedTuple):
    """-i dH and the connection A' of the basis along some directions, as sparse matrices."""

    dH: Matrices
    A: Matrices

    @classmethod
    def along(cls, basis: SparseBasis, k: FloatArray, spin: int, frame: FloatArray, dtype: npt.DTypeLike) -> "Velocity":
        """At one k, along directions (d, 3) in rows."""

        def turned(matrices: Matrices, factor: complex) -> Matrices:
            out = []
            for direction in frame:
                data = factor * sum(x * M.data for x, M in zip(direction, matrices, strict=True))
                out.append(like(matrices[0], (data if np.issubdtype(dtype, np.complexfloating) else data.real).astype(dtype)))
            return out

        return cls(turned(basis.dH(k, spin), -1j), turned(basis.A(k), 1.0))

    def applied(self, operator: KPMOperator, x: Array) -> Array:
        """(n, d, m) U x of vectors (n, m), with three solutions each."""
        h = operator.step(x, operator.overlap(x))
        Hx = operator.half_width * operator.solve(h) + operator.center * x  # S^-1 H x
        out = []
        for dH, A in zip(self.dH, self.A, strict=True):
            y = A @ x
            z = operator.solve(y)
            out.append(dH @ x + operator.half_width * operator.step(z, y) + operator.center * y - A.conj().T @ Hx)
        return np.stack(out, axis=1).astype(operator.dtype)


def double_moments(
    operator: KPMOperator, velocity: Velocity, n_moments: int, phases: Array, *, advance: Callable[[int], object] = int
) -> Array:
    """(m, d, d, n_moments, n_moments) moments mu_mn of each random vector, the last axis n belonging to the first level.

    Parameters
    ----------
    operator : KPMOperator
        H and S at one k.
    velocity : Velocity
        There.
    n_moments : int
        Of each of the two expansions.
    phases : (n, m) array
        Random phases, see :meth:`KPMOperator.random_phases`; unit vectors, each n^(1/2) times a column of 1, give the exact trace.
    advance : callable
        Told the number of steps done, counted per random vector.
    """
    x, y = operator.half_solve(phases)
    d, m = len(velocity.dH), phases.shape[1]
    Ux = velocity.applied(operator, x)
    out = np.zeros((m, d, d, n_moments, n_moments), operator.dtype)
    for vector in range(m):
        starts = np.concatenate([x[:, vector, None], operator.solve(Ux[:, :, vector])], axis=1)
        every = _recursion(operator, starts, np.concatenate([y[:, vector, None], Ux[:, :, vector]], axis=1), n_moments, advance)
        out[vector] = _contracted(operator, velocity, every, n_moments)
    return out


def _recursion(operator: KPMOperator, x: Array, y: Array, n_moments: int, advance: Callable[[int], object]) -> Array:
    """(columns, n_moments + 1, n) T_n(A) of the columns of x; y = S x."""
    out = np.empty((x.shape[1], n_moments + 1, len(x)), operator.dtype)
    for n, (now, _) in enumerate(operator.chebyshev(x, y)):
        out[:, n] = now.T
        advance(1)
        if n == n_moments:
            return out
    raise AssertionError  # the recursion never ends


def _contracted(operator: KPMOperator, velocity: Velocity, every: Array, n_moments: int) -> Array:
    """(d, d, n_moments, n_moments) from all vectors psi and phi of one random vector."""
    psi, phi = every[0], every[1:]
    d = len(phi)
    out = np.empty((d, d, n_moments, n_moments), operator.dtype)
    left = phi.conj().reshape(-1, psi.shape[1])
    for start in range(0, n_moments, CHUNK):
        n = np.arange(start, min(start + CHUNK, n_moments))
        x, Hx = psi[n].T, times_h(operator, psi, n).T
        for b, (dH, A) in enumerate(zip(velocity.dH, velocity.A, strict=True)):
            plain = (left @ (dH @ x - A.conj().T @ Hx)).reshape(d, n_moments + 1, -1)[:, :n_moments]
            z = (left @ (A @ x)).reshape(d, n_moments + 1, -1)
            for a in range(d):
                out[a, b][:, n] = plain[a] + times_h(operator, z[a], np.arange(n_moments))
    return out


def times_h(operator: KPMOperator, vectors: Array, n: Sequence[int] | npt.NDArray[np.int64]) -> Array:
    """The rows T_n times S^-1 H, for some n, of all rows T_0, T_1, ...: x T_n = (T_n+1 + T_n-1)/2."""
    n = np.asarray(n)
    half = operator.dtype.type(operator.half_width / 2)
    return np.asarray(half * (vectors[n + 1] + vectors[np.abs(n - 1)]) + operator.dtype.type(operator.center) * vectors[n])
