"""Sums of losses and errors over the structures of a stretch of training; nothing waits for a GPU until they are read."""

from collections.abc import Mapping

import torch

from deeph.training.metrics import summarize

Sums = dict[str, torch.Tensor | float]


def add(sums: Sums, more: Mapping[str, torch.Tensor | float]) -> None:
    """Add named numbers to named sums; tensors stay where they are, for to read one is to wait for a GPU."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def numbers(sums: Sums) -> dict[str, float]:
    """The sums, read."""
    return {name: float(value) for name, value in sums.items()}


def summary(sums: dict[str, float]) -> dict[str, float]:
    """The mean loss per structure and the metrics of :func:`deeph.training.metrics.summarize`; nothing of no structures."""
    if not sums.get("structures"):
        return {}
    sums = dict(sums)
    loss, structures = sums.pop("loss"), sums.pop("structures")
    return {"loss": loss / structures, **summarize(sums)}
