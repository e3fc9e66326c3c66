"""Chebyshev moments of densities of states: of all orbitals, and of groups of them in Mulliken's sense.

The density of a group G of orbitals is sum_n delta(E - E_n) Re sum_{a in G} C_an^* (S C)_an. With A = S^-1 H, A C = C E and
C C^dagger = S^-1, any function f of the levels gives C f(E) C^dagger = f(A) S^-1, so that the moments are

    mu_n = Re tr P S T_n(A) S^-1,   P = 1 for orbitals in G, else 0.

**All orbitals** (P = 1). Vectors x_0 = L^-dagger xi, with S = L L^dagger and random phases xi, have the covariance S^-1, so mu_n is
the mean of <x_0|S T_n x_0>. T_2n = 2 T_n T_n - 1 and T_2n+1 = 2 T_n+1 T_n - T_1 give two moments a step: mu_2n = 2 <x_n|y_n> - mu_0,
mu_2n+1 = 2 <x_n+1|y_n> - mu_1 (sec. II.B of doi:10.1103/RevModPhys.78.275).

**Groups.** The same vectors would do, but P and L do not commute: with the nearly dependent orbitals of an atom the scatter is several
times the density of the atom. Instead x_0 = S^-1 xi and y_n = S T_n(A) S^-1 xi, which the same recursion gives from y_0 = xi:

    mu_n = mean of Re sum_{a in G} xi_a^* (y_n)_a.

Each term with itself is exact (mu_0 is the number of orbitals); what scatters are pairs of different orbitals, of which one is in G.
It costs one step a moment for any number of groups. That all groups together scatter more than the total is mended by the total from
the vectors above: a group of n_G of n orbitals gets n_G/n of the difference, so that groups of all orbitals add up to the total,
sample by sample.

**Exact** moments of a group need a recursion for each of its orbitals: T_n(A) = C T_n(E) C^dagger S has the diagonal elements
e_a^dagger x_n = sum_m T_n(E_m) C_am (S C)_am^* for x_0 = e_a.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.kpm import KPMOperator, Moments

Array = npt.NDArray[Any]
Groups = npt.NDArray[np.bool_]
Advance = Callable[[int], object]
"""Is told the number of steps done, counted per vector."""
BLOCK = 16
"""Vectors that are worked on at the same time."""
MAX_MOMENTS = 200_000


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


def random_moments(
    operator: KPMOperator,
    n_moments: int,
    n_vectors: int,
    random: np.random.Generator,
    groups: Groups | None = None,
    *,
    advance: Advance = int,
) -> Moments:
    """Moments of the whole density of states and of groups of orbitals from random vectors.

    Parameters
    ----------
    operator : KPMOperator
        H and S.
    n_moments : int
        The total has two from each step, groups one.
    n_vectors : int
        Random vectors; the error falls with the square root of their number.
    random : numpy.random.Generator
        Gives the vectors.
    groups : (n_groups, n_orbitals) bool array, optional
        See :class:`postprocess.states.orbital_groups.Projections`; their number costs hardly anything.
    advance : callable
        Called after each step.

    Returns
    -------
    Moments
        One sample for each vector, (n_vectors, 1 + n_groups, n_moments): the total first.

    Raises
    ------
    UsageError
        If there is no vector.
    DataError
        If a level lies outside of the supposed spectrum.
    """
    if n_vectors < 1:
        raise UsageError(f"{n_vectors} random vectors: expected at least one, or two for an error bar")
    groups = np.zeros((0, operator.n), bool) if groups is None else groups
    parts = []
    for start in range(0, n_vectors, BLOCK):
        phases = operator.random_phases(min(BLOCK, n_vectors - start), random)
        total = _total(operator, phases, n_moments, advance)
        parts.append(np.concatenate([total[:, None], _shares(operator, phases, total, groups, advance)], axis=1))
    return Moments(operator.center, operator.half_width, np.concatenate(parts))


def _total(operator: KPMOperator, phases: Array, n_moments: int, advance: Advance) -> FloatArray:
    """(n_vectors, n_moments) of all orbitals."""
    m = phases.shape[1]
    mu = np.zeros((n_moments + 2, m))
    before = np.zeros_like(phases)
    for n, (x, y) in enumerate(operator.chebyshev(*operator.half_solve(phases))):
        if n == 0:
            mu[0] = _inner(x, y)
        else:
            mu[2 * n - 1] = _inner(x, before) * (1 if n == 1 else 2) - (0 if n == 1 else mu[1])
            mu[2 * n] = 2 * _inner(x, y) - mu[0]
        before = y
        advance(m)
        if 2 * n + 1 >= n_moments:
            break
    if not np.abs(mu).max() <= 1.01 * mu[0].max():
        raise DataError("the moments diverge: a level lies outside the bounds that Lanczos found; is S nearly singular?")
    return mu[:n_moments].T


def _shares(operator: KPMOperator, phases: Array, total: FloatArray, groups: Groups, advance: Advance) -> FloatArray:
    """(n_vectors, n_groups, n_moments) of groups, from the same phases as the total."""
    from scipy.sparse import csr_array

    m, n_moments = total.shape
    out = np.zeros((m, len(groups), n_moments))
    if not len(groups):
        return out
    member, part = csr_array(groups.astype(float)), groups.mean(axis=1)
    for n, (_, y) in enumerate(operator.chebyshev(operator.solve(phases), phases)):
        products = (phases.conj() * y).real.astype(float)
        difference = total[:, n] - products.sum(axis=0)
        out[:, :, n] = (member @ products).T + part * difference[:, None]
        advance(m)
        if n + 1 == n_moments:
            break
    return out


def exact_moments(operator: KPMOperator, n_moments: int, groups: Groups, *, advance: Advance = int) -> Moments:
    """Exact moments of groups of orbitals, from a recursion for each orbital that is in one.

    Parameters
    ----------
    operator, n_moments, groups, advance
        As for :func:`random_moments`.

    Returns
    -------
    Moments
        A single sample, (1, n_groups, n_moments).
    """
    orbitals = np.flatnonzero(groups.any(axis=0))
    out = np.zeros((len(groups), n_moments))
    for start in range(0, len(orbitals), BLOCK):
        part = orbitals[start : start + BLOCK]
        member = groups[:, part].astype(float)
        for n, (x, _) in enumerate(operator.chebyshev(*operator.unit_vectors(part))):
            out[:, n] += member @ x[part, np.arange(len(part))].real
            advance(len(part))
            if n + 1 == n_moments:
                break
    return Moments(operator.center, operator.half_width, out[None])


def _inner(x: Array, y: Array) -> FloatArray:
    """Scalar products of columns, summed in double precision."""
    return np.asarray(np.einsum("nm,nm->m", x.conj(), y, dtype=np.result_type(x, np.float64)).real)
