"""Find the runs below some folders, and name what they become."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deeph.runtime.errors import UsageError
from preprocess.readers import candidates, structures_in


class Job(NamedTuple):
    """One run and the folder it becomes."""

    run: Path
    out: Path


def find_jobs(raw: Sequence[Path], out: Path, code: str = "auto") -> list[Job]:
    """All runs at or below some folders, each with its output folder.

    Parameters
    ----------
    raw : sequence of path
        Where to look; hidden folders, folders inside a run, and ``out`` itself are left out.
    out : path
        Outputs are named after the run folders; equal names are told apart by the names of the folders above.
    code : str
        Only look for runs of this code.

    Raises
    ------
    UsageError
        If a folder does not exist or is the output folder.
    """
    for root in raw:
        if root.resolve() == out.resolve():
            raise UsageError(f"{root} is both input and output; choose another output folder")
    runs = find_runs(raw, code, leave_out=out)
    return [Job(run, out / name) for run, name in zip(runs, _output_names(runs), strict=True)]


def find_runs(raw: Sequence[Path], code: str = "auto", leave_out: Path | None = None) -> list[Path]:
    """All run folders at or below some folders, each once even where links lead to it; see :func:`find_jobs`."""
    runs: list[Path] = []
    seen = {_identity(leave_out)} if leave_out is not None and leave_out.exists() else set()
    for root in raw:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; expected a run folder or a folder of run folders")
        for name, below, files in os.walk(root.resolve(), followlinks=True):
            folder = Path(name)
            below[:] = sorted(b for b in below if not b.startswith("."))
            own = _identity(folder)
            if own in seen:  # a link to it came before, or it is the output
                below.clear()
            elif found := candidates(folder, code, [*below, *files]):
                runs.extend(structures_in(folder, found))
                below.clear()
            seen.add(own)
    return runs


def _identity(folder: Path) -> tuple[int, int]:
    """The same for all links to a folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _output_names(runs: list[Path]) -> list[str]:
    """The folder name of each run, lengthened from the front where two are equal."""
    length = [1] * len(runs)
    while True:
        names = ["-".join(run.parts[-n:]) for run, n in zip(runs, length, strict=True)]
        counts = Counter(names)
        clashes = [n for n, name in enumerate(names) if counts[name] > 1 and length[n] < len(runs[n].parts)]
        if not clashes:
            return names
        for n in clashes:
            length[n] += 1


def names_seen(raw: Sequence[Path], number: int = 6) -> str:
    """Some of the files at or below some folders, one of each ending, for a message that no run was found."""
    kinds: dict[str, str] = {}
    for root in raw:
        for _, below, files in os.walk(root):
            below[:] = sorted(b for b in below if not b.startswith("."))
            for file in sorted(files):
                if len(kinds) < number and not file.startswith("."):
                    kinds.setdefault(Path(file).suffix or file, file)
    return ", ".join(kinds.values()) if kinds else "no files"
