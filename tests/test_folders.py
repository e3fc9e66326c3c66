"""Folders appear complete or not at all, and what killed programs leave is cleared."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deeph.files import folders
from deeph.files.folders import new_folder, remove_leftovers
from deeph.runtime.errors import DataError


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with new_folder(tmp_path / "a") as temporary:
        (temporary / "file").write_text("new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "file").read_text() == "new"
    with pytest.raises(DataError, match="exists already"), new_folder(tmp_path / "a"):
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
