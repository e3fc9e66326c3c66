"""Large routes by several processes, by MPI, and after a crash in the middle: one process at one go gives the same digits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tight_binding import changed_basis, haldane
from twisted_cases import pi_bilayer

import deeph
from postprocess.output.records import read_record

MESH = ["--mesh", 2, 2, 1, "--photons", 2, 6, "--energies", 5, "--broadening", 0.4, "--temperature", 1500, "--fermi", 0.81]
COMMANDS = {
    "berry": ("berry", ["--mesh", 2, 3, 1, "--bands", "1", "--center", 0.0, "--solver", "superlu"], ("curl", "metric")),
    "levels": ("optics", [*MESH, "--method", "levels", "--solver", "superlu"], ("sigma_real",)),
    "kpm": ("optics", [*MESH, "--method", "kpm", "--vectors", 4], ("sigma_real", "error")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A Chern insulator, whose lower band is a group everywhere, and a twisted bilayer."""
    place = tmp_path_factory.mktemp("large")
    deeph.write_folder(place / "berry", changed_basis(haldane(0.2, t2=0.2)))
    deeph.write_folder(place / "optics", pi_bilayer(1, 2, mass=0.3))
    return place


def command(folders, name, *options):
    program, words, _ = COMMANDS[name]
    return [sys.executable, "-m", f"postprocess.cli.{program}", *map(str, [folders / program, *words, *options])]


def run(words):
    """What it tells."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_processes_and_ranks_give_the_same(folders, tmp_path, mpirun, name):
    starts = {"one": ([], []), "two": ([], ["-j", "2"]), "mpi": (mpirun, [])}
    found = {}
    for kind, (start, options) in starts.items():
        file = tmp_path / f"{kind}.h5"
        run([*start, *command(folders, name, *options, "--out", file)])
        found[kind] = read_record(file)
    for kind in ("two", "mpi"):
        for quantity in COMMANDS[name][2]:
            expected = found["one"][quantity]
            np.testing.assert_allclose(found[kind][quantity], expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert not list(tmp_path.glob(".*"))


SECOND = """
import os, sys, time
import postprocess.cli.responses
from deeph.runtime import processes
from deeph.runtime.errors import DataError
from postprocess.cli.{program} import main
from postprocess.states.kjobs import Results
processes.PATIENCE = 1.0
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    {instead}
main(sys.argv[1:])
"""
"""A command whose second process does something else."""
LATE = "read = Results.__getitem__; Results.__getitem__ = lambda self, place: (time.sleep(0.5), read(self, place))[1]"
FAILS = "def fails(*_, **__): raise {error}\n    {where} = fails"


def second(mpirun, tmp_path, instead, program, *words):
    script = tmp_path / "second.py"
    script.write_text(SECOND.format(program=program, instead=instead))
    return [*mpirun, sys.executable, str(script), *map(str, words)]


KPM_DOS = ["--mesh", 3, 3, 1, "--method", "kpm", "--width", 0.3, "--vectors", 2]


@pytest.mark.parametrize(("program", "options"), [("berry", COMMANDS["berry"][1]), ("dos", KPM_DOS)])
def test_nothing_is_removed_before_all_have_read_it(folders, tmp_path, mpirun, program, options):
    file = tmp_path / "late.h5"
    run(second(mpirun, tmp_path, LATE, program, folders / "berry", *options, "--out", file))
    assert file.is_file()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("where", ["Results.__getitem__", "postprocess.cli.responses.load"])
@pytest.mark.parametrize("error", ["OSError(5, 'the disk is gone', 'part.npz')", "DataError('the disk is gone')"])
def test_an_error_of_one_process_is_told_and_ends_all(folders, tmp_path, mpirun, where, error):
    """Also where the others wait for what that process would send them."""
    words = second(
        mpirun,
        tmp_path,
        FAILS.format(error=error, where=where),
        "berry",
        folders / "berry",
        *COMMANDS["berry"][1],
        "--out",
        tmp_path / "c.h5",
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("the disk is gone") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on(folders, tmp_path):
    """What was finished is not computed again, and the result is that of one go."""
    words = command(folders, "kpm")
    whole, file = tmp_path / "whole.h5", tmp_path / "sigma.h5"
    run([*words, "--out", whole])
    process = subprocess.Popen([*words, "--out", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(list(tmp_path.glob(".sigma*/*.npz"))) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(tmp_path.glob(".sigma*/*.npz")))
    assert not file.exists()
    assert 4 <= kept < 16  # four k-points with four vectors each
    assert "random vectors were computed before" in run([*words, "--out", file])
    np.testing.assert_array_equal(read_record(file)["sigma_real"], read_record(whole)["sigma_real"])
    assert not list(tmp_path.glob(".*"))
