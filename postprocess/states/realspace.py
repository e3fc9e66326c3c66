"""States in real space: psi(r) = sum_R exp(2 pi i k.R) sum_j C_j phi_j(r - tau_j - R) on a grid, and cube files of |psi|^2."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.folders import new_file
from deeph.physics.basis import Basis
from deeph.physics.harmonics import solid_harmonics
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import SYMBOLS, FloatArray, IntArray, System
from deeph.physics.units import CODATA
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.states import States

Array = npt.NDArray[Any]
SPACING = 0.15
"""Angstrom between grid points by default."""
POINT_ON_DISK = 13
"""Bytes of a number in a cube file."""
LARGEST_GRID = 2**27
"""Points of a grid: 1 GiB of memory, and a cube file of 1.6 GiB."""
LARGEST_FILES = 4 * 2**30
"""Bytes of all cube files of one command."""
AT_ONCE = 2**24
"""Complex numbers that psi may take, all states and spins together: the grid is worked on in slices of planes."""


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


def check_size(grid: Grid, n_states: int) -> None:
    """Refuse more numbers than anybody looks at, before they are computed.

    Raises
    ------
    UsageError
        If a grid or all cube files together are larger than :data:`LARGEST_GRID` and :data:`LARGEST_FILES`.
    """

    def fits(one: Grid, n: int) -> bool:
        return one.n_points <= LARGEST_GRID and POINT_ON_DISK * one.n_points * n <= LARGEST_FILES

    if fits(grid, n_states):
        return
    spacing = grid.spacing
    while not fits(Grid.with_spacing(grid.system, spacing), n_states):
        spacing *= 1.05
    advice = f"--spacing {np.ceil(100 * spacing) / 100:.2f}"
    if fits(grid, 1):
        advice += f", or at most {LARGEST_FILES // (POINT_ON_DISK * grid.n_points)} states (--n-bands, --window)"
    disk, memory = POINT_ON_DISK * grid.n_points * n_states / 2**30, 8 * grid.n_points / 2**30
    raise UsageError(
        f"{n_states} cube files of {' x '.join(map(str, grid.shape))} points take {disk:.2f} GiB on disk and {memory:.2f} GiB of memory "
        f"each; the limits are {LARGEST_FILES / 2**30:g} GiB for all files and {LARGEST_GRID} points for one. Choose {advice}"
    )


def states_at_a_time(grid: Grid) -> int:
    """How many densities are worked on together: as many as take the memory of the largest grid."""
    return max(1, LARGEST_GRID // grid.n_points)


def compute_density(states: States, orbitals: Mapping[int, Orbitals], grid: Grid) -> FloatArray:
    """|psi|^2 of states; of spinors |psi_up|^2 + |psi_down|^2.

    Parameters
    ----------
    states : States
        Of one k, not more than :func:`states_at_a_time` in a large cell.
    orbitals : mapping of atomic number to Orbitals
        See :mod:`deeph.physics.orbitals`; the shells have to be those of the basis.
    grid : Grid
        Where; see :func:`check_size`.

    Returns
    -------
    (m, n1, n2, n3) array
        1/Angstrom^3; the sum times the volume of a point is 1 as far as the grid is fine enough.

    Raises
    ------
    DataError
        If the orbitals are not those of the basis.
    """
    check_orbitals(orbitals, states.hamiltonian.basis)
    out = np.empty((states.C.shape[1], *grid.shape))
    step = _planes_at_once(states, orbitals, grid)
    for first in range(0, grid.shape[0], step):
        planes = range(first, min(first + step, grid.shape[0]))
        out[:, planes.start : planes.stop] = (np.abs(_psi(states, orbitals, grid, planes)) ** 2).sum(axis=0)
    return out


def _planes_at_once(states: States, orbitals: Mapping[int, Orbitals], grid: Grid) -> int:
    """Planes for which neither psi nor the orbitals of an atom take more numbers than :data:`AT_ONCE`."""
    shape, m = np.array(grid.shape), states.C.shape[1]
    radius, n_orbitals = (max(x) for x in zip(*((o.cutoff, sum(2 * l + 1 for l in o.ls)) for o in orbitals.values()), strict=True))
    across = 2 * radius * np.linalg.norm(grid.system.reciprocal, axis=1) / (2 * np.pi) * shape + 1
    near = across[1] * across[2] * max(1.0, across[0] / shape[0])  # points of a plane that an atom and its images reach
    psi = shape[1] * shape[2] * states.hamiltonian.basis.spin_factor * m
    return max(1, int(AT_ONCE // max(psi, near * max(n_orbitals, m))))


def _psi(states: States, orbitals: Mapping[int, Orbitals], grid: Grid, planes: range) -> Array:
    """(n_spinor, m, len(planes), n2, n3) states in some planes of the grid."""
    system, n_spinor = states.hamiltonian.system, states.hamiltonian.basis.spin_factor
    m, shape = states.C.shape[1], (len(planes), *grid.shape[1:])
    psi = np.zeros((n_spinor, int(np.prod(shape)), m), complex)
    start = states.hamiltonian.H_bloch.pattern.orbital_start
    for atom, z in enumerate(system.numbers.tolist()):
        place, cells, vectors = _points_near(grid, planes, system.positions[atom], orbitals[z].cutoff)
        phi = evaluate(orbitals[z], vectors).T
        phase = np.exp(-2j * np.pi * (cells @ states.k))[:, None]
        rows = states.C[start[atom] : start[atom + 1]].reshape(n_spinor, -1, m)
        for component, C in zip(psi, rows, strict=True):
            np.add.at(component, place, phase * (phi @ C))
    return np.moveaxis(psi, 2, 1).reshape(n_spinor, m, *shape)


def check_orbitals(orbitals: Mapping[int, Orbitals], basis: Basis) -> None:
    """DataError if the orbitals are not those of the basis."""
    for z, ls in basis.shells.items():
        if z not in orbitals:
            found = ", ".join(SYMBOLS[n] for n in orbitals) or "nothing"
            raise DataError(f"the file of orbitals holds {found}, but no {SYMBOLS[z]}; expected the basis that H was computed with")
        if orbitals[z].ls != ls:
            raise DataError(f"orbitals of {SYMBOLS[z]}: shells {orbitals[z].ls}, but the basis of H has {ls}; expected the same basis")


def evaluate(orbitals: Orbitals, vectors: FloatArray) -> FloatArray:
    """(n_orbitals, n_points) all orbitals of an atom at vectors (n_points, 3) from it, Angstrom^-3/2."""
    from scipy.interpolate import CubicSpline

    r = np.linalg.norm(vectors, axis=1)
    Y = solid_harmonics(max(orbitals.ls), vectors / np.maximum(r, 1e-12)[:, None])
    parts = []
    for shell in orbitals.shells:
        radial = np.where(r <= shell.r[-1], CubicSpline(shell.r, shell.values)(np.minimum(r, shell.r[-1])), 0.0)
        parts.append(radial * Y[shell.l**2 : (shell.l + 1) ** 2])
    return np.concatenate(parts)


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


def write_cube(path: Path, grid: Grid, values: FloatArray, comment: str = "") -> None:
    """A Gaussian cube file, by ASE; lengths and densities in atomic units, as the format wants them.

    Parameters
    ----------
    path : Path
        Appears complete or not at all.
    grid : Grid
        The cell and its points.
    values : (n1, n2, n3) array
        1/Angstrom^3.
    comment : str
        First line.
    """
    from ase import Atoms
    from ase.io import cube

    atoms = Atoms(numbers=grid.system.numbers, positions=grid.system.positions, cell=grid.system.cell)
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        cube.write_cube(file, atoms, values * CODATA.bohr**3, comment=comment.replace("\n", " "))
