"""How every command ends: one message, no traceback where the machine and not the program is at fault."""

import errno
from pathlib import Path

import pytest

from deeph.cli.common import make_parser, run_command
from deeph.files.folders import FullDiskError


def end(error: BaseException) -> int:
    def body(_args):
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command(make_parser("deeph-test", "A test."), body, [])
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data/out"), "deeph-test: /data/out: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "deeph-test: a file: No space left on device"),
        (FullDiskError(Path("out"), "No space left on device"), "deeph-test: out cannot be written: No space left on device. Make room"),
    ],
)
def test_what_the_system_refuses_is_one_message(tmp_path, monkeypatch, capsys, error, words):
    monkeypatch.chdir(tmp_path)
    assert end(error) == 1
    seen = capsys.readouterr().err
    assert words in seen
    assert "Traceback" not in seen
    assert not list(tmp_path.iterdir())


def test_an_unexpected_error_leaves_its_traceback_even_where_nothing_can_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert end(ZeroDivisionError("odd")) == 1
    assert "unexpected ZeroDivisionError: odd (details in error.log); please report it" in capsys.readouterr().err
    assert "ZeroDivisionError" in Path("error.log").read_text()

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert end(ZeroDivisionError("odd")) == 1
    seen = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: odd" in seen
    assert "Traceback" in seen
