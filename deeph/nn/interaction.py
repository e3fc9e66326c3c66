"""One layer: both ends of a bond meet in its frame, the bond is updated, and sends a message to each end."""

from dataclasses import dataclass

from torch import Tensor, nn

from deeph.nn.atom import AtomLinear, AtomNorm, FeedForward
from deeph.nn.bond import BondFeatures, BondLayout, Ends, Frame, PartialFeatures, to_bonds, to_ends
from deeph.nn.channels import Channels, sector_sizes
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
    atom : Channels
        Of the atom features.
    layout : BondLayout
        Of the bond features.
    n_radial : int
        Width of the radial functions.
    degree : float
        Mean of the summed squared envelopes of an atom; messages are divided by its root.
    """

    def __init__(self, atom: Channels, layout: BondLayout, n_radial: int, degree: float) -> None:
        super().__init__()
        self.layout, self.scale = layout, degree**-0.5
        l_max, sizes = layout.l_max, sector_sizes(layout.sectors)
        self.norm = AtomNorm(l_max, atom)
        self.into = AtomLinear(l_max, atom, layout.channels)
        self.weigh = RadialWeights(layout, n_radial)
        self.gate = Gate(layout)
        self.from_atoms = BondLinear(sizes, self.gate.sizes_in)
        self.from_bond = BondLinear(sizes, self.gate.sizes_in, gain=0.5)
        self.update = BondLinear(sizes, sizes, gain=0.5)
        self.message = BondLinear(sizes, sizes)
        self.out = AtomLinear(l_max, layout.channels, atom)
        self.feed_forward = FeedForward(l_max, atom)

    def prepare(self, x: Tensor) -> Ends:
        """Normalized atom features, mixed down before they are gathered."""
        return self.layout.ends(self.into(self.norm(x)))

    def bond_step(self, h: Ends, e: PartialFeatures, geometry: BondGeometry) -> tuple[BondFeatures, Ends]:
        """Update some bonds; returns their new features, and the messages to their ends."""
        z = to_bonds(h, geometry.into, self.layout, self.weigh(geometry.radial))
        hidden = self.gate(self.from_atoms(z, add=self.from_bond.partial(e)))
        messages = to_ends(self.message(hidden), geometry.out, self.layout)
        return self.update(hidden, add=e), messages

    def atom_step(self, x: Tensor, messages: Ends) -> Tensor:
        """Update the atoms with the summed messages."""
        y: Tensor = self.feed_forward(x + self.out(self.layout.sum_of_ends(messages) * self.scale))
        return y
