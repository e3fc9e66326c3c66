"""Atoms by element and bonds by pair of elements: what the network treats alike, it treats at once."""

import torch
from torch import Tensor


def atom_kinds(numbers: Tensor) -> list[tuple[int, Tensor | slice]]:
    """The elements that occur, each with its atoms."""
    kinds = torch.unique(numbers).tolist()
    if len(kinds) == 1:
        return [(kinds[0], slice(None))]
    return [(z, torch.nonzero(numbers == z)[:, 0]) for z in kinds]


def bond_kinds(numbers: Tensor, bond_index: Tensor) -> list[tuple[tuple[int, int], Tensor | slice]]:
    """The pairs of elements that occur, each with its bonds."""
    zi, zj = numbers[bond_index[0]], numbers[bond_index[1]]
    code = zi * 1000 + zj
    kinds = torch.unique(code).tolist()
    if len(kinds) == 1:
        return [(divmod(kinds[0], 1000), slice(None))]
    return [(divmod(k, 1000), torch.nonzero(code == k)[:, 0]) for k in kinds]
