"""``deeph-states``: eigenstates at some k-points, their atoms, their densities in space; Mulliken charges of the occupied ones."""

import argparse
import sys
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import load
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.solver import add_solver_options, check_solver_options, choose_levels

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.orbitals import Orbitals
    from deeph.physics.system import FloatArray, System
    from deeph.runtime.processes import Group
    from postprocess.eigen.kjobs import Jobs, Results
    from postprocess.eigen.spectrum import SpectrumWork

EPILOG = """examples:
  deeph-states data/MoS2 --k G K --n-bands 4                    the four levels nearest the Fermi energy, and where they are
  deeph-states data/MoS2 --k K --n-bands 2 --cube K             |psi|^2 of each state as K_1.cube, K_2.cube
  deeph-states data/MoS2 --k 0,0,0 1/2,0,0 --out states.h5      all states there; wavefunction_ao.h5: in the layout of DeepH
  deeph-states data/MoS2 --charges --mesh 9 9 1                 Mulliken charges of the occupied states

Energies are in eV. Exit code: 0 done, 1 the data are missing or wrong, 2 wrong usage."""
SHOWN = 3
"""Atoms named beside a state."""
LISTED = 40
"""States listed on the screen, those nearest the Fermi level."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``deeph-states``."""
    parser = make_parser("deeph-states", "Eigenstates, charge densities and Mulliken charges from Hamiltonians.", EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="structure folder")
    parser.add_argument("--k", nargs="+", default=["0,0,0"], metavar="K", help="k-points such as G K 1/3,1/3,0 (default: Gamma)")
    parser.add_argument("--window", nargs=2, type=float, metavar=("EMIN", "EMAX"), help="states in these energies, eV from the Fermi level")
    parser.add_argument("--fermi", type=float, metavar="EV", help="Fermi level (default: that of the folder)")
    add_solver_options(parser)
    add_job_options(parser)
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    parser.add_argument("--out", type=Path, metavar="FILE", help="states as .h5; called wavefunction_ao.h5: in the layout of DeepH")
    parser.add_argument("--precision", choices=("float32", "float64"), default="float64", help="of the states in the file")
    parser.add_argument("--cube", metavar="NAME", help="write |psi|^2 of each state as NAME_1.cube, ...")
    parser.add_argument("--orbitals", type=Path, metavar="FILE", help="for --cube: orbitals.h5 of deeph-overlap (default: that in FOLDER)")
    parser.add_argument("--spacing", type=float, default=0.15, metavar="ANGSTROM", help="of the grid of --cube (default %(default)s)")
    parser.add_argument("--charges", action="store_true", help="instead: Mulliken charges and moments of all occupied states")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k mesh for --charges")
    parser.add_argument("--shift", nargs=3, type=float, default=(0.0, 0.0, 0.0), metavar="X", help="of the mesh, in steps (default 0 0 0)")
    parser.add_argument("--temperature", type=float, default=300.0, metavar="K", help="of the occupation (default %(default)s)")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import UsageError

    check_solver_options(args)
    _check_options(args)
    if args.out and (args.out.suffix != ".h5" or not args.out.absolute().parent.is_dir()):
        raise UsageError(f"--out {args.out}: expected a name ending in .h5 in an existing folder")
    group = start_group(args)
    data, _ = load(args.folder, predicted=args.predicted or None)
    return _charges(args, data, group) if args.charges else _states(args, data, group)


def _check_options(args: argparse.Namespace) -> None:
    """Find what contradicts itself or is missing before anything is computed."""
    from deeph.files.orbitals_file import FILE
    from deeph.runtime.errors import DataError, UsageError

    if args.window and not -inf < args.window[0] < args.window[1] < inf:
        raise UsageError(f"--window {args.window[0]:g} {args.window[1]:g}: expected two energies in eV, the lower one first")
    if args.window and args.n_bands:
        raise UsageError("--window and --n-bands both select states: leave out one of them")
    if args.window and args.device != "cpu":
        raise UsageError(f"--device {args.device} computes all levels with dense matrices: leave out --window")
    if args.cube and not Path(args.cube).absolute().parent.is_dir():
        raise UsageError(f"--cube {args.cube}: the folder {Path(args.cube).parent} does not exist")
    file = args.orbitals or args.folder / FILE
    if args.cube and args.folder.is_dir() and not file.is_file():
        raise DataError(
            f"{file}: there is no such file. --cube needs the radial functions of the basis; deeph-overlap writes them beside the overlap: "
            f"'deeph-overlap {args.folder / 'POSCAR'} --basis FILES NEW_FOLDER', then --orbitals NEW_FOLDER/{FILE}"
        )


def _charges(args: argparse.Namespace, data: "Hamiltonian", group: "Group") -> int:
    import numpy as np

    from deeph.runtime.errors import UsageError
    from postprocess.density.fermi import mesh_points, regular_mesh
    from postprocess.states.charges import compute_density_matrix, mulliken_charges

    mesh = np.array(args.mesh or regular_mesh(data.system))
    if mesh.min() < 1:
        raise UsageError(f"--mesh {' '.join(map(str, mesh))}: expected three positive numbers")
    k = mesh_points((int(mesh[0]), int(mesh[1]), int(mesh[2]))) + np.array(args.shift) / mesh * (mesh > 1)
    density, fermi = compute_density_matrix(data, k, temperature=args.temperature, jobs=make_jobs(args, group, []))
    charges = mulliken_charges(data, density)
    if group.rank > 0:
        return 0
    lines = [f"{data.system.formula}: {charges[:, 0].sum():.6f} electrons on a {mesh[0]} x {mesh[1]} x {mesh[2]} mesh, E_F {fermi:.6f} eV"]
    spin = data.basis.spin != "none"
    lines.append("  atom    electrons" + "      m_x        m_y        m_z  (Bohr magneton)" * spin)
    for n, (symbol, row) in enumerate(zip(data.system.symbols, charges, strict=True), 1):
        lines.append(f"{n:4d} {symbol:<3}{row[0]:12.6f}" + "".join(f"{m:11.6f}" for m in row[1:]) * spin)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def parse_k(text: str, system: "System") -> "FloatArray":
    """A label of the lattice, or three fractional coordinates.

    Raises
    ------
    UsageError
        If it is neither.
    """
    import numpy as np

    from deeph.runtime.errors import UsageError
    from postprocess.lattice.special_points import special_points

    for lattice in special_points(system):
        if text in lattice.points:
            return lattice.points[text]
    try:
        k = np.array([float(Fraction(x)) for x in text.split(",")])
    except (ValueError, ZeroDivisionError):
        k = np.zeros(0)
    if k.shape != (3,):
        known = special_points(system)[0].describe()
        raise UsageError(f"--k {text}: expected three fractional coordinates such as 1/3,1/3,0, or one of {known}")
    return k


def _states(args: argparse.Namespace, data: "Hamiltonian", group: "Group") -> int:
    import numpy as np

    from postprocess.eigen.dense import hermitian
    from postprocess.eigen.kjobs import fingerprint, run_tasks
    from postprocess.eigen.spectrum import SpectrumWork, collect, describe_solver, k_tasks
    from postprocess.output.state_files import PRECISIONS
    from postprocess.states.states import Dense

    k = np.array([parse_k(text, data.system) for text in args.k])
    orbitals = _read_orbitals(args, data) if args.cube else {}
    levels, fermi, _ = choose_levels(args, data, window_selects=True)
    fermi = fermi if fermi is not None else args.fermi if args.fermi is not None else data.fermi_energy
    data = hermitian(data)
    work = SpectrumWork(data, levels or Dense(device=args.device), vectors=PRECISIONS[args.precision])
    tasks = k_tasks(k, data.basis.n_spin)
    jobs = make_jobs(args, group, [args.out] if args.out else [])
    results = run_tasks(work, tasks, jobs, identity=fingerprint(data, tasks, work.solver, work.vectors) if args.out else "")
    with jobs.useful():
        found = collect(results)
    if group.rank > 0:
        return 0
    sys.stdout.write(f"solver: {describe_solver(work.solver, data.n_orbitals)}, {found.describe()}\n")
    _list(work, args.k, tasks, results, fermi)
    if args.cube:
        _write_cubes(args, data, tasks, results, orbitals)
    if args.out:
        _write_states(args.out, data, k, results, fermi, jobs)
    return 0


def _write_states(path: Path, data: "Hamiltonian", k: "FloatArray", results: "Results", fermi: float | None, jobs: "Jobs") -> None:
    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import logger
    from postprocess.output.state_files import write_states

    try:
        write_states(path, data, k, results, fermi_energy=fermi)
    except UsageError:  # this file cannot hold these states, whose results would be in the way of others
        jobs.finish()
        raise
    logger.info("wrote %s", path)
    jobs.finish()


def _read_orbitals(args: argparse.Namespace, data: "Hamiltonian") -> "dict[int, Orbitals]":
    """The radial functions for --cube, those of the basis of H."""
    from deeph.files.orbitals_file import FILE, read_orbitals
    from postprocess.states.realspace import check_orbitals

    orbitals = read_orbitals(args.orbitals or args.folder / FILE)
    check_orbitals(orbitals, data.basis)
    return orbitals


def _list(work: "SpectrumWork", names: list[str], tasks: list[Any], results: "Results", fermi: float | None) -> None:
    """Energies and the atoms with the largest shares."""
    import numpy as np

    from postprocess.states.states import States, atom_of_orbital

    data = work.hamiltonian
    atom, symbols = atom_of_orbital(data), data.system.symbols
    lines = [f"{data.system.formula}: energies " + ("absolute" if fermi is None else f"from E_F = {fermi:.6f} eV")]
    for number, (task, one) in enumerate(zip(tasks, results, strict=True)):
        spin = f", spin {('up', 'down')[task.spin]}" if data.basis.n_spin > 1 else ""
        states = States(data, np.array(task.k), task.spin, one["energies"], one["vectors"])
        n_states = len(states.energies)
        near = f"the {LISTED} of {n_states} states nearest {'zero' if fermi is None else 'E_F'}"
        shown = near if n_states > LISTED else f"{n_states} state{'s' * (n_states != 1)}"
        lines.append(f"k = {names[number % len(names)]} ({', '.join(f'{x:.6g}' for x in task.k)}){spin}: {shown}")
        shares = np.zeros((data.system.n_atoms, len(states.energies)))
        np.add.at(shares, atom, states.populations)
        for n in np.sort(np.argsort(np.abs(states.energies - (fermi or 0.0)), kind="stable")[:LISTED]):
            largest = np.argsort(-shares[:, n], kind="stable")[:SHOWN]
            where = ", ".join(f"{symbols[a]}{a + 1} {shares[a, n]:.3f}" for a in largest)
            band = f"band {int(one['first']) + n + 1}" if int(one["first"]) >= 0 else f"state {n + 1}"
            lines.append(f"  {band:<11} {states.energies[n] - (fermi or 0.0):+.6f} eV   {where}")
    sys.stdout.write("\n".join(lines) + "\n")


def _write_cubes(
    args: argparse.Namespace, data: "Hamiltonian", tasks: list[Any], results: "Results", orbitals: "dict[int, Orbitals]"
) -> None:
    import numpy as np

    from deeph.runtime.log import logger
    from postprocess.states.realspace import Grid, compute_density, write_cube
    from postprocess.states.states import States

    grid, number = Grid.with_spacing(data.system, args.spacing), 0
    for task, one in zip(tasks, results, strict=True):
        states = States(data, np.array(task.k), task.spin, one["energies"], one["vectors"])
        for n, density in enumerate(compute_density(states, orbitals, grid)):
            number += 1
            norm = float(density.sum() * grid.volume)
            comment = f"|psi|^2 at k = {task.k}, spin {task.spin + 1}, {one['energies'][n]:.6f} eV, integral {norm:.6f}"
            write_cube(Path(f"{args.cube}_{number}.cube"), grid, density, comment)
            logger.info("wrote %s_%d.cube, integral %.6f", args.cube, number, norm)


if __name__ == "__main__":
    main()
