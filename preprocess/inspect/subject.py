"""What a path is: a model file, one structure or run, or a folder of them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from deeph.files.dataset import Dataset
from deeph.files.store import HAMILTONIAN, PREDICTED, is_structure_folder, read_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, DeephError
from preprocess.discover import find_runs
from preprocess.inspect.checkpoint import checkpoint_report, is_checkpoint
from preprocess.inspect.dataset import dataset_report
from preprocess.inspect.report import Check, Report
from preprocess.inspect.structure import structure_report
from preprocess.readers import READERS, recognize, what_is_missing

BEST = "model.safetensors"


def inspect_path(path: Path, code: str = "auto", progress: Callable[[list[Path]], Iterable[Path]] = iter) -> Report:
    """The report on a path; what cannot be read is a report with one bad check.

    Parameters
    ----------
    path : Path
        File or folder.
    code : str
        Name of a reader, or ``auto``.
    progress : callable
        Wraps the list of structures of a dataset while it is gone through.

    Raises
    ------
    DataError
        If there is nothing at the path, or nothing that is known.
    """
    if is_checkpoint(path):
        return _reported(path, "model file", lambda: checkpoint_report(path))
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a model file (.safetensors)")
    runs = find_runs([path], code)
    if len(runs) == 1:
        kind = _kind(runs[0], code)
        return _reported(runs[0], kind, lambda: structure_report(str(runs[0]), kind, read_any(runs[0], code, positions=True)))
    if runs:
        kinds = sorted({_kind(run, code).split(" (")[0] for run in runs})
        return dataset_report(str(path.resolve()), ", ".join(kinds), runs, lambda run: read_any(run, code), progress(runs))
    if (path / BEST).is_file():
        return _reported(path / BEST, "model file", lambda: checkpoint_report(path / BEST))
    nothing = f"no structure folder, no run of {', '.join(READERS)}, and no {BEST}"
    raise DataError(f"{path} holds {what_is_missing(path, [file.name for file in path.iterdir()], code) or nothing}")


def inspect_chosen(chosen: Dataset, progress: Callable[[list[Path]], Iterable[Path]] = iter) -> Report:
    """The report on some structures of a dataset."""
    folders = [chosen.path / name for name in chosen.names]
    kinds = sorted({_kind(folder, "deeph").split(" (")[0] for folder in folders})
    return dataset_report(str(chosen.path), ", ".join(kinds), folders, lambda folder: read_any(folder, "deeph"), progress(folders))


def read_one(path: Path, code: str) -> Hamiltonian:
    """All matrices of the one structure at a path, positions included.

    Raises
    ------
    DataError
        If there is none, or there are several.
    """
    runs = find_runs([path], code) if path.is_dir() else []
    if len(runs) != 1:
        raise DataError(f"{path} holds {len(runs) or 'no'} structures; name the folder of one, or of a run of a DFT code")
    return read_any(runs[0], code, positions=True)


def read_any(folder: Path, code: str, *, positions: bool = False) -> Hamiltonian:
    """A structure folder, also a prediction or an overlap alone, or a run through its reader."""
    if code in ("auto", "deeph") and is_structure_folder(folder):
        return read_folder(folder, extra=True, positions=positions)
    return READERS[recognize(folder, code)[0]].read(folder)


def _kind(folder: Path, code: str) -> str:
    """In words, with the reason."""
    try:
        name, reason = recognize(folder, code)
    except DataError as error:
        return f"unclear ({error})"
    if name == "deeph":
        what = "DFT" if (folder / HAMILTONIAN).is_file() else "prediction" if (folder / PREDICTED).is_file() else "overlap only"
        return f"structure folder, {what} ({reason})"
    return f"{name} run ({reason})"


def _reported(path: Path, kind: str, make: Callable[[], Report]) -> Report:
    """The report, or what kept it from being made."""
    try:
        return make()
    except DeephError as error:
        return Report(str(path), kind, {}, [Check("readable", "bad", " ".join(str(error).split()))])
