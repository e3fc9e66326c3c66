"""Structures with spin, small networks for them, and what each symmetry operation makes of H."""

from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from harmonics import rotation_of_atom
from network_case import POSITIONS, TINY, make_structure, other_half, random_rotation, rotated_blocks, with_roll

from deeph.config import ModelConfig
from deeph.inference import predict_anyway
from deeph.nn import graph as graph_module
from deeph.nn.fit import fit_model
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.covariance import time_reversed
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.rotations import spin_rotation
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.physics.system import System

KINDS = {
    "spin-orbit": ("spinor", ("A0", "B")),
    "magnetic": ("spinor", ("A0", "B0", "A", "B")),
    "non-collinear": ("spinor", ("A0", "A")),
    "collinear": ("collinear", ("A0", "A")),
}
"""Kind of data: spin of the basis, and the parts of H that are not zero."""
SPIN_TINY = TINY.model_copy(update={"node_odd_channels": 4, "bond_odd_channels": 4})


def make_spin_structure(
    kind: str, seed: int, positions: np.ndarray = POSITIONS, *, noise: float = 0.1, cell: np.ndarray | None = None
) -> Hamiltonian:
    """C and Si in turn as in network_case, with random blocks of the parts that the kind has; carbon has moments, silicon small ones."""
    spin, parts = KINDS[kind]
    plain = make_structure(seed, positions, noise=noise, cell=cell)
    rng = np.random.default_rng([seed, 1])
    basis = replace(plain.basis, spin=spin)
    shapes = block_shapes(basis, plain.system.numbers, plain.S.pairs, spin=True)
    H = PairBlocks.zeros(plain.S.pairs, shapes, basis.n_spin, complex if spin == "spinor" else float)
    for _, index in plain.S.groups():
        blocks = plain.hamiltonian.take(index)[0][:, None]
        n_spin = 1 if spin == "collinear" else 3
        made = {"A0": blocks}
        for name in parts[1:]:
            made[name] = 0.3 * blocks * rng.normal(size=(len(index), 1 if name == "B0" else n_spin, *blocks.shape[2:]))
        H.put(index, join_spin(made, spin))
    H = H.hermitized()
    moments = None
    if "A" in parts:
        moments = rng.normal(size=(plain.system.n_atoms, 3))
        moments *= (np.where(plain.system.numbers == 6, 2.0, 0.1) / np.linalg.norm(moments, axis=1))[:, None]
        moments = moments * [0, 0, 1] if spin == "collinear" else moments
    return replace(plain, basis=basis, H=H, moments=moments)


def make_spin_model(kind: str, config: ModelConfig = SPIN_TINY, seed: int = 0) -> HamiltonianModel:
    """A network in double precision with no parameter at zero or one, so that every term takes part."""
    torch.manual_seed(seed)
    model = fit_model(config, [make_spin_structure(kind, n) for n in range(3)]).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def predict(model: HamiltonianModel, structure: Hamiltonian) -> PairBlocks:
    """H in double precision."""
    H = predict_anyway(model, structure).hamiltonian
    assert H.entries.dtype in (np.complex128, np.float64)
    return H


def acted(blocks: PairBlocks, structure: Hamiltonian, rotation: np.ndarray, spin: np.ndarray) -> PairBlocks:
    """(U x D_i) H_ij (U x D_j)^dagger; D from the Cartesian formulas of the harmonics, U of the spin rotation, unless collinear."""
    numbers, shells = structure.system.numbers, structure.basis.shells
    U = spin_rotation(spin) if structure.basis.spin == "spinor" else np.eye(1)
    D = {z: np.kron(U, rotation_of_atom(rotation, shells[z])) for z in shells}

    def apply(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        left, right = (np.stack([D[z] for z in numbers[pairs[:, end]].tolist()]) for end in (3, 4))
        out = left @ values @ right.conj().swapaxes(1, 2)
        return out if structure.basis.spin == "spinor" else out.real

    return blocks.mapped(apply)


def moved(structure: Hamiltonian, rotation: np.ndarray, spin: np.ndarray) -> Hamiltonian:
    """The crystal turned or mirrored with its overlap and further matrices, its moments turned by ``spin``; no H."""
    system = System(structure.system.cell @ rotation.T, structure.system.positions @ rotation.T, structure.system.numbers)
    moments = None if structure.moments is None else structure.moments @ spin.T
    extra = {name: acted(blocks, structure, rotation, spin) for name, blocks in structure.extra.items()}
    return replace(structure, system=system, S=rotated_blocks(structure.S, structure, rotation), H=None, moments=moments, extra=extra)


def flipped(structure: Hamiltonian) -> Hamiltonian:
    """All moments reversed, and matrices reversed in time."""
    extra = {name: reversed_in_time(blocks, structure) for name, blocks in structure.extra.items()}
    return replace(structure, moments=None if structure.moments is None else -structure.moments, extra=extra)


def reversed_in_time(blocks: PairBlocks, structure: Hamiltonian) -> PairBlocks:
    """Sigma_y H* sigma_y; of collinear spins up and down exchanged."""
    return replace(blocks, entries=blocks.entries[::-1]) if structure.basis.spin == "collinear" else time_reversed(blocks)


def from_the_other_end() -> AbstractContextManager[object]:
    """Bonds between equal elements are evaluated from their other end, so that H_ij comes from a network that sees j first."""
    return mock.patch.object(graph_module, "select_bonds", other_half)


def spin_errors(model: HamiltonianModel, structure: Hamiltonian, seed: int = 0) -> dict[str, float]:
    """Largest violation of each symmetry that H must have, relative to its largest element."""
    reference, coupled = predict(model, structure), any(p.name == "B" for p in model.spin)
    errors: dict[str, float] = {}
    rotations = {"rotation": random_rotation(seed), "reflection": random_rotation(seed + 1, proper=False), "inversion": -np.eye(3)}
    for name, Q in rotations.items():
        spin = np.linalg.det(Q) * Q if coupled else np.eye(3)
        errors[name] = difference(predict(model, moved(structure, Q, spin)), acted(reference, structure, Q, spin))
    if structure.basis.spin == "spinor" and not coupled:
        R = random_rotation(seed + 2)
        errors["spin rotation"] = difference(predict(model, moved(structure, np.eye(3), R)), acted(reference, structure, np.eye(3), R))
    with with_roll():
        errors["roll"] = difference(predict(model, structure), reference)
    import deeph.inference as inference_module

    with from_the_other_end(), mock.patch.object(inference_module, "select_bonds", other_half):
        errors["exchange"] = difference(predict(model, structure), reference)
    order = np.arange(structure.system.n_atoms)[::-1]
    errors["permutation"] = difference(predict(model, structure.permuted(order)), reference.permuted(order))
    errors["time reversal"] = difference(predict(model, flipped(structure)), reversed_in_time(reference, structure))
    return errors


def difference(a: PairBlocks, b: PairBlocks) -> float:
    """Largest difference over the largest element."""
    assert np.array_equal(a.pairs, b.pairs)
    return float(np.abs(a.entries - b.entries).max() / np.abs(b.entries).max())


def part_sizes(blocks: PairBlocks, spin: str) -> dict[str, float]:
    """Largest element of each part of H."""
    out: dict[str, float] = {}
    for _, index in blocks.groups():
        for name, values in split_spin(blocks.take(index), spin).items():
            out[name] = max(out.get(name, 0.0), float(np.abs(values).max()))
    return out
