"""States in real space: psi(r) = sum_R exp(2 pi i k.R) sum_j C_j phi_j(r - tau_j - R) on a grid, and cube files of |psi|^2."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.finished import finished_file
from deeph.physics.basis import Basis
from deeph.physics.harmonics import solid_harmonics
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import SYMBOLS, FloatArray, System
from deeph.physics.units import CODATA
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.states import States

Array = npt.NDArray[Any]
SPACING = 0.15
"""Angstrom between grid points by default."""
LARGEST_GRID = 2**28
"""Numbers of all states on the grid."""


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
    def volume(self) -> float:
        """Of one point, Angstrom^3."""
        return float(abs(np.linalg.det(self.system.cell)) / np.prod(self.shape))


def compute_density(states: States, orbitals: Mapping[int, Orbitals], grid: Grid) -> FloatArray:
    """|psi|^2 of states, both spin components together.

    Parameters
    ----------
    states : States
        Of one k.
    orbitals : mapping of atomic number to Orbitals
        See :mod:`deeph.physics.orbitals`; the shells have to be those of the basis.
    grid : Grid
        Where.

    Returns
    -------
    (m, n1, n2, n3) array
        1/Angstrom^3; the sum times the volume of a point is 1 as far as the grid is fine enough.

    Raises
    ------
    DataError
        If the orbitals are not those of the basis, or the grid is too large.
    """
    basis, system = states.hamiltonian.basis, states.hamiltonian.system
    check_orbitals(orbitals, basis)
    n_points, m, n_spinor = int(np.prod(grid.shape)), states.C.shape[1], basis.spin_factor
    if n_points * m * n_spinor > LARGEST_GRID:
        raise DataError(f"{m} states on {n_points} grid points take too much memory; choose fewer states or a larger spacing")
    psi = np.zeros((n_spinor, n_points, m), complex)
    start = states.hamiltonian.H_bloch.pattern.orbital_start
    for atom, z in enumerate(system.numbers.tolist()):
        place, cells, vectors = _points_near(grid, system.positions[atom], orbitals[z].cutoff)
        phi = evaluate(orbitals[z], vectors).T
        phase = np.exp(-2j * np.pi * (cells @ states.k))[:, None]
        rows = states.C[start[atom] : start[atom + 1]].reshape(n_spinor, -1, m)
        for component, C in zip(psi, rows, strict=True):
            np.add.at(component, place, phase * (phi @ C))
    return np.asarray((np.abs(psi) ** 2).sum(axis=0).T.reshape(m, *grid.shape))


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


def _points_near(grid: Grid, center: FloatArray, radius: float) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Grid points around a place, all periodic images: their places in the grid, their cells, and the vectors to them."""
    shape = np.array(grid.shape)
    cell = grid.system.cell
    middle = np.linalg.solve(cell.T, center) * shape
    reach = radius * np.linalg.norm(grid.system.reciprocal, axis=1) / (2 * np.pi) * shape
    axes = [np.arange(int(np.ceil(low)), int(np.floor(high)) + 1) for low, high in zip(middle - reach, middle + reach, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    vectors = points / shape @ cell - center
    near = np.linalg.norm(vectors, axis=1) < radius
    points, vectors = points[near], vectors[near]
    cells = points // shape
    return np.ravel_multi_index(tuple((points - cells * shape).T), grid.shape), cells.astype(float), vectors


def write_cube(path: Path, grid: Grid, values: FloatArray, comment: str = "") -> None:
    """A Gaussian cube file; lengths and densities in atomic units, as the format wants them.

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
    bohr = CODATA.bohr
    system = grid.system
    lines = [comment.replace("\n", " "), "density in 1/Bohr^3, lengths in Bohr", f"{system.n_atoms:5d}    0.000000    0.000000    0.000000"]
    lines += [f"{n:5d}" + "".join(f"{x:12.6f}" for x in v / n / bohr) for n, v in zip(grid.shape, system.cell, strict=True)]
    atoms = zip(system.numbers.tolist(), system.positions / bohr, strict=True)
    lines += [f"{z:5d}{float(z):12.6f}" + "".join(f"{x:12.6f}" for x in position) for z, position in atoms]
    rows = (values * bohr**3).reshape(-1, grid.shape[2])
    with finished_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        for row in rows:
            file.write("\n".join("".join(f"{x:13.5E}" for x in row[n : n + 6]) for n in range(0, len(row), 6)) + "\n")
