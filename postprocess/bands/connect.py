"""Bands followed through their crossings by the overlap of states at neighbouring k."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.errors import DataError
from deeph.hamiltonian import Hamiltonian
from deeph.system import FloatArray, IntArray
from postprocess.bands.kpath import KPath
from postprocess.eigen.dense import hermitian
from postprocess.eigen.kjobs import Jobs, run_tasks
from postprocess.eigen.spectrum import SpectrumWork, k_tasks
from postprocess.states.states import Dense, SolverFactory, atom_of_orbital

Array = npt.NDArray[Any]
DEGENERATE = 1e-5
"""eV; states so close may be mixed arbitrarily by the solver, and are turned to fit those of the k-point before."""


def connect_bands(
    hamiltonian: Hamiltonian, path: KPath, *, spin: int = 0, solver: SolverFactory | None = None, jobs: Jobs | None = None
) -> tuple[FloatArray, IntArray]:
    """Energies along a path, column by column one band that keeps its character.

    The overlap of the periodic parts, C_k^dagger S C_k' in the atomic gauge with S half way between, decides which state continues which.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    path : KPath
        With steps so small that states change little between them; across a break the bands start anew, ascending.
    spin : int
        Channel.
    solver, jobs
        As for :func:`postprocess.eigen.spectrum.compute_spectrum`; the same number of levels at every k.

    Returns
    -------
    energies : (n_k, n_bands) array
        eV.
    order : (n_k, n_bands) int array
        ``energies[k] = ascending[k, order[k]]``.

    Raises
    ------
    DataError
        If the number of levels changes along the path.
    """
    hamiltonian = hermitian(hamiltonian)
    work = SpectrumWork(hamiltonian, solver or Dense(device=jobs.device if jobs else "cpu"), vectors="complex128")
    tasks = [task for task in k_tasks(path.k, hamiltonian.basis.n_spin) if task.spin == spin]
    results = run_tasks(work, tasks, jobs)
    levels = [len(one["energies"]) for one in results]
    if len(set(levels)) > 1:
        raise DataError(f"from {min(levels)} to {max(levels)} levels along the path; bands are connected among the same number at every k")
    ascending = np.array([one["energies"] for one in results])
    order = np.tile(np.arange(levels[0]), (len(levels), 1))
    tau = hamiltonian.system.fractional[atom_of_orbital(hamiltonian)]

    def smooth(number: int) -> Array:
        return np.asarray(np.exp(-2j * np.pi * (tau @ path.k[number]))[:, None] * results[number]["vectors"])

    corners = set(path.bounds[1:-1].tolist())
    before = smooth(0)
    for n in range(1, len(levels)):
        if n in corners and not np.allclose(path.k[n], path.k[n - 1], rtol=0, atol=1e-9):
            before = smooth(n)
            continue
        S = hamiltonian.S_bloch.csr((path.k[n] + path.k[n - 1]) / 2, gauge="atomic")
        order[n], before = _continued(before, smooth(n), S, ascending[n])
    return np.take_along_axis(ascending, order, axis=1), order


def _continued(before: Array, after: Array, S: Any, energies: FloatArray) -> tuple[IntArray, Array]:
    """Which state continues each band, and the states in that order, degenerate ones turned."""
    from scipy.optimize import linear_sum_assignment

    overlap = before.conj().T @ (S @ after)
    starts = np.flatnonzero(np.diff(energies, prepend=-np.inf) > DEGENERATE)
    for group in np.split(np.arange(len(energies)), starts[1:]):
        if len(group) > 1:
            parents = np.sort(np.argsort(-(np.abs(overlap[:, group]) ** 2).sum(axis=1))[: len(group)])
            U, _, V = np.linalg.svd(overlap[np.ix_(parents, group)])
            turn = (U @ V).conj().T  # the polar factor: the closest orthonormal frame
            after[:, group], overlap[:, group] = after[:, group] @ turn, overlap[:, group] @ turn
    order = np.asarray(linear_sum_assignment(-(np.abs(overlap) ** 2))[1])
    return order, after[:, order]
