"""Folders that appear complete or not at all, whatever ends the program that writes them."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeph.runtime.errors import DataError


@contextmanager
def new_folder(folder: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to write into, which gets its name only if the ``with`` block ends without an error.

    A program that is killed leaves a hidden ``.name.host.process.part`` behind; see :func:`remove_leftovers`.

    Raises
    ------
    DataError
        If the folder exists and may not be replaced.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} exists already; remove it or choose another output")
    temporary, old = (folder.with_name(f".{folder.name}{kind}.{_host()}.{os.getpid()}.part") for kind in ("", ".old"))
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)  # removing takes time, in which a killed program would leave half of it under its name
        temporary.rename(folder)
    finally:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove what killed programs of this machine left unfinished in a folder.

    Parameters
    ----------
    parent : Path
        Where the finished folders are. Programs that still run, and those of other machines that share the disk, keep theirs.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for path in sorted(parent.glob(".*.part")):
        match = re.fullmatch(r"\..+\.([^.]+)\.(\d+)\.part", path.name)
        if match and match[1] == _host() and not _is_running(int(match[2])):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _host() -> str:
    """Name of this machine without dots."""
    return platform.node().split(".")[0] or "localhost"


def _is_running(process: int) -> bool:
    """Whether another process of that number exists; this one has nothing unfinished when it asks."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists, of another user
        return True
    try:  # a killed process whose parent has not taken note of it still has its number, in containers for long
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):  # not Linux
        return True
