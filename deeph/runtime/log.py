"""Logging: one logger for the three packages; commands choose the level. Long work says what it does, and how far it is."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, RLock, Thread

logger = logging.getLogger("deeph")
SILENCE = 4.0
"""Seconds without a line after which a command says what it is doing: nobody has to wait five for the first sign of life."""
SPARSER, LONGEST = 1 / 3, 10.0
"""Later lines come after this part of the time that has passed, but these seconds at most: 4, 8, 12, 16, 21, 28, 38, 48, ..."""
REDRAWN = 0.5
"""Seconds between two pictures of the bar on a terminal."""
BAR = 20
"""Characters."""


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # logging is generic for the type checker only
    """Lines on a stream; on a terminal the bar gives way to them."""

    def emit(self, record: logging.LogRecord) -> None:
        with _told.lock:
            self.draw("")
            super().emit(record)

    @property
    def on_terminal(self) -> bool:
        """Whether the stream is open and somebody looks at it."""
        return not self.stream.closed and self.stream.isatty()

    def draw(self, text: str) -> None:
        """Replace the last line of a terminal; nothing happens elsewhere."""
        if self.on_terminal and (text or _told.drawn):
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r{text[:width]:<{width}}\r")
            self.stream.flush()
            _told.drawn = bool(text)


def setup_logging(verbosity: int) -> None:
    """Send messages to stderr.

    Parameters
    ----------
    verbosity : int
        -1 shows warnings only, 0 the normal messages, 1 or more debugging messages.
    """
    level = {-1: logging.WARNING, 0: logging.INFO}.get(max(-1, min(verbosity, 1)), logging.DEBUG)
    handler = _Handler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if level > logging.DEBUG else "%(asctime)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class Progress:
    """A piece of long work that is under way, see :func:`telling`.

    Attributes
    ----------
    done : float
        Of the whole.
    """

    def __init__(self, text: str | Callable[[], str], total: float | None, unit: str, expected: float | None) -> None:
        self._text, self._total, self._unit, self._expected = text, total, unit, expected
        self.done, self.start = 0.0, time.monotonic()
        self._reached, self._longest = self.start, 0.0

    def advance(self, n: float = 1) -> None:
        """So much more is done."""
        now = time.monotonic()
        self._longest, self._reached = max(self._longest, now - self._reached), now
        self.done += n

    @property
    def share(self) -> float | None:
        """The part that is done; None where nobody counts, or where there is but one thing to do."""
        return min(1.0, self.done / self._total) if self._total and self._total > 1 else None

    def describe(self) -> str:
        """What is done, how far it is, and how long it will take."""
        text, passed, share = self._text if isinstance(self._text, str) else self._text(), time.monotonic() - self.start, self.share
        if share is None:
            return text + ("" if self._expected is None else _of_expected(passed, self._expected))
        counted = f"{self.done:.0f} of {self._total:.0f} {self._unit} are done" if (self._total or 0) < 1000 else ""
        counted = counted or f"{share:.0%} of the {self._unit}"
        return f"{text}: {counted}{self._left(share)}" if text else counted + self._left(share)

    def _left(self, share: float) -> str:
        """From what was done when something was done last: it falls meanwhile, and nobody knows what takes longer than all before it."""
        since = time.monotonic() - self._reached
        if not share or since > max(self._longest, 1.0):
            return ""
        return f", {duration((self._reached - self.start) * (1 / share - 1) - since)} left"


def _of_expected(passed: float, expected: float) -> str:
    late = passed > 1.5 * max(expected, 1.0)
    return (
        f", {passed:.0f} s so far, {duration(expected)} of processor time expected" if late else f", {passed:.0f} s of {duration(expected)}"
    )


def duration(seconds: float) -> str:
    """A rough time in words."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {max(seconds, 1.0):.0f} s"


@contextmanager
def telling(
    text: str | Callable[[], str], total: float | None = None, unit: str = "steps", *, expected: float | None = None
) -> Iterator[Progress]:
    """Say what is done while something long runs, so that nobody takes it for dead; nothing is said about what ends soon.

    A line whenever :data:`SILENCE` seconds have passed without one, later fewer (:data:`SPARSER`), or a bar where stderr is a terminal. A
    line that says nothing new tells the seconds. Pieces of work may hold others:
    "3 of 60 k-points are done, about 10 minutes left; factoring, 12 s of about 40 s". Worker processes, and all MPI ranks but the first,
    say nothing.

    Parameters
    ----------
    text : str or callable
        What is done, or what tells it.
    total : float, optional
        How much there is to do, if it is counted by :meth:`Progress.advance`.
    unit : str
        What is counted.
    expected : float, optional
        Seconds that it may take, where nothing can be counted.

    Notes
    -----
    The lines come from a thread, so work that holds the lock of the interpreter for long keeps it silent: PARDISO, SuperLU, numpy and HDF5
    let it go, the dense eigensolvers of ``scipy.linalg`` do not (hence :mod:`deeph.physics.lapack`).
    """
    progress = Progress(text, total, unit, expected)
    with _told.lock:
        _told.pieces.append(progress)
        outermost = len(_told.pieces) == 1 and logger.isEnabledFor(logging.INFO)
    ended = Event()
    thread = Thread(target=_told.run, args=(ended,), daemon=True)
    if outermost:
        thread.start()
    try:
        yield progress
    finally:
        ended.set()
        with _told.lock:
            _told.pieces.remove(progress)
        if outermost:
            thread.join()


class _Told:
    """What is under way, and when something was said last."""

    def __init__(self) -> None:
        self.pieces: list[Progress] = []
        self.lock = RLock()
        self.last = time.monotonic()
        self.drawn = False

    def note(self, _record: logging.LogRecord) -> bool:
        """A line was said."""
        self.last = time.monotonic()
        return True

    def run(self, ended: Event) -> None:
        """The thread."""
        terminal = next((h for h in logger.handlers if isinstance(h, _Handler) and h.on_terminal), None)
        start, before = time.monotonic(), ""
        while True:
            silence = max(SILENCE, min(SPARSER * (time.monotonic() - start), LONGEST))
            silent_until = max(self.last + silence, start + SILENCE / 4)
            if ended.wait(REDRAWN if terminal else max(silent_until - time.monotonic(), 1e-3)):
                break
            with self.lock:
                pieces = list(self.pieces)
                if terminal is not None and pieces and time.monotonic() > start + SILENCE / 4:
                    terminal.draw(f"{_bar(pieces[0])}{_line(pieces)}, {time.monotonic() - start:.0f} s")
                elif terminal is None and pieces and time.monotonic() >= max(self.last + silence, start + SILENCE / 4):
                    line = _line(pieces)
                    logger.info("%s", f"{line}, {time.monotonic() - start:.0f} s so far" if line == before else line)
                    before = line
        if terminal is not None:
            with self.lock:
                terminal.draw("")


def _line(pieces: list[Progress]) -> str:
    return "; ".join(text for piece in pieces if (text := piece.describe())) or "at work"


def _bar(piece: Progress) -> str:
    if piece.share is None:
        return ""
    full = round(BAR * piece.share)
    return f"|{'#' * full}{'-' * (BAR - full)}| "


_told = _Told()
logger.addFilter(_told.note)
