"""``deeph-berry`` as users call it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from tight_binding import changed_basis, haldane, tight_binding, with_spinors

import deeph
from postprocess.cli.berry import main
from postprocess.output.records import read_record


@pytest.fixture
def folder(tmp_path):
    """A Chern insulator with one filled band of one spin, in a basis that is not orthogonal."""
    data = changed_basis(with_spinors(haldane(0.2), 0, 30))
    deeph.write_folder(tmp_path / "haldane", replace(data, n_electrons=1.0))
    return tmp_path / "haldane"


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


def test_curvature_along_a_path(folder, capsys):
    out = folder.parent
    files = [out / f"berry{suffix}" for suffix in (".pdf", ".png", ".csv", ".json", ".h5")]
    assert call(folder, "--path", "GKMK'G", "--points", 41, "--window", -2, 2, "--out", *files) == 0
    text = capsys.readouterr().out
    assert "positions    position matrix of the data" in text
    assert "curvature    of occupied levels at 41 k-points" in text
    assert "differ by up to" in text
    assert all(file.stat().st_size > 500 for file in files)
    record = read_record(out / "berry.h5")
    assert record["curl"].shape == (1, 41, 3)
    assert record["levels"].shape == record["spin"].shape == (1, 41, 3, 4)
    assert np.allclose(record["kubo_levels"].sum(axis=-1), 0, atol=1e-8)
    assert "G" in list(record["labels"])
    rows = list(csv.reader((out / "berry.csv").open()))[1:]
    column = rows[0].index("curl_z")
    assert np.allclose([float(row[column]) for row in rows[1:]], record["curl"][0, :, 2], rtol=1e-7)
    assert not list(out.glob(".*"))


def test_a_group_of_bands_on_a_mesh(folder, capsys):
    """The mean over the zone is the Chern number."""
    file = folder.parent / "mesh.h5"
    assert call(folder, "--mesh", 30, 30, 1, "--bands", "1", "--out", file, "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["what"] == "band 1"
    record = read_record(file)
    cell = 2 * np.pi * np.linalg.inv(record["reciprocal"]).T
    area = np.linalg.norm(np.cross(cell[0], cell[1]))
    assert record["curl"][0, :, 2].mean() * 2 * np.pi / area == pytest.approx(1, abs=1e-3)
    assert list(record["divisions"]) == [30, 30, 1]


def test_hall_conductivity(folder, capsys):
    """Quantized in the gap; a table and a figure against the Fermi level; two processes give the same digits."""
    files = [folder.parent / f"hall{suffix}" for suffix in (".csv", ".json", ".h5", ".pdf")]
    words = [folder, "--hall", "--mesh", 48, 48, 1, "--rounds", 0, "--window", -2, 0.2, "--levels", 12]
    assert call(*words, "--out", *files) == 0
    text = capsys.readouterr().out
    assert "sigma_xy -1.0000" in text
    assert "48 x 48 x 1 k-points against 24 x 24 x 1: changed by" in text
    assert "an insulator on this mesh: Chern number +1.0000" in text
    record = read_record(files[2])
    assert record["sigma"].shape == record["errors"].shape == (12, 1)
    told = float(text.split("the largest is ")[1].split()[0])
    assert record["error_at_fermi"][0] < 1e-3 < record["errors"].max() == pytest.approx(told, rel=0.05)
    assert read_record(files[1])["at_fermi"][0] == pytest.approx(-1, abs=1e-4)
    rows = list(csv.reader(files[0].open()))
    assert rows[1] == ["energy", "curl_xy", "kubo_xy", "error_xy"]
    assert len(rows) == 14
    assert call(folder, "--hall", "--mesh", 10, 10, 1, "--rounds", 0, "--window", -2, 0.2, "--levels", 12) == 0
    assert "not converged to 1 %" in capsys.readouterr().out  # at the edge of the band
    assert call(folder, "--hall", "--mesh", 48, 48, 1, "--rounds", 0) == 0
    assert "not converged" not in capsys.readouterr().out
    assert call(folder, "--hall", "--mesh", 4, 4, 1, "--rounds", 0) == 0
    assert "not converged to 1 %" in capsys.readouterr().out
    assert call(folder, "--hall", "--mesh", 12, 12, 1, "--rounds", 1, "--json", "-q") == 0
    one = json.loads(capsys.readouterr().out)
    assert one["divisions"] == [12, 12, 1]
    assert len(one["round_changes"]) == 1


def test_without_a_position_matrix_the_approximation_is_named(folder, capsys):
    (folder / "position_matrix.h5").unlink()
    assert call(folder, "--path", "GK", "--points", 5) == 0
    assert "approximated by (tau_i + tau_j)/2 S_ij; the data hold no position matrix" in capsys.readouterr().out
    assert call(folder, "--path", "GK", "--positions", "matrix") == 1
    assert "deeph-preprocess --positions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hall", "--path", "GK"], "leave out --path"),
        (["--mesh", 4, 4, 1, "--path", "GK"], "leave out one"),
        (["--mesh", 4, 0, 1], "three positive numbers"),
        (["--mesh", 4, 4, 2], "not periodic along lattice vector 3; expected 4 4 1"),
        (["--hall", "--mesh", 4, 4, 4], "not periodic along lattice vector 3; expected 4 4 1"),
        (["--bands", "0-2"], "numbers from 1"),
        (["--bands", "2-x"], "numbers from 1"),
        (["--bands", "9"], "bands 1 to 4"),
        (["--bands", "2-900"], "bands 2 to 900: this structure has bands 1 to 4"),
        (["--hall", "--window", 1, -1], "lower"),
        (["--hall", "--rounds", -1], "refinement"),
        (["--hall", "--mesh", 4, 4, -1], "three positive numbers"),
        (["--hall", "--temperature", -5], "temperature"),
        (["--hall", "--out", "x.pdf"], "--window"),
        (["--out", "x.dat"], "expected a name ending in"),
        (["--mesh", 4, 4, 1, "--out", "x.png"], "deeph-contours --map curvature --bands N-M"),
    ],
)
def test_wrong_options_are_explained(folder, capsys, words, said, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert call(folder, *words) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.parent.glob("x.*"))
    assert not list(folder.parent.glob(".x*"))


def test_cells_too_large_are_refused_before_any_work(folder, capsys, monkeypatch):
    monkeypatch.setattr("postprocess.states.batches.LARGEST", 3)
    assert call(folder, "--path", "GK", "--solver", "dense") == 2
    assert "expected 3 at most" in capsys.readouterr().err


def test_molecules_and_unknown_fermi_levels(tmp_path, capsys):
    data = haldane(0.2, t2=0.0)
    deeph.write_folder(tmp_path / "bare", replace(data, fermi_energy=None, n_electrons=None))
    assert call(tmp_path / "bare", "--path", "GK") == 1
    assert "number of electrons" in capsys.readouterr().err
    assert call(tmp_path / "bare", "--path", "GK", "--points", 4, "--bands", "1") == 0
    assert call(tmp_path / "bare", "--hall", "--fermi", 0, "--mesh", 6, 6, 1) == 1
    assert "has no spin-orbit coupling" in capsys.readouterr().err
    apart = tight_binding(np.eye(3) * 20, [[0, 0, 0], [1, 0, 0]], [0, 1], [((0, 0, 0), 0, 1, 0.3)], fermi_energy=0.5)
    deeph.write_folder(tmp_path / "molecule", apart)
    assert call(tmp_path / "molecule") == 2
    assert "is a molecule" in capsys.readouterr().err
