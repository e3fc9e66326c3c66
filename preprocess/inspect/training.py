"""Can a model be trained on this? Asked in the same place as ``deeph-train --check`` does, so that both refuse the same."""

from collections.abc import Mapping
from pathlib import Path

from deeph.files.dataset import open_dataset
from deeph.files.split import SPLIT_FILES
from deeph.files.split_file import read_split
from deeph.files.store import is_structure_folder, read_folder
from deeph.files.training_set import Member, MissingError, TrainingSet, check_trainable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from preprocess.inspect.report import Check


def check_training(data: Hamiltonian) -> Check:
    """The network can learn this structure; an overlap without H, and magnetism without moments, are no faults of the data."""
    try:
        check_trainable(data)
    except DataError as error:
        return Check("training", "note" if isinstance(error, MissingError) else "bad", f"cannot be trained on: {error}")
    return Check("training", "ok", "can be trained on")


def check_split(path: Path, members: Mapping[str, Member]) -> list[Check]:
    """The split that lies in a folder, if there is one, can be trained with; without one, the structures have one basis and kind of spin.

    Parameters
    ----------
    path : Path
        The folder.
    members : mapping of str to Member
        Of the structures with the H of DFT that can be read, by their names relative to it.
    """
    has_split = any((path / name).is_file() for name in SPLIT_FILES)
    found = TrainingSet()
    try:
        split = read_split(open_dataset(path)) if has_split else None
        train, others = (tuple(members), ()) if split is None else (split.train, (*split.validate, *split.test))
        for name in (*train, *others):
            if not is_structure_folder(path / name):
                read_folder(path / name)  # says what it lacks
            if name in members:
                try:
                    found.add_member(members[name], train=name in train)
                except DataError as error:
                    raise DataError(f"{name}: {error}") from error
    except DataError as error:
        return [Check("training set", "bad", str(error))]
    spin = [Check("spin", "ok", found.spin_text)] if found.n else []
    if split is None:
        return spin
    parts = f"{len(split.train)} to train on, {len(split.validate)} to validate with, {len(split.test)} kept for tests"
    return [*spin, Check("training set", "ok", parts)]
