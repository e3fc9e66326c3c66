"""Equal structures, however their atoms are ordered, shifted, turned or mirrored.

Two structures are duplicates if they have the same elements, the same distances between these up to :data:`REACH`, the same magnetic order,
and Hamiltonians of the same size at each atom: the norms of its on-site block and of all its blocks. Magnetic order is told by the exchange
fields b_i = 1/2 tr(sigma H_ii): by b_i.b_j of all neighbours, and of spinors by |b_i.r_ij|, their direction in the lattice. All of these
are invariant under permutations, translations, rotations and reflections, as the network is, and under time reversal. Supercells are other
structures, and so is another energy zero; equal lists of distances in different structures, which exist but not by accident, are told apart
only by H.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.layers import across_vacuum, heights, spacing_of_planes
from deeph.physics.magnetism import exchange_fields
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import FloatArray, System

REACH = 12.0
"""Distances that are compared, Angstrom: three layers stacked ABA or ABC have the same ones up to 6.7."""
NEAR = 8.0
"""Angstrom; up to where the exchange fields of neighbours are compared."""
TINY = 1e-9
"""eV, Angstrom; a smaller exchange field is none, and a smaller distance too."""
LENGTH = 2e-6
"""Accepted difference of two distances, Angstrom: structure files have six digits or more."""
ENERGY = 0.05
"""Accepted difference of two norms, eV: H on the real-space grid of a DFT code changes by as much if the structure is moved."""


@dataclass(frozen=True)
class Signature:
    """What is the same for equal structures.

    Attributes
    ----------
    kind : tuple
        Number of atoms of each element, and spin.
    lengths : dict of (int, int) to (n,) array
        Sorted distances of each two elements, each pair twice; Angstrom.
    norms : dict of int to (2, n_atoms) array
        For the atoms of each element the sorted norms of their on-site blocks of H, and of all their blocks, eV; of S where there is no H.
    order : dict of (int, int) to (2, n) array
        Of the same pairs in any order: b_i.b_j over the largest b of all, and |b_i.r_ij| / r_ij (0 without spinors), eV; falling to 0 at
        :data:`NEAR`.
    """

    kind: tuple[object, ...]
    lengths: Mapping[tuple[int, int], FloatArray]
    norms: Mapping[int, FloatArray]
    order: Mapping[tuple[int, int], FloatArray]

    @classmethod
    def of(cls, data: Hamiltonian) -> "Signature":
        """The signature of a structure."""
        system, blocks = cut_open(data.system), data.S if data.H is None else data.H
        z = system.numbers
        elements, counts = np.unique(z, return_counts=True)
        pairs = neighbour_pairs(system, dict.fromkeys(elements.tolist(), REACH / 2))
        pairs = pairs[~is_onsite(pairs)]
        vectors, ends = pair_vectors(system, pairs), np.sort(z[pairs[:, 3:]], axis=1)
        length = np.linalg.norm(vectors, axis=1)
        members = {(a, b): np.flatnonzero((ends == (a, b)).all(axis=1)) for a, b in np.unique(ends, axis=0).tolist()}
        lengths = {kind: np.sort(length[rows]) for kind, rows in members.items()}
        squares = np.add.reduceat((np.abs(blocks.entries) ** 2).sum(axis=0), blocks.offsets[:-1])
        atom, own = blocks.pairs[:, 3], is_onsite(blocks.pairs)
        sums = np.sqrt([np.bincount(atom[rows], squares[rows], system.n_atoms) for rows in (own, slice(None))])
        norms = {int(e): np.sort(sums[:, z == e], axis=1) for e in elements}
        field, order = exchange_fields(data), {}
        largest = np.linalg.norm(field, axis=1).max(initial=TINY)
        for kind, rows in members.items():
            apart = np.maximum(length[rows, None], TINY)  # two atoms at one place have no direction
            b, other, along = field[pairs[rows, 3]], field[pairs[rows, 4]], vectors[rows] / apart
            near = np.clip(1 - (length[rows] / NEAR) ** 2, 0, None)
            towards = np.abs((b * along).sum(axis=1)) * (data.basis.spin == "spinor")
            order[kind] = near * [(b * other).sum(axis=1) / largest, towards]
        return cls((*zip(elements.tolist(), counts.tolist(), strict=True), data.basis.spin, data.H is None), lengths, norms, order)

    @property
    def shortest(self) -> float:
        """Shortest distance, Angstrom; :data:`REACH` for an isolated atom."""
        return min((float(lengths[0]) for lengths in self.lengths.values()), default=REACH)

    def same_geometry(self, other: "Signature") -> bool:
        """Whether elements and distances are those of the other; a pair just at the end of the reach may be on one list only."""
        if self.kind != other.kind or self.lengths.keys() != other.lengths.keys():
            return False
        for kind, mine in self.lengths.items():
            theirs = other.lengths[kind]
            n = min(len(mine), len(theirs))
            rest = np.concatenate([mine[n:], theirs[n:]])
            if np.abs(mine[:n] - theirs[:n]).max() > LENGTH or rest.min(initial=REACH) < REACH - LENGTH:
                return False
        return True

    def same_matrices(self, other: "Signature") -> bool:
        """Whether norms and magnetic order are those of the other, whose geometry is the same."""
        if any(np.abs(mine - other.norms[z]).max() >= ENERGY for z, mine in self.norms.items()):
            return False
        for kind, mine in self.order.items():
            both, n = (mine, other.order[kind]), max(mine.shape[1], other.order[kind].shape[1])
            a, b = (np.sort(np.pad(x, ((0, 0), (0, n - x.shape[1]))), axis=1) for x in both)  # at the end of the reach they are 0
            if np.abs(a - b).max() >= ENERGY:
                return False
        return True


def cut_open(system: System) -> System:
    """The same without images across empty space: a molecule has the same distances however it is turned in its box."""
    positions, open_along = system.fractional.copy(), across_vacuum(system)
    for axis in np.flatnonzero(open_along).tolist():
        above, _ = heights(system, axis)
        positions[:, axis] = above / spacing_of_planes(system, axis)
    pbc = (np.array(system.pbc) & ~open_along).tolist()
    return System(system.cell, positions @ system.cell, system.numbers, (pbc[0], pbc[1], pbc[2]))


def equal_structures(signatures: Mapping[str, Signature]) -> list[list[str]]:
    """Names of structures of equal geometry, two or more together, in the order given."""
    position = {name: n for n, name in enumerate(signatures)}
    order = sorted(signatures, key=lambda name: (str(signatures[name].kind), signatures[name].shortest))
    group = {name: name for name in signatures}
    for n, name in enumerate(order):
        mine = signatures[name]
        for other in order[n + 1 :]:  # those with about the same shortest distance
            theirs = signatures[other]
            if theirs.kind != mine.kind or theirs.shortest > mine.shortest + LENGTH:
                break
            if group[other] != group[name] and mine.same_geometry(theirs):
                group = {one: group[name] if g == group[other] else g for one, g in group.items()}
    members: dict[str, list[str]] = {}
    for name in sorted(signatures, key=position.__getitem__):
        members.setdefault(group[name], []).append(name)
    return [names for names in members.values() if len(names) > 1]


def duplicates(signatures: Mapping[str, Signature]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Names of duplicates with the one of them that comes first, and pairs of equal geometry with other matrices."""
    twice: dict[str, str] = {}
    different: list[tuple[str, str]] = []
    for names in equal_structures(signatures):
        kept: list[str] = []
        for name in names:
            first = next((k for k in kept if signatures[k].same_matrices(signatures[name])), None)
            if first is not None:
                twice[name] = first
                continue
            different += [(kept[0], name)] if kept else []
            kept.append(name)
    return twice, different
