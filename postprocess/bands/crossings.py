"""Where bands cross or touch at the Fermi level on a path, and how fast electrons are there."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.bands.bands import Bands
from postprocess.bands.derivatives import BandPoint
from postprocess.eigen.solver import Eigensolver, StateSolver
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions

TOUCHING = 0.01
"""eV; the highest occupied and the lowest empty level at one k that are no farther apart touch: a Dirac point in noisy data."""

Line = tuple[FloatArray, FloatArray]
"""Two fractional k-points of a path, one after the other."""


@dataclass(frozen=True)
class Crossing:
    """A band at the Fermi level on a path: its k (fractional), spin, band (from 0), and speed along the path in m/s."""

    k: FloatArray
    spin: int
    band: int
    velocity: float


def find_crossings(hamiltonian: Hamiltonian, bands: Bands) -> list[Crossing]:
    """Where bands cross the Fermi level on the path, and where valence and conduction bands touch there.

    Between two k-points the place is found by bisection. Bands touch at a k where their distance is smallest along the path and below
    :data:`TOUCHING`; each cone has one entry. An insulator has none, wherever in the gap its Fermi level lies, and a molecule neither.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian matrices; all levels are computed at some tens of k-points.
    bands : Bands
        With numbered levels and a Fermi level, else nothing is found.
    """
    gap = bands.gap
    nothing = gap is None or (not gap.is_metal and gap.width > TOUCHING) or not any(periodic_directions(hamiltonian))
    if nothing or bands.fermi_energy is None:
        return []
    solve, out = Eigensolver()(hamiltonian), []
    for spin, energies in enumerate(bands.levels - bands.fermi_energy):
        for points in bands.path.segments:
            k, e = bands.path.k[points.start : points.stop], energies[points.start : points.stop]
            sides = e.copy()
            for n in _touching(e):
                line = (k[n], k[n + 1]) if n + 1 < len(k) else (k[n - 1], k[n])
                top = int(np.flatnonzero(e[n] <= 0)[-1])
                out += _cones(hamiltonian, solve, line, k[n], (spin, bands.first_band + top))
                cone = np.flatnonzero(np.abs(e[n] - e[n, top]) <= TOUCHING)
                sides[n, cone] = np.where(np.arange(len(cone)) < len(cone) / 2, -TOUCHING, TOUCHING)  # noise moves no band across the level
            for n, (a, b) in enumerate(pairwise(sides)):
                crossing = bands.first_band + np.flatnonzero(((a <= 0) != (b <= 0)) & np.isfinite(a * b))
                out += [_bisected(hamiltonian, solve, (k[n], k[n + 1]), bands.fermi_energy, (spin, int(band))) for band in crossing]
    distinct: dict[tuple[object, ...], Crossing] = {}
    for c in out:
        distinct.setdefault((c.spin, c.band, *np.round(c.k, 4).tolist(), round(c.velocity, -3)), c)
    return list(distinct.values())


def _touching(energies: FloatArray) -> list[int]:
    """Places on a piece of a path, energies (n_k, n_bands) from the Fermi level, where occupied and empty bands touch."""
    below, above = np.where(energies <= 0, energies, -np.inf).max(axis=1), np.where(energies > 0, energies, np.inf).min(axis=1)
    distance = above - below
    padded = np.concatenate([[np.inf], distance, [np.inf]])
    return np.flatnonzero((distance <= TOUCHING) & (distance < padded[:-2]) & (distance <= padded[2:])).tolist()


def _cones(hamiltonian: Hamiltonian, solve: StateSolver, line: Line, k: FloatArray, which: tuple[int, int]) -> list[Crossing]:
    """Levels that touch at one k: every second of their speeds, for each cone has two branches."""
    spin, band = which
    point = BandPoint(hamiltonian, k, spin, solve(k, spin), band, TOUCHING)
    speeds = np.sort(_speeds(point, line))[::-2]
    first = int(point.group[0]) + len(point.group) // 2 - 1
    return [Crossing(k, spin, first - n, float(speed)) for n, speed in enumerate(speeds)]


def _bisected(hamiltonian: Hamiltonian, solve: StateSolver, line: Line, fermi: float, which: tuple[int, int]) -> Crossing:
    """Where a band passes the Fermi level between two k-points."""
    spin, band = which

    def at(x: float) -> BandPoint:
        k = line[0] + x * (line[1] - line[0])
        return BandPoint(hamiltonian, k, spin, solve(k, spin), band)

    low, high, rising = 0.0, 1.0, at(1.0).energy > fermi
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if (at(middle).energy > fermi) == rising else (middle, high)
    point = at((low + high) / 2)
    return Crossing(point.k, spin, band, float(_speeds(point, line).max()))


def _speeds(point: BandPoint, line: Line) -> FloatArray:
    """(g,) speeds of the levels of a group along a line, m/s."""
    return np.abs(point.velocities((line[1] - line[0]) @ in_plane_reciprocal(point.hamiltonian)))
