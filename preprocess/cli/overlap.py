"""The command ``deeph-overlap``."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import UsageError
from deeph.runtime.log import telling

if TYPE_CHECKING:
    from preprocess.discover import Job
    from preprocess.overlap.job import OverlapJob
    from preprocess.overlap.two_centre import Operator

EPILOG = """\
examples:
  deeph-overlap twisted.vasp --basis C6.0.pao:s2p2d1 overlap/twisted      OpenMX orbitals
  deeph-overlap MATBG.dat --basis DFT_DATA/PAO overlap/matbg              the input file names the basis
  deeph-overlap STRU --basis Mo.orb S.orb overlap/mos2 --positions        ABACUS orbitals; r, too
  deeph-overlap si.cif --basis Si.ion.xml overlap/si                      SIESTA orbitals
  deeph-overlap set/ --basis C6.0.pao:s2p2d1 overlap/ -j 8                every structure below set/, eight at a time

What is there already is skipped, so the same command resumes; mpirun and srun share the structures of a folder.
No DFT run is needed. Next: deeph-infer MODEL overlap/twisted predicted/"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-overlap``."""
    out = make_parser("deeph-overlap", "Overlap matrices of a structure from basis files alone.", EPILOG)
    out.add_argument(
        "structure", type=Path, metavar="STRUCTURE",
        help="POSCAR, cif, xyz, input of OpenMX, ABACUS (STRU) or SIESTA; or many: a folder of them, an xyz file of many frames",
    )  # fmt: skip
    out.add_argument(
        "--basis", nargs="+", required=True, metavar="FILE",
        help="one file an element: FILE.pao:s2p2d1 (OpenMX), FILE.orb (ABACUS), FILE.ion, .ion.xml, .ion.nc (SIESTA); gto:NAME (PySCF)",
    )  # fmt: skip
    out.add_argument("out", type=Path, nargs="?", metavar="OUT", help="structure folder to write; a folder of them if STRUCTURE is many")
    out.add_argument("--kinetic", action="store_true", help="write the kinetic energy, too (kinetic_matrix.h5, eV)")
    out.add_argument("--positions", action="store_true", help="write the position matrices, too (position_matrix.h5, Angstrom)")
    out.add_argument("--gradient", action="store_true", help="write dS/d(right atom), too (overlap_gradient.h5, 1/Angstrom)")
    out.add_argument("--spin", choices=("none", "collinear", "spinor"), default="none", help="spin of the H to predict (default none)")
    out.add_argument(
        "--cutoff", type=float, metavar="ANGSTROM", help="blocks of all pairs up to this distance; default: those that overlap"
    )
    out.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="number of structures at the same time (default 1)")
    out.add_argument("--threads", type=int, default=1, metavar="N", help="number of threads of each (default 1)")
    out.add_argument("--overwrite", action="store_true", help="replace what is there already")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _overlap, argv)


def _overlap(args: argparse.Namespace) -> int:
    if args.out is None:  # --basis FILE... OUT: the list of files has taken the last word
        if len(args.basis) < 2:
            raise UsageError("no output folder: expected deeph-overlap STRUCTURE --basis FILE... OUT")
        args.out = Path(args.basis.pop())
    if min(args.threads, args.jobs) < 1 or (args.cutoff is not None and not args.cutoff > 0):
        raise UsageError(f"--threads {args.threads}, -j {args.jobs}, --cutoff {args.cutoff}: expected positive numbers")

    from preprocess.cli.table import run_jobs
    from preprocess.overlap.job import OverlapJob, find_overlaps
    from preprocess.overlap.write import Matrices

    asked: dict[Operator, bool] = {"overlap": True, "kinetic": args.kinetic, "position": args.positions, "gradient": args.gradient}
    wanted = Matrices(tuple(name for name, yes in asked.items() if yes), args.spin, args.cutoff)
    work = OverlapJob(tuple(args.basis), wanted, args.threads, args.overwrite)
    jobs = find_overlaps(args.structure, args.out)
    return _one(work, jobs[0]) if jobs[0].out == args.out else run_jobs(lambda: jobs, work, args.jobs, quiet=args.quiet)


def _one(work: "OverlapJob", job: "Job") -> int:
    """A single structure: its error ends the command."""
    from deeph.files.folders import remove_leftovers

    start = time.perf_counter()
    remove_leftovers(job.out.parent)
    with telling(f"still at the matrices of {job.run}"):
        outcome = work.compute(job)
    words = f"{outcome.reason}, {time.perf_counter() - start:.1f} s"
    sys.stdout.write(f"{outcome.reason if outcome.status == 'skipped' else f'{job.out}: {words}'}\n")
    return 0


if __name__ == "__main__":
    main()
