"""Blocks as features: those of bonds in their frames, those of atoms through Clebsch-Gordan coefficients.

In the frame of a bond the elements of a block are irreps of its symmetry, as the features are, so they can be read in as they are: the
maps of the heads, backwards. Shell pairs are contracted with coefficients of low rank that elements and shells generate, so that no basis
has weights of its own. A block is read from both ends; the sum of the two is even under their exchange (g), the difference odd (u).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeph.nn.bond import BondLayout, PartialFeatures
from deeph.nn.channels import SCALAR, Channels
from deeph.nn.embedding import PairCoefficients
from deeph.nn.heads import Contracted, OffsiteHead
from deeph.nn.kinds import PairKind
from deeph.nn.tables import AtomTable, PairTable

Shells = tuple[int, ...]


class BondInput(nn.Module):
    """Off-site blocks in the frames of the bonds -> even bond features.

    Parameters
    ----------
    tables : mapping of (zi, zj) to PairTable
        Layouts of the coefficients.
    shells : mapping of int to tuple of int
        Of each element.
    layout : BondLayout
        Of the bond features.
    rank : int
        Length of a shell-pair code.
    """

    def __init__(self, tables: Mapping[PairKind, PairTable], shells: Mapping[int, Shells], layout: BondLayout, rank: int) -> None:
        super().__init__()
        self.tables, self.shells, self.layout = tables, shells, layout
        self.sectors = [row for row in layout.sectors if row.sort == SCALAR]
        self.head = OffsiteHead(sorted({l for own in shells.values() for l in own}), layout, SCALAR, rank)
        self.norms = {kind: self._norm(kind) for kind in tables}
        for weight, slots in zip(self.head.linear.weights, self.head.slots, strict=True):
            nn.init.normal_(weight, std=max(len(slots), 1) ** -0.5)  # it sums over the slots, not over the channels

    def contract(self, kinds: Sequence[PairKind]) -> dict[PairKind, Contracted]:
        """The maps for some pairs of elements, to be made once for all their bonds."""
        ends = [((i, self.shells[i]), (j, self.shells[j])) for i, j in kinds]
        maps = self.head.contract(ends, [self.tables[kind] for kind in kinds]) if kinds else []
        return dict(zip(kinds, maps, strict=True))

    def _norm(self, kind: PairKind) -> Tensor:
        """(size,) one over the root of the number of alike shells, over which each coefficient is summed."""
        i, j = (self.shells[z] for z in kind)
        alike = [i.count(i[a]) * j.count(j[b]) for a, b in self.tables[kind].shell_pair.tolist()]
        return torch.tensor(alike, dtype=torch.float64).rsqrt()

    def forward(self, blocks: Sequence[tuple[PairKind, Tensor]], maps: Mapping[PairKind, Contracted]) -> PartialFeatures:
        """Features of a run of bonds; those that are not even scalars of spin space are None.

        Parameters
        ----------
        blocks : sequence of ((zi, zj), (n, size) tensor)
            The elements, and the coefficients of their bonds.
        maps : mapping of (zi, zj) to Contracted
            From :meth:`contract`.
        """
        found: list[list[Tensor]] = [[] for _ in self.sectors]
        for kind, x in blocks:
            own, start = maps[kind], 0
            in_order = (x * self.norms[kind].to(x)).index_select(1, own.columns.inverse.to(x.device))
            for parts, row, w in zip(found, self.sectors, own.weights, strict=True):
                stop = start + row.components * w.shape[1]
                of_sector = in_order[:, start:stop].unflatten(1, (row.components, w.shape[1])).transpose(0, 1)
                parts.append(of_sector @ w[:, None])  # (2, components, n, channels)
                start = stop
        rest = [None] * (len(self.layout.sectors) - len(self.sectors))
        return [*(torch.cat(parts, 2) for parts in found), *rest]  # the even scalars come first


class AtomPaths(NamedTuple):
    """Which coefficients of an element have one angular momentum and parity.

    Attributes
    ----------
    columns : (2 L + 1, n_paths) int tensor
        Coefficients.
    pairs, slots : (n_paths,) int tensors
        Pair of shells, counted row by row, and which (l1, l2) it is.
    norm : (n_paths, 1) tensor
        One over the root of the number of alike shells.
    """

    columns: Tensor
    pairs: Tensor
    slots: Tensor
    norm: Tensor


class AtomInput(nn.Module):
    """On-site blocks -> even atom features, through Clebsch-Gordan.

    Parameters
    ----------
    tables : mapping of int to AtomTable
        Layouts of the coefficients of each element.
    l_max : int
        Highest l of the features.
    channels : Channels
        Of the atom features.
    rank : int
        Length of a shell-pair code.
    """

    def __init__(self, tables: Mapping[int, AtomTable], l_max: int, channels: Channels, rank: int) -> None:
        super().__init__()
        self.tables, self.l_max, self.channels = tables, l_max, channels
        self.coefficients = PairCoefficients(rank)
        self.slots: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (L, 0 natural | 1 pseudo) -> all (l1, l2)
        for a, b in product(sorted({l for table in tables.values() for l in table.shells}), repeat=2):
            for L in range(abs(a - b), a + b + 1):
                self.slots.setdefault((L, (a + b + L) % 2), []).append((a, b))
        self.weights = nn.ParameterDict()
        for (L, p), slots in self.slots.items():
            n = channels.of_sort(SCALAR)[p].number
            self.weights[f"{L}_{p}"] = nn.Parameter(torch.randn(len(slots), rank, n) / math.sqrt(len(slots) * rank))
        self._paths = {z: self._find_paths(table) for z, table in tables.items()}

    def _find_paths(self, table: AtomTable) -> dict[tuple[int, int], AtomPaths]:
        shells, count = table.shells, Counter(table.shells)
        found: dict[tuple[int, int], list[tuple[int, int, int, float]]] = {}
        for a, b, _, L, start in table.paths:
            l1, l2 = shells[a], shells[b]
            key = (L, (l1 + l2 + L) % 2)
            norm = (count[l1] * count[l2]) ** -0.5
            found.setdefault(key, []).append((start, a * len(shells) + b, self.slots[key].index((l1, l2)), norm))
        out = {}
        for (L, p), rows in found.items():
            starts, pairs, slots, norms = (torch.tensor(column) for column in zip(*rows, strict=True))
            out[L, p] = AtomPaths(torch.arange(2 * L + 1)[:, None] + starts, pairs, slots, norms[:, None])
        return out

    def forward(self, x: Tensor, z: int) -> Tensor:
        """(n, size) coefficients of atoms of an element -> (n, K, width) features."""
        codes = self.coefficients([(z, self.tables[z].shells)]).flatten(0, 1)
        rows = []
        for L in range(self.l_max + 1):
            row = []
            for p, family in enumerate(self.channels.of_sort(SCALAR)):
                paths = self._paths[z].get((L, p))
                if paths is None:
                    row.append(x.new_zeros(len(x), 2 * L + 1, family.number))
                else:
                    columns, pairs, slots, norm = (t.to(x.device) for t in paths)
                    c = codes[pairs] * norm.to(x)
                    map_ = torch.einsum("pr,prc->pc", c, self.weights[f"{L}_{p}"][slots])
                    row.append(x[:, columns] @ map_)
            rows.append(torch.cat(row, -1))
        out = torch.cat(rows, 1)
        return nn.functional.pad(out, (0, sum(self.channels.widths) - out.shape[-1]))
