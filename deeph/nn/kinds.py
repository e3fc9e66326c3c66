"""Atoms by element and bonds by pair of elements: what the network treats alike, it treats at once."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PairKind = tuple[int, int]
"""Atomic numbers of the two ends of a bond."""


@dataclass(frozen=True)
class Kinds:
    """The elements and pairs of elements of a graph.

    Attributes
    ----------
    order : (n_bonds,) int tensor or None
        The bonds sorted by pair of elements; None if they are in this order already.
    bonds : tuple of ((zi, zj), slice)
        Each pair of elements, and its bonds in that order.
    atoms : tuple of (z, atoms)
        Each element and its atoms; a slice if there is only one.
    """

    order: Tensor | None
    bonds: tuple[tuple[PairKind, slice], ...]
    atoms: tuple[tuple[int, Tensor | slice], ...]

    def rows(self, run: slice) -> Tensor | slice:
        """Where the bonds of a run are in the graph."""
        return run if self.order is None else self.order[run]

    def within(self, part: slice) -> list[tuple[PairKind, slice]]:
        """The pairs of elements among some bonds of the sorted order, counted from the first of these."""
        out = []
        for kind, run in self.bonds:
            start, stop = max(run.start, part.start), min(run.stop, part.stop)
            if start < stop:
                out.append((kind, slice(start - part.start, stop - part.start)))
        return out

    def to(self, device: torch.device, **how: Any) -> "Kinds":
        """On another device; graphs call it when they go there."""
        order = None if self.order is None else self.order.to(device, **how)
        return Kinds(order, self.bonds, tuple((z, a if isinstance(a, slice) else a.to(device, **how)) for z, a in self.atoms))


def find_kinds(numbers: Tensor, bond_index: Tensor) -> Kinds:
    """The kinds of (n_atoms,) atomic numbers and (2, n_bonds) bonds; the only place where the host waits for them."""
    zi, zj = numbers[bond_index]
    code, order = zi * 1000 + zj, None
    if bool((code[1:] < code[:-1]).any()):
        code, order = torch.sort(code, stable=True)
    values, counts = torch.unique_consecutive(code, return_counts=True)
    runs, start = [], 0
    for value, n in torch.stack([values, counts]).T.tolist():
        runs.append((divmod(value, 1000), slice(start, start + n)))
        start += n
    return Kinds(order, tuple(runs), tuple(atom_kinds(numbers)))


def atom_kinds(numbers: Tensor) -> list[tuple[int, Tensor | slice]]:
    """The elements that occur, each with its atoms."""
    kinds = torch.unique(numbers).tolist()
    if len(kinds) == 1:
        return [(kinds[0], slice(None))]
    return [(z, torch.nonzero(numbers == z)[:, 0]) for z in kinds]


def bond_kinds(numbers: Tensor, bond_index: Tensor) -> list[tuple[PairKind, Tensor | slice]]:
    """The pairs of elements that occur, each with its bonds."""
    kinds = find_kinds(numbers, bond_index)
    return [(kind, kinds.rows(run)) for kind, run in kinds.bonds]
