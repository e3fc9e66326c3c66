"""The command ``deeph-inspect``."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deeph.cli.common import make_parser, run_command
from deeph.runtime.log import telling

if TYPE_CHECKING:
    from deeph.files.dataset import Dataset
    from preprocess.inspect.report import Report

EPILOG = """\
examples:
  deeph-inspect data/graphene            one structure folder: what it holds, and whether it is sound
  deeph-inspect data/                    a dataset: ranges, block norms, duplicates, outliers
  deeph-inspect runs/graphene            a DFT run, through its reader
  deeph-inspect runs/train/model.safetensors --json
  deeph-inspect data/ --filter "atoms<=50" --filter "elements<=Mo,S,Se"   only a part of a dataset
  deeph-inspect data/ --filter converged=yes --split 0.8 0.1 0.1 --out data/split.json
  deeph-inspect data/GaAs --symmetrize data/GaAs_symmetric                  H, S, r averaged over the symmetry, as a new folder
  deeph-inspect a/ b/ --merge --deduplicate --split 0.8 0.1 0.1 --by composition --out both/

Filters: QUANTITY, one of = != < <= > >=, VALUE. Numbers: atoms orbitals bonds electrons fermi max_H (eV) moment. Words, also
with * and several with commas: name formula spin code converged. Sets: elements=Mo,S these, <= no others, >= at least.
--out FOLDER gets links to the structures (nothing is copied) and split.json; --out FILE.json the split alone.

Verdicts: ok; note (nothing to judge); warning (look at it); bad (do not use it).
Exit code 0: nothing is bad; 1: something is."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``deeph-inspect``."""
    out = make_parser("deeph-inspect", "Say what a structure, dataset, DFT run or model file holds, and whether it is sound.", EPILOG)
    out.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="structure, run, folder of these, or model file")
    out.add_argument("--code", default="auto", help="openmx, deeph, legacy, ...; default: recognized from the files")
    out.add_argument("--json", action="store_true", help="machine-readable, all numbers")
    out.add_argument("--merge", action="store_true", help="all PATHs as one dataset")
    out.add_argument(
        "--filter", action="append", default=[], metavar="CONDITION", help="only structures that fulfil it; several: all of them"
    )
    out.add_argument("--deduplicate", action="store_true", help="only the first of equal structures (turned, shifted, reordered, mirrored)")
    out.add_argument(
        "--split", nargs=3, type=float, metavar=("TRAIN", "VALIDATE", "TEST"), help="fractions to train, validate and test with"
    )
    out.add_argument(
        "--by", choices=("random", "composition"), default="random",
        help="random (default): every formula in all parts; composition: each formula in one part only",
    )  # fmt: skip
    out.add_argument("--seed", type=int, default=0, metavar="N", help="of the split (default 0)")
    out.add_argument("--out", type=Path, metavar="OUT", help="new folder of links to the structures, or FILE.json for the split alone")
    out.add_argument(
        "--symmetrize", type=Path, metavar="NEW", help="new structure folder with H, S and r of PATH averaged over its symmetry"
    )
    return out


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point."""
    arguments = sys.argv[1:] if argv is None else argv

    def body(args: argparse.Namespace) -> int:
        args.command = ["deeph-inspect", *arguments]
        return _inspect(args)

    run_command(parser(), body, arguments)


def _inspect(args: argparse.Namespace) -> int:
    chosen = None
    if args.symmetrize:
        return _symmetrize(args)
    if args.merge or args.filter or args.deduplicate or args.split or args.out:
        from preprocess.cli.selection import chosen_dataset

        chosen = chosen_dataset(args)
        if args.out:
            return 0
    return _report(args, chosen)


def _symmetrize(args: argparse.Namespace) -> int:
    """Write one structure averaged over its group, and say what changed."""
    from deeph.files.store import write_folder
    from deeph.physics.symmetrize import symmetrize
    from deeph.runtime.errors import UsageError
    from preprocess.inspect.subject import read_one

    if len(args.paths) > 1 or args.merge or args.filter or args.deduplicate or args.split or args.out or args.json:
        raise UsageError("--symmetrize takes one structure and its new folder, without the options for datasets and --json")
    if args.symmetrize.exists():
        raise UsageError(f"--symmetrize {args.symmetrize}: that exists; name a new folder")
    with telling(f"averaging {args.paths[0]} over its symmetry"):
        found = symmetrize(read_one(args.paths[0], args.code))
        write_folder(args.symmetrize, found.hamiltonian)
    sys.stdout.write("\n".join([*found.describe(), f"written      {args.symmetrize}"]) + "\n")
    return 0


def _report(args: argparse.Namespace, chosen: "Dataset | None") -> int:
    """The reports on all paths, or on the structures that were chosen."""
    from tqdm import tqdm

    from preprocess.inspect.report import to_json
    from preprocess.inspect.subject import inspect_chosen, inspect_path

    at = [args.paths[0]]

    def progress(folders: list[Path]) -> Iterable[Path]:
        for at[0] in tqdm(folders, unit="structure", leave=False, disable=args.quiet or not sys.stderr.isatty()):
            yield at[0]

    def report_on(path: Path) -> "Report":
        at[0] = path
        return inspect_path(path, args.code, progress)

    with telling(lambda: f"still at {at[0]}"):
        reports = [report_on(path) for path in args.paths] if chosen is None else [inspect_chosen(chosen, progress)]
    text = to_json(reports) if args.json else "\n\n".join(report.to_text() for report in reports)
    sys.stdout.write(text + "\n")
    return 1 if any(report.verdict == "bad" for report in reports) else 0


if __name__ == "__main__":
    main()
