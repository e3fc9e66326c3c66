"""The Fermi level of a large cell from counts of levels: no spectrum is computed but for a few levels around it."""

from typing import NamedTuple

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.density.dos import compute_fermi_energy
from postprocess.density.fermi import regular_mesh
from postprocess.eigen.dense import hermitian
from postprocess.eigen.levels import ShiftedPencil, levels_near
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.real_pencils import RealPencils, make_pencils
from postprocess.eigen.solvers import DENSE_LIMIT

STORED = "stored with the data"
"""Origin of a Fermi level that came with the folder."""
CLOSE = 12
"""Levels per k between the shift and the Fermi level from which on they are computed instead of counted."""


class FermiLevel(NamedTuple):
    """Where N electrons fill the levels of some k-points up to, eV.

    Attributes
    ----------
    energy : float
        Half way between the two others.
    homo, lumo : float
        Highest occupied and lowest empty level. Their distance is the gap of an insulator at these k-points, and the uncertainty for a
        metal.
    """

    energy: float
    homo: float
    lumo: float


def fermi_by_counts(
    hamiltonian: Hamiltonian,
    k: FloatArray | None = None,
    *,
    guess: float | None = None,
    backend: str | None = None,
    single: bool = False,
    project: float = 0.0,
) -> FermiLevel:
    """Fermi level from the inertia of H - E S at one or a few k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    k : (n_k, 3) array, optional
        Fractional; Gamma by default, which is enough for an insulator and for a large cell.
    guess : float, optional
        eV; every count costs a factorization, and a good guess saves most of them.
    backend, single
        See :func:`postprocess.eigen.real_pencils.make_pencils`.
    project : float
        Leave out the eigenvectors of S(k) with smaller eigenvalues.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of levels, or the factorization cannot count.
    """
    if hamiltonian.n_electrons is None:
        raise DataError("the number of electrons is not known: info.json has no 'occupation', so no Fermi level can be computed")
    n_electrons, hamiltonian = hamiltonian.n_electrons, hermitian(hamiltonian)
    k = np.zeros((1, 3)) if k is None else np.asarray(k, float).reshape(-1, 3)
    points = [(x, spin) for spin in range(hamiltonian.basis.n_spin) for x in k]
    make = make_pencils if (2 * k % 1).any() else BlochPencils  # where all matrices are real anyway, these are smaller
    counter = _Counter(make(hamiltonian, backend=backend, single=single), points, project)
    n_filled = round(n_electrons * len(k) / (2 if hamiltonian.basis.spin == "none" else 1))
    if not 0 < n_filled < counter.n_levels:
        raise DataError(
            f"{n_electrons:g} electrons fill {n_filled} of {counter.n_levels} levels; check 'occupation' in info.json "
            "(valence electrons per cell, both spins)"
        )
    return counter.fermi_level(n_filled, counter.typical_energy() if guess is None else guess)


def find_fermi_energy(
    hamiltonian: Hamiltonian,
    fermi: float | str | None = None,
    *,
    needed: bool = True,
    guess: float | None = None,
    backend: str | None = None,
    single: bool = False,
    project: float = 0.0,
) -> tuple[float | None, str]:
    """A Fermi level and where it comes from: given, stored, or counted if it is asked for or nothing else is known.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    fermi : float or "count", optional
        The level in eV, or "count" to fill levels even if a level is stored.
    needed : bool
        Whether an unknown level is an error.
    guess, backend, single, project
        For cells too large for dense matrices, see :func:`fermi_by_counts`.

    Raises
    ------
    DataError
        If the level is needed and cannot be known.
    """
    if isinstance(fermi, int | float):
        return float(fermi), "given"
    if fermi is None and hamiltonian.fermi_energy is not None:
        return hamiltonian.fermi_energy, STORED
    if hamiltonian.n_electrons is None:
        if fermi is None and not needed:
            return None, "not known"
        raise DataError(
            "the Fermi level is not known and cannot be counted, because the number of electrons is not known (info.json has no "
            "'occupation'); give --fermi EV, or --center EV"
        )
    if hamiltonian.n_orbitals <= DENSE_LIMIT:
        mesh = regular_mesh(hamiltonian)
        origin = f"{hamiltonian.n_electrons:g} electrons on a {mesh[0]} x {mesh[1]} x {mesh[2]} mesh"
        return compute_fermi_energy(hamiltonian, mesh=mesh), origin
    found = fermi_by_counts(hamiltonian, guess=guess, backend=backend, single=single, project=project)
    gap = 1000 * (found.lumo - found.homo)
    return found.energy, f"{hamiltonian.n_electrons:g} electrons counted at Gamma, {gap:.3g} meV between the levels there"


class _Counter:
    """Counts and levels, summed over k and spin."""

    def __init__(self, pencils: BlochPencils | RealPencils, points: list[tuple[FloatArray, int]], project: float) -> None:
        self.pencils, self.points, self.threshold = pencils, points, project
        self.n_levels = len(points) * pencils.n

    def _pencil(self, k: FloatArray, spin: int) -> ShiftedPencil:
        plain = self.pencils.at(k, spin)
        return Projected(plain, nearly_dependent(plain, self.threshold)) if self.threshold else plain

    def typical_energy(self) -> float:
        """Median of the energies of single orbitals."""
        pencil = self.pencils.at(*self.points[0])
        return float(np.median(pencil.H.diagonal().real / pencil.S.diagonal().real))

    def count(self, energy: float) -> int:
        """Levels below an energy."""
        total = 0
        for k, spin in self.points:
            n = self._pencil(k, spin).count_below(energy)
            if n is None:
                raise DataError(f"the levels below {energy:.6f} eV could not be counted; use PARDISO in double precision")
            total += n
        return total

    def fermi_level(self, n_filled: int, energy: float) -> FermiLevel:
        """Close in on the energy by counts, then compute the levels around it."""
        ends, step = {0: -np.inf, self.n_levels: np.inf}, 4.0
        for _ in range(60):
            n = self.count(energy)
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

    def _edges(self, n_filled: int, energy: float, n: int) -> FermiLevel:
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
                    return FermiLevel(float(edges.mean()), float(edges[0]), float(edges[1]))
            if wanted >= self.pencils.n:
                raise DataError(
                    "the levels around the Fermi energy do not agree with their counts; nearly dependent orbitals? Project them out"
                )
            wanted *= 2
