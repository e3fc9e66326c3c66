"""Model files in use keep loading and predicting the same."""

import numpy as np
import pytest
import torch
from spin_case import make_spin_model
from stored_model import FOLDERS, unpack
from training_case import make_case

from deeph.files.config_file import load_config
from deeph.inference import predict
from deeph.runtime.errors import ModelError
from deeph.training import checkpoint, run
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.run_folder import STATE


@pytest.mark.parametrize("version", FOLDERS)
def test_the_stored_prediction_is_predicted_again(tmp_path, version):
    path, structures = unpack(tmp_path, version)
    assert checkpoint._read_header(path, checkpoint.MODEL_FORMAT)["version"] == version
    model = load_model(path).double()
    assert structures.keys() == {"graphene", "hbn"}
    for structure in structures.values():
        H = structure.hamiltonian
        assert np.abs(H.entries).max() > 10
        error = np.abs(predict(model, structure).hamiltonian.entries - H.entries)
        assert error.max() < 2e-5  # eV; H is written in single precision


@pytest.mark.parametrize("version", FOLDERS)
def test_what_the_stored_model_says(tmp_path, version):
    path, _ = unpack(tmp_path, version)
    metadata = read_metadata(path)
    assert metadata["description"]["shells"] == {"B": [0, 1], "C": [0, 1], "N": [0, 1]}
    assert ("trained_lengths" in metadata["description"]) == (version > 1)
    assert sum(p.stat().st_size for p in FOLDERS[version].rglob("*.gz")) < 200_000


def test_the_weights_of_a_magnet_are_found_by_their_old_names():
    """Version 3 had no trunk; only magnets have weights for moments."""
    now = {name: tensor for name, tensor in make_spin_model("magnetic").state_dict().items() if ".bond_layers." not in name}
    old = {name.removeprefix("trunk."): tensor for name, tensor in now.items()}
    assert any(name.startswith("moments.") for name in old)
    assert checkpoint.renamed(old).keys() == now.keys()


@pytest.mark.parametrize("version", FOLDERS)
def test_a_model_of_an_earlier_version_is_written_as_one_of_today(tmp_path, version):
    path, _ = unpack(tmp_path / "old", version)
    old = load_model(path)
    checkpoint.save_model(tmp_path / "new.safetensors", old, {})
    new = load_model(tmp_path / "new.safetensors")
    assert new.trained == old.trained
    assert new.state_dict().keys() == old.state_dict().keys()
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())


def test_a_run_of_an_earlier_version_is_not_continued(tmp_path):
    """Its optimizer kept other things; they must not be taken for those of today."""
    config = load_config(make_case(tmp_path), ["train.epochs=1"])
    run.train(config, tmp_path / "run")
    state = tmp_path / "run" / STATE
    tensors, header = checkpoint.read_tensors(state, checkpoint.STATE_FORMAT)
    checkpoint.write_tensors(state, checkpoint.STATE_FORMAT, tensors, {**header, "version": 4})
    with pytest.raises(ModelError, match=r"resume\.safetensors has format 4, .*\(deeph .*\).*without --resume"):
        run.train(config, tmp_path / "run", resume=True)


def test_averages_of_other_weights_are_not_taken(tmp_path):
    """What the optimizer keeps is told apart by its place; one of another shape there belongs to another weight."""
    config = load_config(make_case(tmp_path), ["train.epochs=2", 'train.optimizer="adamw"'])
    run.train(config, tmp_path / "run")
    state = tmp_path / "run" / STATE
    tensors, header = checkpoint.read_tensors(state, checkpoint.STATE_FORMAT)
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("optimizer."))
    for what in ("exp_avg", "exp_avg_sq", "step"):
        tensors[f"optimizer.0.{what}"], tensors[f"optimizer.{last}.{what}"] = (tensors[f"optimizer.{n}.{what}"] for n in (last, 0))
    checkpoint.write_tensors(state, checkpoint.STATE_FORMAT, tensors, header)
    with pytest.raises(
        ModelError, match=r"resume\.safetensors: the optimizer of that run kept its averages in another order.*without --resume"
    ):
        run.train(config, tmp_path / "run", resume=True)
