"""``deeph-dos`` as users call it."""

import csv
import json
from dataclasses import replace

import pytest
from band_cases import random_model

import deeph
from postprocess.cli.dos import main
from postprocess.output.dos_tables import read_dos


@pytest.fixture
def folder(tmp_path, mini_graphene):
    deeph.write_folder(tmp_path / "graphene", mini_graphene)
    return tmp_path / "graphene"


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


def test_tables_figures_and_summary(folder, capsys):
    out = folder.parent
    files = [out / f"dos{suffix}" for suffix in (".pdf", ".png", ".csv", ".json", ".h5")]
    words = ["--mesh", 6, 6, 1, "--projections", "element,shell", "--group", "A=1", "--window", -5, 5, "--points", 101, "--out", *files]
    assert call(folder, *words) == 0
    text = capsys.readouterr().out
    assert "triangles, 6 x 6 x 1 mesh; 36 k-points" in text
    assert "8 electrons" in text
    assert all(file.stat().st_size > 500 for file in files)
    dos = read_dos(out / "dos.h5")
    assert dos.names == ("total", "C", "C s", "C p", "A")
    assert dos.density[0, 4] == pytest.approx(dos.density[0, 0] / 2, abs=1e-3)
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("method", ["tetrahedron", "gaussian", "kpm"])
def test_summary_as_json(folder, capsys, method):
    """Electrons below the Fermi level, by every method."""
    words = [] if method == "tetrahedron" else ["--width", 0.3]
    assert call(folder, "--mesh", 6, 6, 1, "--method", method, *words, "--projections", "element", "--fermi", "count", "--json", "-q") == 0
    record = json.loads(capsys.readouterr().out)
    below = record["electrons_below_fermi"]
    assert below["C"][0] == pytest.approx(8, abs=0.02 if method != "kpm" else 2)
    assert record["counted"]["low"] <= record["fermi_energy"] <= record["counted"]["high"]
    assert record["n_k"] < 36


@pytest.mark.parametrize("exact", [False, True])
def test_projections_by_polynomials_have_error_bars(folder, capsys, exact):
    """From the random vectors, or exact where that is asked for; the same in two processes."""
    words = [folder, "--mesh", 2, 2, 1, "--method", "kpm", "--width", 1, "--projections", "atom", "--fermi", "count", *["--exact"] * exact]
    files = [folder.parent / f"{n}.h5" for n in (1, 2)]
    for jobs, file in enumerate(files, 1):
        assert call(*words, "-j", jobs, "--out", file, "-q") == 0
    text = capsys.readouterr().out
    one, two = map(read_dos, files)
    assert (one.density == two.density).all()
    assert (one.errors[:, 0] > 0).any()
    assert (one.errors[:, 1:] > 0).any() == (not exact)
    assert ("C2" in text and " +- 0.00 electrons" in text) == exact
    assert text.count(" +- ") == 2 * 3


def test_map_of_atoms(folder):
    file = folder.parent / "map.csv"
    assert call(folder, "--mesh", 4, 4, 1, "--projections", "atom", "--window", -3, 0, "--map", file, "-q") == 0
    lines = file.read_text().splitlines()
    assert "states within -3.000000 to 0.000000 eV" in lines[0]
    rows = list(csv.DictReader(lines[1:]))
    assert [(row["element"], row["layer"]) for row in rows] == [("C", "1"), ("C", "1")]
    assert float(rows[0]["states"]) == pytest.approx(float(rows[1]["states"]), rel=1e-3)


def test_levels_counted_by_inertia(folder, capsys):
    assert call(folder, "--mesh", 1, 1, 1, "--fermi", "inertia", "-q") == 0
    assert "levels counted at 1 k-points" in capsys.readouterr().out


def test_two_workers_give_the_same(folder):
    for jobs in (1, 2):
        assert call(folder, "--mesh", 4, 4, 1, "-j", jobs, "--out", folder.parent / f"{jobs}.h5", "-q") == 0
    assert read_dos(folder.parent / "1.h5").density == pytest.approx(read_dos(folder.parent / "2.h5").density, abs=1e-12)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--mesh", 0, 4, 1], 2, "expected three positive numbers"),
        (["--mesh", 4, "x", 1], 2, "expected a whole number"),
        (["--k-density", -3], 2, "k-density -3"),
        (["--window", 3, 1], 2, "the lower end first"),
        (["--window", 500, 600], 1, "the levels span"),
        (["--projections", "orbital"], 2, "projection 'orbital'"),
        (["--projections", "spin"], 2, "H has spin 'none'"),
        (["--group", "A=9"], 2, "numbers from 1 to 2"),
        (["--method", "gaussian", "--width", 0], 2, "width 0 eV"),
        (["--method", "kpm", "--width", -1, "--mesh", 1, 1, 1], 2, "width -1 eV"),
        (["--width", 0.1], 2, "tetrahedra need none"),
        (["--method", "kpm", "--width", 0, "--mesh", 1, 1, 1], 2, "width 0 eV"),
        (["--single"], 2, "belongs to --method kpm"),
        (["--exact"], 2, "belongs to --method kpm with --projections or --group"),
        (["--exact", "--method", "kpm"], 2, "belongs to --method kpm with --projections or --group"),
        (["--fermi", "high"], 2, "expected a number in eV"),
        (["--out", "dos.xyz"], 2, "expected a name ending in"),
        (["--out", "nowhere/dos.csv"], 2, "does not exist"),
        (["--map", "map.csv"], 2, "--projections atom"),
        (["-j", 0], 2, "at least one"),
    ],
)
def test_wrong_options(folder, capsys, caplog, monkeypatch, words, code, message):
    monkeypatch.chdir(folder.parent)
    assert (
        call(folder, "--mesh", 2, 2, 1, *words) == code
        if "--mesh" not in words and "--k-density" not in words
        else call(folder, *words) == code
    )
    assert message in capsys.readouterr().err + caplog.text
    assert not list(folder.parent.glob("*.*"))


def test_no_electrons_and_a_metal(tmp_path, capsys, caplog):
    data = random_model(0)
    deeph.write_folder(tmp_path / "a", replace(data, n_electrons=None))
    assert call(tmp_path / "a", "--mesh", 2, 2, 1, "--fermi", "count") == 1
    assert "number of electrons is not known" in capsys.readouterr().err + caplog.text
    assert call(tmp_path / "a", "--mesh", 2, 2, 1) == 0
    assert "energies are absolute" in capsys.readouterr().out
    deeph.write_folder(tmp_path / "b", replace(data, n_electrons=5.0))
    assert call(tmp_path / "b", "--mesh", 1, 1, 1, "--fermi", "inertia") == 1
    assert "this is a metal" in capsys.readouterr().err + caplog.text
    assert call(tmp_path / "c") == 1
    assert "no such folder" in capsys.readouterr().err + caplog.text
