"""deeph-preprocess as a user calls it: exit codes, one readable message, resuming, names of the outputs."""

import json
import os
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from openmx_files import Layout, scfout_bytes, unpack_run

from deeph.errors import UsageError
from deeph.legacy import read_legacy
from deeph.store import read_folder
from preprocess import pipeline
from preprocess.pipeline import Job, Options, convert, convert_all, find_jobs, own_share
from preprocess.readers import openmx
from preprocess.readers.openmx_scfout import read_scfout


def preprocess(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preprocess.cli", *map(str, arguments)]
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
    assert first.stderr == ""  # no progress bar where nobody looks
    written = read_folder(tmp_path / "data" / "te", positions=True)
    expected = openmx.read(runs / "deeper" / "te")
    for name in ("S", "H", "r"):
        assert np.array_equal(getattr(written, name).entries, getattr(expected, name).entries)
    assert written.source == json.loads(json.dumps(expected.source))
    again = preprocess("runs", "data", cwd=tmp_path)
    assert_clear(again, 0, "0 ok, 0 failed, 2 skipped", "--overwrite")
    assert_clear(preprocess("runs", "data", "--overwrite", cwd=tmp_path), 0, "2 ok")
    assert not (tmp_path / "data" / "te" / "position_matrix.h5").exists()
    assert_clear(preprocess("data", "legacy", "--format", "legacy", cwd=tmp_path), 0, "2 ok")
    assert np.array_equal(np.sort(read_legacy(tmp_path / "legacy" / "te").H.entries), np.sort(expected.H.entries))


def test_wrong_path_and_empty_folder(tmp_path):
    assert_clear(preprocess("nowhere", "data", cwd=tmp_path), 2, "nowhere is not a folder")
    (tmp_path / "empty").mkdir()
    assert_clear(preprocess("empty", "data", cwd=tmp_path), 1, "no run of openmx", "HS.fileout on")
    assert_clear(preprocess("empty", "empty", cwd=tmp_path), 2, "both input and output")
    assert_clear(preprocess("empty", "data", "--code", "vasp", cwd=tmp_path), 2, "no reader for 'vasp'", "openmx")
    assert_clear(preprocess("empty", "data", "-j", 0, cwd=tmp_path), 2, "-j 0")
    assert_clear(preprocess("empty", cwd=tmp_path), 2, "usage:")
    assert not (tmp_path / "data").exists()


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
    assert_clear(preprocess("runs", "data", "--verify", "bands", cwd=tmp_path), 1, "Band.dispersion on", "1 ok, 1 failed")


def test_existing_folders_of_another_kind_are_left_alone(runs, tmp_path):
    (tmp_path / "data" / "te").mkdir(parents=True)
    (tmp_path / "data" / "te" / "thesis.txt").write_text("precious")
    done = preprocess("runs", "data", "--overwrite", cwd=tmp_path)
    assert_clear(done, 1, "is no structure folder", "1 ok, 1 failed")
    assert (tmp_path / "data" / "te" / "thesis.txt").read_text() == "precious"


def test_help_imports_nothing_heavy():
    """What makes --help slow is numpy, scipy and h5py; times are left to the benchmarks, because test machines are busy."""
    code = "import sys, preprocess.cli as cli; cli.parser().format_help(); print(*{'numpy', 'scipy', 'h5py', 'torch'} & set(sys.modules))"
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


def test_processes_of_mpirun_share_the_runs(runs, tmp_path):
    jobs = [Job(Path(str(n)), Path(str(n))) for n in range(7)]
    shares = [own_share(jobs, {"PMI_RANK": str(rank), "PMI_SIZE": "3"}) for rank in range(3)]
    assert sorted(job for share in shares for job in share) == jobs
    assert max(map(len, shares)) == 3
    assert own_share(jobs, {"SLURM_PROCID": "0"}) == jobs
    done = [preprocess("runs", "data", cwd=tmp_path, OMPI_COMM_WORLD_RANK=str(rank), OMPI_COMM_WORLD_SIZE="3") for rank in range(3)]
    assert [d.stdout.splitlines()[-1] for d in done] == ["1 ok, 0 failed, 0 skipped"] * 2 + ["0 ok, 0 failed, 0 skipped"]
    assert [d.returncode for d in done] == [0, 0, 0]


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


def test_a_dead_worker_is_reported_for_its_runs(runs, tmp_path, monkeypatch):
    class Dead:
        def __init__(self, *_, **__): ...
        def shutdown(self, **_): ...
        def submit(self, *_):
            broken: Future[object] = Future()
            broken.set_exception(pipeline.BrokenProcessPool("killed"))
            return broken

    monkeypatch.setattr(pipeline, "ProcessPoolExecutor", Dead)
    outcomes = list(convert_all(find_jobs([runs], tmp_path / "out"), Options(), 2))
    assert [o.status for o in outcomes] == ["failed"] * 2
    assert "smaller -j" in outcomes[0].reason


def test_a_run_is_not_replaced_by_itself(runs, tmp_path):
    out = tmp_path / "data" / "graphene"
    convert(Job(runs / "graphene", out), Options())
    assert "is the run itself" in convert(Job(out, out), Options(overwrite=True)).reason
    assert read_folder(out).H is not None
    assert "no position matrices" in convert(Job(out, tmp_path / "other"), Options(positions=True)).reason
    assert "gives no bands" in convert(Job(out, tmp_path / "other"), Options(verify="bands")).reason
