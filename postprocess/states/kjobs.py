"""Work on many k-points: shared among processes and MPI ranks, each result kept until all are there.

Every k-point is computed alone and by the same code, so that the result depends neither on who computes it nor on interruptions.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.files.folders import new_file, remove_leftovers, room_on_disk
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, DeephError
from deeph.runtime.log import logger, telling
from deeph.runtime.processes import Group, end_with_parent
from deeph.runtime.threads import share_cores

Result = dict[str, npt.NDArray[Any]]
"""Named arrays of one k-point."""


class KTask(NamedTuple):
    """One k-point (fractional) of one spin channel."""

    spin: int
    k: tuple[float, float, float]


Work = Callable[[Any], Result]
"""What is done for each task, a :class:`KTask` or a batch of k-points; it is sent to other processes, so it has to be picklable."""


@dataclass(frozen=True)
class Jobs:
    """How the work is shared and where results are kept.

    Attributes
    ----------
    n_workers : int
        Processes of this command (of each MPI rank).
    group : Group
        The processes of mpirun or srun, see :func:`deeph.runtime.processes.find_group`.
    scratch : Path or None
        Folder for the results of single k-points, which an interrupted run leaves behind and the next one of the same work picks up;
        None keeps them in memory.
    together : bool
        All MPI ranks work on each k-point together (SLEPc) and the first one has the result; else each has k-points of its own.
    """

    n_workers: int = 1
    group: Group = field(default_factory=Group)
    scratch: Path | None = None
    together: bool = False

    def finish(self) -> None:
        """Remove the single results, once what was made of them is safe and all MPI ranks have read them (:meth:`Group.wait`)."""
        if self.scratch is not None and self.group.rank == 0:
            shutil.rmtree(self.scratch, ignore_errors=True)

    @contextmanager
    def useful(self) -> Iterator[None]:
        """Where something is made of the finished results of all k-points: if that is impossible, they are removed.

        They would only stand in the way of the other options that the error asks for. All MPI ranks have to come here.
        """
        try:
            yield
        except DeephError:
            self.group.wait()  # others may still read them
            self.finish()
            raise
        self.group.wait()  # nobody removes them before all have read them


class Results(Sequence[Result]):
    """Results in the order of the tasks, read from their files one by one when they are kept there."""

    def __init__(self, order: Sequence[int], memory: dict[int, Result], scratch: Path | None) -> None:
        self._order, self._memory, self._scratch = order, memory, scratch

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: Any) -> Any:
        number = self._order[place]
        if self._scratch is None:
            return self._memory[number]
        with np.load(_part(self._scratch, number)) as file:
            return dict(file)

    def arranged(self, place: npt.NDArray[np.int64]) -> "Results":
        """The same results in another order, some of them several times."""
        return Results([self._order[n] for n in place.ravel().tolist()], self._memory, self._scratch)


def run_tasks(work: Work, tasks: Sequence[Any], jobs: Jobs | None = None, *, identity: str = "", unit: str = "k-points") -> Results:
    """Do the work at all k-points that are not done yet.

    Parameters
    ----------
    work : callable
        ``work(task) -> {name: array}``.
    tasks : sequence of KTask, or of what the work takes
        In the order of the results.
    jobs : Jobs, optional
        By default one process, nothing kept.
    identity : str
        What tells this work from another one in the same scratch folder, see :func:`fingerprint`.
    unit : str
        What the tasks are, for signs of life and errors.

    Returns
    -------
    Results
        In every MPI rank.

    Raises
    ------
    DataError
        If the scratch folder belongs to other work, a process died, or the work raised it.
    """
    jobs = jobs or Jobs()
    group, scratch = jobs.group, jobs.scratch
    left = group.by_first(lambda: _left(len(tasks), scratch, identity, unit))
    own = left if jobs.together else left[group.rank :: group.size]
    memory: dict[int, Result] = {}
    try:
        with group.together():
            memory.update(_computed(work, tasks, own, jobs, unit))
    except DeephError:
        if scratch is not None and not any(scratch.glob("*.npz")):
            jobs.finish()  # nothing is kept that a further call could use
        raise
    if scratch is None:
        memory = dict(group.gathered(list(memory.items())))
    return Results(range(len(tasks)), memory, scratch)


def fingerprint(hamiltonian: Hamiltonian, tasks: Sequence[Any], *options: Any) -> str:
    """A text that differs for other matrices, other k-points, or other options (compared by their ``repr``)."""
    digest = hashlib.sha256(repr((tasks, options)).encode())
    for blocks in (hamiltonian.hamiltonian, hamiltonian.S, hamiltonian.r):
        for array in () if blocks is None else (blocks.pairs, blocks.entries):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _left(n: int, scratch: Path | None, identity: str, unit: str) -> list[int]:
    """What is not done yet; the scratch folder is made if there is none."""
    if scratch is None:
        return list(range(n))
    try:
        with room_on_disk(scratch):
            return _left_in(scratch, n, identity, unit)
    except OSError as error:
        raise DataError(
            f"{scratch}: the folder that keeps finished {unit} beside the output cannot be written: {error.strerror}. Name an output "
            "in a folder where you may write"
        ) from error


def _left_in(scratch: Path, n: int, identity: str, unit: str) -> list[int]:
    """What is not done yet; OSError if the folder cannot be used."""
    mark, same = scratch / "job.json", False
    if scratch.is_dir() and mark.is_file():
        try:
            same = json.loads(mark.read_text(encoding="utf-8")) == {"identity": identity, "n": n}
        except ValueError:
            same = False
        if not same and any(map(_is_whole, scratch.glob("*.npz"))):
            raise DataError(
                f"{scratch} keeps the {unit} of an unfinished computation with other data, another path or other options. Call that "
                "command again to finish it, remove the folder, or name another output"
            )
        remove_leftovers(scratch)
    if not mark.is_file() or not same:  # also where another computation has finished nothing
        scratch.mkdir(exist_ok=True)
        with new_file(mark) as temporary:
            temporary.write_text(json.dumps({"identity": identity, "n": n}), encoding="utf-8")
    left = [number for number in range(n) if not _is_whole(_part(scratch, number))]
    if len(left) < n:
        logger.info("%d of %d %s were computed before; going on with the others", n - len(left), n, unit)
    return left


def _part(scratch: Path, number: int) -> Path:
    return scratch / f"{number:06d}.npz"


def _is_whole(path: Path) -> bool:
    """Whether a result is there and not cut off (by a computer that lost its power)."""
    return path.is_file() and zipfile.is_zipfile(path)


def _computed(work: Work, tasks: Sequence[Any], own: list[int], jobs: Jobs, unit: str) -> Iterator[tuple[int, Result]]:
    """Numbers and results as they are done; kept results are not returned but written."""
    with telling("", len(own), unit) as progress:
        if jobs.n_workers <= 1 or len(own) <= 1:
            for number in own:
                result = work(tasks[number])
                if not jobs.together or jobs.group.rank == 0:
                    yield number, _keep(result, number, jobs.scratch)
                progress.advance()
            return
        share_cores(jobs.n_workers)
        n_workers = min(jobs.n_workers, len(own))
        pool = ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(work,))
        try:
            running: dict[Future[Result], int] = {pool.submit(_work_at, n, tasks[n], jobs.scratch): n for n in own}
            for future in as_completed(running):
                yield running[future], future.result()
                progress.advance()
        except BrokenProcessPool as error:
            raise DataError(
                f"a process that worked on {unit} died, perhaps for want of memory; try it with a smaller -j"
                + (f" (finished {unit} are kept, call the same command again)" if jobs.scratch else "")
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_work_of_process: list[Work] = []
"""What this worker process does; it is sent once, not with each k-point."""


def _start_worker(work: Work) -> None:
    end_with_parent()
    _work_of_process[:] = [work]


def _work_at(number: int, task: Any, scratch: Path | None) -> Result:
    return _keep(_work_of_process[0](task), number, scratch)


def _keep(result: Result, number: int, scratch: Path | None) -> Result:
    """Write a result, complete or not at all; nothing is left to return then."""
    if scratch is None:
        return result
    with new_file(_part(scratch, number)) as temporary, temporary.open("wb") as file:
        np.savez(file, **result)  # type: ignore[arg-type]  # names are arrays, none is called allow_pickle
    return {}
