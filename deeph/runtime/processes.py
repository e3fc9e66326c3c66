"""Processes that share work: workers of one command, and the processes that mpirun, srun or torchrun started together.

Whatever carries the messages (mpi4py, or torch.distributed for training), a :class:`Group` offers the same few operations with the same
end: an error in one process ends all of them, with its message.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from threading import Thread
from typing import Any, Protocol, TypeVar

from deeph.runtime.errors import DeephError, UsageError
from deeph.runtime.log import logger
from deeph.runtime.threads import SIZES

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds within which all processes have to end that have the same error."""
_world: list[Any] = []
"""COMM_WORLD of mpi4py, once several processes have found each other."""


def end_with_parent() -> None:
    """Let a worker end when the command is killed; it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        Thread(target=watch, daemon=True).start()


class Communicator(Protocol):
    """How objects travel between the processes of a group, in the words of mpi4py."""

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """The object of one process, in every process."""

    def allgather(self, obj: Any) -> list[Any]:
        """The objects of all processes in the order of their ranks, in every process."""


@dataclass(frozen=True)
class Group:
    """The processes that were started together; one alone by default. All of them have to call the same methods in the same order.

    Attributes
    ----------
    rank, size : int
        Which process this is, of how many.
    communicator : Communicator or None
        None for a single process.
    """

    rank: int = 0
    size: int = 1
    communicator: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def by_first(self, function: Callable[[], T]) -> T:
        """What a function gives in process 0, in every process; an error of it is raised in all of them."""
        if self.communicator is None:
            return function()
        result: tuple[T | None, Exception | None] = (None, None)
        if self.rank == 0:
            try:
                result = (function(), None)
            except Exception as error:  # noqa: BLE001 - the others wait for what comes
                result = (None, error)
        value, known = self.communicator.bcast((result[0], _to_send(result[1], 0)), root=0)
        if known is not None:
            raise known if result[1] is None else result[1]
        return value  # type: ignore[no-any-return]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work of each process alone, without messages; an error in one of them is raised in all of them at the end."""
        error = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 - the others wait for what comes
            error = raised
        self.raise_first(error)

    def raise_first(self, error: Exception | None) -> None:
        """Raise the error of the first process that has one, in every process; one's own unexpected error keeps its traceback."""
        known = [e for e in self.gathered([_to_send(error, self.rank)]) if e is not None]
        if error is not None and (not isinstance(error, DeephError) or known[0] is error):
            raise error
        if known:
            raise known[0] from error

    def gathered(self, values: list[T]) -> list[T]:
        """The values of all processes, in every process."""
        if self.communicator is None:
            return values
        return [value for part in self.communicator.allgather(values) for value in part]

    def wait(self) -> None:
        """Until all processes are here."""
        self.gathered([])

    def maximum(self, values: Sequence[float]) -> list[float]:
        """The largest of each number over all processes, so that all take the same decision."""
        return [max(column) for column in zip(*self.gathered([tuple(values)]), strict=True)]

    def total(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Named sums added over all processes; a process without any share may lack names."""
        everyone = self.gathered([dict(sums)])
        names = dict.fromkeys(name for one in everyone for name in one)
        return {name: sum(one.get(name, 0.0) for one in everyone) for name in names}


def _to_send(error: Exception | None, rank: int) -> DeephError | None:
    """An error as the other processes raise it; unexpected ones may hold what cannot travel."""
    if error is None or isinstance(error, DeephError):
        return error
    return DeephError(f"process {rank} ended with an unexpected {type(error).__name__}: {error}")


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
    _world[:] = [world]
    return Group(world.rank, world.size, world.Dup())  # apart from COMM_WORLD, over which they end


def end_together(code: int, error: str) -> None:
    """At the end of a command, whether it failed or not: wait for the others, but do not let them wait for one that failed alone.

    An error that all processes have brings all of them here at about the same time. One that a single process has is told by it, and it
    ends the others, which would wait for its answers for ever.

    Parameters
    ----------
    code : int
        The exit code of this process.
    error : str
        What went wrong, for those who have only seen the messages of the first process.
    """
    if not _world:
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C has nothing to add here
    (world,) = _world
    all_here, start = world.Ibarrier(), time.monotonic()
    while not all_here.Test():
        if code != 0 and time.monotonic() - start > PATIENCE:
            if error and not logger.isEnabledFor(logging.ERROR):
                logger.critical("%s", error)
            logger.critical("process %d ended with this error alone, and ends the others", world.rank)
            world.Abort(code)
        time.sleep(0.01)
