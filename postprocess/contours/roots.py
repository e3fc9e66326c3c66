"""Where a band has an energy, on many lines in k at once."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.contours.plane import KPlane
from postprocess.eigen.solver import SolverFactory
from postprocess.states.kjobs import Jobs
from postprocess.states.spectrum import Spectrum, compute_spectrum

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_STEPS = 60
"""Halvings that are enough for any bracket."""


@dataclass
class BandEnergies:
    """Levels of some bands at any places of a plane; every call solves H once at each of them.

    Attributes
    ----------
    hamiltonian, plane, solver, jobs
        Of what, where and how.
    n_solved : int
        k-points so far.
    """

    hamiltonian: Hamiltonian
    plane: KPlane
    solver: SolverFactory | None = None
    jobs: Jobs | None = None
    n_solved: int = field(default=0)

    def spectrum(self, xy: FloatArray) -> Spectrum:
        """All levels at places (n, 2), in units of the vectors of the plane."""
        self.n_solved += len(xy)
        return compute_spectrum(self.hamiltonian, self.plane.fractional(xy), solver=self.solver, jobs=self.jobs)

    def __call__(self, xy: FloatArray, spin: IntArray, band: IntArray) -> FloatArray:
        """(n,) eV; each place has its own spin channel and band, counted from 0 among all. NaN where a partial solver did not reach it."""
        if not len(xy):
            return np.zeros(0)
        found = self.spectrum(xy)
        column = band - found.first_band
        known = (column >= 0) & (column < found.energies.shape[2])
        values = found.energies[spin, np.arange(len(xy)), np.where(known, column, 0)]
        return np.asarray(np.where(known, values, np.nan))


@dataclass(frozen=True)
class Targets:
    """Which level is looked for on each line: spin channel, band, energy (eV), all (n,)."""

    spin: IntArray
    band: IntArray
    energy: FloatArray

    def __getitem__(self, which: "IntArray | npt.NDArray[np.bool_]") -> "Targets":
        return Targets(self.spin[which], self.band[which], self.energy[which])

    def __len__(self) -> int:
        return len(self.spin)

    @classmethod
    def joined(cls, parts: "Sequence[Targets]") -> "Targets":
        """One after the other."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("spin", "band", "energy")))

    def off(self, energies: BandEnergies, xy: FloatArray) -> FloatArray:
        """(n,) E(k) - E, eV."""
        return energies(xy, self.spin, self.band) - self.energy


def find_roots(energies: BandEnergies, targets: Targets, ends: Any, values: Any, tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Places on lines where the levels are the wanted ones, by false position (Illinois), which keeps the bracket.

    Parameters
    ----------
    energies : BandEnergies
        The bands.
    targets : Targets
        What is looked for.
    ends : pair of (n, 2) arrays
        Of the lines.
    values : pair of (n,) arrays
        E(k) - E there, of opposite signs.
    tolerance : float
        eV.

    Returns
    -------
    places : (n, 2) array
        On the lines.
    off : (n,) array
        E(k) - E there: at most the tolerance.

    Raises
    ------
    DataError
        If a level cannot be found there, because a partial solver lost it.
    """
    (a, b), (fa, fb) = ([np.array(x, float) for x in pair] for pair in (ends, values))
    out, off = np.where((np.abs(fa) < np.abs(fb))[:, None], a, b), np.where(np.abs(fa) < np.abs(fb), fa, fb)
    left = np.flatnonzero(np.abs(off) > tolerance)
    side = np.zeros(len(a), int)
    for step in range(MOST_STEPS):
        if not len(left):
            return out, off
        t = fa[left] / (fa[left] - fb[left])
        t = np.full(len(left), 0.5) if step % 8 == 7 else np.clip(t, 0.01, 0.99)  # kinks, where bands cross, would be approached slowly
        place = a[left] + t[:, None] * (b[left] - a[left])
        f = targets[left].off(energies, place)
        if np.isnan(f).any():
            raise DataError("a level of the contour was lost between two k-points where it was found; compute more bands")
        out[left], off[left] = place, f
        same = (f < 0) == (fa[left] < 0)
        for mine, points, value, other, number in ((same, a, fa, fb, 1), (~same, b, fb, fa, 2)):
            which = left[mine]
            points[which], value[which] = place[mine], f[mine]
            other[which] *= np.where(side[which] == number, 0.5, 1.0)
            side[which] = number
        left = left[np.abs(f) > tolerance]
    raise DataError(f"{len(left)} points of contours were not found to {tolerance:g} eV; choose a larger tolerance")
