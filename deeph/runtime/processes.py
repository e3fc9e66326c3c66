"""Processes that share work: workers of one command, and the processes of mpirun or srun."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from threading import Thread
from typing import Any, TypeVar

from deeph.runtime.errors import DeephError, UsageError
from deeph.runtime.threads import SIZES

T = TypeVar("T")


def end_with_parent() -> None:
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
