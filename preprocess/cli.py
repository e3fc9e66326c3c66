"""The command ``deeph-preprocess``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.errors import DataError, UsageError
from deeph.log import logger

if TYPE_CHECKING:
    from preprocess.pipeline import Outcome

EPILOG = """\
examples:
  deeph-preprocess runs/ data/                    every run below runs/, one structure folder each
  deeph-preprocess runs/ data/ -j 8 --verify bands  eight at a time, against the bands the code printed
  deeph-preprocess data/ legacy/ --format legacy  current DeepH folders to the legacy format

A run that is there already is skipped, so the same command resumes. Under mpirun or srun the processes share the runs.
Exit code 0: all done; 1: at least one failed or nothing was found."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-preprocess``."""
    out = make_parser("deeph-preprocess", "Turn raw DFT output into verified structure folders.", EPILOG)
    out.add_argument("raw", nargs="+", type=Path, metavar="RAW", help="run folder, or folder of run folders")
    out.add_argument("out", type=Path, metavar="OUT", help="folder for the structure folders, named after the runs")
    out.add_argument("--code", default="auto", help="openmx, deeph, legacy, ...; default: recognized from the files")
    out.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="number of runs converted at the same time (default 1)")
    out.add_argument(
        "--verify", choices=("off", "basic", "bands"), default="basic",
        help="basic (default): Hermitian, positive overlap, number of electrons; bands: also the code's own eigenvalues; off: only NaN",
    )  # fmt: skip
    out.add_argument("--format", choices=("deeph", "legacy"), default="deeph", help="format of the structure folders (default deeph)")
    out.add_argument("--positions", action="store_true", help="write the position matrices, too (for optics and Berry quantities)")
    out.add_argument("--overwrite", action="store_true", help="convert again what is there already")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _preprocess, argv)


def _preprocess(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from preprocess.pipeline import Options, convert_all, find_jobs, own_share
    from preprocess.readers import READERS

    if args.jobs < 1:
        raise UsageError(f"-j {args.jobs}: expected at least one run at a time")
    options = Options(args.code, args.verify, args.format, args.positions, args.overwrite)
    jobs = find_jobs(args.raw, args.out, args.code)
    if not jobs:
        codes = ", ".join(READERS) if args.code == "auto" else args.code
        raise DataError(
            f"no run of {codes} in {', '.join(map(str, args.raw))}. OpenMX runs hold a .scfout (written with 'HS.fileout on'), "
            "DeepH folders POSCAR and info.json, legacy ones lat.dat"
        )
    jobs = own_share(jobs, os.environ)
    silent = args.quiet or not sys.stderr.isatty()
    outcomes = list(tqdm(convert_all(jobs, options, args.jobs), total=len(jobs), unit="run", disable=silent))
    place = {job: n for n, job in enumerate(jobs)}
    return _report(sorted(outcomes, key=lambda outcome: place[outcome.job]))


def _report(outcomes: Sequence["Outcome"]) -> int:
    """Print the table, in one piece because processes of mpirun share the screen; 1 if any run failed."""
    width = max((len(o.job.out.name) for o in outcomes), default=0)
    lines = [f"{o.status:<8}{o.job.out.name:<{width}}  {o.seconds:7.2f} s  {o.reason}" for o in outcomes]
    counts = {status: sum(o.status == status for o in outcomes) for status in ("ok", "failed", "skipped")}
    sys.stdout.write("\n".join([*lines, ", ".join(f"{n} {status}" for status, n in counts.items())]) + "\n")
    traces = [f"{o.job.run}\n{o.trace}" for o in outcomes if o.trace]
    if traces:
        Path("error.log").write_text("\n".join(traces), encoding="utf-8")
        logger.error("%d unexpected errors; details in error.log, please report them", len(traces))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    main()
