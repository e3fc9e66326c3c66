"""The highest filled and the lowest empty level of a large cell from counts of levels: no spectrum is computed but a few levels there."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.eigen.backends import BACKENDS
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.real_pencils import RealPencils, make_pencils
from postprocess.eigen.search import SearchablePencil, levels_near

CLOSE = 12
"""Levels per k between the shift and the Fermi level from which on they are computed instead of counted."""


def frontier_levels(
    hamiltonian: Hamiltonian, k: FloatArray, n_filled: int, *, guess: float | None = None, options: SolverOptions | None = None
) -> tuple[float, float]:
    """Energies of the level number ``n_filled`` and of the next one, from the inertia of H - E S at some k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    k : (n_k, 3) array
        Fractional.
    n_filled : int
        Filled levels of all these k-points and of all spin channels together.
    guess : float, optional
        eV; every count costs a factorization, and a good guess saves most of them.
    options : SolverOptions, optional
        How H - E S is factored.

    Raises
    ------
    DataError
        If there are not so many levels, or the factorization cannot count.
    """
    counter = _counter(hamiltonian, k, options)
    if not 0 < n_filled < counter.n_levels:
        raise DataError(
            f"{hamiltonian.n_electrons:g} electrons fill {n_filled} of {counter.n_levels} levels; check 'occupation' in info.json "
            "(valence electrons per cell, both spins)"
        )
    return counter.edges(n_filled, counter.typical_energy() if guess is None else guess)


def levels_below(hamiltonian: Hamiltonian, k: FloatArray, energy: float, *, options: SolverOptions | None = None) -> IntArray:
    """(n_spin, n_k) how many levels lie below an energy (eV) at each k, by one factorization each; parameters and errors as above."""
    return _counter(hamiltonian, k, options).counts(energy).reshape(-1, len(k))


def _counter(hamiltonian: Hamiltonian, k: FloatArray, options: SolverOptions | None) -> "_Counter":
    hamiltonian, options = hermitian(hamiltonian), options or SolverOptions()
    points = [(x, spin) for spin in range(hamiltonian.basis.n_spin) for x in k]
    backend = options.name if options.name in BACKENDS else None
    if (2 * k % 1).any():
        pencils = make_pencils(hamiltonian, backend=backend, single=options.single, symmetrize=options.symmetrize)
    else:  # all matrices are real anyway, and these are smaller
        pencils = BlochPencils(hamiltonian, backend=backend, single=options.single)
    return _Counter(pencils, points, options.project)


class _Counter:
    """Counts and levels, summed over k and spin."""

    def __init__(self, pencils: BlochPencils | RealPencils, points: list[tuple[FloatArray, int]], project: float) -> None:
        self.pencils, self.points, self.threshold = pencils, points, project
        self.n_levels = len(points) * pencils.n

    def _pencil(self, k: FloatArray, spin: int) -> SearchablePencil:
        plain = self.pencils.at(k, spin)
        return Projected(plain, nearly_dependent(plain, self.threshold)) if self.threshold else plain

    def typical_energy(self) -> float:
        """Median of the energies of single orbitals."""
        pencil = self.pencils.at(*self.points[0])
        return float(np.median(pencil.H.diagonal().real / pencil.S.diagonal().real))

    def counts(self, energy: float) -> IntArray:
        """Levels below an energy at each of the points."""
        found = [self._pencil(k, spin).count_below(energy) for k, spin in self.points]
        if None in found:
            raise DataError(f"the levels below {energy:.6f} eV could not be counted; use PARDISO in double precision")
        return np.array(found, np.int64)

    def edges(self, n_filled: int, energy: float) -> tuple[float, float]:
        """Close in on the energy by counts, then compute the levels around it."""
        ends, step = {0: -np.inf, self.n_levels: np.inf}, 4.0
        for _ in range(60):
            n = int(self.counts(energy).sum())
            logger.info("%d levels lie below %.4f eV, %d are filled", n, energy, n_filled)
            if abs(n - n_filled) <= CLOSE * len(self.points):
                return self._edges(n_filled, energy, n)
            ends[n] = energy
            n_low, n_high = max(m for m in ends if m < n_filled), min(m for m in ends if m > n_filled)
            low, high = ends[n_low], ends[n_high]
            if np.isfinite([low, high]).all():
                energy = low + (high - low) * float(np.clip((n_filled - n_low) / (n_high - n_low), 0.1, 0.9))
            else:
                energy, step = (energy + step if n < n_filled else energy - step), 2 * step
        raise DataError(f"no energy was found below which {n_filled} levels lie; {n} lie below {energy:.4f} eV")

    def _edges(self, n_filled: int, energy: float, n: int) -> tuple[float, float]:
        wanted = 2 * abs(n_filled - n) // len(self.points) + 8
        while True:
            found = []
            for k, spin in self.points:
                pencil = self._pencil(k, spin)
                found.append(levels_near(pencil, energy, min(wanted, pencil.n_levels), verify=wanted < pencil.n_levels).energies)
            levels = np.sort(np.concatenate(found))
            homo = n_filled - n + int((levels < energy).sum()) - 1
            if 0 <= homo < len(levels) - 1:
                edges = levels[homo : homo + 2]
                reach = min(np.abs(e - energy).max() if len(e) < self.pencils.n else np.inf for e in found)
                if np.abs(edges - energy).max() <= reach:
                    return float(edges[0]), float(edges[1])
            if wanted >= self.pencils.n:
                raise DataError(
                    "the levels around the Fermi energy do not agree with their counts; nearly dependent orbitals? Project them out"
                )
            wanted *= 2
