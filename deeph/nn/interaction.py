"""One layer: both ends of a bond meet in its frame, the bond is updated, and sends a message to each end."""

from dataclasses import dataclass

from torch import Tensor, nn

from deeph.nn.atom import AtomLinear, AtomNorm, FeedForward
from deeph.nn.bond import BondFeatures, Frame, PartialFeatures, add_to_atoms, to_bonds
from deeph.nn.irreps import sector_sizes
from deeph.nn.so2 import BondLinear, Gate, RadialWeights


@dataclass(frozen=True)
class BondGeometry:
    """What a chunk of bonds needs in every layer.

    Attributes
    ----------
    into : Frame
        Rotations of the atoms' features into the bond frames.
    out : Frame
        The same times the smooth cutoff, for the way back.
    radial : (n, n_hidden) tensor
        Functions of bond length and elements, even under exchange of the ends.
    """

    into: Frame
    out: Frame
    radial: Tensor


class Interaction(nn.Module):
    """Message passing with bond features that never leave their frame.

    Parameters
    ----------
    l_max : int
        Highest angular momentum.
    atom_sizes, bond_sizes : (natural, pseudo)
        Channels per l of the atom features, and of the features inside a bond.
    n_radial : int
        Width of the radial functions.
    degree : float
        Mean of the summed squared envelopes of an atom; messages are divided by its root.
    """

    def __init__(self, l_max: int, atom_sizes: tuple[int, int], bond_sizes: tuple[int, int], n_radial: int, degree: float) -> None:
        super().__init__()
        self.l_max, self.scale = l_max, degree**-0.5
        sizes = sector_sizes(l_max, *bond_sizes)
        self.norm = AtomNorm(l_max, atom_sizes)
        self.into = AtomLinear(l_max, atom_sizes, bond_sizes)
        self.weigh = RadialWeights(l_max, *bond_sizes, n_radial)
        self.gate = Gate(l_max, *bond_sizes)
        self.from_atoms = BondLinear(sizes, self.gate.sizes_in)
        self.from_bond = BondLinear(sizes, self.gate.sizes_in, gain=0.5)
        self.update = BondLinear(sizes, sizes, gain=0.5)
        self.message = BondLinear(sizes, sizes)
        self.out = AtomLinear(l_max, bond_sizes, atom_sizes)
        self.feed_forward = FeedForward(l_max, atom_sizes)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n_atoms, K, C): normalized atom features, mixed down before they are gathered, natural and pseudo."""
        return self.into.parts(self.norm(x))

    def bond_step(
        self, h: tuple[Tensor, Tensor], e: PartialFeatures, geometry: BondGeometry, total: tuple[Tensor, Tensor]
    ) -> tuple[BondFeatures, tuple[Tensor, Tensor]]:
        """Update some bonds; returns their new features, and ``total`` with their messages added on the atoms."""
        z = self.weigh(to_bonds(h, geometry.into, self.l_max), geometry.radial)
        hidden = self.gate(self.from_atoms(z, add=self.from_bond.partial(e)))
        total = add_to_atoms(total, self.message(hidden), geometry.out, self.l_max)
        return self.update(hidden, add=e), total

    def atom_step(self, x: Tensor, messages: Tensor) -> Tensor:
        """Update the atoms with the summed messages."""
        y: Tensor = self.feed_forward(x + self.out(messages * self.scale))
        return y
