"""What the commands that do many jobs share: processes of ``-j`` and of mpirun, and a table that is written as it goes."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from deeph.runtime.errors import UsageError
from deeph.runtime.log import logger, telling

if TYPE_CHECKING:
    from preprocess.discover import Job
    from preprocess.pipeline import Outcome

STATUS = {"ok": "ok", "failed": "failed", "skipped": "skipped", "none": "none"}
"""Words of the table."""
DRY = {"ok": "convert", "failed": "fail", "skipped": "skip", "none": "none"}
"""The same where nothing is done."""


def run_jobs(
    find: Callable[[], "Sequence[Job]"], work: "Callable[[Job], Outcome]", n_workers: int, *, quiet: bool, dry: bool = False
) -> int:
    """Do all jobs, shared by worker processes and by the processes of mpirun or srun, and write a row for each one that is done.

    Parameters
    ----------
    find : callable
        Gives the jobs; called by the first process only.
    work : callable
        See :func:`preprocess.parallel.do_all`.
    n_workers : int
        Worker processes of each process.
    quiet : bool
        No progress bar.
    dry : bool
        Nothing is written.

    Returns
    -------
    int
        Exit code: 1 if a job failed, or there was none in a folder that was asked for.

    Raises
    ------
    UsageError
        If the folder of the outputs is itself a structure folder.
    """
    from tqdm import tqdm

    from deeph.files.folders import remove_leftovers
    from deeph.runtime.processes import find_group
    from preprocess.parallel import do_all

    group = find_group(os.environ)
    if group.rank > 0:
        logger.setLevel(logging.CRITICAL)  # the first process speaks for all
    jobs = group.by_first(find)
    outputs = sorted({job.out.parent for job in jobs})
    group.by_first(lambda: _refuse_structures(outputs))
    if not dry:
        group.by_first(lambda: [remove_leftovers(folder) for folder in outputs])
    words, width = DRY if dry else STATUS, max((len(job.out.name) for job in jobs), default=0)
    own = jobs[group.rank :: group.size]
    outcomes: list[Outcome] = []
    silent = quiet or group.rank > 0 or not sys.stderr.isatty()
    waiting = telling(lambda: f"still at work, {len(outcomes)} of {len(own)} done") if silent else nullcontext()
    with group.together(), waiting, tqdm(total=len(own), unit="run", disable=silent) as bar:
        for outcome in do_all(own, work, n_workers):
            bar.clear()
            _write(_row(outcome, words, width, timed=not dry))
            bar.update()
            outcomes.append(outcome)
    everything = group.gathered(outcomes)
    if group.rank == 0:
        counts = Counter[str](outcome.status for outcome in everything)
        _write(", ".join(f"{counts[status]} {word}" for status, word in words.items() if status != "none" or counts[status]))
        _write_traces(everything)
    return 1 if any(outcome.status == "failed" or outcome.job.asked for outcome in everything) else 0


def _refuse_structures(outputs: "Sequence[Path]") -> None:
    """Outputs inside a structure folder would be taken for a part of it, or not be found."""
    from deeph.files.legacy import is_legacy_folder
    from deeph.files.store import is_structure_folder

    for folder in outputs:
        if is_structure_folder(folder) or is_legacy_folder(folder):
            raise UsageError(f"{folder} is itself a structure folder; name the folder above, {folder.absolute().parent}, or another output")


def _row(outcome: "Outcome", words: Mapping[str, str], width: int, *, timed: bool) -> str:
    seconds = f"  {outcome.seconds:7.2f} s" if timed else ""
    return f"{words[outcome.status]:<8}{outcome.job.out.name:<{width}}{seconds}  {outcome.reason}"


def _write(line: str) -> None:
    """One line that is out at once, whatever happens to the command afterwards."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_traces(outcomes: "Sequence[Outcome]") -> None:
    """Tracebacks of unexpected errors, which are no use in a table."""
    traces = [f"{outcome.job.run}\n{outcome.trace}" for outcome in outcomes if outcome.trace]
    if not traces:
        return
    try:
        Path("error.log").write_text("\n".join(traces), encoding="utf-8")
    except OSError:
        logger.error("%d unexpected errors, please report them:\n%s", len(traces), "\n".join(traces))
    else:
        logger.error("%d unexpected errors; details in error.log, please report them", len(traces))
