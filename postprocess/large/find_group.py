"""The states of a range of bands of a large cell at one k, with the neighbours that say how far it is isolated."""

from dataclasses import dataclass, field

import numpy as np

from deeph.runtime.errors import DataError
from postprocess.eigen.levels import Levels
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.pencil import Pencil
from postprocess.eigen.search import levels_near
from postprocess.large.sternheimer import Group

BESIDE = 4
"""Levels asked for besides those of the group."""
MOST = 400
"""Levels computed at one k to find a group."""
ATTEMPTS = 5


@dataclass(frozen=True)
class Bands:
    """Bands ``first`` to ``stop - 1`` counted from 0, as in a slice.

    Attributes
    ----------
    first, stop : int
        Neighbouring bands.
    center : float
        eV, near them: where the eigensolver begins, such as the Fermi energy.
    options : SolverOptions
        Which factorization.
    """

    first: int
    stop: int
    center: float
    options: SolverOptions = field(default_factory=SolverOptions)

    @property
    def size(self) -> int:
        """Number of bands."""
        return self.stop - self.first

    def __str__(self) -> str:
        """Such as ``bands 13 to 16``, counted from 1."""
        return f"band {self.stop}" if self.size == 1 else f"bands {self.first + 1} to {self.stop}"


def find_group(pencil: Pencil, bands: Bands) -> Group:
    """The states of some bands, numbered by counts of the levels below.

    Parameters
    ----------
    pencil : Pencil
        H and S at one k.
    bands : Bands
        Which ones.

    Raises
    ------
    DataError
        If the levels cannot be counted, or the bands are far from the centre.
    """
    n = bands.size + BESIDE
    for _ in range(ATTEMPTS):
        levels = levels_near(pencil, bands.center, min(n, pencil.n_levels))
        if levels.first is None:
            raise DataError(
                f"the levels below {bands.center:.4f} eV could not be counted, so that the bands have no numbers; another energy to begin "
                "with (--center EV) may help, and so does PARDISO (pip install mkl)"
            )
        if _holds(levels, bands, pencil.n_levels):
            return _group(levels, bands, pencil.n_levels)
        below = levels.first + int((levels.energies < bands.center).sum())
        n = max(2 * n, 2 * (max(below - bands.first, bands.stop - below) + 1) + BESIDE)
        if n > MOST or len(levels.energies) == pencil.n_levels:
            break
    first = (levels.first or 0) + 1
    raise DataError(
        f"{bands} are not among the {len(levels.energies)} levels nearest {bands.center:.4f} eV, which are bands {first} to "
        f"{first + len(levels.energies) - 1}; give an energy nearer to them (--center EV)"
    )


def _holds(levels: Levels, bands: Bands, n_all: int) -> bool:
    """Whether the bands are there, and the distance to the nearest other one is known."""
    first = levels.first or 0
    last = first + len(levels.energies)
    if not (first <= bands.first and bands.stop <= last):
        return False
    known = first < bands.first or not bands.first, bands.stop < last or bands.stop == n_all
    return known[int(np.argmin(_beside(levels, bands, n_all)))]


def _beside(levels: Levels, bands: Bands, n_all: int) -> tuple[float, float]:
    """Distances to the next levels below and above, eV; of one that was not found, beyond a wide gap, a distance that it has at least.

    The levels found are those nearest to a centre: none that is missing lies closer to it than the farthest of them.
    """
    E, start = levels.energies, bands.first - (levels.first or 0)
    stop, reach = start + bands.size, float(np.abs(E - bands.center).max())
    below = E[start] - (E[start - 1] if start else bands.center - reach) if bands.first else np.inf
    above = (E[stop] if stop < len(E) else bands.center + reach) - E[stop - 1] if bands.stop < n_all else np.inf
    return float(below), float(above)


def _group(levels: Levels, bands: Bands, n_all: int) -> Group:
    start = bands.first - (levels.first or 0)
    part = slice(start, start + bands.size)
    return Group(levels.energies[part], levels.vectors[:, part], *_beside(levels, bands, n_all))
