"""Families of networks, chosen by ``model.family``: each gives features, and all else is common to them."""

from collections.abc import Mapping, Sequence

from deeph.config import ModelConfig
from deeph.nn.slater_koster import SlaterKoster
from deeph.nn.so2_network import SO2Network
from deeph.nn.spin import SpinPart
from deeph.nn.trunk import Trunk
from deeph.runtime.errors import ModelError


def check_family(config: ModelConfig, *, magnetic: bool) -> None:
    """The family can learn a magnetic H, where it is one; asked before all that could be changed within the family.

    Raises
    ------
    ModelError
        If it cannot.
    """
    if config.family == "e3" and magnetic:
        raise ModelError("model.family = 'e3' learns no magnetic H; expected one that keeps time reversal. Use the family 'so2'")


def make_trunk(config: ModelConfig, spin: Sequence[SpinPart], l_max: int, cutoffs: Mapping[tuple[int, int], float], degree: float) -> Trunk:
    """The network of the family that the configuration names; parameters as for :class:`deeph.nn.so2_network.SO2Network`."""
    if config.family == "slater-koster":
        return SlaterKoster(config, spin, l_max, cutoffs)
    if config.family == "e3":
        from deeph.nn.e3 import E3Network  # e3nn takes a second

        return E3Network(config, spin, l_max, cutoffs, degree)
    return SO2Network(config, spin, l_max, cutoffs, degree)
