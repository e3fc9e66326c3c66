"""True band edges near those of a path, and their effective masses."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.bands.derivatives import BandPoint
from postprocess.bands.gap import BandEdge
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.directions import named_directions
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions

LARGEST_STEP = 0.05
"""1/Angstrom; of the search for a band edge."""
FLAT = 1e-6
"""eV Angstrom; a slope that is none."""
ISOTROPIC = 0.05
"""Relative difference of inverse masses that does not tell directions, or levels, apart."""


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
    solve, sign = Eigensolver()(hamiltonian), 1.0 if highest else -1.0
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
    if not len(plane):  # a molecule
        return EdgeReport(point.energy, k, len(point.group), [], [], [])
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
