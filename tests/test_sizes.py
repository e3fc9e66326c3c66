"""Sizes of the network by name."""

import pytest

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
