"""The highest filled and the lowest empty level of a large cell from counts of levels: no spectrum is computed but a few levels there."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger, telling
from postprocess.eigen.backends import BACKENDS
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent
from postprocess.eigen.pencil import BlochPencils, Pencil
from postprocess.eigen.real_pencils import RealPencils, make_pencils
from postprocess.eigen.search import SearchablePencil, levels_near

CLOSE = 30
"""Levels per k between the shift and the Fermi level from which on they are computed: as much work as two counts that come nearer."""
MAX_COUNTS = 60
"""Counts until the search is given up."""
BESIDE = 1.7e-3, -2.3e-3
"""eV; so far from a level that was hit by chance the search counts instead."""
GUESSED, UNGUESSED = 0.2, 4.0
"""eV; the first step of the search beside a guess, and without one."""


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
        eV; every count costs a factorization, and a good guess saves most of them. By default :attr:`Hamiltonian.fermi_guess`.
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
    start, step, why = _start(hamiltonian, counter, guess)
    logger.info("Fermi level: %d of %d levels are filled; counting begins at %.3f eV, %s", n_filled, counter.n_levels, start, why)
    edges = counter.edges(n_filled, start, step)
    logger.info("Fermi level: between %.6f and %.6f eV, after %d factorizations", *edges, counter.n_factored)
    return edges


def _start(hamiltonian: Hamiltonian, counter: "_Counter", guess: float | None) -> tuple[float, float, str]:
    """Where counting begins, the first step from there, and why there."""
    if guess is not None:
        return guess, GUESSED, "as asked for"
    if hamiltonian.fermi_guess is not None:
        level, spread = hamiltonian.fermi_guess
        return level, max(4 * spread, GUESSED), f"that of the training data (+- {spread:.3f} eV)"
    hint = "nothing tells where it is: five to ten factorizations (--fermi EV, or --center EV as a guess, save them)"
    return counter.typical_energy(), UNGUESSED, f"in the middle of the orbital energies, for {hint}"


def levels_below(hamiltonian: Hamiltonian, k: FloatArray, energy: float, *, options: SolverOptions | None = None) -> IntArray:
    """(n_spin, n_k) how many levels lie below an energy (eV) at each k, by one factorization each; parameters and errors as above."""
    return _counter(hamiltonian, k, options).counts(energy).reshape(-1, len(k))


def _counter(hamiltonian: Hamiltonian, k: FloatArray, options: SolverOptions | None) -> "_Counter":
    hamiltonian, options = hermitian(hamiltonian), options or SolverOptions()
    points = [(x, spin) for spin in range(hamiltonian.basis.n_spin) for x in k]
    backend = options.name if options.name in BACKENDS else None
    if (2 * k % 1).any():
        pencils = make_pencils(hamiltonian, backend=backend, single=options.single, real_form=options.real_form)
    else:  # all matrices are real anyway, and these are smaller
        pencils = BlochPencils(hamiltonian, backend=backend, single=options.single)
    return _Counter(pencils, points, options.project)


class _Counter:
    """Counts and levels, summed over k and spin."""

    def __init__(self, pencils: BlochPencils | RealPencils, points: list[tuple[FloatArray, int]], project: float) -> None:
        self.pencils, self.points, self.threshold = pencils, points, project
        self.n_levels = len(points) * pencils.n
        self._last: Pencil | None = None
        self._before = 0
        self._only: SearchablePencil | None = None

    @property
    def n_factored(self) -> int:
        """Factorizations so far, without those of S."""
        return self._before + (0 if self._last is None else self._last.n_factored)

    def _pencil(self, k: FloatArray, spin: int) -> SearchablePencil:
        """That of one of the points; where there is but one, it is kept with its factor."""
        if self._only is not None:
            return self._only
        found = self._new_pencil(k, spin)
        if len(self.points) == 1:
            self._only = found
        return found

    def _new_pencil(self, k: FloatArray, spin: int) -> SearchablePencil:
        self._before, self._last = self.n_factored, None
        with telling(f"making H(k) and S(k) of {self.pencils.n} orbitals"):
            self._last = plain = self.pencils.at(k, spin)
        return Projected(plain, nearly_dependent(plain, self.threshold)) if self.threshold else plain

    def typical_energy(self) -> float:
        """Median of the energies of single orbitals."""
        pencil = self.pencils.at(*self.points[0])
        return float(np.median(pencil.H.diagonal().real / pencil.S.diagonal().real))

    def counts(self, energy: float, *, beside: tuple[float, ...] = ()) -> IntArray:
        """Levels below an energy at each of the points; so far ``beside`` it (eV) where it is a level itself and nothing can be counted."""
        found = []
        with telling(f"counting the levels below {energy:.4f} eV", len(self.points), "k-points") as progress:
            for k, spin in self.points:
                pencil = self._pencil(k, spin)
                tried = (pencil.count_below(energy + step) for step in (0.0, *beside))
                found.append(next((n for n in tried if n is not None), None))
                progress.advance()
        if None in found:
            raise DataError(f"the levels below {energy:.6f} eV could not be counted; use PARDISO in double precision")
        return np.array(found, np.int64)

    def edges(self, n_filled: int, energy: float, step: float) -> tuple[float, float]:
        """Close in on the energy by counts, in steps that double until the level is enclosed, then compute the levels around it."""
        ends = {0: -np.inf, self.n_levels: np.inf}
        for number in range(1, MAX_COUNTS + 1):
            n = int(self.counts(energy, beside=BESIDE).sum())
            close = abs(n - n_filled) <= CLOSE * len(self.points)
            logger.info(
                "count %d: %d levels lie below %.4f eV, %d are filled; %s",
                number, n, energy, n_filled, "the levels there follow, with two more counts" if close else "counting on",
            )  # fmt: skip
            if close:
                return self._edges(n_filled, energy, abs(n - n_filled))
            ends[n] = energy
            n_low, n_high = max(m for m in ends if m < n_filled), min(m for m in ends if m > n_filled)
            low, high = ends[n_low], ends[n_high]
            if np.isfinite([low, high]).all():
                energy = low + (high - low) * float(np.clip((n_filled - n_low) / (n_high - n_low), 0.1, 0.9))
            else:
                energy, step = (energy + step if n < n_filled else energy - step), 2 * step
        raise DataError(f"no energy was found below which {n_filled} levels lie; {n} lie below {energy:.4f} eV")

    def _edges(self, n_filled: int, energy: float, off: int) -> tuple[float, float]:
        """The levels around an energy from which the wanted ones are ``off`` away, numbered by counts in gaps: it may be one of them."""
        wanted = 2 * off // len(self.points) + 8
        while True:
            found, n_below = [], 0
            for k, spin in self.points:
                pencil = self._pencil(k, spin)
                near = levels_near(pencil, energy, min(wanted, pencil.n_levels), verify=wanted < pencil.n_levels)
                if near.first is None:
                    raise DataError(f"the levels near {energy:.6f} eV could not be counted; use PARDISO in double precision")
                found.append(near.energies)
                n_below += near.first
            levels = np.sort(np.concatenate(found))
            homo = n_filled - n_below - 1
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
