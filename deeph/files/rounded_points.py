"""k-points as codes print them, with six digits, recognized as those of a mesh."""

import numpy as np

from deeph.physics.system import FloatArray

MAX_DIVISIONS = 400
"""Largest denominator that rounded coordinates of k-points are recognized for: meshes of 200, shifted by half a step."""
ROUNDING = 3e-6
"""Largest error of a printed coordinate: six digits."""


def denominator(x: FloatArray) -> int:
    """The smallest even n such that all n x are integers within rounding; 0 if there is none."""
    for n in range(2, MAX_DIVISIONS + 1, 2):
        if np.abs(x * n - np.rint(x * n)).max(initial=0.0) < ROUNDING * n:
            return n
    return 0


def exact_points(k: FloatArray) -> FloatArray:
    """(n_k, 3) k-points printed with six digits, moved onto the mesh they are recognized to belong to."""
    out = k.copy()
    for axis in range(3):
        if n := denominator(k[:, axis]):
            out[:, axis] = np.rint(k[:, axis] * n) / n
    return out
