"""Bring two descriptions of one structure to the same atom order and the same cells."""

from dataclasses import replace

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

TOLERANCE = 1e-3
"""Largest difference of positions and lattice vectors of the same structure, Angstrom."""


def match_atoms(reference: System, other: System) -> tuple[IntArray, IntArray]:
    """Find each atom of one structure in another.

    Returns
    -------
    order : (n_atoms,) int array
        ``other atom order[a]`` is atom a of the reference.
    cells : (n_atoms, 3) int array
        Lattice vector from atom a of the reference to the position the other structure gives it.

    Raises
    ------
    DataError
        If the two are not the same structure within :data:`TOLERANCE`.
    """
    from scipy.spatial import cKDTree

    if reference.n_atoms != other.n_atoms:
        raise DataError(f"{reference.formula} and {other.formula} cannot be compared: {reference.n_atoms} and {other.n_atoms} atoms")
    strain = float(np.abs(reference.cell - other.cell).max())
    if strain > TOLERANCE:
        raise DataError(f"the lattice vectors differ by up to {strain:.3g} Angstrom; expected the same cell, vectors in the same order")
    tree = cKDTree(_wrapped(other.fractional), boxsize=1.0)
    _, order = tree.query(_wrapped(reference.fractional))
    shift = other.fractional[order] - reference.fractional
    cells = np.rint(shift).astype(np.int64)
    distance = np.linalg.norm((shift - cells) @ reference.cell, axis=1)
    worst = int(np.argmax(distance))
    if distance[worst] > TOLERANCE:
        raise DataError(
            f"atom {worst + 1} ({reference.symbols[worst]}) has no counterpart: the nearest atom of the other structure is "
            f"{distance[worst]:.3g} Angstrom away (same structure means {TOLERANCE:g}, without a shift of the origin)"
        )
    if len(np.unique(order)) != len(order) or (reference.numbers != other.numbers[order]).any():
        raise DataError("the atoms at the same positions are different elements, or two atoms lie on top of each other")
    return np.asarray(order, np.int64), cells


def _wrapped(fractional: FloatArray) -> FloatArray:
    inside = fractional % 1.0
    return np.where(inside >= 1.0, 0.0, inside)  # -1e-17 % 1.0 is 1.0


def aligned(reference: Hamiltonian, other: Hamiltonian) -> Hamiltonian:
    """The other Hamiltonian with the atom order and the cell labels R of the reference.

    Raises
    ------
    DataError
        If structure, shells or spin differ.
    """
    if not (reference.S.pairs[:, :3].any() or other.S.pairs[:, :3].any()):  # molecules, each in a box of its own
        other = replace(other, system=replace(other.system, cell=reference.system.cell))
    order, cells = match_atoms(reference.system, other.system)
    shells = {z: (reference.basis.shells[z], other.basis.shells[z]) for z in set(reference.system.numbers.tolist())}
    if reference.basis.spin != other.basis.spin or any(a != b for a, b in shells.values()):
        seen = [f"{h.basis.to_symbols()} with spin '{h.basis.spin}'" for h in (reference, other)]
        raise DataError(f"the two Hamiltonians have different bases: {seen[0]} and {seen[1]}")
    moved = other.permuted(order)

    def relabel(blocks: PairBlocks) -> PairBlocks:
        pairs = blocks.pairs.copy()
        pairs[:, :3] += cells[pairs[:, 4]] - cells[pairs[:, 3]]
        return replace(blocks, pairs=pairs)

    H, S = relabel(moved.hamiltonian), relabel(moved.S)
    return replace(moved, system=reference.system, H=H, S=S, r=None, error_bars=None)
