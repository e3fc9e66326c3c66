"""Nobody waits five seconds for a sign of life: lines, bars, and eigensolvers that do not silence them."""

import importlib.util
import itertools
import logging
import sys
import threading
import time

import numpy as np
import pytest
import scipy.linalg
from band_cases import random_model, supercell
from conftest import ROOT

from deeph.files.store import write_folder
from deeph.physics.lapack import NotConvergedError, generalized_eigh
from deeph.runtime.log import Progress, _Told, telling

spec = importlib.util.spec_from_file_location("silence", ROOT / "benchmarks" / "silence.py")
silence = importlib.util.module_from_spec(spec)
sys.modules["silence"] = silence
spec.loader.exec_module(silence)


def test_pieces_of_work_hold_others(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="deeph")
    monkeypatch.setattr("deeph.runtime.log.SILENCE", 0.05)
    with telling("", 3, "k-points") as points:
        points.advance()
        with telling("factoring", expected=100.0):
            time.sleep(0.3)
    assert any(
        line.startswith("1 of 3 k-points are done, about 1 s left; factoring, ") and line.endswith(" s of about 100 s")
        for line in caplog.messages
    ), caplog.messages
    caplog.clear()
    time.sleep(0.2)
    assert not caplog.messages  # the thread has ended


def test_worker_processes_and_other_ranks_say_nothing(monkeypatch, caplog):
    monkeypatch.setattr("deeph.runtime.log.SILENCE", 0.02)
    caplog.set_level(logging.CRITICAL, logger="deeph")
    with telling("working"):
        time.sleep(0.1)
    assert not caplog.messages


def test_how_far_large_numbers_are():
    progress = Progress("moments", 20000, "steps", None)
    progress.start -= 10
    progress.advance(5000)
    assert progress.describe() == "moments: 25% of the steps, about 30 s left"


def test_time_left_falls_between_two_steps(monkeypatch):
    """Of two structures the first took 35 s: the rest is known for as long again, and by nobody afterwards."""
    now = [0.0]
    monkeypatch.setattr("deeph.runtime.log.time.monotonic", lambda: now[0])
    progress = Progress("predicting", 2, "structures", None)
    now[0] = 35.0
    progress.advance()
    said = []
    for now[0] in (35.0, 40.0, 60.0, 71.0):
        said.append(progress.describe().partition("are done")[2])
    assert said == [", about 35 s left", ", about 30 s left", ", about 10 s left", ""]


def test_lines_become_rarer_and_say_something_new(monkeypatch):
    """On a clock of its own: four seconds at first, never more than ten."""
    now, said = [0.0], []
    monkeypatch.setattr("deeph.runtime.log.time.monotonic", lambda: now[0])
    monkeypatch.setattr("deeph.runtime.log.SILENCE", 4.0)  # silenced in all tests
    told = _Told()
    monkeypatch.setattr("deeph.runtime.log.logger", Lines(lambda text: (said.append((now[0], text)), told.note(None))))
    told.pieces.append(Progress("loading torch", None, "steps", None))
    told.run(Clock(now, 600.0))
    times = [at for at, _ in said]
    assert times[0] <= 4.0
    assert max(b - a for a, b in itertools.pairwise(times)) <= 10.001
    assert len(said) < 70
    assert len({text for _, text in said}) == len(said)
    assert said[1][1] == f"loading torch, {times[1]:.0f} s so far"


class Lines:
    """A logger that gives its lines away."""

    handlers = ()

    def __init__(self, take):
        self.take = take

    def info(self, form, text):
        self.take(form % text)


class Clock:
    """An event that is set at some time, and waits in no time."""

    def __init__(self, now, end):
        self.now, self.end = now, end

    def wait(self, seconds):
        self.now[0] += seconds
        return self.now[0] > self.end


PROGRAM = """
import sys, time
from deeph.runtime import log
log.SILENCE, log.REDRAWN = 0.4, 0.1
log.setup_logging(0)
with log.telling("", 4, "k-points") as points:
    for n in range(4):
        time.sleep(0.5)
        points.advance()
        log.logger.info("line %d", n)
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, terminal):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code, pieces = silence.stamped([sys.executable, "-c", PROGRAM], terminal=terminal, echo=False)
    text = "".join(piece.text for piece in pieces)
    assert code == 0
    assert [line.split("\r")[-1] for line in text.splitlines() if "line" in line][-1].strip() == "line 3"
    assert ("|##########----------| 2 of 4 k-points are done" in text) == terminal
    assert terminal == ("\r" in text.replace("\r\n", "\n"))
    if terminal:
        assert "k-points" not in text.split("\r")[-1]  # the bar goes away


def test_the_longest_silence_is_found():
    pieces = [silence.Piece(1.0, "a\n"), silence.Piece(4.5, "b\rc\n"), silence.Piece(5.0, "")]
    assert silence.silences(pieces)[0] == (3.5, 1.0, "a")


@pytest.mark.parametrize("n", [1, 2, 60])
@pytest.mark.parametrize("is_complex", [False, True])
def test_lapack_gives_the_digits_of_scipy(n, is_complex):
    rng = np.random.default_rng(n)
    a, b = (rng.normal(size=(n, n)) + 1j * is_complex * rng.normal(size=(n, n)) for _ in range(2))
    h, s = a + a.conj().T, b @ b.conj().T + np.eye(n)
    h, s = (h, s) if is_complex else (h.real, s.real)
    expected = scipy.linalg.eigh(h, s, lower=False)[0]
    energies, C = generalized_eigh(h, s, vectors=True)
    assert (energies == expected).all()
    assert np.abs(h @ C - s @ C * energies).max() < 1e-10 * max(1, np.abs(energies).max())
    assert (generalized_eigh(h, s, vectors=False)[0] == scipy.linalg.eigh(h, s, lower=False, eigvals_only=True)).all()
    with pytest.raises(NotConvergedError):
        generalized_eigh(h, -s, vectors=True)


def test_other_threads_go_on_while_lapack_works():
    """The function of scipy stops every thread until it is done."""
    rng, n, ticks, ended = np.random.default_rng(0), 700, [], threading.Event()
    a = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    h, s = a + a.conj().T, np.eye(n) + 0j

    def tick():
        while not ended.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.monotonic()
    generalized_eigh(h, s, vectors=True)
    end = time.monotonic()
    ended.set()
    thread.join()
    gaps = np.diff([start, *[t for t in ticks if start < t < end], end])
    assert gaps.max() < 0.5 * (end - start)


@pytest.mark.slow
def test_a_dense_band_structure_is_not_silent(tmp_path, monkeypatch):
    """Each k-point takes longer than the silence that is allowed, and LAPACK alone almost all of it."""
    data = supercell(random_model(1), (9, 9, 1))
    write_folder(tmp_path / "large", data)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    start = "import sys; from deeph.runtime import log; log.SILENCE = 0.4; from postprocess.cli.bands import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", start, str(tmp_path / "large"), "--path", "GK", "--points", "2", "--projections", "element"]
    code, pieces = silence.stamped(command, echo=False)
    assert code == 0
    text = "".join(p.text for p in pieces)
    assert "diagonalizing the dense matrices of" in text
    for done in ("0 of 2", "1 of 2"):  # while LAPACK works on each of them, whatever the load of the machine
        assert any(done in p.text and "diagonalizing" in p.text for p in pieces)
