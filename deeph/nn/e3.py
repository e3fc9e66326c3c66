"""The network of Clebsch-Gordan products: atoms and directed bonds carry irreps of O(3) along the axes of the crystal.

The class of DeepH-E3 (Gong et al., Nat. Commun. 14, 2848 (2023)): in each layer a bond is updated from its two ends and itself, then an
atom from its bonds, both by the full product with the spherical harmonics of the bond. Such a product costs O(L^6) a bond where the
frame of the bond makes it O(L^3); what it can express is the same. Before the heads the features of both directions of a bond are turned
into its frame, so that they are the heads of all families.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.config import ModelConfig
from deeph.nn.bond import BondFeatures, BondLayout, Frame, to_bonds
from deeph.nn.e3_layers import SCALAR, Convolution, IrrepsLinear, IrrepsNorm
from deeph.nn.irreps import inversion_sign
from deeph.nn.radial import RadialNetwork, smooth_cutoff
from deeph.nn.sizes import channels_of
from deeph.nn.spin import SpinPart
from deeph.nn.trunk import WIDTH, Trunk

LAYER = 50  # times as much work as the heads of the same bonds

_AXES = [1, 2, 0]  # the components y, z, x of a vector are its l = 1


class DirectedBonds(NamedTuple):
    """A run of n bonds in both directions, first all i to j, then all j to i.

    Attributes
    ----------
    ends : (2, 2 n) int tensor
        Where each one begins and ends.
    harmonics : (2 n, (l_max + 1)^2) tensor
        Of its direction.
    radial : (2 n, n_hidden) tensor
        Functions of length and elements.
    envelope : (2 n, 1) tensor
        Smooth cutoff.
    """

    ends: Tensor
    harmonics: Tensor
    radial: Tensor
    envelope: Tensor


class Layer(nn.Module):
    """Update of bonds, then of atoms."""

    def __init__(self, irreps: o3.Irreps, n_radial: int, degree: float) -> None:
        super().__init__()
        self.scale = degree**-0.5
        self.norm_atoms, self.norm_bonds, self.norm_updated = (IrrepsNorm(irreps) for _ in range(3))
        self.begin, self.end, self.own = (IrrepsLinear(irreps, irreps, bias=False) for _ in range(3))
        self.begin_message, self.bond_message = (IrrepsLinear(irreps, irreps, bias=False) for _ in range(2))
        self.update, self.message = (Convolution(irreps, n_radial) for _ in range(2))
        self.update_out, self.message_out = (IrrepsLinear(irreps, irreps) for _ in range(2))

    def prepare(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What bonds take from the atoms at their beginning and end for their update, and from the other atom for the message."""
        y = self.norm_atoms(v)
        return self.begin(y), self.end(y), self.begin_message(y)

    def bond_step(self, atoms: tuple[Tensor, Tensor, Tensor], e: Tensor, bonds: DirectedBonds, total: Tensor) -> tuple[Tensor, Tensor]:
        """Update some bonds; ``total`` with their messages added on the atoms where they begin."""
        begin, end, other = atoms
        i, j = bonds.ends
        z = (begin.index_select(0, i) + end.index_select(0, j) + self.own(self.norm_bonds(e))) * 3**-0.5
        e = e + self.update_out(self.update(z, bonds.harmonics, bonds.radial))
        z = (other.index_select(0, j) + self.bond_message(self.norm_updated(e))) * 2**-0.5
        message = self.message(z, bonds.harmonics, bonds.radial) * bonds.envelope
        return e, total.index_add(0, i, message) if torch.is_grad_enabled() else total.index_add_(0, i, message)

    def atom_step(self, v: Tensor, total: Tensor) -> Tensor:
        """Update the atoms with the summed messages."""
        out: Tensor = v + self.message_out(total * self.scale)
        return out


class E3Network(Trunk):
    """Message passing with full Clebsch-Gordan products.

    Parameters
    ----------
    config : ModelConfig
        Sizes; ``irreps`` are those of atoms and bonds.
    spin : sequence of SpinPart
        The parts of H; none may be odd under time reversal.
    l_max : int
        Highest l, that of the irreps.
    cutoffs : mapping of (zi, zj) to float
        Where blocks vanish, Angstrom, zi <= zj.
    degree : float
        Mean over atoms of the summed squared envelopes; normalizes messages.
    """

    def __init__(
        self, config: ModelConfig, spin: Sequence[SpinPart], l_max: int, cutoffs: Mapping[tuple[int, int], float], degree: float
    ) -> None:
        of_atoms, of_bonds = channels_of(config, spin, bond=False), channels_of(config, spin, bond=True)
        super().__init__(l_max, of_atoms, BondLayout(l_max, of_bonds), cutoffs)
        self.config = config
        irreps = o3.Irreps(config.irreps)
        hidden = config.radial_hidden
        scalars = o3.Irreps([(mul, ir) for mul, ir in irreps if ir == SCALAR])
        self.first_atoms = IrrepsLinear(o3.Irreps(f"{WIDTH}x0e"), irreps)
        self.radial = RadialNetwork(config.n_radial, max(cutoffs.values()), WIDTH, hidden)
        self.first_bonds = Convolution(scalars, hidden, irreps)
        self.first_pairs = nn.Linear(hidden, scalars.dim)
        self.layers = nn.ModuleList(Layer(irreps, hidden, degree) for _ in range(config.n_layers))
        self.atoms_out, self.bonds_out = (
            IrrepsLinear(irreps, even_irreps(l_max, *(f.number for f in own.families)), bias=False) for own in (of_atoms, of_bonds)
        )

    @property
    def work(self) -> int:
        """:data:`LAYER` for each layer."""
        return LAYER * self.config.n_layers

    def memory(self, n_bonds: int) -> int:
        """Features of both directions with harmonics, radial functions and envelopes; the heads' take their place run by run."""
        kept = sum(mul * (2 * l + 1) for mul, l, _ in self.config.irrep_numbers) + (self.l_max + 1) ** 2 + self.config.radial_hidden + 1
        return max(super().memory(n_bonds), 2 * n_bonds * kept * self.dtype.itemsize)

    def directed(self, graph: Data, run: slice) -> DirectedBonds:
        """Both directions of a run of bonds."""
        i, j = graph.bond_index[:, run]
        vectors = graph.bond_vector[run]
        r = vectors.norm(dim=1)
        envelope = smooth_cutoff(r, self.limits(graph.numbers[graph.bond_index[:, run]])).to(self.dtype)
        radial = self.radial(r, self.element(graph.numbers[i]), self.element(graph.numbers[j]))
        there = o3.spherical_harmonics(list(range(self.l_max + 1)), vectors[:, _AXES], normalize=True, normalization="component")
        ends = torch.stack([torch.cat([i, j]), torch.cat([j, i])])
        harmonics = torch.cat([there, opposite(there, self.l_max)]).to(self.dtype)
        return DirectedBonds(ends, harmonics, torch.cat([radial, radial]), torch.cat([envelope, envelope])[:, None])

    def forward(self, graph: Data, runs: Sequence[slice], done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Final atom features (n_atoms, K, n), and bond features run by run."""
        bonds = [self.directed(graph, run) for run in runs]
        v = self.first_atoms(self.element(graph.numbers))
        e = [self.first_bonds(self.first_pairs(b.radial), b.harmonics, b.radial) for b in bonds]
        for layer in cast("Iterable[Layer]", self.layers):
            atoms, total = layer.prepare(v), torch.zeros_like(v)
            for c, b in enumerate(bonds):
                e[c], total = layer.bond_step(atoms, e[c], b, total)
                done(LAYER * (runs[c].stop - runs[c].start))
            v = layer.atom_step(v, total)
        out = []
        for c, run in enumerate(runs):
            last, e[c] = e[c], v.new_empty(0)  # free what is done
            out.append(self._into_frames(self.bonds_out(last), graph, run))
        return components(self.atoms_out(v), self.l_max, self.channels.widths), out

    def _into_frames(self, e: Tensor, graph: Data, run: slice) -> BondFeatures:
        """Features of both directions of n bonds, as those of both ends are seen from a bond."""
        n = run.stop - run.start
        places = torch.arange(2 * n, device=e.device).view(2, n)
        frame = graph.frame[run] if "frame" in graph else self.frame(graph.bond_vector[run])
        ends = self.layout.ends(components(e, self.l_max, self.layout.channels.widths))
        return to_bonds(ends, Frame(places, frame), self.layout)


def opposite(harmonics: Tensor, l_max: int) -> Tensor:
    """(n, (l_max + 1)^2) harmonics of the opposite directions."""
    return harmonics * torch.as_tensor(inversion_sign(l_max), device=harmonics.device)


def even_irreps(l_max: int, natural: int, pseudo: int) -> o3.Irreps:
    """Equally many channels for each l, as the heads read them: natural parity, then the opposite one."""
    return o3.Irreps([(number, (l, sign * (-1) ** l)) for number, sign in ((natural, 1), (pseudo, -1)) for l in range(l_max + 1)])


def components(x: Tensor, l_max: int, widths: Sequence[int]) -> Tensor:
    """(n, dim) numbers of :func:`even_irreps` -> (n, K, natural + pseudo)."""
    K = (l_max + 1) ** 2
    families = []
    for part, width in zip(x.split([K * w for w in widths if w], -1), filter(None, widths), strict=True):
        rows = part.split([width * (2 * l + 1) for l in range(l_max + 1)], -1)
        families.append(torch.cat([row.unflatten(-1, (width, -1)).transpose(1, 2) for row in rows], 1))
    return torch.cat(families, -1)
