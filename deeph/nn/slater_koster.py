"""Two-centre model without surroundings: the integrals of Slater and Koster as trainable functions of the bond length.

The features of a bond are functions of its length and its two elements, scalars about the bond (Sigma+); those of an atom are constants of
its element. The heads make of them what they make of all features: the integrals V_(ll'm)(r) of all pairs of shells on top of those that
the baseline has by least squares, two-centre spin-orbit couplings, on-site energies and xi L.S. The exchange field has the moments of the
two atoms as factors. H of a bond depends on nothing else in the crystal.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.config import ModelConfig
from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import EXCHANGE, MAGNETIC, Channels, SectorRow, Sort
from deeph.nn.radial import RadialNetwork
from deeph.nn.spin import SpinPart
from deeph.nn.trunk import WIDTH, Trunk


class TwoCentreLayout(BondLayout):
    """Bond features of which only Sigma+ has any channels: those of l = 0."""

    @cached_property
    def sectors(self) -> list[SectorRow]:
        """Of the bond features."""
        return [row._replace(channels=[lc for lc in row.channels if lc[0] == 0]) for row in super().sectors]


class SlaterKoster(Trunk):
    """Radial functions of pairs of elements, constants of elements.

    Parameters
    ----------
    config : ModelConfig
        ``n_radial`` and ``radial_hidden`` are its sizes.
    spin : sequence of SpinPart
        The parts of H. The imaginary spin-free part has no two-centre form and is predicted as zero.
    l_max : int
        Highest charge of a block.
    cutoffs : mapping of (zi, zj) to float
        Where blocks vanish, Angstrom, zi <= zj.
    """

    def __init__(self, config: ModelConfig, spin: Sequence[SpinPart], l_max: int, cutoffs: Mapping[tuple[int, int], float]) -> None:
        n = config.radial_hidden
        sorts = {sort for part in spin for sort, _ in part.sources}
        n_spin = max((part.n_spin for part in spin if part.name == "A"), default=1)
        channels = Channels.of(n, 0, (0, 0) if MAGNETIC in sorts else None, (n, 0) if EXCHANGE in sorts else None, n_spin)
        super().__init__(l_max, channels, TwoCentreLayout(l_max, channels), cutoffs)
        self.radial = RadialNetwork(config.n_radial, max(cutoffs.values()), WIDTH, n)
        self.even, self.odd = nn.ModuleList(), nn.ModuleList()
        self.polarity, self.own = nn.ModuleList(), nn.ModuleList()
        self.sorts = [sort for sort in channels.sorts if channels.of_sort(sort)[0].number]
        for _ in self.sorts:
            self.even.append(nn.Linear(n, n))
            self.odd.append(nn.Linear(n, n))
            self.polarity.append(nn.Linear(WIDTH, n, bias=False))
            self.own.append(nn.Linear(WIDTH, n))
        self.layers = nn.ModuleList()

    @property
    def work(self) -> int:
        """As much as the heads."""
        return 1

    def prepare(self, graph: Data) -> None:
        """Nothing is turned."""

    def forward(self, graph: Data, runs: Sequence[slice], done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Atom features (n_atoms, K, n), of which only l = 0 is not zero; and bond features run by run."""
        bonds = []
        for run in runs:
            bonds.append(self._bonds(graph, run))
            done(run.stop - run.start)
        return self._atoms(graph), bonds

    def _atoms(self, graph: Data) -> Tensor:
        elements = self.element(graph.numbers)
        scalars = []
        for number, sort in enumerate(self.sorts):
            own = self.own[number](elements)
            scalars.append((graph.moments.to(own)[:, :, None] * own[:, None]).flatten(1) if sort == EXCHANGE else own)
        return nn.functional.pad(torch.cat(scalars, -1)[:, None], (0, 0, 0, (self.l_max + 1) ** 2 - 1))

    def _bonds(self, graph: Data, run: slice) -> BondFeatures:
        """Even (g) and odd (u) functions under exchange of the ends; of the exchange field times sum and difference of both moments."""
        i, j = graph.bond_index[:, run]
        zi, zj = self.element(graph.numbers[i]), self.element(graph.numbers[j])
        radial = self.radial(graph.bond_vector[run].norm(dim=1), zi, zj)
        sigma = dict[Sort, Tensor]()
        for number, sort in enumerate(self.sorts):
            g, u = self.even[number](radial), self.odd[number](radial) * self.polarity[number](zi - zj)
            if sort == EXCHANGE:
                m_i, m_j = (graph.moments[end].to(g).T[..., None] for end in (i, j))  # (n_spin, n, 1)
                both, difference = m_i + m_j, m_i - m_j
                sigma[sort] = torch.stack([both * g + difference * u, difference * g + both * u])
            else:
                sigma[sort] = torch.stack([g, u])[:, None]
        return [sigma[row.sort] if row.channels else radial.new_zeros(2, row.components, len(radial), 0) for row in self.layout.sectors]
