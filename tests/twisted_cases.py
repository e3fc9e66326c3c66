"""Two-centre models of twisted bilayer graphene, one pi orbital an atom that overlaps with its neighbours, for tests and benchmarks."""

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from preprocess.structures.monolayer import graphene
from preprocess.structures.twist import twisted

BOND, SECOND, INTERLAYER, DECAY = 1.42, 2.46, 3.35, 0.453
"""Angstrom."""
PI, SIGMA = -2.7, 0.48
"""eV; Slater and Koster's integrals of neighbours in and across the layers, with the decay of P. Moon and M. Koshino,
doi:10.1103/PhysRevB.87.205404."""
SAME_LAYER = 1.0
"""Angstrom of height."""


def pi_bilayer(m, n, *, mass=0.0, haldane=0.0, overlap=0.1, cutoff=5.0):
    """Twisted bilayer graphene with indices (m, n): one orbital an atom, positions (tau_i + tau_j)/2 S.

    ``mass`` is added to the energy of one sublattice and subtracted from that of the other, ``haldane`` is the imaginary hopping to second
    neighbours of the same layer, ``overlap`` that of neighbours (its other elements follow H).
    """
    layer = graphene()
    system = twisted([layer, layer], indices=(m, n)).system
    basis = Basis({6: (0,)})
    pairs = neighbour_pairs(system, {6: cutoff / 2})
    d, onsite = pair_vectors(system, pairs), is_onsite(pairs)
    r = np.where(onsite, 1.0, np.linalg.norm(d, axis=1))
    up = (d[:, 2] / r) ** 2
    hop = PI * np.exp(-(r - BOND) / DECAY) * (1 - up) + SIGMA * np.exp(-(r - INTERLAYER) / DECAY) * up
    sign = sublattices(system, pairs, d, onsite)
    H = np.where(onsite, mass * sign[pairs[:, 3]], hop)
    S = np.where(onsite, 1.0, overlap * hop / PI)
    if haldane:
        H = H + 1j * haldane * chirality(system, pairs, d, onsite)
    shapes = np.ones((len(pairs), 2), int)
    return Hamiltonian(system, basis, PairBlocks(pairs, shapes, S), PairBlocks(pairs, shapes, H), n_electrons=float(system.n_atoms))


def _bonds(system, pairs, d, onsite):
    """Pairs of neighbours in a layer."""
    return np.flatnonzero(~onsite & (np.abs(d[:, 2]) < SAME_LAYER) & (np.linalg.norm(d, axis=1) < (BOND + SECOND) / 2))


def sublattices(system, pairs, d, onsite):
    """(n_atoms,) +1 or -1: neighbours in a layer have different signs; the first atom of each layer has +1."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    bonds = pairs[_bonds(system, pairs, d, onsite)]
    graph = coo_array((np.ones(len(bonds)), (bonds[:, 3], bonds[:, 4])), shape=(system.n_atoms,) * 2).tocsr()
    sign = np.zeros(system.n_atoms)
    for label in range(connected_components(graph)[0]):
        root = int(np.flatnonzero(connected_components(graph)[1] == label)[0])
        order, before = breadth_first_order(graph, root)
        sign[root] = 1
        for atom in order[1:]:
            sign[atom] = -sign[before[atom]]
    return sign


def chirality(system, pairs, d, onsite):
    """(n_pairs,) of second neighbours in a layer: +1 where the way over their common neighbour turns left, -1 where it turns right."""
    bonds = _bonds(system, pairs, d, onsite)
    second = (np.abs(d[:, 2]) < SAME_LAYER) & (np.abs(np.linalg.norm(d, axis=1) - SECOND) < 0.1)
    of_atom = [bonds[pairs[bonds, 3] == atom] for atom in range(system.n_atoms)]
    out = np.zeros(len(pairs))
    for p in np.flatnonzero(second):
        first = d[of_atom[pairs[p, 3]]]
        rest = d[p] - first
        middle = int(np.argmin(np.abs(np.linalg.norm(rest, axis=1) - BOND)))
        out[p] = np.sign(np.cross(first[middle, :2], rest[middle, :2]))
    return out
