"""Position matrices about the middle of their two cells, where they are Hermitian.

r(R) = <phi_i, 0 | r | phi_j, R> from the lattice origin is not Hermitian: its partner is r(-R)^T + R S(R). W(R) = r(R) - R/2 S(R) is,
and the connection of the basis in the lattice gauge, <u_i| i d/dk |u_j>, is W(k) + (i/2) dS/dk.
"""

from dataclasses import replace

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import FloatArray


def centred_positions(r: PairBlocks, S: PairBlocks, cell: FloatArray) -> PairBlocks:
    """W = r - R/2 S of position matrices r (Angstrom, three components, from the lattice origin) on the pattern of S."""
    return _shifted(r, S, cell, -0.5)


def positions_from_origin(W: PairBlocks, S: PairBlocks, cell: FloatArray) -> PairBlocks:
    """The reverse of :func:`centred_positions`."""
    return _shifted(W, S, cell, 0.5)


def positions_on_atoms(S: PairBlocks, atoms: FloatArray) -> PairBlocks:
    """W in the approximation that the charge phi_i phi_j lies half way between the atoms: (tau_i + tau_j)/2 S, atoms (n_atoms, 3)."""
    middle = (atoms[S.pairs[:, 3]] + atoms[S.pairs[:, 4]]) / 2
    return replace(S, entries=np.repeat(middle.T, S.shapes.prod(axis=1), axis=1) * S.entries)


def _shifted(r: PairBlocks, S: PairBlocks, cell: FloatArray, share: float) -> PairBlocks:
    R = share * (S.pairs[:, :3] @ cell)
    return replace(r, entries=r.entries + np.repeat(R.T, S.shapes.prod(axis=1), axis=1) * S.entries)
