"""Linear maps and gates on bond features: one real matrix per sector and exchange parity."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from deeph.nn.bond import BondFeatures, BondLayout, PartialFeatures
from deeph.nn.channels import sector_sizes

PIECES = 32  # of the bonds, into which a GPU cuts the sum over them in the gradient of a weight


class _Product(torch.autograd.Function):
    """Batched x w of small w and very long x; the sum over its rows in the gradient of w would occupy few units of a GPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return torch.bmm(x, w)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor]:
        (g,), (x, w) = grad, ctx.saved_tensors
        size = x.shape[1] // PIECES
        whole = size * PIECES
        pieces = [t[:, :whole].unflatten(1, (PIECES, size)) for t in (x, g)]
        to_w = torch.matmul(pieces[0].transpose(2, 3), pieces[1]).sum(1)
        if whole < x.shape[1]:
            to_w = torch.baddbmm(to_w, x[:, whole:].transpose(1, 2), g[:, whole:])
        return torch.bmm(g, w.transpose(1, 2)), to_w


def _product(x: Tensor, w: Tensor) -> Tensor:
    """(b, n, k) times (b, k, m)."""
    if x.is_cuda:
        y: Tensor = _Product.apply(x, w)
        return y
    return torch.bmm(x, w)


class BondLinear(nn.Module):
    """The most general linear map that commutes with the symmetry of a bond (SO(2) convolution, O(3)-exact).

    Parameters
    ----------
    sizes_in, sizes_out : list of int
        Channels of each sector; see :func:`deeph.nn.channels.sectors`.
    gain : float
        Scale of the initial weights.
    """

    def __init__(self, sizes_in: list[int], sizes_out: list[int], gain: float = 1.0) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(2, a, b) * gain / math.sqrt(max(a, 1))) for a, b in zip(sizes_in, sizes_out, strict=True)
        )

    def forward(self, x: BondFeatures, add: PartialFeatures | None = None) -> BondFeatures:
        """Apply the map sector by sector; ``add`` is added to the result, without gradients in the place of ``add``."""
        out = []
        for features, weight, more in zip(x, self.weights, add or [None] * len(x), strict=True):
            flat = features.flatten(1, -2)  # both components share one matrix
            if more is None:
                y = _product(flat, weight)
            elif x[0].is_cuda:
                y = more.flatten(1, -2) + _product(flat, weight)
            elif torch.is_grad_enabled():
                y = torch.baddbmm(more.flatten(1, -2), flat, weight)
            else:  # torch would copy it first
                y = more.flatten(1, -2).baddbmm_(flat, weight)
            out.append(y.unflatten(1, features.shape[1:-1]))
        return out

    def partial(self, x: PartialFeatures) -> PartialFeatures:
        """Apply the map to features of which some sectors are zero."""
        pairs = zip(x, self.weights, strict=True)
        return [None if f is None else _product(f.flatten(1, -2), w).unflatten(1, f.shape[1:-1]) for f, w in pairs]


class Gate(nn.Module):
    """Nonlinearity: SiLU on the totally symmetric Sigma+g features, every other feature times a sigmoid of such scalars.

    The first sector, Sigma+ of the features even under time reversal, must carry two extra channels for each channel of the layout at its
    end; their g part holds the gates, one for each exchange parity and channel, shared by all l and m.
    """

    def __init__(self, layout: BondLayout) -> None:
        super().__init__()
        self.plain = sector_sizes(layout.sectors)
        self.n_gates = 2 * layout.channels.total
        for s, row in enumerate(layout.sectors):
            self.register_buffer(f"channel_{s}", torch.tensor([c for _, c in row.channels], dtype=torch.int64), persistent=False)

    @property
    def sizes_in(self) -> list[int]:
        """Channels of each sector on the way in."""
        return [self.plain[0] + self.n_gates, *self.plain[1:]]

    def forward(self, x: BondFeatures) -> BondFeatures:
        """Gate all sectors."""
        plain, raw = x[0].split([self.plain[0], self.n_gates], -1)
        gate = torch.sigmoid(raw[0, 0]).unflatten(-1, (2, -1)).transpose(0, 1)  # (g u, n, channel)
        out = [torch.stack([silu(plain[0]), plain[1] * gate[1].index_select(-1, self.get_buffer("channel_0"))])]
        for s, features in enumerate(x[1:], start=1):
            out.append(features * gate.index_select(-1, self.get_buffer(f"channel_{s}"))[:, None])
        return out


class RadialWeights(nn.Module):
    """Multiply bond features by learned functions of the bond length, one per l and channel, alike for all components and parities."""

    def __init__(self, layout: BondLayout, n_radial: int) -> None:
        super().__init__()
        total = layout.channels.total
        self.linear = nn.Linear(n_radial, (layout.l_max + 1) * total)
        for s, row in enumerate(layout.sectors):
            index = [l * total + c for l, c in row.channels]
            self.register_buffer(f"index_{s}", torch.tensor(index, dtype=torch.int64), persistent=False)

    def forward(self, x: BondFeatures, radial: Tensor) -> BondFeatures:
        """Bond features and (n_bonds, n_radial) functions -> bond features."""
        w = self.linear(radial)
        return [features * w.index_select(-1, self.get_buffer(f"index_{s}")) for s, features in enumerate(x)]


def inverse_size(x: BondFeatures, layout: BondLayout, eps: float = 1e-6) -> Tensor:
    """(n_bonds,) 1 / root mean square of the features of each bond over all sectors; a spin vector counts by its length."""
    count = sum(2 * row.components * len(row.channels) // layout.channels.of_sort(row.sort)[0].n_spin for row in layout.sectors)
    square = sum(torch.linalg.vector_norm(s, dim=-1).square().sum((0, 1)) for s in x)
    return torch.rsqrt(torch.as_tensor(square) / count + eps)
