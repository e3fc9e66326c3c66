"""How bands move with k: velocities and curvatures from the analytic derivatives of H(k) and S(k).

Within a group of g degenerate states with energy E, X_a = C^dagger (d_a H - E d_a S) C holds the slopes dE/dk_a, and (second-order
perturbation theory with S kept, lattice gauge)

    M_ab = C^dagger (d_ab H - E d_ab S) C + sum_m [x_am^dagger x_bm + x_bm^dagger x_am] / (E - E_m) - (X_a N_b + X_b N_a + h.c.)/2

with x_am = C_m^dagger (d_a H - E d_a S) C over all other states and N_a = C^dagger d_a S C; for g = 1 it is d2E/dk_a dk_b.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR, HBAR2_OVER_MASS
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]
DEGENERATE = 1e-3
"""eV; levels so close are one: the noise of a DFT code's integration grid splits degenerate levels by about this."""


@dataclass(frozen=True)
class BandPoint:
    """A level at one k with its slopes and curvatures.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian matrices.
    k : (3,) array
        Fractional.
    spin : int
        Channel.
    levels : Levels
        The level and the others that it is coupled to: all of them for exact curvatures, any for slopes.
    which : int
        Place of the level among them.
    tolerance : float
        Levels within it belong to the group, eV.
    """

    hamiltonian: Hamiltonian
    k: FloatArray
    spin: int
    levels: Levels
    which: int
    tolerance: float = DEGENERATE

    @cached_property
    def group(self) -> npt.NDArray[np.int64]:
        """Places of the degenerate levels."""
        return np.flatnonzero(np.abs(self.levels.energies - self.energy) <= self.tolerance)

    @property
    def energy(self) -> float:
        """The level, eV."""
        return float(self.levels.energies[self.which])

    def _pencil(self, *directions: int) -> Array:
        """(d H - E d S) applied to the group."""
        H = self.hamiltonian.H_bloch.derivative(self.k, directions, component=self.spin)
        S = self.hamiltonian.S_bloch.derivative(self.k, directions)
        C = self.levels.vectors[:, self.group]
        return np.asarray(H @ C - self.energy * (S @ C))

    @cached_property
    def _slopes(self) -> Array:
        """(3, n_levels, g) C_m^dagger (d_a H - E d_a S) C."""
        return np.array([self.levels.vectors.conj().T @ self._pencil(a) for a in range(3)])

    @property
    def slopes(self) -> Array:
        """(3, g, g) matrices whose eigenvalues along a direction are the slopes dE/dk of the group, eV Angstrom."""
        return np.asarray(self._slopes[:, self.group])

    def velocities(self, direction: FloatArray) -> FloatArray:
        """(g,) group velocities along a Cartesian direction, m/s."""
        u = np.asarray(direction, float) / np.linalg.norm(direction)
        return np.linalg.eigvalsh(np.einsum("a,amn->mn", u, self.slopes)) / HBAR * 1e-10

    @cached_property
    def curvatures(self) -> Array:
        """(3, 3, g, g) second derivatives within the group, eV Angstrom^2."""
        C, x, X = self.levels.vectors[:, self.group], self._slopes, self.slopes
        others = np.setdiff1d(np.arange(len(self.levels.energies)), self.group)
        weight = 1 / (self.energy - self.levels.energies[others])
        S = self.hamiltonian.S_bloch
        N = np.array([C.conj().T @ (S.derivative(self.k, (a,)) @ C) for a in range(3)])
        out = np.empty((3, 3, len(self.group), len(self.group)), complex)
        for a in range(3):
            for b in range(3):
                mixed = (x[a, others].conj().T * weight) @ x[b, others]
                norm = X[a] @ N[b] + X[b] @ N[a]
                out[a, b] = C.conj().T @ self._pencil(a, b) + mixed + mixed.conj().T - (norm + norm.conj().T) / 2
        return out

    @property
    def inverse_mass(self) -> FloatArray:
        """(3, 3) inverse effective mass in units of 1/m_e, the mean over the group.

        Raises
        ------
        DataError
            If the levels of the group leave it with different slopes (a Dirac point or a Rashba crossing), where no mass exists.
        """
        spread = max(float(np.ptp(np.linalg.eigvalsh(X))) for X in self.slopes)
        if spread > 0.05:
            raise DataError(f"bands cross linearly at this k (slopes differ by {spread:.3g} eV Angstrom); there is no effective mass")
        return np.asarray(np.einsum("abnn->ab", self.curvatures).real / len(self.group) / HBAR2_OVER_MASS)

    def masses(self, direction: FloatArray) -> FloatArray:
        """(g,) effective masses along a Cartesian direction in units of m_e, e.g. those of heavy and light holes."""
        u = np.asarray(direction, float) / np.linalg.norm(direction)
        if len(self.group) == len(self.levels.energies) < self.hamiltonian.H_bloch.n_orbitals:
            raise UsageError("all levels belong to one group; compute more of them")
        return HBAR2_OVER_MASS / np.linalg.eigvalsh(np.einsum("a,b,abmn->mn", u, u, self.curvatures))
