"""One part of H from the features: its tables, its heads, and the way between coefficients and blocks."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deeph.nn.bond import BondFeatures, BondLayout
from deeph.nn.channels import Channels, Sort
from deeph.nn.frames import into_frame, out_of_frame, spin_axes
from deeph.nn.heads import Contracted, OffsiteHead, OnsiteHead, features_of
from deeph.nn.kinds import PairKind
from deeph.nn.spin import SpinPart
from deeph.nn.tables import AtomTable, PairTable

Shells = Mapping[int, tuple[int, ...]]


class Tables:
    """Layouts of the coefficients of all elements and pairs of elements.

    Parameters
    ----------
    shells : mapping of int to tuple of int
        Of each element.
    spin, antisymmetric : bool
        As for :class:`deeph.nn.tables.PairTable`.
    """

    def __init__(self, shells: Shells, *, spin: bool, antisymmetric: bool) -> None:
        self.shells = shells
        self.pairs = {
            (i, j): PairTable(shells[i], shells[j], spin=spin, antisymmetric=antisymmetric) for i in shells for j in shells if i <= j
        }
        self.atoms = {z: AtomTable(own, spin=spin, antisymmetric=antisymmetric) for z, own in shells.items()}
        self.spin = spin

    def pair_coefficients(self, kind: tuple[int, int], blocks: Tensor, D: list[Tensor]) -> Tensor:
        """(n, n_spin, n_i, n_j) blocks of bonds along the axes of the crystal -> (n, copies, size), see :meth:`pair_blocks`."""
        local = into_frame(blocks, D, self.shells[kind[0]], self.shells[kind[1]])
        if self.spin:
            return self.pairs[kind].to_coefficients(torch.einsum("nab,nbij->naij", spin_axes(D), local))[:, None]
        return self.pairs[kind].to_coefficients(local.flatten(0, 1)).view(*local.shape[:2], self.pairs[kind].size)

    def pair_blocks(self, kind: tuple[int, int], coefficients: Tensor, D: list[Tensor]) -> Tensor:
        """Blocks of bonds along the axes of the crystal.

        Parameters
        ----------
        kind : (zi, zj)
            The elements.
        coefficients : (n, copies, size) tensor
            In the bond frames. With ``spin`` there is one copy, which couples the Pauli matrices to the orbitals; else one for each
            component of a spin vector along the axes of the crystal.
        D : list of tensors
            :func:`deeph.nn.frames.bond_matrices` of the bonds, up to the highest shell, and at least l = 1 with ``spin``.

        Returns
        -------
        (n, n_spin, n_i, n_j) tensor
        """
        local = self.pairs[kind].to_blocks(coefficients.flatten(0, 1))
        turned = torch.einsum("nab,naij->nbij", spin_axes(D), local) if self.spin else local[:, 0].unflatten(0, coefficients.shape[:2])
        return out_of_frame(turned, D, self.shells[kind[0]], self.shells[kind[1]])

    def atom_coefficients(self, z: int, blocks: Tensor) -> Tensor:
        """(n, n_spin, n_orb, n_orb) on-site blocks -> (n, copies, size)."""
        if self.spin:
            return self.atoms[z].to_coefficients(blocks)[:, None]
        return self.atoms[z].to_coefficients(blocks.flatten(0, 1)[:, None]).view(*blocks.shape[:2], self.atoms[z].size)

    def atom_blocks(self, z: int, coefficients: Tensor) -> Tensor:
        """(n, copies, size) -> (n, n_spin, n_orb, n_orb) on-site blocks."""
        blocks = self.atoms[z].to_blocks(coefficients.flatten(0, 1))
        return blocks if self.spin else blocks[:, 0].unflatten(0, coefficients.shape[:2])


class Readout(nn.Module):
    """Standardized coefficients of one part of H.

    Parameters
    ----------
    part : SpinPart
        Which one.
    shells : mapping of int to tuple of int
        Of each element.
    layout : BondLayout
        Of the bond features.
    channels : Channels
        Of the atom features.
    rank : int
        Length of a shell-pair code.
    """

    def __init__(self, part: SpinPart, shells: Shells, layout: BondLayout, channels: Channels, rank: int) -> None:
        super().__init__()
        self.part, self.layout, self.shells = part, layout, shells
        angular = sorted({l for own in shells.values() for l in own})
        self.tables = Tables(shells, spin=part.coupled, antisymmetric=part.antisymmetric)
        self.general = Tables(shells, spin=True, antisymmetric=False) if part.name == "A" and len(part.sources) > 1 else None
        self.offsite_heads = nn.ModuleList(
            OffsiteHead(angular, layout, sort, rank, spin=spin, antisymmetric=part.antisymmetric) for sort, spin in part.sources
        )
        self.onsite_heads = nn.ModuleList(OnsiteHead(angular, channels, sort, rank, spin=spin) for sort, spin in part.sources)

    def _tables(self, *, spin: bool) -> Tables:
        """Those of a source; with ``spin`` the coefficients couple the Pauli matrix to the orbitals."""
        return self.general if spin and self.general is not None else self.tables

    def contract(self, kinds: Sequence[PairKind]) -> list[dict[PairKind, Contracted]]:
        """The maps of the heads for some pairs of elements, to be made once for all their bonds."""
        ends = [((i, self.shells[i]), (j, self.shells[j])) for i, j in kinds]
        out = []
        for (_, spin), head in zip(self.part.sources, self.offsite_heads, strict=True):
            tables = self._tables(spin=spin)
            maps = cast("OffsiteHead", head).contract(ends, [tables.pairs[kind] for kind in kinds]) if kinds else []
            out.append(dict(zip(kinds, maps, strict=True)))
        return out

    def offsite(
        self,
        e: Mapping[Sort, BondFeatures],
        runs: Sequence[tuple[PairKind, slice]],
        maps: Sequence[Mapping[PairKind, Contracted]],
        D: list[Tensor],
    ) -> list[Tensor]:
        """(n, copies, size) for each run of bonds between two elements.

        Parameters
        ----------
        e : mapping of Sort to BondFeatures
            From :func:`deeph.nn.heads.features_of`.
        runs : sequence of ((zi, zj), slice)
            The elements, and their bonds.
        maps : sequence of mappings
            From :meth:`contract`.
        D : list of tensors
            :func:`deeph.nn.frames.bond_matrices`; needed where a vector of spin space meets spin-orbit coupling.
        """
        total: list[Tensor] = []
        for (sort, spin), head, own in zip(self.part.sources, self.offsite_heads, maps, strict=True):
            found = cast("list[Tensor]", head(e[sort], [rows for _, rows in runs], [own[kind] for kind, _ in runs]))
            if self._tables(spin=spin) is not self.tables:
                found = [self._uncoupled(h, kind, [x[rows].to(h) for x in D]) for h, (kind, rows) in zip(found, runs, strict=True)]
            total = [a + b for a, b in zip(total, found, strict=True)] if total else found
        return total

    def _uncoupled(self, h: Tensor, kind: PairKind, D: list[Tensor]) -> Tensor:
        """Coefficients of couplings to the bond as those of spin vectors along the axes of the crystal."""
        local = torch.einsum("nab,naij->nbij", spin_axes(D), self._tables(spin=True).pairs[kind].to_blocks(h[:, 0]))
        return self.tables.pairs[kind].to_coefficients(local.flatten(0, 1)).view(*local.shape[:2], self.tables.pairs[kind].size)

    def onsite(self, x: Tensor, z: int) -> Tensor:
        """(n, copies, size) of atoms of an element, from their features (n, K, width)."""
        total = None
        for (_, spin), head in zip(self.part.sources, self.onsite_heads, strict=True):
            tables = self._tables(spin=spin)
            h = cast("Tensor", head(x, (z, self.shells[z]), tables.atoms[z]))
            if tables is not self.tables:
                h = self.tables.atom_coefficients(z, tables.atom_blocks(z, h))
            total = h if total is None else total + h
        return cast("Tensor", total)


def by_sort(e: BondFeatures, layout: BondLayout) -> dict[Sort, BondFeatures]:
    """The features of some bonds, sort by sort, as the heads read them."""
    return {sort: features_of(e, layout, sort) for sort in layout.channels.sorts}
