"""Integrals over the zone that say how far they are converged: on two meshes, each made finer where the integrand varies.

Berry curvatures have peaks of 1e-3 of the zone, and at zero temperature occupations jump. Each point of the mesh stands for the cell of
the mesh around it (:mod:`postprocess.states.cells`). In a round, the cells where the integrand varies most are filled with a mesh three
times as fine. This keeps every symmetry of the mesh, and its points. What a round changes is no bound of the error: what was not refined
does not show. So the same is done from the mesh half as fine, and the two results are compared.
"""

from collections.abc import Mapping
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
from postprocess.states.cells import FINER, TIE, FinerMesh, mesh_variation
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.wedge import Orbits, Wedge

SHARE = 0.9
"""Of the variation of the integrand, which the refined cells of a round hold."""
COST = 4.0
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
    divisions, coarse_divisions : tuple of 3 int
        Of these.
    change : float
        From the coarse to the fine mesh in the watched numbers: largest, relative to the largest of them.
    error : float
        The same of the refined ones: an estimate of the relative error, on the safe side.
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
            lines.append(f"{m} refined against {n} refined: differ by {_percent(self.error)}")
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
    axial: Mapping[str, int]

    def sums(self, k: FloatArray, weights: FloatArray, jobs: Jobs) -> tuple[Result, FloatArray, Orbits]:
        """(n_spin, n_sums, ...) by name, the watched numbers (n_spin, n_k, ...) at all points, and those that were computed."""
        orbits = self.wedge.orbits(k)
        found = sum_batches(self.hamiltonian, orbits.k, orbits.added(weights), self.quantity, self.watched, jobs=jobs)
        kept = self.wedge.at_points(found.pop("kept"), orbits)
        return self.wedge.mean(found, self.axial), kept, orbits


class _Refined:
    """A mesh, and what refinement makes of it."""

    def __init__(self, integrand: _Integrand, mesh: KMesh, value: Result, kept: FloatArray) -> None:
        self.integrand, self.value = integrand, value
        reciprocal = in_plane_reciprocal(integrand.hamiltonian)
        self.finer = FinerMesh.of(reciprocal, mesh)
        variation = mesh.weights[:, None] * mesh_variation(kept, mesh, reciprocal)
        cells = _Cells(mesh.points, mesh.weights, np.zeros(len(mesh.points), np.int64), variation)
        self.cells = cells.merged(integrand.wedge.orbits(mesh.points))
        self.budget = int(COST * len(self.cells.k))

    def refine(self, jobs: Jobs) -> Round:
        """Fill the cells in which the integrand varies most."""
        chosen, rest = _choose(self.cells, self.budget // self.finer.own)
        children, old = _children(self.cells[chosen], self.finer)
        sums, kept, orbits = self.integrand.sums(children.k, children.weight[None] - old[None], jobs)
        varying = replace(children, variation=children.weight[:, None] * self.finer.variation(kept))
        self.cells = self.cells[rest] + varying.merged(orbits)
        self.value = {name: total + sums[name][:, 0] for name, total in self.value.items()}
        watched = self.integrand.watched
        return Round(len(chosen), len(orbits.k), _change(sums[watched], self.value[watched]))


def integrate_adaptively(
    hamiltonian: Hamiltonian,
    quantity: BatchQuantity,
    divisions: Divisions | None = None,
    *,
    watched: str,
    refinement: Refinement | None = None,
    jobs: Jobs | None = None,
    wedge: Wedge | None = None,
    axial: Mapping[str, int] | None = None,
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
        Name of the arrays whose variation says where to refine, (n_k, m) numbers or (n_k, m, 3) vectors, whose lengths count: what is
        refined keeps the symmetry of the crystal. Sums over all levels, not single ones.
    refinement : Refinement, optional
        How far to go.
    jobs : Jobs, optional
        Processes, and where finished batches are kept (each mesh and round in a folder of its own).
    wedge, axial : Wedge and mapping, optional
        Operations that turn the axial vectors of the quantity, and which arrays hold vectors (see :meth:`Wedge.mean`), the watched one in
        its last axis; one k-point of those that they relate is computed.

    Raises
    ------
    UsageError
        If the divisions are not three positive numbers, or there are several across vacuum.
    """
    hamiltonian, jobs, refinement = hermitian(hamiltonian), jobs or Jobs(), refinement or Refinement()
    if divisions is not None:
        check_divisions(hamiltonian, divisions)
    mesh = make_mesh(hamiltonian, divisions, symmetry=quantity.symmetry)
    half = make_mesh(hamiltonian, _half(mesh.divisions), symmetry=quantity.symmetry)
    usable = (wedge or Wedge.none()).keeping(mesh.divisions, half.divisions)
    integrand = _Integrand(hamiltonian, quantity, watched, usable, axial or {})
    k, weights = _joined(half, mesh)
    sums, kept, orbits = integrand.sums(k, weights, jobs)
    coarse, fine = ({name: total[:, n] for name, total in sums.items()} for n in range(2))
    two = [_Refined(integrand, m, v, kept[:, _places(m.points, k)]) for m, v in ((half, coarse), (mesh, fine))]
    error = change = _change(fine[watched] - coarse[watched], fine[watched])
    done: list[Round] = []
    stages: list[Jobs] = []
    n_k = len(orbits.k)
    while len(done) < refinement.rounds and error > refinement.tolerance and two[1].cells.variation.sum() > 0:
        stages += [_stage(jobs, f"{len(done) + 1}.{n}") for n in range(2)]
        half_as_fine, last = (one.refine(stage) for one, stage in zip(two, stages[-2:], strict=True))
        done.append(last)
        n_k += last.n_k + half_as_fine.n_k
        difference = two[1].value[watched] - two[0].value[watched]
        error = max(_change(difference, two[1].value[watched]), last.change)
        logger.info("%s; from the mesh half as fine %s", last.describe(len(done)), _percent(error))
    jobs.group.gathered([])  # nobody removes results before all have read them
    for own in stages:
        own.finish()
    return Integral(
        two[1].value, fine, coarse, two[0].value, mesh.divisions, half.divisions, change, error, tuple(done), n_k, usable.order
    )  # fmt: skip


def _half(divisions: Divisions) -> Divisions:
    a, b, c = ((n + 1) // 2 for n in divisions)
    return a, b, c


def _stage(jobs: Jobs, name: str) -> Jobs:
    """The same with a folder of its own for what is finished."""
    return replace(jobs, scratch=None if jobs.scratch is None else jobs.scratch.with_name(f"{jobs.scratch.name}.{name}"))


def _change(difference: FloatArray, value: FloatArray) -> float:
    """Largest difference relative to the largest number; 0 where both vanish."""
    largest, size = float(np.abs(difference).max(initial=0.0)), float(np.abs(value).max(initial=0.0))
    return largest / size if size > 0 else float(largest > 0)


def _joined(half: KMesh, mesh: KMesh) -> tuple[FloatArray, FloatArray]:
    """All points of two meshes, common ones once, and (2, n_k) their weights in both."""
    k = np.unique(np.rint(np.concatenate([half.points, mesh.points]) * 1e12) / 1e12, axis=0)
    weights = np.zeros((2, len(k)))
    for row, one in zip(weights, (half, mesh), strict=True):
        row[_places(one.points, k)] = one.weights
    return k, weights


def _places(points: FloatArray, k: FloatArray) -> IntArray:
    """Where points are among sorted ones."""
    both = np.concatenate([k, np.rint(points * 1e12) / 1e12])
    _, first, which = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[which.ravel()[len(k) :]])


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


def _children(cells: _Cells, finer: FinerMesh) -> tuple[_Cells, FloatArray]:
    """The points of a finer mesh in some cells, the first of each its own point, and what each counted in the sums before."""
    scale = float(FINER) ** -cells.depth
    k = cells.k[:, None] + scale[:, None, None] * finer.offsets
    weight = cells.weight[:, None] * finer.shares
    old = np.zeros_like(weight)
    old[:, 0] = cells.weight
    depth = np.repeat(cells.depth + 1, len(finer.offsets))
    return _Cells(k.reshape(-1, 3), weight.ravel(), depth, np.zeros((weight.size, 0))), old.ravel()
