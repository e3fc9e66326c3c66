"""benchmarks/objective.py: levels with and without a partner, and its table."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from training_case import make_case, make_structure

from deeph.files.config_file import load_config
from deeph.files.store import write_folder
from deeph.training.run import train


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import objective

        yield objective
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_levels_without_partner(script):
    dft = [-1.0, 0.0, 0.0, 1.0]
    assert script.unmatched([-1.01, 0.01, 0.02, 0.98], dft, 0.1).tolist() == []
    assert script.unmatched([-1.0, -0.5, 0.0, 0.0, 1.0], dft, 0.1).tolist() == [-0.5]
    assert script.unmatched([-1.0, 0.0, 0.0, 0.0, 1.0], dft, 0.1).tolist() == [0.0]  # one DFT level answers one level
    assert script.unmatched(dft, [-1.0, 0.0, 1.0], 0.1).tolist() == [0.0]
    assert script.unmatched([], dft, 0.1).size == 0


def test_table_of_a_run_and_of_the_dft_itself(script, tmp_path, monkeypatch, capsys):
    """A model that gives H of the DFT has no error; a trained one has the errors of its evaluation."""
    config = load_config(make_case(tmp_path), ["train.epochs=1"])
    for folder in config.data.path.iterdir():
        write_folder(folder, replace(make_structure(int(folder.name)), fermi_energy=-5.0), overwrite=True)
    best = train(config, tmp_path / "run")
    names = sorted(folder.name for folder in config.data.path.iterdir())
    (config.data.path / "split.json").write_text(json.dumps({"train": names[:5], "validate": names[5:6], "test": names[6:]}))
    arguments = [str(config.data.path), str(best), "--save", str(tmp_path / "table")]
    script.main(arguments)
    row = [float(x) for x in (tmp_path / "table").read_text().splitlines()[1].split()[1:]]
    assert len(row) == len(script.HEADS)
    assert min(row[:5]) > 1
    assert "2 structures of test" in capsys.readouterr().out

    monkeypatch.setattr(script, "predict_anyway", lambda _, structure: structure)
    script.main(arguments)
    row = [float(x) for x in (tmp_path / "table").read_text().splitlines()[1].split()[1:]]
    np.testing.assert_allclose(row, 0, atol=1e-9)
