"""Some levels of one pencil H(k), S(k): the result of every solver."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.log import logger

Array = npt.NDArray[Any]
GHOST_WEIGHT = 1e-5
"""A level whose c^dagger S c / c^dagger c is smaller consists of nearly dependent orbitals."""


@dataclass(frozen=True)
class Levels:
    """Levels of one pencil, ascending.

    Attributes
    ----------
    energies : (m,) array
        eV.
    vectors : (n, m) array
        Coefficients, c^dagger S c = 1.
    residuals : (m,) array
        |H c - E S c| / |S c|, eV; NaN where there are no vectors.
    first : int or None
        How many levels lie below the first one; None if not known.
    complete : bool or None
        True: inertia proves that no level between the first and the last is missing. None: not checked.
    """

    energies: FloatArray
    vectors: Array
    residuals: FloatArray
    first: int | None
    complete: bool | None

    @property
    def overlap_weights(self) -> FloatArray:
        """(m,) c^dagger S c / c^dagger c of each level, never below the smallest eigenvalue of S: tiny for a ghost level."""
        return np.asarray(1 / np.linalg.norm(self.vectors, axis=0) ** 2)

    def chosen(self, which: npt.NDArray[np.int64], first: int | None, complete: bool | None) -> "Levels":
        """Some of the levels, ascending, with what is known about them; ghosts are reported."""
        order = which[np.argsort(self.energies[which])]
        levels = Levels(self.energies[order], self.vectors[:, order], self.residuals[order], first, complete)
        if len(order) and levels.vectors.size and levels.overlap_weights.min() < GHOST_WEIGHT:
            logger.warning(
                "levels near %.4f eV may be ghosts: c^dagger S c / c^dagger c = %.1e, the orbitals are nearly dependent; project them out",
                levels.energies[int(np.argmin(levels.overlap_weights))],
                levels.overlap_weights.min(),
            )
        return levels

    def log(self, k: FloatArray) -> None:
        """Tell the user how many there are, how exact, and whether they are complete."""
        worst = self.residuals.max(initial=0.0)
        proof = "counts prove that none is missing" if self.complete else "not proved that none is missing"
        logger.info("k = %s: %d levels, residual %.1e eV, %s", np.round(k, 6).tolist(), len(self.energies), worst, proof)
