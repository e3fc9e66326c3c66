"""Tight-binding models with known densities of states, and random changes of their basis."""

from dataclasses import replace

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System


def one_orbital_model(cell, positions, hops, **options):
    """One s orbital an atom, S = 1; ``hops`` = [((R1, R2, R3), i, j, t)], to which the reversed ones are added."""
    n = len(positions)
    elements = {(0, 0, 0, i, i): 0.0 for i in range(n)}
    for R, i, j, t in hops:
        elements[(*R, i, j)] = t
        elements[(*(-x for x in R), j, i)] = t
    pairs = np.array(sorted(elements))
    shapes = np.ones((len(pairs), 2), int)
    onsite = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
    system = System(np.array(cell, float), np.array(positions, float), np.ones(n, int))
    H = PairBlocks(pairs, shapes, np.array([elements[tuple(p)] for p in pairs.tolist()]))
    return Hamiltonian(system, Basis({1: (0,)}), PairBlocks(pairs, shapes, onsite.astype(float)), H, **options)


def hypercubic(d, **options):
    """-2 sum cos(k) in d directions, 20 Angstrom of vacuum in the others."""
    cell = np.diag([2.0] * d + [20.0] * (3 - d))
    hops = [(tuple(int(a == b) for b in range(3)), 0, 0, -1.0) for a in range(d)]
    return one_orbital_model(cell, [[0, 0, 0]], hops, **options)


def graphene(t=1.0, **options):
    """Nearest-neighbour graphene, E = +-t |f(k)|."""
    cell = [[2.46, 0, 0], [-1.23, 1.23 * np.sqrt(3), 0], [0, 0, 20.0]]
    hops = [((0, 0, 0), 0, 1, -t), ((-1, 0, 0), 0, 1, -t), ((-1, -1, 0), 0, 1, -t)]
    return one_orbital_model(cell, [[0, 0, 5], [1.23, 0.71, 5]], hops, **options)


def changed_basis(data, seed=0):
    """The same physics with the orbitals of each atom replaced by random combinations of them, neither normalized nor orthogonal."""
    rng = np.random.default_rng(seed)
    n = data.basis.n_orbitals(data.system.numbers)
    X = [np.eye(m) + 0.4 * rng.normal(size=(m, m)) for m in n]

    def turned(blocks, factor):
        full = [np.kron(np.eye(factor), x) for x in X]
        out = PairBlocks.zeros(blocks.pairs, blocks.shapes, blocks.n_components, blocks.entries.dtype)
        for p, (_, _, _, i, j) in enumerate(blocks.pairs.tolist()):
            out.put(np.array([p]), (full[i].T @ blocks.take(np.array([p]))[:, 0] @ full[j])[:, None])
        return out

    return replace(data, H=turned(data.H, data.basis.spin_factor), S=turned(data.S, 1))
