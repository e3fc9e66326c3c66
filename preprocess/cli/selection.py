"""What ``deeph-inspect`` chooses of datasets: merged, filtered, without duplicates, split, and linked to in a new folder."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Iterable

from deeph.files.dataset import Dataset, open_dataset
from deeph.files.split import PARTS, Split
from deeph.runtime.errors import UsageError
from deeph.runtime.log import telling
from deeph.runtime.version import VERSION

SHOWN = 6
"""Formulas of a part that are listed."""


def chosen_dataset(args: argparse.Namespace) -> Dataset:
    """Do what the options ask for, one after the other, with a line for each.

    Raises
    ------
    UsageError
        If the options contradict each other.
    DataError
        If nothing is left, or the output exists.
    """
    _check(args)
    dataset, *others = [open_dataset(path) for path in args.paths]
    if others:
        dataset = dataset.merge(*others)
        _tell("merged", f"{len(args.paths)} folders: {len(dataset)} structures")
    for text in args.filter:
        with telling(f"still filtering {len(dataset)} structures by {text}"):
            left = dataset.filter(text)
        _tell(text, f"{len(left)} of {len(dataset)} structures")
        dataset = left
    if args.deduplicate:
        dataset = _deduplicated(dataset)
    split = None
    if args.split:
        first, second, third = args.split
        split = dataset.split((first, second, third), args.seed, args.by)
        _tell("split", f"by {args.by}, seed {args.seed}")
        for part in PARTS:
            _tell(f"  {part}", _formulas(dataset, getattr(split, part)))
    if args.out:
        _write(args, dataset, split)
    return dataset


def _check(args: argparse.Namespace) -> None:
    single = args.out is not None and args.out.suffix == ".json"
    if len(args.paths) > 1 and not args.merge:
        raise UsageError(f"{len(args.paths)} folders: --merge makes one dataset of them")
    if args.split and not args.out:
        raise UsageError("--split needs --out: a new folder, or a file such as split.json")
    if single and not args.split:
        raise UsageError(f"--out {args.out}: such a file holds a split, give --split; or name a folder")
    if single and len(args.paths) > 1:
        raise UsageError(f"--out {args.out}: folders that are merged need a folder for --out")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: expected 0 or more")


def _deduplicated(dataset: Dataset) -> Dataset:
    with telling(f"still comparing {len(dataset)} structures"):
        twice, different = dataset.duplicates()
    examples = ", ".join(f"{name} = {first}" for name, first in list(twice.items())[:SHOWN])
    _tell("duplicates", f"{len(twice)} left out{f': {examples}' if twice else ''}{', ...' if len(twice) > SHOWN else ''}")
    for first, second in different:
        _tell("", f"{first} and {second} are the same structure with other matrices: both kept")
    return dataset.subset([name for name in dataset.names if name not in twice])


def _formulas(dataset: Dataset, names: Iterable[str]) -> str:
    """How many structures, and of which formulas."""
    counts = Counter(entry.system.reduced_formula for entry in dataset.subset(list(names)).entries())
    listed = ", ".join(f"{n} {formula}" for formula, n in counts.most_common(SHOWN))
    more = f", and {len(counts) - SHOWN} other formulas" if len(counts) > SHOWN else ""
    return f"{counts.total()}{f': {listed}{more}' if counts else ''}"


def _write(args: argparse.Namespace, dataset: Dataset, split: Split | None) -> None:
    if split is not None and args.out.suffix == ".json":
        split.save(args.out)
        _tell("written", f"{args.out}; in the settings of deeph-train: data.path = {str(dataset.path)!r}, data.split = {str(args.out)!r}")
        return
    record = {
        "version": VERSION,
        "command": shlex.join(args.command),
        "from": [str(path) for path in args.paths],
        "structures": len(dataset),
    }
    dataset.link(args.out, split, record)
    _tell("written", f"{args.out}: {len(dataset)} links{'' if split is None else ' and split.json'}; data.path = {str(args.out)!r}")


def _tell(what: str, text: str) -> None:
    sys.stdout.write(f"{what:<14} {text}\n")
    sys.stdout.flush()
