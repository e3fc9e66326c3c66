"""``deeph-states``: eigenstates at some k-points, their atoms, their densities in space; Mulliken charges of the occupied ones."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.cli.common import make_parser, run_command
from postprocess.cli.common import add_symmetrize_option, load
from postprocess.cli.cubes import add_cube_options, files_of_a_state, write_cubes
from postprocess.cli.energies import add_window_option, check_window, resolve_energies
from postprocess.cli.jobs import add_job_options, make_jobs, start_group
from postprocess.cli.solver import add_solver_options, check_solver_options, choose_solver, solver_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeph.physics.hamiltonian import Hamiltonian
    from deeph.physics.orbitals import Orbitals
    from deeph.physics.system import FloatArray
    from deeph.runtime.processes import Group
    from postprocess.states.kjobs import Jobs, Results
    from postprocess.states.states import States

EPILOG = """examples:
  deeph-states data/MoS2 --k G K --n-bands 4                    the four levels nearest the Fermi energy, and where they are
  deeph-states data/MoS2 --k K --n-bands 2 --cube K             |psi|^2 of each state as K_1.cube, K_2.cube
  deeph-states data/MoS2 --k G --n-bands 2 --cube G --signed    psi with its sign: G_1.cube where it is real, else G_1_re.cube, G_1_im.cube
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
    add_window_option(parser, "states in these energies")
    parser.add_argument("--fermi", type=float, metavar="EV", help="Fermi level (default: that of the folder)")
    add_solver_options(parser)
    add_job_options(parser)
    parser.add_argument("--predicted", action="store_true", help="read hamiltonian_pred.h5 even if there is a hamiltonian.h5")
    add_symmetrize_option(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="states as .h5; called wavefunction_ao.h5: in the layout of DeepH")
    parser.add_argument("--precision", choices=("float32", "float64"), default="float64", help="of the states in the file")
    add_cube_options(parser)
    parser.add_argument("--charges", action="store_true", help="instead: Mulliken charges and moments of all occupied states")
    parser.add_argument("--mesh", nargs=3, type=int, metavar="N", help="k mesh for --charges")
    parser.add_argument("--shift", nargs=3, type=float, default=(0.0, 0.0, 0.0), metavar="X", help="of the mesh, in steps (default 0 0 0)")
    parser.add_argument("--temperature", type=float, default=300.0, metavar="K", help="of the occupation (default %(default)s)")
    run_command(parser, _body, argv)


def _body(args: argparse.Namespace) -> int:
    from deeph.runtime.errors import UsageError
    from deeph.runtime.log import telling

    check_solver_options(args)
    _check_options(args)
    if args.out and (args.out.suffix != ".h5" or not args.out.absolute().parent.is_dir()):
        raise UsageError(f"--out {args.out}: expected a name ending in .h5 in an existing folder")
    group = start_group(args)
    data, _ = load(args.folder, predicted=args.predicted or None, symmetrize=args.symmetrize)
    resolve_energies(args, data)
    with telling(f"at work on {args.folder}"):
        return _charges(args, data, group) if args.charges else _states(args, data, group)


def _check_options(args: argparse.Namespace) -> None:
    """Find what contradicts itself or is missing before anything is computed."""
    from deeph.files.orbitals_file import FILE
    from deeph.runtime.errors import DataError, UsageError

    check_window(args)
    if args.window and args.n_bands:
        raise UsageError("--window and --n-bands both select states: leave out one of them")
    if args.window and args.device != "cpu":
        raise UsageError(f"--device {args.device} computes all levels with dense matrices: leave out --window")
    if args.signed and not args.cube:
        raise UsageError("--signed is for cube files: add --cube NAME")
    if args.cube and not Path(args.cube).absolute().parent.is_dir():
        raise UsageError(f"--cube {args.cube}: the folder {Path(args.cube).parent} does not exist")
    file = args.orbitals or args.folder / FILE
    if args.cube and args.folder.is_dir() and not file.is_file():
        raise DataError(
            f"{file}: there is no such file. --cube needs the radial functions of the basis; deeph-overlap writes them beside the overlap: "
            f"'deeph-overlap {args.folder / 'POSCAR'} --basis FILES NEW_FOLDER', then --orbitals NEW_FOLDER/{FILE}"
        )


def _charges(args: argparse.Namespace, data: "Hamiltonian", group: "Group") -> int:
    from deeph.runtime.errors import UsageError
    from postprocess.lattice.mesh import mesh_divisions
    from postprocess.states.charges import compute_density_matrix, density_mesh, mulliken_charges

    n = tuple(args.mesh or mesh_divisions(data))
    if min(n) < 1:
        raise UsageError(f"--mesh {' '.join(map(str, n))}: expected three positive numbers")
    mesh = density_mesh(data, (n[0], n[1], n[2]), tuple(x * (m > 1) for x, m in zip(args.shift, n, strict=True)))
    options: dict[str, Any] = {"options": solver_options(args), "jobs": make_jobs(args, group, [])}
    density, fermi = compute_density_matrix(data, mesh, temperature=args.temperature, **options)
    charges = mulliken_charges(data, density)
    if group.rank > 0:
        return 0
    lines = [f"{args.folder.resolve().name}: {charges[:, 0].sum():.6f} electrons on a {n[0]} x {n[1]} x {n[2]} mesh, E_F {fermi:.6f} eV"]
    spin = data.basis.spin != "none"
    lines.append("  atom    electrons" + "      m_x        m_y        m_z  (Bohr magneton)" * spin)
    for number, (symbol, row) in enumerate(zip(data.system.symbols, charges, strict=True), 1):
        lines.append(f"{number:4d} {symbol:<3}{row[0]:12.6f}" + "".join(f"{m:11.6f}" for m in row[1:]) * spin)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _states(args: argparse.Namespace, data: "Hamiltonian", group: "Group") -> int:
    import numpy as np

    from postprocess.eigen.hermitian import hermitian
    from postprocess.lattice.points import find_point
    from postprocess.output.state_files import PRECISIONS
    from postprocess.states.fermi import FermiLevel, given_or_stored
    from postprocess.states.integrate import evaluate
    from postprocess.states.spectrum import LevelsAndWeights, collect, describe_solver, kept_states

    k = np.array([find_point(data, text) for text in args.k])
    orbitals = _read_orbitals(args, data) if args.cube else {}
    if args.cube and not args.window:
        _check_cubes(args, data, (args.n_bands or data.H_bloch.n_orbitals) * len(k) * data.basis.n_spin)
    solver, fermi = choose_solver(args, data, window_selects=True)
    level = fermi if isinstance(fermi, FermiLevel) else given_or_stored(data, fermi)
    energy = None if level is None else level.energy
    data = hermitian(data)
    jobs = make_jobs(args, group, [args.out] if args.out else [])
    results, place = evaluate(data, k, LevelsAndWeights(keep=PRECISIONS[args.precision]), solver=solver, jobs=jobs)
    with jobs.useful():
        found = collect(results)
    if group.rank > 0:
        return 0
    results = results.arranged(place)
    sys.stdout.write(f"solver: {describe_solver(solver, data.n_orbitals)}, {found.describe()}\n")
    _list(args.folder.resolve().name, args.k, kept_states(data, k, results), energy)
    if args.cube:
        write_cubes(args, kept_states(data, k, results), orbitals)
    if args.out:
        _write_states(args.out, data, k, results, energy, jobs)
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


def _list(title: str, names: list[str], every: "Iterable[States]", fermi: float | None) -> None:
    """Energies, the atoms with the largest shares, and <sigma> of spinors."""
    import numpy as np

    from postprocess.states.projectors import SpinComponents

    lines: list[str] = []
    for number, states in enumerate(every):
        data, first = states.hamiltonian, states.levels.first
        symbols, n_states = data.system.symbols, len(states.energies)
        if not lines:
            lines.append(f"{title}: energies " + ("absolute" if fermi is None else f"from E_F = {fermi:.6f} eV"))
        spin = f", spin {('up', 'down')[states.spin]}" if data.basis.n_spin > 1 else ""
        near = f"the {LISTED} of {n_states} states nearest {'zero' if fermi is None else 'E_F'}"
        shown = near if n_states > LISTED else f"{n_states} state{'s' * (n_states != 1)}"
        lines.append(f"k = {names[number % len(names)]} ({', '.join(f'{x:.6g}' for x in states.k)}){spin}: {shown}")
        spin_of = SpinComponents()(states) if data.basis.spin == "spinor" else {}
        shares = np.zeros((data.system.n_atoms, n_states))
        np.add.at(shares, states.atom_of_orbital, states.populations)
        for n in np.sort(np.argsort(np.abs(states.energies - (fermi or 0.0)), kind="stable")[:LISTED]):
            largest = np.argsort(-shares[:, n], kind="stable")[:SHOWN]
            where = ", ".join(f"{symbols[a]}{a + 1} {shares[a, n]:.3f}" for a in largest)
            arrow = "   spin" + "".join(f" {s[n]:+.3f}" for s in spin_of.values()) if spin_of else ""
            band = f"state {n + 1}" if first is None else f"band {first + n + 1}"
            lines.append(f"  {band:<11} {states.energies[n] - (fermi or 0.0):+.6f} eV   {where}{arrow}")
    sys.stdout.write("\n".join(lines) + "\n")


def _check_cubes(args: argparse.Namespace, data: "Hamiltonian", n_states: int) -> None:
    """Refuse too many or too large cube files."""
    from postprocess.states.grid import Grid
    from postprocess.states.realspace import check_size

    check_size(Grid.with_spacing(data.system, args.spacing), n_states * files_of_a_state(args, data.basis.spin_factor))


if __name__ == "__main__":
    main()
