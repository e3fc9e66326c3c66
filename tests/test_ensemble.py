"""``deeph-ensemble`` and its file: made of runs that belong together, refused otherwise, used like any model."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_case import SMALL, make_case

from deeph.cli import ensemble as command
from deeph.cli import infer
from deeph.files.config_file import load_config
from deeph.files.store import read_folder
from deeph.nn.ensemble import Ensemble
from deeph.runtime.errors import DataError
from deeph.runtime.log import setup_logging
from deeph.training.checkpoint import load_model
from deeph.training.ensemble import _level_calibration
from deeph.training.run import train
from postprocess.cli import bands
from preprocess.cli import inspect


def run(main, *arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two seeds, and one of other data."""
    folder = tmp_path_factory.mktemp("runs")
    config = make_case(folder, settings=SMALL)
    for name, seed in (("a", 0), ("b", 1)):
        train(load_config(config, [f"train.seed={seed}"]), folder / name)
    train(load_config(config, ["data.seed=5"]), folder / "other")
    return folder


@pytest.fixture(scope="module")
def made(runs) -> Path:
    assert run(command.main, runs / "a", runs / "b", "--out", runs / "e.safetensors") == 0
    return runs / "e.safetensors"


def test_file_is_a_model(made, runs):
    model = load_model(made)
    assert isinstance(model, Ensemble)
    assert len(model.members) == 2
    assert model.calibration.rows
    assert model.members[0].origin["file"].endswith("/e.safetensors")
    assert model.members[0].origin["members"] == 2
    for name, member in zip("ab", model.members, strict=True):
        single = load_model(runs / name)
        assert all(np.array_equal(member.state_dict()[key], value) for key, value in single.state_dict().items())


def test_commands_take_it_like_a_model(made, runs, tmp_path, capsys):
    data = runs / "data" / "001"
    assert run(infer.main, made, data, tmp_path / "out") == 0
    assert "error bars" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out" / "001").iterdir()} >= {"error_bars.h5", "error_modes.h5", "hamiltonian_pred.h5"}
    found, single = read_folder(tmp_path / "out" / "001"), [load_model(runs / name).predict(data).hamiltonian for name in "ab"]
    assert np.abs(found.hamiltonian.entries - (single[0].entries + single[1].entries) / 2).max() < 1e-10
    assert run(infer.main, made, data, tmp_path / "out", "--check") == 0
    assert "there already" in capsys.readouterr().out
    assert run(inspect.main, tmp_path / "out" / "001") in (0, 1)
    assert "meV at" in capsys.readouterr().out
    assert run(inspect.main, made) == 0
    assert "2 models: a/model.safetensors, b/model.safetensors" in capsys.readouterr().out
    where = [tmp_path / "out" / "001", "--path", "GX", "--points", 10, "--fermi", -5]
    assert run(bands.main, *where, "--out", tmp_path / "b.json", tmp_path / "b.png") == 0
    assert "error bars" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "b.json").read_text())["errors"]) == 1


def test_a_single_model_has_no_modes(runs, tmp_path, capsys):
    assert run(infer.main, runs / "a", runs / "data" / "001", tmp_path / "out", "--modes") == 2
    assert "a single model without error bars" in capsys.readouterr().err
    assert run(infer.main, runs / "a", runs / "data" / "001", tmp_path / "out") == 0
    assert "error bars" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a", "an ensemble of 1"),
        ("a a", "named twice"),
        ("a copy", "are the same model"),
        ("a other", "was trained on other structures"),
        ("a e.safetensors", "is an ensemble"),
        ("a missing", "is missing"),
    ],
)
def test_what_is_no_ensemble_is_refused(made, runs, capsys, tmp_path, given, message):
    if not (runs / "copy").exists():
        shutil.copytree(runs / "a", runs / "copy")
    assert run(command.main, *(runs / name for name in given.split()), "--out", tmp_path / "x.safetensors") in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


def test_structures_of_the_training_do_not_calibrate(made, runs, tmp_path, capsys):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["000", "001"], "validate": ["002"]}))
    options = ["--data", runs / "data", "--split", tmp_path / "split.json", "--out", tmp_path / "x.safetensors"]
    assert run(command.main, runs / "a", runs / "b", *options) == 1
    assert "not what the models were trained on" in capsys.readouterr().err
    assert run(command.main, runs / "a", runs / "b", "--out", made) == 2
    assert "is kept" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["tensor", "calibration", "members", "cut"])
def test_damaged_files_are_refused(made, tmp_path, what):
    path = tmp_path / "e.safetensors"
    with safe_open(made, framework="pt") as file:
        header = json.loads(file.metadata()["deeph"])
    tensors = load_file(made)
    if what == "tensor":
        tensors.pop(next(name for name in tensors if name.startswith("1.")))
    if what == "calibration":
        header["description"]["calibration"]["blocks"][0][3] = -1
    if what == "members":
        header["description"]["members"].pop()
    save_file(tensors, path, metadata={"deeph": json.dumps(header)})
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"complete|damaged"):
        load_model(path)


def test_levels_without_a_state_of_the_dft_are_told(capsys):
    """They count with their errors, so that one sigma is not that of the others, and a warning says so."""
    setup_logging(0)
    rng = np.random.default_rng(0)
    levels = np.abs(rng.normal(size=(3, 100))) * [[1e-3], [1e-2], [0]]
    levels[2] = 1
    _, common = _level_calibration(levels)
    assert "no state of the DFT" not in capsys.readouterr().err
    levels[1:, :60] = [[2.0], [0]]
    _, with_ghosts = _level_calibration(levels)
    assert "60 of these levels have no state of the DFT" in capsys.readouterr().err
    assert common < 0.02
    assert with_ghosts > 1
