"""How far a command is, and how long it will take: a bar on a terminal, lines in a file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import INFO
from shutil import get_terminal_size
from threading import Event, Thread

from deeph.runtime.log import logger

EVERY = 2.0
"""Seconds between two signs of life; from the last one of a piece of work to the first one of the next it may be twice as long."""


def in_words(seconds: float) -> str:
    """A time span such as ``8 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress(text: str) -> Iterator[Callable[[float], None]]:
    """Show how much of some work is done, with the time left.

    Parameters
    ----------
    text : str
        What is being done.

    Yields
    ------
    callable
        To be called with the share of each piece in the whole work when it is done.
    """
    from tqdm import tqdm

    start, share, ended = time.monotonic(), 0.0, Event()
    first = (start, 0.0)  # when the first piece was done, and its share: what came before says nothing about the rest
    columns, lines = get_terminal_size()  # also of terminals that do not know their size, where tqdm would show nothing
    bar = tqdm(
        total=1.0,
        desc=text,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left",
        ncols=min(100, columns),
        nrows=lines,
        leave=False,
        disable=not (sys.stderr.isatty() and logger.isEnabledFor(INFO)),
    )

    def tell() -> None:
        while not ended.wait(EVERY):
            if bar.disable and share > first[1]:
                left = (time.monotonic() - first[0]) * (1 - share) / (share - first[1])
                logger.info("%s: %.0f %%, %s left", text, 100 * share, in_words(left))
            elif bar.disable:
                logger.info("%s: preparing, %s", text, in_words(time.monotonic() - start))
            else:
                bar.refresh()

    def done(more: float) -> None:
        nonlocal share, first
        share += more
        first = first if first[1] else (time.monotonic(), share)
        bar.update(more)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
        bar.close()
