"""Cube files of ``deeph-states``: densities, and wave functions with their sign."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeph.physics.orbitals import Orbitals
    from postprocess.states.grid import Grid
    from postprocess.states.states import States


def add_cube_options(parser: argparse.ArgumentParser) -> None:
    """``--cube``, ``--signed``, ``--orbitals`` and ``--spacing``."""
    parser.add_argument("--cube", metavar="NAME", help="write |psi|^2 of each state as NAME_1.cube, ...")
    parser.add_argument(
        "--signed",
        action="store_true",
        help="with --cube: psi itself, NAME_1.cube where it is real, else NAME_1_re.cube and NAME_1_im.cube",
    )
    parser.add_argument("--orbitals", type=Path, metavar="FILE", help="for --cube: orbitals.h5 of deeph-overlap (default: that in FOLDER)")
    parser.add_argument("--spacing", type=float, default=0.15, metavar="ANGSTROM", help="of the grid of --cube (default %(default)s)")


def files_of_a_state(args: argparse.Namespace, spin_factor: int) -> int:
    """The most cube files that one state may take."""
    return 2 * spin_factor if args.signed else 1


def write_cubes(args: argparse.Namespace, every: "Iterable[States]", orbitals: "dict[int, Orbitals]") -> None:
    """Write the files of all states of all k-points, numbered from 1."""
    import numpy as np

    from deeph.runtime.log import telling
    from postprocess.states.grid import Grid
    from postprocess.states.realspace import states_at_a_time

    number = 0
    for states in every:
        grid = Grid.with_spacing(states.hamiltonian.system, args.spacing)
        together = max(1, states_at_a_time(grid) // files_of_a_state(args, states.hamiltonian.basis.spin_factor))
        for first in range(0, len(states.energies), together):
            which = np.arange(first, min(first + together, len(states.energies)))
            part = replace(states, levels=states.levels.chosen(which, None, None))
            what = "psi" if args.signed else "|psi|^2"
            with telling(f"{what} of states {number + 1} to {number + len(which)} on {grid.n_points} grid points"):
                (_write_signed if args.signed else _write_densities)(args.cube, number, part, orbitals, grid)
            number += len(which)


def _write_densities(name: str, number: int, states: "States", orbitals: "dict[int, Orbitals]", grid: "Grid") -> None:
    from deeph.runtime.log import logger
    from postprocess.states.realspace import compute_density, write_cube

    for n, (energy, density) in enumerate(zip(states.energies, compute_density(states, orbitals, grid), strict=True)):
        number += 1
        norm = float(density.sum() * grid.volume)
        write_cube(Path(f"{name}_{number}.cube"), grid, density, f"|psi|^2 {_where(states, energy)}, integral {norm:.6f}")
        logger.info("wrote %s_%d.cube, %s, integral %.6f", name, number, _which(states, n), norm)


def _write_signed(name: str, number: int, states: "States", orbitals: "dict[int, Orbitals]", grid: "Grid") -> None:
    from deeph.runtime.log import logger
    from postprocess.states.realspace import PSI, write_cube
    from postprocess.states.signed import compute_wave_functions

    found = compute_wave_functions(states, orbitals, grid)
    for n, (energy, psi, real) in enumerate(zip(states.energies, found.psi, found.is_real, strict=True)):
        number += 1
        norm = float((abs(psi) ** 2).sum() * grid.volume)
        for part, values in found.parts(n).items():
            spin, _, kind = part.rpartition("_") if part.endswith(("re", "im")) else (part, "", "re")
            what = " ".join(filter(None, (f"{kind.capitalize()} psi", spin)))
            file = Path("_".join(filter(None, (name, str(number), part))) + ".cube")
            write_cube(file, grid, values, f"{what} {_where(states, energy)}, integral of all |psi|^2 {norm:.6f}", unit=PSI)
        kind = "real" if real else "complex"
        logger.info("wrote %s_%d*.cube, %s, %s, integral of |psi|^2 %.6f", name, number, _which(states, n), kind, norm)


def _which(states: "States", n: int) -> str:
    """Band (or place, where bands are not counted) and k of a state."""
    first = states.levels.first
    band = f"state {n + 1}" if first is None else f"band {first + n + 1}"
    return f"{band} at k = ({', '.join(f'{x:.6g}' for x in states.k)})"


def _where(states: "States", energy: float) -> str:
    return f"at k = {tuple(states.k.tolist())}, spin {states.spin + 1}, {energy:.6f} eV"
