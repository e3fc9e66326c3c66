"""The command ``deeph-preprocess``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from preprocess.discover import Job

EPILOG = """\
examples:
  deeph-preprocess runs/ data/                    every run below runs/, one structure folder each
  deeph-preprocess runs/ data/ --dry-run          what would be converted, by which reader and why
  deeph-preprocess runs/ data/ -j 8 --verify bands  eight at a time, against the bands the code printed
  mpirun -n 64 deeph-preprocess runs/ data/       the same on several nodes (with mpi4py)
  deeph-preprocess data/ legacy/ --format legacy  current DeepH folders to the legacy format

A run that is there already is skipped, so the same command resumes.
Exit code 0: all done; 1: at least one failed, or a RAW holds no run."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-preprocess``."""
    out = make_parser("deeph-preprocess", "Turn raw DFT output into verified structure folders.", EPILOG)
    out.add_argument("raw", nargs="+", type=Path, metavar="RAW", help="run folder, or folder of run folders")
    out.add_argument("out", type=Path, metavar="OUT", help="folder for the structure folders, named after the runs")
    out.add_argument("--code", default="auto", help="openmx, deeph, legacy, ...; default: recognized from the files")
    out.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="number of runs converted at the same time (default 1)")
    out.add_argument(
        "--dry-run",
        action="store_true",
        help="read and verify, but write nothing: what would be done, by which reader and why",
    )
    out.add_argument(
        "--verify", choices=("off", "basic", "bands"), default="basic",
        help="basic (default): Hermitian, positive overlap, number of electrons; bands: also the code's own eigenvalues; off: only NaN",
    )  # fmt: skip
    out.add_argument("--format", choices=("deeph", "legacy"), default="deeph", help="format of the structure folders (default deeph)")
    out.add_argument("--spinor", action="store_true", help="write spin-free and collinear matrices as spinor blocks [[up, 0], [0, down]]")
    out.add_argument("--positions", action="store_true", help="write the position matrices, too (for optics and Berry quantities)")
    out.add_argument("--density", action="store_true", help="write the density matrices, too")
    out.add_argument("--overwrite", action="store_true", help="convert again what is there already")
    out.add_argument(
        "--hermitian-part", action="store_true", help="take (H + H^dagger)/2 of predicted H that are not Hermitian, and say how far off"
    )
    out.add_argument("--allow-unconverged", action="store_true", help="convert runs whose self-consistent cycle did not converge, too")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _preprocess, argv)


def _preprocess(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise UsageError(f"-j {args.jobs}: expected at least one run at a time")

    from functools import partial

    from preprocess.cli.table import run_jobs
    from preprocess.pipeline import Options, convert, plan

    wanted = args.positions, args.density, args.spinor
    options = Options(args.code, args.verify, args.format, *wanted, args.overwrite, args.allow_unconverged, args.hermitian_part)
    work = partial(plan if args.dry_run else convert, options=options)
    return run_jobs(lambda: _find(args), work, args.jobs, quiet=args.quiet, dry=args.dry_run)


def _find(args: argparse.Namespace) -> list["Job"]:
    """The runs to convert; an error if there are none."""
    from preprocess.discover import find_jobs, names_seen
    from preprocess.readers import READERS

    jobs = find_jobs(args.raw, args.out, args.code)
    if not jobs:
        readers = READERS if args.code == "auto" else {args.code: READERS[args.code]}
        raise DataError(
            f"no run of {', '.join(readers)} in {', '.join(map(str, args.raw))}; seen: {names_seen(args.raw)}. "
            f"Expected: {', '.join(reader.needs for reader in readers.values())}"
        )
    return jobs


if __name__ == "__main__":
    main()
