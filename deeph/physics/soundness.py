"""What any use of H and S takes for granted: numbers, partners, blocks on every atom, atoms apart."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, pair_vectors
from deeph.physics.system import IntArray, System
from deeph.runtime.errors import DataError

MAX_ASYMMETRY = 1e-6
"""Accepted |M - M^dagger| of H (eV) and S."""
MIN_DISTANCE = 0.3
"""Two atoms closer than this are at one place, Angstrom."""


def check_finite(data: Hamiltonian) -> None:
    """No NaN and no infinity in any matrix, nor in the magnetic moments."""
    if data.moments is not None and not np.isfinite(data.moments).all():
        atom = int(np.argmin(np.isfinite(data.moments).all(axis=1)))
        raise DataError(f"the magnetic moment of atom {atom + 1} ({data.system.symbols[atom]}) is NaN or infinite")
    for name, blocks in (("S", data.S), ("H", data.H), ("r", data.r), *data.extra.items()):
        if blocks is not None and not np.isfinite(blocks.entries).all():
            entry = int(np.argmin(np.isfinite(blocks.entries).all(axis=0)))
            R1, R2, R3, i, j = blocks.pairs[np.searchsorted(blocks.offsets, entry, side="right") - 1].tolist()
            raise DataError(f"{name} holds NaN or infinity in block R = {R1} {R2} {R3}, i = {i}, j = {j} (atoms counted from 0)")


def check_hermitian(data: Hamiltonian, accepted: float = MAX_ASYMMETRY) -> None:
    """Every pair has its partner (-R, j, i), and the blocks are each other's adjoint."""
    for name, blocks in (("S", data.S), ("H", data.H)):
        if blocks is None:
            continue
        lonely = np.flatnonzero(blocks.partners < 0)
        if len(lonely):
            R1, R2, R3, i, j = blocks.pairs[lonely[0]].tolist()
            raise DataError(
                f"{len(lonely)} of {blocks.n_pairs} blocks lack the partner (-R, j, i), e.g. R = {R1} {R2} {R3}, i = {i}, j = {j}"
            )
        error = blocks.hermiticity_error()
        if not error <= accepted:
            raise DataError(f"{name} differs from its Hermitian conjugate by {error:.1e}; expected below {accepted:g}")


def check_blocks(data: Hamiltonian) -> None:
    """Every atom has its on-site block, and some two atoms overlap."""
    onsite = is_onsite(data.S.pairs)
    missing = np.setdiff1d(np.arange(data.system.n_atoms), data.S.pairs[onsite, 3])
    if len(missing):
        raise DataError(f"{len(missing)} of {data.system.n_atoms} atoms, e.g. number {missing[0] + 1}, have no on-site block in S")
    if onsite.all():
        raise DataError("no pairs: no two atoms overlap, so that there is nothing to learn; cell or positions may be in other units")


def check_apart(data: Hamiltonian) -> None:
    """No two atoms, nor an atom and its image, are at one place."""
    pairs = data.S.pairs[~is_onsite(data.S.pairs)]
    r = np.linalg.norm(pair_vectors(data.system, pairs), axis=1)
    if len(r) and not r.min() >= MIN_DISTANCE:
        raise DataError(
            f"{pair_name(data.system, pairs[int(r.argmin())])} are {r.min():.3g} Angstrom apart; expected at least {MIN_DISTANCE:g} "
            "Angstrom between any two atoms, periodic images included: is an atom there twice, or the cell too small?"
        )


def pair_name(system: System, pair: IntArray) -> str:
    """Such as ``atoms 1 (Mo) and 3 (Se)``, counted from 1; images with their cell."""
    *R, i, j = pair.tolist()
    cell = f" in the cell {R[0]} {R[1]} {R[2]}" if any(R) else ""
    return f"atoms {i + 1} ({system.symbols[i]}) and {j + 1} ({system.symbols[j]}){cell}"
