"""Functions of the bond length: a basis, and cutoffs with two continuous derivatives."""

import math

import torch
from torch import Tensor, nn


def smooth_cutoff(r: Tensor, cutoff: Tensor, width: float | None = None) -> Tensor:
    """1 inside, 0 beyond the cutoff, with continuous first and second derivatives: 1 - 10 u^3 + 15 u^4 - 6 u^5.

    Parameters
    ----------
    r, cutoff : (n,) tensors
        Lengths in Angstrom.
    width : float, optional
        Over which distance before the cutoff it falls; by default from r = 0 on.
    """
    start = torch.zeros_like(cutoff) if width is None else cutoff - width
    u = ((r - start) / (cutoff - start)).clamp(0, 1)
    return 1 + u**3 * (-10 + u * (15 - 6 * u))


class RadialBasis(nn.Module):
    """Gaussians on an even grid from 0 to the longest bond.

    Parameters
    ----------
    n : int
        How many.
    longest : float
        Angstrom.
    """

    centres: Tensor

    def __init__(self, n: int, longest: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, longest, n))
        self.width = longest / (n - 1)

    def forward(self, r: Tensor) -> Tensor:
        """(n_bonds,) -> (n_bonds, n), standardised to roughly unit variance."""
        return torch.mul(torch.exp(-0.5 * ((r[:, None] - self.centres.to(r)) / self.width) ** 2), math.sqrt(self.centres.numel() / 2))


class RadialNetwork(nn.Module):
    """Learned functions of the bond length and the two elements, alike from both ends.

    Parameters
    ----------
    n : int
        Basis functions.
    longest : float
        Longest bond, Angstrom.
    width : int
        Length of the embedding of an element.
    hidden : int
        How many functions.
    """

    def __init__(self, n: int, longest: float, width: int, hidden: int) -> None:
        super().__init__()
        self.basis = RadialBasis(n, longest)
        self.mix = nn.Sequential(nn.Linear(n + 2 * width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())

    def forward(self, r: Tensor, zi: Tensor, zj: Tensor) -> Tensor:
        """(n,) lengths, (n, width) elements of both ends -> (n, hidden)."""
        out: Tensor = self.mix(torch.cat([self.basis(r).to(zi.dtype), zi + zj, zi * zj], -1))
        return out
