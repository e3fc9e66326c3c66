"""Hermitian matrices from those that are not quite: predictions in single precision, blocks without their partner."""

import logging
from dataclasses import replace

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.patterns import on_union
from deeph.physics.positions import centred_positions, positions_from_origin
from deeph.runtime.log import logger

SYMMETRY_TOLERANCE = {"H": 1e-6, "S": 1e-8}
"""Deviations from Hermiticity, eV and 1, that are rounding noise of a DFT code: left as they are, the lower triangle counts."""


def hermitian(hamiltonian: Hamiltonian) -> Hamiltonian:
    """The same with Hermitian H and S; a missing block (-R, j, i) is filled from its partner, also of position matrices."""

    def clean(name: str, blocks: PairBlocks) -> PairBlocks:
        error = blocks.hermiticity_error()
        if error <= SYMMETRY_TOLERANCE[name]:
            return blocks
        missing = int((blocks.partners < 0).sum())
        seen = f"{missing} blocks (R, i, j) lack their partner (-R, j, i)" if missing else f"it deviates by up to {error:.3g}"
        level = logging.WARNING if error > 100 * SYMMETRY_TOLERANCE[name] else logging.INFO  # single precision is no news
        logger.log(level, "%s is not Hermitian: %s; continuing with (%s + %s^dagger)/2", name, seen, name, name)
        return blocks.hermitized()

    H, S = clean("H", hamiltonian.hamiltonian), clean("S", hamiltonian.S)
    if H is hamiltonian.H and S is hamiltonian.S:
        return hamiltonian
    if not np.array_equal(H.pairs, S.pairs):
        H, S = on_union(hamiltonian.system, hamiltonian.basis, H, S)
    cell, r, bars = hamiltonian.system.cell, hamiltonian.r, hamiltonian.error_bars
    if r is not None:
        W = centred_positions(r, hamiltonian.S, cell).hermitized()
        r = positions_from_origin(W.on_pattern(S.pairs, S.shapes), S, cell)
    if bars is not None:
        bars = bars.on_pattern(hamiltonian.S.pairs, H.pairs, H.shapes)
    return replace(hamiltonian, H=H, S=S, r=r, error_bars=bars)
