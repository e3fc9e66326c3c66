"""Error bars of a predicted H: how far an ensemble of networks is from its mean, and what this means for levels.

Of each block there is one number, the root mean square over its matrix elements, which no rotation of the structure changes. The errors of
different blocks are not independent of each other: neighbouring blocks err together, and in a level they add up or cancel. So the error of
a level does not follow from these numbers. It needs the deviations themselves, one matrix for each member, called modes here: they are a
square root of the covariance of the errors, and to first order the variance of a level is the sum over them of (c^dagger D c)^2. The error
that the members have in common is one more mode, a multiple of S: the same error bar for all levels, of which nobody knows whether it moves
them together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.bloch import BlochMatrix
from deeph.physics.blocks import PairBlocks
from deeph.physics.pairs import find_pairs
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError

SAME_LEVEL = 1e-4
"""eV; levels so near are one degenerate level, of which only the mean square error does not depend on the choice of states."""

ROUNDING = 1e-5
"""Of a multiple of S in single precision, of its largest element."""

AT_ONCE = 2**16
"""Blocks whose elements are in memory at a time."""


@dataclass(frozen=True)
class ErrorBars:
    """Standard deviations of the blocks of a predicted H.

    Attributes
    ----------
    sigma : (n_pairs,) array
        Expected root mean square error of the matrix elements of each block, eV, on the pattern of H.
    modes : PairBlocks or None
        One matrix after the other (of collinear spins up and down), eV: the deviations of the members of an ensemble from their mean, and
        last a multiple of S, scaled so that their squares add up to the variance of a level. None where they were not kept.
    """

    sigma: FloatArray
    modes: PairBlocks | None = None

    def __repr__(self) -> str:
        modes = "" if self.modes is None else f", {self.modes.n_components} modes"
        return f"ErrorBars {len(self.sigma)} blocks, {1e3 * float(np.max(self.sigma, initial=0.0)):.3g} meV at most{modes}"

    def permuted(self, order: IntArray) -> "ErrorBars":
        """Of the same H with its atoms in another order, see :meth:`deeph.physics.blocks.PairBlocks.permuted`."""
        return self if self.modes is None else replace(self, modes=self.modes.permuted(order))

    def selected(self, index: IntArray, pairs: IntArray) -> "ErrorBars":
        """Those of some blocks, which are called ``pairs`` now."""
        return ErrorBars(self.sigma[index], None if self.modes is None else replace(self.modes.selected(index), pairs=pairs))

    def on_pattern(self, pairs: IntArray, now: IntArray, shapes: IntArray) -> "ErrorBars":
        """On the pairs ``now`` with blocks of these shapes instead of ``pairs``; blocks that were not there have no error.

        Raises
        ------
        DataError
            If blocks of the modes have other shapes.
        """
        if np.array_equal(pairs, now):
            return self
        place = find_pairs(pairs, now)
        sigma = np.where(place < 0, 0.0, np.append(self.sigma, 0.0)[place])
        return ErrorBars(sigma, None if self.modes is None else self.modes.on_pattern(now, shapes))


def check_error_bars(bars: ErrorBars, H: PairBlocks | None) -> None:
    """DataError unless error bars belong to the blocks of H."""
    if H is None:
        raise DataError("there are error bars, but no H that they belong to")
    if bars.sigma.shape != (H.n_pairs,):
        raise DataError(f"error bars of {len(bars.sigma)} blocks for an H of {H.n_pairs}")
    if not (np.isfinite(bars.sigma).all() and (bars.sigma >= 0).all()):
        raise DataError("error bars have to be finite and not negative: they are no standard deviations")
    modes = bars.modes
    if modes is None:
        return
    if not (np.array_equal(modes.pairs, H.pairs) and np.array_equal(modes.shapes, H.shapes)) or modes.n_components % H.n_components:
        raise DataError(f"the modes of the error, {modes}, do not fit H, {H}")


def block_rms(blocks: PairBlocks) -> FloatArray:
    """(n_pairs,) root mean square modulus of the elements of each block, of all components together."""
    out = np.zeros(blocks.n_pairs)
    for _, index in blocks.groups():
        for start in range(0, len(index), AT_ONCE):  # H of a large cell may lie in a file
            part = index[start : start + AT_ONCE]
            out[part] = np.sqrt((np.abs(blocks.take(part)) ** 2).mean(axis=(0, 2, 3), dtype=np.float64))
    return out


def level_errors(energies: FloatArray, states: npt.NDArray[Any], modes: Iterable[Any]) -> FloatArray:
    """First-order standard deviations of levels.

    Parameters
    ----------
    energies : (m,) array
        eV, ascending.
    states : (n_orbitals, m) array
        C in columns, C^dagger S C = 1.
    modes : iterable of (n_orbitals, n_orbitals) arrays
        D(k) of each mode in eV, dense or sparse. S has no error.

    Returns
    -------
    (m,) array
        eV. Levels that are degenerate within :data:`SAME_LEVEL` have one, the root mean square of their shifts.
    """
    several = [group for group in _groups(energies) if len(group) > 1]
    variance = np.zeros(len(energies))
    for mode in modes:
        product = mode @ states
        of_mode = np.einsum("an,an->n", states.conj(), product).real ** 2
        for group in several:
            inside = states[:, group].conj().T @ product[:, group]
            of_mode[group] = float((np.abs(inside) ** 2).sum()) / len(group)
        variance += of_mode
    return np.sqrt(variance)


def common_error(modes: PairBlocks, S: PairBlocks) -> float:
    """The error bar that all levels have in common, because it belongs to no deviation of a member: the last mode, a multiple of S.

    Parameters
    ----------
    modes : PairBlocks
        :attr:`ErrorBars.modes`.
    S : PairBlocks
        The overlap on the same blocks, of spinors that of spinors.

    Returns
    -------
    float
        eV, the same at every k; 0 if the last mode is no multiple of S.
    """
    if not (np.array_equal(modes.pairs, S.pairs) and np.array_equal(modes.shapes, S.shapes)):
        return 0.0
    overlap = S.entries[0].astype(np.complex128 if np.iscomplexobj(S.entries) else np.float64)
    last = modes.entries[-1].astype(overlap.dtype if not np.iscomplexobj(modes.entries) else np.complex128)
    common = abs(float(np.vdot(overlap, last).real / np.vdot(overlap, overlap).real))
    return common if np.abs(last - common * overlap).max(initial=0.0) <= ROUNDING * common * np.abs(overlap).max(initial=0.0) else 0.0


def _groups(energies: FloatArray) -> Sequence[IntArray]:
    """Positions of the levels that are one."""
    return np.split(np.arange(len(energies)), np.flatnonzero(np.diff(energies) > SAME_LEVEL) + 1)


def bloch_modes(matrix: BlochMatrix, k: FloatArray, n_spin: int, spin: int) -> Iterable[Any]:
    """D(k) of each mode in one spin channel, sparse; ``matrix`` is made of :attr:`ErrorBars.modes`."""
    return (matrix.csr(k, component=n) for n in range(spin, matrix.n_components, n_spin))
