"""Convert many runs: with several worker processes, and with several processes of mpirun or srun.

Every run is converted alone and by the same code, so that the result does not depend on who converts it.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from deeph.errors import DeephError, UsageError
from deeph.folders import remove_leftovers
from preprocess.discover import Job
from preprocess.pipeline import Options, Outcome, convert

T = TypeVar("T")
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Variables that tell a process how many were started with it, by OpenMPI, by MPICH and its relatives, and by srun."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def convert_all(jobs: Sequence[Job], options: Options, n_workers: int = 1) -> Iterator[Outcome]:
    """Convert in parallel; see :func:`do_all`."""
    yield from do_all(jobs, partial(convert, options=options), n_workers)


def do_all(jobs: Sequence[Job], work: Callable[[Job], Outcome], n_workers: int = 1) -> Iterator[Outcome]:
    """Do jobs in parallel; outcomes come as they are done. Memory is that of ``n_workers`` structures.

    ``work`` does one job, never raises, and can be sent to another process. A worker that dies (out of memory) takes down the others:
    the runs in work are then tried again one by one, so that only the guilty one fails, and the rest is done by new workers.
    """
    if n_workers <= 1 or len(jobs) <= 1:
        yield from (work(job) for job in jobs)
        return
    for name in THREADS:
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // n_workers)))  # inherited by the workers, which share the cores
    waiting = deque(jobs)
    while waiting:
        unfinished = yield from _do_in_pool(waiting, work, n_workers)
        for job in unfinished:
            remove_leftovers(job.out.parent)
            if (yield from _do_in_pool(deque([job]), work, 1)):
                reason = "the process that worked on it died, perhaps for want of memory; try it with more memory or a smaller -j"
                yield Outcome(job, "failed", reason, 0.0)


def _do_in_pool(waiting: deque[Job], work: Callable[[Job], Outcome], n_workers: int) -> Generator[Outcome, None, list[Job]]:
    """Take jobs from the front and do them; ends early if a worker dies, and returns the jobs that were then in work."""
    pool = ProcessPoolExecutor(min(n_workers, len(waiting)), mp_context=get_context("spawn"), initializer=_end_with_parent)
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_workers:
                running[pool.submit(work, waiting[0])] = waiting[0]
                waiting.popleft()
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in [f for f in done if not isinstance(f.exception(), BrokenProcessPool)]:
                del running[future]
                yield future.result()
            if any(future in running for future in done):
                break
    except BrokenProcessPool:  # noticed when handing out the next job
        pass
    finally:
        pool.shutdown(cancel_futures=True)
    return list(running.values())


def _end_with_parent() -> None:
    """Let a worker end when the command is killed; it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Group:
    """The processes that mpirun or srun started together; one alone by default.

    Attributes
    ----------
    rank, size : int
        Which process this is, of how many.
    communicator : mpi4py communicator or None
        None for a single process.
    """

    rank: int = 0
    size: int = 1
    communicator: Any = None

    def by_first(self, function: Callable[[], T]) -> T:
        """What a function gives in process 0, in every process; an expected error of it is raised in all of them."""
        result: tuple[T | None, DeephError | None] = (None, None)
        if self.rank == 0:
            try:
                result = (function(), None)
            except DeephError as error:
                result = (None, error)
        if self.communicator is not None:
            result = self.communicator.bcast(result, root=0)
        if result[1] is not None:
            raise result[1]
        return result[0]  # type: ignore[return-value]  # set where there is no error

    def gathered(self, values: list[T]) -> list[T]:
        """The values of all processes, in every process."""
        if self.communicator is None:
            return values
        return [value for part in self.communicator.allgather(values) for value in part]


def find_group(environment: Mapping[str, str]) -> Group:
    """The processes started together, through mpi4py.

    Raises
    ------
    UsageError
        If several were started but cannot talk to each other: each would convert everything.
    """
    size = next((int(environment[name]) for name in SIZES if name in environment), 1)
    if size <= 1:
        return Group()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"{size} processes were started together, which needs mpi4py ({error}); install it with 'pip install mpi4py', or start one "
            "process with -j N"
        ) from error
    world = MPI.COMM_WORLD
    if world.size != size:
        raise UsageError(
            f"{size} processes were started, but mpi4py sees {world.size}: it was built for another MPI library than that of mpirun or "
            "srun. Use the mpirun that belongs to it, or one process with -j N"
        )
    return Group(world.rank, world.size, world)
