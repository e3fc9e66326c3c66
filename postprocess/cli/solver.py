"""Options of the commands that can compute a part of the spectrum, and what follows from them."""

import argparse
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian
    from postprocess.eigen.slepc import SlepcLevels
    from postprocess.states.states import SolverFactory

SPARSE = ("pardiso", "superlu", "slepc")


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """``--n-bands``, ``--center``, ``--solver``, ``--single``, ``--project``, ``--symmetrize`` and ``--no-verify``."""
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
        "--symmetrize",
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
    if args.solver == "slepc" and (args.project or args.symmetrize is not None or args.jobs > 1):
        raise UsageError("--solver slepc works on one k-point after the other and without --project, --symmetrize and -j; use mpirun")


def choose_levels(
    args: argparse.Namespace, data: "Hamiltonian", *, window_selects: bool = False
) -> "tuple[SolverFactory | None, float | None, str]":
    """What to compute: None for all levels by dense matrices; and the Fermi level, with its origin, if it was needed for that.

    A window always selects the levels of large cells; in small ones, where all levels cost no more, only with ``window_selects``.

    Raises
    ------
    UsageError, DataError
        If an energy is measured from a Fermi level that is not known.
    """
    from deeph.runtime.errors import UsageError
    from postprocess.density.fermi_count import find_fermi_energy
    from postprocess.eigen.solvers import DENSE_LARGEST, DENSE_LIMIT, SomeLevels

    large = data.n_orbitals > DENSE_LIMIT and args.solver != "dense" and args.device == "cpu"
    partial = args.n_bands or (args.window and (large or window_selects or args.solver in SPARSE))
    if not partial and data.n_orbitals > DENSE_LARGEST and args.solver != "dense" and args.device == "cpu":
        raise UsageError(
            f"{data.n_orbitals} orbitals are too many to compute all bands; add --n-bands N (the N bands nearest the Fermi level, or "
            "--center) or --window EMIN EMAX"
        )
    if not partial and not args.project:
        return None, None, ""
    if args.solver == "slepc":
        return _choose_slepc(args, data)
    common = {"solver": args.solver, "single": args.single, "project": args.project, "verify": not args.no_verify}
    if args.symmetrize is not None:
        common["symmetrize"] = args.symmetrize
    level, origin = find_fermi_energy(
        data,
        args.fermi,
        needed=bool(args.n_bands) and args.center is None,
        guess=args.center,
        backend=None if args.solver in ("auto", "dense") else args.solver,
        single=args.single,
        project=args.project,
    )
    if args.n_bands:
        center = level if args.center is None else args.center
        return SomeLevels(n_bands=args.n_bands, center=center or 0.0, **common), level, origin
    low, high = args.window or (-inf, inf)
    zero = level or 0.0
    return SomeLevels(low=zero + low, high=zero + high, **common), level, origin


def _choose_slepc(args: argparse.Namespace, data: "Hamiltonian") -> "tuple[SlepcLevels, float | None, str]":
    """What all MPI ranks compute together, see :func:`choose_levels`; the Fermi level is not counted then."""
    from deeph.runtime.errors import UsageError
    from postprocess.density.fermi_count import STORED
    from postprocess.eigen.slepc import SlepcLevels

    given = None if args.fermi == "count" else args.fermi
    level, origin = (given, "given") if given is not None else (data.fermi_energy, STORED)
    if args.fermi == "count" or (level is None and not (args.n_bands and args.center is not None)):
        raise UsageError(
            "--solver slepc does not count the Fermi level: give --fermi EV (another solver, or deeph-dos, finds it), or --n-bands N with "
            "--center EV"
        )
    common = {"verify": not args.no_verify, "compress": args.compress or 0.0, "out_of_core": args.out_of_core}
    if args.n_bands:
        center = level if args.center is None else args.center
        return SlepcLevels(n_bands=args.n_bands, center=center or 0.0, **common), level, origin
    zero, (low, high) = level or 0.0, args.window
    return SlepcLevels(low=zero + low, high=zero + high, **common), level, origin
