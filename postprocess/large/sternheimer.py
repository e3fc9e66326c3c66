"""First-order changes of a group of levels by linear solves: the sum over all other levels of the basis, without any of them.

What is left outside the group C of the solution of

    (H - E_n S) x = (1 - S C C^dagger) b                  (R. M. Sternheimer, Phys. Rev. 96, 951 (1954), doi:10.1103/PhysRev.96.951)

is sum_l C_l C_l^dagger b / (E_l - E_n) over the other levels l. The matrix is singular for each n, but one factorization of
K = H - sigma S with sigma among the levels of the group serves them all: T = 1 - (E_n - sigma) K^-1 S, which is self-adjoint in the scalar
product <x|S|y>, has the eigenvalues (E_l - E_n)/(E_l - sigma), all positive because no E_l lies between sigma and E_n, so that conjugate
residuals solve T x = K^-1 b in a few steps, the fewer the farther the group is from the others.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

Array = npt.NDArray[Any]
TOUCHING = 1e-4
"""eV; a level closer to the group belongs to it."""
BESIDE = 0.02
"""Of the distance to the next level outside: so far from the levels of the group lies the shift at least, if it can."""
TOLERANCE = 1e-12
"""Of the residual, relative to the right-hand side; of the step of Newton's method its root."""
ENOUGH = 1e-8
"""Reached at least, else it is an error; of the step of Newton's method its root."""
MAX_STEPS = 500
STALLED = 10
"""Steps without progress until rounding is taken to be the limit."""


class FactoredPencil(Protocol):
    """What is needed of a :class:`postprocess.eigen.pencil.Pencil`."""

    dtype: Any

    def factor(self, sigma: float) -> None:
        """Prepare :meth:`solve`."""

    def solve(self, right: Array) -> Array:
        """(H - sigma S)^-1 right."""

    def apply_H(self, X: Array) -> Array:
        """H X."""

    def apply_S(self, X: Array) -> Array:
        """S X."""


class Group(NamedTuple):
    """Neighbouring levels at one k: energies (g,) in eV, ascending, states (n, g), distances to the levels below and above in eV."""

    energies: FloatArray
    C: Array
    below: float
    above: float

    @property
    def separation(self) -> float:
        """Distance to all other levels, eV."""
        return min(self.below, self.above)


def check_isolated(group: Group) -> None:
    """DataError if another level touches the group."""
    if not group.separation > TOUCHING:
        raise DataError(
            f"a level lies {group.separation:.2g} eV beside the group from {group.energies[0]:.4f} to {group.energies[-1]:.4f} eV; "
            f"expected more than {TOUCHING:g} eV, for what belongs to a group as a whole is infinite there. Take the other "
            "bands in, or another k"
        )


class Sternheimer:
    """Solutions outside a group of levels.

    Parameters
    ----------
    pencil : FactoredPencil
        H and S at one k; it is factored once.
    group : Group
        As the eigensolver found it.

    Attributes
    ----------
    group : Group
        With improved states.
    n_steps : int
        Of the iteration, in the last solution.

    Raises
    ------
    DataError
        If another level touches the group.
    """

    def __init__(self, pencil: FactoredPencil, group: Group) -> None:
        check_isolated(group)
        self._pencil, self.n_steps = pencil, 0
        self.sigma = shift_within(group)
        pencil.factor(self.sigma)
        self._hold(group)
        self._hold(self._polished())  # Lanczos leaves an error of 1e-9, which enters the curvature to first order

    def _hold(self, group: Group) -> None:
        self.group, self._SC = group, self._pencil.apply_S(group.C)

    def _polished(self) -> Group:
        """One step of Newton's method, which squares the error, and Rayleigh's quotients."""
        from scipy.linalg import eigh

        C, S, H = self.group.C, self._pencil.apply_S, self._pencil.apply_H
        C = C - self((H(C) - self._SC * self.group.energies)[:, None], power=0.5)[:, 0]
        energies, Y = eigh(C.conj().T @ H(C), C.conj().T @ S(C))
        return self.group._replace(energies=energies, C=C @ Y)

    def outside(self, X: Array) -> Array:
        """(n, m) the part of X without the group."""
        return np.asarray(X - self.group.C @ (self._SC.conj().T @ X))

    def __call__(self, right: Array, *, power: float = 1.0) -> Array:
        """(n, m, g) solutions outside the group, for right-hand sides (n, m, g) of which the last axis counts the levels.

        ``power`` of the tolerances is what is asked for.

        Raises
        ------
        DataError
            If the iteration does not converge.
        """
        n, m, g = right.shape
        b = right.reshape(n, m * g)
        b = b - self._SC @ (self.group.C.conj().T @ b)
        energies = np.tile(self.group.energies, m)
        x = self._conjugate_residuals(self.outside(self._solve(b)), energies - self.sigma, TOLERANCE**power)
        left = self._pencil.apply_H(x) - self._pencil.apply_S(x) * energies - b
        left -= self._SC @ (self.group.C.conj().T @ left)
        error = np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(b, axis=0), 1e-300)
        if not error.max(initial=0.0) < ENOUGH**power:
            raise DataError(
                f"the first-order states are solved to a residual of {error.max():.1e} after {self.n_steps} steps; expected "
                f"{ENOUGH**power:g}. The group of bands is only {self.group.separation:.2g} eV from others: take them in"
            )
        return np.asarray(x.reshape(n, m, g))

    def _conjugate_residuals(self, c: Array, shift: FloatArray, tolerance: float) -> Array:
        """Columns x with x - shift K^-1 S x = c outside the group."""
        S = self._pencil.apply_S
        x, r, Sr = np.zeros_like(c), c.copy(), S(c)
        size = _square(c, Sr)
        goal = tolerance**2 * np.where(size > 0, size, 1.0)
        p, Tp, STp = np.zeros_like(c), np.zeros_like(c), np.zeros_like(c)
        before = np.ones(len(shift))
        self.n_steps, best, stalled = 0, np.inf, 0
        while (size > goal).any() and self.n_steps < MAX_STEPS and stalled < STALLED:
            Tr = self.outside(r - shift * self._solve(Sr))
            STr = S(Tr)
            now = _square(r, STr)
            b = np.where(size > goal, now / before, 0.0) if self.n_steps else np.zeros_like(now)
            p, Tp, STp = r + b * p, Tr + b * Tp, STr + b * STp
            norm = _square(Tp, STp)
            a = np.where(size > goal, now / np.where(norm > 0, norm, 1.0), 0.0)  # what has converged is left alone
            x, r, Sr = x + a * p, r - a * Tp, Sr - a * STp
            size, before = _square(r, Sr), np.where(now != 0, now, 1.0)
            self.n_steps += 1
            worst = float((size / goal).max())
            best, stalled = min(best, worst), 0 if worst < 0.5 * best else stalled + 1
        return x

    def _solve(self, right: Array) -> Array:
        """K^-1 right; complex right-hand sides of a real matrix as two real ones."""
        if np.iscomplexobj(right) and not np.issubdtype(self._pencil.dtype, np.complexfloating):
            m = right.shape[1]
            both = self._pencil.solve(np.concatenate([right.real, right.imag], axis=1))
            return np.asarray(both[:, :m] + 1j * both[:, m:])
        return self._pencil.solve(right)


def _square(x: Array, Sy: Array) -> FloatArray:
    return np.asarray(np.einsum("nm,nm->m", x.conj(), Sy).real)


def shift_within(group: Group) -> float:
    """An energy among the levels of a group, in its middle or near it, beside every level."""
    energies, step = group.energies, BESIDE * group.separation
    reach = min(step, 1.0)  # of a group that is the whole spectrum
    candidates = np.concatenate([(energies[1:] + energies[:-1]) / 2, energies - reach, energies + reach])
    distance = np.abs(candidates[:, None] - energies).min(axis=1)
    good = candidates[distance >= reach * (1 - 1e-9)]
    middle = (energies[0] + energies[-1]) / 2
    return float(good[np.argmin(np.abs(good - middle))])
