"""``train.log``: what was on the screen, from the first line to the last, errors and warnings with it."""

import logging
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from deeph.runtime.log import logger

LOG = "train.log"


class RunLog(logging.Handler):
    """Keeps the messages of a ``with`` block, and writes them as soon as it is known where to."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._kept: list[str] = []
        self._file: TextIO | None = None

    def open(self, folder: Path) -> None:
        """Write into a run folder from now on, and what was said before; an older log is continued."""
        if self._file is None:
            self._file = (folder / LOG).open("a", encoding="utf-8")
            self._write("".join(self._kept))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message."""
        self._take(self.format(record))

    def _take(self, text: str) -> None:
        self._kept += [f"{text}\n"] if self._file is None else []
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        if self._file is not None:
            try:
                self._file.write(text)
                self._file.flush()
            except OSError:
                self.handleError(logging.makeLogRecord({"msg": text}))

    def __enter__(self) -> Self:
        logger.addHandler(self)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.showwarning = _show
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._warnings.__exit__(kind, value, trace)
        logger.removeHandler(self)
        if value is not None and not isinstance(value, SystemExit):  # who catches it puts it on the screen
            self._take(self.format(logging.makeLogRecord({"msg": "%s", "args": (f"{value}" or type(value).__name__,)})))
        if self._file is not None:
            self._file.close()


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning of a library is a message like others."""
    logger.warning("%s: %s", category.__name__, message)
