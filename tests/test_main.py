"""The command ``deeph`` and its doctor."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
from test_layers import COMMANDS

from deeph.cli import doctor, main, packages, speed
from deeph.runtime import machine


@pytest.fixture
def installed(monkeypatch):
    """The entry points of this checkout, whatever was installed when."""
    points = [metadata.EntryPoint(name, value, "console_scripts") for name, value in COMMANDS.items()]
    monkeypatch.setattr(metadata, "distribution", lambda _name: SimpleNamespace(entry_points=points))


def ended(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main.main(list(arguments))
    seen = capsys.readouterr()
    return end.value.code, seen.out, seen.err


def test_alone_it_lists_every_command(capsys):
    code, out, _ = ended(capsys)
    assert code == 0
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("  ") and not line.startswith("    ")}
    assert listed == {name.removeprefix("deeph-") for name in COMMANDS if name != "deeph"}


@pytest.mark.usefixtures("installed")
def test_it_calls_the_command_of_that_name(capsys):
    for name in COMMANDS:
        if name != "deeph":
            code, out, _ = ended(capsys, name.removeprefix("deeph-"), "--version")
            assert (code, out.split()[0]) == (0, name)
    code, _, err = ended(capsys, "bands", "x", "--npoints", "3")
    assert (code, err) == (2, "deeph-bands: there is no option --npoints, did you mean --points?\n")


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_is_answered_with_the_nearest(capsys):
    code, _, err = ended(capsys, "bnads")
    assert code == 2
    assert "there is no command 'bnads', did you mean bands? There are:" in err
    assert err.count("\n") == 1
    assert "no option --frobnicate" in ended(capsys, "--frobnicate")[2]


def test_nothing_is_imported_for_the_other_commands():
    code = """
import sys
from deeph.cli.main import main
try: main(["bands", "--help"])
finally: sys.stderr.write(' '.join(m for m in sys.modules if m.split('.')[0] == 'preprocess' or m == 'torch'))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: deeph-bands")


def test_the_doctor_finds_what_is_here(capsys):
    with pytest.raises(SystemExit) as end:
        doctor.main(["--no-speed"])
    out = capsys.readouterr().out
    assert end.value.code == 0, out
    versions = {line.split()[1]: line.split()[2] for line in out.splitlines() if line.startswith("  ok")}
    for name in ("numpy", "torch", "e3nn", "ase"):
        assert versions[name] == metadata.version(name)
    assert "cores" in out or "core " in out


def test_a_broken_core_package_is_exit_code_1(capsys, monkeypatch):
    """One that cannot be imported, one that is absent, one that is too old; a missing optional one is no fault."""
    wanted = ["numpy>=1", "h5py>=1", "e3nn>=99", "nosuchthing>=2", "mkl>=1; extra == 'sparse'"]
    monkeypatch.setattr(metadata, "requires", lambda _name: wanted)
    monkeypatch.setitem(packages.MODULES, "h5py", "no_such_module")
    monkeypatch.setitem(packages.PURPOSE, "no-such-extra", "nothing")
    with pytest.raises(SystemExit) as end:
        doctor.main([])
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert 'h5py is broken, and no command works without it: pip install "h5py>=1"' in out
    assert "e3nn is too old" in out
    assert "nosuchthing is missing" in out
    assert "no-such-extra is" not in out
    assert "speed" not in out


def test_the_speed_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "_best", lambda work, *_: work() is None or 1e-3)
    monkeypatch.setattr(packages, "packages", list)
    with pytest.raises(SystemExit) as end:
        doctor.main(["--disk", str(tmp_path)])
    out = capsys.readouterr().out
    assert end.value.code == 0, out
    assert out.count("times as fast") == 5
    assert "divide those of training and prediction by" in out
    assert not list(tmp_path.iterdir())


def test_limits_of_batch_systems(monkeypatch, tmp_path):
    """A quota of 1.5 cores and 3 GiB of memory, half of it taken, in a control group above the own one."""
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "job" / "memory.max").write_text(f"{3 * machine.GIB}\n")
    (tmp_path / "job" / "memory.current").write_text(f"{1.5 * machine.GIB:.0f}\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    (tmp_path / "own").write_text("0::/job/step\n")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "_memory_of_the_machine", lambda: (64.0, 32.0))
    assert machine.allowed_cores() == (1, "of 8; quota of 1.5 (cgroup)")
    assert machine.free_memory() == (1.5, "of the 3.0 GiB this job may use (cgroup)")
    (tmp_path / "job" / "cpu.max").write_text("max 100000\n")
    assert machine.allowed_cores() == (8, "of 8")
