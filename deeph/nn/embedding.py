"""Elements and their shells as learned vectors; cost is linear in the number of elements."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

MAX_ZETA = 8


class ShellEmbedding(nn.Module):
    """A vector for each shell of an element, from the element, its l and its number among the shells of that l.

    Parameters
    ----------
    width : int
        Length of the vectors.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.element = nn.Embedding(119, width)
        self.angular = nn.Embedding(8, width)
        self.zeta = nn.Embedding(MAX_ZETA, width)

    def forward(self, elements: Sequence[tuple[int, tuple[int, ...]]]) -> Tensor:
        """(n_shells, 3 width) of all shells of some elements, given as (Z, shells)."""
        rows = [(z, l, min(shells[:a].count(l), MAX_ZETA - 1)) for z, shells in elements for a, l in enumerate(shells)]
        element, l, zeta = torch.tensor(rows, device=self.element.weight.device).T
        return torch.cat([self.element(element), self.angular(l), self.zeta(zeta)], -1)


class PairCoefficients(nn.Module):
    """Coefficients that turn a shell-pair code of given rank into the blocks of particular shells of two elements."""

    def __init__(self, rank: int, width: int = 32) -> None:
        super().__init__()
        self.shells = ShellEmbedding(width)
        self.mix = nn.Sequential(nn.Linear(6 * width, 128), nn.SiLU(), nn.Linear(128, rank))
        self.rank = rank

    def forward(self, elements: Sequence[tuple[int, tuple[int, ...]]]) -> Tensor:
        """(n_shells, n_shells, rank) for all pairs of shells of some elements; not symmetric in them."""
        shells = self.shells(elements)
        first = cast("nn.Linear", self.mix[0])
        i, j = first.weight.chunk(2, 1)  # the map of (shell, shell) is a sum over both
        out: Tensor = self.mix[1:]((shells @ i.T)[:, None] + (shells @ j.T + first.bias))
        return out
