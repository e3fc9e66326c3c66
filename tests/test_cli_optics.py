"""``deeph-optics`` as users call it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from symmetry_case import random_structure
from tight_binding import changed_basis, haldane, with_spinors

import deeph
from postprocess.cli.optics import main
from postprocess.output.records import read_record
from postprocess.response.dichroism import dichroism
from postprocess.response.light import Photons
from postprocess.response.second_order import direct_current
from postprocess.response.transitions import LightSettings
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel


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


def test_conductivity(folder, capsys):
    files = [folder.parent / f"optics{suffix}" for suffix in (".csv", ".json", ".h5", ".png")]
    assert call(folder, "--mesh", 8, 8, 1, "--photons", 0, 6, "--energies", 13, "--out", *files) == 0
    text = capsys.readouterr().out
    assert "positions    position matrix of the data" in text
    assert "8 x 8 x 1 k-points against 4 x 4 x 1: changed by" in text
    assert "anomalous Hall conductivity (Kubo sum) xy" in text
    record = read_record(files[2])
    assert record["sigma_real"].shape == (13, 2, 2)
    assert record["unit"] == "S"
    assert np.allclose(read_record(files[1])["interband_imag"], record["interband_imag"])
    rows = list(csv.reader(files[0].open()))[1:]
    assert rows[0][:3] == ["energy", "joint", "sigma_real_xx"]
    assert np.allclose([float(row[2]) for row in rows[1:]], record["sigma_real"][:, 0, 0], rtol=1e-7)
    assert files[3].stat().st_size > 500
    assert not list(folder.parent.glob(".*"))


@pytest.mark.parametrize("kind", ["shift", "injection", "harmonic"])
def test_second_order(folder, capsys, kind):
    files = [folder.parent / f"{kind}{suffix}" for suffix in (".csv", ".h5", ".png")]
    assert call(folder, "--what", kind, "--mesh", 4, 4, 1, "--photons", 1, 6, "--energies", 6, "--out", *files) == 0
    assert "4 x 4 x 1 k-points against 2 x 2 x 1" in capsys.readouterr().out
    assert read_record(files[1])["real"].shape == (6, 2, 2, 2)
    assert len(list(csv.reader(files[0].open()))[1]) == (9 if kind == "shift" else 17)
    assert files[2].stat().st_size > 500


def test_responses_to_static_fields(folder, capsys):
    words = ["--mesh", 6, 6, 1, "--rounds", 0]
    scan = ["--window", -0.5, 0.5, "--levels", 5]
    files = [folder.parent / "t.csv", folder.parent / "t.png", folder.parent / "t.h5"]
    assert call(folder, "--what", "transport", *words, *scan, "--fermi", -1.2, "--temperature", 2000, "--out", *files) == 0
    assert "Seebeck coefficient, V/K, at the Fermi level, 2000 K" in capsys.readouterr().out
    assert sorted(p.stem for p in folder.parent.glob("*.csv")) == ["t_drude", "t_kappa", "t_seebeck", "t_sigma"]
    assert read_record(folder.parent / "t_sigma.h5")["values"].shape == (5, 4)
    for what in ("spin-hall", "nernst", "dipole"):
        assert call(folder, "--what", what, *words, "--json", "-q") == 0
        found = json.loads(capsys.readouterr().out)[what]
        assert len(found["values"]) == {"spin-hall": 12, "nernst": 1, "dipole": 2}[what]
    assert call(folder, "--what", "dipole", *words, *scan, "--out", folder.parent / "d.png") == 0


def test_dichroism(folder, capsys):
    assert call(folder, "--what", "dichroism", "--k", "1/3 1/3 0", "0.1 0.2 0", "--json", "-q") == 0
    plain = json.loads(capsys.readouterr().out)
    assert np.array(plain["degree"]).shape == (1, 2)
    assert (plain["from"], plain["to"]) == ([1], [2])
    assert call(folder, "--what", "dichroism", "--k", "1/3 1/3 0", "--from", 1, "--to", 2) == 0
    said = capsys.readouterr().out
    assert "at k = (0.3333, 0.3333, 0.0000)" in said
    assert "  from band 1 to 2; the next level is " in said


def test_dichroism_tells_the_next_level():
    """Grid noise may split what belongs together; the distance of the nearest level to either group says so."""
    data = random_structure("zincblende")
    found = dichroism(data, [[0.1, 0.2, 0.3]], [1, 2], [3])
    levels = data.eigenvalues([0.1, 0.2, 0.3])
    apart = min(abs(levels[n] - levels[m]) for group in ([1, 2], [3]) for n in group for m in range(len(levels)) if m not in group)
    assert found.apart == pytest.approx(apart, abs=1e-9)
    assert (found.valence, found.conduction) == ((1, 2), (3,))


def test_figures_do_not_draw_what_symmetry_makes_zero():
    data = random_structure("diamond").symmetrized()
    level = float(np.mean(data.eigenvalues("G")))
    settings = LightSettings((3, 3, 3), Photons(0.5, 6.0, 5), refinement=Refinement(0))
    found = direct_current(data, "shift", FermiLevel(level, level, level), settings)
    found = replace(found, values=found.values + 1e-9)  # rounding
    assert found.forbidden[0].all()
    assert not any(np.any(line.get_ydata()) for line in found.plot().get_lines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--window", -1, 1], "--photons"),
        (["--what", "dichroism"], "--k"),
        (["--what", "dichroism", "--k", "1/3 0"], "three fractional"),
        (["--what", "dichroism", "--k", "1/3 1/0 0"], "three fractional"),
        (["--what", "dichroism", "--k", "0 0 0", "--from", "0"], "numbers from 1"),
        (["--k", "0 0 0"], "--what dichroism"),
        (["--photons", 3, 1], "ascending"),
        (["--broadening", 0], "positive"),
        (["--relaxation", 0], "positive"),
        (["--what", "nernst", "--temperature", 0], "temperature"),
        (["--what", "nernst", "--out", "x.pdf"], "--window"),
        (["--mesh", 4, 0, 1], "three positive numbers"),
        (["--out", "x.dat"], "expected a name ending in"),
    ],
)
def test_wrong_options_are_explained(folder, capsys, words, said, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert call(folder, *words) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.parent.glob("x.*"))
    assert not list(folder.parent.glob(".x*"))


def lines_of(capsys, *words):
    assert call(*words) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", ["shift", "injection", "harmonic"])
def test_a_crystal_with_inversion_has_no_second_order(tmp_path, capsys, kind):
    """Said as zero by symmetry, not listed as values; conductivity: six components."""
    deeph.write_folder(tmp_path / "si", replace(random_structure("diamond"), n_electrons=8.0))
    words = [tmp_path / "si", "--symmetrize", "--mesh", 2, 2, 2, "--photons", 1, 6, "--energies", 6, "--fermi", 0.0]
    lines = lines_of(capsys, *words, "--what", kind)
    zero = [line for line in lines if "zero by symmetry: all components; up to " in line]
    assert len(zero) == (2 if kind == "injection" else 1)
    assert not [line for line in lines if "xxx" in line]
    lines = lines_of(capsys, *words)
    assert "  zero by symmetry: xy xz yx yz zx zy" in lines
    assert call(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["forbidden"] == ["xy", "xz", "yx", "yz", "zx", "zy"]


def test_forbidden_components_of_h_that_breaks_its_group(tmp_path, capsys):
    """Zinc blende with random matrices: only xyz is allowed; how large the others are is said, and they are not among the values."""
    deeph.write_folder(tmp_path / "gaas", replace(random_structure("zincblende"), n_electrons=8.0))
    words = [tmp_path / "gaas", "--mesh", 2, 2, 2, "--photons", 1, 6, "--energies", 6, "--fermi", 0.0, "--what", "shift"]
    lines = lines_of(capsys, *words)
    broken = next(line for line in lines if "zero if H kept the symmetry of the structure: xxx xxy" in line)
    assert broken.endswith("A/V^2 as it is")
    assert not [line for line in lines if line.startswith("  xxx")]
    lines = lines_of(capsys, *words, "--symmetrize")
    assert next(line for line in lines if "zero by symmetry: xxx xxy xxz xyx xyy xzx" in line)
    lines = lines_of(capsys, *words[:-1], "injection")
    assert "  linear light   zero by symmetry: all components; up to 0.0e+00 A/(V^2 s) as computed" in lines  # by time reversal
    assert next(line for line in lines if line.startswith("  circular light zero by symmetry: all components"))
