"""What is computed at each k-point of a path or mesh: energies, and what the states are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.eigen.kjobs import Jobs, KTask, Result, Results, fingerprint, run_tasks
from postprocess.states.projectors import Projector
from postprocess.states.states import Dense, SolverFactory, States, StateSolver

WEIGHT, SIGNED = "weight:", "signed:"
"""Heads of the names of shares, and of quantities with a sign, among the arrays of a k-point."""


@dataclass(frozen=True)
class Spectrum:
    """Levels at many k-points.

    Attributes
    ----------
    energies : (n_spin, n_k, n_bands) array
        eV, ascending; NaN where a k-point has fewer levels (solvers that find those in a window).
    weights : dict of label to (n_spin, n_k, n_bands) array
        What the projectors gave.
    signed : tuple of str
        Labels of those weights that are no shares but quantities with a sign.
    first_band : int
        How many bands lie below the first one.
    counted : bool
        Whether the levels below were counted at every k; else column n holds the n-th level found at each k, which may be another band.
    largest_residual : float
        |H c - E S c| / |S c|, eV; NaN where it was not computed.
    complete : bool
        Whether it is certain that no level is missing between the first and the last at each k.
    """

    energies: FloatArray
    weights: dict[str, FloatArray] = field(default_factory=dict)
    signed: tuple[str, ...] = ()
    first_band: int = 0
    counted: bool = True
    largest_residual: float = float("nan")
    complete: bool = True

    def describe(self) -> str:
        """Largest residual, if it is known, and whether the levels are complete."""
        residual = "" if np.isnan(self.largest_residual) else f"largest residual {self.largest_residual:.1e} eV, "
        return residual + ("no level is missing" if self.complete else "not proved that no level is missing")


@dataclass(frozen=True)
class SpectrumWork:
    """Solve at one k and project; sent to worker processes.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian matrices.
    solver : SolverFactory
        See :mod:`postprocess.states.states`.
    projectors : tuple of Projector
        See :mod:`postprocess.states.projectors`.
    vectors : dtype name or None
        Precision in which the states themselves are kept, ``"complex64"`` or ``"complex128"``.
    """

    hamiltonian: Hamiltonian
    solver: SolverFactory
    projectors: tuple[Projector, ...] = ()
    vectors: str | None = None

    @cached_property
    def _solve(self) -> StateSolver:
        return self.solver(self.hamiltonian)

    def __call__(self, task: KTask) -> Result:
        """The arrays of one k-point: energies, residuals, first, complete, weights, vectors."""
        k = np.array(task.k)
        levels = self._solve(k, task.spin, vectors=bool(self.projectors) or self.vectors is not None)
        first = -1 if levels.first is None else levels.first
        out: Result = {"energies": levels.energies, "residuals": levels.residuals, "first": np.array(first)}
        out["complete"] = np.array(levels.complete is True)
        states = States(self.hamiltonian, k, task.spin, levels.energies, levels.vectors)
        for projector in self.projectors:
            head = SIGNED if getattr(projector, "signed", False) else WEIGHT
            out |= {head + label: np.asarray(weight, np.float64) for label, weight in projector(states).items()}
        if self.vectors is not None:
            out["vectors"] = levels.vectors.astype(self.vectors)
        return out


def describe_solver(solver: SolverFactory, n_orbitals: int) -> str:
    """Name of a solver and the size of its problem."""
    describe = getattr(solver, "describe", None)  # another factory, of a user, may have none
    return str(describe(n_orbitals)) if describe else f"{solver}, {n_orbitals} orbitals"


def k_tasks(k: FloatArray, n_spin: int) -> list[KTask]:
    """All k-points of spin up (or of the only channel), then those of spin down."""
    points = [cast("tuple[float, float, float]", tuple(float(x) for x in row)) for row in np.asarray(k, float).reshape(-1, 3)]
    return [KTask(spin, point) for spin in range(n_spin) for point in points]


def compute_spectrum(
    hamiltonian: Hamiltonian,
    k: FloatArray,
    *,
    solver: SolverFactory | None = None,
    projectors: Sequence[Projector] = (),
    jobs: Jobs | None = None,
) -> Spectrum:
    """Levels at any k-points, shared among processes.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, see :func:`postprocess.eigen.dense.hermitian`.
    k : (n_k, 3) array
        Fractional.
    solver : SolverFactory, optional
        By default all levels with dense matrices.
    projectors : sequence of Projector
        See :func:`postprocess.states.projectors.make_projectors`.
    jobs : Jobs, optional
        Processes, and where finished k-points are kept; by default one process, nothing kept.

    Raises
    ------
    DataError
        As the solver, the projectors and :func:`postprocess.eigen.kjobs.run_tasks`.
    """
    jobs = jobs or Jobs()
    results, place = run_spectrum(hamiltonian, k, solver=solver, projectors=projectors, jobs=jobs)
    with jobs.useful():
        return arranged(results, place)


def run_spectrum(
    hamiltonian: Hamiltonian,
    k: FloatArray,
    *,
    solver: SolverFactory | None = None,
    projectors: Sequence[Projector] = (),
    jobs: Jobs | None = None,
    vectors: str | None = None,
) -> tuple[Results, IntArray]:
    """What :func:`compute_spectrum` finds at the distinct k-points, and which of the results belongs to each point of each spin.

    Parameters
    ----------
    hamiltonian, k, solver, projectors, jobs
        As for :func:`compute_spectrum`.
    vectors : dtype name, optional
        Keep the states, see :class:`SpectrumWork`.

    Returns
    -------
    results : Results
        See :meth:`SpectrumWork.__call__`.
    place : (n_spin, n_k) int array
        Into the results.
    """
    n_spin = hamiltonian.basis.n_spin
    all_tasks = k_tasks(k, n_spin)
    tasks = list(dict.fromkeys(all_tasks))  # corners of a path occur twice
    jobs = jobs or Jobs()
    seen = () if jobs.together and jobs.group.rank else tuple(projectors)  # only the first of them has the states
    work = SpectrumWork(hamiltonian, solver or Dense(device=jobs.device), seen, vectors)
    options = (work.solver, work.projectors, *([vectors] if vectors else []))
    results = run_tasks(work, tasks, jobs, identity=fingerprint(hamiltonian, tasks, *options) if jobs.scratch else "")
    place = {task: n for n, task in enumerate(tasks)}
    return results, np.array([place[task] for task in all_tasks]).reshape(n_spin, -1)


def arranged(results: Results, place: IntArray) -> Spectrum:
    """The results at the points they belong to."""
    spectrum = collect(results)
    weights = {label: weight[place] for label, weight in spectrum.weights.items()}
    return replace(spectrum, energies=spectrum.energies[place], weights=weights)


def collect(results: Results) -> Spectrum:
    """The results of tasks side by side, arrays (n_tasks, n_bands): band n at every k, as far as the solver counted the levels below.

    Raises
    ------
    DataError
        If no level was found at any k.
    """
    everything: list[dict[str, Any]] = [{name: a for name, a in one.items() if name != "vectors"} for one in results]
    sizes = np.array([len(one["energies"]) for one in everything])
    check_found(sizes)
    counted = all(int(one["first"]) >= 0 for one in everything)
    first = np.array([int(one["first"]) for one in everything]) if counted else np.zeros(len(sizes), np.int64)
    low = int(first[sizes > 0].min())
    n_bands = int((first + sizes)[sizes > 0].max()) - low

    def side_by_side(name: str) -> FloatArray:
        out = np.full((len(everything), n_bands), np.nan)
        for row, one, start in zip(out, everything, first - low, strict=True):
            if len(one["energies"]):
                row[start : start + len(one["energies"])] = one[name]
        return out

    labels = [name for name in next(one for one, n in zip(everything, sizes, strict=True) if n) if name.startswith((WEIGHT, SIGNED))]
    weights = {name.partition(":")[2]: side_by_side(name) for name in labels}
    signed = tuple(name.removeprefix(SIGNED) for name in labels if name.startswith(SIGNED))
    residual = float(np.concatenate([one["residuals"] for one in everything]).max())
    complete = all(bool(one.get("complete", False)) for one in everything)
    return Spectrum(side_by_side("energies"), weights, signed, low if counted else 0, counted, residual, complete)


def check_found(sizes: IntArray) -> None:
    """DataError if no level was found at any k, from the numbers of those found."""
    if not sizes.any():
        raise DataError("no level was found at any k-point: choose a wider window, or another energy")
