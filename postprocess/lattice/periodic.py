"""Along which lattice vectors a structure is periodic, and the part of k that lies in its plane or along its axis.

The vacuum vector of a slab need not be normal to it. Bands depend on the components of k along the periodic lattice vectors alone, so
lengths, slopes and densities of k-points refer to the part of k in their span. It is found by making the vacuum vectors normal to that
span, which changes no energy: :func:`in_plane_reciprocal` gives the reciprocal vectors of that cell.
"""

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.layers import across_vacuum
from deeph.physics.system import FloatArray, IntArray, System

Flags = tuple[bool, bool, bool]
BRIDGE, BRIDGE_OVERLAP = 0.1, 0.01
"""Elements of H (eV), or of S where there is no H, above which blocks connect images across so much empty space: a chain of atoms 7
Angstrom apart that disperses. Tails stay below: water across 6.5 Angstrom has overlaps up to 4e-4 in def2-tzvp, across 10 Angstrom up to
5e-3 in aug-cc-pvdz (whose images 8 Angstrom apart, with 3e-2, are coupled indeed)."""


def periodic_directions(structure: System | Hamiltonian) -> Flags:
    """Along which lattice vectors the structure is periodic, so that bands may disperse.

    The lattice alone can tell only where no empty space cuts the structure, :data:`deeph.physics.layers.VACUUM` thick. Where the matrices
    are known they decide: a closed walk over blocks has to end in another cell along the lattice vector; across empty space, over blocks
    with elements above :data:`BRIDGE`. Closed walks, not the R of blocks: a molecule across the boundary of the cell has blocks with R
    other than zero.

    Parameters
    ----------
    structure : System or Hamiltonian
        A Hamiltonian wherever it is known.
    """
    system = structure if isinstance(structure, System) else structure.system
    whole = ~across_vacuum(system)
    if isinstance(structure, Hamiltonian):
        winding = winding_directions(structure.S.pairs, system.n_atoms)
        bridged = whole
        if (winding & ~whole).any():
            bridged = winding_directions(structure.S.pairs[_strong(structure)], system.n_atoms)
        whole = winding & (whole | bridged)
    a, b, c = (whole & np.array(system.pbc)).tolist()
    return a, b, c


def _strong(hamiltonian: Hamiltonian) -> npt.NDArray[np.bool_]:
    """(n_pairs,) which blocks have an element that connects across empty space."""
    blocks, limit = (hamiltonian.S, BRIDGE_OVERLAP) if hamiltonian.H is None else (hamiltonian.H, BRIDGE)
    return _largest(blocks) > limit


def _largest(blocks: PairBlocks) -> FloatArray:
    """(n_pairs,) the largest magnitude in each block, over all components."""
    out = np.zeros(len(blocks.pairs))
    for component in blocks.entries:
        np.maximum(out, np.maximum.reduceat(np.abs(component), blocks.offsets[: len(out)]), out=out)
    return out


def winding_directions(pairs: IntArray, n_atoms: int) -> npt.NDArray[np.bool_]:
    """(3,) along which lattice vectors some closed walk over pairs ends in another cell than it began in.

    Parameters
    ----------
    pairs : (n_pairs, 5) int array
        R1, R2, R3, i, j.
    n_atoms : int
        Atoms in the cell.

    Notes
    -----
    Each atom is given a cell by walking along a spanning tree of its cluster; only pairs that close a walk around the lattice then
    still connect different cells.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    if not pairs[:, :3].any():
        return np.zeros(3, bool)
    R, i, j = (np.concatenate([pairs[:, :3], -pairs[:, :3]]), *np.concatenate([pairs[:, 3:], pairs[:, :2:-1]]).T)
    n = n_atoms + 1
    clusters = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)[1]
    first = np.unique(clusters[:n_atoms], return_index=True)[1]
    row, column = np.append(i, np.full(len(first), n_atoms)), np.append(j, first)  # one root, n_atoms, for all clusters
    order, before = breadth_first_order(coo_array((np.ones(len(row), bool), (row, column)), shape=(n, n)).tocsr(), n_atoms)
    edge = i * n + j
    sort = np.argsort(edge)
    place = np.searchsorted(edge, before[:n_atoms].astype(np.int64) * n + np.arange(n_atoms), sorter=sort)
    cell = np.zeros((n_atoms, 3), np.int64)
    for atom in order[1:].tolist():
        if before[atom] != n_atoms:
            cell[atom] = cell[before[atom]] + R[sort[place[atom]]]
    return np.asarray((cell[i] + R != cell[j]).any(axis=0))


def straightened(cell: FloatArray, periodic: Flags) -> FloatArray:
    """(3, 3) the same lattice vectors, those across vacuum without their part in the span of the periodic ones."""
    axes = np.flatnonzero(periodic)
    span = np.linalg.qr(cell[axes].T)[0]
    return np.where(np.array(periodic)[:, None], cell, cell - cell @ span @ span.T)


def in_plane_reciprocal(structure: System | Hamiltonian) -> FloatArray:
    """(3, 3) vectors in rows with 2 pi, 1/Angstrom, that take fractional k to Cartesian k in the span of the periodic lattice vectors.

    A component of k across vacuum, which changes no energy, becomes normal to that span. For crystals and molecules, and wherever the
    vacuum vectors are normal, these are the reciprocal vectors.
    """
    system = structure if isinstance(structure, System) else structure.system
    return np.asarray(2 * np.pi * np.linalg.inv(straightened(system.cell, periodic_directions(structure))).T)


def equivalent(
    k: FloatArray, other: FloatArray, *, periodic: Flags = (True, True, True), time_reversal: bool = False, tolerance: float = 1e-6
) -> npt.NDArray[np.bool_]:
    """Whether wave vectors are the same up to a reciprocal lattice vector, so that they have the same levels.

    Parameters
    ----------
    k, other : (..., 3) arrays
        Fractional.
    periodic : tuple of 3 bool
        See :func:`periodic_directions`; components across vacuum do not matter.
    time_reversal : bool
        Whether -k counts as k, too: K and K'. Right for the energies of every H without magnetism, and of real H.
    tolerance : float
        Largest difference of a fractional component.

    Returns
    -------
    (...) bool array
    """
    axes = np.flatnonzero(periodic)
    a, b = np.asarray(k, float)[..., axes], np.asarray(other, float)[..., axes]

    def same(difference: FloatArray) -> npt.NDArray[np.bool_]:
        return np.asarray((np.abs(difference - np.rint(difference)) <= tolerance).all(axis=-1))

    return same(a - b) | same(a + b) if time_reversal else same(a - b)


def layer_normal(structure: System | Hamiltonian) -> FloatArray | None:
    """(3,) unit vector normal to a layer, from the side of which it is seen: its largest component is positive. None if it is no layer."""
    system = structure if isinstance(structure, System) else structure.system
    periodic = np.array(periodic_directions(structure))
    if periodic.sum() != 2:
        return None
    normal = np.cross(*system.cell[periodic])
    return np.asarray(normal / np.linalg.norm(normal) * np.sign(normal[np.argmax(np.abs(normal))]))
