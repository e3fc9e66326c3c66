"""Some levels of one pencil: the nearest to an energy, or all in a window; counts of levels prove that none was missed."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]
RESOLUTION = 1e-6
"""eV; a level this close to the end of a window is not counted reliably."""
MAX_SLICE = 200
"""Levels searched around one shift; a window with more is cut in pieces."""


class SearchablePencil(Protocol):
    """What is asked of H and S at one k, whoever factors H - sigma S: PARDISO and SuperLU with our Lanczos, or MUMPS with SLEPc's.

    Attributes
    ----------
    n_rows : int
        Rows of the vectors that this process holds: all, unless MPI ranks share them.
    dtype : dtype
        Of the vectors.
    """

    n_rows: int
    dtype: Any

    @property
    def n_levels(self) -> int:
        """How many levels there are."""

    def search(self, center: float, n: int, known: Array | None = None) -> tuple[float, Levels]:
        """A shift at or beside the centre, and about n levels nearest it, nearest first; ``known`` vectors need not be found anew."""

    def count_below(self, sigma: float, distance: float = ...) -> int | None:
        """Levels below sigma, to which no level is closer than the distance; None if the factorization cannot count."""

    def count_factored(self, distance: float) -> int | None:
        """Levels below the sigma factored last, if that is known for nothing."""


def levels_near(pencil: SearchablePencil, center: float, n: int, *, verify: bool = True) -> Levels:
    """The n levels nearest an energy (a degenerate group at the end may be cut).

    Parameters
    ----------
    pencil : SearchablePencil
        H and S at one k.
    center : float
        eV.
    n : int
        How many.
    verify : bool
        Count the levels at both ends, at the price of two more factorizations. Else the first is numbered by the count at the shift, where
        the factor tells it, on trust that no level between them is missing.

    Raises
    ------
    UsageError
        If n is not between 1 and the number of orbitals.
    DataError
        If S is not positive definite or the iteration does not converge.
    """
    if not 1 <= n <= pencil.n_levels:
        raise UsageError(f"{n} bands: expected a number between 1 and {pencil.n_levels}, the number of all of them")
    wanted, known = n + max(2, n // 8), None
    for _ in range(6):
        sigma, found = pencil.search(center, wanted, known)
        everything = len(found.energies) == pencil.n_levels
        if len(found.energies) <= n and not everything:
            wanted, known = wanted + max(4, wanted // 2), found.vectors
            continue
        chosen, below_chosen = _nearest(found.energies, center, n)
        if everything:
            return found.chosen(chosen, below_chosen, True)
        if not verify:
            below = pencil.count_factored(float(np.abs(found.energies - sigma).min()))
            number = None if below is None else below - int((found.energies < sigma).sum()) + below_chosen
            return found.chosen(chosen, number, None)
        distance = np.abs(found.energies - sigma)
        inner = n + int(np.argmax(np.diff(distance[n - 1 :])))  # the widest gap after n levels: a count there is safest
        radius, half_gap = distance[inner - 1 : inner + 1].mean(), np.ptp(distance[inner - 1 : inner + 1]) / 2
        if half_gap < RESOLUTION:
            wanted, known = wanted + 8, found.vectors
            continue
        low, high = (pencil.count_below(sigma + side * radius, half_gap) for side in (-1, 1))
        if low is None or high is None:
            return _confirmed(pencil, center, n, found)
        if inner == high - low:
            return found.chosen(chosen, low + below_chosen - int((found.energies[inner:] < sigma).sum()), True)
        if inner > high - low:
            raise DataError(f"{inner} levels found within {radius:.6f} eV of {sigma:.6f} eV, but {high - low} counted")
        logger.info("%d of %d levels within %.4f eV of %.4f eV found, searching on", inner, high - low, radius, sigma)
        wanted, known = wanted + high - low - inner, found.vectors
    raise DataError(f"the levels near {center:.4f} eV could not be proved complete; ask for another number of them or another centre")


def _nearest(energies: Array, center: float, n: int) -> tuple[npt.NDArray[np.int64], int]:
    """Which n levels are nearest an energy, and how many lie below them; without a hole, whatever rounding makes of degenerate ones."""
    order = np.argsort(energies)
    distance = np.abs(energies[order] - center)
    first = int(np.argmin(np.maximum(distance[: len(order) - n + 1], distance[n - 1 :])))
    return order[first : first + n], first


def _confirmed(pencil: SearchablePencil, center: float, n: int, found: Levels) -> Levels:
    """The n nearest levels where they cannot be counted: searched for outside those found until nothing new appears."""
    before = np.full(n, np.inf)
    while True:
        chosen, _ = _nearest(found.energies, center, n)
        energies = np.sort(found.energies[chosen])
        if np.abs(energies - before).max() < RESOLUTION:
            return found.chosen(chosen, None, None)
        before = energies
        _, found = pencil.search(center, len(found.energies) + 2, found.vectors)


def levels_between(pencil: SearchablePencil, low: float, high: float) -> Levels:
    """All levels in a window, none missed.

    Parameters
    ----------
    pencil : SearchablePencil
        H and S at one k.
    low, high : float
        eV.

    Returns
    -------
    Levels
        Possibly none; ``complete`` is None where the factorization cannot count.

    Raises
    ------
    UsageError
        If the window is not an ascending pair of finite numbers.
    DataError
        As for :func:`levels_near`.
    """
    if not -np.inf < low < high < np.inf:
        raise UsageError(f"window {low:g} to {high:g} eV: expected two energies, the lower one first")
    ends = [(e, pencil.count_below(e, RESOLUTION)) for e in (low - RESOLUTION, high + RESOLUTION)]
    if ends[0][1] is None or ends[1][1] is None:
        return _uncounted(pencil, low, high)
    parts = _slices(pencil, (ends[0][0], ends[0][1]), (ends[1][0], ends[1][1]))
    if len(parts) == 1:
        return parts[0]
    joined = {name: np.concatenate([getattr(p, name) for p in parts], axis=-1) for name in ("energies", "vectors", "residuals")}
    return Levels(**joined, first=parts[0].first, complete=all(p.complete for p in parts))


def _slices(pencil: SearchablePencil, low: tuple[float, int], high: tuple[float, int]) -> list[Levels]:
    """Levels between two energies with known counts below each."""
    n, middle = high[1] - low[1], (low[0] + high[0]) / 2
    if n == 0:
        empty = np.zeros(0)
        return [Levels(empty, np.zeros((pencil.n_rows, 0), pencil.dtype), empty, low[1], True)]
    if n > MAX_SLICE:
        return _cut(pencil, low, middle, high)
    wanted, known = n, None
    for _ in range(4):
        sigma, found = pencil.search(middle, wanted, known)
        inside = np.flatnonzero((found.energies > low[0]) & (found.energies < high[0]))
        if len(inside) == n:
            return [found.chosen(inside, low[1], True)]
        if len(inside) > n:
            break
        wanted, known = wanted + n - len(inside) + 2, found.vectors
        logger.debug("%d of %d levels in the window found around %.4f eV, searching on", len(inside), n, sigma)
    if high[0] - low[0] > 100 * RESOLUTION:
        return _cut(pencil, low, middle, high)
    raise DataError(f"{len(inside)} levels found and {n} counted between {low[0]:.6f} and {high[0]:.6f} eV")


def _cut(pencil: SearchablePencil, low: tuple[float, int], middle: float, high: tuple[float, int]) -> list[Levels]:
    for shift in (0.0, 0.031, -0.047):
        energy = middle + shift * (high[0] - low[0])
        count = pencil.count_below(energy, RESOLUTION)
        if count is not None and low[1] <= count <= high[1]:
            return _slices(pencil, low, (energy, count)) + _slices(pencil, (energy, count), high)
    raise DataError(f"the levels below {middle:.6f} eV could not be counted; choose a smaller window")


def _uncounted(pencil: SearchablePencil, low: float, high: float) -> Levels:
    """Without counts: search outwards from the middle past the farther end, and once more for what was missed."""
    wanted, known, before = 20, None, -1
    while True:
        sigma, found = pencil.search((low + high) / 2, wanted, known)
        inside = np.flatnonzero((found.energies >= low) & (found.energies <= high))
        reached = bool(np.abs(found.energies - sigma).max() > max(high - sigma, sigma - low))
        if len(found.energies) == pencil.n_levels or (reached and len(inside) == before):
            return found.chosen(inside, None, None)
        wanted = len(found.energies) + 4 if reached else 2 * wanted
        known, before = found.vectors, len(inside) if reached else -1
