"""Blocks of a known matrix, S or H0, as features of bonds and atoms.

In the frame of a bond the elements of a block are irreps of its symmetry, as the features are, so they can be read in as they are: the way
of the heads, backwards. Shell pairs are contracted with coefficients of low rank that elements and shells generate, so that no basis has
weights of its own, and what is left is mixed into the sectors of the features. A block is read from both ends; the sum of the two is even
under their exchange (g), the difference odd (u). On-site blocks are read in through Clebsch-Gordan coefficients.
"""

import math
from itertools import product
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.baseline import EDGE, Baseline
from deeph.nn.bond import BondLayout, PartialFeatures
from deeph.nn.channels import SCALAR, Channels, sector_sizes
from deeph.nn.embedding import PairCoefficients
from deeph.nn.irreps import BlockIrreps
from deeph.nn.kinds import atom_kinds, bond_kinds
from deeph.nn.radial import smooth_cutoff
from deeph.nn.rows import take_rows
from deeph.nn.so2 import BondLinear
from deeph.nn.tables import PairTable

Kind = tuple[int, int]
Shells = tuple[int, ...]


class ShellBlocks(NamedTuple):
    """Where the coefficients of all pairs of shells of two given l lie.

    Attributes
    ----------
    places : (n_pairs, (2 l1 + 1) (2 l2 + 1)) int tensor
        In the row of all coefficients of a block.
    pairs : (n_pairs,) int tensor
        The pairs of shells, counted row by row.
    """

    places: Tensor
    pairs: Tensor


class ShellContraction(nn.Module):
    """Sums over the shells of each l: coefficients of any two bases become codes that no longer depend on them.

    Parameters
    ----------
    angular : list of int
        The l that occur in the basis.
    rank : int
        Length of a code.
    """

    def __init__(self, angular: list[int], rank: int) -> None:
        super().__init__()
        self.rank, self.angular = rank, angular
        self.coefficients = PairCoefficients(rank)
        self._layouts: dict[tuple[Shells, Shells], list[ShellBlocks]] = {}

    @property
    def sizes(self) -> list[int]:
        """Codes for each pair of l, row by row."""
        return [(2 * a + 1) * (2 * b + 1) for a, b in product(self.angular, repeat=2)]

    def forward(self, x: Tensor, shells_i: Shells, shells_j: Shells, c: Tensor) -> Tensor:
        """Contract.

        Parameters
        ----------
        x : (n, size) tensor
            Coefficients, shell pair by shell pair.
        shells_i, shells_j : tuple of int
            Of both elements.
        c : (n_shells_i, n_shells_j, rank) tensor
            Of :class:`deeph.nn.embedding.PairCoefficients`.

        Returns
        -------
        (n, sum of sizes, rank) tensor
        """
        flat, out = c.flatten(0, 1), []
        for size, (places, pairs) in zip(self.sizes, self._layout(shells_i, shells_j), strict=True):
            if len(pairs):
                own = x[:, places.to(x.device).T.flatten()].unflatten(1, (size, len(pairs)))
                out.append(own @ flat[pairs.to(x.device)] / math.sqrt(len(pairs)))
            else:
                out.append(x.new_zeros(len(x), size, self.rank))
        return torch.cat(out, 1)

    def _layout(self, shells_i: Shells, shells_j: Shells) -> list[ShellBlocks]:
        if (shells_i, shells_j) not in self._layouts:
            start = PairTable(shells_i, shells_j).start
            found = []
            for (l1, l2), size in zip(product(self.angular, repeat=2), self.sizes, strict=True):
                own = [(a, b) for a, b in start if (shells_i[a], shells_j[b]) == (l1, l2)]
                first = torch.tensor([start[pair] for pair in own], dtype=torch.int64)
                pairs = torch.tensor([a * len(shells_j) + b for a, b in own], dtype=torch.int64)
                found.append(ShellBlocks(first[:, None] + torch.arange(size), pairs))
            self._layouts[shells_i, shells_j] = found
        return self._layouts[shells_i, shells_j]


def in_order(parts: list[tuple[Tensor | slice, Tensor]]) -> Tensor:
    """Rows of several kinds in the order of their numbers; a slice stands for all of them."""
    if len(parts) == 1:
        return parts[0][1]
    numbers = torch.cat([cast("Tensor", rows) for rows, _ in parts])
    return torch.cat([values for _, values in parts])[torch.argsort(numbers)]


class BondInput(nn.Module):
    """Off-site blocks in the frames of the bonds -> even bond features.

    Parameters
    ----------
    shells : dict of int to tuple of int
        Of each element.
    layout : BondLayout
        Of the bond features.
    rank : int
        Length of a code.
    """

    order: Tensor

    def __init__(self, shells: dict[int, Shells], layout: BondLayout, rank: int) -> None:
        super().__init__()
        angular = sorted({l for own in shells.values() for l in own})
        self.shells, self.layout = shells, layout
        self.contraction = ShellContraction(angular, rank)
        sector, component = (
            np.concatenate([getattr(BlockIrreps(a, b), name) for a, b in product(angular, repeat=2)]) for name in ("sector", "component")
        )
        self.register_buffer("order", torch.as_tensor(np.lexsort((component, sector))), persistent=False)
        own = [row for row in layout.sectors if row.sort == SCALAR]
        self.counts = np.bincount(sector, minlength=len(own)).tolist()
        sizes_in = [n // row.components * rank for n, row in zip(self.counts, own, strict=True)]
        self.linear = BondLinear(sizes_in, sector_sizes(own))

    def codes(self, kinds: list[Kind]) -> dict[Kind, tuple[Tensor, Tensor]]:
        """Coefficients of the shells of some pairs of elements, from both ends."""
        ends = {(i, j): ((i, self.shells[i]), (j, self.shells[j])) for i, j in kinds}
        return {kind: (self.contraction.coefficients(i, j), self.contraction.coefficients(j, i)) for kind, (i, j) in ends.items()}

    def read(self, x: Tensor, kind: Kind, table: PairTable, codes: tuple[Tensor, Tensor]) -> Tensor:
        """(n, size) coefficients of bonds between two elements -> (2, n, codes, rank), g and u."""
        i, j = (self.shells[z] for z in kind)
        sign = torch.as_tensor(table.exchange_sign, dtype=x.dtype, device=x.device)
        back = torch.as_tensor(np.argsort(table.exchanged), device=x.device)
        here, there = self.contraction(x, i, j, codes[0]), self.contraction((x * sign)[:, back], j, i, codes[1])
        return torch.stack([here + there, here - there]) / math.sqrt(2)

    def forward(self, z: Tensor) -> list[Tensor | None]:
        """(2, n, codes, rank) of :meth:`read` -> bond features; those that are not even scalars of spin space are None."""
        parts = z[:, :, self.order].split(self.counts, 2)
        features = []
        for part, row in zip(parts, (row for row in self.layout.sectors if row.sort == SCALAR), strict=True):
            features.append(part.unflatten(2, (row.components, -1)).flatten(3).transpose(1, 2))
        out: list[Tensor | None] = [None] * len(self.layout.sectors)
        out[: len(features)] = self.linear(features)  # the even scalars come first
        return out


class AtomInput(nn.Module):
    """On-site blocks -> even atom features, through Clebsch-Gordan.

    Parameters
    ----------
    shells : dict of int to tuple of int
        Of each element.
    l_max : int
        Highest l of the features.
    channels : Channels
        Of the atom features.
    rank : int
        Length of a code.
    """

    def __init__(self, shells: dict[int, Shells], l_max: int, channels: Channels, rank: int) -> None:
        super().__init__()
        angular = sorted({l for own in shells.values() for l in own})
        self.shells, self.l_max, self.channels = shells, l_max, channels
        self.contraction = ShellContraction(angular, rank)
        self.places: dict[tuple[int, int], list[int]] = {}  # (L, 0 natural | 1 pseudo) -> first component of each code
        start = 0
        for a, b in product(angular, repeat=2):
            for L in range(abs(a - b), a + b + 1):
                self.places.setdefault((L, (a + b + L) % 2), []).append(start)
                start += 2 * L + 1
        self.weights = nn.ParameterDict()
        for (L, p), places in self.places.items():
            n_in, n_out = len(places) * rank, channels.of_sort(SCALAR)[p].number
            self.weights[f"{L}_{p}"] = nn.Parameter(torch.randn(n_in, n_out) / math.sqrt(n_in))

    def read(self, x: Tensor, z: int) -> Tensor:
        """(n, size) coefficients of atoms of an element -> (n, codes, rank)."""
        own = self.shells[z]
        return cast("Tensor", self.contraction(x, own, own, self.contraction.coefficients((z, own), (z, own))))

    def forward(self, codes: Tensor) -> Tensor:
        """(n_atoms, codes, rank) of :meth:`read` -> (n_atoms, K, n) features."""
        rows = []
        for L in range(self.l_max + 1):
            row = []
            for p, family in enumerate(self.channels.of_sort(SCALAR)):
                places = self.places.get((L, p), [])
                if places:
                    own = torch.stack([codes[:, start : start + 2 * L + 1] for start in places], 2).flatten(2)
                    row.append(own @ self.weights[f"{L}_{p}"])
                else:
                    row.append(codes.new_zeros(len(codes), 2 * L + 1, family.number))
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
        Length of a code.
    onsite : bool
        Whether on-site blocks are read, too; those of S are the same in all structures.
    """

    def __init__(self, baseline: Baseline, layout: BondLayout, channels: Channels, rank: int, *, onsite: bool) -> None:
        super().__init__()
        shells = {z: table.shells for z, table in baseline.atom_tables.items()}
        self.baseline = baseline
        self.bonds = BondInput(shells, layout, rank)
        self.atoms = AtomInput(shells, layout.l_max, channels, rank) if onsite else None

    def offsite_values(self, kind: Kind, r: Tensor, coefficients: Tensor) -> Tensor:
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

    def read_bonds(
        self, numbers: Tensor, ends: Tensor, flat: Tensor, sizes: Tensor, codes: dict[Kind, tuple[Tensor, Tensor]]
    ) -> list[Tensor | None]:
        """Features of a run of bonds from the values of its blocks, flat."""
        parts = []
        for kind, rows in bond_kinds(numbers, ends):
            x = take_rows(flat, sizes, rows)
            parts.append((rows, self.bonds.read(x, kind, self.baseline.pair_tables[kind], codes[kind]).transpose(0, 1)))
        return cast("list[Tensor | None]", self.bonds(in_order(parts).transpose(0, 1)))

    def read_atoms(self, numbers: Tensor, flat: Tensor, sizes: Tensor) -> Tensor:
        """Features of all atoms from the values of their blocks, flat."""
        atoms = cast("AtomInput", self.atoms)
        parts = [(rows, atoms.read(take_rows(flat, sizes, rows), z)) for z, rows in atom_kinds(numbers)]
        return cast("Tensor", atoms(in_order(parts)))


def added(e: PartialFeatures, more: PartialFeatures) -> PartialFeatures:
    """The sum of bond features of which some sectors are zero."""
    return [b if a is None else a if b is None else a + b for a, b in zip(e, more, strict=True)]
