"""Independent pieces of work on several threads, each a run of bonds: better than several threads for each small product."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # pieces in flight for each thread


def in_order(work: Callable[[T], R], items: Iterable[T], device: torch.device) -> Iterator[R]:
    """Results of independent pieces of work, in their order, so that sums over them do not depend on the threads.

    On a processor and without gradients the pieces are shared by as many threads as torch may use, each with one thread for its products;
    torch has one thread until the last result was taken.

    Parameters
    ----------
    work : callable
        Must change nothing that another piece reads.
    items : iterable
        The pieces.
    device : torch.device
        Where they are computed.
    """
    n = torch.get_num_threads()
    if n == 1 or device.type != "cpu" or torch.is_grad_enabled():
        yield from map(work, items)
        return
    inference = torch.is_inference_mode_enabled()

    def alone(item: T) -> R:
        with torch.inference_mode(inference), torch.no_grad():  # modes belong to a thread
            return work(item)

    pending = deque[Future[R]]()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(alone, item))
                    if len(pending) >= AHEAD * n:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for one in pending:
                    one.cancel()
    finally:
        torch.set_num_threads(n)
