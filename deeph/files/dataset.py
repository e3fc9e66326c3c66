"""A dataset: a folder of structure folders, read lazily, and how it is split."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deeph.files.duplicates import Signature, duplicates
from deeph.files.folders import new_file, new_folder
from deeph.files.hdf5 import open_hdf5
from deeph.files.matrix_file import CONTENT
from deeph.files.partition import By, at_random, by_composition
from deeph.files.selection import Entry, condition
from deeph.files.store import (
    EXTRA_FILES,
    HAMILTONIAN,
    OVERLAP,
    check_holds_structures,
    find_folders,
    find_incomplete,
    is_structure_folder,
    read_folder,
)
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from deeph.config import Config, DataConfig

SPLIT_FILES = ("split.json", "dataset_split.json")
PARTS = ("train", "validate", "test")
SHOWN = 5
"""Names in a message, where there may be thousands."""
RECORD = "dataset.json"
"""How a folder of links came about."""


@dataclass(frozen=True)
class Dataset:
    """Structure folders by name; iterating reads them one after the other, each time anew.

    Attributes
    ----------
    path : Path
        The folder they are in.
    names : tuple of str
        Their paths relative to it, with ``/``.
    extra : tuple of str
        Further matrices that are read, where a folder has them, see :data:`deeph.physics.patterns.EXTRA`.
    """

    path: Path
    names: tuple[str, ...]
    extra: tuple[str, ...] = ()

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
        return read_folder(self.path / name, predicted=False, extra=self.extra)

    def with_zeroth(self, choice: str, names: Sequence[str]) -> Self:
        """The same with H0 read: always ("use"), never ("none"), or if all of the named structures have it ("auto")."""
        have = all((self.path / name / EXTRA_FILES["H0"]).is_file() for name in names)
        return replace(self, extra=("H0",) if choice == "use" or (choice == "auto" and have) else ())

    def subset(self, names: Sequence[str]) -> Self:
        """Only some of the structures, in the order given."""
        return replace(self, names=tuple(names))

    def entries(self) -> list[Entry]:
        """Each structure without its matrices, which are read when they are asked for."""
        return [Entry(name, self.path / name) for name in self.names]

    def filter(self, *conditions: str | Callable[[Entry], bool]) -> Self:
        """Only the structures that fulfil all conditions.

        Parameters
        ----------
        *conditions : str or callable
            Such as ``"atoms<=50"``, ``"elements=Mo,S"``, see :func:`deeph.files.selection.condition`; or what takes an
            :class:`~deeph.files.selection.Entry` and says yes or no.

        Raises
        ------
        UsageError
            If a condition is not understood.
        DataError
            If no structure is left.
        """
        left = self.entries()
        for wanted in conditions:
            fulfils = condition(wanted) if isinstance(wanted, str) else wanted
            left, before = [entry for entry in left if fulfils(entry)], len(left)
            if not left:
                raise DataError(f"none of {before} structures fulfils {wanted if isinstance(wanted, str) else 'the condition'!r}")
        return self.subset([entry.name for entry in left])

    def merge(self, *others: "Dataset") -> "Dataset":
        """These structures and those of others, as one dataset; each folder once. Names are paths below the folder that holds all."""
        folders = list(dict.fromkeys((one.path / name).resolve() for one in (self, *others) for name in one.names))
        path = Path(os.path.commonpath([folder.parent for folder in folders]))
        return Dataset(path, tuple(folder.relative_to(path).as_posix() for folder in folders))

    def duplicates(self) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Equal structures, up to the order of atoms, translations, rotations and reflections; see :mod:`deeph.files.duplicates`.

        Returns
        -------
        dict, list
            Name of each duplicate and of the structure that it repeats; pairs of equal structures with other matrices.
        """
        return duplicates({name: Signature.of(read_folder(self.path / name)) for name in self.names})

    def deduplicate(self) -> Self:
        """Only the first of equal structures, see :meth:`duplicates`; those with other matrices are kept."""
        twice, _ = self.duplicates()
        return self.subset([name for name in self.names if name not in twice])

    def split(self, fractions: tuple[float, float, float], seed: int = 0, by: By = "random") -> "Split":
        """Structures to train on, to validate with and to test with.

        Parameters
        ----------
        fractions : 3 floats
            Of these three, adding up to 1.
        seed : int
            Of the random numbers.
        by : {"random", "composition"}
            At random, with every formula in all parts; or all structures of a formula (of its smallest unit) in one part.

        Raises
        ------
        DataError
            If there are too few structures or formulas.
        """
        formulas = {entry.name: entry.system.reduced_formula for entry in self.entries()}
        train, validate, test = (by_composition if by == "composition" else at_random)(formulas, fractions, seed)
        return Split(tuple(train), tuple(validate), tuple(test))

    def link(self, folder: str | Path, split: "Split | None" = None, record: Mapping[str, Any] | None = None) -> "Dataset":
        """Make a folder of links to the structures, with ``split.json``; nothing is copied, and it appears complete or not at all.

        Parameters
        ----------
        folder : path
            Must not exist. A structure gets the last part of its name, with those before where two are equal.
        split : Split, optional
            Of this dataset.
        record : mapping, optional
            How it came about, for ``dataset.json``.

        Returns
        -------
        Dataset
            In the new folder.
        """
        folder = Path(folder)
        links = dict(zip(self.names, _short_names(self.names, self.path), strict=True))
        with new_folder(folder) as temporary:
            for name, link in links.items():
                (temporary / link).symlink_to(
                    os.path.relpath((self.path / name).resolve(), folder.absolute().parent.resolve() / folder.name)
                )
            if split is not None:
                split.renamed(links).save(temporary / SPLIT_FILES[0])
            if record is not None:
                (temporary / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return Dataset(folder, tuple(links.values()))

    @cached_property
    def n_bonds(self) -> dict[str, int]:
        """Pairs of neighbouring atoms of each structure, each pair once; from the file headers."""
        return {entry.name: max(1, entry.n_bonds) for entry in self.entries()}

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
            for file_name in (OVERLAP, HAMILTONIAN, *(EXTRA_FILES[extra] for extra in self.extra)):
                with open_hdf5(folder / file_name, CONTENT) as file:
                    entries, n = file["entries"], file["entries"].shape[-1]
                    digest.update(repr((entries.shape, entries.dtype.str, file["chunk_shapes"].shape)).encode())
                    for start in np.linspace(0, max(0, n - 512), 4).astype(int).tolist():
                        digest.update(entries[..., start : start + 512].tobytes())
        return digest.hexdigest()[:32]


def _short_names(names: Sequence[str], path: Path) -> list[str]:
    """The last part of each name, lengthened from the front where two are equal, with dashes for slashes."""
    parts = [(*path.absolute().parts[1:], *name.split("/")) for name in names]
    length = [1] * len(parts)
    while True:
        short = ["-".join(p[-n:]) for p, n in zip(parts, length, strict=True)]
        times = Counter(short)
        clashes = [k for k, name in enumerate(short) if times[name] > 1 and length[k] < len(parts[k])]
        if not clashes:
            return short
        for k in clashes:
            length[k] += 1


def open_dataset(path: str | Path) -> Dataset:
    """The structure folders at or below a path.

    Raises
    ------
    DataError
        If there are none.
    """
    path = Path(path)
    folders = find_folders(path)
    if folders == [path]:  # a single structure is a dataset of one, by the name it is given: a link lies elsewhere than what it leads to
        folders = [path.absolute() if path.name not in ("", "..") else path.resolve()]
        path = folders[0].parent
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
            raise DataError(f"the split names {_some(twice)} more than once; expected train, validate and test without overlap")

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same split of structures that are called otherwise."""
        return type(self)(*(tuple(names[name] for name in part) for part in (self.train, self.validate, self.test)))

    def save(self, path: Path) -> None:
        """Write a file that :func:`read_split` reads; it is not replaced if it is there.

        Raises
        ------
        DataError
            If it is there.
        """
        if path.exists():
            raise DataError(f"{path} exists already and is kept; choose another name")
        parts = {name: list(getattr(self, name)) for name in PARTS}
        with new_file(path) as file:
            file.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


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
    path = _split_file(dataset.path, path)
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
        raise DataError(f"{path} is a split of more structures than {_some(dataset.names)}, all that was given; {whole}")
    if missing:
        raise DataError(f"{path} names {len(missing)} folders that are not in {dataset.path}: {_some(missing)}")
    train, validate, test = (tuple(known[str(name)] for name in values.get(part, [])) for part in PARTS)
    try:
        return Split(train, validate, test)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _split_file(folder: Path, path: Path | None) -> Path:
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


def _some(names: Sequence[str]) -> str:
    """The first names of a list, and whether there are more."""
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])


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
        _split_file(path, config.split)


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
