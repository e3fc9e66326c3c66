"""Maps on atom features: per-l linear maps, norm, and the gated feed-forward part with its many-body products."""

import math
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from deeph.nn.channels import EXCHANGE, MAGNETIC, SCALAR, Channels, Family
from deeph.nn.irreps import clebsch_gordan, harmonic_l

PRODUCT_L = 2  # the channel-wise product is cheap and most useful at low l


class AtomLinear(nn.Module):
    """Mix channels of equal l and labels; a bias on the true scalars.

    Parameters
    ----------
    l_max : int
        Highest l.
    before, after : Channels
        With the same labels.
    gain : float
        Scale of the initial weights.
    """

    l: Tensor

    def __init__(self, l_max: int, before: Channels, after: Channels, gain: float = 1.0) -> None:
        super().__init__()
        self.before = before
        self.register_buffer("l", torch.as_tensor(harmonic_l(l_max)), persistent=False)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(l_max + 1, a.number, b.number) * gain / math.sqrt(max(a.number, 1)))
            for a, b in zip(before.families, after.families, strict=True)
        )
        first = after.families[0]
        self.bias = nn.Parameter(torch.zeros(first.number)) if first.sort == SCALAR and not first.pseudo else None

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """(n_atoms, K, n) -> one (n_atoms, K, number) for each family and spin component."""
        out = list[Tensor]()
        for family, part, weight in zip(self.before.families, x.split(self.before.widths, -1), self.weights, strict=True):
            for one in part.split([family.number] * family.n_spin, -1):
                y = torch.bmm(one.transpose(0, 1), weight[self.l])
                if not out and self.bias is not None:
                    y = torch.cat([y[:1] + self.bias, y[1:]])
                out.append(y.transpose(0, 1).contiguous())
        return tuple(out)

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, n) -> (n_atoms, K, n of the channels after)."""
        return torch.cat(self.parts(x), -1)


class AtomNorm(nn.Module):
    """Divide each l of each family by its root mean square over components and channels; learned scale per channel.

    A tenth of the mean square of the first family over all l is added to each. Where a site symmetry forbids some l (perfect crystals
    do), or there is no magnetism, what is there is rounding noise, or the small effect of a small displacement; a norm of each l alone
    would lift it to the size of the others.
    """

    l: Tensor
    mean: Tensor
    channel: Tensor

    def __init__(self, l_max: int, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        l = torch.as_tensor(harmonic_l(l_max))
        self.register_buffer("l", l, persistent=False)
        mean = torch.nn.functional.one_hot(l).double()
        self.register_buffer("mean", (mean / mean.sum(0)).T, persistent=False)
        self.register_buffer("channel", torch.tensor(channels.expanded(), dtype=torch.int64), persistent=False)
        self.scale = nn.Parameter(torch.ones(l_max + 1, channels.total))

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, n) -> the same shape."""
        # there may be no pseudo channels, of which no mean exists; a spin vector counts by its length
        parts = [(part, f.n_spin) for part, f in zip(x.split(self.channels.widths, -1), self.channels.families, strict=True) if f.number]
        powers = [self.mean.to(x) @ part.square().mean(-1, keepdim=True) * n_spin for part, n_spin in parts]  # (n_atoms, l_max + 1, 1)
        common = 0.1 * powers[0].mean(1, keepdim=True) + 1e-5
        scaled = [part * torch.rsqrt(power + common)[:, self.l] for (part, _), power in zip(parts, powers, strict=True)]
        return torch.cat(scaled, -1) * self.scale[self.l][:, self.channel]


@cache
def _product_paths() -> tuple[tuple[int, int, int], ...]:
    low = range(PRODUCT_L + 1)
    return tuple((a, b, c) for a in low for b in low for c in range(abs(a - b), a + b + 1))


class AtomProduct(nn.Module):
    """Channel-wise tensor product of two families with l <= 2, coupled to all l: the many-body term.

    Parities and signs under time reversal multiply; of two spin vectors the scalar product is taken.

    Parameters
    ----------
    l_max : int
        Highest l of the output.
    channels : Channels
        Of the features.
    first, second : Family
        The factors.
    """

    table: Tensor

    def __init__(self, l_max: int, channels: Channels, first: Family, second: Family) -> None:
        super().__init__()
        self.l_max, self.first, self.second = l_max, first, second
        factors = max(min(first.number, second.number) // 2, 1)
        self.starts = [channels.start(f.sort, pseudo=f.pseudo) for f in (first, second)]
        self.left, self.right = (AtomLinear(PRODUCT_L, Channels((f,)), Channels((replace(f, number=factors),))) for f in (first, second))
        natural, pseudo = channels.of_sort(first.sort.times(second.sort))
        self.sizes_out = (natural.number, pseudo.number)
        low, high = channels.start(natural.sort), channels.start(natural.sort, pseudo=True) + pseudo.width
        self.around = (low, sum(channels.widths) - high)
        paths = [p for p in _product_paths() if p[2] <= l_max]
        size = (PRODUCT_L + 1) ** 2
        table = torch.zeros(size, size, sum(2 * c + 1 for *_, c in paths), dtype=torch.float64)
        self.places: dict[tuple[int, int], list[int]] = {}  # (l, 0 natural | 1 pseudo) -> start of each of its paths
        start = 0
        for a, b, c in paths:
            table[a * a : (a + 1) ** 2, b * b : (b + 1) ** 2, start : start + 2 * c + 1] = torch.as_tensor(clebsch_gordan(a, b, c))
            self.places.setdefault((c, (a + b + c + first.pseudo + second.pseudo) % 2), []).append(start)
            start += 2 * c + 1
        self.register_buffer("table", table.flatten(0, 1), persistent=False)
        self.weights = nn.ParameterDict(
            {
                f"{l}_{p}": nn.Parameter(torch.randn(len(s) * factors, self.sizes_out[p]) / math.sqrt(len(s) * factors))
                for (l, p), s in self.places.items()
            }
        )

    def _factor(self, number: int, y: Tensor) -> Tensor:
        """(n_atoms, 9, n_spin, factors) of the first or the second family."""
        family, linear, start = (self.first, self.second)[number], (self.left, self.right)[number], self.starts[number]
        return torch.stack(linear.parts(y[:, : (PRODUCT_L + 1) ** 2, start : start + family.width]), 2)

    def forward(self, y: Tensor) -> Tensor:
        """(n_atoms, K, n) features -> what is added to them, of the same shape."""
        a, b = self._factor(0, y), self._factor(1, y)
        if a.shape[2] == b.shape[2]:
            outer = torch.einsum("nisc,njsc->ncij", a, b)[:, None]
        else:
            outer = torch.einsum("nirc,njsc->nrscij", a, b).flatten(1, 2)
        coupled = outer.flatten(3) @ self.table.to(a)  # (n, n_spin, factors, paths x m)
        rows = []
        for l in range(self.l_max + 1):
            row = []
            for p in (0, 1):
                starts = self.places.get((l, p), [])
                if starts:
                    terms = torch.stack([coupled[..., s : s + 2 * l + 1] for s in starts], 2).flatten(
                        2, 3
                    )  # (n, n_spin, paths x factors, m)
                    made = terms.transpose(2, 3) @ self.weights[f"{l}_{p}"]  # (n, n_spin, m, channels)
                    row.append(made.transpose(1, 2).flatten(2))
                else:
                    row.append(a.new_zeros(len(a), 2 * l + 1, coupled.shape[1] * self.sizes_out[p]))
            rows.append(torch.cat(row, -1))
        return nn.functional.pad(torch.cat(rows, 1), self.around)


def _products(channels: Channels) -> list[tuple[Family, Family]]:
    """The factors of the many-body products.

    With magnetism also those of the surroundings with a moment, and of two moments; a moment is pseudo.
    """
    natural = channels.of_sort(SCALAR)[0]
    out = [(natural, natural)]
    if MAGNETIC in channels.sorts:
        own, pseudo = channels.of_sort(MAGNETIC)
        out += [(natural, own), (natural, pseudo), (pseudo, pseudo)]
    if EXCHANGE in channels.sorts:
        vector = channels.of_sort(EXCHANGE)[0]
        out += [(natural, vector), (vector, vector)]
    return out


class FeedForward(nn.Module):
    """x + gated linear map + many-body products of the normalized features; the gates are true scalars."""

    channel: Tensor

    def __init__(self, l_max: int, channels: Channels) -> None:
        super().__init__()
        self.scalars = channels.families[0].number
        self.register_buffer("channel", torch.tensor(channels.expanded(), dtype=torch.int64), persistent=False)
        self.norm = AtomNorm(l_max, channels)
        self.inner = AtomLinear(l_max, channels, channels)
        self.gate = nn.Linear(self.scalars, self.scalars + channels.total)
        self.outer = AtomLinear(l_max, channels, channels, gain=0.5)
        self.products = nn.ModuleList(AtomProduct(l_max, channels, *factors) for factors in _products(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, K, n) -> the same shape."""
        y = self.norm(x)
        scalars, gates = self.gate(y[:, 0, : self.scalars]).split([self.scalars, self.gate.out_features - self.scalars], -1)
        hidden = self.inner(y) * torch.sigmoid(gates)[:, None, self.channel]
        hidden = torch.cat([torch.cat([nn.functional.silu(scalars), hidden[:, 0, self.scalars :]], -1)[:, None], hidden[:, 1:]], 1)
        out: Tensor = x + self.outer(hidden)
        for product in self.products:
            out = out + 0.5 * product(y)
        return out
