"""Atoms too close to each other: training structures with bonds far too short have levels no model should learn."""

from collections.abc import Iterable

import numpy as np

from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import SYMBOLS, System

BOND_FRACTION = 0.85
"""Shortest accepted distance after a perturbation, over that of the same two elements before: C-C bonds of 1.05 Angstrom
(0.74 of graphene's) gave ghost levels in training data."""
RADII_FRACTION = 0.75
"""Shortest accepted distance over the sum of the covalent radii, where there is no structure to compare with (C-C: 1.14 Angstrom)."""
REACH = 1.3
"""Distances up to this times the sum of the covalent radii are looked at."""

Limits = dict[tuple[int, int], float]


def shortest_distances(system: System) -> Limits:
    """The shortest distance of each two elements (atomic numbers, ascending), Angstrom, periodic images included.

    Distances above :data:`REACH` times the sum of the covalent radii are left out.
    """
    pairs = neighbour_pairs(system, {z: REACH * _radius(z) for z in set(system.numbers.tolist())})
    pairs = pairs[~is_onsite(pairs)]
    kinds = np.sort(system.numbers[pairs[:, 3:]], axis=1)
    distances = np.linalg.norm(pair_vectors(system, pairs), axis=1)
    return {(int(a), int(b)): float(distances[(kinds == (a, b)).all(1)].min()) for a, b in np.unique(kinds, axis=0)}


def limits_from(system: System, fraction: float = BOND_FRACTION) -> Limits:
    """Limits for perturbed versions of a structure: a fraction of its own shortest distance of each two elements."""
    found = shortest_distances(system)
    return {kind: fraction * found.get(kind, REACH * total) for kind, total in _radii_sums(system.numbers.tolist()).items()}


def limits_of_radii(numbers: Iterable[int], fraction: float = RADII_FRACTION) -> Limits:
    """Limits from covalent radii alone."""
    return {kind: fraction * total for kind, total in _radii_sums(numbers).items()}


def too_close(system: System, limits: Limits) -> str:
    """What is too close, in words; empty if nothing is."""
    for (a, b), distance in shortest_distances(system).items():
        if distance < limits[a, b] - 1e-9:
            return f"{SYMBOLS[a]}-{SYMBOLS[b]} at {distance:.3f} Angstrom, closer than {limits[a, b]:.3f}"
    return ""


def _radius(number: int) -> float:
    from ase.data import covalent_radii

    return float(covalent_radii[number])


def _radii_sums(numbers: Iterable[int]) -> Limits:
    kinds = sorted(set(numbers))
    return {(a, b): _radius(a) + _radius(b) for a in kinds for b in kinds if a <= b}
