"""The command ``deeph-preprocess``."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger

if TYPE_CHECKING:
    from preprocess.discover import Job
    from preprocess.pipeline import Outcome

EPILOG = """\
examples:
  deeph-preprocess runs/ data/                    every run below runs/, one structure folder each
  deeph-preprocess runs/ data/ --dry-run          what would be converted, by which reader and why
  deeph-preprocess runs/ data/ -j 8 --verify bands  eight at a time, against the bands the code printed
  mpirun -n 64 deeph-preprocess runs/ data/       the same on several nodes (with mpi4py)
  deeph-preprocess data/ legacy/ --format legacy  current DeepH folders to the legacy format

A run that is there already is skipped, so the same command resumes.
Exit code 0: all done; 1: at least one failed or nothing was found."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-preprocess``."""
    out = make_parser("deeph-preprocess", "Turn raw DFT output into verified structure folders.", EPILOG)
    out.add_argument("raw", nargs="+", type=Path, metavar="RAW", help="run folder, or folder of run folders")
    out.add_argument("out", type=Path, metavar="OUT", help="folder for the structure folders, named after the runs")
    out.add_argument("--code", default="auto", help="openmx, deeph, legacy, ...; default: recognized from the files")
    out.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="number of runs converted at the same time (default 1)")
    out.add_argument("--dry-run", action="store_true", help="only say what would be converted, by which reader and why, and to where")
    out.add_argument(
        "--verify", choices=("off", "basic", "bands"), default="basic",
        help="basic (default): Hermitian, positive overlap, number of electrons; bands: also the code's own eigenvalues; off: only NaN",
    )  # fmt: skip
    out.add_argument("--format", choices=("deeph", "legacy"), default="deeph", help="format of the structure folders (default deeph)")
    out.add_argument("--spinor", action="store_true", help="write spin-free and collinear matrices as spinor blocks [[up, 0], [0, down]]")
    out.add_argument("--positions", action="store_true", help="write the position matrices, too (for optics and Berry quantities)")
    out.add_argument("--density", action="store_true", help="write the density matrices, too")
    out.add_argument("--overwrite", action="store_true", help="convert again what is there already")
    out.add_argument("--allow-unconverged", action="store_true", help="convert runs whose self-consistent cycle did not converge, too")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _preprocess, argv)


def _preprocess(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise UsageError(f"-j {args.jobs}: expected at least one run at a time")

    from tqdm import tqdm

    from deeph.files.folders import remove_leftovers
    from deeph.runtime.processes import find_group
    from preprocess.parallel import convert_all
    from preprocess.pipeline import Options, plan

    wanted = args.positions, args.density, args.spinor
    options = Options(args.code, args.verify, args.format, *wanted, args.overwrite, args.allow_unconverged)
    group = find_group(os.environ)
    if group.rank > 0:
        logger.setLevel(logging.CRITICAL)  # the first process speaks for all
    jobs = group.by_first(lambda: _find(args))
    if args.dry_run:
        outcomes = group.by_first(lambda: [plan(job, options) for job in jobs])
    else:
        group.by_first(lambda: remove_leftovers(args.out))
        own = jobs[group.rank :: group.size]
        silent = args.quiet or group.rank > 0 or not sys.stderr.isatty()
        outcomes = group.gathered(list(tqdm(convert_all(own, options, args.jobs), total=len(own), unit="run", disable=silent)))
    place = {job: n for n, job in enumerate(jobs)}
    if group.rank == 0:
        report(sorted(outcomes, key=lambda outcome: place[outcome.job]), dry=args.dry_run)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _find(args: argparse.Namespace) -> list["Job"]:
    """The runs to convert; an error if there are none."""
    from preprocess.discover import find_jobs
    from preprocess.readers import READERS

    jobs = find_jobs(args.raw, args.out, args.code)
    if not jobs:
        codes = ", ".join(READERS) if args.code == "auto" else args.code
        raise DataError(
            f"no run of {codes} in {', '.join(map(str, args.raw))}. OpenMX runs hold a .scfout (written with 'HS.fileout on'), "
            "DeepH folders POSCAR and info.json, legacy ones lat.dat"
        )
    return jobs


def report(outcomes: Sequence["Outcome"], *, dry: bool = False) -> None:
    """Print the table, and how many runs came to what."""
    names = {"ok": "convert" if dry else "ok", "failed": "fail" if dry else "failed", "skipped": "skip" if dry else "skipped"}
    width = max((len(o.job.out.name) for o in outcomes), default=0)
    times = ["" if dry else f"  {o.seconds:7.2f} s" for o in outcomes]
    lines = [f"{names[o.status]:<8}{o.job.out.name:<{width}}{t}  {o.reason}" for o, t in zip(outcomes, times, strict=True)]
    counts = {name: sum(o.status == status for o in outcomes) for status, name in names.items()}
    sys.stdout.write("\n".join([*lines, ", ".join(f"{n} {name}" for name, n in counts.items())]) + "\n")
    traces = [f"{o.job.run}\n{o.trace}" for o in outcomes if o.trace]
    if traces:
        Path("error.log").write_text("\n".join(traces), encoding="utf-8")
        logger.error("%d unexpected errors; details in error.log, please report them", len(traces))


if __name__ == "__main__":
    main()
