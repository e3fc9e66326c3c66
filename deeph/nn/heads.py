"""From features to block coefficients: off-site in the bond frame, on-site in the global frame."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.bond import BondFeatures
from deeph.nn.embedding import PairCoefficients
from deeph.nn.irreps import BlockIrreps, sector_sizes
from deeph.nn.so2 import BondLinear
from deeph.nn.tables import AtomTable, PairTable

Element = tuple[int, tuple[int, ...]]
"""Atomic number and shells."""


class OffsiteHead(nn.Module):
    """One linear map per sector to every (l1 m1, l2 m2), for a code of some rank, contracted with coefficients of the shells.

    The order is never truncated: all charges |m1| +- |m2| are predicted. Code and coefficients are evaluated as seen from both ends
    and averaged, so that H_ji = H_ij^T holds by construction.

    Parameters
    ----------
    angular : list of int
        The l that occur in the basis.
    l_max : int
        Highest l of the features; at least twice the largest angular momentum of the basis.
    sizes : (natural, pseudo)
        Channels per l of the bond features.
    rank : int
        Length of a shell-pair code.
    """

    def __init__(self, angular: list[int], l_max: int, sizes: tuple[int, int], rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.coefficients = PairCoefficients(rank)
        blocks = {(a, b): BlockIrreps(a, b) for a in angular for b in angular}
        n_slots = [0] * (l_max + 2)
        place: dict[tuple[int, int, int], tuple[int, int]] = {}  # (l1, l2, slot) -> (sector, number in it)
        for (a, b), block in blocks.items():
            for slot in range(int(block.slot.max()) + 1):
                sector = int(block.sector[block.slot == slot][0])
                place[a, b, slot] = (sector, n_slots[sector])
                n_slots[sector] += 1
        self.linear = BondLinear(sector_sizes(l_max, *sizes), [n * rank for n in n_slots], gain=0.5)
        start = np.concatenate([[0], np.cumsum([n * (1 if s < 2 else 2) for s, n in enumerate(n_slots)])])
        columns = {}
        for (a, b), block in blocks.items():
            where = [place[a, b, int(s)] for s in block.slot]
            component = np.where(block.sector < 2, 0, block.component)
            columns[a, b] = np.array([start[s] + c * n_slots[s] + k for (s, k), c in zip(where, component, strict=True)])
        exchanged = [columns[b, a][block.transposed[0]] for (a, b), block in blocks.items()]
        self.lengths = {ab: len(c) for ab, c in columns.items()}
        self.register_buffer("columns", torch.as_tensor(np.concatenate(list(columns.values()))), persistent=False)
        self.register_buffer("exchanged", torch.as_tensor(np.concatenate(exchanged)), persistent=False)
        sign = torch.as_tensor(np.concatenate([block.transposed[1] for block in blocks.values()]))
        self.register_buffer("exchange_sign", sign[:, None], persistent=False)

    columns: Tensor
    exchanged: Tensor
    exchange_sign: Tensor

    def codes(self, e: BondFeatures) -> Tensor:
        """(n, combinations, 2 rank) codes as seen from the end i and from the end j, block (l1, l2) by block."""
        parts = []
        for y in self.linear(e):
            split = y.unflatten(-1, (-1, self.rank))
            parts.append(split if split.dim() == 4 else split.transpose(1, 2).flatten(2, 3))
        even, odd = torch.cat(parts, 2)
        here = (even + odd).index_select(1, self.columns)
        there = (even - odd).index_select(1, self.exchanged) * self.exchange_sign.to(even.dtype)
        return torch.cat([here, there], -1)

    def forward(self, codes: Tensor, i: Element, j: Element, table: PairTable) -> Tensor:
        """(n, table.size) standardized coefficients of bonds between the elements i and j."""
        c_ij, c_ji = self.coefficients(i, j), self.coefficients(j, i).transpose(0, 1)
        c = torch.cat([c_ij, c_ji], -1)
        out, order = [], []
        for ((a, b), n), code in zip(self.lengths.items(), codes.split(list(self.lengths.values()), 1), strict=True):
            rows_i = [s for s, l in enumerate(i[1]) if l == a]
            rows_j = [s for s, l in enumerate(j[1]) if l == b]
            if not rows_i or not rows_j:
                continue
            weight = c[rows_i][:, rows_j].flatten(0, 1)  # (n_a n_b, 2 rank)
            out.append((code @ weight.T).flatten(1))
            # columns run over (combination, a, b): where each stands in the table
            starts = np.array([table.start[s, t] for s in rows_i for t in rows_j])
            order.append((np.arange(n)[:, None] + starts).ravel())
        place = torch.as_tensor(np.argsort(np.concatenate(order)), device=codes.device)
        return torch.cat(out, 1).index_select(1, place) / math.sqrt(2 * self.rank)


class OnsiteHead(nn.Module):
    """Linear maps from atom features of each (L, parity) to the coupled blocks l1 x l2 -> L, symmetric by construction."""

    def __init__(self, angular: list[int], sizes: tuple[int, int], rank: int) -> None:
        super().__init__()
        self.sizes, self.rank = sizes, rank
        self.coefficients = PairCoefficients(rank)
        self.weights = nn.ParameterDict()
        for a in angular:
            for b in angular:
                for L in range(abs(a - b), a + b + 1):
                    n = sizes[(a + b + L) % 2]
                    self.weights[f"{a}_{b}_{L}"] = nn.Parameter(torch.randn(n, rank) / math.sqrt(max(n, 1)))

    def forward(self, x: Tensor, element: Element, table: AtomTable) -> Tensor:
        """(n, K, C) features of atoms of one element -> (n, table.size) standardized coefficients."""
        shells = element[1]
        c = self.coefficients(element, element)
        codes: dict[tuple[int, int, int], Tensor] = {}
        out = []
        for a, b, L, _ in table.paths:
            path = (shells[a], shells[b], L)
            if path not in codes:
                natural = sum(path) % 2 == 0
                features = x[:, L * L : (L + 1) ** 2, : self.sizes[0]] if natural else x[:, L * L : (L + 1) ** 2, self.sizes[0] :]
                codes[path] = features @ self.weights["_".join(map(str, path))]
            out.append(codes[path] @ c[a, b])
        return torch.cat(out, 1) @ table.symmetrizer.to(x) / math.sqrt(self.rank)
