"""A small data set and a small network for the tests of the training machinery; the physics is tested elsewhere."""

from pathlib import Path

import numpy as np

from deeph.files.store import write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System

BASIS = Basis.from_symbols({"H": [0], "C": [0, 1]})

SMALL = """
[data]
path = "data"
fractions = [0.5, 0.25, 0.25]

[model]
node_channels = 4
node_pseudo_channels = 2
bond_channels = 4
bond_pseudo_channels = 2
n_layers = 1
n_radial = 4
radial_hidden = 8
rank = 2
baseline_degree = 2

[train]
epochs = 4
batch_bonds = 30
learning_rate = 0.01
precision = "float64"
device = "cpu"
threads = 1
"""


def make_structure(seed: int, third: int = 1) -> Hamiltonian:
    """Two C and a third atom in a cell, with blocks that fall off with the distance."""
    rng = np.random.default_rng(seed)
    positions = np.array([[0, 0, 0], [1.4, 0, 0], [0.2, 1.5, 0]]) + rng.normal(scale=0.1, size=(3, 3))
    system = System(np.diag([3.0, 3.2, 9.0]), positions, np.array([6, 6, third]))
    pairs = neighbour_pairs(system, {6: 1.8, 1: 1.2})
    shapes = block_shapes(BASIS, system.numbers, pairs, spin=False)
    decay = np.repeat(np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1)), shapes.prod(axis=1))
    H = PairBlocks(pairs, shapes, (-5 + rng.normal(size=(1, len(decay)))) * decay).hermitized()
    S = PairBlocks(pairs, shapes, 0.1 * decay[None]).hermitized()
    for index in np.flatnonzero(is_onsite(pairs)):
        S.put(np.array([index]), np.eye(shapes[index, 0]))
    return Hamiltonian(system, BASIS.restricted(system.numbers), S, H)


def make_case(folder: Path, n_structures: int = 8, settings: str = SMALL) -> Path:
    """Write a data set and the configuration that trains on it; returns the configuration file."""
    for number in range(n_structures):
        write_folder(folder / "data" / f"{number:03d}", make_structure(number))
    config = folder / "small.toml"
    config.write_text(settings, encoding="utf-8")
    return config
