"""Energies as typed, in all commands alike."""

import argparse
import importlib
import json

import numpy as np
import pytest
from tight_binding import haldane

import deeph
from postprocess.cli.energies import Energy, check_window, parse_energy, resolve_energies

FERMI = 0.2
"""Of a gap from -0.5 to 0.5 eV."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("energies") / "layer"
    deeph.write_folder(path, haldane(0.5, t2=0.0, fermi_energy=FERMI))
    return path


def call(command, *words):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"postprocess.cli.{command}").main([str(w) for w in words])
    return stop.value.code


@pytest.mark.parametrize(
    ("text", "energy"),
    [
        ("-0.5", Energy("fermi", -0.5)),
        ("2", Energy("fermi", 2.0)),
        ("fermi+0.1", Energy("fermi", 0.1)),
        ("E_F-1e-3", Energy("fermi", -1e-3)),
        ("ef", Energy("fermi", 0.0)),
        ("vbm-0.1", Energy("vbm", -0.1)),
        ("CBM + 0.25", Energy("cbm", 0.25)),
        ("vbm", Energy("vbm", 0.0)),
    ],
)
def test_what_is_understood(text, energy):
    assert parse_energy(text) == energy


@pytest.mark.parametrize("text", ["", "vbm0.1", "vbm*2", "gap", "vbm-", "nan", "homo-1"])
def test_what_is_not(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"such as vbm-0\.1"):
        parse_energy(text)


def test_edges_are_the_true_ones(folder):
    args = argparse.Namespace(fermi=None, window=[parse_energy("vbm-0.1"), parse_energy("cbm+0.3")], energies=[parse_energy("ef+0.1")])
    check_window(args)
    resolve_energies(args, deeph.read(folder))
    assert np.allclose(args.window, [-0.6 - FERMI, 0.8 - FERMI], atol=1e-9)
    assert args.energies == [0.1]


def test_all_commands(folder, capsys, tmp_path):
    """The window from vbm-0.1 to cbm+0.1 is -0.8 to 0.4 eV from this Fermi level."""
    window = ["--window", "vbm-0.1", "cbm+0.1"]
    assert call("contours", folder, "--energies", "vbm-0.1", "--mesh", 12, 12, "--json") == 0
    assert np.allclose(json.loads(capsys.readouterr().out)["energies"], [-0.8], atol=1e-9)
    assert call("states", folder, "--k", "K", *window) == 0
    said = capsys.readouterr().out
    assert "-0.700000 eV" in said
    assert "+0.300000 eV" in said
    for command, words, file in (
        ("dos", ["--mesh", 6, 6, 1, "--points", 4], "dos.csv"),
        ("optics", ["--what", "transport", "--mesh", 6, 6, 1, "--rounds", 0, "--levels", 4], "t.json"),
    ):
        assert call(command, folder, *window, *words, "--out", tmp_path / file) == 0
        capsys.readouterr()
    rows = [line.split(",") for line in (tmp_path / "dos.csv").read_text(encoding="utf-8").splitlines() if line[:1] in "-0123456789"]
    assert np.allclose([float(row[0]) for row in rows], np.linspace(-0.8, 0.4, 4), atol=1e-6)
    levels = json.loads((tmp_path / "t_sigma.json").read_text(encoding="utf-8"))["energies"]
    assert np.allclose(levels, np.linspace(-0.6, 0.6, 4), atol=1e-9)
    assert call("berry", folder, "--path", "GK", "--points", 4, *window, "--out", tmp_path / "b.png") == 0
    assert call("bands", folder, "--path", "GK", "--points", 4, "--window", "vbm-0.01", "vbm+0.01") == 0
    assert call("compare", folder, folder, "--path", "GK", "--points", 4, *window) == 0
    assert "-0.8 to 0.4 eV from E_F" in capsys.readouterr().out


def test_a_figure_with_another_zero(folder, tmp_path, monkeypatch):
    """Numbers count from the zero of the figure, what is named stays where it is."""
    seen = []
    monkeypatch.setattr("postprocess.output.plot.plot_bands", lambda _, **look: seen.append(look["window"]))
    monkeypatch.setattr("deeph.files.figures.save_figure", lambda *_: None)
    for window in (["-1", "2"], ["vbm-1", "vbm+2"]):
        assert call("bands", folder, "--path", "GK", "--points", 4, "--window", *window, "--zero", "vbm", "--out", tmp_path / "b.png") == 0
    assert np.allclose(seen, [[-1, 2], [-1, 2]], atol=1e-9)


def test_refusals(folder, capsys, tmp_path):
    deeph.write_folder(tmp_path / "metal", haldane(0.0, t2=0.0, fermi_energy=-1.0))
    assert call("contours", tmp_path / "metal", "--energies", "vbm") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "no band edges at the Fermi level -1.0000 eV: bands cross it" in said
    for words in (["vbm", "vbm-1"], ["cbm", "vbm"]):
        assert call("states", folder, "--window", *words) == 2
        assert "the lower one first" in capsys.readouterr().err
    assert call("stm", folder, "--window", "gap", "1") == 2
    assert "such as vbm-0.1" in " ".join(capsys.readouterr().err.split())
