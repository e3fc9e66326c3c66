"""Being asked to stop: by a queue system (SIGTERM, SIGUSR1) or by Ctrl-C (SIGINT)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from deeph.runtime.errors import DeephError

STOPPING = (signal.SIGTERM, signal.SIGINT)
SAVING = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()


class StoppedError(DeephError):
    """The run was asked to stop and has saved its state."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message, number)  # as they are, so that the error can be sent to another process
        self.message, self.exit_code = message, 128 + number

    def __str__(self) -> str:
        return self.message


@contextmanager
def before_the_first_state() -> Iterator[None]:
    """While active, what asks to stop is told (a second time, it acts at once, as usual), and SIGUSR1 changes nothing.

    Raises
    ------
    StoppedError
        At SIGTERM and SIGINT.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, previous[number])
        raise KeyboardInterrupt(number)  # which nothing on the way takes for an error of the data

    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, stop) for number in STOPPING}
        previous |= {number: signal.signal(number, signal.SIG_IGN) for number in SAVING}
    try:
        yield
    except KeyboardInterrupt as asked:
        told = "interrupted before the first state was saved: there is nothing to --resume yet, and the same command starts anew"
        raise StoppedError(told, asked.args[0] if asked.args else signal.SIGINT) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class SignalWatch:
    """While active, signals are only noted; the loop looks at them between two steps.

    Attributes
    ----------
    stop : int
        Number of the signal that asks to save and stop, 0 if none. A second one of its kind acts at once, as usual.
    save : bool
        Whether a saved state was asked for (SIGUSR1); the run goes on.
    """

    def __init__(self) -> None:
        self.stop, self.save = 0, False
        self._previous: dict[signal.Signals, Any] = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in SAVING:
            self.save = True
        else:
            self.stop = number
            signal.signal(number, self._previous[signal.Signals(number)])

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOPPING, *SAVING):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
