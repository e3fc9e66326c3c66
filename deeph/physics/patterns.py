"""Matrices of one structure on one pattern of pairs of atoms: which there are, and how they get there."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.pairs import find_pairs
from deeph.physics.system import System
from deeph.runtime.errors import DataError

EXTRA = {"density_matrix": True, "H0": True, "kinetic": False}
"""Further matrices a structure may carry, and whether their blocks have the spin of H: the density matrix (of each spin: for spin "none"
its trace with S is half the number of electrons), a zeroth-order Hamiltonian (eV) and the kinetic energy (eV)."""
MAX_SPIN_OF_OVERLAP = 1e-8
"""Largest accepted imaginary or spin-dependent part of an overlap: rounding of single precision stays below."""


def on_union(system: System, basis: Basis, H: PairBlocks, S: PairBlocks) -> tuple[PairBlocks, PairBlocks]:
    """Bring H and S on the union of their patterns; missing blocks are zero."""
    both = on_common_pattern(system, basis, {"S": S, "H": H})
    return both["H"], both["S"]


def on_common_pattern(system: System, basis: Basis, matrices: Mapping[str, PairBlocks]) -> dict[str, PairBlocks]:
    """Bring matrices on the union of their patterns; missing blocks are zero.

    Parameters
    ----------
    system, basis : System, Basis
        They tell the shapes of the blocks.
    matrices : mapping of name to PairBlocks
        S, H, r and the names in :data:`EXTRA`; the pairs of the first one come first.

    Raises
    ------
    DataError
        If a block has another shape than the basis asks for.
    """
    pairs = next(iter(matrices.values())).pairs
    for blocks in matrices.values():
        if blocks.pairs is not pairs and not np.array_equal(blocks.pairs, pairs):
            pairs = np.concatenate([pairs, blocks.pairs[find_pairs(pairs, blocks.pairs) < 0]])
    out = {}
    for name, blocks in matrices.items():
        shapes = block_shapes(basis, system.numbers, pairs, spin=name == "H" or EXTRA.get(name, False))
        if np.array_equal(blocks.pairs, pairs):
            out[name] = blocks
            continue
        known = find_pairs(pairs, blocks.pairs)
        wrong = np.flatnonzero((shapes[known] != blocks.shapes).any(axis=1))
        if len(wrong):
            R1, R2, R3, i, j = blocks.pairs[wrong[0]].tolist()
            raise DataError(
                f"block {name}(R = {R1} {R2} {R3}, i = {i}, j = {j}) is {blocks.shapes[wrong[0]].tolist()}, but the basis "
                f"{basis.to_symbols()} with spin '{basis.spin}' asks for {shapes[known][wrong[0]].tolist()}"
            )
        out[name] = blocks.on_pattern(pairs, shapes)
    return out


def spin_free_overlap(system: System, basis: Basis, S: PairBlocks) -> PairBlocks:
    """The n x n overlap, also where it is stored as the spin-diagonal 2n x 2n one [[S, 0], [0, S]], or as complex numbers.

    Raises
    ------
    DataError
        If it depends on spin or is not real: then it is no overlap.
    """
    shapes = block_shapes(basis, system.numbers, S.pairs, spin=False)
    doubled = bool(S.n_pairs) and np.array_equal(S.shapes, 2 * shapes)
    rest = float(np.abs(S.entries.imag).max(initial=0.0)) if np.iscomplexobj(S.entries) else 0.0
    if doubled:
        half = S.mapped(lambda blocks, _: blocks[..., : blocks.shape[-2] // 2, : blocks.shape[-1] // 2])
        rest = max(rest, float(np.abs(S.entries - half.to_spinor().entries).max(initial=0.0)))
        S = half
    if rest > MAX_SPIN_OF_OVERLAP:
        raise DataError(
            f"the overlap has parts of {rest:.1e} that are not real and the same for both spins; expected real n x n blocks, or "
            "[[S, 0], [0, S]]: is it another matrix, or of another code's layout?"
        )
    return replace(S, entries=np.ascontiguousarray(S.entries.real))
