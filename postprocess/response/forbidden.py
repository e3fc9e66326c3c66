"""Which components of tensors of light the symmetry of a structure forbids; see :mod:`postprocess.geometry.allowed`."""

from itertools import combinations

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from postprocess.geometry.allowed import forbidden_components
from postprocess.response.measure import Measure

Mask = npt.NDArray[np.bool_]


def forbidden_conductivity(hamiltonian: Hamiltonian, size: Measure, *, reversal: bool) -> Mask:
    """(d, d) of conductivity and dielectric tensor, which are symmetric where time reversal holds."""
    return forbidden_components(hamiltonian, ("polar", "polar"), (size.frame, size.frame), "swapped", exchange=int(reversal))


def forbidden_third_rank(kind: str, hamiltonian: Hamiltonian, size: Measure, *, reversal: bool) -> Mask:
    """(2, d, d, d) of the real part and of the imaginary part of a response of second order; ``reversal``: time reversal holds.

    Shift currents do not change under time reversal, and have no imaginary part. The injection current of linear light changes its sign,
    that of circular light, an axial vector E x E*, does not. The second harmonic has a part of each kind, both complex. But for circular
    light the last two axes, those of the fields, may be exchanged.
    """
    frames = (size.frame,) * 3
    even = forbidden_components(hamiltonian, ("polar",) * 3, frames, "even", exchange=1)
    odd = (
        forbidden_components(hamiltonian, ("polar",) * 3, frames, "odd", exchange=1) | reversal
    )  # of H without spin the group has no time reversal
    if kind == "shift":
        return np.stack([even, np.ones_like(even)])
    if kind == "harmonic":
        return np.stack([even & odd] * 2)
    return np.stack([odd, _circular(hamiltonian, size)])


def _circular(hamiltonian: Hamiltonian, size: Measure) -> Mask:
    """(d, d, d) of tensors antisymmetric in b and c, which stand for the components of an axial vector along the normal of b and c."""
    d = size.dimension
    out = np.ones((d, d, d), bool)
    for b, c in combinations(range(d), 2):
        normal = np.cross(size.frame[b], size.frame[c])
        out[:, b, c] = out[:, c, b] = forbidden_components(hamiltonian, ("polar", "axial"), (size.frame, normal[None]))[:, 0]
    return out
