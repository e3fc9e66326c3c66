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
from deeph.nn.irreps import inversion_sign

BondFeatures = list[Tensor]
PartialFeatures = Sequence[Tensor | None]
"""Bond features of which some sectors are zero (None)."""
Ends = Sequence[Tensor]
"""Atom features (n_atoms, K * number), family by family and each component of a spin vector by itself: first for the atoms as ends i of
bonds, then for the same as ends j, multiplied by (-1)^l. Times (-1)^m, which is left to the table of moves, that is the mirror across the
bond, and it commutes with rotations."""
Weights = Sequence[Tensor]
"""(n, (l_max+1) * number) functions of the bond length for each family."""


class Frame(NamedTuple):
    """How the ends of some bonds are seen from the bond.

    Attributes
    ----------
    bonds : (2, n) int tensor
        Atoms i and j.
    rotation : (n, K, K) tensor
        Rotations into the frame, :func:`deeph.nn.frames.frame_matrix` over sqrt 2.
    """

    bonds: Tensor
    rotation: Tensor

    def scaled(self, factor: Tensor) -> "Frame":
        """The same with every bond weighted by a factor (n,)."""
        return Frame(self.bonds, self.rotation * factor[:, None, None])


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

    def ends(self, x: Tensor) -> list[Tensor]:
        """Atom features (n_atoms, K, width) as the ends of bonds."""
        return [part.flatten(1) for end in (x, self._inverted(x)) for part in end.split(self.numbers, -1)]

    def sum_of_ends(self, ends: Ends) -> Tensor:
        """The adjoint of :meth:`ends`."""
        whole = [torch.cat([part.unflatten(1, ((self.l_max + 1) ** 2, -1)) for part in end], -1) for end in self.halves(ends)]
        return whole[0] + self._inverted(whole[1])

    def halves(self, ends: Ends) -> tuple[Ends, Ends]:
        """Those of i and those of j."""
        return ends[: len(self.numbers)], ends[len(self.numbers) :]

    def _inverted(self, x: Tensor) -> Tensor:
        return x * torch.as_tensor(inversion_sign(self.l_max), dtype=x.dtype, device=x.device)[:, None]

    def split(self, seen: Sequence[Tensor], weights: Weights) -> BondFeatures:
        """Sums and differences of both ends in the frame, (2, n, K * number) each -> sectors, times weights where there are any."""
        n = seen[0].shape[1]
        out = [seen[0].new_empty(2, row.components, n, len(row.channels)) for row in self.sectors]
        for move in self.moves:
            target = out[move.sector][:, move.component, :, move.place]
            for parity, source in zip((move.even, 1 - move.even), seen[move.part][:, :, move.source], strict=True):
                if weights:
                    torch.mul(source, weights[move.family][:, move.radial], out=target[parity])
                else:
                    target[parity].copy_(source)
            if move.sign < 0:
                target.neg_()
        return out

    def join(self, features: BondFeatures, weights: Weights) -> list[Tensor]:
        """The adjoint of :meth:`split`."""
        n, K = features[0].shape[2], (self.l_max + 1) ** 2
        out = [features[0].new_empty(2, n, K * number) for number in self.numbers]
        for move in self.moves:
            target = out[move.part][:, :, move.source]
            source = features[move.sector][:, move.component, :, move.place]
            for parity, part in zip((move.even, 1 - move.even), target, strict=True):
                if weights:
                    torch.mul(source[parity], weights[move.family][:, move.radial], out=part)
                else:
                    part.copy_(source[parity])
            if move.sign < 0:
                target.neg_()
        return out

    def of_weights(self, seen: Sequence[Tensor], grad: BondFeatures) -> list[Tensor]:
        """Gradients of the weights of :meth:`split`."""
        n = grad[0].shape[2]
        out = [grad[0].new_zeros(n, (self.l_max + 1) * family.number) for family in self.channels.families]
        for move in self.moves:
            target = out[move.family][:, move.radial]
            source = grad[move.sector][:, move.component, :, move.place]
            for parity, part in zip((move.even, 1 - move.even), seen[move.part][:, :, move.source], strict=True):
                target.addcmul_(source[parity], part, value=move.sign)
        return out


def _gather(x: Ends, frame: Frame, layout: BondLayout) -> list[Tensor]:
    """(2, n, K * number) sums and differences of both ends in the frame, part by part."""
    (i, j), K = frame.bonds, (layout.l_max + 1) ** 2
    out = []
    for first, second, number in zip(*layout.halves(x), layout.numbers, strict=True):
        a, b = first.index_select(0, i), second.index_select(0, j)
        seen = first.new_empty(2, len(i), K * number)
        for end, target in zip((a + b, a.sub_(b)), seen, strict=True):
            torch.bmm(frame.rotation, end.view(-1, K, number), out=target.view(-1, K, number))
        out.append(seen)
    return out


def _scatter(total: Ends, seen: Sequence[Tensor], frame: Frame, layout: BondLayout) -> None:
    """The adjoint of :func:`_gather`, added to ``total`` in place."""
    (i, j), K = frame.bonds, (layout.l_max + 1) ** 2
    back = frame.rotation.transpose(1, 2)
    for first, second, one, number in zip(*layout.halves(total), seen, layout.numbers, strict=True):
        a, b = (torch.bmm(back, end.view(-1, K, number)).flatten(1) for end in one)
        first.index_add_(0, i, a + b)
        second.index_add_(0, j, a.sub_(b))


def _nothing(layout: BondLayout, n_atoms: int, like: Tensor) -> list[Tensor]:
    return [like.new_zeros(n_atoms, (layout.l_max + 1) ** 2 * number) for number in layout.numbers * 2]


class _ToBonds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: BondLayout, bonds: Tensor, rotation: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ends = 2 * len(layout.numbers)
        x, weights = inputs[:ends], inputs[ends:]
        seen = _gather(x, Frame(bonds, rotation), layout)
        ctx.layout, ctx.n_atoms, ctx.n_weights = layout, len(x[0]), len(weights)
        ctx.save_for_backward(bonds, rotation, *weights, *(seen if weights else ()))
        return tuple(layout.split(seen, weights))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        bonds, rotation, *rest = ctx.saved_tensors
        weights, seen = rest[: ctx.n_weights], rest[ctx.n_weights :]
        total = _nothing(ctx.layout, ctx.n_atoms, grad[0])
        _scatter(total, ctx.layout.join(list(grad), weights), Frame(bonds, rotation), ctx.layout)
        return (None, None, None, *total, *(ctx.layout.of_weights(seen, list(grad)) if weights else ()))


class _ToAtoms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_atoms: int, layout: BondLayout, bonds: Tensor, rotation: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(bonds, rotation)
        ctx.layout = layout
        total = _nothing(layout, n_atoms, features[0])
        _scatter(total, layout.join(list(features), ()), Frame(bonds, rotation), layout)
        return tuple(total)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        seen = _gather(grad, Frame(*ctx.saved_tensors), ctx.layout)
        return (None, None, None, None, *ctx.layout.split(seen, ()))


def to_bonds(x: Ends, frame: Frame, layout: BondLayout, weights: Weights = ()) -> BondFeatures:
    """Rotate the features of both ends into the frame of each bond and split them into sectors.

    Parameters
    ----------
    x : sequence of (n_atoms, K * number) tensors
        Atom features, see :meth:`BondLayout.ends`; K = (l_max+1)^2 components by l and m.
    frame : Frame
        With the rotation over sqrt 2 the map is an isometry.
    layout : BondLayout
        Which feature goes where.
    weights : sequence of (n, (l_max+1) * number) tensors, optional
        Factors of each family, l and channel, alike for all components and exchange parities.
    """
    return list(_ToBonds.apply(layout, *frame, *x, *weights))


def to_atoms(features: BondFeatures, frame: Frame, n_atoms: int, layout: BondLayout) -> list[Tensor]:
    """The adjoint of :func:`to_bonds` without weights: sums over the bonds of each atom, in the global frame."""
    return list(_ToAtoms.apply(n_atoms, layout, *frame, *features))


def add_to_atoms(total: Ends, features: BondFeatures, frame: Frame, layout: BondLayout) -> Ends:
    """``total`` plus :func:`to_atoms`; in place where no gradient is recorded, so that a run of bonds costs no more than its own size."""
    if torch.is_grad_enabled():
        return [part + more for part, more in zip(total, to_atoms(features, frame, len(total[0]), layout), strict=True)]
    _scatter(total, layout.join(features, ()), frame, layout)
    return total
