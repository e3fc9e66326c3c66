"""Folders that appear complete or not at all, whatever ends the program that writes them."""

import errno
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deeph.runtime.errors import DataError, UsageError

PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room: a full disk, a quota, a limit on the size of files."""

TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
"""What it says of a folder that is to get a name which another folder or file has."""

KEPT = "{} exists already and is kept; choose another output"
REPLACE = ", or replace it: --overwrite (from Python overwrite=True)"
"""The message of a FolderExistsError, whether the folder was there at the beginning or came from another program in the meantime."""


class FolderExistsError(DataError):
    """The folder to be written is there already, or came while it was computed; it was not touched."""


class FullDiskError(DataError):
    """There is no room for what was to be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # as they are, so that the error can be sent to another process
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} cannot be written: {self.reason}. Make room, or choose an output on another disk"


@contextmanager
def new_folder(folder: str | Path, *, overwrite: bool | None = None) -> Iterator[Path]:
    """A temporary folder to write into, which gets its name only if the ``with`` block ends without an error.

    Several programs may make the same folder at the same time: the first one that is done gives it its name. A program that is killed
    leaves a hidden ``.name.host.process.part`` behind; see :func:`remove_leftovers`.

    Parameters
    ----------
    folder : path
        Final name; folders above it are made.
    overwrite : bool, optional
        Replace what has this name, once the new folder is complete; None if the caller leaves no choice, so that nobody is told of it.

    Raises
    ------
    FolderExistsError
        If the folder exists, at the beginning or at the end, and may not be replaced.
    FullDiskError
        If the disk is full.
    DataError
        If a folder cannot be made there for another reason.
    """
    folder = Path(folder)
    if _is_there(folder) and not overwrite:
        raise FolderExistsError(KEPT.format(folder) + REPLACE * (overwrite is not None))
    temporary = folder.with_name(f".{folder.name}.{_host()}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with room_on_disk(folder):
            _make(temporary, folder)
            yield temporary
        if overwrite:
            _replace(temporary, folder)
        else:
            _name(temporary, folder, REPLACE * (overwrite is not None))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(temporary: Path, folder: Path) -> None:
    """Make a temporary folder; what keeps it from being made is said of the folder that it becomes."""
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        if error.errno in PLACES:
            raise
        raise DataError(f"{folder} cannot be made: {os.strerror(error.errno or 0)}. Choose an output where you may write") from error


@contextmanager
def room_on_disk(path: Path) -> Iterator[None]:
    """Say which output found no room, instead of the words of the system or of a library.

    Raises
    ------
    FullDiskError
        For an OSError that says that the disk is full, and for a FullDiskError of a temporary name; other errors pass.
    """
    try:
        yield
    except FullDiskError as error:
        raise FullDiskError(path, error.reason) from error
    except OSError as error:
        if error.errno not in PLACES:
            raise
        raise FullDiskError(path, os.strerror(error.errno)) from error


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary file to write, which gets its name only if the ``with`` block ends without an error, in place of an older one.

    It lies in a temporary folder beside the file and has the same name there, because many writers judge by the suffix.

    Raises
    ------
    UsageError
        If there is no folder for the file.
    FullDiskError
        If the disk is full.
    DataError
        If the file cannot be written for another reason.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.absolute().parent} does not exist")
    beside = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.part")
    try:
        with room_on_disk(path):
            beside.mkdir(exist_ok=True)
            yield beside / path.name
            (beside / path.name).replace(path)
    except OSError as error:
        raise DataError(f"{path} could not be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_there(path: Path) -> bool:
    """Whether anything has this name, also a link to nowhere."""
    return path.exists() or path.is_symlink()


def _name(temporary: Path, folder: Path, instead: str) -> None:
    """Give a finished folder its name, unless another program was faster: the system refuses to rename onto a folder with files."""
    try:
        if folder.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        raise FolderExistsError(KEPT.format(folder) + instead) from error


def _replace(temporary: Path, folder: Path) -> None:
    """Give a finished folder its name in place of what has it now.

    Removing takes time, in which a killed program would leave half of the old one under its name: it is renamed before.
    """
    old = temporary.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    while True:
        try:
            with suppress(FileNotFoundError):
                folder.rename(old)
            _name(temporary, folder, REPLACE)
        except FolderExistsError:  # that of another program, which replaces it as well
            _remove(old)
        except BaseException:
            if _is_there(old) and not _is_there(folder):
                old.rename(folder)
            raise
        else:
            _remove(old)
            return


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove what killed programs of this machine left unfinished in a folder; what they were about to replace gets its name back.

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
    for path in sorted([*parent.glob(".*.part"), *parent.glob(".*.old")]):
        match = re.fullmatch(r"\.(.+)\.([^.]+)\.(\d+)\.(part|old)", path.name)
        if match is None or match[2] != _host() or _is_running(int(match[3])):
            continue
        name = path.with_name(match[1])
        if match[4] == "old" and not _is_there(name):
            path.rename(name)
        else:
            _remove(path)
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
