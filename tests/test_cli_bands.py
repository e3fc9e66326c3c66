"""The commands as a user types them: one-page answers, files, and errors without a traceback."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import random_model, supercell

from deeph.files.store import write_folder
from postprocess.bands.bands import Bands
from postprocess.cli.common import describe_bands
from postprocess.lattice.kpath import KPath
from postprocess.output.tables import read_bands


def run(*arguments, command="bands", cwd=None):
    return subprocess.run(
        [sys.executable, "-m", f"postprocess.cli.{command}", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture
def folders(tmp_path):
    """A DFT folder, a prediction with other atom order and no Fermi level, and an overlap-only folder."""
    dft = replace(random_model(1), fermi_energy=-0.2)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=dft.H.entries.shape)
    H = replace(dft.H, entries=dft.H.entries + noise).hermitized()
    predicted = replace(dft, H=H, fermi_energy=None, n_electrons=None).permuted(np.array([2, 0, 1]))
    write_folder(tmp_path / "dft", dft)
    write_folder(tmp_path / "pred", predicted, predicted=True)
    write_folder(tmp_path / "overlap", replace(dft, H=None))
    return tmp_path


def test_figure_tables_and_summary(folders):
    result = run("dft", "--path", "GMKG", "--points", 30, "--out", "b.pdf", "b.png", "b.svg", "b.csv", "b.json", "b.h5", cwd=folders)
    assert result.returncode == 0, result.stderr
    assert "path         G-M-K-G" in result.stdout
    assert "Fermi level  -0.200000 eV (stored with the data)" in result.stdout
    starts = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}
    for suffix, magic in starts.items():
        assert (folders / f"b{suffix}").read_bytes().startswith(magic)
    assert "Γ" in (folders / "b.svg").read_text(encoding="utf-8")
    bands = read_bands(folders / "b.h5")
    assert np.array_equal(bands.energies, read_bands(folders / "b.json").energies)
    with (folders / "b.csv").open() as file:
        assert len(list(csv.reader(file))) == 2 + len(bands.path.k)
    assert not [p for p in folders.iterdir() if p.name.startswith(".")]


def test_connected_bands_carry_their_weights(folders):
    """The same levels with the same shares at every k, in another order."""
    write_folder(folders / "folded", supercell(replace(random_model(1), fermi_energy=0.0), (2, 1, 1)))  # folded bands cross
    tables = []
    for name, option in (("sorted.h5", []), ("connected.h5", ["--connect"])):
        result = run("folded", "--points", 60, "--projections", "atom", *option, "--out", name, cwd=folders)
        assert result.returncode == 0, result.stderr
        tables.append(read_bands(folders / name))
    ascending, connected = tables
    order = np.argsort(connected.energies, axis=-1)
    assert (order != np.arange(connected.n_bands)).any()
    assert np.take_along_axis(connected.energies, order, axis=-1) == pytest.approx(ascending.energies, abs=1e-12)
    for label, weight in connected.weights.items():
        assert np.take_along_axis(weight, order, axis=-1) == pytest.approx(ascending.weights[label], abs=1e-8)
    refused = run("pred", "--compare", "dft", "--connect", cwd=folders)
    assert refused.returncode == 2
    assert "leave out --connect" in refused.stderr


@pytest.mark.parametrize(("command", "advice"), [("bands", "--n-bands N"), ("states", "--n-bands N"), ("dos", "use --method kpm")])
def test_large_cells_are_not_started_without_being_told_how(folders, command, advice, monkeypatch, capsys):
    from importlib import import_module

    monkeypatch.setattr("postprocess.eigen.selection.DENSE_LARGEST", 9)
    with pytest.raises(SystemExit) as done:
        import_module(f"postprocess.cli.{command}").main([str(folders / "dft"), *(["--k", "0,0,0"] if command == "states" else [])])
    assert done.value.code == 2
    assert "10 orbitals are too many" in (error := capsys.readouterr().err)
    assert advice in error


def test_a_window_without_levels_is_an_error_and_leaves_nothing(folders):
    """Dense matrices draw nothing, a sparse solver finds nothing; the same output can then have a wider window."""
    before = sorted(folders.iterdir())
    for options, message in (([], "no level lies there on this path"), (["--solver", "superlu"], "no level was found")):
        result = run("dft", "--points", 8, "--window", 500, 600, *options, "--out", "e.png", "e.h5", cwd=folders)
        assert result.returncode == 1
        assert message in result.stderr
        assert not result.stdout
        assert sorted(folders.iterdir()) == before
    result = run("dft", "--points", 8, "--window", -1, 1, "--solver", "superlu", "--out", "e.png", cwd=folders)
    assert result.returncode == 0, result.stderr


def test_what_cannot_be_connected_is_not_in_the_way(folders):
    window = ["dft", "--points", 20, "--window", -0.3, 0.3, "--solver", "superlu", "--out", "e.h5"]
    result = run(*window, "--connect", cwd=folders)
    assert "same number at every k" in result.stderr
    assert run(*window, cwd=folders).returncode == 0


def test_folders_that_cannot_be_written(folders):
    (folders / "taken.png").mkdir()
    for name in ("x" * 246 + ".png", "taken.png"):  # no name for the folder of k-points, no place for the figure
        result = run("dft", "--points", 8, "--out", name, cwd=folders)
        assert result.returncode == 1
        assert "written" in result.stderr
        assert "unexpected" not in result.stderr
        assert not (folders / "error.log").exists()


def test_a_part_of_the_bands_says_nothing_about_the_gap(folders):
    text = run("dft", "--points", 8, "--center", -50, "--n-bands", 2, cwd=folders).stdout
    assert "gap          not known: only levels of bands 1 to 2 of 10 were computed; they lie below the Fermi level" in text
    assert re.search(r"solver       dense matrices \(LAPACK\), 10 orbitals, largest residual .*e-1\d eV, no level is missing", text)
    assert "solver       dense matrices (LAPACK), 10 orbitals, no level is missing" in run("dft", "--points", 8, cwd=folders).stdout
    unproved = run("dft", "--points", 8, "--n-bands", 3, "--solver", "superlu", "--no-verify", "--out", "b.h5", cwd=folders).stdout
    assert "not proved that no level is missing" in unproved
    assert "gap          not known: only 3 levels at a k of 10 were computed, and the levels below them were not counted" in unproved
    assert read_bands(folders / "b.h5").solver in unproved
    assert not read_bands(folders / "b.h5").counted


def test_an_indirect_gap_comes_with_the_smallest_direct_one():
    path = KPath(np.array([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]]), np.arange(3.0), ("G", "X"), np.array([0.0, 2]), np.array([0, 3]))
    bands = Bands(np.array([[[-1.0, 4], [-2, 1.5], [-3, 1]]]), path, 0.0)
    lines = describe_bands(bands, 2)
    assert any("2.000000 eV, indirect" in line for line in lines)
    assert any("smallest direct gap      3.500000 eV  at k = (0.2500, 0.0000, 0.0000)" in line for line in lines)
    part = describe_bands(replace(bands, first_band=2), 6)
    assert any("on this path (only levels of bands 3 to 4 of 6 were computed)" in line for line in part)


def test_prediction_against_dft(folders):
    result = run("pred", "--compare", "dft", "--points", 30, "--json", "--out", "b.png", cwd=folders)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    dft, predicted = record["structures"]
    assert predicted["title"] == "pred (predicted)"
    assert (predicted["fermi_energy"], predicted["fermi_origin"]) == (dft["fermi_energy"], "taken from dft")
    assert 0 < record["comparisons"][0]["all_bands"]["mae"] < 10


def test_compare_command(folders):
    result = run("dft", "pred", "--path", "GMKG", "--points", 20, command="compare", cwd=folders)
    assert result.returncode == 0, result.stderr
    for words in ("H as it stands", "without mu S", "on-site", "C-N", "within 2 eV of E_F", "(taken from dft)"):
        assert words in result.stdout
    record = json.loads(run("dft", "pred", "--json", command="compare", cwd=folders).stdout)
    assert 0.3 < record["matrices"]["raw"]["mae"] < 1.5  # sigma 1 meV, averaged over two directions
    assert record["bands"] is None


def test_folder_with_both_hamiltonians(folders):
    shutil.copy(folders / "dft" / "hamiltonian.h5", folders / "dft" / "hamiltonian_pred.h5")
    record = json.loads(run("dft", "dft", "--predicted", "--json", command="compare", cwd=folders).stdout)
    assert record["other"] == "dft (predicted)"
    assert record["matrices"]["raw"]["max"] == 0


def test_no_fermi_level_is_said(folders):
    result = run("pred", "--points", 10, cwd=folders)
    assert result.returncode == 0
    assert "Fermi level  not known" in result.stdout


def test_path_from_a_file(folders):
    (folders / "K_PATH").write_text("4 0 0 0  0.5 0 0  GAMMA M\n6 0.5 0 0  0.3333333333 0.3333333333 0  M K\n")
    record = json.loads(run("dft", "--path", "K_PATH", "--json", cwd=folders).stdout)
    assert record["structures"][0]["path"]["labels"] == ["G", "M", "K"]
    assert record["structures"][0]["path"]["n_k"] == 10


WRONG = [
    (["dft", "--path", "GXK"], 2, "'X' is not a k-point"),
    (["dft", "--points", "0"], 2, "0 k-points"),
    (["dft", "--points", "many"], 2, "invalid int value"),
    (["dft", "--window", "3", "-3"], 2, "the lower one first"),
    (["dft", "--window", "-1", "inf"], 2, "the lower one first"),
    (["dft", "--path", "K_PATH"], 2, "there is no such file"),
    (["dft", "--fermi", "nan"], 2, "expected a number in eV or 'count'"),
    (["dft", "--out", "b.doc"], 2, "expected a name ending in"),
    (["dft", "--out", "no/b.pdf"], 2, "does not exist"),
    (["dft", "pred", "--out", "b.csv"], 2, "a table holds one band structure"),
    ([], 2, "required: FOLDER"),
    (["nowhere"], 1, "there is no such folder"),
    (["."], 1, "not a structure folder"),
    (["overlap"], 1, "holds only the overlap"),
    (["dft", "--predicted"], 1, "hamiltonian_pred.h5 is missing"),
    (["pred", "--fermi", "count"], 1, "number of electrons is not known"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG, ids=[" ".join(w[0]) or "nothing" for w in WRONG])
def test_errors(folders, arguments, code, message):
    result = run(*arguments, cwd=folders)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    assert sorted(p.name for p in folders.iterdir()) == ["dft", "overlap", "pred"]


def test_damaged_matrices(folders):
    with h5py.File(folders / "dft" / "hamiltonian.h5", "r+") as file:
        file["entries"][5] = np.nan
    result = run("dft", cwd=folders)
    assert result.returncode == 1
    assert "NaN or infinite value in block R =" in result.stderr
    (folders / "pred" / "hamiltonian_pred.h5").write_bytes(b"not hdf5")
    result = run("pred", cwd=folders)
    assert result.returncode == 1
    assert "not a complete matrix file" in result.stderr


def test_different_structures_are_not_compared(folders):
    write_folder(folders / "shifted", random_model(1, positions=random_model(1).system.positions + 0.05))
    result = run("dft", "shifted", command="compare", cwd=folders)
    assert result.returncode == 1
    assert "has no counterpart" in result.stderr


@pytest.mark.parametrize("command", ["bands", "compare"])
def test_help_is_immediate(command):
    def seconds():
        start = time.perf_counter()
        result = run("--help", command=command)
        assert result.returncode == 0
        assert "examples:" in result.stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1.0
    code = f"import sys, postprocess.cli.{command}; print({{'numpy', 'scipy', 'h5py', 'matplotlib', 'ase'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_mos2_with_spin_orbit(shared_data, tmp_path):
    """Every level of a training structure is split, except where time reversal pairs them."""
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, shared_data / "mos2_soc" / "000.npz"], check=True)
    result = run("000", "--path", "GMKG", "--points", 30, "--out", "b.h5", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)["structures"][0]
    assert record["gap"]["vbm"]["band"] == 26  # 26 valence electrons, counted from 1
    assert 1.3 < record["gap"]["width"] < 1.9
    bands = read_bands(tmp_path / "b.h5")
    pairs = bands.energies[0, :, 24:26]
    at = dict(zip(bands.path.labels[:3], bands.path.bounds[:3], strict=True))
    splitting = pairs[:, 1] - pairs[:, 0]
    assert splitting[at["G"]] < 1e-4
    assert splitting[at["M"]] < 1e-4
    assert 0.1 < splitting[at["K"]] < 0.2  # 0.15 eV in MoS2
