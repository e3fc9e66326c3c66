"""Blocks of known matrices, S or H0, as features of bonds and atoms.

In the frame of a bond the elements of a block are irreps of its symmetry, as the features are, so they can be read in as they are: the
maps of the heads, backwards. Shell pairs are contracted with coefficients of low rank that elements and shells generate, so that no basis
has weights of its own. A block is read from both ends; the sum of the two is even under their exchange (g), the difference odd (u).
On-site blocks are read in through Clebsch-Gordan coefficients.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from deeph.nn.baseline import EDGE, Baseline
from deeph.nn.bond import BondLayout, PartialFeatures
from deeph.nn.channels import SCALAR, Channels
from deeph.nn.embedding import PairCoefficients
from deeph.nn.heads import Contracted, OffsiteHead
from deeph.nn.kinds import Kinds, PairKind
from deeph.nn.radial import smooth_cutoff
from deeph.nn.rows import take_rows
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
        for weight, slots in zip(self.head.linear.weights, self.head.slots, strict=True):
            nn.init.normal_(weight, std=max(len(slots), 1) ** -0.5)  # it sums over the slots, not over the channels

    def contract(self, kinds: Sequence[PairKind]) -> dict[PairKind, Contracted]:
        """The maps for some pairs of elements, to be made once for all their bonds."""
        ends = [((i, self.shells[i]), (j, self.shells[j])) for i, j in kinds]
        maps = self.head.contract(ends, [self.tables[kind] for kind in kinds]) if kinds else []
        return dict(zip(kinds, maps, strict=True))

    def prepared(self, x: Tensor, kind: PairKind, own: Contracted) -> Tensor:
        """(n, size) coefficients of bonds between two elements in the order of the maps, over the root of the number of alike shells."""
        i, j = (self.shells[z] for z in kind)
        alike = [i.count(i[a]) * j.count(j[b]) for a, b in self.tables[kind].shell_pair.tolist()]
        return (x / torch.tensor(alike).to(x).sqrt()).index_select(1, own.columns.inverse.to(x.device))

    def forward(self, blocks: Sequence[Tensor], maps: Sequence[Contracted]) -> PartialFeatures:
        """Features of a run of bonds; those that are not even scalars of spin space are None.

        Parameters
        ----------
        blocks : sequence of (n, size) tensors
            For each pair of elements, from :meth:`prepared`.
        maps : sequence of Contracted
            From :meth:`contract`.
        """
        out: list[Tensor | None] = [None] * len(self.layout.sectors)
        start = [0] * len(blocks)
        for s, row in enumerate(self.sectors):  # the even scalars come first
            parts = []
            for number, (x, own) in enumerate(zip(blocks, maps, strict=True)):
                w = own.weights[s]  # (2, k, channels)
                stop = start[number] + row.components * w.shape[1]
                own_x = x[:, start[number] : stop].unflatten(1, (row.components, w.shape[1])).transpose(0, 1)
                parts.append(own_x @ w[:, None])
                start[number] = stop
            out[s] = torch.cat(parts, 2)
        return out


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


class KnownInput(nn.Module):
    """One known matrix as input: what its own two-centre functions leave, in units of what that is at each bond length.

    Of S, which is a two-centre integral, nothing would be left: it is read in as it is, in units of its mean size.

    Parameters
    ----------
    baseline : Baseline
        Two-centre functions and scales of the matrix.
    layout : BondLayout
        Of the bond features.
    channels : Channels
        Of the atom features.
    rank : int
        Length of a shell-pair code.
    onsite : bool
        Whether on-site blocks are read, too; those of S are the same in all structures.
    """

    def __init__(self, baseline: Baseline, layout: BondLayout, channels: Channels, rank: int, *, onsite: bool) -> None:
        super().__init__()
        shells = {z: table.shells for z, table in baseline.atom_tables.items()}
        self.baseline = baseline
        self.bonds = BondInput(baseline.pair_tables, shells, layout, rank)
        self.atoms = AtomInput(baseline.atom_tables, layout.l_max, channels, rank) if onsite else None

    def offsite_values(self, kind: PairKind, r: Tensor, coefficients: Tensor) -> Tensor:
        """(n, size) coefficients in eV -> what is read in, of the order of one; zero at the cutoff, and where nothing was in training."""
        functions = self.baseline.pair(kind)
        known, level = functions.two_centre(r, r.new_zeros(len(r), 2, 1))[:, 0], functions.level(r)
        x = (coefficients - known) / level.clamp(min=self.baseline.floor / 10)
        return torch.where(level > 0, x, 0.0) * smooth_cutoff(r, functions.cutoff, EDGE)[:, None]

    def onsite_values(self, z: int, coefficients: Tensor) -> Tensor:
        """The same of on-site blocks."""
        scale = self.baseline.atom_scale(z)
        x = (coefficients - self.baseline.atom_mean(z)) / scale.clamp(min=self.baseline.floor / 10)
        return torch.where(scale > 0, x, 0.0)


class KnownInputs(nn.ModuleDict):
    """All known matrices that a model reads, by name; often none."""

    def reading(self, graph: Data, kinds: Kinds, atom_sizes: Tensor) -> "Reading":
        """Those of a graph, see :class:`Reading`."""
        return Reading({name: cast("KnownInput", known) for name, known in self.items()}, graph, kinds, atom_sizes)


class Reading:
    """The known matrices of one graph, which add to the first features of a network.

    Parameters
    ----------
    inputs : mapping of str to KnownInput
        How each matrix is read.
    graph : Data
        With ``offsite_input_M`` and ``onsite_input_M`` of each matrix M, its bonds sorted by pairs of elements.
    kinds : Kinds
        Its elements and pairs of elements.
    atom_sizes : (n_atoms,) int tensor
        Coefficients of the on-site block of each atom.
    """

    def __init__(self, inputs: Mapping[str, KnownInput], graph: Data, kinds: Kinds, atom_sizes: Tensor) -> None:
        self._inputs, self._graph, self._kinds, self._atom_sizes = inputs, graph, kinds, atom_sizes
        self._maps = {name: known.bonds.contract([kind for kind, _ in kinds.bonds]) for name, known in inputs.items()}
        self._blocks: dict[str, dict[PairKind, Tensor]] = {}
        for name, known in inputs.items():
            rows = kinds.split(graph[f"offsite_input_{name}"], {kind: known.bonds.tables[kind].size for kind, _ in kinds.bonds})
            self._blocks[name] = {kind: known.bonds.prepared(x, kind, self._maps[name][kind]) for kind, x in rows.items()}

    def with_bonds(self, e: PartialFeatures, run: slice) -> PartialFeatures:
        """The features of a run of bonds, and what is read of their blocks."""
        met = [kind for kind, _ in self._kinds.within(run)]
        for name, known in self._inputs.items():
            read = known.bonds(self._kinds.rows_within(run, self._blocks[name]), [self._maps[name][kind] for kind in met])
            e = [b if a is None else a if b is None else a + b for a, b in zip(e, read, strict=True)]
        return e

    def with_atoms(self, x: Tensor) -> Tensor:
        """The features of all atoms, and what is read of their blocks."""
        for name, known in self._inputs.items():
            if known.atoms is not None:
                flat = self._graph[f"onsite_input_{name}"]
                for z, rows in self._kinds.atoms:
                    read = known.atoms(take_rows(flat, self._atom_sizes, rows), z)
                    x = x + read if isinstance(rows, slice) else x.index_add(0, rows, read)
        return x
