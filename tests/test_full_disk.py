"""A full disk is an error of what was to be written: no crash, no half a folder, no leftover."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_store import sample

from deeph.files.folders import FullDiskError
from deeph.files.legacy import write_legacy
from deeph.files.matrix_file import MatrixWriter, read_matrix, write_matrix
from deeph.files.store import read_folder, write_folder
from deeph.physics.blocks import PairBlocks

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from deeph.files.{module} import {function}
from deeph.physics.blocks import PairBlocks
from deeph.runtime.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
blocks = PairBlocks(np.array([[0, 0, 0, 0, 0]]), np.array([[200, 200]]), np.ones((1, 40000)))
try:
    {function}(Path(sys.argv[1]) / "m.h5", blocks)
except DataError as error:
    sys.exit(f"DataError {{error}}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
@pytest.mark.parametrize("writer", [("matrix_file", "write_matrix"), ("legacy", "_write_blocks")])
@pytest.mark.parametrize("limit", [0, 1000, 70_000, 300_000])
def test_files_may_not_grow_so_large(tmp_path, writer, limit):
    code = LIMITED.format(module=writer[0], function=writer[1], limit=limit)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1, (done.returncode, done.stderr)  # a signal would be negative
    assert done.stderr.startswith("DataError")
    assert "/m.h5 cannot be written: File too large" in done.stderr
    assert not (tmp_path / "m.h5").exists() or writer[0] == "legacy"  # which is only called within new_folder
    assert not list(tmp_path.glob(".*"))


def test_the_room_of_a_matrix_is_taken_before_it_is_filled(tmp_path):
    """No sparse file: filling its map could not fail any more but by killing the program."""
    with MatrixWriter(tmp_path / "m.h5", np.array([[0, 0, 0, 0, 0]]), np.array([[1000, 1000]]), 1, np.float64) as writer:
        used = next(tmp_path.glob(".*")).stat()
        assert used.st_blocks * 512 >= 8_000_000
        writer.blocks.entries[:] = 1
    assert read_matrix(tmp_path / "m.h5", 1).entries.sum() == 1e6
    assert (tmp_path / "m.h5").stat().st_size < 8_010_000  # what was not needed is given back


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB, where the user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


FILLING = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_full_disk import write_until_full
write_until_full(Path(sys.argv[1]), sys.argv[2])
"""


def write_until_full(disk: Path, kind: str) -> None:
    """Write a folder with less and less room left, page by page."""
    write, outcomes, words = {"deeph": write_folder, "legacy": write_legacy}[kind], [], []
    data = sample()
    large = PairBlocks(np.array([[0, 0, 0, 0, 0]]), np.array([[60, 60]]), np.ones((1, 3600)))  # several pages
    for left in range(0, 300, 4):
        filler = disk / "filler"
        filler.write_bytes(bytes(4096 * ((400 - left) // 4)))
        try:
            write(disk / "out", data)
            if kind == "deeph":
                write_matrix(disk / "out" / "large.h5", large)
                read_folder(disk / "out")
            outcomes.append("ok")
        except FullDiskError as error:
            outcomes.append("full")
            words += [str(error)]
            assert {p.name for p in disk.iterdir()} <= {"filler", "out"}
        shutil.rmtree(disk / "out", ignore_errors=True)
        filler.unlink()
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {"full", "ok"}
    assert all(f"{disk / 'out'}" in text and "cannot be written: No space left on device" in text for text in words)


@pytest.mark.parametrize("kind", ["deeph", "legacy"])
def test_a_disk_that_is_full_at_any_place(small_disk, kind):
    code = FILLING.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code, small_disk, kind], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stderr == ""
