"""What a band structure says in numbers: band widths, true band edges and their masses, velocities at the Fermi level."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.bands.bands import BandEdge, Bands
from postprocess.bands.derivatives import BandPoint
from postprocess.lattice.directions import named_directions
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.states.states import Dense, StateSolver

LARGEST_STEP = 0.05
"""1/Angstrom; of the search for a band edge."""
FLAT = 1e-6
"""eV Angstrom; a slope that is none."""
ISOTROPIC = 0.05
"""Relative difference of inverse masses that does not tell directions, or levels, apart."""
AT_CROSSING = 0.01
"""eV; levels so close to the Fermi level at a k where bands touch form one group (a Dirac point of noisy data)."""


@dataclass(frozen=True)
class BandWidth:
    """Extent of one band on a path; spin and band counted from 0, energies in eV on the zero of H."""

    spin: int
    band: int
    low: float
    high: float

    @property
    def width(self) -> float:
        """High minus low, eV."""
        return self.high - self.low

    @property
    def center(self) -> float:
        """Half way between, eV."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class EdgeReport:
    """A band edge found by following the slope uphill or downhill from the path.

    Attributes
    ----------
    energy : float
        eV.
    k : (3,) array
        Fractional.
    degeneracy : int
        Levels that meet there.
    masses : list of lists of float, or None
        Effective masses in m_e of the levels that meet there, the heaviest first, for each direction; None where bands cross linearly.
    axes : list of (3,) lists or None
        Cartesian unit vectors of the directions: the principal axes of one anisotropic mass tensor, else the lattice's own.
    names : list of str or None
        Of the lattice's directions, see :func:`postprocess.lattice.directions.named_directions`; None for principal axes.
    """

    energy: float
    k: FloatArray
    degeneracy: int
    masses: list[list[float]] | None
    axes: list[list[float]] | None
    names: list[str] | None = None


@dataclass(frozen=True)
class Crossing:
    """A band that crosses the Fermi level on a path: its k (fractional), spin, band (from 0), and speed along the path in m/s."""

    k: FloatArray
    spin: int
    band: int
    velocity: float


def bandwidths(bands: Bands) -> list[BandWidth]:
    """Extent of each band that is known at all k of the path."""
    whole = np.isfinite(bands.energies).all(axis=1)
    return [
        BandWidth(int(s), bands.first_band + int(n), float(bands.energies[s, :, n].min()), float(bands.energies[s, :, n].max()))
        for s, n in np.argwhere(whole)
    ]


def true_edge(hamiltonian: Hamiltonian, start: BandEdge, *, highest: bool) -> EdgeReport:
    """Follow a band from an edge on a path to the maximum or minimum nearby, by Newton's method with exact derivatives.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian matrices; all levels are computed at some tens of k-points.
    start : BandEdge
        Where to begin.
    highest : bool
        Whether a maximum is looked for.
    """
    solve, sign = Dense()(hamiltonian), 1.0 if highest else -1.0
    plane = _plane(hamiltonian)
    to_fractional = np.linalg.inv(in_plane_reciprocal(hamiltonian))

    def at(k: FloatArray) -> BandPoint:
        return BandPoint(hamiltonian, k, start.spin, solve(k, start.spin), start.band)

    point, reach = at(start.k), LARGEST_STEP
    for _ in range(30):
        slope = plane @ np.einsum("ann->a", point.slopes).real / len(point.group)
        if np.linalg.norm(slope) < FLAT or reach < 1e-7:
            break
        hessian = plane @ (np.einsum("abnn->ab", point.curvatures).real / len(point.group)) @ plane.T
        step = -np.linalg.solve(hessian, slope) if (sign * np.linalg.eigvalsh(hessian) < 0).all() else sign * slope
        step *= min(1.0, reach / np.linalg.norm(step))
        trial = at(point.k + step @ plane @ to_fractional)
        if sign * (trial.energy - point.energy) > 0:
            point = trial
        else:
            reach = float(np.linalg.norm(step)) / 4
    return _described(point, plane)


def _plane(hamiltonian: Hamiltonian) -> FloatArray:
    """(n, 3) orthonormal Cartesian directions in which bands disperse."""
    axes = np.flatnonzero(periodic_directions(hamiltonian))
    return np.asarray(np.linalg.qr(hamiltonian.system.cell[axes].T)[0].T)


def _described(point: BandPoint, plane: FloatArray) -> EdgeReport:
    """Masses along the principal axes if they mean something: a tensor that all levels share, and that is not isotropic."""
    k = point.k - np.floor(point.k + 0.5 - 1e-9)
    try:
        inverse, vectors = np.linalg.eigh(plane @ point.inverse_mass @ plane.T)
    except DataError:
        return EdgeReport(point.energy, k, len(point.group), None, None)
    axes, names = vectors.T @ plane, None
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    warped = any(np.ptp(1 / point.masses(axis)) > ISOTROPIC * np.abs(inverse).max() for axis in axes)
    if warped or np.ptp(inverse) < ISOTROPIC * np.abs(inverse).max():
        named = named_directions(point.hamiltonian)
        names, axes = list(named), np.array(list(named.values())).reshape(-1, 3)
    masses = [sorted(point.masses(axis).tolist(), key=abs, reverse=True) for axis in axes]
    return EdgeReport(point.energy, k, len(point.group), masses, axes.tolist(), names)


def find_crossings(hamiltonian: Hamiltonian, bands: Bands) -> list[Crossing]:
    """Where bands cross the Fermi level on the path, and how fast electrons are there.

    Between two k-points the place is found by bisection; a touching point (Dirac point at a corner) counts once.
    """
    if bands.fermi_energy is None or not bands.counted:
        return []
    solve, out = Dense()(hamiltonian), []
    for spin, energies in enumerate(bands.energies - bands.fermi_energy):
        for points in bands.path.segments:
            for a, b in pairwise(range(points.start, points.stop)):
                line = (bands.path.k[a], bands.path.k[b])
                crossing = np.flatnonzero((energies[a] * energies[b] < 0) & (np.abs(energies[[a, b]]).min(axis=0) > AT_CROSSING))
                out += [_bisected(hamiltonian, solve, line, bands.fermi_energy, (spin, bands.first_band + int(n))) for n in crossing]
                touching = np.flatnonzero(np.abs(energies[a]) <= AT_CROSSING)
                if len(touching):
                    out.append(_touching(hamiltonian, solve, line, spin, bands.first_band + int(touching[0])))
    distinct: dict[tuple[int, int, tuple[float, ...]], Crossing] = {}
    for c in out:
        distinct.setdefault((c.spin, c.band, tuple(np.round(c.k, 4).tolist())), c)
    return list(distinct.values())


def _touching(hamiltonian: Hamiltonian, solve: StateSolver, line: tuple[FloatArray, FloatArray], spin: int, band: int) -> Crossing:
    """Levels at the Fermi level at the first k of a line."""
    point = BandPoint(hamiltonian, line[0], spin, solve(line[0], spin), band, AT_CROSSING)
    return Crossing(point.k, spin, band, _speed(point, line))


def _bisected(
    hamiltonian: Hamiltonian, solve: StateSolver, line: tuple[FloatArray, FloatArray], fermi: float, which: tuple[int, int]
) -> Crossing:
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
    return Crossing(point.k, spin, band, _speed(point, line))


def _speed(point: BandPoint, line: tuple[FloatArray, FloatArray]) -> float:
    """Largest speed of the group along a line, m/s."""
    return float(np.abs(point.velocities((line[1] - line[0]) @ in_plane_reciprocal(point.hamiltonian))).max())
