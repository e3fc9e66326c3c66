"""Which image of an atom the cells of a code refer to, found from the overlap.

A code may move atoms by lattice vectors before it labels the cells R of its blocks. Blocks of near images are large and blocks of far ones
small, so the right choice is the one in which the overlap is shortest.
"""

import itertools

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from deeph.physics.blocks import PairBlocks
from deeph.physics.pairs import pair_vectors
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

NEIGHBOURS = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
STRONG = 1e-2
"""Pairs of atoms with at least this part of the largest squared overlap have to agree with the images found."""
MARGIN = 0.5
"""By how much (Angstrom) another image of such a pair may be nearer; skewed cells have atoms half-way between images."""


def home_cells(system: System, S: PairBlocks) -> IntArray:
    """Lattice vectors by which a code has moved the atoms.

    Parameters
    ----------
    system : System
        Atoms where the user put them.
    S : PairBlocks
        Overlap with the cells R of the code.

    Returns
    -------
    (n_atoms, 3) int array
        The code has atom a at ``positions[a] + shifts[a] @ cell``; for the atoms of ``system`` the cell of a pair is
        ``R + shifts[j] - shifts[i]``. Atoms that overlap neither directly nor through others have no common zero; it does not matter.

    Raises
    ------
    DataError
        If no choice of images makes the large blocks short: these are not the atoms of the matrices.
    """
    i, j, weight, centre = _bonds(system, S)
    shifts = np.zeros((system.n_atoms, 3), np.int64)
    if not len(i):
        return shifts
    wanted = _shortest(system, centre)
    tree = minimum_spanning_tree(coo_array((weight.max() / weight, (i, j)), shape=(system.n_atoms,) * 2).tocsr())
    bond = {(a, b): n for n, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    n_groups, group = connected_components(tree, directed=False)
    for n in range(n_groups):
        order, parent = breadth_first_order(tree, int(np.argmax(group == n)), directed=False)
        for atom in order[1:].tolist():
            above = int(parent[atom])
            step = wanted[bond[above, atom]] if (above, atom) in bond else -wanted[bond[atom, above]]
            shifts[atom] = shifts[above] + step
    _check(system, weight, centre, (i, j, wanted), shifts)
    return shifts


def _bonds(system: System, S: PairBlocks) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """For each pair of atoms i < j with overlap: its squared overlap, and the mean vector from i to j weighted with it."""
    square = np.add.reduceat(S.entries[0] ** 2, S.offsets[:-1]) if S.n_pairs else np.zeros(0)
    keep = np.flatnonzero((S.pairs[:, 3] < S.pairs[:, 4]) & (square > 0))
    code = S.pairs[keep, 3] * system.n_atoms + S.pairs[keep, 4]
    value, inverse = np.unique(code, return_inverse=True)
    weight = np.bincount(inverse, square[keep], len(value))
    vectors = pair_vectors(system, S.pairs[keep])
    centre = np.stack([np.bincount(inverse, square[keep] * x, len(value)) for x in vectors.T], axis=1) / weight[:, None]
    i, j = value // system.n_atoms, value % system.n_atoms
    return i.astype(np.int64), j.astype(np.int64), np.asarray(weight, np.float64), centre


def _shortest(system: System, vectors: FloatArray) -> IntArray:
    """(n, 3) lattice vectors that make each vector shortest when added to it."""
    near = -np.rint(np.linalg.solve(system.cell.T, vectors.T).T).astype(np.int64)
    trial = near[:, None] + NEIGHBOURS
    length = np.linalg.norm(vectors[:, None] + trial @ system.cell, axis=-1)
    return np.asarray(trial[np.arange(len(vectors)), length.argmin(axis=1)])


def _check(system: System, weight: FloatArray, centre: FloatArray, bonds: tuple[IntArray, IntArray, IntArray], shifts: IntArray) -> None:
    """The images chosen along the tree are the near ones for all strong pairs."""
    i, j, wanted = bonds
    chosen = np.linalg.norm(centre + (shifts[j] - shifts[i]) @ system.cell, axis=1)
    excess = np.where(weight > STRONG * weight.max(), chosen - np.linalg.norm(centre + wanted @ system.cell, axis=1), 0.0)
    worst = int(excess.argmax())
    if excess[worst] > MARGIN:
        raise DataError(
            f"the overlap of atoms {i[worst] + 1} and {j[worst] + 1} belongs to {chosen[worst]:.1f} Angstrom, but there is a nearer image: "
            "cell or positions are not those of the matrices"
        )
