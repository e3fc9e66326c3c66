"""deeph-preprocess as a user calls it: exit codes, one readable message, resuming, names of the outputs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from openmx_files import Layout, scfout_bytes, unpack_run

from deeph.files import folders
from deeph.files.legacy import read_legacy
from deeph.files.store import read_folder
from deeph.runtime import log
from deeph.runtime.errors import UsageError
from deeph.runtime.processes import Group, find_group
from preprocess import pipeline
from preprocess.cli.table import run_jobs
from preprocess.discover import Job, find_jobs
from preprocess.parallel import do_all
from preprocess.pipeline import Options, Outcome, convert
from preprocess.readers import READERS, candidates, openmx
from preprocess.readers.openmx.scfout import read_scfout
from preprocess.verify import eigenvalues


def preprocess(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preprocess.cli.preprocess", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False)


@pytest.fixture
def runs(tmp_path) -> Path:
    unpack_run("mini_graphene", tmp_path / "runs" / "graphene")
    unpack_run("mini_te_chain_soc", tmp_path / "runs" / "deeper" / "te")
    return tmp_path / "runs"


def assert_clear(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert all(word in text for word in words), text


def test_everything_below_a_folder_is_converted_and_resumed(runs, tmp_path):
    first = preprocess("runs", "data", "-j", 2, "--verify", "bands", "--positions", cwd=tmp_path)
    assert_clear(first, 0, "2 ok, 0 failed, 0 skipped", "bands of mini_graphene.Band to", "spin spinor")
    assert "|" not in first.stderr  # no progress bar where nobody looks
    written = read_folder(tmp_path / "data" / "te", positions=True)
    expected = openmx.read(runs / "deeper" / "te")
    for name in ("S", "H", "r"):
        assert np.array_equal(getattr(written, name).entries, getattr(expected, name).entries)
    assert written.source == json.loads(json.dumps(expected.source))
    again = preprocess("runs", "data", cwd=tmp_path)
    assert_clear(again, 0, "0 ok, 0 failed, 2 skipped", "--overwrite")
    assert_clear(preprocess("runs", "data", "--overwrite", cwd=tmp_path), 0, "2 ok")
    assert not (tmp_path / "data" / "te" / "position_matrix.h5").exists()
    lacking = preprocess("runs", "data", "--positions", cwd=tmp_path)
    assert_clear(lacking, 1, "0 ok, 2 failed", "is there already, without the position matrix: --overwrite")
    assert_clear(preprocess("data", "legacy", "--format", "legacy", cwd=tmp_path), 0, "2 ok")
    assert np.array_equal(np.sort(read_legacy(tmp_path / "legacy" / "te").H.entries), np.sort(expected.H.entries))


def test_density_and_moments_are_written(runs, tmp_path):
    done = preprocess("runs", "data", "--density", cwd=tmp_path)
    assert_clear(done, 1, "1 ok, 1 failed", "holds no density matrix; leave --density out")
    written, expected = read_folder(tmp_path / "data" / "graphene", extra=True), openmx.read(runs / "graphene")
    assert np.array_equal(written.extra["density_matrix"].entries, expected.extra["density_matrix"].entries)
    assert_clear(preprocess("runs", "data", cwd=tmp_path), 0, "1 ok, 0 failed, 1 skipped")
    te = openmx.read(runs / "deeper" / "te")
    np.testing.assert_allclose(read_folder(tmp_path / "data" / "te").moments, te.moments)


def test_collinear_data_fit_the_legacy_format_as_spinors(shared_data, tmp_path):
    run = shared_data / "openmx" / "fe_bcc_spin"
    assert_clear(preprocess(run, "legacy", "--format", "legacy", cwd=tmp_path), 1, "no place for collinear spin")
    assert_clear(preprocess(run, "legacy", "--format", "legacy", "--spinor", "--verify", "bands", cwd=tmp_path), 0, "1 ok")
    k = np.array([[0.1, 0.2, 0.3]])
    collinear, spinor = eigenvalues(openmx.read(run), k), eigenvalues(read_legacy(tmp_path / "legacy" / "fe_bcc_spin"), k)
    np.testing.assert_allclose(spinor.ravel(), np.sort(collinear.ravel()), atol=1e-9)


def test_wrong_path_and_empty_folder(tmp_path):
    assert_clear(preprocess("nowhere", "data", cwd=tmp_path), 2, "nowhere is not a folder")
    (tmp_path / "empty").mkdir()
    assert_clear(preprocess("empty", "data", cwd=tmp_path), 1, "no run of openmx", "HS.fileout on", "seen: no files")
    (tmp_path / "other" / "deep").mkdir(parents=True)
    for name in ("wavecar", "si.psf", "deep/si.out", "deep/b.out"):
        (tmp_path / "other" / name).write_text("")
    assert_clear(preprocess("other", "data", cwd=tmp_path), 1, "seen: si.psf, wavecar, b.out", "SaveHS true")
    assert_clear(preprocess("empty", "empty", cwd=tmp_path), 2, "both input and output")
    assert_clear(preprocess("empty", "data", "--code", "vasp", cwd=tmp_path), 2, "no reader for 'vasp'", "openmx")
    assert_clear(preprocess("empty", "data", "-j", 0, cwd=tmp_path), 2, "-j 0")
    assert_clear(preprocess("empty", cwd=tmp_path), 2, "expected deeph-preprocess RAW... OUT")
    assert not (tmp_path / "data").exists()


SIGNS = {
    "openmx": ("te.dat", "<Atoms.SpeciesAndCoordinates\n", ".scfout (OpenMX, 'HS.fileout on')"),
    "openmx crashed": ("te.std", "Welcome to OpenMX\n", ".scfout (OpenMX, 'HS.fileout on')"),
    "abacus": ("INPUT", "INPUT_PARAMETERS\n", "OUT.* with .csr (ABACUS, 'out_mat_hs2 1')"),
    "siesta": ("te.fdf", "", ".HSX or .TSHS (SIESTA, 'SaveHS true')"),
    "siesta printed": ("job.log", "  *  WELCOME TO SIESTA  *\n", ".HSX or .TSHS (SIESTA, 'SaveHS true')"),
    "aims": ("control.in", "", "rs_indices.out (FHI-aims, 'output_rs_matrices plain')"),
    "deeptb": ("basis.dat", "{'C': '1s1p'}", "basis.dat with .h5"),
    "deeph": ("hamiltonian.h5", "", "POSCAR with info.json"),
    "legacy": ("rlat.dat", "", "lat.dat with element.dat"),
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_run_without_matrices_is_a_row(runs, tmp_path, name):
    file, text, missing = SIGNS[name]
    (runs / "crashed" / "kept").mkdir(parents=True)  # what lies beside or above runs is no crashed run
    (runs / "crashed" / file).write_text(text)
    (runs / "template.fdf").write_text("")
    below = preprocess("runs", "data", cwd=tmp_path)
    assert_clear(below, 0, f"but no {missing}", "2 ok, 0 failed, 0 skipped, 1 none")
    assert [line.split()[1] for line in below.stdout.splitlines() if line.startswith("none ")] == ["crashed"]
    named = preprocess("runs/graphene", "runs/crashed", "data", cwd=tmp_path)
    assert_clear(named, 1, f"({file}), but no {missing}", "0 ok, 0 failed, 1 skipped, 1 none")
    assert_clear(preprocess("runs/crashed", "data", "--dry-run", cwd=tmp_path), 1, "0 convert, 0 fail, 0 skip, 1 none")
    inspected = subprocess.run(
        [sys.executable, "-m", "preprocess.cli.inspect", "runs/crashed"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert_clear(inspected, 1, f"but no {missing}")


def test_a_named_folder_without_any_run_is_not_ignored(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "thesis.txt").write_text("")
    done = preprocess("runs", "empty", "data", cwd=tmp_path)
    assert_clear(done, 1, "none    empty", "seen: thesis.txt", "2 ok, 0 failed, 0 skipped, 1 none")
    assert_clear(preprocess("runs", "runs/graphene", "data", cwd=tmp_path), 0, "0 ok, 0 failed, 2 skipped\n")  # named twice


@pytest.mark.parametrize("form", ["deeph", "legacy"])
def test_an_output_that_is_a_structure_folder_is_refused(runs, tmp_path, form):
    preprocess("runs/graphene", "data", "--format", form, cwd=tmp_path)
    done = preprocess("runs/deeper", "data/graphene", cwd=tmp_path)
    assert_clear(done, 2, "data/graphene is itself a structure folder; name the folder above")
    assert not (tmp_path / "data" / "graphene" / "te").exists()


def test_an_output_that_cannot_be_made_is_said_in_words(runs, tmp_path):
    done = preprocess("runs/graphene", "/proc/xx", cwd=tmp_path)
    assert_clear(done, 1, "1 failed", "/proc/xx/graphene cannot be made: No such file or directory")
    assert "Errno" not in done.stdout


def test_a_long_run_is_not_silent(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(log, "SILENCE", 0.05)
    monkeypatch.setattr(log.logger, "propagate", True)
    jobs = [Job(tmp_path / "run", tmp_path / "out" / "run")]
    with caplog.at_level("INFO", logger="deeph"):
        assert run_jobs(lambda: jobs, slow, 1, quiet=False) == 0
    assert "still at work, 0 of 1 done" in caplog.messages


def slow(job):
    time.sleep(0.3)
    return Outcome(job, "ok", "", 0.3)


def test_one_damaged_run_does_not_stop_the_others(runs, tmp_path):
    scfout = next(runs.rglob("mini_te*.scfout"))
    scfout.write_bytes(scfout.read_bytes()[:40000])
    done = preprocess("runs", "data", cwd=tmp_path)
    assert_clear(done, 1, "1 ok, 1 failed", "truncated", "mini_te_chain_soc.scfout")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["graphene"]
    assert len([line for line in done.stdout.splitlines() if line.startswith("failed")]) == 1


def test_nan_in_a_matrix(runs, tmp_path):
    path = runs / "graphene" / "mini_graphene.scfout"
    raw = read_scfout(path)
    H = raw.H.copy()
    H[0, 3] = np.nan
    content = scfout_bytes(replace(raw, H=H), Layout())
    del raw
    path.unlink()
    path.write_bytes(content)
    assert_clear(preprocess("runs/graphene", "data", "--verify", "off", cwd=tmp_path), 1, "NaN", "mini_graphene.scfout", "1 failed")
    assert not (tmp_path / "data").exists()


def test_bands_asked_for_but_not_there(runs, tmp_path):
    (runs / "graphene" / "mini_graphene.Band").unlink()
    done = preprocess("runs", "data", "--verify", "bands", "-q", cwd=tmp_path)  # a sound run that printed none: verified without, a note
    assert (done.returncode, done.stderr) == (0, "")
    assert "bands not compared (mini_graphene.Band is missing" in done.stdout
    assert "bands of mini_te_chain_soc.Band to" in done.stdout


def test_existing_folders_of_another_kind_are_left_alone(runs, tmp_path):
    (tmp_path / "data" / "te").mkdir(parents=True)
    (tmp_path / "data" / "te" / "thesis.txt").write_text("precious")
    done = preprocess("runs", "data", "--overwrite", cwd=tmp_path)
    assert_clear(done, 1, "is no structure folder", "1 ok, 1 failed")
    assert (tmp_path / "data" / "te" / "thesis.txt").read_text() == "precious"


def test_help_imports_nothing_heavy():
    """What makes --help slow is numpy, scipy and h5py; times are left to the benchmarks, because test machines are busy."""
    code = "import sys; from preprocess.cli.preprocess import parser; parser().format_help(); "
    code += "print(*{'numpy', 'scipy', 'h5py', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_equal_names_are_told_apart(tmp_path):
    for name in ("a/x/run", "a/y/run", "b/y/run", "b/other", ".hidden/run"):
        unpack_run("mini_graphene", tmp_path / name)
    jobs = find_jobs([tmp_path, tmp_path / "b"], tmp_path / "out")
    assert [job.out.name for job in jobs] == ["x-run", "a-y-run", "other", "b-y-run"]
    unpack_run("mini_graphene", tmp_path / "out" / "inside")
    assert len(find_jobs([tmp_path], tmp_path / "out")) == 4
    with pytest.raises(UsageError, match="both input and output"):
        find_jobs([tmp_path], tmp_path)


@pytest.mark.parametrize("damaged", [False, True])
def test_one_process_two_workers_and_mpirun_write_the_same_bytes(runs, tmp_path, damaged, mpirun):
    if damaged:
        (runs / "graphene" / "mini_graphene.scfout").write_bytes(b"nonsense")
    one = preprocess("runs", "one", "--positions", cwd=tmp_path)
    two = preprocess("runs", "two", "--positions", "-j", 2, cwd=tmp_path)
    command = [*mpirun, sys.executable, "-m", "preprocess.cli.preprocess", "runs", "mpi", "--positions"]
    mpi = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert [one.returncode, two.returncode, bool(mpi.returncode)] == [damaged, damaged, damaged], mpi.stdout + mpi.stderr
    rows = [sorted(line.split()[:2] for line in done.stdout.splitlines()) for done in (one, two, mpi)]
    assert rows[0] == rows[1] == rows[2]  # one table, in the order in which the runs were done
    contents = [{p.relative_to(tmp_path / out): p.read_bytes() for p in files_below(tmp_path / out)} for out in ("one", "two", "mpi")]
    assert len(contents[0]) == (5 if damaged else 10)
    assert contents[0] == contents[1] == contents[2]


def files_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_processes_that_cannot_talk_are_refused(runs, tmp_path, monkeypatch):
    """Each would convert everything."""
    assert find_group({}) == find_group({"PMI_SIZE": "1", "SLURM_STEP_NUM_TASKS": "3"}) == Group()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(UsageError, match=r"3 processes .*pip install mpi4py"):
        find_group({"OMPI_COMM_WORLD_SIZE": "3"})
    lonely = SimpleNamespace(MPI=SimpleNamespace(COMM_WORLD=SimpleNamespace(rank=0, size=1)))
    monkeypatch.setitem(sys.modules, "mpi4py", lonely)
    with pytest.raises(UsageError, match="mpi4py sees 1"):
        find_group({"PMI_SIZE": "2"})


def test_an_error_of_the_first_process_is_raised_in_all():
    class Second:
        """A communicator that hands out what the first process sent."""

        def bcast(self, _value, **_):
            return None, UsageError("no such folder")

    with pytest.raises(UsageError, match="no such folder"):
        Group(1, 2, Second()).by_first(lambda: pytest.fail("only the first process does the work"))


def test_dry_run_names_reader_reason_and_target(runs, tmp_path):
    done = preprocess("runs", "data", "--dry-run", cwd=tmp_path)
    assert_clear(done, 0, "read as openmx (it holds mini_te_chain_soc.scfout)", "data/te", "2 convert, 0 fail, 0 skip")
    assert not (tmp_path / "data").exists()
    preprocess("runs/graphene", "data", cwd=tmp_path)
    (tmp_path / "runs" / "deeper" / "te" / "POSCAR").write_text("")
    (tmp_path / "runs" / "deeper" / "te" / "info.json").write_text("")
    done = preprocess("runs", "data", "--dry-run", cwd=tmp_path)
    assert_clear(done, 1, "could be of several codes", "0 convert, 1 fail, 1 skip")


def test_a_dry_run_says_what_the_run_would_do(runs, tmp_path):
    """Also what is seen only when the matrices are read."""
    scfout = runs / "deeper" / "te" / "mini_te_chain_soc.scfout"
    scfout.write_bytes(scfout.read_bytes()[:40000])
    for options in ([], ["--positions"], ["--density"], ["-j", 2]):
        dry, real = (preprocess("runs", f"data{len(options)}", *options, *more, cwd=tmp_path) for more in (["--dry-run"], []))
        names = {"convert": "ok", "fail": "failed", "skip": "skipped"}
        rows = [
            sorted((names.get(row[0], row[0]), row[1]) for row in map(str.split, done.stdout.splitlines()[:-1])) for done in (dry, real)
        ]
        assert rows[0] == rows[1]
        assert dry.returncode == real.returncode == 1
        assert "truncated" in dry.stdout
        shutil.rmtree(tmp_path / f"data{len(options)}")


def test_spinor_blocks_on_request(runs, tmp_path):
    assert_clear(preprocess("runs/graphene", "data", "--spinor", "--verify", "bands", cwd=tmp_path), 0, "spin spinor")
    plain, spinor = openmx.read(runs / "graphene"), read_folder(tmp_path / "data" / "graphene")
    assert spinor.basis.spin == "spinor"
    assert spinor.H.entries.dtype == complex
    k = np.array([[0.1, 0.3, 0.0]])
    np.testing.assert_allclose(eigenvalues(spinor, k)[0, 0], np.repeat(eigenvalues(plain, k)[0, 0], 2), atol=1e-9)
    assert_clear(preprocess("data", "legacy", "--format", "legacy", cwd=tmp_path), 0, "spin spinor")


def test_links_are_followed_once(runs, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "first").symlink_to(runs / "graphene")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    jobs = find_jobs([tmp_path / "set", runs], tmp_path / "out")
    assert [job.out.name for job in jobs] == ["first", "te"]


def test_an_unexpected_error_is_one_failed_run(runs, tmp_path, monkeypatch):
    def strange(*_):
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(pipeline, "verify", strange)
    outcome = convert(Job(runs / "graphene", tmp_path / "out"), Options())
    assert (outcome.status, outcome.reason) == ("failed", "unexpected ZeroDivisionError: surprise")
    assert "strange" in outcome.trace
    assert not (tmp_path / "out").exists()


def killing(job):
    """Stands for a conversion that runs out of memory on one of the runs."""
    if job.run.name == "run3":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(job, "ok", "", 0.0)


def test_only_the_run_that_kills_its_worker_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    jobs = [Job(tmp_path / f"run{n}", tmp_path / "out" / f"run{n}") for n in range(8)]
    outcomes = {o.job.run.name: o for o in do_all(jobs, killing, 2)}
    assert [outcomes[f"run{n}"].status for n in range(8)] == ["ok"] * 3 + ["failed"] + ["ok"] * 4
    assert "smaller -j" in outcomes["run3"].reason


def many(runs: Path, number: int) -> None:
    """The same run under many names."""
    for n in range(number):
        (runs / "many" / f"{n}").mkdir(parents=True)
        (runs / "many" / f"{n}" / "a.scfout").symlink_to(runs / "graphene" / "mini_graphene.scfout")


def test_a_killed_command_leaves_nothing_half_done_and_is_resumed(runs, tmp_path):
    many(runs, 60)
    command = [sys.executable, "-m", "preprocess.cli.preprocess", "runs/many", "data", "-j", "2"]
    with (tmp_path / "table").open("w") as table:
        whole = subprocess.Popen(command, cwd=tmp_path, stdout=table, stderr=subprocess.DEVNULL)
        wait_until(lambda: (tmp_path / "data").is_dir() and len(list((tmp_path / "data").iterdir())) > 6)
        workers = Path(f"/proc/{whole.pid}/task/{whole.pid}/children").read_text().split()
        whole.kill()
        whole.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    finished = [folder for folder in (tmp_path / "data").iterdir() if not folder.name.startswith(".")]
    for folder in finished:
        assert read_folder(folder).H is not None
    rows = {line.split()[1] for line in (tmp_path / "table").read_text().splitlines()}
    assert rows <= {folder.name for folder in finished}
    assert len(rows) >= len(finished) - 3  # but for what the workers had just done
    unfinished = tmp_path / "data" / f".7.{folders._host()}.{whole.pid}.part"
    unfinished.mkdir(exist_ok=True)
    other = tmp_path / "data" / f".8.elsewhere.{whole.pid}.part"
    other.mkdir()
    preprocess("runs/many", "data", cwd=tmp_path)
    assert len([f for f in (tmp_path / "data").iterdir() if not f.name.startswith(".")]) == 60
    assert not unfinished.exists()
    assert other.exists()


def test_several_commands_may_share_an_output(runs, tmp_path):
    """What another one finished first is skipped, not failed."""
    many(runs, 25)
    command = [sys.executable, "-m", "preprocess.cli.preprocess", "runs/many", "data"]
    three = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    tables = [one.communicate()[0] for one in three]
    assert [one.returncode for one in three] == [0, 0, 0], tables
    rows = [line.split()[:2] for table in tables for line in table.splitlines()[:-1]]
    assert sorted(name for status, name in rows if status == "ok") == sorted(str(n) for n in range(25))
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(str(n) for n in range(25))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_an_error_of_one_run(runs, tmp_path, workers):
    """A limit on the size of files stands for the disk: one run is too large for it, the other is not."""
    command = f"ulimit -f 85; exec {sys.executable} -m preprocess.cli.preprocess runs data -j {workers}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert_clear(done, 1, "1 ok, 1 failed, 0 skipped", "cannot be written: File too large. Make room")
    assert "memory" not in done.stdout
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_each_folder_is_listed_once_and_a_run_once_more(runs, tmp_path, monkeypatch):
    many(runs, 50)
    counts = dict.fromkeys(("scandir", "listdir"), 0)
    for name in counts:
        monkeypatch.setattr(os, name, partial(counted, counts, name, getattr(os, name)))
    assert len(find_jobs([runs], tmp_path / "out")) == 52
    assert sum(counts.values()) < 2.2 * 52 + 10


def counted(counts, name, function, *arguments):
    counts[name] += 1
    return function(*arguments)


def test_the_marks_of_the_readers_leave_out_no_run(runs, shared_data):
    """Folders that a reader knows have one of its marks."""
    found = 0
    for folder in [p for root in (runs, shared_data / "openmx", shared_data / "peers") for p in root.rglob("*") if p.is_dir()]:
        expected = {name: reason for name, reader in READERS.items() if (reason := reader.detect(folder))}
        assert candidates(folder) == expected
        found += len(expected)
    assert found > 30


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_run_is_not_replaced_by_itself(runs, tmp_path):
    out = tmp_path / "data" / "graphene"
    convert(Job(runs / "graphene", out), Options())
    assert "is the run itself" in convert(Job(out, out), Options(overwrite=True)).reason
    assert read_folder(out).H is not None
    assert "no position matrices" in convert(Job(out, tmp_path / "other"), Options(positions=True)).reason
    assert "bands not compared (its code gives no bands)" in convert(Job(out, tmp_path / "other"), Options(verify="bands")).reason
