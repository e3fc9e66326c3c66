"""A dataset: a folder of structure folders, read lazily."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from deeph.files.duplicates import Signature, duplicates
from deeph.files.folders import new_folder
from deeph.files.hdf5 import open_hdf5
from deeph.files.matrix_file import CONTENT
from deeph.files.partition import By, at_random, by_composition
from deeph.files.selection import Entry, condition
from deeph.files.split import SPLIT_FILES, Split
from deeph.files.store import EXTRA_FILES, HAMILTONIAN, OVERLAP, find_folders, read_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError

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

    def split(self, fractions: tuple[float, float, float], seed: int = 0, by: By = "random") -> Split:
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

    def link(self, folder: str | Path, split: Split | None = None, record: Mapping[str, Any] | None = None) -> "Dataset":
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
