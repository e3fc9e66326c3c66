"""Linear maps and gates on bond features: one real matrix per sector and exchange parity."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from deeph.nn.bond import BondFeatures, BondLayout, PartialFeatures
from deeph.nn.channels import sector_sizes


class GatePlace(NamedTuple):
    """Some channels of a sector, and which of the gates, repeated for all l and family by family, multiply them."""

    channels: slice
    gates: slice


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


class _Gating(torch.autograd.Function):
    """SiLU of Sigma+g, all else times the gates of its exchange parity and channel, which all l and m share."""

    @staticmethod
    def forward(ctx: Any, places: Sequence[Sequence[GatePlace]], gates: Tensor, *x: Tensor) -> tuple[Tensor, ...]:
        ctx.places = places
        ctx.save_for_backward(gates, *x)
        out = [torch.empty_like(features) for features in x]
        out[0][0] = silu(x[0][0])
        for target, features, row in zip(out, x, places, strict=True):
            for place, gate in row:
                first = int(features is x[0])
                torch.mul(features[first:, ..., place], gates[first:, None, :, gate], out=target[first:, ..., place])
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, *x = ctx.saved_tensors
        to_gates = torch.zeros_like(gates)
        out = [torch.empty_like(features) for features in x]
        out[0][0] = torch.ops.aten.silu_backward(grad[0][0], x[0][0])
        for target, features, slope, row in zip(out, x, grad, ctx.places, strict=True):
            for place, gate in row:
                first = int(features is x[0])
                torch.mul(slope[first:, ..., place], gates[first:, None, :, gate], out=target[first:, ..., place])
                for component in range(features.shape[1]):
                    to_gates[first:, :, gate].addcmul_(slope[first:, component, :, place], features[first:, component, :, place])
        return (None, to_gates, *out)


class Gate(nn.Module):
    """Nonlinearity: SiLU on the totally symmetric Sigma+g features, every other feature times a sigmoid of such scalars.

    The first sector, Sigma+ of the features even under time reversal, must carry two extra channels for each channel of the layout at its
    end; their g part holds the gates, one for each exchange parity and channel, shared by all l and m.
    """

    def __init__(self, layout: BondLayout) -> None:
        super().__init__()
        self.plain = sector_sizes(layout.sectors)
        self.n_gates, self.n_l = 2 * layout.channels.total, layout.l_max + 1
        self.numbers = [family.number for family in layout.channels.families]
        starts = [0, *accumulate(number * self.n_l for number in self.numbers)]
        self.places: list[list[GatePlace]] = [[] for _ in self.plain]
        for move in layout.moves:
            start, size = starts[move.family], move.place.stop - move.place.start
            one = GatePlace(move.place, slice(start, start + size))
            if one not in self.places[move.sector]:
                self.places[move.sector].append(one)

    @property
    def sizes_in(self) -> list[int]:
        """Channels of each sector on the way in."""
        return [self.plain[0] + self.n_gates, *self.plain[1:]]

    def forward(self, x: BondFeatures) -> BondFeatures:
        """Gate all sectors."""
        plain, raw = x[0].split([self.plain[0], self.n_gates], -1)
        gate = torch.sigmoid(raw[0, 0]).unflatten(-1, (2, -1)).transpose(0, 1)  # (g u, n, channel)
        all_l = torch.cat([family.repeat(1, 1, self.n_l) for family in gate.split(self.numbers, -1)], -1)
        return list(_Gating.apply(self.places, all_l, plain, *x[1:]))


class RadialWeights(nn.Module):
    """Learned functions of the bond length, one for each l and channel.

    Parameters
    ----------
    layout : BondLayout
        Of the features that they multiply, see :func:`deeph.nn.bond.to_bonds`.
    n_radial : int
        How many functions they are combined from.
    """

    def __init__(self, layout: BondLayout, n_radial: int) -> None:
        super().__init__()
        self.n_l, self.numbers = layout.l_max + 1, [family.number for family in layout.channels.families]
        self.linear = nn.Linear(n_radial, self.n_l * layout.channels.total)

    def forward(self, radial: Tensor) -> list[Tensor]:
        """(n_bonds, n_radial) functions -> (n_bonds, (l_max+1) * number) of each family."""
        return [family.flatten(1) for family in self.linear(radial).unflatten(-1, (self.n_l, -1)).split(self.numbers, -1)]


def inverse_size(x: BondFeatures, layout: BondLayout, eps: float = 1e-6) -> Tensor:
    """(n_bonds,) 1 / root mean square of the features of each bond over all sectors; a spin vector counts by its length."""
    count = sum(2 * row.components * len(row.channels) // layout.channels.of_sort(row.sort)[0].n_spin for row in layout.sectors)
    square = sum(torch.linalg.vector_norm(s, dim=-1).square().sum((0, 1)) for s in x)
    return torch.rsqrt(torch.as_tensor(square) / count + eps)


class BondFeedForward(nn.Module):
    """Normalized features of a bond plus a gated linear map of them."""

    def __init__(self, layout: BondLayout) -> None:
        super().__init__()
        self.layout, self.gate = layout, Gate(layout)
        self.inner = BondLinear(self.gate.plain, self.gate.sizes_in)
        self.outer = BondLinear(self.gate.plain, self.gate.plain, gain=0.5)

    def forward(self, e: BondFeatures) -> BondFeatures:
        """Features of some bonds."""
        scale = inverse_size(e, self.layout)[:, None]
        e = [features * scale for features in e]
        y: BondFeatures = self.outer(self.gate(self.inner(e)), add=e)
        return y
