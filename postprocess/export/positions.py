"""The position matrix of an export: that of the structure, or the named approximation where there is none."""

from dataclasses import replace

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian

APPROXIMATION = "r approximated as (tau_i + tau_j)/2 S_ij, for there is no position matrix"
EXACT = "r from the position matrix"


def position_blocks(h: Hamiltonian) -> tuple[PairBlocks, str]:
    """<i, 0 | r | j, R> in Angstrom from the lattice origin, three components, and in words where it comes from.

    The approximation puts the charge of a pair half way between its atoms: tau_i in the home cell, tau_j in the cell R.
    """
    if h.r is not None:
        return h.r, EXACT
    i, j, R = h.S.pairs[:, 3], h.S.pairs[:, 4], h.S.pairs[:, :3]
    middle = (h.system.positions[i] + h.system.positions[j] + R @ h.system.cell) / 2
    sizes = h.S.shapes.prod(axis=1)
    return replace(h.S, entries=np.repeat(middle.T, sizes, axis=1) * h.S.entries), APPROXIMATION
