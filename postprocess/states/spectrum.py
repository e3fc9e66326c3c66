"""What is computed at each k-point of a path or mesh: energies, and what the states are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from postprocess.eigen.levels import Levels
from postprocess.eigen.solver import SolverFactory, StateSolver
from postprocess.states.integrate import SameAt, evaluate
from postprocess.states.kjobs import Jobs, Result, Results
from postprocess.states.projectors import Projector
from postprocess.states.states import States

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
    n_below : (n_spin, n_k) int array or None
        How many levels lie below those found at each k; None unless they were counted.
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
    n_below: IntArray | None = None
    counted: bool = True
    largest_residual: float = float("nan")
    complete: bool = True

    def describe(self) -> str:
        """Largest residual, if it is known, and whether the levels are complete."""
        residual = "" if np.isnan(self.largest_residual) else f"largest residual {self.largest_residual:.1e} eV, "
        return residual + ("no level is missing" if self.complete else "not proved that no level is missing")


@dataclass(frozen=True)
class LevelsAndWeights:
    """The quantity that band structures are made of; see :class:`postprocess.states.integrate.Quantity`.

    Attributes
    ----------
    projectors : tuple of Projector
        See :mod:`postprocess.states.projectors`.
    keep : dtype name or None
        Precision in which the states themselves are kept, ``"complex64"`` or ``"complex128"``.
    """

    projectors: tuple[Projector, ...] = ()
    keep: str | None = None

    @property
    def needs_vectors(self) -> bool:
        """Whether anything is made of the coefficients."""
        return bool(self.projectors) or self.keep is not None

    @property
    def same_at(self) -> SameAt:
        """See :class:`postprocess.states.integrate.Quantity`; a projector that does not tell is asked at every k."""
        kinds: list[SameAt] = [getattr(projector, "same_at", "k") for projector in self.projectors]
        kinds += ["k+G"] if self.keep else []
        return next((kind for kind in ("k", "k+G") if kind in kinds), "-k")

    def __call__(self, states: States) -> Result:
        """The arrays of one k-point: energies, residuals, first, complete, weights, vectors."""
        levels = states.levels
        first = -1 if levels.first is None else levels.first
        out: Result = {"energies": levels.energies, "residuals": levels.residuals, "first": np.array(first)}
        out["complete"] = np.array(levels.complete is True)
        if len(levels.vectors):  # of MPI ranks that work together, only the first one has them
            for projector in self.projectors:
                head = SIGNED if getattr(projector, "signed", False) else WEIGHT
                out |= {head + label: np.asarray(weight, np.float64) for label, weight in projector(states).items()}
        if self.keep is not None:
            out["vectors"] = levels.vectors.astype(self.keep)
        return out


def kept_levels(result: Result) -> Levels:
    """The levels of one k-point as :class:`LevelsAndWeights` kept them."""
    first = int(result["first"])
    vectors = result["vectors"].astype(np.complex128, copy=False)
    return Levels(result["energies"], vectors, result["residuals"], None if first < 0 else first, bool(result["complete"]) or None)


def kept_states(hamiltonian: Hamiltonian, k: FloatArray, results: Results) -> Iterator[States]:
    """The states that :class:`LevelsAndWeights` kept, of all k-points of the first spin channel, then of the second."""
    for number, result in enumerate(results):
        spin, n = divmod(number, len(k))
        yield States(hamiltonian, k[n], spin, kept_levels(result))


@dataclass(frozen=True)
class KeptStates:
    """A factory of solvers that look the states up which :class:`LevelsAndWeights` kept, so that no k is diagonalized twice.

    Attributes
    ----------
    results : Results
        Of :func:`postprocess.states.integrate.evaluate`.
    place : (n_spin, n_k) int array
        Into the results.
    k : (n_k, 3) array
        Fractional; no others can be asked for.
    """

    results: Results
    place: IntArray
    k: FloatArray

    def __call__(self, hamiltonian: Hamiltonian) -> StateSolver:
        """The solver of the Hamiltonian that the states belong to."""
        del hamiltonian
        number = {tuple(k): n for n, k in enumerate(self.k.tolist())}

        def solve(k: FloatArray, spin: int, *, vectors: bool = True) -> Levels:
            del vectors
            return kept_levels(self.results[int(self.place[spin, number[tuple(k.tolist())]])])

        return solve


def describe_solver(solver: SolverFactory, n_orbitals: int) -> str:
    """Name of a solver and the size of its problem."""
    describe = getattr(solver, "describe", None)  # another factory, of a user, may have none
    return str(describe(n_orbitals)) if describe else f"{solver}, {n_orbitals} orbitals"


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
        With Hermitian H and S, see :func:`postprocess.eigen.hermitian.hermitian`.
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
        As the solver, the projectors and :func:`postprocess.states.kjobs.run_tasks`.
    """
    jobs = jobs or Jobs()
    results, place = evaluate(hamiltonian, k, LevelsAndWeights(tuple(projectors)), solver=solver, jobs=jobs)
    with jobs.useful():
        return arranged(results, place)


def arranged(results: Results, place: IntArray) -> Spectrum:
    """The results at the points they belong to."""
    spectrum = collect(results)
    weights = {label: weight[place] for label, weight in spectrum.weights.items()}
    n_below = None if spectrum.n_below is None else spectrum.n_below[place]
    return replace(spectrum, energies=spectrum.energies[place], weights=weights, n_below=n_below)


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
    start, n_below = (low, first) if counted else (0, None)
    return Spectrum(side_by_side("energies"), weights, signed, start, n_below, counted, residual, complete)


def check_found(sizes: IntArray) -> None:
    """DataError if no level was found at any k, from the numbers of those found."""
    if not sizes.any():
        raise DataError("no level was found at any k-point: choose a wider window, or another energy")
