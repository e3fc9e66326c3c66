"""A new model fitted to a set of structures."""

import pytest
import torch
from training_case import make_structure

from deeph.config import ModelConfig
from deeph.nn.fit import fit_model

TINY = ModelConfig(
    node_channels=2, node_pseudo_channels=1, bond_channels=2, bond_pseudo_channels=1, rank=2, n_layers=1, baseline_degree=2, n_radial=4
)


def test_rare_elements_are_fitted_however_large_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline sees a sample of a large set; an element that only one structure holds must be in it."""
    monkeypatch.setattr("deeph.nn.fit.MAX_STRUCTURES", 1)
    model = fit_model(TINY, [make_structure(0, third=6), make_structure(1, third=6), make_structure(2, third=1)])
    assert torch.count_nonzero(model.baseline.atom_mean(1)) > 0
    assert torch.count_nonzero(model.baseline.pair((1, 6)).series) > 0
