"""benchmarks/qh9.py: its errors are those of H and of its levels."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from scipy.linalg import eigh

from deeph.files.store import read_folder, write_folder
from deeph.physics.units import CODATA


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("qh9", ROOT / "benchmarks" / "qh9.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    pytest.importorskip("pyscf")
    from pyscf import gto, scf

    from preprocess.readers.pyscf.reader import hamiltonian_from_pyscf

    mol = gto.M(atom="O 0 0 0; H 0.76 0 0.59; H -0.76 0 0.59", basis="6-31g", verbose=0)
    return hamiltonian_from_pyscf(scf.RHF(mol).run(conv_tol=1e-10), zeroth=True)


def test_a_constant_times_S_moves_all_levels(script, water):
    """H + mu S: every level is off by mu, the gap is not, and nothing is left of the projected error."""
    mu = 0.1
    moved = replace(water, H=replace(water.hamiltonian, entries=water.hamiltonian.entries + mu * water.S.entries))
    H, projected, occupied, homo, lumo, gap = script.errors(water, moved)
    assert [occupied, homo, lumo] == pytest.approx([mu] * 3)
    assert max(projected, gap) < 1e-10
    assert pytest.approx(mu * np.abs(water.S_bloch.dense(np.zeros(3))).mean()) == H


def test_against_dense_matrices(script, water):
    predicted = replace(water, H=water.extra["H0"])
    S, levels = water.S_bloch.dense(np.zeros(3)).real, []
    dense = [one.H_bloch.dense(np.zeros(3)).real.reshape(S.shape) for one in (water, predicted)]
    levels = [eigh(H, S.reshape(H.shape), eigvals_only=True) for H in dense]
    e = levels[1] - levels[0]
    found = script.errors(water, predicted)
    expected = [np.abs(dense[1] - dense[0]).mean(), np.abs(e[:5]).mean(), abs(e[4]), abs(e[5]), abs(e[5] - e[4])]
    assert found[[0, 2, 3, 4, 5]] == pytest.approx(expected, rel=1e-8)


def test_the_command(script, water, tmp_path: Path, capsys, monkeypatch):
    for name in ("a", "b"):
        write_folder(tmp_path / name, water)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a"], "validate": [], "test": ["b"]}))
    monkeypatch.setattr("sys.argv", ["qh9.py", "H0", str(tmp_path)])
    script.main()
    lines = capsys.readouterr().out.splitlines()
    back = read_folder(tmp_path / "b", extra=True)
    expected = script.errors(back, replace(back, H=back.extra["H0"])) * 1e6 / CODATA.hartree
    assert [float(x) for x in lines[2].split()[3:]] == pytest.approx(expected, rel=1e-3)
    assert "not run here" in lines[3]
    assert "104,664" in lines[4]
