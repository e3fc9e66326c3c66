"""Bands followed through their crossings by the overlap of states at neighbouring k."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.eigen.solver import Eigensolver, SolverFactory
from postprocess.lattice.kpath import KPath
from postprocess.states.integrate import evaluate
from postprocess.states.kjobs import Jobs, Results
from postprocess.states.projectors import Projector
from postprocess.states.spectrum import LevelsAndWeights, Spectrum, arranged
from postprocess.states.states import atom_of_orbital

Array = npt.NDArray[Any]
DEGENERATE = 1e-5
"""eV; states so close may be mixed arbitrarily by the solver, and are turned to fit those of the k-point before."""
FAR = 0.05
"""1/eV; a continuation that is so much farther away in energy has to overlap so much more: 1 at 20 eV, nothing at a crossing."""
FOLLOWED_BYTES = 2**27
"""Memory of the states of a whole path up to which crossings are followed without being asked: 110 orbitals at 600 k-points. All
states of larger cells would cost much time and memory for a figure alone."""


def is_followed(hamiltonian: Hamiltonian, path: KPath, solver: SolverFactory | None = None) -> bool:
    """Whether crossings are followed without being asked: all levels of a small cell along a path.

    Parameters
    ----------
    hamiltonian, path, solver
        As for :func:`compute_connected`.
    """
    everything = solver is None or (isinstance(solver, Eigensolver) and solver.is_everything and solver.bands is None)
    size = 16 * hamiltonian.basis.n_spin * len(path.k) * hamiltonian.H_bloch.n_orbitals**2
    return everything and len(path.labels) > 1 and size <= FOLLOWED_BYTES


def compute_connected(
    hamiltonian: Hamiltonian,
    path: KPath,
    *,
    solver: SolverFactory | None = None,
    projectors: Sequence[Projector] = (),
    jobs: Jobs | None = None,
) -> tuple[Spectrum, IntArray]:
    """Levels along a path, column by column one band that keeps its character.

    The overlap of the periodic parts, C_k^dagger S C_k' in the atomic gauge with S half way between, decides which state continues which.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, see :func:`postprocess.eigen.hermitian.hermitian`.
    path : KPath
        With steps so small that states change little between them; across a break the bands start anew, ascending.
    solver, projectors, jobs
        As for :func:`postprocess.states.spectrum.compute_spectrum`; the same number of levels at every k.

    Returns
    -------
    spectrum : Spectrum
        Band by band.
    order : (n_spin, n_k, n_bands) int array
        ``energies[spin, k] = ascending[spin, k, order[spin, k]]``.

    Raises
    ------
    DataError
        If the number of levels changes along the path.
    """
    jobs = jobs or Jobs()
    quantity = LevelsAndWeights(tuple(projectors), keep="complex128")
    results, place = evaluate(hamiltonian, path.k, quantity, solver=solver, jobs=jobs)
    with jobs.useful():
        return _connected(hamiltonian, path, results, place)


def _connected(hamiltonian: Hamiltonian, path: KPath, results: Results, place: IntArray) -> tuple[Spectrum, IntArray]:
    """What is found at the k-points of a path, in the order of the bands."""
    levels = [len(one["energies"]) for one in results]
    if len(set(levels)) > 1:
        raise DataError(f"from {min(levels)} to {max(levels)} levels along the path; bands are connected among the same number at every k")
    ascending = arranged(results, place)
    if ascending.energies.shape[-1] > levels[0]:
        raise DataError("the levels at different k-points are not the same bands; bands are connected among the same ones at every k")
    order = np.stack([_order(hamiltonian, path, results, of_spin) for of_spin in place])
    weights = {label: np.take_along_axis(weight, order, axis=-1) for label, weight in ascending.weights.items()}
    return replace(ascending, energies=np.take_along_axis(ascending.energies, order, axis=-1), weights=weights), order


def _order(hamiltonian: Hamiltonian, path: KPath, results: Results, place: IntArray) -> IntArray:
    """(n_k, n_bands) which of the ascending levels continues each band."""
    tau = hamiltonian.system.fractional[atom_of_orbital(hamiltonian)]

    def level(n: int) -> tuple[FloatArray, Array]:
        one = results[int(place[n])]
        return one["energies"], np.asarray(np.exp(-2j * np.pi * (tau @ path.k[n]))[:, None] * one["vectors"])

    corners = set(path.bounds[1:-1].tolist())
    energies, before = level(0)
    followed = energies
    order = np.tile(np.arange(len(energies)), (len(path.k), 1))
    for n in range(1, len(path.k)):
        energies, after = level(n)
        if n in corners and not np.allclose(path.k[n], path.k[n - 1], rtol=0, atol=1e-9):
            before, followed = after, energies
            continue
        S = hamiltonian.S_bloch.csr((path.k[n] + path.k[n - 1]) / 2, gauge="atomic")
        order[n], before = _continued(before, after, S, (followed, energies))
        followed = energies[order[n]]
    return order


def _continued(before: Array, after: Array, S: Any, levels: tuple[FloatArray, FloatArray]) -> tuple[IntArray, Array]:
    """Which state continues each band, and the states in that order, degenerate ones turned; ``levels`` of both."""
    from scipy.optimize import linear_sum_assignment

    energies = levels[1]
    overlap = before.conj().T @ (S @ after)
    starts = np.flatnonzero(np.diff(energies, prepend=-np.inf) > DEGENERATE)
    for group in np.split(np.arange(len(energies)), starts[1:]):
        if len(group) > 1:
            parents = np.sort(np.argsort(-(np.abs(overlap[:, group]) ** 2).sum(axis=1))[: len(group)])
            U, _, V = np.linalg.svd(overlap[np.ix_(parents, group)])
            turn = (U @ V).conj().T  # the polar factor: the closest orthonormal frame
            after[:, group], overlap[:, group] = after[:, group] @ turn, overlap[:, group] @ turn
    alike = np.minimum(np.abs(overlap) ** 2, 1.0)  # states of nearly dependent orbitals overlap with anything, by more than 1
    order = np.asarray(linear_sum_assignment(FAR * np.abs(np.subtract.outer(*levels)) - alike)[1])
    return order, after[:, order]
