"""Numbers of bands as typed, the same for all commands."""

import argparse
from collections.abc import Sequence

MOST = 10**6
"""Larger than the number of any band."""


def parse_bands(text: str) -> tuple[int, ...]:
    """A type of argparse: bands counted from 0, ascending, of a text such as ``26``, ``25-26`` or ``3,5-7``, which counts from 1."""
    numbers: set[int] = set()
    for part in text.split(","):
        low, dash, high = (word.strip() for word in part.partition("-"))
        last = high if dash else low
        if not (low.isdecimal() and last.isdecimal() and 0 < int(low) <= int(last) <= MOST):
            raise argparse.ArgumentTypeError(f"{text!r}: expected numbers from 1, for bands are counted from 1: such as 26, 25-26 or 3,5-7")
        numbers |= set(range(int(low) - 1, int(last)))
    return tuple(sorted(numbers))


def are_neighbours(bands: Sequence[int]) -> bool:
    """Whether ascending bands follow each other without a gap in their numbers."""
    return bool(bands) and bands[-1] - bands[0] == len(bands) - 1
