"""A dataset: a folder of structure folders, read lazily, and how it is split."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from deeph.files.hdf5 import open_hdf5
from deeph.files.matrix_file import CONTENT
from deeph.files.store import HAMILTONIAN, OVERLAP, find_folders, read_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError

if TYPE_CHECKING:
    from deeph.config import DataConfig

SPLIT_FILES = ("split.json", "dataset_split.json")
PARTS = ("train", "validate", "test")


@dataclass(frozen=True)
class Dataset:
    """Structure folders by name; iterating reads them one after the other, each time anew.

    Attributes
    ----------
    path : Path
        The folder they are in.
    names : tuple of str
        Their paths relative to it, with ``/``.
    """

    path: Path
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Dataset {self.path}, {len(self)} structure{'' if len(self) == 1 else 's'}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Hamiltonian:
        return self.read(self.names[number])

    def __iter__(self) -> Iterator[Hamiltonian]:
        return (self.read(name) for name in self.names)

    def read(self, name: str) -> Hamiltonian:
        """The structure with its DFT Hamiltonian.

        Raises
        ------
        DataError
            If there is no such folder, or it is damaged or holds no ``hamiltonian.h5``.
        """
        return read_folder(self.path / name, predicted=False)

    def subset(self, names: Sequence[str]) -> Self:
        """Only some of the structures, in the order given."""
        return replace(self, names=tuple(names))

    @cached_property
    def n_bonds(self) -> dict[str, int]:
        """Pairs of neighbouring atoms of each structure, each pair once; from the file headers."""
        return {name: max(1, _count_bonds(self.path / name / OVERLAP)) for name in self.names}

    def fingerprint(self) -> str:
        """A hash of names, structures, block shapes and samples of the matrix entries; it changes if the data do."""
        digest = hashlib.sha256()
        for name in sorted(self.names):
            folder = self.path / name
            digest.update(name.encode())
            try:
                digest.update((folder / "POSCAR").read_bytes())
            except OSError as error:
                raise DataError(f"{folder} is not a complete training structure: {error}") from error
            for file_name in (OVERLAP, HAMILTONIAN):
                with open_hdf5(folder / file_name, CONTENT) as file:
                    entries, n = file["entries"], file["entries"].shape[-1]
                    digest.update(repr((entries.shape, entries.dtype.str, file["chunk_shapes"].shape)).encode())
                    for start in np.linspace(0, max(0, n - 512), 4).astype(int).tolist():
                        digest.update(entries[..., start : start + 512].tobytes())
        return digest.hexdigest()[:32]


def _count_bonds(path: Path) -> int:
    with open_hdf5(path, CONTENT) as file:
        pairs = file["atom_pairs"][:]
        if pairs.ndim != 2 or pairs.shape[1] != 5:
            raise ValueError(pairs.shape)
    onsite = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
    return (len(pairs) - int(onsite.sum())) // 2


def open_dataset(path: str | Path) -> Dataset:
    """The structure folders at or below a path.

    Raises
    ------
    DataError
        If there are none.
    """
    path = Path(path)
    folders = find_folders(path)
    if folders == [path]:  # a single structure is a dataset of one
        path = path.resolve().parent
        folders = [path / folders[0].resolve().name]
    return Dataset(path, tuple(folder.relative_to(path).as_posix() for folder in folders))


@dataclass(frozen=True)
class Split:
    """Names of the structures to train on, to choose the best model by, and to test with."""

    train: tuple[str, ...]
    validate: tuple[str, ...]
    test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError("the split leaves no structure to train on")
        everything = [*self.train, *self.validate, *self.test]
        twice = sorted(name for name, times in Counter(everything).items() if times > 1)
        if twice:
            raise DataError(f"the split names {', '.join(twice[:5])} more than once; expected train, validate and test without overlap")


def read_split(dataset: Dataset, path: Path | None = None) -> Split:
    """The split of a dataset from a JSON file ``{"train": [...], "validate": [...], "test": [...]}``.

    Parameters
    ----------
    dataset : Dataset
        Its folders; a file may name them by relative path or, where that is unique, by the last part of it.
    path : Path, optional
        The file; by default ``split.json`` or ``dataset_split.json`` in the dataset's folder.

    Raises
    ------
    DataError
        If there is no such file, it is no split, or it names folders that are not there.
    """
    if path is None:
        path = next((dataset.path / name for name in SPLIT_FILES if (dataset.path / name).is_file()), None)
    if path is None:
        raise DataError(f"{dataset.path} holds no {' or '.join(SPLIT_FILES)}; set data.split to such a file, or data.fractions")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(values.get(part, []), list) for part in PARTS):
        raise DataError(f'{path}: expected {{"train": [...], "validate": [...], "test": [...]}} with lists of folder names')
    unknown = sorted(set(values) - set(PARTS))
    if unknown:
        raise DataError(f"{path}: unknown part {unknown[0]!r}; expected {', '.join(PARTS)}")
    known = _by_name(dataset)
    missing = [str(name) for part in PARTS for name in values.get(part, []) if str(name) not in known]
    if missing:
        raise DataError(f"{path} names {len(missing)} folders that are not in {dataset.path}: {', '.join(missing[:5])}")
    train, validate, test = (tuple(known[str(name)] for name in values.get(part, [])) for part in PARTS)
    try:
        return Split(train, validate, test)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _by_name(dataset: Dataset) -> dict[str, str]:
    last = [name.rpartition("/")[2] for name in dataset.names]
    times = Counter(last)
    short = {short: name for short, name in zip(last, dataset.names, strict=True) if times[short] == 1}
    return {**short, **{name: name for name in dataset.names}}


def random_split(dataset: Dataset, fractions: tuple[float, float, float], seed: int) -> Split:
    """Shuffle and cut; a part with a fraction above zero gets at least one structure.

    Raises
    ------
    DataError
        If there are too few structures.
    """
    order = [dataset.names[i] for i in np.random.default_rng(seed).permutation(len(dataset))]
    validate, test = (max(1, round(f * len(order))) if f > 0 else 0 for f in fractions[1:])
    if validate + test >= len(order):
        raise DataError(f"{len(order)} structures in {dataset.path} are too few for the fractions {list(fractions)}")
    train = len(order) - validate - test
    return Split(tuple(order[:train]), tuple(order[train : train + validate]), tuple(order[train + validate :]))


def split_of(dataset: Dataset, config: "DataConfig") -> Split:
    """The split that a configuration asks for."""
    if config.fractions is not None:
        return random_split(dataset, config.fractions, config.seed)
    return read_split(dataset, config.split)
