"""Structures divided into parts: at random with every formula in all parts, or every formula in one part only."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from deeph.runtime.errors import DataError, UsageError

By = Literal["random", "composition"]


def part_sizes(n: int, fractions: Sequence[float]) -> list[int]:
    """Number of members of each part: all together n, at least one where the fraction is above zero, the others nearest to the fractions.

    Raises
    ------
    UsageError
        If the fractions are none.
    DataError
        If there are too few.
    """
    if not (all(f >= 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6 and fractions[0] > 0):
        raise UsageError(f"fractions {', '.join(f'{f:g}' for f in fractions)}: expected parts of 1 that add up to 1, the first above 0")
    if sum(f > 0 for f in fractions) > n:
        raise DataError(f"{n} structures are too few for the fractions {list(fractions)}")
    sizes = [max(1, round(f * n)) if f > 0 else 0 for f in fractions[1:]]
    while sum(sizes) >= n:  # several parts were rounded up, and the first has none left
        excess = [size - f * n if size > 1 else -np.inf for size, f in zip(sizes, fractions[1:], strict=True)]
        sizes[int(np.argmax(excess))] -= 1
    return [n - sum(sizes), *sizes]


def at_random(formulas: Mapping[str, str], fractions: Sequence[float], seed: int) -> list[list[str]]:
    """Names of each part; all parts have about the same share of every formula.

    Parameters
    ----------
    formulas : mapping of str to str
        Name and formula of each structure.
    fractions : sequence of float
        Of the parts; they add up to 1.
    seed : int
        Of the random numbers.
    """
    sizes, random = part_sizes(len(formulas), fractions), np.random.default_rng(seed)
    names = [list(formulas)[i] for i in random.permutation(len(formulas))]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(formulas[name], []).append(name)
    # where a group begins is random as well: a formula with few structures is not always one to train on
    begin = dict(zip(groups, random.random(len(groups)), strict=True))
    place = {name: (n + begin[formula]) / len(members) for formula, members in groups.items() for n, name in enumerate(members)}
    names.sort(key=place.__getitem__)  # stable, so that one formula alone stays in random order
    stops = np.cumsum(sizes).tolist()
    return [names[stop - size : stop] for size, stop in zip(sizes, stops, strict=True)]


def by_composition(formulas: Mapping[str, str], fractions: Sequence[float], seed: int) -> list[list[str]]:
    """Names of each part; all structures of a formula are in the same one, so that a test is one of compositions never seen.

    Formulas are taken in random order, large groups first, each into the part that lacks most.

    Raises
    ------
    DataError
        If there are fewer formulas than parts.
    """
    part_sizes(len(formulas), fractions)
    groups: dict[str, list[str]] = {}
    for name, formula in formulas.items():
        groups.setdefault(formula, []).append(name)
    needed = sum(f > 0 for f in fractions)
    if len(groups) < needed:
        raise DataError(f"{len(groups)} formulas ({', '.join(sorted(groups))}) for {needed} parts: expected at least one formula each")
    order = [list(groups)[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    order.sort(key=lambda formula: -len(groups[formula]))
    parts: list[list[str]] = [[] for _ in fractions]
    for left, formula in zip(range(len(order), 0, -1), order, strict=True):
        empty = [p for p, f in enumerate(fractions) if f > 0 and not parts[p]]
        open_parts = empty if left <= len(empty) else range(len(parts))
        lacks = {p: fractions[p] - len(parts[p]) / len(formulas) for p in open_parts}
        parts[max(lacks, key=lambda p: (lacks[p], -p))] += groups[formula]
    return parts
