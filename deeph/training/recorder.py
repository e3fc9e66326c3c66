"""What a run leaves behind besides the model: config.toml, versions.json, metrics.csv and its curves."""

import csv
import io
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deeph.config import Config
from deeph.files.config_file import to_toml
from deeph.files.folders import new_file, room_on_disk
from deeph.runtime.errors import UsageError
from deeph.runtime.version import VERSION
from deeph.training.curves import METRICS, Curves

LIBRARIES = ("torch", "torch_geometric", "e3nn", "numpy", "safetensors")


class Recorder:
    """Files of a run folder, written by the main process only.

    Parameters
    ----------
    folder : Path
        The run folder; must exist.
    config : Config
        Written as ``config.toml``, with absolute paths.
    step : int
        Rows of an existing ``metrics.csv`` of later steps are removed.
    device : str
        For ``versions.json``.
    """

    def __init__(self, folder: Path, config: Config, step: int, device: str) -> None:
        self.folder, self.config = folder, config
        write_text(folder / "config.toml", to_toml(config))
        versions = {"deeph": VERSION, "python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
        write_text(folder / "versions.json", json.dumps({**versions, "platform": platform.platform(), "device": device}, indent=1) + "\n")
        self._columns = keep_rows(folder / METRICS, step)
        self._board = _tensorboard(folder) if config.train.tensorboard else None
        self._curves = Curves(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._board is not None:
            self._board.close()

    def row(self, values: Mapping[str, float]) -> None:
        """Append a line to ``metrics.csv`` in one write; columns that a later stage brings are empty in the rows before it."""
        path = self.folder / METRICS
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        if self._columns is None:
            self._columns = list(values)
            writer.writerow(self._columns)
        elif new := [name for name in values if name not in self._columns]:
            self._columns = add_columns(path, new)
        writer.writerow([_number(values.get(name)) for name in self._columns])
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with room_on_disk(path):
                os.write(descriptor, line.getvalue().encode())
        finally:
            os.close(descriptor)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, int(values["step"]))
        self._curves.update()

    def draw(self) -> None:
        """The curves as they are now."""
        if (self.folder / METRICS).is_file():
            self._curves.update(now=True)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.8g}"


def keep_rows(path: Path, step: int) -> list[str] | None:
    """Drop the rows after a step, and a last line that was cut off; return the columns, None if there is no table."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if step == 0 or not rows or "step" not in rows[0]:
        path.unlink()
        return None
    column = rows[0].index("step")
    kept = [row for row in rows[1:] if len(row) == len(rows[0]) and int(row[column]) <= step]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([rows[0], *kept])
    write_text(path, text.getvalue())
    return rows[0]


def add_columns(path: Path, names: list[str]) -> list[str]:
    """Append empty columns to a table; returns all of them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    text, columns = io.StringIO(), [*rows[0], *names]
    csv.writer(text, lineterminator="\n").writerows([columns, *(row + [""] * len(names) for row in rows[1:])])
    write_text(path, text.getvalue())
    return columns


def write_text(path: Path, text: str) -> None:
    """Write a file; it appears complete or not at all."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("train.tensorboard is on, but the package tensorboard is not installed: pip install tensorboard") from None
    return SummaryWriter(str(folder / "tensorboard"))
