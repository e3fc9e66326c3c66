"""How the structures of a dataset are split: to train on, to validate with, to test with."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deeph.files.folders import new_file
from deeph.runtime.errors import DataError

SPLIT_FILES = ("split.json", "dataset_split.json")
PARTS = ("train", "validate", "test")
SHOWN = 5
"""Names in a message, where there may be thousands."""


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
            raise DataError(f"the split names {some(twice)} more than once; expected train, validate and test without overlap")

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same split of structures that are called otherwise."""
        return type(self)(*(tuple(names[name] for name in part) for part in (self.train, self.validate, self.test)))

    def save(self, path: Path) -> None:
        """Write a file that :func:`deeph.files.split_file.read_split` reads; it is not replaced if it is there.

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


def some(names: Sequence[str]) -> str:
    """The first names of a list, and whether there are more."""
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])
