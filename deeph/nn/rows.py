"""Flat arrays of rows of different lengths, such as the coefficients of all blocks, bond by bond."""

import torch
from torch import Tensor


def take_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice) -> Tensor:
    """(n, size) equally long rows of a flat array whose rows have different lengths ``sizes``."""
    if isinstance(rows, slice):
        return flat[_stretch(sizes, rows)].view(len(sizes[rows]), -1)
    return flat[_places(sizes, rows)]


def put_rows(flat: Tensor, sizes: Tensor, rows: Tensor | slice, values: Tensor) -> None:
    """Write n equally long rows, of any further axes, into a flat array; the reverse of :func:`take_rows`."""
    if isinstance(rows, slice):
        flat[_stretch(sizes, rows)] = values.reshape(-1)
    else:
        flat[_places(sizes, rows)] = values.flatten(1)


def _stretch(sizes: Tensor, rows: slice) -> slice:
    """Where neighbouring rows are."""
    if rows in (slice(None), slice(0, len(sizes))):
        return slice(None)
    start = int(sizes[: rows.start].sum())
    return slice(start, start + int(sizes[rows].sum()))


def _places(sizes: Tensor, rows: Tensor) -> Tensor:
    starts = torch.cumsum(sizes, 0) - sizes
    return starts[rows][:, None] + torch.arange(int(sizes[rows[0]]), device=sizes.device)
