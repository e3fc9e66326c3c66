"""Between atoms and bonds: gather, rotate and split into sectors; and the exact adjoint, rotate back and sum.

Bond features are a list of tensors, one per sector: Sigma+ and Sigma- of shape (2, n_bonds, channels), then one of shape
(2, 2, n_bonds, channels) for each m > 0. The first axis is the exchange parity (g, u), the second the component (cos, sin). The
channels of a sector run over l, first all natural ones, then all pseudo ones.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

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


def _runs(l_max: int) -> list[tuple[int, int, int]]:
    """(m, first row, rows) of each m > 0 in the bond order; the sin rows follow the cos rows."""
    out, start = [], l_max + 1
    for m in range(1, l_max + 1):
        out.append((m, start, l_max + 1 - m))
        start += 2 * (l_max + 1 - m)
    return out


def _split(ends: list[tuple[Tensor, Tensor]], l_max: int) -> BondFeatures:
    """Both ends in the frame, (n, K, natural) and (n, K, pseudo) each -> sectors."""
    n, channels = len(ends[0][0]), [a.shape[-1] for a, _ in ends]
    like = ends[0][0]
    out = [like.new_empty(2, n, (l_max + 1) * c) for c in channels]
    out += [like.new_empty(2, 2, n, rows * sum(channels)) for _, _, rows in _runs(l_max)]
    for pseudo, ((first, second), c) in enumerate(zip(ends, channels, strict=True)):
        a, b = first.flatten(1), second.flatten(1)
        # a pseudo feature changes sign under the mirror, so its g and u are exchanged
        even, odd = (1, 0) if pseudo else (0, 1)
        stop = (l_max + 1) * c
        torch.add(a[:, :stop], b[:, :stop], out=out[pseudo][even])
        torch.sub(a[:, :stop], b[:, :stop], out=out[pseudo][odd])
        for m, start, rows in _runs(l_max):
            place = slice(rows * channels[0], None) if pseudo else slice(0, rows * channels[0])
            for component in range(2):
                # relabelled (cos, sin) -> (sin, -cos), a pseudo feature mixes with natural ones
                run = slice((start + rows * (component ^ pseudo)) * c, (start + rows * (component ^ pseudo) + rows) * c)
                torch.add(a[:, run], b[:, run], out=out[m + 1][even, component, :, place])
                torch.sub(a[:, run], b[:, run], out=out[m + 1][odd, component, :, place])
            if pseudo:
                out[m + 1][:, 1, :, place].neg_()
    return out


def _join(sectors: BondFeatures, l_max: int) -> list[tuple[Tensor, Tensor]]:
    """The adjoint of :func:`_split`."""
    n, channels = sectors[0].shape[1], [s.shape[-1] // (l_max + 1) for s in sectors[:2]]
    ends = []
    for pseudo, c in enumerate(channels):
        first, second = sectors[0].new_empty(n, (l_max + 1) ** 2 * c), sectors[0].new_empty(n, (l_max + 1) ** 2 * c)
        even, odd = (1, 0) if pseudo else (0, 1)
        stop = (l_max + 1) * c
        torch.add(sectors[pseudo][even], sectors[pseudo][odd], out=first[:, :stop])
        torch.sub(sectors[pseudo][even], sectors[pseudo][odd], out=second[:, :stop])
        for m, start, rows in _runs(l_max):
            place = slice(rows * channels[0], None) if pseudo else slice(0, rows * channels[0])
            for component in range(2):
                run = slice((start + rows * (component ^ pseudo)) * c, (start + rows * (component ^ pseudo) + rows) * c)
                g, u = sectors[m + 1][even, component, :, place], sectors[m + 1][odd, component, :, place]
                torch.add(g, u, out=first[:, run])
                torch.sub(g, u, out=second[:, run])
                if pseudo and component:
                    first[:, run].neg_()
                    second[:, run].neg_()
        ends.append((first.unflatten(1, ((l_max + 1) ** 2, c)), second.unflatten(1, ((l_max + 1) ** 2, c))))
    return ends


def _gather(parts: tuple[Tensor, ...], frame: Frame, l_max: int) -> BondFeatures:
    i, j = frame.bonds
    return _split([(torch.bmm(frame.first, x.index_select(0, i)), torch.bmm(frame.second, x.index_select(0, j))) for x in parts], l_max)


def _scatter(sectors: BondFeatures, frame: Frame, n_atoms: int, l_max: int) -> tuple[Tensor, ...]:
    channels = [s.shape[-1] // (l_max + 1) for s in sectors[:2]]
    total = tuple(sectors[0].new_zeros(n_atoms, (l_max + 1) ** 2, c) for c in channels)
    _add(total, sectors, frame, l_max)
    return total


def _add(total: tuple[Tensor, ...], sectors: BondFeatures, frame: Frame, l_max: int) -> None:
    i, j = frame.bonds
    for sum_, (first, second) in zip(total, _join(sectors, l_max), strict=True):
        sum_.index_add_(0, i, torch.bmm(frame.first.transpose(1, 2), first))
        sum_.index_add_(0, j, torch.bmm(frame.second.transpose(1, 2), second))


class _ToBonds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, l_max: int, bonds: Tensor, first: Tensor, second: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(bonds, first, second)
        ctx.sizes = (len(parts[0]), l_max)
        return tuple(_gather(parts, Frame(bonds, first, second), l_max))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, None, *_scatter(list(grad), Frame(*ctx.saved_tensors), *ctx.sizes))


class _ToAtoms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_atoms: int, l_max: int, bonds: Tensor, first: Tensor, second: Tensor, *sectors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(bonds, first, second)
        ctx.l_max = l_max
        return _scatter(list(sectors), Frame(bonds, first, second), n_atoms, l_max)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        parts = tuple(g.contiguous() for g in grad)
        return (None, None, None, None, None, *_gather(parts, Frame(*ctx.saved_tensors), ctx.l_max))


def to_bonds(x: tuple[Tensor, Tensor], frame: Frame, l_max: int) -> BondFeatures:
    """Rotate the features of both ends into the frame of each bond and split them into sectors.

    Parameters
    ----------
    x : two (n_atoms, K, C) tensors
        Natural and pseudo features of the atoms, K = (l_max+1)^2 components by l and m.
    frame : Frame
        With both rotations over sqrt 2 the map is an isometry.
    l_max : int
        Highest angular momentum.
    """
    return list(_ToBonds.apply(l_max, *frame, *x))


def to_atoms(sectors: BondFeatures, frame: Frame, n_atoms: int, l_max: int) -> tuple[Tensor, Tensor]:
    """The adjoint of :func:`to_bonds`: sums over the bonds of each atom, in the global frame."""
    natural, pseudo = _ToAtoms.apply(n_atoms, l_max, *frame, *sectors)
    return natural, pseudo


def add_to_atoms(total: tuple[Tensor, Tensor], sectors: BondFeatures, frame: Frame, l_max: int) -> tuple[Tensor, Tensor]:
    """``total`` plus :func:`to_atoms`; in place where no gradient is recorded, so that a run of bonds costs no more than its own size."""
    if torch.is_grad_enabled():
        natural, pseudo = to_atoms(sectors, frame, len(total[0]), l_max)
        return total[0] + natural, total[1] + pseudo
    _add(total, sectors, frame, l_max)
    return total
