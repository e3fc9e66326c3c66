"""Integrals over the zone that say how far they are converged: a mesh against one half as fine, then finer where the integrand varies.

Berry curvatures have peaks of 1e-3 of the zone, and at zero temperature occupations jump. Each point of the mesh stands for the cell of
the mesh around it, the part of the zone that is nearer to it than to any other point. In a round, the cells where the integrand varies
most are filled with a mesh three times as fine. This keeps every symmetry of the mesh, and its points.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.lattice.mesh import Divisions, KMesh
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.states.batches import BatchQuantity, sum_batches
from postprocess.states.kjobs import Jobs, Result

FINER = 3
"""Times as fine is the mesh in a refined cell: odd, so that its point stays."""
SHARE = 0.9
"""Of the variation of the integrand, which the refined cells of a round hold."""
COST = 2.0
"""Times as many k-points as the mesh has, which a round may take at most."""
NOISE = 1e-6
"""Of the variation of the watched number that varies most: less is rounding."""
TIE = 1e-6
"""Relative; points so alike far from two cells belong to both."""


@dataclass(frozen=True)
class Refinement:
    """At most so many rounds; none after one that changed the watched numbers by less than ``tolerance`` of the largest of them.

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


@dataclass(frozen=True)
class Integral:
    """Means over the zone.

    Attributes
    ----------
    value : dict of str to (n_spin, ...) array
        The best ones, by name.
    fine, coarse : dict of str to (n_spin, ...) array
        Those on the mesh, and on the one half as fine.
    divisions, coarse_divisions : tuple of 3 int
        Of these.
    change : float
        From the coarse to the fine mesh in the watched numbers: largest, relative to the largest of them.
    rounds : tuple of Round
        What refinement changed.
    n_k : int
        All k-points computed.
    """

    value: Result
    fine: Result
    coarse: Result
    divisions: Divisions
    coarse_divisions: Divisions
    change: float
    rounds: tuple[Round, ...]
    n_k: int

    @property
    def latest(self) -> float:
        """What the last round, or without any the finer mesh, changed: an estimate of the relative error."""
        return self.rounds[-1].change if self.rounds else self.change

    def describe(self) -> list[str]:
        """The convergence in words, a line each."""
        n, m = (" x ".join(map(str, d)) for d in (self.coarse_divisions, self.divisions))
        lines = [f"{m} k-points against {n}: changed by {_percent(self.change)}"]
        for number, one in enumerate(self.rounds, 1):
            text = f"refinement {number}: {one.n_cells} cells, {one.n_k} more k-points: changed by {_percent(one.change)}"
            lines.append(text)
        return lines


def _percent(change: float) -> str:
    return f"{100 * change:.2g} %"


@dataclass(frozen=True)
class _Cells:
    """Cells that may be refined: points (n, 3), what each stands for, spacings (parts of a step of the mesh), variations (n, m)."""

    k: FloatArray
    weight: FloatArray
    scale: FloatArray
    variation: FloatArray

    def __getitem__(self, which: IntArray) -> "_Cells":
        return _Cells(self.k[which], self.weight[which], self.scale[which], self.variation[which])

    def __add__(self, other: "_Cells") -> "_Cells":
        both = zip((self.k, self.weight, self.scale, self.variation), (other.k, other.weight, other.scale, other.variation), strict=True)
        return _Cells(*(np.concatenate(pair) for pair in both))


@dataclass(frozen=True)
class _FinerMesh:
    """The finer mesh in a cell: see :func:`cell_points`, and for each of its points those next to it."""

    offsets: FloatArray
    shares: FloatArray
    neighbours: IntArray

    @classmethod
    def of(cls, reciprocal: FloatArray, mesh: KMesh) -> "_FinerMesh":
        """In the cells of a mesh."""
        offsets, shares = cell_points(reciprocal, mesh.divisions)
        return cls(offsets, shares, _nearest(offsets @ reciprocal))

    def variation(self, values: FloatArray) -> FloatArray:
        """(n, m) largest difference of (n_spin, n, m) values, or (n_spin, n, m, 3) vectors, to those next to them in their cell."""
        families = values.reshape(len(values), -1, len(self.offsets), *values.shape[2:])
        out = np.zeros(families.shape[1:4])
        for near in self.neighbours.T:
            np.maximum(out, _length(families - families[:, :, near], 4).max(axis=0), out=out)
        return out.reshape(values.shape[1:3])


def integrate_adaptively(
    hamiltonian: Hamiltonian,
    quantity: BatchQuantity,
    divisions: Divisions | None = None,
    *,
    watched: str,
    refinement: Refinement | None = None,
    jobs: Jobs | None = None,
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

    Raises
    ------
    UsageError
        If the divisions are not three positive numbers.
    """
    hamiltonian, jobs, refinement = hermitian(hamiltonian), jobs or Jobs(), refinement or Refinement()
    mesh = make_mesh(hamiltonian, divisions, symmetry=quantity.symmetry)
    half = make_mesh(hamiltonian, _half(mesh.divisions), symmetry=quantity.symmetry)
    k, weights = _joined(half, mesh)
    sums = sum_batches(hamiltonian, k, weights, quantity, watched, jobs=jobs)
    kept = sums.pop("kept")[:, _places(mesh.points, k)]
    coarse, value = ({name: total[:, n] for name, total in sums.items()} for n in range(2))
    fine, n_k = value, len(k)
    change = _change(value[watched] - coarse[watched], float(np.abs(value[watched]).max(initial=0.0)))
    reciprocal = in_plane_reciprocal(hamiltonian)
    varying = mesh.weights[:, None] * _variation(kept, mesh, reciprocal)
    cells = _Cells(mesh.points, mesh.weights, np.ones(len(mesh.points)), varying)
    finer = _FinerMesh.of(reciprocal, mesh)
    done: list[Round] = []
    stages: list[Jobs] = []
    result = Integral(value, fine, coarse, mesh.divisions, half.divisions, change, (), n_k)
    while len(done) < refinement.rounds and result.latest > refinement.tolerance and cells.variation.sum() > 0:
        stage = None if jobs.scratch is None else jobs.scratch.with_name(f"{jobs.scratch.name}.{len(done) + 1}")
        stages.append(replace(jobs, scratch=stage))
        chosen, rest = _choose(cells, int(COST * len(mesh.points)) // len(finer.offsets))
        children, old = _children(cells[chosen], finer)
        sums = sum_batches(hamiltonian, children.k, children.weight[None] - old[None], quantity, watched, jobs=stages[-1])
        cells = cells[rest] + replace(children, variation=children.weight[:, None] * finer.variation(sums.pop("kept")))
        value = {name: total + sums[name][:, 0] for name, total in value.items()}
        change_now = _change(sums[watched], float(np.abs(value[watched]).max(initial=0.0)))
        done.append(Round(len(chosen), len(children.k), change_now))
        result = replace(result, value=value, rounds=tuple(done), n_k=result.n_k + len(children.k))
        logger.info("%s", result.describe()[-1])
    jobs.group.gathered([])  # nobody removes results before all have read them
    for own in stages:
        own.finish()
    return result


def _half(divisions: Divisions) -> Divisions:
    a, b, c = ((n + 1) // 2 for n in divisions)
    return a, b, c


def _change(difference: FloatArray, size: float) -> float:
    """Largest difference relative to the largest number; 0 where both vanish."""
    largest = float(np.abs(difference).max(initial=0.0))
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


def _variation(values: FloatArray, mesh: KMesh, reciprocal: FloatArray) -> FloatArray:
    """(n_points, m) largest difference of (n_spin, n_points, m[, 3]) values to those at the next points of the mesh."""
    out = np.zeros(values.shape[1:3])
    for step in _steps(reciprocal, mesh.divisions).tolist():
        near = np.roll(mesh.index, step, axis=(0, 1, 2)).ravel()
        np.maximum.at(out, mesh.index.ravel(), _length(values[:, mesh.index.ravel()] - values[:, near], 3).max(axis=0))
    return out


def _steps(reciprocal: FloatArray, divisions: Divisions) -> IntArray:
    """(n, 3) steps of a mesh, as far as the longest one along its axes; the axes alone are not all that symmetry makes of them."""
    steps = np.array(list(product(*[(-2, -1, 0, 1, 2) if n > 1 else (0,) for n in divisions])))
    spacing = reciprocal / np.array(divisions)[:, None]
    length = np.linalg.norm(steps @ spacing, axis=1)
    longest = np.linalg.norm(spacing[np.array(divisions) > 1], axis=1).max(initial=0.0)
    return np.asarray(steps[(length <= longest * (1 + TIE)) & steps.any(axis=1)])


def _length(values: FloatArray, n_axes: int) -> FloatArray:
    """Magnitudes of numbers with so many axes, lengths of vectors with one axis more."""
    return np.asarray(np.linalg.norm(values, axis=-1) if values.ndim > n_axes else np.abs(values))


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


def _children(cells: _Cells, finer: _FinerMesh) -> tuple[_Cells, FloatArray]:
    """The points of a finer mesh in some cells, the first of each its own point, and what each counted in the sums before."""
    k = cells.k[:, None] + cells.scale[:, None, None] * finer.offsets
    weight = cells.weight[:, None] * finer.shares
    old = np.zeros_like(weight)
    old[:, 0] = cells.weight
    scale = np.repeat(cells.scale / FINER, len(finer.offsets))
    return _Cells(k.reshape(-1, 3), weight.ravel(), scale, np.zeros((weight.size, 0))), old.ravel()


def _nearest(points: FloatArray) -> IntArray:
    """(n, m) for each of n points the ones next to it, filled up with the point itself."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    near = distance <= distance.min(axis=1, keepdims=True) * (1 + TIE)
    out = np.tile(np.arange(len(points))[:, None], (1, int(near.sum(axis=1).max())))
    for row, line in zip(out, near, strict=True):
        row[: line.sum()] = np.flatnonzero(line)
    return out


def cell_points(reciprocal: FloatArray, divisions: Divisions, finer: int = FINER) -> tuple[FloatArray, FloatArray]:
    """The finer mesh in the cell of a mesh point: what is nearer to it than to any other point of the mesh.

    Parameters
    ----------
    reciprocal : (3, 3) array
        Reciprocal vectors in rows.
    divisions : tuple of 3 int
        Of the mesh; directions with one point are not refined.
    finer : int
        Times as fine.

    Returns
    -------
    offsets : (m, 3) array
        From the point, in fractional coordinates; the first one is zero.
    shares : (m,) array
        Part of the cell that each stands for; points on its surface are shared with the cells beside it.

    Raises
    ------
    DataError
        If the reciprocal vectors are very skewed.
    """
    axes = [n > 1 for n in divisions]
    to_cartesian = reciprocal / np.array(divisions)[:, None]
    for reach in range(2, 9):  # a skewed cell reaches farther
        near = np.array(list(product(*[range(-reach, reach + 1) if a else (0,) for a in axes])))
        fine = np.array(list(product(*[range(-reach * finer, reach * finer + 1) if a else (0,) for a in axes]))) / finer
        own = np.linalg.norm(fine @ to_cartesian, axis=-1)
        tie = TIE * float(np.linalg.norm(to_cartesian[axes], axis=-1).max(initial=1.0))
        possible = np.flatnonzero(own <= np.linalg.norm(to_cartesian[axes], axis=-1).sum() / 2 + tie)
        distance = np.linalg.norm((fine[possible, None] - near[None]) @ to_cartesian, axis=-1)
        inside = own[possible] <= distance.min(axis=1) + tie
        place, distance = possible[inside], distance[inside]
        shares = 1 / (distance <= distance.min(axis=1, keepdims=True) + tie).sum(axis=1) / finer ** sum(axes)
        if abs(shares.sum() - 1) < TIE:
            order = np.argsort(own[place], kind="stable")
            return fine[place][order] / np.array(divisions), shares[order]
    raise DataError("the lattice vectors are so skewed that no cell of the mesh is found; choose shorter ones of the same lattice")
