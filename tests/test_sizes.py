"""Sizes of the network by name."""

import pytest
from spin_case import SPIN_TINY, make_spin_model, make_spin_structure, spin_errors

from deeph.config import ModelConfig
from deeph.nn.sizes import channels_of


@pytest.mark.parametrize(
    ("size", "bond", "atom"), [("tiny", [16, 4], [32, 8]), ("small", [32, 8], [64, 16]), ("large", [128, 32], [256, 64])]
)
def test_a_size_is_its_channels(size, bond, atom):
    config = ModelConfig(size=size)
    assert channels_of(config, [], bond=True).widths == bond
    assert channels_of(config, [], bond=False).widths == atom


def test_a_number_overrides_the_size():
    config = ModelConfig(size="base", bond_channels=12, node_pseudo_channels=0)
    assert channels_of(config, [], bond=True).widths == [12, 16]
    assert channels_of(config, [], bond=False).widths == [128, 0]


@pytest.mark.parametrize("kind", ["collinear", "magnetic"])
@pytest.mark.parametrize(("atom", "bond"), [(4, 2), (2, 4)])
def test_spin_vectors_of_one_parity_only(kind, atom, bond):
    """Fewer than four odd channels leave none for pseudo spin vectors, in bonds or in atoms alone (size "tiny"): all symmetries stay."""
    model = make_spin_model(kind, SPIN_TINY.model_copy(update={"node_odd_channels": atom, "bond_odd_channels": bond}))
    errors = spin_errors(model, make_spin_structure(kind, 3))
    assert max(errors.values()) < 1e-11, errors
