"""What a factorization will cost, said before it starts."""

import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from deeph.runtime.log import duration, logger

SMALL = 2500
"""Orbitals up to which factorizations take no time worth a line."""
MUCH = 0.7
"""Share of the free memory from which on the user is warned."""


def available_memory() -> float:
    """Bytes that can be used without swapping; infinite where the system does not tell."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return float("inf")


@cache
def multiplication_rate(dtype: str) -> float:
    """Real operations per second of dense products here, the best of three short ones."""
    n = 256
    a = np.random.default_rng(0).random((n, n)).astype(dtype)
    seconds = []
    for _ in range(4):  # the first one wakes the library
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return (8 if np.issubdtype(a.dtype, np.complexfloating) else 2) * n**3 / min(seconds)


def announce(name: str, n: int, dtype: "np.dtype[Any]", memory: float, seconds: float) -> None:
    """Say what each factorization of matrices of one pattern takes; nothing of small ones.

    Parameters
    ----------
    name : str
        The library.
    n : int
        Orbitals.
    dtype : dtype
        Of the matrix.
    memory : float
        Bytes of the factor.
    seconds : float
        Of one factorization, roughly.
    """
    if n <= SMALL:
        return
    free = available_memory()
    logger.info(
        "factor: %.2f GiB, %s each (%s, %d orbitals, %s; %.1f GiB of memory are free)",
        memory / 2**30, duration(seconds), name, n, dtype, free / 2**30,
    )  # fmt: skip
    if memory > MUCH * free:
        logger.warning(
            "the factor needs %.1f of the %.1f GiB of memory that are free; beside other programs this can be too much. Single precision "
            "(--single) needs half",
            memory / 2**30, free / 2**30,
        )  # fmt: skip
