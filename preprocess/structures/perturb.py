"""Random perturbations of a structure, each structure from its own stream of random numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np

from deeph.physics.layers import LAYER_GAP, find_layers
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from preprocess.structures.distances import Limits, too_close
from preprocess.structures.layers import layer_gaps, slid, vacuum_axes, with_gaps
from preprocess.structures.supercell import deformed

ATTEMPTS = 100
"""How often a structure with atoms too close is drawn again."""
FAR = 1.0
"""Angstrom; larger displacements are another unit."""


def perturbed(system: System, rng: np.random.Generator, *, displacement: float, strain: float) -> System:
    """Strain the cell and displace every atom.

    Parameters
    ----------
    system : System
        The structure.
    rng : numpy Generator
        Source of the random numbers.
    displacement : float
        Standard deviation of each Cartesian coordinate, Angstrom.
    strain : float
        Each component of the symmetric strain tensor is uniform in -strain .. strain. The tensor has no component along a direction
        of vacuum: a slab is strained in its plane, a molecule not at all.

    Returns
    -------
    System
        The same atoms in the same order; positions are not wrapped.
    """
    e = rng.uniform(-strain, strain, (3, 3))
    e = np.triu(e) + np.triu(e, 1).T
    inside = np.eye(3)
    if axes := vacuum_axes(system):
        normals, _ = np.linalg.qr(system.reciprocal[axes].T)
        inside -= normals @ normals.T
    new = deformed(system, np.eye(3) + inside @ e @ inside)
    return System(new.cell, new.positions + displacement * rng.standard_normal(new.positions.shape), new.numbers, new.pbc)


@dataclass(frozen=True)
class Perturbation:
    """What is drawn for each structure of a set; a call draws one.

    Attributes
    ----------
    displacement : (low, high)
        Range of the standard deviation of the Cartesian displacements, Angstrom; one value a structure.
    strain : float
        Largest component of the strain tensor.
    slide : bool
        Whether every layer but the lowest is slid in its plane by any vector of the cell.
    spacing : (low, high) or None
        Range of the distance between the facing planes of neighbouring layers, Angstrom.
    gap : float
        Atomic planes further apart are two layers, Angstrom.
    """

    displacement: tuple[float, float] = (0.0, 0.0)
    strain: float = 0.0
    slide: bool = False
    spacing: tuple[float, float] | None = None
    gap: float = LAYER_GAP

    def __post_init__(self) -> None:
        for name, values in (("displacement", self.displacement), ("spacing", self.spacing or (0.0, 0.0))):
            if not 0 <= values[0] <= values[1]:
                raise UsageError(f"{name} {values[0]:g} {values[1]:g}: expected a range of two lengths, the smaller one first")
        if self.displacement[1] > FAR:
            raise UsageError(f"displacement {self.displacement[1]:g}: expected Angstrom, such as 0.05, at most {FAR:g}")
        if not 0 <= self.strain < 0.5:
            raise UsageError(f"strain {self.strain:g}: expected a number such as 0.01 for 1 %")

    def __call__(self, system: System, rng: np.random.Generator) -> System:
        """Draw one structure."""
        if self.slide or self.spacing:
            labels = find_layers(system, self.gap)
            n = int(labels.max()) + 1
            if n == 1:
                raise UsageError("the structure has one layer only: nothing to slide or to space. A smaller --gap separates closer planes")
            if self.spacing:
                gaps = rng.uniform(*self.spacing, len(layer_gaps(system, labels)))
                system = with_gaps(system, labels, gaps)
            if self.slide:
                shifts = rng.uniform(size=(n, 2))
                shifts[0] = 0
                system = slid(system, labels, shifts)
        return perturbed(system, rng, displacement=float(rng.uniform(*self.displacement)), strain=self.strain)


class Drawn(NamedTuple):
    """A random structure and how often it was drawn until no atoms were too close."""

    system: System
    attempts: int


def stream(name: str) -> list[int]:
    """What a name adds to a seed: nothing if it is empty."""
    return [crc32(name.encode())] if name else []


def draw(make: Callable[[np.random.Generator], System], limits: Limits, seed: int, n: int, name: str = "") -> Drawn:
    """Structure number n of a set: the same for a seed, however many others are made.

    Parameters
    ----------
    make : function
        Makes a structure from a random generator.
    limits : dict
        Shortest accepted distances. A structure that is below is drawn again from the next stream.
    seed, n : int
        Seed of the set, number of the structure.
    name : str
        Of the structure that is varied, where there are several: each gets random numbers of its own.

    Raises
    ------
    DataError
        If no structure was acceptable.
    """
    reason = first = ""
    own = stream(name)
    for attempt in range(ATTEMPTS):
        system = make(np.random.default_rng([seed, n, attempt, *own]))
        reason = too_close(system, limits)
        if not reason:
            if attempt:
                logger.info("structure %d: atoms too close in %d draws before (%s)", n, attempt, first)
            return Drawn(system, attempt + 1)
        first = first or reason
    raise DataError(
        f"structure {n}: atoms too close in each of {ATTEMPTS} draws (the last one: {reason}). Use smaller displacements or larger "
        "spacings, or lower --min-distance if such bonds are meant"
    )
