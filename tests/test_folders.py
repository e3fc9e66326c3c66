"""Folders appear complete or not at all, and what killed programs leave is cleared."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deeph.files import folders
from deeph.files.folders import FolderExistsError, new_folder, remove_leftovers, room_on_disk
from deeph.runtime.errors import DataError


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with new_folder(tmp_path / "a") as temporary:
        (temporary / "file").write_text("new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "file").read_text() == "new"
    with pytest.raises(DataError, match=r"a exists already and is kept; choose another output$"), new_folder(tmp_path / "a"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "b"):
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_old_folder_is_removed_only_after_the_new_one_is_there(tmp_path, monkeypatch):
    """Removing takes time; a program killed meanwhile must not leave half a folder under the name."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("old")
    seen = []

    def watched(path, **options):
        seen.append((tmp_path / "a" / "file").read_text() if path.exists() else None)
        remove(path, **options)

    remove = shutil.rmtree
    monkeypatch.setattr(folders.shutil, "rmtree", watched)
    with new_folder(tmp_path / "a", overwrite=True) as temporary:
        (temporary / "file").write_text("new")
    assert [text for text in seen if text] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_leftovers_of_the_dead_are_removed(tmp_path, monkeypatch):
    host = folders._host()
    dead, living, elsewhere, other = (
        tmp_path / name for name in (f".a.b.{host}.11.part", f".c.{host}.22.part", ".d.faraway.11.part", ".notes.part")
    )
    for path in (dead, living, elsewhere, other):
        path.mkdir()
    monkeypatch.setattr(folders, "_is_running", lambda process: process == 22)
    assert remove_leftovers(tmp_path) == [dead]
    assert sorted(tmp_path.iterdir()) == sorted([living, elsewhere, other])
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_a_killed_process_that_nobody_buried_is_dead():
    """Its number is still taken until its parent asks for its end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert folders._is_running(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert folders._is_running(process.pid) is (not Path("/proc").is_dir())
    finally:
        process.wait()
    assert not folders._is_running(process.pid)


@pytest.mark.parametrize("where", ["/proc/xx", "file/xx"])
def test_a_place_where_nothing_can_be_made_is_named(tmp_path, monkeypatch, where):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(DataError, match=rf"^{where}/a cannot be made: \w[\w ]+\. Choose an output where you may write$"),
        new_folder(f"{where}/a"),
    ):
        pytest.fail("nothing can be written there")


def other_folder(path):
    path.mkdir()
    (path / "file").write_text("first")


@pytest.mark.parametrize("other", [other_folder, lambda path: path.write_text("first"), lambda path: path.symlink_to("nowhere")])
def test_what_another_program_finished_meanwhile_is_kept(tmp_path, other):
    def late():
        with new_folder(tmp_path / "a") as temporary:
            (temporary / "file").write_text("late")
            other(tmp_path / "a")

    with pytest.raises(FolderExistsError, match="a exists already and is kept; choose another output"):
        late()
    assert not (tmp_path / "a" / "file").exists() or (tmp_path / "a" / "file").read_text() == "first"
    assert (tmp_path / "a" / "file").is_file() is (other is other_folder)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


WRITER = """
import sys
from pathlib import Path
from deeph.files.folders import FolderExistsError, new_folder
folder, me, overwrite = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "overwrite"
kept = 0
for number in range(int(sys.argv[4])):
    try:
        with new_folder(folder / (str(number) if not overwrite else "0"), overwrite=overwrite) as temporary:
            for file in "abc":
                (temporary / file).write_text(me)
    except FolderExistsError:
        kept += 1
print(kept)
"""


@pytest.mark.parametrize("mode", ["keep", "overwrite"])
def test_three_programs_on_one_output(tmp_path, mode):
    """Each folder is that of one program, as a whole; the others are told so. Replacing, all succeed."""
    rounds = 60
    commands = [[sys.executable, "-c", WRITER, str(tmp_path / "out"), str(n), mode, str(rounds)] for n in range(3)]
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda command: subprocess.run(command, capture_output=True, text=True, check=False), commands))
    assert [end.stderr for end in ends] == [""] * 3
    assert sum(int(end.stdout) for end in ends) == (2 * rounds if mode == "keep" else 0)
    found = sorted(int(p.name) for p in (tmp_path / "out").iterdir())  # nothing else is left
    assert found == (list(range(rounds)) if mode == "keep" else [0])
    for number in found:
        assert len({(tmp_path / "out" / str(number) / file).read_text() for file in "abc"}) == 1


def test_what_cannot_be_replaced_stays(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("old")
    rename = Path.rename

    def failing(path, target):
        if path.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), new_folder(tmp_path / "a", overwrite=True) as temporary:
        (temporary / "file").write_text("new")
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_program_was_about_to_replace_gets_its_name_back(tmp_path, monkeypatch):
    host = folders._host()
    for name in (f".a.{host}.11.old", f".a.{host}.11.part", f".b.{host}.11.old", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    monkeypatch.setattr(folders, "_is_running", lambda _: False)
    remove_leftovers(tmp_path)
    assert {p.name: (p / "file").read_text() for p in tmp_path.iterdir()} == {"a": f".a.{host}.11.old", "b": "b"}


def test_a_full_disk_is_named_and_other_errors_pass(tmp_path):
    with pytest.raises(DataError, match=r"a cannot be written: No space left on device"), new_folder(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "some library's words")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), room_on_disk(tmp_path):
        (tmp_path / "missing").read_text()
