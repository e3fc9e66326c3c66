"""The structures that ``deeph-infer`` is given, and where their predictions go; found before any model is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deeph.files.store import find_folders, is_structure_folder, read_poscar
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError


@dataclass(frozen=True)
class Job:
    """One structure and its prediction.

    Attributes
    ----------
    given : Path
        Structure folder, or the file of a structure whose overlap is to be computed.
    out : Path
        Folder of the prediction.
    file : object with ``read``, or None
        The structure in the file, as :func:`deeph.facade.find_structures` finds it.
    """

    given: Path
    out: Path
    file: Any = None

    def system(self) -> System:
        """The atoms, in the order of the file."""
        return read_poscar(self.given / "POSCAR") if self.file is None else cast("System", self.file.read().system)


def find_jobs(given: Sequence[Path], out: Path) -> list[Job]:
    """All structures in files and folders: structure folders where a folder has any, else structure files.

    Raises
    ------
    UsageError
        If predictions would be mixed with what is given, or two structures would get the same folder.
    DataError
        If a path is missing, or holds no structure.
    """
    _check_place(given, out)
    jobs, files = [], []
    for path in given:
        folders = _structure_folders(path)
        jobs += [Job(folder, out / folder.resolve().name) for folder in folders]
        files += [] if folders else [path]
    if files:
        from deeph.facade import find_structures

        jobs += [Job(one.path, out / one.name, one) for one in find_structures(files)]
    taken: dict[Path, Job] = {}
    for job in jobs:
        if taken.setdefault(job.out, job) is not job:
            raise UsageError(f"{taken[job.out].given} and {job.given} would both become {job.out}; predict them into different OUT folders")
        if job.out.resolve() in (job.given.resolve(), job.given.resolve().parent):
            raise UsageError(f"the prediction of {job.given} would take its place; choose another OUT than {out}")
    return jobs


def _structure_folders(path: Path) -> list[Path]:
    """The structure folders at or below a folder, none for a file."""
    if not path.exists():
        raise DataError(f"{path} is missing; expected a structure file, a structure folder, or a folder of these")
    try:
        return find_folders(path)
    except DataError:  # a file, or a folder of structure files
        return []


def _check_place(given: Sequence[Path], out: Path) -> None:
    """Predictions get a place of their own, where nothing later takes them for structures that were given."""
    place = out.resolve()
    if out.exists() and not out.is_dir():
        raise UsageError(f"OUT, the last argument, is the file {out}; expected a folder for the predictions")
    if is_structure_folder(out):
        raise UsageError(f"{out} is a structure folder; OUT gets one folder for each structure, so choose one above or beside it")
    for path in given:
        if path.is_dir() and place.is_relative_to(path.resolve()):
            where = "is" if place == path.resolve() else "lies in"
            raise UsageError(f"OUT {out} {where} the folder of structures {path}; choose a place outside, where they are not mixed")
