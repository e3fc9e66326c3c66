"""Options of the commands that can compute a part of the spectrum, and what follows from them."""

import argparse
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.eigen.options import SolverOptions
    from postprocess.eigen.solver import Eigensolver
    from postprocess.states.fermi import FermiLevel

SPARSE = ("pardiso", "superlu", "slepc")


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """``--n-bands``, ``--center``, ``--solver``, ``--single``, ``--project``, ``--real-form`` and ``--no-verify``."""
    group = parser.add_argument_group("large cells")
    group.add_argument("--n-bands", type=int, metavar="N", help="compute only the N levels nearest the centre at each k")
    group.add_argument(
        "--center", type=_center, default="fermi", metavar="EV|fermi", help="energy on the zero of H for --n-bands (default: fermi)"
    )
    names = ("auto", "dense", "pardiso", "superlu", "slepc")
    group.add_argument(
        "--solver", choices=names, default="auto", help="default: by size, and by what is installed; slepc: all MPI ranks on one k"
    )
    group.add_argument("--single", action="store_true", help="factors in single precision, refined: half of the memory (PARDISO)")
    group.add_argument(
        "--project",
        type=float,
        default=0.0,
        metavar="EPS",
        help="leave out combinations of orbitals whose eigenvalue of S(k) is below EPS, e.g. 1e-3: no ghost levels",
    )
    group.add_argument(
        "--real-form",
        type=float,
        metavar="EV",
        help="change H by up to so much to make it real at every k by inversion or a half turn, which saves most of the time; 0: never "
        "(default: only rounding noise)",
    )
    group.add_argument("--compress", type=float, metavar="EPS", help="slepc: block-low-rank factors, e.g. 1e-8: less memory")
    group.add_argument("--out-of-core", type=Path, metavar="FOLDER", help="slepc: factors in files of this folder, on a disk of each node")
    group.add_argument("--no-verify", action="store_true", help="with --n-bands: do not prove by counting that no level is missing")


def _center(text: str) -> float | None:
    if text == "fermi":
        return None
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected an energy in eV or 'fermi'")
    return value


def check_solver_options(args: argparse.Namespace) -> None:
    """Find contradictions before anything is computed."""
    from deeph.runtime.errors import UsageError

    if args.n_bands is not None and args.n_bands < 1:
        raise UsageError(f"--n-bands {args.n_bands}: expected at least one")
    if args.solver in SPARSE and not (args.n_bands or args.window):
        raise UsageError(f"--solver {args.solver} computes some levels, not all; add --window EMIN EMAX or --n-bands N")
    if args.device != "cpu" and (args.solver in SPARSE or args.n_bands or args.project):
        raise UsageError(f"--device {args.device} computes all levels with dense matrices: leave out --n-bands, --project and --solver")
    if args.single and args.solver not in ("auto", "pardiso"):
        raise UsageError(f"--single needs PARDISO, not --solver {args.solver}")
    if args.solver != "slepc" and (args.compress is not None or args.out_of_core is not None):
        raise UsageError("--compress and --out-of-core are for --solver slepc")
    if args.solver == "slepc" and (args.project or args.real_form is not None or args.jobs > 1):
        raise UsageError("--solver slepc works on one k-point after the other and without --project, --real-form and -j; use mpirun")


def solver_options(args: argparse.Namespace) -> "SolverOptions":
    """How levels are found, from the options of the command."""
    from postprocess.eigen.options import MAX_VIOLATION, SolverOptions

    return SolverOptions(
        name=args.solver,
        device=args.device,
        single=args.single,
        project=args.project,
        verify=not args.no_verify,
        real_form=MAX_VIOLATION if args.real_form is None else args.real_form,
        compress=args.compress or 0.0,
        out_of_core=args.out_of_core,
    )


def choose_solver(
    args: argparse.Namespace, data: "Hamiltonian", *, window_selects: bool = False, fermi: float | None = None
) -> "tuple[Eigensolver, FermiLevel | float | str | None]":
    """What to compute, and the Fermi level that goes with it: found already if energies are measured from it, else as it was asked for.

    A window always selects the levels of large cells; in small ones, where all levels cost no more, only with ``window_selects``. ``fermi``
    is the level (eV) of a reference, for want of one that the user gave.

    Raises
    ------
    UsageError, DataError
        If an energy is measured from a Fermi level that is not known.
    """
    from deeph.runtime.errors import UsageError
    from postprocess.eigen.selection import DENSE_LARGEST, DENSE_LIMIT
    from postprocess.eigen.solver import Eigensolver
    from postprocess.states.fermi import UNKNOWN, find_fermi_level

    options, wanted = solver_options(args), args.fermi if fermi is None or args.fermi is not None else fermi
    large = data.n_orbitals > DENSE_LIMIT and args.solver != "dense" and args.device == "cpu"
    partial = args.n_bands or (args.window and (large or window_selects or args.solver in SPARSE))
    if not partial and data.n_orbitals > DENSE_LARGEST and args.solver != "dense" and args.device == "cpu":
        raise UsageError(
            f"{data.n_orbitals} orbitals are too many to compute all bands; add --n-bands N (the N bands nearest the Fermi level, or "
            "--center) or --window EMIN EMAX"
        )
    if not partial and not args.project:
        return Eigensolver(options=options), wanted
    needed = bool(args.n_bands) and args.center is None
    if args.solver == "slepc":
        level = _known_to_all(args, data, wanted)
    else:
        level = find_fermi_level(data, wanted, needed=needed, guess=args.center, options=options)
    zero = 0.0 if level is None else level.energy
    if args.n_bands:
        return Eigensolver(n_bands=args.n_bands, center=zero if args.center is None else args.center, options=options), level or UNKNOWN
    low, high = args.window or (-inf, inf)
    return Eigensolver(low=zero + low, high=zero + high, options=options), level or UNKNOWN


def _known_to_all(args: argparse.Namespace, data: "Hamiltonian", fermi: float | str | None) -> "FermiLevel | None":
    """The level for all MPI ranks that work together with SLEPc, which does not count it."""
    from deeph.runtime.errors import UsageError
    from postprocess.states.fermi import given_or_stored

    level = None if fermi == "count" else given_or_stored(data, fermi)
    if fermi == "count" or (level is None and not (args.n_bands and args.center is not None)):
        raise UsageError(
            "--solver slepc does not count the Fermi level: give --fermi EV (another solver, or deeph-dos, finds it), or --n-bands N with "
            "--center EV"
        )
    return level
