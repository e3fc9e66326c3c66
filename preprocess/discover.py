"""Find the runs below some folders, and name what they become."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deeph.runtime.errors import UsageError
from preprocess.readers import candidates, structures_in, what_is_missing


class Job(NamedTuple):
    """One run and the folder it becomes; or a folder that becomes nothing, and why.

    Attributes
    ----------
    run, out : Path
        The run and its output.
    missing : str
        What the folder lacks; empty for a run.
    asked : bool
        Whether ``missing`` is said of a folder that the user named, and that holds no run at all.
    frame : int or None
        Which structure of a file of many, counted from 0.
    """

    run: Path
    out: Path
    missing: str = ""
    asked: bool = False
    frame: int | None = None


class _Found:
    """What a walk through folders has found so far: runs, and what the other folders with files of a code lack."""

    def __init__(self, code: str, leave_out: Path | None) -> None:
        self.code, self.runs, self.missing = code, list[Path](), dict[Path, str]()
        self.out = {_identity(leave_out)} if leave_out is not None and leave_out.exists() else set()
        self.seen = set(self.out)

    def look_below(self, root: Path) -> bool:
        """Add what is at or below a folder; whether there was a run, or a folder that was seen before."""
        number, again = len(self.runs), False
        for name, below, files in os.walk(root.resolve(), followlinks=True):
            folder = Path(name)
            below[:] = sorted(b for b in below if not b.startswith("."))
            own = _identity(folder)
            if own in self.seen:  # a link to it came before, or it is the output
                again |= own not in self.out
                below.clear()
            elif found := candidates(folder, self.code, [*below, *files]):
                self.runs.extend(structures_in(folder, found))
                below.clear()
            elif missing := what_is_missing(folder, files, self.code):
                self.missing[folder] = missing
            self.seen.add(own)
        return again or len(self.runs) > number

    def incomplete(self) -> dict[Path, str]:
        """The folders that lack something, without those that hold others: settings for many runs often lie above them."""
        above = {parent for folder in (*self.runs, *self.missing) for parent in folder.parents}
        return {folder: missing for folder, missing in self.missing.items() if folder not in above}


def find_jobs(raw: Sequence[Path], out: Path, code: str = "auto") -> list[Job]:
    """All runs at or below some folders, each with its output folder, and then the folders that look like a run but lack something.

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
    found = _Found(code, out)
    empty = [root for root in raw if not found.look_below(_folder(root))]
    jobs = [Job(run, out / name) for run, name in zip(found.runs, _output_names(found.runs), strict=True)]
    incomplete = found.incomplete()
    if not jobs and not incomplete:
        return []
    named = [root.resolve() for root in empty]
    for folder, missing in incomplete.items():
        jobs.append(Job(folder, out / folder.name, missing, asked=any(folder.is_relative_to(root) for root in named)))
    bare = [root for root in named if not any(folder.is_relative_to(root) for folder in incomplete)]
    return jobs + [Job(root, out / root.name, f"no run in {root}; seen: {names_seen([root])}", asked=True) for root in bare]


def find_runs(raw: Sequence[Path], code: str = "auto") -> list[Path]:
    """All run folders at or below some folders, each once even where links lead to it; see :func:`find_jobs`."""
    found = _Found(code, None)
    for root in raw:
        found.look_below(_folder(root))
    return found.runs


def _folder(root: Path) -> Path:
    """The same, if it is a folder."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; expected a run folder or a folder of run folders")
    return root


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
