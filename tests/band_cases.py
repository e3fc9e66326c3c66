"""Small periodic models for the tests of bands and comparisons."""

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System

HEXAGONAL = np.array([[2.5, 0, 0], [-1.25, 1.25 * np.sqrt(3), 0], [0, 0, 20.0]])
SLAB_POSITIONS = np.array([[0.1, 0.2, 9.0], [1.3, 0.8, 10.5], [0.2, 1.4, 11.0]])


def random_model(seed=0, *, spin="none", cell=HEXAGONAL, positions=SLAB_POSITIONS, numbers=(6, 7, 6)):
    """A Hermitian H and a well-conditioned S with random entries that decay with distance."""
    rng = np.random.default_rng(seed)
    system = System(cell, positions, np.array(numbers))
    basis = Basis({6: (0, 1), 7: (0, 0)}, spin).restricted(system.numbers)
    pairs = neighbour_pairs(system, {6: 1.6, 7: 1.9})
    decay = np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1))

    def random_blocks(*, of_h):
        shapes = block_shapes(basis, system.numbers, pairs, spin=of_h)
        n = int(shapes.prod(axis=1).sum())
        entries = rng.normal(size=(basis.n_spin if of_h else 1, n))
        if of_h and spin == "spinor":
            entries = entries + 1j * rng.normal(size=entries.shape)
        blocks = PairBlocks(pairs, shapes, entries * np.repeat(decay, shapes.prod(axis=1)))
        return blocks.hermitized()

    S = random_blocks(of_h=False).mapped(
        lambda b, p: 0.05 * b * ~is_onsite(p)[:, None, None] + np.eye(*b.shape[-2:]) * is_onsite(p)[:, None, None]
    )
    return Hamiltonian(system, basis, S, random_blocks(of_h=True), n_electrons=6.0)


def supercell(data, repeat):
    """The same crystal described with ``repeat`` cells along each lattice vector."""
    repeat = np.array(repeat)
    T = np.stack(np.meshgrid(*[np.arange(n) for n in repeat], indexing="ij"), -1).reshape(-1, 3)
    n_atoms, system = data.system.n_atoms, data.system
    positions = (system.positions[None] + (T @ system.cell)[:, None]).reshape(-1, 3)
    big = System(system.cell * repeat[:, None], positions, np.tile(system.numbers, len(T)))

    def repeated(blocks):
        target = T[:, None] + blocks.pairs[None, :, :3]  # cell of atom j as seen from the cell T of atom i
        cells, inside = np.floor_divide(target, repeat), np.mod(target, repeat)
        number = np.ravel_multi_index(tuple(np.moveaxis(inside, -1, 0)), tuple(repeat))
        i = np.arange(len(T))[:, None] * n_atoms + blocks.pairs[None, :, 3]
        j = number * n_atoms + blocks.pairs[None, :, 4]
        pairs = np.concatenate([cells, i[..., None], j[..., None]], axis=-1).reshape(-1, 5)
        return PairBlocks(pairs, np.tile(blocks.shapes, (len(T), 1)), np.tile(blocks.entries, len(T)))

    return Hamiltonian(big, data.basis, repeated(data.S), repeated(data.hamiltonian))
