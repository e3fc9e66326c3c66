"""What is wrong with an HDF5 file is said in plain words, wherever one is read."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_store import sample

from deeph.files.dataset import Dataset
from deeph.files.legacy import read_legacy, write_legacy
from deeph.files.matrix_file import read_matrix
from deeph.files.orbitals_file import read_orbitals, write_orbitals
from deeph.files.store import read_folder, write_folder
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.runtime.errors import DataError

INNER = ("synchronously", "sblock", "eof", "heap", "B-tree", "addr", "signature", "object '", "errno", "dtype", "NoneType", "_io")
"""Words of h5py, HDF5 and numpy that tell a physicist nothing."""


@contextmanager
def suppress_data_errors(said: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        said.append(str(error))


def inner_words(error: object, path: Path) -> list[str]:
    text = str(error).replace(str(path.parent), "")
    return [word for word in INNER if word in text]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_folder(folder / "deeph", sample())
    write_legacy(folder / "legacy", sample())
    r = np.linspace(0, 5, 50)
    write_orbitals(folder / "orbitals.h5", {6: Orbitals(6, (RadialFunction(0, r, np.exp(-r)),), "test")})
    return folder


READERS = {
    "deeph/overlap.h5": lambda path: read_folder(path.parent),
    "deeph/hamiltonian.h5": lambda path: read_folder(path.parent),
    "deeph/position_matrix.h5": lambda path: read_folder(path.parent, positions=True),
    "legacy/overlaps.h5": lambda path: read_legacy(path.parent),
    "legacy/hamiltonians.h5": lambda path: read_legacy(path.parent),
    "orbitals.h5": read_orbitals,
}


def cut(share):
    return lambda data: data[: int(share * len(data))]


def overwritten(start, stop):
    def damage(data):
        a, b = int(start * len(data)), int(stop * len(data))
        return data[:a] + b"\xff" * (b - a) + data[b:]

    return damage


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut(0.0), "it is empty"),
        (cut(0.5), r"it is cut off after \d+ of \d+ bytes"),
        (cut(0.99), r"it is cut off after \d+ of \d+ bytes"),
        (lambda _: b"Only text, and enough of it to be no HDF5 file\n" * 50, "it is no HDF5 file"),
        (lambda data: data.replace(b"TREE", b"EERT"), "damaged"),
        (lambda data: data.replace(b"HEAP", b"PAEH"), "damaged"),
        (lambda data: data.replace(b"SNOD", b"DONS"), "damaged"),
    ],
    ids=["empty", "half", "end", "text", "tree", "heap", "nodes"],
)
def test_the_reason_is_given(originals, tmp_path, file, damage, words):
    shutil.copytree(originals, tmp_path / "copy")
    path = tmp_path / "copy" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=words) as raised:
        READERS[file](path)
    assert str(path) in str(raised.value)
    assert not inner_words(raised.value, path)


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize("start", np.linspace(0, 0.98, 30))
def test_damage_anywhere_is_no_traceback(originals, tmp_path, file, start):
    """What is read may be wrong numbers, which nothing can tell; but no error of a library comes through."""
    shutil.copytree(originals, tmp_path / "copy")
    path = tmp_path / "copy" / file
    path.write_bytes(overwritten(start, start + 0.02)(path.read_bytes()))
    said = [f"{path}:"]
    with suppress_data_errors(said):
        READERS[file](path)
    assert file.rpartition("/")[2] in said[-1]
    assert not inner_words(said[-1], path)


def test_a_lacking_array_is_named(originals, tmp_path):
    shutil.copytree(originals, tmp_path / "copy")
    path = tmp_path / "copy" / "deeph" / "overlap.h5"
    with h5py.File(path, "r+") as file:
        del file["entries"]
    with pytest.raises(DataError, match=r"overlap\.h5 is not a complete matrix file .*: it lacks 'entries'"):
        read_matrix(path, 3)


def test_the_dataset_speaks_like_its_reader(originals, tmp_path):
    shutil.copytree(originals, tmp_path / "copy")
    path = tmp_path / "copy" / "deeph" / "overlap.h5"
    path.write_bytes(path.read_bytes()[:700])
    for question in (lambda data: data.n_bonds, lambda data: data.fingerprint()):
        with pytest.raises(DataError, match=r"overlap\.h5 is not a complete matrix file .*: it is cut off after 700 of \d+ bytes"):
            question(Dataset(tmp_path / "copy", ("deeph",)))
