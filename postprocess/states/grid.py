"""Localized orbitals on a regular grid: psi(r) = sum_R exp(2 pi i k.R) sum_j C_j phi_j(r - tau_j - R)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.harmonics import solid_harmonics
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import UsageError

Array = npt.NDArray[Any]
SPACING = 0.15
"""Angstrom between grid points by default."""


@dataclass(frozen=True)
class Grid:
    """A regular grid that fills the cell; point (a, b, c) lies at the fractional coordinates (a/n1, b/n2, c/n3).

    Attributes
    ----------
    system : System
        The cell.
    shape : tuple of 3 int
        Points along each lattice vector.
    """

    system: System
    shape: tuple[int, int, int]

    @classmethod
    def with_spacing(cls, system: System, spacing: float = SPACING) -> "Grid":
        """Points at most so far apart, Angstrom."""
        if not spacing > 0:
            raise UsageError(f"grid spacing {spacing:g}: expected a positive number of Angstrom")
        a, b, c = (max(1, int(np.ceil(x / spacing))) for x in np.linalg.norm(system.cell, axis=1))
        return cls(system, (a, b, c))

    @property
    def n_points(self) -> int:
        """Of the whole grid."""
        return int(np.prod(self.shape))

    @property
    def spacing(self) -> float:
        """Mean distance (geometric) of neighbouring points along the lattice vectors, Angstrom."""
        return float(np.prod(np.linalg.norm(self.system.cell, axis=1) / self.shape) ** (1 / 3))

    @property
    def volume(self) -> float:
        """Of one point, Angstrom^3."""
        return float(abs(np.linalg.det(self.system.cell)) / self.n_points)


class NearAtom(NamedTuple):
    """The orbitals of one atom at the points of some planes that they reach, through all periodic images.

    ``place``: of each point in the planes; ``cells`` (n, 3): the cell it was moved from; ``phi`` (n, n_orbitals).
    """

    place: IntArray
    cells: FloatArray
    phi: FloatArray


def orbitals_on_planes(orbitals: Mapping[int, Orbitals], grid: Grid, planes: range) -> Iterator[NearAtom]:
    """The orbitals of one atom after the other on some planes of a grid along its first vector; kept in a list, for states of many k."""
    for position, z in zip(grid.system.positions, grid.system.numbers.tolist(), strict=True):
        place, cells, vectors = _points_near(grid, planes, position, orbitals[z].cutoff)
        yield NearAtom(place, cells, evaluate(orbitals[z], vectors).T)


def numbers_on_a_plane(orbitals: Mapping[int, Orbitals], grid: Grid) -> float:
    """How many values all orbitals have on one plane, on average."""
    point = grid.volume
    each = [4 / 3 * np.pi * orbitals[z].cutoff ** 3 / point * sum(2 * l + 1 for l in orbitals[z].ls) for z in grid.system.numbers.tolist()]
    return float(sum(each)) / grid.shape[0]


def compute_psi(atoms: Iterable[NearAtom], shape: tuple[int, int, int], k: FloatArray, C: Array, n_spinor: int) -> Array:
    """(n_spinor, m, *shape) states with coefficients (n_orbitals, m) in columns at a fractional k, on the planes of the orbitals."""
    m = C.shape[1]
    psi = np.zeros((n_spinor, int(np.prod(shape)), m), complex)
    start = 0
    for atom in atoms:
        phase = np.exp(-2j * np.pi * (atom.cells @ k))[:, None]
        stop = start + n_spinor * atom.phi.shape[1]
        for component, part in zip(psi, C[start:stop].reshape(n_spinor, -1, m), strict=True):
            np.add.at(component, atom.place, phase * (atom.phi @ part))
        start = stop
    return np.moveaxis(psi, 2, 1).reshape(n_spinor, m, *shape)


def evaluate(orbitals: Orbitals, vectors: FloatArray) -> FloatArray:
    """(n_orbitals, n_points) all orbitals of an atom at vectors (n_points, 3) from it, Angstrom^-3/2."""
    r = np.linalg.norm(vectors, axis=1)
    Y = solid_harmonics(max(orbitals.ls), vectors / np.maximum(r, 1e-12)[:, None])
    return np.concatenate([shell(r) * Y[shell.l**2 : (shell.l + 1) ** 2] for shell in orbitals.shells])


def _points_near(grid: Grid, planes: range, center: FloatArray, radius: float) -> tuple[IntArray, FloatArray, FloatArray]:
    """Points of some planes around a place, all periodic images: their places in the planes, their cells, and the vectors to them."""
    shape = np.array(grid.shape)
    cell = grid.system.cell
    middle = np.linalg.solve(cell.T, center) * shape
    reach = radius * np.linalg.norm(grid.system.reciprocal, axis=1) / (2 * np.pi) * shape
    axes = [np.arange(int(np.ceil(low)), int(np.floor(high)) + 1) for low, high in zip(middle - reach, middle + reach, strict=True)]
    inside = axes[0] % shape[0]
    axes[0] = axes[0][(inside >= planes.start) & (inside < planes.stop)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    vectors = points / shape @ cell - center
    near = np.linalg.norm(vectors, axis=1) < radius
    points, vectors = points[near], vectors[near]
    cells = points // shape
    inside = points - cells * shape - [planes.start, 0, 0]
    return np.ravel_multi_index(tuple(inside.T), (len(planes), *grid.shape[1:])), cells.astype(float), vectors
