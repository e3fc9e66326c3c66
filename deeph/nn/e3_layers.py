"""Maps between irreps of O(3) by e3nn, with weights of our own: constants of e3nn are made once for each precision and device.

Features are tensors (n, dim) in e3nn's layout, irrep after irrep, in each channel after channel. With vectors given as (y, z, x) e3nn's
components are ours, m = -l..l.
"""

import math
from functools import cache
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn

SCALAR = o3.Irrep("0e")


@cache
def _built(kind: str, before: str, between: str, after: str, dtype: torch.dtype, device: torch.device) -> Any:
    """An operation of e3nn without weights; its couplings are made in double precision, whatever they are used in."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(mode=False):  # a training may use what a prediction needed first
            if kind == "linear":
                operation = o3.Linear(before, after, internal_weights=False, shared_weights=True, biases=between == "bias")
            else:
                operation = o3.FullyConnectedTensorProduct(before, between, after, internal_weights=False, shared_weights=True)
            return operation.to(device=device, dtype=dtype)
    finally:
        torch.set_default_dtype(default)


class IrrepsLinear(nn.Module):
    """Mix channels of equal irreps; a bias on the true scalars.

    Parameters
    ----------
    before, after : Irreps
        Of the features.
    bias : bool
        Whether there is one.
    """

    def __init__(self, before: o3.Irreps, after: o3.Irreps, *, bias: bool = True) -> None:
        super().__init__()
        self.key = ("linear", str(before), "bias" if bias else "", str(after))
        like = _built(*self.key, torch.float64, torch.device("cpu"))
        self.weight = nn.Parameter(torch.randn(like.weight_numel))
        self.bias = nn.Parameter(torch.zeros(like.bias_numel)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim before) -> (n, dim after)."""
        out: Tensor = _built(*self.key, x.dtype, x.device)(x, self.weight, self.bias)
        return out


class IrrepsNorm(nn.Module):
    """Divide each irrep by its root mean square over components and channels; a learned scale for each channel.

    A tenth of the mean over all irreps is added to each, see :class:`deeph.nn.atom.AtomNorm`.
    """

    mean: Tensor
    irrep: Tensor
    channel: Tensor

    def __init__(self, irreps: o3.Irreps) -> None:
        super().__init__()
        dims = torch.tensor([mul * ir.dim for mul, ir in irreps])
        irrep = torch.arange(len(dims)).repeat_interleave(dims)
        self.register_buffer("irrep", irrep, persistent=False)
        self.register_buffer("mean", nn.functional.one_hot(irrep).double() / dims, persistent=False)
        self.register_buffer("channel", channel_of(irreps), persistent=False)
        self.scale = nn.Parameter(torch.ones(irreps.num_irreps))

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim) -> (n, dim)."""
        power = x.square() @ self.mean.to(x)
        common = 0.1 * power.mean(1, keepdim=True) + 1e-5
        return x * torch.rsqrt(power + common).index_select(1, self.irrep) * self.scale[self.channel]


class Convolution(nn.Module):
    """Features times radial functions, one for each channel; the product with spherical harmonics, full in channels; and a gate.

    Parameters
    ----------
    before : Irreps
        Of the features.
    n_radial : int
        Width of the radial functions.
    after : Irreps, optional
        Of the result, those of the features by default. Its scalars pass a SiLU, the others are gated by scalars of their own.
    """

    channel: Tensor
    gated: Tensor

    def __init__(self, before: o3.Irreps, n_radial: int, after: o3.Irreps | None = None) -> None:
        super().__init__()
        after = before if after is None else after
        scalars, others = ([(mul, ir) for mul, ir in after if (ir == SCALAR) == true] for true in (True, False))
        if [*scalars, *others] != list(after):
            raise ValueError(f"irreps {after}: expected those of 0e first")
        l_max = max(ir.l for _, ir in after)
        self.n_scalars, self.n_gates = sum(mul for mul, _ in scalars), sum(mul for mul, _ in others)
        full = o3.Irreps([(self.n_scalars + self.n_gates, SCALAR), *others])
        self.key = ("product", str(before), str(o3.Irreps.spherical_harmonics(l_max)), str(full))
        self.weight = nn.Parameter(torch.randn(_built(*self.key, torch.float64, torch.device("cpu")).weight_numel))
        self.radial = nn.Linear(n_radial, before.num_irreps)
        nn.init.normal_(self.radial.weight, std=1 / math.sqrt(n_radial))
        nn.init.ones_(self.radial.bias)
        self.register_buffer("channel", channel_of(before), persistent=False)
        self.register_buffer("gated", channel_of(o3.Irreps(others)), persistent=False)

    def forward(self, x: Tensor, harmonics: Tensor, radial: Tensor) -> Tensor:
        """(n, dim before), (n, harmonics), (n, n_radial) -> (n, dim after)."""
        weighed = x * self.radial(radial).index_select(1, self.channel)
        y = _built(*self.key, x.dtype, x.device)(weighed, harmonics, self.weight)
        scalars, gates, others = y.split([self.n_scalars, self.n_gates, len(self.gated)], -1)
        return torch.cat([nn.functional.silu(scalars), others * torch.sigmoid(gates).index_select(1, self.gated)], -1)


def channel_of(irreps: o3.Irreps) -> Tensor:
    """(dim,) the channel that each number belongs to, counted over all irreps."""
    dims = torch.tensor([ir.dim for mul, ir in irreps for _ in range(mul)], dtype=torch.int64)
    return torch.arange(len(dims)).repeat_interleave(dims)
