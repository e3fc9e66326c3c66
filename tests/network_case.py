"""Structures, small networks, and the symmetry test that all network tests share."""

from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from harmonics import rotation_of_atom
from torch import Tensor

from deeph.config import ModelConfig
from deeph.nn import frames as frames_module
from deeph.nn import graph as graph_module
from deeph.nn.fit import fit_model
from deeph.nn.frames import bond_rotation, orbital_matrix, wigner_matrices
from deeph.nn.graph import make_graph, select_bonds
from deeph.nn.model import HamiltonianModel
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, is_onsite, neighbour_pairs, pair_vectors, reversed_pairs
from deeph.physics.system import System

BASIS = Basis.from_symbols({"C": [0, 0, 1], "Si": [1, 0, 2]})
RADII = {6: 1.9, 14: 2.1}
TINY = ModelConfig(
    node_channels=6, node_pseudo_channels=3, bond_channels=5, bond_pseudo_channels=2, n_layers=2, n_radial=6, radial_hidden=8, rank=3,
    baseline_degree=3, chunk_bonds=16,
)  # fmt: skip
POSITIONS = np.array([[0, 0, 0], [1.6, 0.3, 0.1], [0.2, 1.7, 0.4], [1.5, 1.6, 1.3]])


def make_structure(seed: int, positions: np.ndarray = POSITIONS, *, noise: float = 0.1, cell: np.ndarray | None = None) -> Hamiltonian:
    """C and Si atoms in turn, with different bases, and blocks with no symmetry but Hermiticity that fall off with the distance."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.4, 0, 0], [0.5, 3.5, 0], [0.2, -0.4, 3.3]]) if cell is None else cell
    system = System(cell, positions + rng.normal(scale=noise, size=positions.shape), np.array([6, 14] * len(positions))[: len(positions)])
    pairs = neighbour_pairs(system, RADII)
    shapes = block_shapes(BASIS, system.numbers, pairs, spin=False)
    decay = np.repeat(np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1)), shapes.prod(axis=1))
    H = PairBlocks(pairs, shapes, (-1 + 3 * rng.normal(size=(1, len(decay)))) * decay).hermitized()
    S = PairBlocks(pairs, shapes, 0.1 * decay[None]).hermitized()
    for index in np.flatnonzero(is_onsite(pairs)):
        S.put(np.array([index]), np.eye(shapes[index, 0]))
    return Hamiltonian(system, BASIS, S, H, source={"orbital_radii": {"C": RADII[6], "Si": RADII[14]}})


def make_model(structures: list[Hamiltonian], config: ModelConfig = TINY, seed: int = 0) -> HamiltonianModel:
    """A network in double precision with no parameter at zero or one, so that every term takes part."""
    torch.manual_seed(seed)
    model = fit_model(config, structures).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def predict(model: HamiltonianModel, structure: Hamiltonian) -> PairBlocks:
    """H on the pattern of S, from the standardized coefficients of the network, written independently of the inference code."""
    S, numbers = structure.S, structure.system.numbers
    graph = make_graph(structure, model, targets=False)
    bonds = graph_module.select_bonds(structure, model.cutoffs)
    H = PairBlocks.zeros(S.pairs, S.shapes)
    prediction = model(graph)
    tables, baselines = model.tables("A0"), model.baseline("A0")
    assert prediction.offsite.keys() == prediction.onsite.keys() == {"A0"}
    for (zi, zj), rows, h in prediction.offsite["A0"]:
        v, table, baseline = graph.bond_vector[rows], tables.pairs[zi, zj], baselines.pair((zi, zj))
        r = v.norm(dim=1)
        D = wigner_matrices(frames_module.bond_rotation(v / r[:, None]), model.largest_shell)
        known = baseline.two_centre(r, torch.zeros(len(r), 2, 1))[:, 0]
        local = table.to_blocks(h[:, 0].double() * baseline.scale(r) + known)[:, 0]
        blocks = orbital_matrix(D, model.basis.shells[zi]).transpose(1, 2) @ local @ orbital_matrix(D, model.basis.shells[zj])
        members = bonds[rows if isinstance(rows, slice) else rows.numpy()]
        H.put(members, blocks[None].numpy())
        H.put(find_pairs(S.pairs, reversed_pairs(S.pairs[members])), blocks[None].transpose(2, 3).numpy())
    own = np.flatnonzero(is_onsite(S.pairs))
    own = own[np.argsort(S.pairs[own, 3])]
    for z, _, h in prediction.onsite["A0"]:
        blocks = tables.atoms[z].to_blocks(h[:, 0].double() * baselines.atom_scale(z) + baselines.atom_mean(z))[:, 0]
        H.put(own[numbers == z], blocks[None].numpy())
    return H


def rotated_blocks(blocks: PairBlocks, structure: Hamiltonian, rotation: np.ndarray) -> PairBlocks:
    """D_i block D_j^T, with rotations of the orbitals from the Cartesian formulas of the harmonics."""
    D = {z: rotation_of_atom(rotation, shells) for z, shells in structure.basis.shells.items()}
    numbers = structure.system.numbers

    def apply(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        left, right = (np.stack([D[z] for z in numbers[pairs[:, end]].tolist()]) for end in (3, 4))
        return left @ values @ right.swapaxes(1, 2)

    return blocks.mapped(apply)


def rotated(structure: Hamiltonian, rotation: np.ndarray) -> Hamiltonian:
    """The whole crystal turned or mirrored; H and S with it."""
    system = structure.system
    moved = System(system.cell @ rotation.T, system.positions @ rotation.T, system.numbers)
    H = None if structure.H is None else rotated_blocks(structure.H, structure, rotation)
    return replace(structure, system=moved, S=rotated_blocks(structure.S, structure, rotation), H=H)


def random_rotation(seed: int, *, proper: bool = True) -> np.ndarray:
    """An orthogonal matrix with determinant 1 or -1."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return Q * np.linalg.det(Q) * (1 if proper else -1)


def rolled_rotation(direction: Tensor) -> Tensor:
    """A frame of each bond with another roll about it, wildly different from bond to bond."""
    angle = 40 * direction @ torch.tensor([1.0, 2.3, -0.7], dtype=direction.dtype)
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    roll = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    return roll @ bond_rotation(direction)


def other_half(structure: Hamiltonian, cutoffs: dict[tuple[int, int], float]) -> np.ndarray:
    """The bonds between equal elements taken from their other end."""
    bonds, (pairs, numbers) = select_bonds(structure, cutoffs), (structure.S.pairs, structure.system.numbers)
    equal = numbers[pairs[bonds, 3]] == numbers[pairs[bonds, 4]]
    return np.where(equal, find_pairs(pairs, reversed_pairs(pairs[bonds])), bonds)


def with_roll() -> AbstractContextManager[object]:
    """Everything inside sees the bonds from rolled frames."""
    return mock.patch.object(frames_module, "bond_rotation", rolled_rotation)


def largest(a: PairBlocks, b: PairBlocks) -> float:
    """Largest difference of two matrices on one pattern."""
    assert np.array_equal(a.pairs, b.pairs)
    return float(np.abs(a.entries - b.entries).max())


def equivariance_error(model: HamiltonianModel, structure: Hamiltonian, seed: int = 0) -> dict[str, float]:
    """Largest violation of each symmetry that H must have, eV."""
    reference = predict(model, structure)
    errors = {}
    rotations = {"rotation": random_rotation(seed), "reflection": random_rotation(seed + 1, proper=False), "inversion": -np.eye(3)}
    for name, rotation in rotations.items():
        errors[name] = largest(predict(model, rotated(structure, rotation)), rotated_blocks(reference, structure, rotation))
    with with_roll():
        errors["roll"] = largest(predict(model, structure), reference)
    with mock.patch.object(graph_module, "select_bonds", other_half):
        errors["exchange"] = largest(predict(model, structure), reference)
    order = np.arange(structure.system.n_atoms)[::-1]
    errors["permutation"] = largest(predict(model, structure.permuted(order)), reference.permuted(order))
    return errors
