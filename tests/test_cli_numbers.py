"""Bands and k-points as typed, in all commands alike."""

import argparse
import importlib
import json

import numpy as np
import pytest
from tight_binding import haldane

import deeph
from deeph.runtime.errors import UsageError
from postprocess.cli.numbers import are_neighbours, parse_bands
from postprocess.lattice.points import find_point


def call(command, *words):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"postprocess.cli.{command}").main([str(w) for w in words])
    return stop.value.code


@pytest.mark.parametrize(("text", "bands"), [("26", (25,)), ("25-26", (24, 25)), ("3, 5-7", (2, 4, 5, 6)), ("2,1", (0, 1))])
def test_bands(text, bands):
    assert parse_bands(text) == bands


@pytest.mark.parametrize("text", ["", "0", "0-2", "3-1", "1-", "-2", "x", "1.5", "1-9999999999"])
def test_no_bands(text):
    with pytest.raises(argparse.ArgumentTypeError, match="numbers from 1"):
        parse_bands(text)


def test_neighbours():
    assert are_neighbours((3, 4, 5))
    assert not are_neighbours((0, 2))
    assert not are_neighbours(())


def test_points():
    data = haldane()
    for text in ("K", "1/3,1/3,0", "1/3 1/3 0", " 1/3, 1/3, 0"):
        assert np.allclose(find_point(data, text), [1 / 3, 1 / 3, 0])
    for text in ("G", "Gamma", "Γ", "0,0,0"):
        assert np.allclose(find_point(data, text), 0)
    for text in ("Q", "1/3,1/3", "1/0,0,0", "1e999,0,0", "nan,0,0", ""):
        with pytest.raises(UsageError, match=r"three fractional coordinates such as 1/3,1/3,0, or one of G \(0, 0, 0\)"):
            find_point(data, text)


@pytest.fixture
def folder(tmp_path):
    deeph.write_folder(tmp_path / "layer", haldane(0.5, t2=0.0))
    return tmp_path / "layer"


def test_all_commands_take_the_same(folder, capsys):
    """A list where only a range was understood, and a label where only coordinates were."""
    assert call("contours", folder, "--bands", "1,2", "--energies", "-1", "--mesh", 12, 12, "--json") == 0
    capsys.readouterr()
    assert call("topology", folder, "--find", "wilson", "--bands", "1,1", "--mesh", 12, 4, "--json") == 0
    capsys.readouterr()
    found = []
    for k in ("K", "1/3,1/3,0", "1/3 1/3 0"):
        assert call("optics", folder, "--what", "dichroism", "--k", k, "--json", "-q") == 0
        found.append(json.loads(capsys.readouterr().out)["degree"])
    assert np.allclose(found, found[0])


def test_wrong_ones_are_told_alike(folder, capsys):
    for command, option, *more in (
        ("berry", "--bands"),
        ("contours", "--bands"),
        ("topology", "--bands"),
        ("optics", "--from"),
        ("optics", "--to"),
    ):
        assert call(command, folder, option, "0-2", *more) == 2
        assert "numbers from 1" in " ".join(capsys.readouterr().err.split())
    assert call("topology", folder, "--bands", "1,3") == 2
    assert "--bands 1,3: expected bands that follow each other, such as 1-3" in " ".join(capsys.readouterr().err.split())
    for command, words in (("states", ["--k", "Q"]), ("optics", ["--what", "dichroism", "--k", "Q"])):
        assert call(command, folder, *words) == 2
        assert "--k Q: expected three fractional coordinates" in " ".join(capsys.readouterr().err.split())
