"""Quantities made of the states at many k: evaluated at each of them, or integrated over the zone.

Every k-point is computed once, symmetry-equivalent ones of a mesh not at all, shared among processes and MPI ranks, and each result is kept
until all are there: an interrupted computation goes on where it stopped.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.band_symmetries import conjugate_at_minus_k
from postprocess.eigen.solver import Eigensolver, SolverFactory, StateSolver
from postprocess.lattice.mesh import KMesh
from postprocess.states.kjobs import Jobs, KTask, Result, Results, fingerprint, run_tasks
from postprocess.states.states import States

SameAt = Literal["k", "k+G", "-k"]
"""Where a quantity is the same: at one k only (unfolding weights), at k + G too (lattice gauge: everything made of the coefficients), or at
-k as well if H(R) is real (energies, Mulliken shares)."""


class Quantity(Protocol):
    """What is computed from the states at one k; sent to worker processes, so it is picklable, with a telling repr."""

    @property
    def needs_vectors(self) -> bool:
        """Whether coefficients are needed, or energies only."""

    @property
    def same_at(self) -> SameAt:
        """Which other wave vectors have the same result."""

    def __call__(self, states: States) -> Result:
        """Named arrays."""


@dataclass(frozen=True)
class _Evaluation:
    """Solve at one k and make something of the states; sent to worker processes."""

    hamiltonian: Hamiltonian
    solver: SolverFactory
    quantity: Quantity

    @cached_property
    def _solve(self) -> StateSolver:
        return self.solver(self.hamiltonian)

    def __call__(self, task: KTask) -> Result:
        k = np.array(task.k)
        levels = self._solve(k, task.spin, vectors=self.quantity.needs_vectors)
        return self.quantity(States(self.hamiltonian, k, task.spin, levels))


def evaluate(
    hamiltonian: Hamiltonian,
    k: FloatArray,
    quantity: Quantity,
    *,
    solver: SolverFactory | None = None,
    jobs: Jobs | None = None,
) -> tuple[Results, IntArray]:
    """A quantity at any k-points, once at each distinct one.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, see :func:`postprocess.eigen.hermitian.hermitian`.
    k : (n_k, 3) array
        Fractional.
    quantity : Quantity
        What is made of the states.
    solver : SolverFactory, optional
        By default all levels with dense matrices.
    jobs : Jobs, optional
        Processes, and where finished k-points are kept; by default one process, nothing kept.

    Returns
    -------
    results : Results
        What the quantity gave at the distinct k-points, in every MPI rank.
    place : (n_spin, n_k) int array
        Which of the results belongs to each point of each spin channel.

    Raises
    ------
    DataError
        As the solver, the quantity and :func:`postprocess.states.kjobs.run_tasks`.
    """
    jobs, solver = jobs or Jobs(), solver or Eigensolver()
    k = np.asarray(k, float).reshape(-1, 3)
    first, place = distinct_k(k, _same_at(hamiltonian, quantity))
    n_spin = hamiltonian.basis.n_spin
    tasks = [KTask(spin, (float(a), float(b), float(c))) for spin in range(n_spin) for a, b, c in k[first]]
    identity = fingerprint(hamiltonian, tasks, solver, quantity) if jobs.scratch else ""
    results = run_tasks(_Evaluation(hamiltonian, solver, quantity), tasks, jobs, identity=identity)
    return results, place + len(first) * np.arange(n_spin)[:, None]


def _same_at(hamiltonian: Hamiltonian, quantity: Quantity) -> SameAt:
    """Where the results are the same for this Hamiltonian."""
    return "k+G" if quantity.same_at == "-k" and not conjugate_at_minus_k(hamiltonian) else quantity.same_at


def distinct_k(k: FloatArray, same_at: SameAt) -> tuple[IntArray, IntArray]:
    """One wave vector for each different result.

    Parameters
    ----------
    k : (n_k, 3) array
        Fractional.
    same_at : {"k", "k+G", "-k"}
        Which ones count as the same.

    Returns
    -------
    first : (m,) int array
        Places of the first ones of each kind, ascending.
    which : (n_k,) int array
        Which of these each wave vector is like.
    """
    key = np.rint(k * 1e9).astype(np.int64)
    if same_at != "k":
        key %= 10**9
    if same_at == "-k":
        opposite = -key % 10**9
        later = [tuple(a) > tuple(b) for a, b in zip(key.tolist(), opposite.tolist(), strict=True)]
        key = np.where(np.array(later)[:, None], opposite, key)
    _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[which.ravel()]


def integrate(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    quantity: Quantity,
    *,
    solver: SolverFactory | None = None,
    jobs: Jobs | None = None,
) -> Result:
    """Mean of a quantity over the zone: the sum over the points of a mesh with their weights.

    Parameters
    ----------
    hamiltonian, solver, jobs
        As for :func:`evaluate`.
    mesh : KMesh
        Its symmetries must leave the quantity unchanged.
    quantity : Quantity
        Arrays of the same shape at every k.

    Returns
    -------
    dict of str to (n_spin, ...) array
        By name.
    """
    results, place = evaluate(hamiltonian, mesh.points, quantity, solver=solver, jobs=jobs)
    total: Result = {}
    for spin, of_spin in enumerate(place):
        for weight, number in zip(mesh.weights, of_spin, strict=True):
            for name, value in results[int(number)].items():
                if name not in total:
                    total[name] = np.zeros((len(place), *value.shape), value.dtype)
                total[name][spin] += weight * value
    return total
