"""Errors of one Hamiltonian against another, entry by entry."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.difference import Errors, Table, sum_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, OWN
from deeph.physics.pairs import find_pairs
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.compare.match import aligned

TURNED = 10.0
"""Degrees; moments that differ by more are those of another magnetic state."""


@dataclass(frozen=True)
class MatrixComparison:
    """How far H is from a reference.

    Attributes
    ----------
    raw : Errors
        H - H_ref as it stands.
    projected : Errors
        H - H_ref - mu S: without the common energy zero, which changes no band structure.
    energy_zero : float
        mu = <H - H_ref, S>/<S, S>, meV.
    by_site, by_elements, by_distance, by_shells : dict of str to Errors
        Parts of the projected error: on-site and off-site blocks, element pairs, bins of 1 Angstrom (off-site only), pairs of shells.
    by_spin, spin_sizes : dict of str to Errors
        The projected error, and the reference without its energy zero, by parts of the spin; empty without spin.
    overlap_difference : float
        Largest difference of the two overlaps, 1.
    only_reference, only_other : tuple of int and float
        Number of blocks that only one of the two has, and the largest entry of H in them, meV; they are compared with zero.
    """

    raw: Errors
    projected: Errors
    energy_zero: float
    by_site: Table
    by_elements: Table
    by_distance: Table
    by_shells: Table
    by_spin: Table
    spin_sizes: Table
    overlap_difference: float
    only_reference: tuple[int, float]
    only_other: tuple[int, float]


def compare_hamiltonians(reference: Hamiltonian, other: Hamiltonian) -> MatrixComparison:
    """Compare two Hamiltonians of the same structure in the same basis.

    Parameters
    ----------
    reference, other : Hamiltonian
        Atom order, the cell in which an atom is placed, and the patterns may differ.

    Raises
    ------
    DataError
        If H is missing, or structure, shells or spin differ.
    """
    other = aligned(reference, other)
    _warn_of_moments(reference, other)
    system, basis, H_ref, H = reference.system, reference.basis, reference.hamiltonian, other.hamiltonian
    if not H_ref.n_pairs:
        raise DataError("the reference holds no blocks at all")
    new = find_pairs(H_ref.pairs, H.pairs) < 0
    lost = find_pairs(H.pairs, H_ref.pairs) < 0
    pairs = np.concatenate([H_ref.pairs, H.pairs[new]])
    shapes, shapes_S = (block_shapes(basis, system.numbers, pairs, spin=spin) for spin in (True, False))
    S = reference.S.on_pattern(pairs, shapes_S)
    overlap = S.entries - other.S.on_pattern(pairs, shapes_S).entries
    sums, mu = sum_errors(system, basis, H.on_pattern(pairs, shapes), H_ref.on_pattern(pairs, shapes), S)
    return MatrixComparison(
        raw=sums.table("total")["raw"],
        projected=sums.table("total")["projected"],
        energy_zero=mu,
        by_site=sums.table("by_site"),
        by_elements=sums.table("by_elements"),
        by_distance=sums.table("by_distance"),
        by_shells=sums.table("by_shells"),
        by_spin=sums.table("by_spin"),
        spin_sizes=sums.table("spin_sizes"),
        overlap_difference=float(np.abs(overlap).max(initial=0.0)),
        only_reference=_largest(H_ref, lost),
        only_other=_largest(H, new),
    )


def _warn_of_moments(reference: Hamiltonian, other: Hamiltonian) -> None:
    """Say so where the two are different magnetic states of one structure."""
    first, second = reference.moments, other.moments
    if first is None or second is None:
        return
    sizes = [np.linalg.norm(m, axis=1) for m in (first, second)]
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second), axis=1), (first * second).sum(axis=1)))
    own = sizes[0] >= max(OWN * sizes[0].max(initial=0.0), MOMENT)
    lost = own & (sizes[1] < sizes[0] / 2)
    turned = own & ~lost & (angle > TURNED)
    if turned.any():
        atom = int(np.argmax(np.where(turned, angle, 0)))
        logger.warning(
            "two magnetic states are compared: the moments of %d atoms are turned by more than %g degrees, that of atom %d (%s) by %.1f",
            turned.sum(), TURNED, atom + 1, reference.system.symbols[atom], angle[atom],
        )  # fmt: skip
    if lost.any():
        atom = int(np.argmax(lost))
        logger.warning(
            "two magnetic states are compared: %d atoms with moments in A have less than half of them in B, the first atom %d (%s)",
            lost.sum(), atom + 1, reference.system.symbols[atom],
        )  # fmt: skip


def _largest(H: PairBlocks, members: npt.NDArray[np.bool_]) -> tuple[int, float]:
    chosen = H.selected(np.flatnonzero(members))
    return chosen.n_pairs, 1e3 * float(np.abs(chosen.entries).max(initial=0.0))
