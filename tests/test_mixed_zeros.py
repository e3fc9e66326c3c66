"""Whether structures have one energy zero or several: molecules of one formula, and few structures of many compositions."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_case import make_structure

from deeph.config import ModelConfig
from deeph.files.dataset import open_dataset
from deeph.nn.fit import fit_model
from deeph.physics.hamiltonian import Hamiltonian
from deeph.training.energy_zero import Scatter, scatter_of_zeros
from deeph.training.evaluate import baseline_alone

TINY = ModelConfig(node_channels=4, node_pseudo_channels=2, bond_channels=4, bond_pseudo_channels=2, n_layers=1, n_radial=4, rank=2)
ISOMERS = ["216", "228", "245", "307", "359", "364", "367", "397", "409", "438", "454", "469", "470", "471", "511", "569"]
"""Molecules C5H8O of the sample of QM9."""


def scatter(structures: list[Hamiltonian], zeros: float | np.ndarray = 0.0) -> Scatter:
    """Of structures, each with a zero of its own."""
    mus = np.broadcast_to(zeros, len(structures))
    moved = [
        replace(s, H=replace(s.hamiltonian, entries=s.hamiltonian.entries + mu * s.S.entries))
        for s, mu in zip(structures, mus, strict=True)
    ]
    return scatter_of_zeros(moved, baseline_alone(fit_model(TINY, moved)))


@pytest.fixture(scope="module")
def isomers(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Hamiltonian]:
    out = tmp_path_factory.mktemp("isomers")
    files = [shared_data / "qh9" / "labels" / f"{int(name):06d}.npz" for name in ISOMERS]
    subprocess.run([sys.executable, shared_data / "unpack.py", out, *files], check=True)
    return list(open_dataset(out))


def test_isomers_with_one_zero_are_left_alone(isomers: list[Hamiltonian]) -> None:
    """One formula, but mu differs by more than between bilayers, because bonds and functional groups do."""
    assert len({s.system.formula for s in isomers}) == 1
    found = scatter(isomers)
    assert found.deviation > 0.2
    assert not found.mixed


def test_isomers_with_several_zeros_are_not(isomers: list[Hamiltonian]) -> None:
    zeros = np.random.default_rng(1).normal(size=len(isomers))
    found = scatter(isomers, zeros)
    assert found.mixed
    assert found.accepted == pytest.approx(scatter(isomers).accepted, rel=0.3)


def few(n: int) -> list[Hamiltonian]:
    """CH3 and C2H2 in a cell."""
    return [make_structure(seed, third=6 if seed % 2 else 1) for seed in range(n)]


def test_few_structures_count_for_what_the_composition_leaves() -> None:
    """Of three structures two free numbers are lost to the composition; what is left is one, not three."""
    zeros = np.array([0.0, 0.0, 8.0])
    assert scatter(few(3), zeros).deviation == pytest.approx(8.0 / 2**0.5, rel=0.1)


def test_nothing_is_said_of_compositions_that_occur_once() -> None:
    found = scatter(few(2), np.array([0.0, 30.0]))
    assert np.isnan(found.deviation)
    assert not found.mixed
