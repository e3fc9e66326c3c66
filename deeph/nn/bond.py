"""Between atoms and bonds: gather, rotate and split into sectors; and the exact adjoint, rotate back and sum.

Bond features are a list of tensors (2, components, n_bonds, channels), one for each sector of each sort, see
:func:`deeph.nn.channels.sectors`. The first axis is the exchange parity (g, u), the second the component: (cos, sin) for m > 0, and of
spin vectors each spin component of these. The channels of a sector run over l, first all natural ones, then all pseudo ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeph.nn.channels import Channels, Move, SectorRow, moves, sectors
from deeph.nn.irreps import exchange_sign

BondFeatures = list[Tensor]
PartialFeatures = Sequence[Tensor | None]
"""Bond features of which some sectors are zero (None)."""


class Frame(NamedTuple):
    """How both ends of some bonds are seen from the bond.

    Attributes
    ----------
    bonds : (2, n) int tensor
        Atoms i and j.
    first, second : (n, K, K) tensors
        Rotations of the features of i and j into the frame, over sqrt 2; the second one includes the mirror across the bond.
    """

    bonds: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def build(cls, bonds: Tensor, frame: Tensor, l_max: int) -> "Frame":
        """From :func:`deeph.nn.frames.frame_matrix` over sqrt 2."""
        sign = torch.as_tensor(exchange_sign(l_max), dtype=frame.dtype, device=frame.device)
        return cls(bonds, frame, frame * sign[:, None])

    def scaled(self, factor: Tensor) -> "Frame":
        """The same with every bond weighted by a factor (n,)."""
        return Frame(self.bonds, self.first * factor[:, None, None], self.second * factor[:, None, None])


@dataclass(frozen=True)
class BondLayout:
    """Where the features of both ends go.

    Attributes
    ----------
    l_max : int
        Highest angular momentum.
    channels : Channels
        Of the atom features that are gathered, and of the bond features.
    """

    l_max: int
    channels: Channels

    @cached_property
    def sectors(self) -> list[SectorRow]:
        """Of the bond features."""
        return sectors(self.l_max, self.channels)

    @cached_property
    def moves(self) -> list[Move]:
        """One table for both directions."""
        return moves(self.l_max, self.channels)

    @cached_property
    def numbers(self) -> list[int]:
        """Channels of each family and each component of its spin vector."""
        return [f.number for f in self.channels.families for _ in range(f.n_spin)]

    def split(self, first: Tensor, second: Tensor) -> BondFeatures:
        """Both ends in the frame, (n, K, width) each -> sectors."""
        n = len(first)
        out = [first.new_empty(2, row.components, n, len(row.channels)) for row in self.sectors]
        flat = [[part.flatten(1) for part in end.split(self.numbers, -1)] for end in (first, second)]
        for move in self.moves:
            a, b = (end[move.part][:, move.source] for end in flat)
            target = out[move.sector][:, move.component, :, move.place]
            torch.add(a, b, out=target[move.even])
            torch.sub(a, b, out=target[1 - move.even])
            if move.sign < 0:
                target.neg_()
        return out

    def join(self, features: BondFeatures) -> tuple[Tensor, Tensor]:
        """The adjoint of :meth:`split`."""
        n, K = features[0].shape[2], (self.l_max + 1) ** 2
        flat = [[features[0].new_empty(n, K * number) for number in self.numbers] for _ in range(2)]
        for move in self.moves:
            a, b = (end[move.part][:, move.source] for end in flat)
            source = features[move.sector][:, move.component, :, move.place]
            torch.add(source[move.even], source[1 - move.even], out=a)
            torch.sub(source[move.even], source[1 - move.even], out=b)
            if move.sign < 0:
                a.neg_()
                b.neg_()
        first, second = (torch.cat([part.unflatten(1, (K, -1)) for part in end if part.shape[1]], -1) for end in flat)
        return first, second


def _gather(x: Tensor, frame: Frame, layout: BondLayout) -> BondFeatures:
    i, j = frame.bonds
    return layout.split(torch.bmm(frame.first, x.index_select(0, i)), torch.bmm(frame.second, x.index_select(0, j)))


def _scatter(features: BondFeatures, frame: Frame, n_atoms: int, layout: BondLayout) -> Tensor:
    total = features[0].new_zeros(n_atoms, (layout.l_max + 1) ** 2, sum(layout.numbers))
    _add(total, features, frame, layout)
    return total


def _add(total: Tensor, features: BondFeatures, frame: Frame, layout: BondLayout) -> None:
    i, j = frame.bonds
    first, second = layout.join(features)
    total.index_add_(0, i, torch.bmm(frame.first.transpose(1, 2), first))
    total.index_add_(0, j, torch.bmm(frame.second.transpose(1, 2), second))


class _ToBonds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: BondLayout, bonds: Tensor, first: Tensor, second: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(bonds, first, second)
        ctx.n_atoms, ctx.layout = len(x), layout
        return tuple(_gather(x, Frame(bonds, first, second), layout))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, None, _scatter(list(grad), Frame(*ctx.saved_tensors), ctx.n_atoms, ctx.layout))


class _ToAtoms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_atoms: int, layout: BondLayout, bonds: Tensor, first: Tensor, second: Tensor, *features: Tensor) -> Tensor:
        ctx.save_for_backward(bonds, first, second)
        ctx.layout = layout
        return _scatter(list(features), Frame(bonds, first, second), n_atoms, layout)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, None, None, *_gather(grad[0].contiguous(), Frame(*ctx.saved_tensors), ctx.layout))


def to_bonds(x: Tensor, frame: Frame, layout: BondLayout) -> BondFeatures:
    """Rotate the features of both ends into the frame of each bond and split them into sectors.

    Parameters
    ----------
    x : (n_atoms, K, width) tensor
        Atom features, K = (l_max+1)^2 components by l and m.
    frame : Frame
        With both rotations over sqrt 2 the map is an isometry.
    layout : BondLayout
        Which feature goes where.
    """
    return list(_ToBonds.apply(layout, *frame, x))


def to_atoms(features: BondFeatures, frame: Frame, n_atoms: int, layout: BondLayout) -> Tensor:
    """The adjoint of :func:`to_bonds`: sums over the bonds of each atom, in the global frame."""
    total: Tensor = _ToAtoms.apply(n_atoms, layout, *frame, *features)
    return total


def add_to_atoms(total: Tensor, features: BondFeatures, frame: Frame, layout: BondLayout) -> Tensor:
    """``total`` plus :func:`to_atoms`; in place where no gradient is recorded, so that a run of bonds costs no more than its own size."""
    if torch.is_grad_enabled():
        return total + to_atoms(features, frame, len(total), layout)
    _add(total, features, frame, layout)
    return total
