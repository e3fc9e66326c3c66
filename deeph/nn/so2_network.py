"""The network whose bond features stay in the frames of their bonds: SO(2) convolutions, from the embedding to the final features."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data

from deeph.config import ModelConfig
from deeph.nn.atom import AtomLinear
from deeph.nn.bond import BondFeatures, BondLayout, Ends, Frame, PartialFeatures, add_to_atoms
from deeph.nn.interaction import BondGeometry, Interaction
from deeph.nn.irreps import inversion_sign
from deeph.nn.radial import RadialBasis, smooth_cutoff
from deeph.nn.sizes import channels_of
from deeph.nn.so2 import BondFeedForward
from deeph.nn.spin import SpinPart
from deeph.nn.threads import in_order
from deeph.nn.trunk import WIDTH, Trunk

T = TypeVar("T")
LAYER = 3  # times as much work as the embedding of the same bonds, or the heads
KEEP = 50_000  # bonds whose geometry is kept from layer to layer when no gradients need it
GEOMETRY = 12_000  # bytes of it a bond, frames and radial functions
KEPT_LAYERS = 2 * 2**30  # bytes of what happens inside the layers that are kept for the gradient; else each chunk of a layer is done twice
INSIDE = 7  # arrays of the size of the bond features that a layer keeps for its gradient, beside these themselves


class SO2Network(Trunk):
    """Message passing with bond features that never leave their frame.

    Parameters
    ----------
    config : ModelConfig
        Sizes.
    spin : sequence of SpinPart
        The parts of H.
    l_max : int
        Highest l.
    cutoffs : mapping of (zi, zj) to float
        Where blocks vanish, Angstrom, zi <= zj.
    degree : float
        Mean over atoms of the summed squared envelopes; normalizes messages.
    """

    def __init__(
        self, config: ModelConfig, spin: Sequence[SpinPart], l_max: int, cutoffs: Mapping[tuple[int, int], float], degree: float
    ) -> None:
        of_bonds = channels_of(config, spin, bond=True)
        super().__init__(l_max, channels_of(config, spin, bond=False), BondLayout(l_max, of_bonds), cutoffs)
        self.config, self.degree = config, degree
        even = len(self.layout.sectors[0].channels)  # Sigma+ channels
        hidden = config.radial_hidden
        self.atom_scalars = nn.Linear(WIDTH, self.channels.widths[0])
        self.radial_basis = RadialBasis(config.n_radial, max(cutoffs.values()))
        self.radial = nn.Sequential(nn.Linear(config.n_radial + 2 * WIDTH, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.bond_even = nn.Linear(hidden, even)
        self.bond_odd = nn.Linear(hidden, even)
        self.polarity = nn.Linear(WIDTH, even, bias=False)
        self.first_message = nn.Linear(hidden, even)
        self.first_atoms = AtomLinear(self.l_max, of_bonds, self.channels)
        layers = [Interaction(self.channels, self.layout, hidden, degree) for _ in range(config.n_layers)]
        self.layers = nn.ModuleList(layers)
        self.bond_layers = nn.ModuleList(BondFeedForward(self.layout) for _ in range(config.bond_layers))
        odd = [sort for sort in self.channels.sorts if sort.odd]
        self.moments = nn.ModuleList(nn.Linear(WIDTH, self.channels.of_sort(sort)[0 if sort.vector else 1].number) for sort in odd)

    @property
    def work(self) -> int:
        """One for the embedding and for each layer of bonds, :data:`LAYER` for each layer of messages."""
        return 1 + LAYER * self.config.n_layers + self.config.bond_layers

    def memory(self, n_bonds: int) -> int:
        """With the geometry of small structures."""
        return super().memory(n_bonds) + (GEOMETRY * n_bonds if n_bonds <= KEEP else 0)

    def geometry(self, graph: Data, part: slice) -> BondGeometry:
        """Frames and radial functions of a run of bonds."""
        bonds, vectors = graph.bond_index[:, part], graph.bond_vector[part]
        r = vectors.norm(dim=1)
        numbers = graph.numbers[bonds]
        zi, zj = self.element(numbers)
        functions = torch.cat([self.radial_basis(r).to(self.dtype), zi + zj, zi * zj], -1)
        frame = Frame(bonds, graph.frame[part] if "frame" in graph else self.frame(vectors))
        return BondGeometry(frame, frame.scaled(smooth_cutoff(r, self.limits(numbers)).to(self.dtype)), self.radial(functions))

    def _embed(self, graph: Data, geometry: BondGeometry) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """First features of some bonds, Sigma+ only; and their messages to both ends, scalars times harmonics of the bond."""
        zi, zj = (self.element(graph.numbers[end]) for end in geometry.into.bonds)
        e = torch.stack([self.bond_even(geometry.radial), self.bond_odd(geometry.radial) * self.polarity(zi - zj)])
        scalars = self.first_message(geometry.radial).unflatten(-1, (self.l_max + 1, -1))
        message = torch.bmm(geometry.out.rotation[:, : self.l_max + 1].transpose(1, 2), scalars)  # rows of m = 0
        inverted = message * torch.as_tensor(inversion_sign(self.l_max), dtype=self.dtype, device=self.device)[:, None]
        return e[:, None], (message, inverted)

    def is_recomputed(self, n_bonds: int) -> bool:
        """Whether what happens inside the layers is forgotten and done again for the gradient: the same result in less memory.

        Of each layer only the bond features that enter it are kept then. Smaller graphs, for which memory is no concern, are spared the
        time: a step takes 31 % longer.
        """
        size = sum(2 * row.components * len(row.channels) for row in self.layout.sectors) * self.dtype.itemsize
        return torch.is_grad_enabled() and n_bonds * size * INSIDE * len(self.layers) > KEPT_LAYERS

    def forward(self, graph: Data, runs: Sequence[slice], done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Final atom features (n_atoms, K, C), and bond features run by run."""
        # the geometry of a large graph is made anew in each layer and costs no memory
        small = graph.bond_index.shape[1] <= KEEP or torch.is_grad_enabled()
        kept = list(in_order(partial(self.geometry, graph), runs, self.device)) if small else None

        def geometry(c: int) -> BondGeometry:
            return kept[c] if kept else self.geometry(graph, runs[c])

        atoms, chunks = self.element(graph.numbers), range(len(runs))
        first = torch.zeros(len(atoms), (self.l_max + 1) ** 2, self.layout.channels.widths[0], dtype=self.dtype, device=self.device)
        e: list[PartialFeatures] = []
        for c, (bond, messages) in enumerate(in_order(lambda c: self._embed(graph, geometry(c)), chunks, self.device)):
            for end, part in zip(graph.bond_index[:, runs[c]], messages, strict=True):
                first = first.index_add(0, end, part) if torch.is_grad_enabled() else first.index_add_(0, end, part)
            e.append([bond] + [None] * (len(self.layout.sectors) - 1))
            done(runs[c].stop - runs[c].start)
        rest = sum(self.layout.channels.widths) - self.layout.channels.widths[0]
        x = self.first_atoms(nn.functional.pad(first * self.degree**-0.5, (0, rest))) + self._own(atoms, graph)
        again = self.is_recomputed(graph.bond_index.shape[1])

        def call(step: Callable[..., T], *inputs: object) -> T:
            return cast("T", checkpoint(step, *inputs, use_reentrant=False, preserve_rng_state=False)) if again else step(*inputs)

        for layer in cast("Iterable[Interaction]", self.layers):
            h = layer.prepare(x)
            total: Ends = [torch.zeros_like(part) for part in h]

            def step(c: int, layer: Interaction = layer, h: Ends = h) -> tuple[BondFeatures, Ends, Frame]:
                own = geometry(c)
                return *call(layer.bond_step, h, e[c], own), own.out

            for c, (features, rows, frame) in enumerate(in_order(step, chunks, self.device)):
                e[c] = features
                total = add_to_atoms(total, rows, frame, self.layout)
                done(LAYER * (runs[c].stop - runs[c].start))
            x = layer.atom_step(x, total)
        for layer_of_bonds in self.bond_layers:
            own_step = partial(lambda layer, c: call(layer, e[c]), layer_of_bonds)
            for c, features in enumerate(in_order(own_step, chunks, self.device)):
                e[c] = features
                done(runs[c].stop - runs[c].start)
        return x, cast("list[BondFeatures]", e)

    def _own(self, atoms: Tensor, graph: Data) -> Tensor:
        """(n_atoms, K, n) what atoms bring along: scalars of their element, and their moment, an axial vector odd under time reversal."""
        out = torch.zeros(len(atoms), (self.l_max + 1) ** 2, sum(self.channels.widths), dtype=self.dtype, device=self.device)
        out[:, 0, : self.channels.widths[0]] = self.atom_scalars(atoms)
        for sort, linear in zip((s for s in self.channels.sorts if s.odd), self.moments, strict=True):
            moments = graph.moments.to(out)[:, :, None] * linear(atoms)[:, None]  # (n_atoms, n_spin, channels)
            if sort.vector:
                start = self.channels.start(sort)
                out[:, 0, start : start + moments[0].numel()] = moments.flatten(1)
            else:
                start = self.channels.start(sort, pseudo=True)
                out[:, 1:4, start : start + moments.shape[-1]] = moments[:, [1, 2, 0]]  # l = 1 is y, z, x
        return out
