"""Convert many runs: with several worker processes, and with several processes of mpirun or srun.

Every run is converted alone and by the same code, so that the result does not depend on who converts it.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

from deeph.files.folders import remove_leftovers
from deeph.runtime.processes import end_with_parent
from deeph.runtime.threads import share_cores
from preprocess.discover import Job
from preprocess.pipeline import Options, Outcome, convert


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
    share_cores(n_workers)
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
    pool = ProcessPoolExecutor(min(n_workers, len(waiting)), mp_context=get_context("spawn"), initializer=end_with_parent)
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
