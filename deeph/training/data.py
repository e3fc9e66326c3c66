"""The structures of a training run: dataset, split and H0 as the settings want them."""

from typing import TYPE_CHECKING

from deeph.files.dataset import Dataset, open_dataset
from deeph.files.partition import at_random
from deeph.files.split import Split
from deeph.files.split_file import find_split, read_split
from deeph.files.store import check_holds_structures, is_structure_folder
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from deeph.config import Config, DataConfig


def random_split(dataset: Dataset, fractions: tuple[float, float, float], seed: int) -> Split:
    """Shuffle and cut; a part with a fraction above zero gets at least one structure.

    Raises
    ------
    DataError
        If there are too few structures.
    """
    train, validate, test = at_random(dict.fromkeys(dataset.names, ""), fractions, seed)
    return Split(tuple(train), tuple(validate), tuple(test))


def check_places(config: "DataConfig") -> None:
    """Dataset and split of a training run are there; what is in them is not looked at.

    Raises
    ------
    UsageError
        If the dataset is one structure.
    DataError
        If there is no folder, no structure folder in it, or no split.
    """
    path, whole = config.path, config.fractions is not None and config.fractions[0] == 1
    if not path.is_dir():
        raise DataError(f"data.path: {path} is not a folder; expected one that holds structure folders")
    check_holds_structures(path)
    if is_structure_folder(path) and not whole:
        raise UsageError(
            f"data.path: {path} is one structure; expected the folder that holds all of them, such as {path.absolute().parent} "
            "(to train on this one alone, data.fractions = [1, 0, 0])"
        )
    if config.fractions is None:
        find_split(path, config.split)


def open_split(config: "Config") -> tuple[Dataset, Split]:
    """Data set and split of a training run; H0 is read where the settings want it and all structures of the split have it."""
    check_places(config.data)
    dataset = open_dataset(config.data.path)
    split = split_of(dataset, config.data)
    return dataset.with_zeroth(config.model.zeroth, [*split.train, *split.validate, *split.test]), split


def split_of(dataset: Dataset, config: "DataConfig") -> Split:
    """The split that a configuration asks for."""
    if config.fractions is not None:
        return random_split(dataset, config.fractions, config.seed)
    return read_split(dataset, config.split)


def band_structures(dataset: Dataset, split: Split, config: "Config") -> tuple[str, ...]:
    """The structures that train.band_structures names.

    Raises
    ------
    UsageError
        If one of them is not in the dataset, or is kept for the final test.
    """
    names = config.train.band_structures
    missing = [name for name in names if name not in dataset.names]
    if missing:
        raise UsageError(f"train.band_structures names {', '.join(missing)}, which {dataset.path} does not hold")
    kept = [name for name in names if name in split.test]
    if kept:
        raise UsageError(f"train.band_structures names {', '.join(kept)} of the test set, which is kept for the end; choose others")
    return names
