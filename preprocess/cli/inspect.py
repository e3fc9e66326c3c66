"""The command ``deeph-inspect``."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.log import telling

if TYPE_CHECKING:
    from preprocess.inspect.report import Report

EPILOG = """\
examples:
  deeph-inspect data/graphene            one structure folder: what it holds, and whether it is sound
  deeph-inspect data/                    a dataset: ranges, block norms, duplicates, outliers
  deeph-inspect runs/graphene            a DFT run, through its reader
  deeph-inspect runs/train/model.safetensors --json

Verdicts: ok; note (nothing to judge); warning (look at it); bad (do not use it).
Exit code 0: nothing is bad; 1: something is."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-inspect``."""
    out = make_parser("deeph-inspect", "Say what a structure, dataset, DFT run or model file holds, and whether it is sound.", EPILOG)
    out.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="structure, run, folder of these, or model file")
    out.add_argument("--code", default="auto", help="openmx, deeph, legacy, ...; default: recognized from the files")
    out.add_argument("--json", action="store_true", help="machine-readable, all numbers")
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    run_command(parser(), _inspect, argv)


def _inspect(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from preprocess.inspect.report import to_json
    from preprocess.inspect.subject import inspect_path

    at = [args.paths[0]]

    def progress(folders: list[Path]) -> Iterable[Path]:
        for at[0] in tqdm(folders, unit="structure", leave=False, disable=args.quiet or not sys.stderr.isatty()):
            yield at[0]

    def report_on(path: Path) -> "Report":
        at[0] = path
        return inspect_path(path, args.code, progress)

    with telling(lambda: f"still at {at[0]}"):
        reports = [report_on(path) for path in args.paths]
    text = to_json(reports) if args.json else "\n\n".join(report.to_text() for report in reports)
    sys.stdout.write(text + "\n")
    return 1 if any(report.verdict == "bad" for report in reports) else 0


if __name__ == "__main__":
    main()
