"""Threads of BLAS and LAPACK: one for small matrices and for each of several processes, what the user sets before all.

The threads of OpenBLAS and MKL wait for each other by spinning. On a machine that is busy with other work, two threads took 6.8 s instead
of 0.28 s for the levels of 800 orbitals, and 10 ms instead of 0.1 ms for those of 37.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import parent_process
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""With these a user sets the number of threads; nothing here changes it then."""

SHARED = "DEEPH_SHARED_THREADS"
"""Marks the variables above as set by :func:`share_cores`, not by the user."""

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Variables that tell a process how many were started with it, by OpenMPI, by MPICH and its relatives, and by srun."""

LARGE = 1000
"""Number of orbitals from which on several threads are worth it: 1200 take 0.41 s with two instead of 0.67 s."""


def share_cores(n_workers: int) -> None:
    """Let each of several worker processes, which inherit the environment, use its part of the cores; what the user set is kept."""
    if not _set_by_user(os.environ):
        os.environ[SHARED] = "1"
    for name in VARIABLES:
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // n_workers)))


@contextmanager
def blas_threads(n_orbitals: int) -> Iterator[None]:
    """As many threads of BLAS and LAPACK as dense matrices of some size are worth, as long as the ``with`` block runs.

    One thread below ``LARGE``, and always in a worker process or a process of mpirun or srun, where the other cores have their own work.
    Otherwise, and where the user has set a number, what the libraries choose.

    Parameters
    ----------
    n_orbitals : int
        Dimension of the matrices.
    """
    if _set_by_user(os.environ) or not (n_orbitals < LARGE or _is_one_of_many(os.environ)):
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        yield


def _set_by_user(environment: Mapping[str, str]) -> bool:
    return SHARED not in environment and any(name in environment for name in VARIABLES)


def _is_one_of_many(environment: Mapping[str, str]) -> bool:
    """Whether other processes of this command work at the same time."""
    together = (environment[name] for name in SIZES if name in environment)
    return parent_process() is not None or any(size.isdecimal() and int(size) > 1 for size in together)


@lru_cache(maxsize=1)
def _libraries() -> Any:
    """The libraries of numpy and scipy; to look for them takes longer than the levels of a small cell."""
    import scipy.linalg  # noqa: F401 - loads its own library
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
