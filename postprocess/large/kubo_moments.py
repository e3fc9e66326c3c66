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

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from postprocess.density.kpm import KPMOperator
from postprocess.large.sparse_basis import Matrices, SparseBasis, like

Array = npt.NDArray[Any]
CHUNK = 64
"""Vectors that are summed, or that the velocity is applied to, at once."""


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
    operator: KPMOperator,
    velocity: Velocity,
    n_moments: int,
    phases: Array,
    *,
    rows: FloatArray | None = None,
    window: FloatArray | None = None,
    advance: Callable[[int], object] = int,
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
    rows : (r, n_moments) array, optional
        Sums over the moments that are wanted instead of them, (m, d, d, r, r) with rows mu rows^T: they are made while the recursion
        runs, so that neither memory nor matrix products grow with the square of ``n_moments``.
    window : (n_window,) array, optional
        Coefficients of T_n(A) of a filter of the random vectors; the sums over pairs get the square of its value at the first level.
    advance : callable
        Told the number of steps done, counted per random vector.
    """
    x, y = operator.half_solve(phases)
    if window is not None:
        x = np.ascontiguousarray(summed(operator, x, y, window[None])[:, 0].T)
        y = operator.overlap(x)
    d, m = len(velocity.dH), phases.shape[1]
    weights = with_h(operator, np.eye(n_moments) if rows is None else rows)
    r = weights.shape[1]
    Ux = velocity.applied(operator, x)
    out = np.zeros((m, d, d, r, r), operator.dtype)
    for vector in range(m):
        starts = np.concatenate([x[:, vector, None], operator.solve(Ux[:, :, vector])], axis=1)
        ends = np.concatenate([y[:, vector, None], Ux[:, :, vector]], axis=1)
        every = summed(operator, starts, ends, weights.reshape(2 * r, -1), advance).reshape(1 + d, 2, r, operator.n)
        out[vector] = _contracted(velocity, every[0], every[1:])
    return out


def with_h(operator: KPMOperator, rows: FloatArray) -> FloatArray:
    """(2, r, n + 1) coefficients of sums over T_n, given as (r, n), and of S^-1 H times them: x T_n = (T_n+1 + T_n-1)/2."""
    plain = np.pad(rows, ((0, 0), (0, 1)))
    times_x = np.zeros_like(plain)
    times_x[:, 1:] += plain[:, :-1] / 2
    times_x[:, :-1] += plain[:, 1:] / 2
    times_x[:, 1] += plain[:, 0] / 2  # x T_0 = T_1
    return np.stack([plain, operator.half_width * times_x + operator.center * plain])


def summed(operator: KPMOperator, x: Array, y: Array, weights: FloatArray, advance: Callable[[int], object] = int) -> Array:
    """(columns, r, n) sums over T_n(A) of each column of x with weights (r, n_steps); y = S x."""
    kind = np.zeros(0, operator.dtype).real.dtype
    weights, n_steps = weights.astype(kind), weights.shape[1]
    out = np.zeros((x.shape[1], len(weights), len(x)), operator.dtype)
    block = np.empty((x.shape[1], min(CHUNK, n_steps), len(x)), operator.dtype)
    start = 0
    for n, (now, _) in enumerate(islice(operator.chebyshev(x, y), n_steps)):
        block[:, n - start] = now.T
        advance(1)
        if n - start + 1 == block.shape[1] or n + 1 == n_steps:
            part = weights[:, start : n + 1]
            for sums, vectors in zip(out.view(kind), block.view(kind), strict=True):
                sums[:] += part @ vectors[: n - start + 1]
            start = n + 1
    return out


def _contracted(velocity: Velocity, psi: Array, phi: Array) -> Array:
    """(d, d, r, r) from sums over psi and over phi (d, ...), each (2, r, n): of the vectors, and of S^-1 H times them."""
    d, r = len(phi), psi.shape[1]
    out = np.empty((d, d, r, r), psi.dtype)
    for start in range(0, r, CHUNK):
        part = slice(start, start + CHUNK)
        x, Hx = psi[0, part].T, psi[1, part].T
        for b, (dH, A) in enumerate(zip(velocity.dH, velocity.A, strict=True)):
            plain, z = dH @ x - A.conj().T @ Hx, A @ x
            for a in range(d):
                out[a, b][:, part] = phi[a, 0].conj() @ plain + phi[a, 1].conj() @ z
    return out
