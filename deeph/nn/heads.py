"""From features to block coefficients: off-site in the bond frame, on-site in the global frame."""

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import Channels, Sort, sector_sizes
from deeph.nn.embedding import PairCoefficients
from deeph.nn.irreps import BlockIrreps, FloatArray, IntArray
from deeph.nn.so2 import BondLinear
from deeph.nn.tables import AtomTable, PairTable

Element = tuple[int, tuple[int, ...]]
"""Atomic number and shells."""


def bond_codes(e: BondFeatures, layout: BondLayout, sort: Sort) -> Tensor:
    """(n_spin, n_bonds, width) all features of one sort in one row: sector by sector, component by component, g before u."""
    n_spin = layout.channels.of_sort(sort)[0].n_spin
    rows = [x.unflatten(1, (-1, n_spin)) for x, row in zip(e, layout.sectors, strict=True) if row.sort == sort]
    return torch.cat([y for x in rows for y in x.transpose(0, 1).flatten(0, 1)], -1)


class SectorLayout(NamedTuple):
    """Which columns make the coefficients of one sector for the shells of two elements.

    Attributes
    ----------
    first, second : (k,) int arrays
        Columns over (slot, shell pair), as seen from the end i and from the end j.
    sign : (2, 1, k) array
        Sign of the second ones, for g and u.
    """

    first: IntArray
    second: IntArray
    sign: FloatArray


class OffsiteHead(nn.Module):
    """One linear map per sector to every irrep of the blocks, for a code of some rank, contracted with coefficients of the shells.

    The order is never truncated: all charges are predicted. Codes and coefficients are taken as seen from both ends and averaged, so that
    H_ji = H_ij^dagger holds by construction. Everything after the features is linear, so the contraction with the coefficients is done on
    the weights of the map, once for all bonds between two elements.

    Parameters
    ----------
    angular : list of int
        The l that occur in the basis.
    layout : BondLayout
        Of the bond features; l_max is at least the largest charge.
    sort : Sort
        The features that are read.
    rank : int
        Length of a shell-pair code.
    spin, antisymmetric : bool
        As for :class:`deeph.nn.irreps.BlockIrreps`.
    """

    def __init__(
        self, angular: list[int], layout: BondLayout, sort: Sort, rank: int, *, spin: bool = False, antisymmetric: bool = False
    ) -> None:
        super().__init__()
        self.rank = rank
        self.coefficients = PairCoefficients(rank)
        self.blocks = {(a, b): BlockIrreps(a, b, spin=spin, antisymmetric=antisymmetric) for a in angular for b in angular}
        own = [row for row in layout.sectors if row.sort == sort]
        n_slots = [0] * len(own)
        self.columns: dict[tuple[int, int, int], int] = {}  # (l1, l2, slot) -> number in its sector
        for (a, b), block in self.blocks.items():
            for slot in range(int(block.slot.max()) + 1):
                sector = int(block.sector[block.slot == slot][0])
                self.columns[a, b, slot] = n_slots[sector]
                n_slots[sector] += 1
        self.linear = BondLinear(sector_sizes(own), [n * rank for n in n_slots], gain=0.5)
        self._layouts: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[list[SectorLayout], IntArray]] = {}

    def forward(self, codes: Tensor, i: Element, j: Element, table: PairTable) -> Tensor:
        """(..., n, width) codes of bonds between the elements i and j -> (..., n, table.size) standardized coefficients."""
        if (i[1], j[1]) not in self._layouts:
            self._layouts[i[1], j[1]] = self._layout(i[1], j[1], table)
        sectors, order = self._layouts[i[1], j[1]]
        here, there = self.coefficients(i, j), self.coefficients(j, i).transpose(0, 1)
        c = torch.cat([here.flatten(0, 1), there.flatten(0, 1)]).T / math.sqrt(2 * self.rank)
        out, start = [], 0
        for s, (weight, layout) in enumerate(zip(self.linear.weights, sectors, strict=True)):
            full = (weight.unflatten(-1, (-1, self.rank)) @ c).flatten(-2)  # (2, channels, slots x 2 shell pairs)
            first, second = (full.index_select(-1, torch.as_tensor(columns, device=full.device)) for columns in layout[:2])
            part = (first + second * torch.as_tensor(layout.sign, dtype=full.dtype, device=full.device)).flatten(0, 1)
            for _ in range(1 if s < 2 else 2):  # both components share the map
                out.append(codes[..., start : start + len(part)] @ part)
                start += len(part)
        return torch.cat(out, -1).index_select(-1, torch.as_tensor(order, device=codes.device))

    def _layout(self, shells_i: tuple[int, ...], shells_j: tuple[int, ...], table: PairTable) -> tuple[list[SectorLayout], IntArray]:
        """The layout of every sector, and where in the row of all outputs each coefficient of the table is."""
        n_pairs, n_sectors = len(shells_i) * len(shells_j), len(self.linear.weights)
        rows: list[list[tuple[int, int, float, int]]] = [[] for _ in range(2 * n_sectors)]  # by 2 sector + component
        for pair, (a, b) in enumerate(product(range(len(shells_i)), range(len(shells_j)))):
            l1, l2 = shells_i[a], shells_j[b]
            block, other = self.blocks[l1, l2], self.blocks[l2, l1]
            for k, (partner, sign) in enumerate(zip(*block.transposed, strict=True)):
                first = 2 * n_pairs * self.columns[l1, l2, int(block.slot[k])] + pair
                second = 2 * n_pairs * self.columns[l2, l1, int(other.slot[partner])] + n_pairs + pair
                rows[2 * int(block.sector[k]) + int(block.component[k])].append((first, second, float(sign), table.start[a, b] + k))
        sectors = []
        for row in rows[::2]:
            numbers = np.array([r[:2] for r in row], np.int64).reshape(-1, 2)
            sign = np.array([r[2] for r in row])
            sectors.append(SectorLayout(numbers[:, 0], numbers[:, 1], np.stack([sign, -sign])[:, None]))
        return sectors, np.argsort([r[3] for row in rows for r in row])


class OnsiteHead(nn.Module):
    """Linear maps from atom features of each (L, parity) to the coupled blocks (l1 x l2 -> L12) [x spin] -> L.

    Symmetric, or antisymmetric, by construction. The parity of all of them is (-1)^(l1+l2): a Pauli matrix has none.

    Parameters
    ----------
    angular : list of int
        The l that occur in the basis.
    channels : Channels
        Of the atom features.
    sort : Sort
        The features that are read.
    rank : int
        Length of a shell-pair code.
    spin : bool
        Whether the Pauli matrix is coupled to the orbitals.
    """

    def __init__(self, angular: list[int], channels: Channels, sort: Sort, rank: int, *, spin: bool = False) -> None:
        super().__init__()
        self.rank, self.spin = rank, spin
        self.families = channels.of_sort(sort)
        self.starts = [channels.start(sort, pseudo=f.pseudo) for f in self.families]
        self.coefficients = PairCoefficients(rank)
        self.weights = nn.ParameterDict()
        for a, b in product(angular, repeat=2):
            for L12 in range(abs(a - b), a + b + 1):
                for L in range(abs(L12 - 1), L12 + 2) if spin else (L12,):
                    n = self.families[(a + b + L) % 2].number
                    self.weights[self._name(a, b, L12, L)] = nn.Parameter(torch.randn(n, rank) / math.sqrt(max(n, 1)))

    def _name(self, *path: int) -> str:
        return "_".join(map(str, path if self.spin else path[:3]))

    def forward(self, x: Tensor, element: Element, table: AtomTable) -> Tensor:
        """(n, K, width) features of atoms of one element -> (n, n_spin, table.size) standardized coefficients.

        n_spin counts the components of spin vectors; it is 1 for other features.
        """
        shells, n_spin = element[1], self.families[0].n_spin
        c = self.coefficients(element, element)
        codes: dict[tuple[int, int, int, int], Tensor] = {}
        out = []
        for a, b, L12, L, _ in table.paths:
            path = (shells[a], shells[b], L12, L)
            if path not in codes:
                p = (shells[a] + shells[b] + L) % 2
                features = x[:, L * L : (L + 1) ** 2, self.starts[p] : self.starts[p] + self.families[p].width]
                codes[path] = features.unflatten(-1, (n_spin, -1)).transpose(1, 2) @ self.weights[self._name(*path)]  # (n, n_spin, M, rank)
            out.append(codes[path] @ c[a, b])
        flat = table.symmetrized(torch.cat(out, -1).flatten(0, 1))
        return flat.view(-1, n_spin, table.size) / math.sqrt(self.rank)
