"""Integrals over the zone that say how far they are converged: on two meshes, each made finer where the integrand varies.

Berry curvatures have peaks of 1e-3 of the zone, and at zero temperature occupations jump. Each point of the mesh stands for the cell of
the mesh around it (:mod:`postprocess.states.cells`). In a round, the cells where the integrand varies most are filled with a mesh three
times as fine. This keeps every symmetry of the mesh, and its points. What a round changes is no bound of the error: what was not refined
does not show. So the same is done from the mesh half as fine, and the two results are compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from deeph.runtime.log import logger
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.lattice.mesh import Divisions, KMesh, check_divisions
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.states.batches import BatchQuantity, sum_batches
from postprocess.states.cells import FINER, TIE, FinerMesh, mesh_variation, second_moment
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.wedge import Orbits, Wedge

SHARE = 0.9
"""Of the variation of the integrand, which the refined cells of a round hold."""
COST = 2.0
"""Times as many k-points as the mesh has, which a round may take at most."""
NOISE = 1e-6
"""Of the variation of the watched number that varies most: less is rounding."""


@dataclass(frozen=True)
class Refinement:
    """At most so many rounds; none where the watched numbers from two meshes agree to ``tolerance`` of the largest of them.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    rounds: int = 3
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if self.rounds < 0 or not 0 < self.tolerance < np.inf:
            raise UsageError(f"{self.rounds} rounds of refinement to {self.tolerance:g}: expected zero or more, and a positive tolerance")


@dataclass(frozen=True)
class Round:
    """One round of refinement: how many cells, how many k-points for them, and the change of the watched numbers (largest, relative)."""

    n_cells: int
    n_k: int
    change: float

    def describe(self, number: int) -> str:
        """In words."""
        return f"refinement {number}: {self.n_cells} cells, {self.n_k} more k-points: changed by {_percent(self.change)}"


@dataclass(frozen=True)
class Integral:
    """Means over the zone.

    Attributes
    ----------
    value : dict of str to (n_spin, ...) array
        The best ones, by name.
    fine, coarse : dict of str to (n_spin, ...) array
        Those on the mesh, and on the one half as fine.
    coarse_value : dict of str to (n_spin, ...) array
        The best ones from the mesh half as fine, refined as often.
    before : dict of str to (n_spin, ...) array
        What ``value`` was before the last round.
    divisions, coarse_divisions : tuple of 3 int
        Of these.
    change : float
        From the coarse to the fine mesh in the watched numbers: largest, relative to the largest of them.
    error : float
        The same of the refined ones, or what the last round changed if that is more: an estimate of the relative error, on the safe side.
    rounds : tuple of Round
        What refinement changed.
    n_k : int
        All k-points computed.
    order : int
        Operations of the symmetry that spared the others.
    """

    value: Result
    fine: Result
    coarse: Result
    coarse_value: Result
    before: Result
    divisions: Divisions
    coarse_divisions: Divisions
    change: float
    error: float
    rounds: tuple[Round, ...]
    n_k: int
    order: int = 1

    def describe(self) -> list[str]:
        """The convergence in words, a line each."""
        n, m = (" x ".join(map(str, d)) for d in (self.coarse_divisions, self.divisions))
        lines = [f"{m} k-points against {n}: changed by {_percent(self.change)}"]
        lines += [one.describe(number) for number, one in enumerate(self.rounds, 1)]
        if self.rounds:
            text = "of the largest value of all: the larger one of the last change and the difference to"
            lines.append(f"error about {_percent(self.error)} {text} {n} refined")
        if self.order > 1:
            lines.append(f"{self.n_k} k-points computed, one of those that {self.order} operations relate")
        return lines


def _percent(change: float) -> str:
    return f"{100 * change:.2g} %"


@dataclass(frozen=True)
class _Cells:
    """Cells that may be refined: points (n, 3), what each stands for, how often they were refined, variations (n, m)."""

    k: FloatArray
    weight: FloatArray
    depth: IntArray
    variation: FloatArray

    def __getitem__(self, which: IntArray) -> "_Cells":
        return _Cells(self.k[which], self.weight[which], self.depth[which], self.variation[which])

    def __add__(self, other: "_Cells") -> "_Cells":
        both = zip((self.k, self.weight, self.depth, self.variation), (other.k, other.weight, other.depth, other.variation), strict=True)
        return _Cells(*(np.concatenate(pair) for pair in both))

    def merged(self, orbits: Orbits) -> "_Cells":
        """Equivalent cells of one depth as one; their variations are added."""
        keys, which = np.unique(np.stack([orbits.place, self.depth], axis=1), axis=0, return_inverse=True)
        weight, variation = np.zeros(len(keys)), np.zeros((len(keys), self.variation.shape[1]))
        np.add.at(weight, which.ravel(), self.weight)
        np.add.at(variation, which.ravel(), self.variation)
        return _Cells(orbits.k[keys[:, 0]], weight, keys[:, 1], variation)


@dataclass(frozen=True)
class _Integrand:
    """What is integrated, and which k-points have to be computed for it."""

    hamiltonian: Hamiltonian
    quantity: BatchQuantity
    watched: str
    wedge: Wedge
    tensor_axes: Mapping[str, int]
    in_cells: Callable[[FloatArray], BatchQuantity] | None = None

    def sums(self, k: FloatArray, weights: FloatArray, jobs: Jobs, cell: FloatArray | None = None) -> tuple[Result, FloatArray, Orbits]:
        """(n_spin, n_sums, ...) by name, the watched numbers (n_spin, n_k, ...) at all points, and those that were computed.

        ``cell`` is the second moment of the cells that the points stand for.
        """
        orbits = self.wedge.orbits(k)
        quantity = self.quantity if self.in_cells is None or cell is None else self.in_cells(cell)
        found = sum_batches(self.hamiltonian, orbits.k, orbits.added(weights), quantity, self.watched, jobs=jobs)
        kept = self.wedge.at_points(found.pop("kept"), orbits)
        return self.wedge.mean(found, self.tensor_axes), kept, orbits


class _Refined:
    """A mesh, and what refinement makes of it."""

    def __init__(self, integrand: _Integrand, mesh: KMesh, jobs: Jobs) -> None:
        self.integrand, self.jobs, self.stages = integrand, jobs, [jobs]
        reciprocal = in_plane_reciprocal(integrand.hamiltonian)
        self.finer = FinerMesh.of(reciprocal, mesh)
        self.moment = second_moment(reciprocal, mesh.divisions)
        sums, kept, orbits = integrand.sums(mesh.points, mesh.weights[None], jobs, self.moment)
        self.value = self.before = self.on_mesh = {name: total[:, 0] for name, total in sums.items()}
        self.n_k = len(orbits.k)
        variation = mesh.weights[:, None] * mesh_variation(kept, mesh, reciprocal)
        cells = _Cells(mesh.points, mesh.weights, np.zeros(len(mesh.points), np.int64), variation)
        self.cells = cells.merged(integrand.wedge.orbits(mesh.points))
        self.budget = int(COST * len(self.cells.k))

    def refine(self) -> Round:
        """Fill the cells in which the integrand varies most, those of one size after those of another."""
        chosen, rest = _choose(self.cells, self.budget // self.finer.own)
        parents, self.cells = self.cells[chosen], self.cells[rest]
        self.before, n_k = self.value, 0
        for depth in np.unique(parents.depth).tolist():
            own = parents[np.flatnonzero(parents.depth == depth)]
            children = _children(own, self.finer)
            sums, kept, orbits = self.integrand.sums(children.k, children.weight[None], self._stage(), self._cell(depth + 1))
            before, _, again = self.integrand.sums(own.k, own.weight[None], self._stage(), self._cell(depth))
            varying = replace(children, variation=children.weight[:, None] * self.finer.variation(kept))
            self.cells += varying.merged(orbits)
            self.value = {name: total + sums[name][:, 0] - before[name][:, 0] for name, total in self.value.items()}
            n_k += len(orbits.k) + len(again.k)
        self.n_k += n_k
        new, old = self.value[self.integrand.watched], self.before[self.integrand.watched]
        return Round(len(chosen), n_k, _change(new - old, new))

    def _cell(self, depth: int) -> FloatArray:
        """Second moment of cells that were refined so often."""
        return np.asarray(self.moment / FINER ** (2 * depth))

    def _stage(self) -> Jobs:
        """The same jobs with a folder of its own for what is finished."""
        scratch = self.jobs.scratch
        number = len(self.stages)
        self.stages.append(replace(self.jobs, scratch=None if scratch is None else scratch.with_name(f"{scratch.name}.{number}")))
        return self.stages[-1]


def integrate_adaptively(
    hamiltonian: Hamiltonian,
    quantity: BatchQuantity,
    divisions: Divisions | None = None,
    *,
    watched: str,
    refinement: Refinement | None = None,
    jobs: Jobs | None = None,
    wedge: Wedge | None = None,
    tensor_axes: Mapping[str, int] | None = None,
    in_cells: Callable[[FloatArray], BatchQuantity] | None = None,
) -> Integral:
    """Mean of a quantity over the zone.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    quantity : BatchQuantity
        Its ``symmetry`` says which points of the mesh are left out.
    divisions : tuple of 3 int, optional
        Of the mesh, by default that of ``deeph-dos``; the coarse one has half of them, rounded up.
    watched : str
        Name of the arrays whose variation says where to refine, (n_k, m) numbers or (n_k, m, c) Cartesian components of vectors or tensors,
        of which lengths count: what is refined keeps the symmetry of the crystal. Sums over all levels, not single ones.
    refinement : Refinement, optional
        How far to go.
    jobs : Jobs, optional
        Processes, and where finished batches are kept (each mesh and round in a folder of its own).
    wedge, tensor_axes : Wedge and mapping, optional
        Operations that turn the vectors or tensors of the quantity, and which arrays hold them (see :meth:`Wedge.mean`), the watched one
        in its last axis; one k-point of those that they relate is computed.
    in_cells : function, optional
        The quantity for points that stand for cells with a second moment (3, 3) in 1/Angstrom^2.

    Raises
    ------
    UsageError
        If the divisions are not three positive numbers, or there are several across vacuum.
    """
    hamiltonian, jobs, refinement = hermitian(hamiltonian), jobs or Jobs(), refinement or Refinement()
    if divisions is not None:
        check_divisions(hamiltonian, divisions)
    mesh = make_mesh(hamiltonian, divisions, symmetry=quantity.symmetry)
    half = make_mesh(hamiltonian, half_as_fine(mesh.divisions), symmetry=quantity.symmetry)
    usable = (wedge or Wedge.none()).keeping(mesh.divisions, half.divisions)
    integrand = _Integrand(hamiltonian, quantity, watched, usable, tensor_axes or {}, in_cells)
    apart = replace(jobs, scratch=None if jobs.scratch is None else jobs.scratch.with_name(f"{jobs.scratch.name}.half"))
    coarse, fine = _Refined(integrand, half, apart), _Refined(integrand, mesh, jobs)

    def difference() -> float:
        return _change(fine.value[watched] - coarse.value[watched], fine.value[watched])

    error = change = difference()
    done: list[Round] = []
    while len(done) < refinement.rounds and error > refinement.tolerance and fine.cells.variation.sum() > 0:
        coarse.refine()
        done.append(fine.refine())
        error = max(difference(), done[-1].change)
        logger.info("%s; from the mesh half as fine %s", done[-1].describe(len(done)), _percent(error))
    jobs.group.wait()  # nobody removes results before all have read them
    for own in (*coarse.stages, *fine.stages[1:]):
        own.finish()
    return Integral(
        fine.value, fine.on_mesh, coarse.on_mesh, coarse.value, fine.before, mesh.divisions, half.divisions, change, error, tuple(done),
        fine.n_k + coarse.n_k, usable.order,
    )  # fmt: skip


def half_as_fine(divisions: Divisions) -> Divisions:
    """Half of the divisions of a mesh, rounded up."""
    a, b, c = ((n + 1) // 2 for n in divisions)
    return a, b, c


def _change(difference: FloatArray, value: FloatArray) -> float:
    """Largest difference relative to the largest number; 0 where both vanish."""
    largest, size = float(np.abs(difference).max(initial=0.0)), float(np.abs(value).max(initial=0.0))
    return largest / size if size > 0 else float(largest > 0)


def _choose(cells: _Cells, most: int) -> tuple[IntArray, IntArray]:
    """The fewest cells that hold :data:`SHARE` of the variation, about so many at most, and all others.

    Cells with the same part go together: those that a symmetry maps onto each other, so that what is forbidden stays zero.
    """
    total = cells.variation.sum(axis=0)
    part = (cells.variation / np.where(total > NOISE * total.max(), total, np.inf)).sum(axis=1)  # every number has the same say
    order = np.argsort(-part, kind="stable")
    enough = int(np.searchsorted(np.cumsum(part[order]), SHARE * part.sum())) + 1
    last = part[order[max(1, min(enough, most)) - 1]]
    n = int(np.searchsorted(-part[order], -last * (1 - TIE), side="right"))
    return order[:n], order[n:]


def _children(cells: _Cells, finer: FinerMesh) -> _Cells:
    """The points of a finer mesh in some cells, the first of each its own point."""
    scale = float(FINER) ** -cells.depth
    k = cells.k[:, None] + scale[:, None, None] * finer.offsets
    weight = cells.weight[:, None] * finer.shares
    depth = np.repeat(cells.depth + 1, len(finer.offsets))
    return _Cells(k.reshape(-1, 3), weight.ravel(), depth, np.zeros((weight.size, 0)))
