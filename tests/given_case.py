"""Structures with a zeroth-order Hamiltonian, networks that are given known matrices, and the symmetries of what they predict."""

from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from network_case import TINY, largest, make_structure, other_half, random_rotation, rotated, rotated_blocks, with_roll

from deeph import inference as inference_module
from deeph.config import ModelConfig
from deeph.inference import predict_anyway
from deeph.nn import graph as graph_module
from deeph.nn.fit import fit_model
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian


def make_known(seed: int, **settings) -> Hamiltonian:
    """A structure whose H0 is H without a tenth and without a Hermitian rest of no symmetry."""
    plain = make_structure(seed, **settings)
    H, rng = plain.hamiltonian, np.random.default_rng([seed, 2])
    rest = replace(H, entries=0.1 * H.entries * rng.normal(size=H.entries.shape)).hermitized()
    return replace(plain, extra={"H0": replace(H, entries=0.9 * H.entries + rest.entries)})


def make_given_model(config: ModelConfig = TINY, seed: int = 0, structures: list[Hamiltonian] | None = None) -> HamiltonianModel:
    """A network in double precision with no parameter at zero or one, so that every term takes part."""
    torch.manual_seed(seed)
    model = fit_model(config, structures or [make_known(n) for n in range(3)]).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def predict(model: HamiltonianModel, structure: Hamiltonian) -> PairBlocks:
    """H in double precision."""
    H = predict_anyway(model, structure).hamiltonian
    assert H.entries.dtype == np.float64
    return H


def turned(structure: Hamiltonian, rotation: np.ndarray) -> Hamiltonian:
    """The whole crystal with all its matrices."""
    extra = {name: rotated_blocks(blocks, structure, rotation) for name, blocks in structure.extra.items()}
    return replace(rotated(replace(structure, extra={}), rotation), extra=extra)


def symmetry_errors(model: HamiltonianModel, structure: Hamiltonian, seed: int = 0) -> dict[str, float]:
    """Largest violation of each symmetry that H must have, eV."""
    reference = predict(model, structure)
    errors = {"hermiticity": reference.hermiticity_error()}
    rotations = {"rotation": random_rotation(seed), "reflection": random_rotation(seed + 1, proper=False), "inversion": -np.eye(3)}
    for name, Q in rotations.items():
        errors[name] = largest(predict(model, turned(structure, Q)), rotated_blocks(reference, structure, Q))
    with with_roll():
        errors["roll"] = largest(predict(model, structure), reference)
    with mock.patch.object(graph_module, "select_bonds", other_half), mock.patch.object(inference_module, "select_bonds", other_half):
        errors["exchange"] = largest(predict(model, structure), reference)
    order = np.arange(structure.system.n_atoms)[::-1]
    errors["permutation"] = largest(predict(model, structure.permuted(order)), reference.permuted(order))
    other = HamiltonianModel.from_description({**model.description(), "config": {**model.config.model_dump(), "chunk_bonds": 7}})
    other.load_state_dict(model.state_dict(), assign=True)
    errors["chunks"] = largest(predict(other.double().eval(), structure), reference)
    return errors
