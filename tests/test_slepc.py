"""SLEPc and MUMPS on one and two MPI ranks against LAPACK and PARDISO.

They run in the Python that runs pytest if it has slepc4py, else in that of DEEPH_SLEPC_PYTHON (Debian's packages are built for the Python
of the system, with numpy 1).
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from band_cases import random_model, supercell
from conftest import ROOT

from deeph.files.store import read_folder, write_folder
from deeph.runtime.errors import UsageError
from postprocess.cli.solver import check_solver_options
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.solver import Eigensolver, compute_levels
from postprocess.output.tables import read_bands
from postprocess.states.kjobs import Jobs, KTask, run_tasks

GENERAL, EDGE = (0.13, -0.27, 0.0), (0.5, 0.0, 0.0)
CODE = """
import json, sys
import numpy as np
from deeph.runtime.errors import DeephError
from deeph.files.store import read_folder
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver
from postprocess.eigen.slepc import load_slepc

data = hermitian(read_folder(sys.argv[1]))
PETSc, _ = load_slepc()
rank = PETSc.COMM_WORLD.rank
out = []
for k, selection in json.loads(sys.argv[2]):
    try:
        options = SolverOptions(name="slepc", verify=selection.pop("verify", True), compress=selection.pop("compress", 0.0))
        levels = Eigensolver(**selection, options=options)(data)(np.array(k))
    except DeephError as error:
        out.append(str(error))
        continue
    C, S = levels.vectors, data.S_bloch.csr(np.array(k))
    norm = float(np.abs(C.conj().T @ (S @ C) - np.eye(C.shape[1])).max(initial=0)) if rank == 0 else 0.0
    out.append([levels.energies.tolist(), levels.first, levels.complete, float(levels.residuals.max(initial=0)), norm, len(C)])
if rank == 0:
    print("RESULT" + json.dumps([bool(np.dtype(PETSc.ScalarType).kind == "c"), out]))
else:
    assert all(isinstance(one, str) or one[-1] == 0 for one in out)
"""


@pytest.fixture(scope="module")
def slepc():
    """Starts Python on n MPI ranks where slepc4py is installed, with the mpirun of its mpi4py; the standard output comes back."""
    python = os.environ.get("DEEPH_SLEPC_PYTHON") or (sys.executable if importlib.util.find_spec("slepc4py") else "")
    if not python:
        pytest.skip("needs slepc4py, here or in the Python that DEEPH_SLEPC_PYTHON names")
    config = "import mpi4py; print((mpi4py.get_config() or {}).get('mpicc', ''))"
    mpicc = subprocess.run([python, "-c", config], capture_output=True, text=True, check=True).stdout.strip()
    mpirun = Path(mpicc).with_name("mpirun") if mpicc else Path(python).with_name("mpirun")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}

    def start(words, n=1, folder=None, *, check=True):
        ranks = [mpirun, "-n", str(n), "--oversubscribe", "--allow-run-as-root"]
        result = subprocess.run(
            [*ranks, python, *map(str, words)], capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=300
        )
        assert not check or result.returncode == 0, result.stderr[-3000:]
        return result

    return start


def levels_of(start, folder, cases, n):
    text = start(["-c", CODE, folder, json.dumps(cases)], n).stdout
    return json.loads(text[text.index("RESULT") + len("RESULT") :].splitlines()[0])


def agrees(start, folder, cases, n, reference="dense"):
    """Energies to 1e-8 eV, the number of levels below, orthonormal states; proved where the build of PETSc counts."""
    data = read_folder(folder)
    is_complex, found = levels_of(start, folder, cases, n)
    for (k, selection), one in zip(cases, found, strict=True):
        assert not isinstance(one, str), one
        known = compute_levels(data, np.array(k), Eigensolver(**selection, options=SolverOptions(name=reference)))
        energies, first, complete, residual, norm, rows = one
        assert len(energies) == len(known.energies) > 0
        assert np.abs(np.array(energies) - known.energies).max() < 1e-8
        assert (first, complete) == ((None, None) if is_complex else (known.first, True))
        assert residual < 1e-6
        assert norm < 1e-8
        assert rows == data.n_orbitals
    return found


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_levels_of_a_model(slepc, tmp_path, spin, n):
    write_folder(tmp_path / "model", supercell(random_model(2, spin=spin), (4, 3, 1)))
    cases = [(k, s) for k in ((0, 0, 0), EDGE, GENERAL) for s in ({"n_bands": 9, "center": 0.2}, {"low": -0.6, "high": 0.5})]
    agrees(slepc, tmp_path / "model", cases, n)


def test_degenerate_levels(slepc, tmp_path):
    """A cell repeated three times has the same level at several k of its zone, and copies of each state in the doubled real form."""
    model = random_model(5)
    H, S = (replace(b, entries=b.entries * (b.pairs[:, :3] == 0).all(axis=1).repeat(b.shapes.prod(axis=1))) for b in (model.H, model.S))
    write_folder(tmp_path / "model", supercell(replace(model, H=H, S=S), (3, 2, 1)))  # six cells that do not see each other
    agrees(slepc, tmp_path / "model", [(k, {"low": -2.0, "high": 2.0}) for k in ((0, 0, 0), GENERAL)], 2)


def test_graphene(slepc, mini_graphene, tmp_path):
    write_folder(tmp_path / "graphene", supercell(mini_graphene, (4, 4, 1)))
    center = mini_graphene.fermi_energy
    cases = [(k, {"n_bands": 12, "center": center}) for k in ((0, 0, 0), GENERAL)]  # degenerate at the Dirac point and elsewhere
    one, two = (agrees(slepc, tmp_path / "graphene", cases, n) for n in (1, 2))
    assert np.allclose(one[0][0], two[0][0], atol=1e-10, rtol=0)


def test_twisted_bilayer(slepc, shared_data, tmp_path):
    """The 28-atom cell of twisted bilayer graphene, PARDISO for comparison; exact and block-low-rank factors."""
    if not is_installed():
        pytest.skip("needs PARDISO")
    from preprocess.readers import openmx

    data = openmx.read(shared_data / "openmx" / "tbg28")
    write_folder(tmp_path / "tbg28", data)
    cases = [(k, {"n_bands": 20, "center": data.fermi_energy}) for k in ((0, 0, 0), GENERAL)]
    for n in (1, 2):
        agrees(slepc, tmp_path / "tbg28", cases, n, "pardiso")
    compressed = levels_of(slepc, tmp_path / "tbg28", [(k, s | {"compress": 1e-10}) for k, s in cases], 2)[1]
    for (k, some), one in zip(cases, compressed, strict=True):
        known = compute_levels(data, np.array(k), Eigensolver(**some, options=SolverOptions(name="dense")))
        assert np.abs(np.array(one[0]) - known.energies).max() < 1e-8


def test_out_of_core_and_too_many_bands(slepc, tmp_path):
    data = supercell(random_model(7), (3, 2, 1))
    write_folder(tmp_path / "model", data)
    (tmp_path / "factors").mkdir()
    code = CODE.replace('name="slepc"', 'name="slepc", out_of_core=__import__("pathlib").Path("factors")')
    cases = [((0, 0, 0), {"n_bands": 5}), ((0, 0, 0), {"n_bands": 99999})]
    text = slepc(["-c", code, "model", json.dumps(cases)], 2, tmp_path).stdout
    levels, message = json.loads(text[text.index("RESULT") + len("RESULT") :].splitlines()[0])[1]
    known = compute_levels(data, np.zeros(3), Eigensolver(n_bands=5, options=SolverOptions(name="dense")))
    assert np.allclose(levels[0], known.energies, atol=1e-8)
    assert "99999 bands asked for" in message


def test_bands_are_written_by_the_first_rank_and_resumed(slepc, tmp_path):
    write_folder(tmp_path / "data", replace(supercell(random_model(3), (3, 2, 1)), fermi_energy=0.0))
    words = ["-m", "postprocess.cli.bands", "data", "--points", "14", "--solver", "slepc", "--n-bands", "6", "--projections", "element"]
    slepc([*words, "--out", "two.h5"], 2, tmp_path)
    assert not list(tmp_path.glob(".*kpoints"))
    slepc([*words, "--out", "one.h5"], 1, tmp_path)
    one, two = (read_bands(tmp_path / name) for name in ("one.h5", "two.h5"))
    assert np.allclose(one.energies, two.energies, atol=1e-9)
    assert one.weights
    assert all(np.allclose(weight, two.weights[name], atol=1e-6) for name, weight in one.weights.items())
    data = read_folder(tmp_path / "data")
    for energies, k in zip(two.energies[0], two.path.k, strict=True):
        known = compute_levels(data, k, Eigensolver(n_bands=6, center=0.0, options=SolverOptions(name="dense"))).energies
        found = energies[np.isfinite(energies)]
        assert np.abs(found - known).max() < 1e-8


class Rank:
    """What one of two ranks sees that hold the same."""

    def __init__(self, number):
        self.number = number

    def bcast(self, value, root):
        return value if self.number == root else ([0, 1], None)

    def allgather(self, values):
        return [values]


def test_all_ranks_do_all_and_the_first_keeps_it(tmp_path):
    from deeph.runtime.processes import Group

    seen = []

    def work(task):
        seen.append(task)
        return {"energies": np.zeros(1)}

    tasks = [KTask(0, (x, 0.0, 0.0)) for x in (0.0, 0.1)]
    for rank, kept in ((0, 2), (1, 0)):
        jobs = Jobs(group=Group(rank, 2, Rank(rank)), scratch=tmp_path / str(rank), together=True)
        jobs.scratch.mkdir()
        run_tasks(work, tasks, jobs)
        assert len(list(jobs.scratch.glob("*.npz"))) == kept
    assert seen == tasks * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bands": 0}, "0 bands"),
        ({"low": 1.0, "high": 0.0}, "lower one first"),
        ({"low": 0.0}, "two finite energies"),
    ],
)
def test_wrong_selections(options, message):
    with pytest.raises(UsageError, match=message):
        Eigensolver(**options, options=SolverOptions(name="slepc"))


@pytest.mark.skipif(importlib.util.find_spec("slepc4py") is not None, reason="slepc4py is installed")
def test_missing_slepc_says_what_to_install():
    with pytest.raises(UsageError, match=r"slepc needs slepc4py and petsc4py .* conda-forge"):
        Eigensolver(n_bands=3, options=SolverOptions(name="slepc"))(random_model())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "slepc", "n_bands": None}, "some levels, not all"),
        ({"solver": "slepc", "jobs": 2}, "use mpirun"),
        ({"solver": "slepc", "project": 1e-3}, "use mpirun"),
        ({"solver": "pardiso", "compress": 1e-8}, "are for --solver slepc"),
    ],
)
def test_options_that_contradict(options, message):
    common = {
        "n_bands": 3,
        "device": "cpu",
        "window": None,
        "single": False,
        "compress": None,
        "out_of_core": None,
        "project": 0,
        "real_form": None,
    }
    with pytest.raises(UsageError, match=message):
        check_solver_options(argparse.Namespace(**(common | {"jobs": 1} | options)))
