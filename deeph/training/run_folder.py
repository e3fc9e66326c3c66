"""The files of a run folder, and what can be said of runs before torch is loaded, which takes some seconds."""

from collections.abc import Sequence
from pathlib import Path

from deeph.files.dataset import Dataset, open_dataset
from deeph.files.split import Split
from deeph.files.split_file import read_split
from deeph.runtime.errors import DataError, ModelError, UsageError
from deeph.training.data import split_of

BEST, LAST, STATE = "model.safetensors", "last.safetensors", "resume.safetensors"
FIRST = "first_stage.safetensors"
"""The best model before the band stage."""
CONFIG = "config.toml"
"""All settings of the run."""


def model_file(path: str | Path) -> Path:
    """The file of a model, which is given by itself or as the folder of its run."""
    path = Path(path)
    return path / BEST if path.is_dir() else path


def check_folder(out: Path, *, resume: bool) -> None:
    """The run folder is free, or holds the run that is to be resumed.

    Raises
    ------
    DataError
        If there is nothing to resume.
    UsageError
        If it holds a run, or is no folder.
    """
    if resume and not (out / STATE).is_file():
        raise DataError(f"{out} holds no saved state ({STATE}); start without --resume")
    if not resume and (out / STATE).is_file():
        raise UsageError(f"{out} holds a run already; continue it with --resume, or choose another --out")
    if any(place.exists() and not place.is_dir() for place in (out, *out.parents)):
        raise UsageError(f"{out} cannot be a run folder: it, or what it would be in, is a file; choose another --out")


def check_runs(runs: Sequence[Path], out: Path) -> None:
    """Some runs may be one ensemble, and its file is not there yet.

    Raises
    ------
    DataError
        If one of them has no model.
    ModelError
        If it is one alone.
    UsageError
        If one is named twice, or ``out`` is there already.
    """
    files = [model_file(run) for run in runs]
    for n, file in enumerate(files):
        if not file.is_file():
            raise DataError(f"{file} is missing; expected the folder of a run of deeph-train, or its model file")
        if file.resolve() in [other.resolve() for other in files[:n]]:
            raise UsageError(f"one run is named twice: {runs[n]}; expected runs with different seeds")
    if len(files) < 2:
        raise ModelError(f"an ensemble of {len(files)}: expected two runs or more, whose differences are its error bars")
    if out.exists():
        raise UsageError(f"{out} exists already and is kept; choose another name")


def data_of_run(run: Path, data: Path | None, split: Path | None) -> tuple[Dataset, Split]:
    """The dataset of a run and its split, as they are given, or else as the settings of the run say.

    Raises
    ------
    UsageError
        If nothing says where the data are.
    DataError
        If they are not there.
    """
    if data is not None:
        dataset = open_dataset(data)
        return dataset, read_split(dataset, split)
    settings = (run if run.is_dir() else run.parent) / CONFIG
    if not settings.is_file():
        raise UsageError(f"there is no {settings}, so it is not known where the validation structures are: give the dataset with --data")
    from deeph.files.config_file import load_config

    config = load_config(settings)
    dataset = open_dataset(config.data.path)
    return dataset, read_split(dataset, split) if split else split_of(dataset, config.data)
