"""States in real space: densities and signed wave functions on a grid (:mod:`postprocess.states.grid`), and cube files of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.folders import new_file
from deeph.physics.basis import Basis
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.physics.units import CODATA
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.grid import Grid, compute_psi, orbitals_on_planes
from postprocess.states.states import States

Array = npt.NDArray[Any]
POINT_ON_DISK = 13
"""Bytes of a number in a cube file."""
LARGEST_GRID = 2**27
"""Points of a grid: 1 GiB of memory, and a cube file of 1.6 GiB."""
LARGEST_FILES = 4 * 2**30
"""Bytes of all cube files of one command."""
AT_ONCE = 2**24
"""Complex numbers that psi may take, all states and spins together: the grid is worked on in slices of planes."""


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
    step = planes_at_once(states, orbitals, grid)
    for first in range(0, grid.shape[0], step):
        planes = range(first, min(first + step, grid.shape[0]))
        out[:, planes.start : planes.stop] = (np.abs(psi_on_planes(states, orbitals, grid, planes)) ** 2).sum(axis=0)
    return out


def planes_at_once(states: States, orbitals: Mapping[int, Orbitals], grid: Grid) -> int:
    """Planes for which neither psi nor the orbitals of an atom take more numbers than :data:`AT_ONCE`."""
    shape, m = np.array(grid.shape), states.C.shape[1]
    radius, n_orbitals = (max(x) for x in zip(*((o.cutoff, sum(2 * l + 1 for l in o.ls)) for o in orbitals.values()), strict=True))
    across = 2 * radius * np.linalg.norm(grid.system.reciprocal, axis=1) / (2 * np.pi) * shape + 1
    near = across[1] * across[2] * max(1.0, across[0] / shape[0])  # points of a plane that an atom and its images reach
    psi = shape[1] * shape[2] * states.hamiltonian.basis.spin_factor * m
    return max(1, int(AT_ONCE // max(psi, near * max(n_orbitals, m))))


def psi_on_planes(states: States, orbitals: Mapping[int, Orbitals], grid: Grid, planes: range) -> Array:
    """(n_spinor, m, len(planes), n2, n3) states in some planes of the grid."""
    shape = (len(planes), *grid.shape[1:])
    return compute_psi(orbitals_on_planes(orbitals, grid, planes), shape, states.k, states.C, states.hamiltonian.basis.spin_factor)


def check_orbitals(orbitals: Mapping[int, Orbitals], basis: Basis) -> None:
    """DataError if the orbitals are not those of the basis."""
    for z, ls in basis.shells.items():
        if z not in orbitals:
            found = ", ".join(SYMBOLS[n] for n in orbitals) or "nothing"
            raise DataError(f"the file of orbitals holds {found}, but no {SYMBOLS[z]}; expected the basis that H was computed with")
        if orbitals[z].ls != ls:
            raise DataError(f"orbitals of {SYMBOLS[z]}: shells {orbitals[z].ls}, but the basis of H has {ls}; expected the same basis")


DENSITY, PSI = CODATA.bohr**3, CODATA.bohr**1.5
"""Atomic units of densities and of wave functions, in Angstrom^3 and Angstrom^(3/2)."""


def write_cube(path: Path, grid: Grid, values: FloatArray, comment: str = "", unit: float = DENSITY) -> None:
    """A Gaussian cube file, by ASE; lengths and values in atomic units, as the format wants them.

    Parameters
    ----------
    path : Path
        Appears complete or not at all.
    grid : Grid
        The cell and its points.
    values : (n1, n2, n3) array
        1/Angstrom^3, of wave functions 1/Angstrom^(3/2).
    comment : str
        First line.
    unit : float
        :data:`DENSITY` or :data:`PSI`.
    """
    from ase import Atoms
    from ase.io import cube

    atoms = Atoms(numbers=grid.system.numbers, positions=grid.system.positions, cell=grid.system.cell)
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        cube.write_cube(file, atoms, values * unit, comment=comment.replace("\n", " "))
