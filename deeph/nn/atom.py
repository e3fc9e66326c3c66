"""Maps on atom features: per-l linear maps, norm, and the gated feed-forward part with its many-body product."""

import math
from functools import cache

import torch
from torch import Tensor, nn

from deeph.nn.irreps import clebsch_gordan, harmonic_l

PRODUCT_L = 2  # the channel-wise product is cheap and most useful at low l


class AtomLinear(nn.Module):
    """Mix channels of equal l and parity; a bias on the true scalars.

    Parameters
    ----------
    l_max : int
        Highest l.
    sizes_in, sizes_out : (natural, pseudo) channels
        Natural channels (parity (-1)^l) come first in a feature tensor.
    """

    l: Tensor

    def __init__(self, l_max: int, sizes_in: tuple[int, int], sizes_out: tuple[int, int], gain: float = 1.0) -> None:
        super().__init__()
        self.sizes_in, self.sizes_out = sizes_in, sizes_out
        self.register_buffer("l", torch.as_tensor(harmonic_l(l_max)), persistent=False)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(l_max + 1, a, b) * gain / math.sqrt(max(a, 1))) for a, b in zip(sizes_in, sizes_out, strict=True)
        )
        self.bias = nn.Parameter(torch.zeros(sizes_out[0]))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n_atoms, K, C_in) -> natural and pseudo features (n_atoms, K, C)."""
        natural, pseudo = (
            torch.bmm(part.transpose(0, 1), weight[self.l]) for part, weight in zip(x.split(self.sizes_in, -1), self.weights, strict=True)
        )
        natural = torch.cat([natural[:1] + self.bias, natural[1:]])
        return natural.transpose(0, 1).contiguous(), pseudo.transpose(0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, C_in) -> (n_atoms, K, C_out)."""
        return torch.cat(self.parts(x), -1)


class AtomNorm(nn.Module):
    """Divide each l of each parity by its root mean square over components and channels; learned scale per channel.

    A tenth of the mean square over all l is added to each. Where a site symmetry forbids some l (perfect crystals do), what is there is
    rounding noise, or the small effect of a small displacement; a norm of each l alone would lift it to the size of the others.
    """

    l: Tensor
    mean: Tensor

    def __init__(self, l_max: int, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.sizes = sizes
        l = torch.as_tensor(harmonic_l(l_max))
        self.register_buffer("l", l, persistent=False)
        mean = torch.nn.functional.one_hot(l).double()
        self.register_buffer("mean", (mean / mean.sum(0)).T, persistent=False)
        self.scale = nn.Parameter(torch.ones(l_max + 1, sum(sizes)))

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, C) -> the same shape."""
        parts = [part for part in x.split(self.sizes, -1) if part.shape[-1]]  # there may be no pseudo channels, of which no mean exists
        powers = [self.mean.to(x) @ part.square().mean(-1, keepdim=True) for part in parts]  # (n_atoms, l_max + 1, 1)
        common = 0.1 * powers[0].mean(1, keepdim=True) + 1e-5
        scaled = [part * torch.rsqrt(power + common)[:, self.l] for part, power in zip(parts, powers, strict=True)]
        return torch.cat(scaled, -1) * self.scale[self.l]


@cache
def _product_paths() -> tuple[tuple[int, int, int], ...]:
    low = range(PRODUCT_L + 1)
    return tuple((a, b, c) for a in low for b in low for c in range(abs(a - b), a + b + 1))


class AtomProduct(nn.Module):
    """Channel-wise tensor product of two natural features with l <= 2, coupled to all l: the many-body term.

    Parameters
    ----------
    l_max : int
        Highest l of the output.
    channels : int
        Channels of both factors.
    sizes_out : (natural, pseudo)
        Channels of the output.
    """

    table: Tensor

    def __init__(self, l_max: int, channels: int, sizes_out: tuple[int, int]) -> None:
        super().__init__()
        self.l_max, self.sizes_out = l_max, sizes_out
        paths = [p for p in _product_paths() if p[2] <= l_max]
        size = (PRODUCT_L + 1) ** 2
        table = torch.zeros(size, size, sum(2 * c + 1 for *_, c in paths), dtype=torch.float64)
        self.places: dict[tuple[int, int], list[int]] = {}  # (l, 0 natural | 1 pseudo) -> start of each of its paths
        start = 0
        for a, b, c in paths:
            table[a * a : (a + 1) ** 2, b * b : (b + 1) ** 2, start : start + 2 * c + 1] = torch.as_tensor(clebsch_gordan(a, b, c))
            self.places.setdefault((c, (a + b + c) % 2), []).append(start)
            start += 2 * c + 1
        self.register_buffer("table", table.flatten(0, 1), persistent=False)
        self.weights = nn.ParameterDict(
            {
                f"{l}_{p}": nn.Parameter(torch.randn(len(s) * channels, sizes_out[p]) / math.sqrt(len(s) * channels))
                for (l, p), s in self.places.items()
            }
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two (n_atoms, 9, channels) tensors -> (n_atoms, K, C_out)."""
        outer = torch.einsum("nic,njc->ncij", a, b).flatten(2) @ self.table.to(a)  # (n, channels, paths x m)
        rows = []
        for l in range(self.l_max + 1):
            row = []
            for p in (0, 1):
                starts = self.places.get((l, p), [])
                if starts:
                    terms = torch.stack([outer[:, :, s : s + 2 * l + 1] for s in starts], 1).flatten(1, 2)  # (n, paths x channels, m)
                    row.append(terms.transpose(1, 2) @ self.weights[f"{l}_{p}"])
                else:
                    row.append(a.new_zeros(len(a), 2 * l + 1, self.sizes_out[p]))
            rows.append(torch.cat(row, -1))
        return torch.cat(rows, 1)


class FeedForward(nn.Module):
    """x + gated linear map + many-body product of the normalized features."""

    def __init__(self, l_max: int, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.sizes, self.factors = sizes, max(sizes[0] // 2, 1)
        self.norm = AtomNorm(l_max, sizes)
        self.inner = AtomLinear(l_max, sizes, sizes)
        self.gate = nn.Linear(sizes[0], sizes[0] + sum(sizes))
        self.outer = AtomLinear(l_max, sizes, sizes, gain=0.5)
        self.left = AtomLinear(PRODUCT_L, (sizes[0], 0), (self.factors, 0))
        self.right = AtomLinear(PRODUCT_L, (sizes[0], 0), (self.factors, 0))
        self.product = AtomProduct(l_max, self.factors, sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, C) -> the same shape."""
        y = self.norm(x)
        scalars, gates = self.gate(y[:, 0, : self.sizes[0]]).split([self.sizes[0], sum(self.sizes)], -1)
        hidden = self.inner(y) * torch.sigmoid(gates)[:, None]
        hidden = torch.cat([torch.cat([nn.functional.silu(scalars), hidden[:, 0, self.sizes[0] :]], -1)[:, None], hidden[:, 1:]], 1)
        low = y[:, : (PRODUCT_L + 1) ** 2, : self.sizes[0]]
        out: Tensor = x + self.outer(hidden) + 0.5 * self.product(self.left(low), self.right(low))
        return out
