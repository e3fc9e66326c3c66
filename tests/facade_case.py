"""A model of carbon in the basis s2p2d1, untrained but for its baseline, on Hamiltonians with the parameters of extended Hueckel theory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from pao_files import write_pao

import deeph
from deeph import Hamiltonian

LEVELS = {0: (-18.0, 4.0), 1: (-10.0, 8.0), 2: (20.0,)}
"""eV, of the shells of each l."""
STRENGTH = 1.75
"""R. Hoffmann, J. Chem. Phys. 39, 1397 (1963)."""


def extended_hueckel(overlap: Hamiltonian, levels: dict[int, tuple[float, ...]] = LEVELS) -> Hamiltonian:
    """H_ij = 1.75/2 (e_i + e_j) S_ij, on one atom e_i S_ij."""
    level = np.concatenate([np.full(2 * l + 1, e) for l, es in levels.items() for e in es])
    mean = (level[:, None] + level) / 2

    def scaled(blocks, pairs):
        own = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
        return blocks * mean * np.where(own, 1.0, STRENGTH)[:, None, None]

    return replace(overlap, H=overlap.S.mapped(scaled))


def carbon_file(folder: Path) -> str:
    """A basis file in a folder, as ``basis=`` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"{write_pao(folder / 'C6.0.pao', 'C', 4, cutoff=5.0)}:s2p2d1"


def carbon_model(folder: Path, basis: str, seed: int = 0) -> Path:
    """The folder of a model, fitted to some sheets of graphene."""
    import ase.build
    import torch

    from deeph.config import ModelConfig
    from deeph.nn.fit import fit_model
    from deeph.training.checkpoint import save_model
    from deeph.training.run_folder import BEST

    config = ModelConfig(
        node_channels=4, node_pseudo_channels=2, bond_channels=4, bond_pseudo_channels=2, n_layers=1, n_radial=6, radial_hidden=8, rank=2,
        baseline_degree=4,
    )  # fmt: skip
    sheets = [ase.build.graphene(a=a, vacuum=10) for a in (2.36, 2.41, 2.46, 2.51, 2.56)]
    torch.manual_seed(seed)
    model = fit_model(config, [extended_hueckel(deeph.overlap(sheet, basis=basis)) for sheet in sheets])
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / BEST, model, {"note": "for the tests"})
    return folder
