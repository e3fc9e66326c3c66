"""Elements and their shells as learned vectors; cost is linear in the number of elements."""

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

    def forward(self, z: int, shells: tuple[int, ...]) -> Tensor:
        """(n_shells, 3 width) of one element."""
        device = self.element.weight.device
        l = torch.tensor(shells, device=device)
        zeta = torch.tensor([min(shells[:a].count(la), MAX_ZETA - 1) for a, la in enumerate(shells)], device=device)
        element = self.element(torch.full_like(l, z))
        return torch.cat([element, self.angular(l), self.zeta(zeta)], -1)


class PairCoefficients(nn.Module):
    """Coefficients that turn a shell-pair code of given rank into the blocks of particular shells of two elements."""

    def __init__(self, rank: int, width: int = 32) -> None:
        super().__init__()
        self.shells = ShellEmbedding(width)
        self.mix = nn.Sequential(nn.Linear(6 * width, 128), nn.SiLU(), nn.Linear(128, rank))
        self.rank = rank

    def forward(self, i: tuple[int, tuple[int, ...]], j: tuple[int, tuple[int, ...]]) -> Tensor:
        """(n_shells_i, n_shells_j, rank) for (element, shells) of both ends; not symmetric in them."""
        a, b = self.shells(*i), self.shells(*j)
        pairs = torch.cat([a[:, None].expand(-1, len(b), -1), b[None].expand(len(a), -1, -1)], -1)
        out: Tensor = self.mix(pairs)
        return out
