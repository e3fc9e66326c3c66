"""How large a network is: highest angular momentum, families of features, orbitals of the elements."""

from collections.abc import Sequence

import numpy as np

from deeph.config import ModelConfig
from deeph.nn.channels import EXCHANGE, MAGNETIC, Channels
from deeph.nn.spin import SpinPart
from deeph.physics.basis import Basis
from deeph.physics.system import IntArray
from deeph.runtime.errors import ModelError

BOND_CHANNELS = {"tiny": 16, "small": 32, "base": 64, "large": 128}
"""Natural channels per l of a bond in each size; all other numbers follow."""
MIN_L = 4  # a threefold site needs l = 3 to know a direction in its plane


def largest_l(config: ModelConfig, basis: Basis, spin: Sequence[SpinPart]) -> int:
    """Highest l of the features: the largest charge of a block, one more where a Pauli matrix is coupled to the orbitals."""
    highest = max(l for shells in basis.shells.values() for l in shells)
    coupled = any(with_spin for part in spin for _, with_spin in part.sources)
    needed = 2 * highest + coupled
    why = f"blocks between shells of l = {highest}{' and spin-orbit coupling' if coupled else ''} need"
    if config.family == "e3":
        l_max = max(l for _, l, _ in config.irrep_numbers)
        if l_max < needed:
            more = f"8x{needed}{'o' if needed % 2 else 'e'}"
            raise ModelError(f"model.irreps = '{config.irreps}' ends at l = {l_max}, but {why} l up to {needed}: add such as '{more}'")
        return l_max
    l_max = max(needed, MIN_L) if config.l_max == "auto" else config.l_max
    if l_max < needed:
        raise ModelError(f"l_max = {l_max}, but {why} l_max >= {needed}")
    return l_max


def channels_of(config: ModelConfig, spin: Sequence[SpinPart], *, bond: bool) -> Channels:
    """Families of the features of atoms or bonds: even ones, and those that are odd under time reversal where there is magnetism."""
    chosen = (
        (config.bond_channels, config.bond_pseudo_channels, config.bond_odd_channels)
        if bond
        else (config.node_channels, config.node_pseudo_channels, config.node_odd_channels)
    )
    usual = BOND_CHANNELS[config.size] * (1 if bond else 2)
    natural, pseudo, odd = (own if n == "auto" else n for n, own in zip(chosen, (usual, usual // 4, usual // 8), strict=True))
    sorts = {sort for part in spin for sort, _ in part.sources}
    n_spin = max((part.n_spin for part in spin if part.name == "A"), default=1)
    magnetic = (odd, odd) if MAGNETIC in sorts else None
    exchange = (odd, odd // 4) if EXCHANGE in sorts else None
    return Channels.of(natural, pseudo, magnetic, exchange, n_spin)


def orbital_counts(basis: Basis) -> IntArray:
    """(119,) orbitals of an atom of each element; 0 of those that the basis does not have."""
    counts = np.zeros(119, np.int64)
    for z, shells in basis.shells.items():
        counts[z] = sum(2 * l + 1 for l in shells)
    return counts
