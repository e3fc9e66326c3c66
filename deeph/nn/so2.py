"""Linear maps and gates on bond features: one real matrix per sector and exchange parity."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from deeph.nn.bond import BondFeatures, PartialFeatures
from deeph.nn.irreps import sector_sizes


def sector_channels(l_max: int, natural: int, pseudo: int) -> list[list[tuple[int, int]]]:
    """(l, channel) of every feature of each sector; pseudo channels count on from the natural ones."""
    rows = [range(l_max + 1), range(l_max + 1), *(range(m, l_max + 1) for m in range(1, l_max + 1))]
    kinds = [(True, False), (False, True), *[(True, True)] * l_max]
    return [
        [(l, c) for l in r for c in range(natural) if nat] + [(l, natural + c) for l in r for c in range(pseudo) if pse]
        for r, (nat, pse) in zip(rows, kinds, strict=True)
    ]


class BondLinear(nn.Module):
    """The most general linear map that commutes with the symmetry of a bond (SO(2) convolution, O(3)-exact).

    Parameters
    ----------
    sizes_in, sizes_out : list of int
        Channels of each sector; see :func:`deeph.nn.irreps.sector_sizes`.
    gain : float
        Scale of the initial weights.
    """

    def __init__(self, sizes_in: list[int], sizes_out: list[int], gain: float = 1.0) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(2, a, b) * gain / math.sqrt(max(a, 1))) for a, b in zip(sizes_in, sizes_out, strict=True)
        )

    def forward(self, x: BondFeatures, add: PartialFeatures | None = None) -> BondFeatures:
        """Apply the map sector by sector; ``add`` is added to the result."""
        out = []
        for features, weight, more in zip(x, self.weights, add or [None] * len(x), strict=True):
            flat = features.flatten(1, -2)  # both components share one matrix
            y = torch.bmm(flat, weight) if more is None else torch.baddbmm(more.flatten(1, -2), flat, weight)
            out.append(y.unflatten(1, features.shape[1:-1]))
        return out

    def partial(self, x: PartialFeatures) -> PartialFeatures:
        """Apply the map to features of which some sectors are zero."""
        pairs = zip(x, self.weights, strict=True)
        return [None if f is None else torch.bmm(f.flatten(1, -2), w).unflatten(1, f.shape[1:-1]) for f, w in pairs]


class Gate(nn.Module):
    """Nonlinearity: SiLU on the totally symmetric Sigma+g features, every other feature times a sigmoid of such scalars.

    The Sigma+ sector must carry ``2 * (natural + pseudo)`` extra channels at its end; their g part holds the gates, one for each parity and
    channel, shared by all l and m.
    """

    def __init__(self, l_max: int, natural: int, pseudo: int) -> None:
        super().__init__()
        self.plain = sector_sizes(l_max, natural, pseudo)
        self.n_gates = 2 * (natural + pseudo)
        for s, channels in enumerate(sector_channels(l_max, natural, pseudo)):
            self.register_buffer(f"channel_{s}", torch.tensor([c for _, c in channels], dtype=torch.int64), persistent=False)

    @property
    def sizes_in(self) -> list[int]:
        """Channels of each sector on the way in."""
        return [self.plain[0] + self.n_gates, *self.plain[1:]]

    def forward(self, x: BondFeatures) -> BondFeatures:
        """Gate all sectors."""
        plain, raw = x[0].split([self.plain[0], self.n_gates], -1)
        gate = torch.sigmoid(raw[0]).unflatten(-1, (2, -1)).transpose(0, 1)  # (g u, n, channel)
        out = [torch.stack([silu(plain[0]), plain[1] * gate[1].index_select(-1, self.get_buffer("channel_0"))])]
        for s, features in enumerate(x[1:], start=1):
            factor = gate.index_select(-1, self.get_buffer(f"channel_{s}"))
            out.append(features * (factor if features.dim() == 3 else factor[:, None]))
        return out


class RadialWeights(nn.Module):
    """Multiply bond features by learned functions of the bond length, one per l and channel, alike for both components and parities."""

    def __init__(self, l_max: int, natural: int, pseudo: int, n_radial: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_radial, (l_max + 1) * (natural + pseudo))
        for s, channels in enumerate(sector_channels(l_max, natural, pseudo)):
            index = [l * (natural + pseudo) + c for l, c in channels]
            self.register_buffer(f"index_{s}", torch.tensor(index, dtype=torch.int64), persistent=False)

    def forward(self, x: BondFeatures, radial: Tensor) -> BondFeatures:
        """Bond features and (n_bonds, n_radial) functions -> bond features."""
        w = self.linear(radial)
        return [features * w.index_select(-1, self.get_buffer(f"index_{s}")) for s, features in enumerate(x)]


def bond_norm(x: BondFeatures, eps: float = 1e-6) -> BondFeatures:
    """Divide the features of each bond by their root mean square over all sectors."""
    count = sum(s.shape[-1] * (2 if s.dim() == 3 else 4) for s in x)
    square = sum(s.square().sum(dim=(0, -1) if s.dim() == 3 else (0, 1, -1)) for s in x)
    scale = torch.rsqrt(torch.as_tensor(square) / count + eps)[:, None]
    return [s * scale for s in x]
