"""From features to block coefficients: off-site in the bond frame, on-site in the global frame."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import Channels, Sort, sector_sizes
from deeph.nn.embedding import PairCoefficients
from deeph.nn.irreps import BlockIrreps, FloatArray, IntArray
from deeph.nn.so2 import BondLinear
from deeph.nn.tables import AtomTable, PairTable

MAX_PLANS = 32  # sets of pairs of elements whose index tables are kept

Element = tuple[int, tuple[int, ...]]
"""Atomic number and shells."""


def features_of(e: BondFeatures, layout: BondLayout, sort: Sort) -> BondFeatures:
    """The sectors of one sort."""
    return [x for x, row in zip(e, layout.sectors, strict=True) if row.sort == sort]


class SectorColumns(NamedTuple):
    """Which coefficients of a pair of elements come from one sector; k of them for each component.

    Attributes
    ----------
    slot, a, b : (k,) int arrays
        Slot of the irrep in the sector, and its shells, as seen from the end i.
    slot_back : (k,) int array
        Slot as seen from the end j, where the shells are (b, a).
    sign : (k,) array
        Sign of the latter for g; for u it is the opposite.
    """

    slot: IntArray
    a: IntArray
    b: IntArray
    slot_back: IntArray
    sign: FloatArray


class SectorPlan(NamedTuple):
    """How the weights of one sector are contracted for all pairs of elements of a graph; k coefficients in all.

    Attributes
    ----------
    pairs : (slots, n) int tensor
        The pairs of shells that have the angular momenta of each slot, repeated to equal length.
    here, there : (k,) int tensors
        Which (slot, shell pair) each coefficient is, as seen from i and from j.
    sign : (k, 2, 1) tensor
        Of the latter, for g and u.
    numbers : list of int
        Coefficients of each pair of elements.
    """

    pairs: Tensor
    here: Tensor
    there: Tensor
    sign: Tensor
    numbers: list[int]


class KindColumns(NamedTuple):
    """Those of all sectors, and where in the row of all outputs (sector by sector, component by component) each coefficient is."""

    sectors: list[SectorColumns]
    order: Tensor
    inverse: Tensor


class Contracted(NamedTuple):
    """A head for the bonds between two elements.

    Attributes
    ----------
    weights : list of (2, k, channels) tensors
        For each sector, for g and u.
    columns : KindColumns
        Which coefficients these are.
    """

    weights: list[Tensor]
    columns: KindColumns


class OffsiteHead(nn.Module):
    """One linear map per sector to every irrep of the blocks, for a code of some rank, contracted with coefficients of the shells.

    The order is never truncated: all charges are predicted. Codes and coefficients are taken as seen from both ends and averaged, so that
    H_ji = H_ij^dagger holds by construction. Everything after the features is linear, so the contraction with the coefficients is done on
    the weights of the map, for all pairs of elements of a graph at once.

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
        self.slots: list[list[tuple[int, int]]] = [[] for _ in own]  # (l1, l2) of each slot of each sector
        self.columns: dict[tuple[int, int, int], int] = {}  # (l1, l2, slot) -> number in its sector
        for (a, b), block in self.blocks.items():
            for slot in range(int(block.slot.max()) + 1):
                sector = int(block.sector[block.slot == slot][0])
                self.columns[a, b, slot] = len(self.slots[sector])
                self.slots[sector].append((a, b))
        self.linear = BondLinear(sector_sizes(own), [len(slots) * rank for slots in self.slots], gain=0.5)
        self._kinds: dict[tuple[tuple[int, ...], tuple[int, ...]], KindColumns] = {}
        self._plans: dict[tuple[Any, ...], list[SectorPlan]] = {}

    def contract(self, kinds: Sequence[tuple[Element, Element]], tables: Sequence[PairTable]) -> list[Contracted]:
        """The map for each pair of elements; the work is that of all shell pairs, whatever the number of bonds."""
        elements = sorted({one for kind in kinds for one in kind})
        columns = [self._columns(i[1], j[1], table) for (i, j), table in zip(kinds, tables, strict=True)]
        first = self.linear.weights[0]
        key = (tuple(kinds), first.device, first.dtype)
        if key not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            with torch.inference_mode(mode=False):  # what a prediction leaves behind serves training too
                self._plans[key] = self._plan(kinds, elements, columns, first)
        c = self.coefficients(elements).flatten(0, 1) / math.sqrt(2 * self.rank)
        weights: list[list[Tensor]] = [[] for _ in kinds]
        for weight, plan in zip(self.linear.weights, self._plans[key], strict=True):
            codes = c.index_select(0, plan.pairs.flatten()).unflatten(0, plan.pairs.shape)  # (slots, shell pairs, rank)
            full = torch.bmm(codes, weight.flatten(0, 1).unflatten(1, (-1, self.rank)).permute(1, 2, 0)).flatten(0, 1)
            here, there = (full.index_select(0, rows).unflatten(1, (2, -1)) for rows in (plan.here, plan.there))
            parts = torch.addcmul(here, there, plan.sign).transpose(0, 1).split(plan.numbers, 1)
            for own, part in zip(weights, parts, strict=True):
                own.append(part)
        return [Contracted(w, own) for w, own in zip(weights, columns, strict=True)]

    def _plan(
        self, kinds: Sequence[tuple[Element, Element]], elements: Sequence[Element], columns: Sequence[KindColumns], like: Tensor
    ) -> list[SectorPlan]:
        """Where :meth:`contract` finds everything."""
        first = dict(zip(elements, np.cumsum([0, *(len(shells) for _, shells in elements)]).tolist(), strict=False))
        own, place = self._by_type(elements)
        plans = []
        for s, slots in enumerate(self.slots):
            pairs = np.stack([own[l] for l in slots]) if slots else np.zeros((0, 1), np.int64)
            here, there = [], []
            for (i, j), kind in zip(kinds, columns, strict=True):
                sector = kind.sectors[s]
                a, b = first[i] + sector.a, first[j] + sector.b
                here.append(sector.slot * pairs.shape[1] + place[a, b])
                there.append(sector.slot_back * pairs.shape[1] + place[b, a])
            sign = np.concatenate([kind.sectors[s].sign for kind in columns])[:, None, None] * np.array([[1], [-1]])
            index = [torch.as_tensor(x, device=like.device) for x in (pairs, np.concatenate(here), np.concatenate(there))]
            plans.append(SectorPlan(index[0], index[1], index[2], torch.as_tensor(sign).to(like), [len(x) for x in here]))
        return plans

    def forward(self, e: BondFeatures, runs: Sequence[slice], maps: Sequence[Contracted]) -> list[Tensor]:
        """Standardized coefficients.

        Parameters
        ----------
        e : list of (2, components, n, channels) tensors
            Features of the sort.
        runs : sequence of slices
            Bonds between the same two elements.
        maps : sequence of Contracted
            For each run, from :meth:`contract`.

        Returns
        -------
        list of (n of the run, n_spin, size) tensors
        """
        return [cast("Tensor", x) for x in _Heads.apply(len(e), runs, [m.columns for m in maps], *e, *(w for m in maps for w in m.weights))]

    def _by_type(self, elements: Sequence[Element]) -> tuple[dict[tuple[int, int], IntArray], IntArray]:
        """For each (l1, l2) the pairs of all shells that have these, repeated to equal length; and the place of each pair among them."""
        l = np.array([l for _, shells in elements for l in shells])
        n, found = len(l), dict[tuple[int, int], IntArray]()
        place = np.zeros((n, n), np.int64)
        for l1, l2 in self.blocks:
            rows, columns = np.nonzero((l[:, None] == l1) & (l == l2))
            place[rows, columns] = np.arange(len(rows))
            found[l1, l2] = rows * n + columns
        longest = max(len(x) for x in found.values())
        return {key: np.resize(x, longest) if len(x) else np.zeros(longest, np.int64) for key, x in found.items()}, place

    def _columns(self, shells_i: tuple[int, ...], shells_j: tuple[int, ...], table: PairTable) -> KindColumns:
        """The columns of every sector for the shells of two elements."""
        if (shells_i, shells_j) not in self._kinds:
            with torch.inference_mode(mode=False):
                self._kinds[shells_i, shells_j] = self._find_columns(shells_i, shells_j, table)
        return self._kinds[shells_i, shells_j]

    def _find_columns(self, shells_i: tuple[int, ...], shells_j: tuple[int, ...], table: PairTable) -> KindColumns:
        rows: list[list[list[tuple[int, ...]]]] = [[[], []] for _ in self.slots]
        for a, b in product(range(len(shells_i)), range(len(shells_j))):
            l1, l2 = shells_i[a], shells_j[b]
            block, other = self.blocks[l1, l2], self.blocks[l2, l1]
            for k, (partner, sign) in enumerate(zip(*block.transposed, strict=True)):
                slot, back = self.columns[l1, l2, int(block.slot[k])], self.columns[l2, l1, int(other.slot[partner])]
                rows[int(block.sector[k])][int(block.component[k])].append((slot, a, b, back, int(sign), table.start[a, b] + k))
        sectors = [SectorColumns(*np.array([r[:5] for r in row[0]], np.int64).reshape(-1, 5).T) for row in rows]
        order = np.argsort([r[5] for row in rows for component in row for r in component])
        return KindColumns(sectors, torch.as_tensor(order), torch.as_tensor(np.argsort(order)))


class _Heads(torch.autograd.Function):
    """Products of runs of bonds with the maps of their elements; nothing is copied, and gradients of the features are written in place."""

    @staticmethod
    def forward(ctx: Any, n_sectors: int, runs: Sequence[slice], columns: Sequence[KindColumns], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.n_sectors, ctx.runs, ctx.columns = n_sectors, runs, columns
        out = []
        for number, (run, kind) in enumerate(zip(runs, columns, strict=True)):
            y, pieces = _Heads.outputs(tensors, n_sectors, number, run)
            for piece, x, w in pieces:
                torch.mm(x[0], w[0].T, out=piece)
                piece.addmm_(x[1], w[1].T)
            out.append(y.index_select(2, kind.order.to(y.device)))
        return tuple(out)

    @staticmethod
    def outputs(
        tensors: Sequence[Tensor], n_sectors: int, number: int, run: slice, y: Tensor | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """The (n, n_spin, size) outputs of a run, and for each component of each sector: its part of these, features, weights."""
        e, weights = tensors[:n_sectors], tensors[n_sectors * (number + 1) : n_sectors * (number + 2)]
        n_spin = e[0].shape[1]
        if y is None:
            size = sum(w.shape[1] * x.shape[1] // n_spin for x, w in zip(e, weights, strict=True))
            y = e[0].new_empty(run.stop - run.start, n_spin, size)
        pieces, start = [], 0
        for x, w in zip(e, weights, strict=True):
            k = w.shape[1]
            for c in range(x.shape[1]):
                begin = start + c // n_spin * k
                pieces.append((y[:, c % n_spin, begin : begin + k], x[:, c, run], w))
            start += x.shape[1] // n_spin * k
        return y, pieces

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors, n = ctx.saved_tensors, ctx.n_sectors
        out = [torch.empty_like(t) if number < n else torch.zeros_like(t) for number, t in enumerate(tensors)]
        for number, (run, kind) in enumerate(zip(ctx.runs, ctx.columns, strict=True)):
            y = grad[number].index_select(2, kind.inverse.to(grad[number].device))
            pieces = _Heads.outputs(tensors, n, number, run, y)[1]
            for (g, x, w), (_, to_x, to_w) in zip(pieces, _Heads.outputs(out, n, number, run, y)[1], strict=True):
                for p in (0, 1):
                    torch.mm(g, w[p], out=to_x[p])
                    to_w[p].addmm_(g.T, x[p])
        return (None, None, None, *out)


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
        c = self.coefficients([element])
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
