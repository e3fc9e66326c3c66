"""Splits as JSON files name them."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deeph.files.dataset import Dataset, open_dataset
from deeph.files.split import PARTS, SPLIT_FILES, Split, some
from deeph.files.store import find_incomplete
from deeph.runtime.errors import DataError


def read_split(dataset: Dataset, path: Path | None = None) -> Split:
    """The split of a dataset from a JSON file ``{"train": [...], "validate": [...], "test": [...]}``.

    Parameters
    ----------
    dataset : Dataset
        Its folders; a file may name them by relative path or, where that is unique, by the last part of it. It may also name folders that
        lack files, which reading them says.
    path : Path, optional
        The file; by default ``split.json`` or ``dataset_split.json`` in the dataset's folder.

    Raises
    ------
    DataError
        If there is no such file, it is no split, or it names folders that are not there.
    """
    path = find_split(dataset.path, path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(part, []), list) for part in PARTS):
        raise DataError(f'{path}: expected {{"train": [...], "validate": [...], "test": [...]}} with lists of folder names')
    unknown = sorted(set(values) - set(PARTS))
    if unknown:
        raise DataError(f"{path}: unknown part {unknown[0]!r}; expected {', '.join(PARTS)}")
    named = [str(name) for part in PARTS for name in values.get(part, [])]
    known = _by_name(dataset.names)
    if not known.keys() >= set(named):
        known = _by_name([*dataset.names, *(folder.relative_to(dataset.path).as_posix() for folder in find_incomplete(dataset.path))])
    missing = [name for name in named if name not in known]
    if missing and _by_name(open_dataset(dataset.path).names).keys() >= set(missing):
        whole = f"expected the folder of all of them, {dataset.path}"
        raise DataError(f"{path} is a split of more structures than {some(dataset.names)}, all that was given; {whole}")
    if missing:
        raise DataError(f"{path} names {len(missing)} folders that are not in {dataset.path}: {some(missing)}")
    train, validate, test = (tuple(known[str(name)] for name in values.get(part, [])) for part in PARTS)
    try:
        return Split(train, validate, test)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def find_split(folder: Path, path: Path | None) -> Path:
    """The file that is given, or else that of the folder."""
    if path is None:
        path = next((folder / name for name in SPLIT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} holds no {' or '.join(SPLIT_FILES)}; set data.split to such a file, or data.fractions")
    if not path.is_file():
        raise DataError(f"{path} is no file; expected a split, with lists of folder names: train, validate, test")
    return path


def _by_name(names: Sequence[str]) -> dict[str, str]:
    """Names by themselves and by their last part, where that is unique."""
    last = [name.rpartition("/")[2] for name in names]
    times = Counter(last)
    short = {short: name for short, name in zip(last, names, strict=True) if times[short] == 1}
    return {**short, **{name: name for name in names}}
