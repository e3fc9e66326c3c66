"""Data sets: what is in them, how they are split, and when they count as changed."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from training_case import make_case, make_structure

from deeph.files.dataset import Dataset, open_dataset
from deeph.files.partition import part_sizes
from deeph.files.split_file import read_split
from deeph.runtime.errors import DataError
from deeph.training.data import random_split


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    make_case(tmp_path, 3)
    return open_dataset(tmp_path / "data")


def test_lists_and_reads(data: Dataset) -> None:
    assert data.names == ("000", "001", "002")
    assert len(data.subset(["002"])) == 1
    for number, structure in enumerate(data):
        expected = make_structure(number)
        np.testing.assert_allclose(structure.system.positions, expected.system.positions, atol=1e-12)
        assert structure.hamiltonian.n_pairs == 3 + 2 * data.n_bonds[data.names[number]]
    assert open_dataset(data.path / "001").names == ("001",)


def test_split_file(data: Dataset) -> None:
    (data.path / "dataset_split.json").write_text(json.dumps({"train": ["002", "000"], "validate": ["001"]}))
    split = read_split(data)
    assert (split.train, split.validate, split.test) == (("002", "000"), ("001",), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": ["000", "777"]}', "names 1 folders that are not in .*: 777"),
        ('{"train": ["000"], "validate": ["000"]}', "000 more than once"),
        ('{"train": [], "validate": ["000"]}', "no structure to train on"),
        ('{"train": ["000"], "valid": ["001"]}', "unknown part 'valid'"),
        ('{"train": "000"}', "lists of folder names"),
        ("{", "not a readable JSON"),
    ],
)
def test_mistaken_split_files(data: Dataset, text: str, message: str) -> None:
    (data.path / "split.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(data)


def test_no_split(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"data\.split to such a file, or data\.fractions"):
        read_split(data)


@example(n=4, validate=0.375, test=0.375, seed=0)
@given(n=st.integers(3, 60), validate=st.floats(0, 0.4), test=st.floats(0, 0.4), seed=st.integers(0, 99))
def test_random_split_is_a_partition(n: int, validate: float, test: float, seed: int) -> None:
    data = Dataset(Path("nowhere"), tuple(str(i) for i in range(n)))
    fractions = (1 - validate - test, validate, test)
    split = random_split(data, fractions, seed)
    assert sorted([*split.train, *split.validate, *split.test]) == sorted(data.names)
    assert split == random_split(data, fractions, seed)
    assert bool(split.validate) == (validate > 0)
    assert bool(split.test) == (test > 0)


@pytest.mark.parametrize(
    ("n", "fractions", "sizes"),
    [
        (4, (0.25, 0.375, 0.375), (1, 1, 2)),
        (10, (0.05, 0.475, 0.475), (1, 4, 5)),
        (3, (0.02, 0.49, 0.49), (1, 1, 1)),
        (2, (0.1, 0.9), (1, 1)),
    ],
)
def test_parts_that_are_rounded_up_leave_something_to_train_on(n: int, fractions: tuple[float, ...], sizes: tuple[int, ...]) -> None:
    """A known refusal: '4 structures are too few'."""
    assert part_sizes(n, fractions) == list(sizes)


def test_too_few_structures(data: Dataset) -> None:
    with pytest.raises(DataError, match="too few"):
        random_split(data.subset(["000", "001"]), (0.2, 0.4, 0.4), 0)


def test_fingerprint_follows_the_data(data: Dataset) -> None:
    before = data.fingerprint()
    assert before == open_dataset(data.path).fingerprint()
    assert before != data.subset(["000", "001"]).fingerprint()
    with h5py.File(data.path / "001" / "hamiltonian.h5", "r+") as file:
        file["entries"][5] += 1e-6
    assert before != data.fingerprint()
    (data.path / "001" / "hamiltonian.h5").unlink()
    with pytest.raises(DataError, match=r"001/hamiltonian\.h5 is missing"):
        data.fingerprint()
