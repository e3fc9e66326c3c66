"""What H made on a grid does to forbidden components and degenerate levels is told by the commands, and ended by ``--symmetrize``."""

import json

import numpy as np
import pytest
from symmetry_case import random_structure

import deeph
import postprocess.cli.berry
import postprocess.cli.optics
import postprocess.cli.topology
from postprocess.output.records import read_record

COMMANDS = {
    "berry": (postprocess.cli.berry, ["--path", "G X", "--points", 3, "--bands", "1"]),
    "hall": (postprocess.cli.berry, ["--hall", "--mesh", 3, 3, 3, "--rounds", 0]),
    "optics": (postprocess.cli.optics, ["--mesh", 3, 3, 3, "--energies", 5]),
    "topology": (postprocess.cli.topology, ["--find", "wilson", "--bands", "1-24", "--mesh", 8, 2]),
}


@pytest.fixture
def folder(tmp_path):
    """Spinors between the atoms of zincblende, with H, S and r that keep none of its 24 operations."""
    data = random_structure("zincblende", "spinor", reversal=True, n_electrons=8.0, fermi_energy=0.0)
    deeph.write_folder(tmp_path / "ZnS", data)
    return tmp_path / "ZnS"


def call(command, *words):
    with pytest.raises(SystemExit) as stop:
        command.main([str(word) for word in words])
    return stop.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_how_far_h_breaks_its_group_is_said(folder, name, capsys):
    command, words = COMMANDS[name]
    assert call(command, folder, *words, "-q") in (0, 1)
    text = capsys.readouterr().out
    assert "symmetry     H is up to " in text
    assert "--symmetrize averages over them" in text
    assert call(command, folder, *words, "--symmetrize", "--json", "-q") in (0, 1)
    record = json.loads(capsys.readouterr().out)
    assert float(record["symmetry"].split()[4]) < 1e-9, record["symmetry"]
    assert "--symmetrize" not in record["symmetry"]


def test_symmetrized_h_has_no_forbidden_components(folder):
    file = folder.parent / "optics.h5"
    sizes = {}
    for words in ((), ("--symmetrize",)):
        assert call(postprocess.cli.optics, folder, *COMMANDS["optics"][1], *words, "--out", file, "-q") == 0
        sigma = np.abs(read_record(file)["interband_real"])
        sizes[words] = sigma[:, ~np.eye(3, dtype=bool)].max() / sigma.max()
    assert sizes[()] > 1e-2
    assert sizes[("--symmetrize",)] < 1e-10
