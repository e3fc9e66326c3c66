"""SIESTA: whether the self-consistent cycle converged, from what the run printed and from MESSAGES."""

import json
import os

import pytest
from siesta_files import model, rows_of, written

from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.siesta import reader as siesta
from preprocess.readers.siesta.scf import read_convergence

HEAD = """                           *  WELCOME TO SIESTA  *
reinit: System Label: run
redata: Require DM convergence for SCF              =   T
redata: DM tolerance for SCF                        =     0.000100
redata: Require H convergence for SCF               =   T
redata: Hamiltonian tolerance for SCF               =     0.001000 eV
"""
TABLE = """        iscf     Eharris(eV)        E_KS(eV)     FreeEng(eV)     dDmax    Ef(eV) dHmax(eV)
   scf:    1    -7073.946179    -7093.486662    -7093.552063  1.097782 -1.812213 13.770530
timer: Routine,Calls,Time,% = IterSCF        1       2.026  60.89
   scf:    2    -7094.271513    -7093.881181    -7093.947204  0.018230 -1.897377  0.342672
"""
LAST = "   scf:    3    -7094.271513    -7093.881181    -7093.947204  0.000020 -1.897377  0.000300\n"
GOOD = "\nSCF Convergence by DM+H criterion\nSCF cycle converged after 3 iterations\nsiesta: 1 0.1 0.2\n"
BAD = "\nSCF_NOT_CONV: SCF did not converge in maximum number of steps.\nGeom step, scf iteration, dmax:    0    2    0.018230\n"
END = ">> End of run:   7-MAY-2024  22:15:11\nJob completed\n"
DM, H = "change of the density matrix", "change of H (eV)"

LOGS = {
    "converged": (TABLE + LAST + GOOD + END, (True, 3, 3e-4, 1e-3, H)),
    "converged, analysis interrupted": (TABLE + LAST + GOOD, (True, 3, 3e-4, 1e-3, H)),
    "not converged": (TABLE + BAD, (False, 2, 0.342672, 1e-3, H)),
    "not converged and accepted": (TABLE + BAD + END, (False, 2, 0.342672, 1e-3, H)),
    "interrupted": (TABLE, (False, 2, 0.342672, 1e-3, H)),
    "interrupted in the second geometry": (TABLE + LAST + GOOD + TABLE, (False, 2, 0.342672, 1e-3, H)),
    "only the first geometry failed": (TABLE + BAD + TABLE + LAST + GOOD + END, (True, 3, 3e-4, 1e-3, H)),
    "says nothing, small": (TABLE + LAST + END, (True, 3, 3e-4, 1e-3, H)),
    "says nothing, large": (TABLE + END, (False, 2, 0.342672, 1e-3, H)),
    "no steps": (END, (None, None, None, None, "")),
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_logs(tmp_path, name, newline):
    text, expected = LOGS[name]
    (tmp_path / "job.out").write_text(HEAD + text, newline=newline)
    assert read_convergence(tmp_path / "run.HSX") == Convergence(*expected, file="job.out")


def test_the_criterion_is_that_of_the_run(tmp_path):
    log = (HEAD + TABLE + BAD).replace("H convergence for SCF               =   T", "H convergence for SCF               =   F")
    (tmp_path / "job.out").write_text(log)
    assert read_convergence(tmp_path / "run.HSX") == Convergence(False, 2, 0.01823, 1e-4, DM, "job.out")
    old = log.replace("   scf:", "siesta:").replace("        iscf", "siesta: iscf").replace("dHmax(eV)", "").replace("DM tol", "DM Tol")
    (tmp_path / "job.out").write_text("\n".join(line[:-10] if line.startswith("siesta:  ") else line for line in old.splitlines()))
    assert read_convergence(tmp_path / "run.HSX") == Convergence(False, 2, 0.01823, 1e-4, DM, "job.out")


def test_which_file(tmp_path):
    assert read_convergence(tmp_path / "run.HSX") == Convergence()
    (tmp_path / "queue.out").write_text("nothing\n")
    (tmp_path / "other.out").write_text((HEAD + TABLE + BAD).replace("Label: run", "Label: other"))
    assert read_convergence(tmp_path / "run.HSX") == Convergence()
    (tmp_path / "first.out").write_text(HEAD + TABLE + BAD)
    (tmp_path / "second.log").write_text(HEAD + TABLE + LAST + GOOD)
    os.utime(tmp_path / "first.out", (1000, 1000))
    assert read_convergence(tmp_path / "run.HSX").converged is True
    os.utime(tmp_path / "second.log", (500, 500))
    assert read_convergence(tmp_path / "run.HSX").converged is False


@pytest.mark.parametrize("text", [HEAD, HEAD.splitlines()[0], HEAD + TABLE.splitlines()[0]])
def test_an_output_cut_before_the_first_step_is_refused(tmp_path, text):
    (tmp_path / "MESSAGES").write_text("INFO: Job completed\n")
    (tmp_path / "job.out").write_text(text)
    with pytest.raises(DataError, match=r"job\.out has no end"):
        read_convergence(tmp_path / "run.HSX")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ("INFO: Job completed\n", Convergence(True, file="MESSAGES")),
        ("WARNING: something\n", Convergence(None, file="MESSAGES")),
        ("FATAL: SCF_NOT_CONV: SCF did not converge\n (info): Geom step, scf iteration, dmax:     1    50    0.001234\n",
         Convergence(False, 50, 0.001234, None, DM, "MESSAGES")),
        ("WARNING: SCF_NOT_CONV: SCF did not converge\nINFO: Job completed\n", Convergence(False, None, None, None, DM, "MESSAGES")),
    ],
)  # fmt: skip
def test_messages_alone(tmp_path, messages, expected):
    (tmp_path / "MESSAGES").write_text(messages)
    assert read_convergence(tmp_path / "run.HSX") == expected


def test_numbers_that_are_none(tmp_path):
    (tmp_path / "job.out").write_text((HEAD + TABLE + BAD).replace("0.342672", "0.34.672"))
    with pytest.raises(DataError, match=r"job\.out: the history of the self-consistent cycle is not understood: '0\.34\.672'"):
        read_convergence(tmp_path / "run.HSX")


def test_it_travels_with_the_structure(tmp_path):
    folder = written(tmp_path, rows_of(model(1), 1))
    (folder / "job.out").write_text(HEAD + TABLE + BAD)
    source = json.loads(json.dumps(siesta.read(folder).source))
    assert Convergence.of(source) == Convergence(False, 2, 0.342672, 1e-3, H, "job.out")


@pytest.mark.parametrize(("run", "steps"), [("Fe-bcc-collinear", 28), ("Pt2-spin-orbit", 23), ("SrTiO3-collinear", 22)])
def test_real_outputs(shared_data, run, steps):
    found = Convergence.of(siesta.read(shared_data / "peers" / "siesta" / run).source)
    assert (found.converged, found.steps, found.criterion, found.file) == (True, steps, 1e-3, "RUN.out")
    assert found.residual < 1e-3
