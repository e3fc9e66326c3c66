"""Counts of states with smeared levels: Gaussians, or the derivative of the Fermi-Dirac distribution."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeph.physics.system import FloatArray
from postprocess.states.mesh_levels import MeshLevels
from postprocess.states.tetrahedra import pieces, ragged

Smearing = Literal["gaussian", "fermi-dirac"]
REACH = {"gaussian": 9.0, "fermi-dirac": 40.0}
"""Widths after which a smeared level counts as entirely below or above."""


@dataclass(frozen=True)
class SmearedCount:
    """Every level widened to a Gaussian of standard deviation ``width``, or to -df/dE at k_B T = ``width``; see :class:`StateCount`."""

    levels: MeshLevels
    width: float
    kind: Smearing = "gaussian"

    def __call__(self, energies: FloatArray) -> FloatArray:
        """States below energies."""
        return np.stack([self._spin(e, w, energies) for e, w in zip(self.levels.energies, self.levels.weights, strict=True)])

    def _spin(self, levels: FloatArray, weights: FloatArray, grid: FloatArray) -> FloatArray:
        from scipy.special import expit, ndtr

        level, weight = levels.ravel(), (weights * self.levels.mesh.weights[:, None, None]).reshape(levels.size, -1)
        reach = REACH[self.kind] * self.width
        low, high = np.searchsorted(grid, level - reach, side="left"), np.searchsorted(grid, level + reach, side="right")
        out = np.stack([np.bincount(high, part, minlength=len(grid) + 1)[:-1].cumsum() for part in weight.T])
        inside = np.flatnonzero(high > low)
        for part in pieces(inside, high[inside] - low[inside]):
            which, place = ragged(low[part], high[part])
            x = (grid[place] - level[part[which]]) / self.width
            filled = ndtr(x) if self.kind == "gaussian" else expit(x)
            for p, w in enumerate(weight.T):
                out[p] += np.bincount(place, filled * w[part[which]], minlength=len(grid))
        return np.asarray(out)
