"""Which solver finds the levels of a Hamiltonian: chosen by size and by what is installed, and reported."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.factorization import BACKENDS, best_backend
from postprocess.eigen.levels import Levels, levels_between, levels_near
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent, not_positive, report_overlap, smallest_overlap
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.real_pencils import MAX_VIOLATION, RealPencils, make_pencils

Array = npt.NDArray[Any]
SOLVERS = ("auto", "dense", *BACKENDS)
DENSE_LIMIT = 2500
"""Orbitals up to which LAPACK is as fast as anything."""
DENSE_LARGEST = 20000
"""Orbitals up to which all levels are computed without being told how; a dense matrix has 6 GiB then."""
DENSE_SHARE = 0.2
"""Share of all levels from which on LAPACK is faster."""
CHECKED_LIMIT = 20000
"""Orbitals up to which the smallest eigenvalue of S is looked at without being asked."""


@dataclass(frozen=True)
class SomeLevels:
    """The levels in a window, or those nearest an energy: a factory of solvers for :func:`postprocess.eigen.spectrum.compute_spectrum`.

    Attributes
    ----------
    low, high : float
        The window in eV, on the energy zero of H.
    n_bands : int or None
        Instead: so many levels nearest ``center``.
    center : float
        eV.
    solver : {"auto", "dense", "pardiso", "superlu"}
        By default chosen by size and by what is installed.
    single : bool
        Factor in single precision, in half of the memory; solutions are refined to double precision. PARDISO only.
    project : float
        Leave out the eigenvectors of S(k) with smaller eigenvalues; 0 keeps all.
    verify : bool
        With ``n_bands``: prove by counts that none was missed, at the price of two more factorizations. A window is always proved.
    symmetrize : float
        eV; where inversion or a half turn can make H(k) real at every k, elements may be changed by so much for it. 0: never.
    """

    low: float = -np.inf
    high: float = np.inf
    n_bands: int | None = None
    center: float = 0.0
    solver: str = "auto"
    single: bool = False
    project: float = 0.0
    verify: bool = True
    symmetrize: float = MAX_VIOLATION

    def __post_init__(self) -> None:
        if self.n_bands is not None and self.n_bands < 1:
            raise UsageError(f"{self.n_bands} bands asked for: expected at least one")
        if self.n_bands is None and not self.low < self.high:
            raise UsageError(f"window {self.low:g} to {self.high:g} eV: expected two energies, the lower one first")
        if not np.isfinite(self.center):
            raise UsageError(f"centre {self.center}: expected an energy in eV")
        if not 0 <= self.project < 1:
            raise UsageError(f"projection below {self.project:g}: eigenvalues of S lie around 1, expected a small number such as 1e-3")
        if not 0 <= self.symmetrize < np.inf:
            raise UsageError(f"symmetrize {self.symmetrize:g}: expected an energy in eV, 0 or more")
        if self.solver not in SOLVERS:
            raise UsageError(f"solver {self.solver!r}: expected one of {', '.join(SOLVERS)}")

    def __call__(self, hamiltonian: Hamiltonian) -> "LevelSolver":
        """The solver for one Hamiltonian with Hermitian matrices."""
        return LevelSolver(hamiltonian, self)

    def describe(self, n_orbitals: int) -> str:
        """What solves a problem of some size."""
        name = self.choose(n_orbitals)
        name, single = ("dense matrices (LAPACK)", "") if name == "dense" else (name, " in single precision, refined" * self.single)
        return f"{name}{single}, {n_orbitals} orbitals"

    def choose(self, n_orbitals: int) -> str:
        """The name of the solver for a problem of some size.

        Raises
        ------
        UsageError
            If more bands are asked for than there are orbitals.
        """
        if (self.n_bands or 0) > n_orbitals:
            raise UsageError(f"{self.n_bands} bands asked for, but there are {n_orbitals} orbitals")
        if self.solver != "auto":
            return self.solver
        many = (self.n_bands or 0) > DENSE_SHARE * n_orbitals
        endless = self.n_bands is None and not np.isfinite([self.low, self.high]).all()
        return "dense" if n_orbitals <= DENSE_LIMIT or many or endless else best_backend()


class LevelSolver:
    """Chosen levels of one Hamiltonian at any k; the symbolic analysis is done once for all k.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, see :func:`postprocess.eigen.dense.hermitian`.
    selection : SomeLevels
        What to find, and how.

    Attributes
    ----------
    name : str
        The solver chosen.
    """

    def __init__(self, hamiltonian: Hamiltonian, selection: SomeLevels) -> None:
        self.selection, self.n_orbitals = selection, hamiltonian.n_orbitals
        self.name = selection.choose(self.n_orbitals)
        single = selection.single and self.name != "dense"
        self._checked = False
        logger.info("solver: %s", selection.describe(self.n_orbitals))
        self._pencils: BlochPencils | RealPencils | None = None
        if self.name == "dense":
            self._H, self._S = hamiltonian.H_bloch, hamiltonian.S_bloch
        else:
            self._pencils = make_pencils(hamiltonian, backend=self.name, single=single, symmetrize=selection.symmetrize)

    def __call__(self, k: FloatArray, spin: int = 0, *, vectors: bool = True) -> Levels:
        """The chosen levels at one k; see :func:`solve_at_k`. The vectors are there in any case."""
        del vectors
        k = np.asarray(k, float)
        try:
            levels = self._dense(k, spin) if self._pencils is None else self._sparse(self._pencils, k, spin)
        except DataError as error:
            raise type(error)(f"k = ({', '.join(f'{x:.6g}' for x in k)}): {error}") from error
        worst = levels.residuals.max(initial=0.0)
        proof = "counts prove that none is missing" if levels.complete else "not proved that none is missing"
        progress = logging.DEBUG if self._pencils is None else logging.INFO  # small cells have many k-points a second
        logger.log(progress, "k = %s: %d levels, residual %.1e eV, %s", np.round(k, 6).tolist(), len(levels.energies), worst, proof)
        return levels

    def _sparse(self, pencils: BlochPencils | RealPencils, k: FloatArray, spin: int) -> Levels:
        plain, chosen = pencils.at(k, spin), self.selection
        if not self._checked and self.n_orbitals <= CHECKED_LIMIT:
            report_overlap(smallest_overlap(plain), k, projected=bool(chosen.project))
            self._checked = True
        pencil = Projected(plain, nearly_dependent(plain, chosen.project)) if chosen.project else plain
        if chosen.n_bands is None:
            levels = levels_between(pencil, chosen.low, chosen.high)
        else:
            levels = levels_near(pencil, chosen.center, chosen.n_bands, verify=chosen.verify)
        return plain.as_given(levels)

    def _dense(self, k: FloatArray, spin: int) -> Levels:
        from scipy.linalg import eigh

        H, S = self._H.dense(k, component=spin), self._S.dense(k)
        weights, Z = eigh(S)
        if weights[0] <= 1e-14:
            raise not_positive(float(weights[0]))
        if not self._checked:
            report_overlap(float(weights[0]), k, projected=bool(self.selection.project))
            self._checked = True
        kept = weights >= self.selection.project
        Z = Z[:, kept] / np.sqrt(weights[kept])  # canonical orthogonalization
        energies, Y = eigh(Z.conj().T @ H @ Z)
        which = self._selected(energies)
        energies, C = energies[which], Z @ Y[:, which]
        SC = S @ C
        R = (Z * np.sqrt(weights[kept])).conj().T @ (H @ C - SC * energies)
        first = int(which[0]) if len(which) else 0
        return Levels(energies, C, np.linalg.norm(R, axis=0) / np.linalg.norm(SC, axis=0), first, True)

    def _selected(self, energies: FloatArray) -> npt.NDArray[np.int64]:
        chosen = self.selection
        if chosen.n_bands is None:
            return np.flatnonzero((energies >= chosen.low) & (energies <= chosen.high))
        return np.sort(np.argsort(np.abs(energies - chosen.center), kind="stable")[: chosen.n_bands])


def solve_at_k(hamiltonian: Hamiltonian, k: FloatArray, selection: SomeLevels, spin: int = 0) -> Levels:
    """Chosen levels and states at one k.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; a non-Hermitian one is replaced by its Hermitian part, and the user is told.
    k : (3,) array
        Fractional.
    selection : SomeLevels
        What to find, and how.
    spin : int
        Spin channel.

    Raises
    ------
    DataError
        If S(k) is not positive definite, the iteration does not converge, or the memory does not suffice.
    UsageError
        If more bands are asked for than there are.
    """
    from postprocess.eigen.dense import hermitian

    return selection(hermitian(hamiltonian))(k, spin)
