"""Flat arrays of rows of different lengths, such as the coefficients of all blocks, bond by bond.

The length of some rows is known to the caller: to ask a GPU for it would be to wait for all that it has to do.
"""

import torch
from torch import Tensor


def take_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice, size: int) -> Tensor:
    """(n, size) equally long rows of a flat array whose rows have different lengths ``sizes``."""
    place = _place(sizes, rows, size)
    return flat[place].view(-1, size) if isinstance(place, slice) else flat[place]


def put_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice, values: Tensor) -> None:
    """Write n equally long rows, of any further axes, into a flat array; the reverse of :func:`take_rows`."""
    values = values.flatten(1)
    place = _place(sizes, rows, values.shape[1])
    flat[place] = values.reshape(-1) if isinstance(place, slice) else values


def _place(sizes: Tensor, rows: Tensor | slice, size: int) -> Tensor | slice:
    """A stretch of neighbouring rows where that is known without asking a GPU; else the place of each number, (n, size)."""
    if isinstance(rows, slice):
        if rows in (slice(None), slice(0, len(sizes))):
            return slice(None)
        if sizes.device.type == "cpu":
            start = int(sizes[: rows.start].sum())
            return slice(start, start + len(sizes[rows]) * size)
    starts = torch.cumsum(sizes, 0) - sizes
    return starts[rows][:, None] + torch.arange(size, device=sizes.device)
