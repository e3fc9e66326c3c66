"""k-points over processes and MPI ranks: interrupted and resumed, the result is that of one go."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell

from deeph.files import folders
from deeph.files.folders import FullDiskError
from deeph.files.store import write_folder
from deeph.runtime.errors import DataError
from deeph.runtime.processes import Group
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver
from postprocess.output.tables import read_bands
from postprocess.states.kjobs import Jobs, KTask, fingerprint, run_tasks
from postprocess.states.projectors import make_projectors
from postprocess.states.spectrum import compute_spectrum

TASKS = [KTask(0, (x, 0.0, 0.0)) for x in (0.0, 0.1, 0.2, 0.3)]


def square(task):
    """Something that fails at one point if a file says so."""
    if task.k[0] == 0.2 and os.environ.get("DEEPH_TEST_FAIL"):
        raise DataError("no convergence")
    return {"energies": np.array([task.k[0] ** 2, task.spin])}


def die(task):
    if task.k[0] == 0.3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("kept", [True, False])
def test_results_come_in_the_order_of_the_tasks(tmp_path, n_workers, kept):
    jobs = Jobs(n_workers, scratch=tmp_path / "scratch" if kept else None)
    results = run_tasks(square, TASKS, jobs)
    assert [r["energies"][0] for r in results] == [task.k[0] ** 2 for task in TASKS]
    jobs.finish()
    assert not any(tmp_path.iterdir())


def test_what_was_done_is_not_done_again(tmp_path, monkeypatch, caplog):
    jobs = Jobs(scratch=tmp_path / "scratch")
    monkeypatch.setenv("DEEPH_TEST_FAIL", "1")
    with pytest.raises(DataError, match="no convergence"):
        run_tasks(square, TASKS, jobs, identity="a")
    assert len(list(jobs.scratch.glob("*.npz"))) == 2
    monkeypatch.delenv("DEEPH_TEST_FAIL")
    (jobs.scratch / "000001.npz").write_bytes(b"PK half of it")  # a computer lost its power
    (jobs.scratch / f".000003.npz.{folders._host()}.{2**22 - 1}.part").mkdir()  # of a process that was killed
    seen = []
    results = run_tasks(lambda task: seen.append(task) or square(task), TASKS, jobs, identity="a")
    assert seen == TASKS[1:]
    assert [r["energies"][0] for r in results] == [task.k[0] ** 2 for task in TASKS]
    assert not list(jobs.scratch.glob(".*"))
    with pytest.raises(DataError, match="keeps the random vectors of an unfinished computation with other data"):
        run_tasks(square, TASKS, jobs, identity="b", unit="random vectors")
    with caplog.at_level("INFO"):
        run_tasks(square, TASKS, jobs, identity="a", unit="random vectors")
    assert "4 of 4 random vectors were computed before" in caplog.text


def test_another_computation_that_finished_nothing_is_not_in_the_way(tmp_path):
    jobs = Jobs(scratch=tmp_path / "scratch")

    def fail(_task):
        raise DataError("not enough memory")

    with pytest.raises(DataError, match="memory"):
        run_tasks(fail, TASKS, jobs, identity="in double precision")
    results = run_tasks(square, TASKS, jobs, identity="in single precision")
    assert [r["energies"][0] for r in results] == [task.k[0] ** 2 for task in TASKS]


def test_a_process_that_dies_is_reported_and_the_others_results_are_kept(tmp_path):
    jobs = Jobs(2, scratch=tmp_path / "scratch")
    with pytest.raises(DataError, match="died, perhaps for want of memory"):
        run_tasks(die, TASKS, jobs)
    assert len(run_tasks(square, TASKS, jobs)) == len(TASKS)


def test_results_of_which_nothing_can_be_made_are_removed(tmp_path):
    """A window without levels: the wider one that the error advises has to be possible."""
    jobs = Jobs(scratch=tmp_path / "scratch")
    with pytest.raises(DataError, match="no level"):
        compute_spectrum(random_model(2), np.zeros((2, 3)), solver=Eigensolver(low=500, high=600), jobs=jobs)
    assert not jobs.scratch.exists()
    assert np.isfinite(compute_spectrum(random_model(2), np.zeros((2, 3)), solver=Eigensolver(low=-9, high=9), jobs=jobs).energies).all()


def test_residuals_are_those_of_vectors_or_not_known():
    data = hermitian(random_model(2))
    assert np.isnan(compute_spectrum(data, np.zeros((1, 3))).largest_residual)
    assert 0 < spectrum_of(data, np.zeros((1, 3))).largest_residual < 1e-10


def test_an_error_in_one_rank_is_raised_in_all():
    class Second:
        """What the second of two ranks sees; the first has failed."""

        def bcast(self, _value, root):  # noqa: ARG002 - the name mpi4py has
            return [0, 1, 2, 3], None

        def allgather(self, values):
            return [[DataError("of rank 0")], values]

    with pytest.raises(DataError, match="of rank 0"):
        run_tasks(square, TASKS, Jobs(group=Group(1, 2, Second())))


def test_fingerprints_tell_data_and_options_apart():
    data = random_model(1)
    other = replace(data, H=replace(data.H, entries=data.H.entries + 1e-9))
    prints = {fingerprint(d, t, o) for d in (data, other) for t in (TASKS, TASKS[1:]) for o in ("a", "b")}
    assert len(prints) == 8
    assert fingerprint(data, TASKS, "a") == fingerprint(random_model(1), list(TASKS), "a")


def test_repeated_points_are_computed_once(tmp_path):
    k = np.array([[0, 0, 0], [0.1, 0.2, 0], [0, 0, 0]])
    jobs = Jobs(scratch=tmp_path / "scratch")
    spectrum = compute_spectrum(random_model(2, spin="collinear"), k, jobs=jobs)
    assert len(list(jobs.scratch.glob("*.npz"))) == 4
    assert spectrum.energies.shape[:2] == (2, 3)
    assert np.array_equal(spectrum.energies[:, 0], spectrum.energies[:, 2])


def test_bands_of_a_window_keep_their_numbers():
    """Other levels are in the window at every k; the table puts band n into column n - first_band, weights alike, and NaN elsewhere."""
    data = hermitian(random_model(4))
    k = np.array([[0, 0, 0], [0.13, -0.27, 0], [0.4, 0.3, 0]])
    every, window = spectrum_of(data, k), spectrum_of(data, k, Eigensolver(low=-0.6, high=0.6))
    inside = (every.energies >= -0.6) & (every.energies <= 0.6)
    assert len({int(np.argmax(row)) for row in inside[0]}) > 1  # the first one differs from k to k
    columns = slice(window.first_band, window.first_band + window.energies.shape[2])
    assert inside.sum() == inside[..., columns].sum() == np.isfinite(window.energies).sum()
    for found, known in ((window.energies, every.energies), (window.weights["C"], every.weights["C"])):
        assert np.allclose(found, np.where(inside, known, np.nan)[..., columns], atol=1e-9, equal_nan=True)


def spectrum_of(data, k, solver=None):
    return compute_spectrum(data, k, solver=solver, projectors=make_projectors(data, ["element"]))


BANDS = [sys.executable, "-m", "postprocess.cli.bands"]


def command(folder, *arguments, start=()):
    return [*start, *BANDS, "data", "--points", "60", *map(str, arguments)], {"cwd": folder, "capture_output": True, "text": True}


def run(folder, *arguments, start=()):
    words, options = command(folder, *arguments, start=start)
    result = subprocess.run(words, **options, check=False)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_folder(folder / "data", replace(supercell(random_model(3), (5, 4, 1)), fermi_energy=0.0))
    return folder


@pytest.mark.parametrize(
    "options", [("--projections", "element"), ("--window", "-0.3", "0.3", "--solver", "superlu")], ids=["dense", "sparse"]
)
def test_killed_and_called_again(model, options, tmp_path):
    """SIGKILL in the middle: no output file; the same command goes on; the result is bitwise that of an uninterrupted run."""
    run(model, *options, "--out", tmp_path / "whole.h5")
    out = tmp_path / "bands.h5"
    words, _ = command(model, *options, "--out", out)
    process = subprocess.Popen(words, cwd=model, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    scratch = tmp_path / ".bands.h5.0.kpoints"
    deadline = time.monotonic() + 60
    while len(list(scratch.glob("*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    done = len(list(scratch.glob("*.npz")))
    assert 3 <= done < 58
    result = run(model, *options, "--out", out)
    assert f"{done} of " in result.stderr
    assert not scratch.exists()
    whole, resumed = read_bands(tmp_path / "whole.h5"), read_bands(out)
    assert np.array_equal(whole.energies, resumed.energies, equal_nan=True)
    assert all(np.array_equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)


def test_other_options_do_not_go_on_with_what_was_left(model, tmp_path):
    scratch = tmp_path / ".bands.h5.0.kpoints"
    scratch.mkdir()
    (scratch / "job.json").write_text('{"identity": "other", "n": 3}')
    np.savez(scratch / "000002.npz", energies=[0.0])
    words, options = command(model, "--out", tmp_path / "bands.h5")
    result = subprocess.run(words, **options, check=False)
    assert result.returncode == 1
    assert "remove the folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_processes_and_ranks_give_the_same(model, tmp_path, mpirun):
    run(model, "--out", tmp_path / "one.h5")
    run(model, "-j", 2, "--out", tmp_path / "two.h5")
    expected = read_bands(tmp_path / "one.h5").energies
    assert np.abs(expected - read_bands(tmp_path / "two.h5").energies).max() < 1e-10
    result = run(model, "--out", tmp_path / "mpi.h5", start=tuple(mpirun))
    assert result.stdout.count("k-points, ") == 1
    assert np.abs(expected - read_bands(tmp_path / "mpi.h5").energies).max() < 1e-10


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    """Neither advice on permissions nor a hidden folder without results."""
    import errno

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    jobs = Jobs(scratch=tmp_path / ".x.kpoints")
    monkeypatch.setattr("postprocess.states.kjobs.np.savez", full)
    with pytest.raises(FullDiskError, match="No space left on device"):
        compute_spectrum(random_model(2), np.zeros((2, 3)), jobs=jobs)
    assert not list(tmp_path.iterdir())


def test_long_work_tells_how_far_it_is_without_a_terminal(monkeypatch, caplog):
    import logging
    import time

    caplog.set_level(logging.INFO, logger="deeph")
    monkeypatch.setattr("deeph.runtime.log.SILENCE", 0.05)

    def slow(_task):
        time.sleep(0.2)
        return {"energies": np.zeros(1)}

    run_tasks(slow, [KTask(0, (x, 0.0, 0.0)) for x in (0.0, 0.1)])
    assert any("1 of 2 k-points are done, about" in line for line in caplog.messages)
