"""Logging: one logger for the three packages; commands choose the level."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

logger = logging.getLogger("deeph")
SILENCE = 10.0
"""Seconds after which a command says what it is doing."""


def setup_logging(verbosity: int) -> None:
    """Send messages to stderr.

    Parameters
    ----------
    verbosity : int
        -1 shows warnings only, 0 the normal messages, 1 or more debugging messages.
    """
    level = {-1: logging.WARNING, 0: logging.INFO}.get(max(-1, min(verbosity, 1)), logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if level > logging.DEBUG else "%(asctime)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


@contextmanager
def telling(text: str | Callable[[], str], every: float | None = None) -> Iterator[None]:
    """Log a line again and again while something long runs, so that nobody takes it for dead.

    Parameters
    ----------
    text : str or callable
        The line, or what gives it.
    every : float, optional
        Seconds between lines, :data:`SILENCE` by default; nothing is said about what ends earlier.
    """
    ended = Event()

    def tell() -> None:
        while not ended.wait(SILENCE if every is None else every):
            logger.info("%s", text if isinstance(text, str) else text())

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
