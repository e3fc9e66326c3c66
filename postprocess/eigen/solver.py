"""The one door to all solvers of H(k) C = S(k) C E."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.log import telling
from postprocess.eigen.dense import DenseSolver
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.levels import Levels
from postprocess.eigen.selection import Selection
from postprocess.eigen.slepc import SlepcSolver
from postprocess.eigen.sparse import SparseSolver


class StateSolver(Protocol):
    """The levels of one Hamiltonian at any k."""

    def __call__(self, k: FloatArray, spin: int, *, vectors: bool = True) -> Levels:
        """Levels at a fractional k; without ``vectors`` the solver may leave them out, as (n_orbitals, 0)."""


class SolverFactory(Protocol):
    """Makes the solver of a Hamiltonian with Hermitian matrices; sent to worker processes, so it is picklable, with a telling repr."""

    def __call__(self, hamiltonian: Hamiltonian) -> StateSolver:
        """The solver of one Hamiltonian."""


@dataclass(frozen=True)
class Eigensolver(Selection):
    """Finds the levels of a :class:`postprocess.eigen.selection.Selection`; a :class:`SolverFactory`."""

    def __call__(self, hamiltonian: Hamiltonian) -> StateSolver:
        """The solver for one Hamiltonian with Hermitian matrices; with SLEPc every MPI rank has to make one."""
        name = self.choose(hamiltonian.H_bloch.n_orbitals)
        if name == "dense":
            return DenseSolver(hamiltonian, self)
        return SlepcSolver(hamiltonian, self) if name == "slepc" else SparseSolver(hamiltonian, self, name)


def compute_levels(hamiltonian: Hamiltonian, k: FloatArray, solver: SolverFactory | None = None, spin: int = 0) -> Levels:
    """Levels and states at one k.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; a non-Hermitian one is replaced by its Hermitian part, and the user is told.
    k : (3,) array
        Fractional.
    solver : SolverFactory, optional
        What to find, and how; by default all levels with dense matrices.
    spin : int
        Spin channel.

    Raises
    ------
    DataError
        If S(k) is not positive definite, the iteration does not converge, or the memory does not suffice.
    UsageError
        If more bands are asked for than there are.
    """
    return (solver or Eigensolver())(hermitian(hamiltonian))(np.asarray(k, float), spin)


def compute_energies(hamiltonian: Hamiltonian, k: FloatArray, *, solver: SolverFactory | None = None) -> FloatArray:
    """Band energies at any k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; if it is not Hermitian (some predictions), its Hermitian part is used, and the user is told.
    k : (n_k, 3) array
        Fractional wave vectors; repeated ones are computed once.
    solver : SolverFactory, optional
        One that finds the same number of levels everywhere; by default all levels with dense matrices.

    Returns
    -------
    (n_spin, n_k, n_bands) array
        Energies in eV, ascending, on the energy zero of H.

    Raises
    ------
    DataError
        If there is no H, S(k) is not positive definite, or the matrices do not fit in memory.
    """
    hamiltonian = hermitian(hamiltonian)
    distinct, where = np.unique(np.asarray(k, float).reshape(-1, 3), axis=0, return_inverse=True)
    solve = (solver or Eigensolver())(hamiltonian)
    n_spin = hamiltonian.basis.n_spin
    with telling(f"levels of {hamiltonian.n_orbitals} orbitals", n_spin * len(distinct), "k-points") as progress:
        energies = []
        for spin in range(n_spin):
            for q in distinct:
                energies.append(solve(q, spin, vectors=False).energies)
                progress.advance()
    return np.array(energies).reshape(n_spin, len(distinct), -1)[:, where.ravel()]
