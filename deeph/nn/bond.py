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


def _into_frame(rows: Ends, rotation: Tensor, layout: BondLayout) -> list[Tensor]:
    """(2, n, K * number) sums and differences of both ends of n bonds in the frame, part by part."""
    n, K = len(rotation), (layout.l_max + 1) ** 2
    out = []
    for a, b, number in zip(*layout.halves(rows), layout.numbers, strict=True):
        seen = a.new_empty(2, n, K * number)
        for end, target in zip((a + b, a - b), seen, strict=True):
            torch.bmm(rotation, end.unflatten(1, (K, number)), out=target.unflatten(1, (K, number)))
        out.append(seen)
    return out


def _out_of_frame(seen: Sequence[Tensor], rotation: Tensor, layout: BondLayout) -> list[Tensor]:
    """The adjoint of :func:`_into_frame`."""
    K, back = (layout.l_max + 1) ** 2, rotation.transpose(1, 2)
    pairs = [
        [torch.bmm(back, end.unflatten(1, (K, number))).flatten(1) for end in part]
        for part, number in zip(seen, layout.numbers, strict=True)
    ]
    return [*(a + b for a, b in pairs), *(a.sub_(b) for a, b in pairs)]


class _ToBonds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: BondLayout, rotation: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ends = 2 * len(layout.numbers)
        rows, weights = inputs[:ends], inputs[ends:]
        seen = _into_frame(rows, rotation, layout)
        ctx.layout, ctx.n_weights = layout, len(weights)
        ctx.save_for_backward(rotation, *weights, *(seen if weights else ()))
        return tuple(layout.split(seen, weights))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        rotation, *rest = ctx.saved_tensors
        weights, seen = rest[: ctx.n_weights], rest[ctx.n_weights :]
        rows = _out_of_frame(ctx.layout.join(list(grad), weights), rotation, ctx.layout)
        return (None, None, *rows, *(ctx.layout.of_weights(seen, list(grad)) if weights else ()))


class _ToEnds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: BondLayout, rotation: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(rotation)
        ctx.layout = layout
        return tuple(_out_of_frame(layout.join(list(features), ()), rotation, layout))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        (rotation,) = ctx.saved_tensors
        return (None, None, *ctx.layout.split(_into_frame(grad, rotation, ctx.layout), ()))


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
    rows = [part.index_select(0, end) for end, parts in zip(frame.bonds, layout.halves(x), strict=True) for part in parts]
    return list(_ToBonds.apply(layout, frame.rotation, *rows, *weights))


def to_ends(features: BondFeatures, frame: Frame, layout: BondLayout) -> Ends:
    """What each bond sends to its ends, (n, K * number) in the global frame; summed over the bonds the adjoint of :func:`to_bonds`."""
    return list(_ToEnds.apply(layout, frame.rotation, *features))


def add_to_atoms(total: Ends, rows: Ends, frame: Frame, layout: BondLayout) -> Ends:
    """``total`` plus what some bonds send to their ends; in place where no gradient is recorded."""
    add = Tensor.index_add if torch.is_grad_enabled() else Tensor.index_add_
    halves = zip(frame.bonds, layout.halves(total), layout.halves(rows), strict=True)
    return [add(part, 0, end, more) for end, parts, own in halves for part, more in zip(parts, own, strict=True)]
