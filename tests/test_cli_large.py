"""``deeph-berry`` and ``deeph-optics`` without dense matrices: what they print and write is what dense matrices give."""

import csv
import json

import numpy as np
import pytest
from tight_binding import changed_basis, haldane

import deeph
from postprocess.cli import berry, optics
from postprocess.eigen import pardiso
from postprocess.output.records import read_record
from postprocess.states import batches

SPARSE = "pardiso" if pardiso.is_installed() else "superlu"


@pytest.fixture
def folder(tmp_path):
    """A Chern insulator with one filled band in a basis that is not orthogonal."""
    deeph.write_folder(tmp_path / "haldane", changed_basis(haldane(0.2, t2=0.2)))
    return tmp_path / "haldane"


def call(command, *words):
    with pytest.raises(SystemExit) as stop:
        command.main([str(w) for w in words])
    return stop.value.code


def test_curvature_and_chern_number_of_bands(folder, capsys):
    files = {name: folder.parent / f"{name}.h5" for name in ("dense", SPARSE)}
    for solver, file in files.items():
        assert call(berry, folder, "--mesh", 5, 6, 1, "--bands", "1", "--solver", solver, "--out", file) == 0
    text = capsys.readouterr().out
    assert "of band 1 at 30 k-points, Angstrom^2, by sparse states and linear solves" in text
    assert "Chern number +1 by links" in text or "Chern number -1 by links" in text
    dense, found = (read_record(file) for file in files.values())
    for name in ("curl", "kubo", "separation"):
        np.testing.assert_allclose(found[name], dense[name], atol=1e-8)
    assert not list(folder.parent.glob(".*"))


def test_summary_as_json(folder, capsys):
    assert call(berry, folder, "--path", "GK", "--points", 5, "--bands", "1", "--solver", SPARSE, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["what"] == "band 1"
    assert record["chern"] == []
    assert abs(record["largest"]["value"]) > 0.1


def test_bands_are_needed_without_dense_matrices(folder, capsys):
    for words in (["--hall"], ["--bands", "1,3"], []):
        assert call(berry, folder, "--solver", SPARSE, *words) == 2
        assert "--bands N-M" in capsys.readouterr().err


def test_conductivity_by_levels_and_by_polynomials(folder, capsys):
    words = ["--mesh", 3, 3, 1, "--photons", 2, 3, "--energies", 5, "--broadening", 0.3, "--temperature", 800]
    files = [folder.parent / f"levels{suffix}" for suffix in (".h5", ".csv", ".json", ".png")]
    assert call(optics, folder, *words, "--method", "levels", "--out", *files) == 0
    assert "2 to 2 levels within" in capsys.readouterr().out
    levels = read_record(files[0])
    rows = list(csv.reader(files[1].open()))[1:]
    assert rows[0][:2] == ["energy", "sigma_real_xx"]
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], levels["sigma_real"][:, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(read_record(files[2])["sigma_imag"], levels["sigma_imag"])
    assert files[3].stat().st_size > 500

    file = folder.parent / "kpm.h5"
    assert call(optics, folder, *words, "--method", "kpm", "--vectors", 4, "--gap", 1.5, "--out", file) == 0
    text = capsys.readouterr().out
    assert "+- " in text
    assert "e^2/h" in text
    kpm = read_record(file)
    deviation = np.abs(kpm["sigma_real"] - levels["sigma_real"])
    assert (deviation < 6 * kpm["error"] + 1e-3 * levels["sigma_real"].max()).all()
    assert not list(folder.parent.glob(".*"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "levels", "--what", "shift"], "expected --what conductivity"),
        (["--method", "levels", "--gap", 1], "add --method kpm"),
        (["--method", "kpm", "--scissor", 1], "are for dense matrices"),
        (["--method", "kpm", "--temperature", 0], "a sharp occupation"),
    ],
)
def test_what_contradicts_itself(folder, capsys, words, expected):
    assert call(optics, folder, *words) == 2
    assert expected in capsys.readouterr().err


def test_size_decides(folder, capsys, monkeypatch):
    """Beyond the limit of dense matrices both commands take the sparse routes by themselves, and say what these need."""
    monkeypatch.setattr(batches, "LARGEST", 1)
    assert call(berry, folder, "--path", "GK", "--points", 3, "--bands", "1") == 0
    assert "by sparse states and linear solves" in capsys.readouterr().out
    assert call(berry, folder, "--path", "GK") == 2
    assert "--bands N-M" in capsys.readouterr().err
    assert call(optics, folder, "--mesh", 2, 2, 1, "--photons", 2, 3, "--energies", 3) == 0
    assert "2 to 2 levels within" in capsys.readouterr().out
