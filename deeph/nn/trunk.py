"""What a family of networks has to do: features of atoms and bonds. The heads, the baseline and all else belong to the model."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import Channels
from deeph.nn.frames import bond_matrices, frame_matrix

WIDTH = 32  # length of the element embedding


class Trunk(nn.Module):
    """Features from which the heads read H.

    Attributes
    ----------
    l_max : int
        Highest l of the features.
    channels : Channels
        Of the atom features.
    layout : BondLayout
        Of the bond features.
    cutoffs : (119, 119) tensor
        Where blocks of two elements vanish, Angstrom.
    element : nn.Embedding
        Of the atomic numbers.
    layers : nn.ModuleList
        Those through which an atom sees further; any number of them is a network.
    """

    cutoffs: Tensor
    layers: nn.ModuleList

    def __init__(self, l_max: int, channels: Channels, layout: BondLayout, cutoffs: Mapping[tuple[int, int], float]) -> None:
        super().__init__()
        self.l_max, self.channels, self.layout = l_max, channels, layout
        table = torch.zeros(119, 119, dtype=torch.float64)
        for (i, j), cutoff in cutoffs.items():
            table[i, j] = table[j, i] = cutoff
        self.register_buffer("cutoffs", table, persistent=False)
        self.element = nn.Embedding(119, WIDTH)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Trunk":
        """Go to another device or precision, but keep the cutoffs in double precision, as those of a model that is read are."""
        exact = self.cutoffs
        super()._apply(fn, recurse)
        self.cutoffs = exact.to(self.cutoffs.device)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Precision."""
        return self.element.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.element.weight.device

    def frame(self, vectors: Tensor) -> Tensor:
        """(n, 3) bond vectors -> (n, K, K) rotations into the bond frames over sqrt 2, in the network's precision."""
        return (frame_matrix(bond_matrices(vectors.double(), self.l_max)) / 2**0.5).to(self.dtype)

    def prepare(self, graph: Data) -> None:
        """Add to a graph what is the same in every step of a training."""
        graph.frame = self.frame(graph.bond_vector)

    def limits(self, numbers: Tensor) -> Tensor:
        """(n,) cutoffs of bonds between (2, n) elements, Angstrom."""
        return self.cutoffs[numbers[0], numbers[1]]

    def memory(self, n_bonds: int) -> int:
        """Bytes for the features of so many bonds in a prediction: both exchange parities, all components of all sectors."""
        numbers = sum(row.components * len(row.channels) for row in self.layout.sectors)
        return 2 * n_bonds * numbers * self.dtype.itemsize

    @property
    @abstractmethod
    def work(self) -> int:
        """How much there is to do for a bond, in units of what its heads take."""

    @abstractmethod
    def forward(self, graph: Data, runs: Sequence[slice], done: Callable[[int], object] = int) -> tuple[Tensor, list[BondFeatures]]:
        """Final features.

        Parameters
        ----------
        graph : Data
            See :func:`deeph.nn.graph.make_graph`.
        runs : sequence of slice
            Bonds that are processed together.
        done : callable
            Hears of each piece of :attr:`work`.

        Returns
        -------
        atoms : (n_atoms, K, n) tensor
            In the axes of the crystal, :attr:`channels`.
        bonds : list of BondFeatures
            For each run, in the frames of the bonds, :attr:`layout`.
        """
