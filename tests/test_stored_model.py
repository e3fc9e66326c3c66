"""Model files in use keep loading and predicting the same."""

import numpy as np
import pytest
from stored_model import FOLDER, unpack

from deeph.inference import predict
from deeph.training.checkpoint import load_model, read_metadata


def test_the_stored_prediction_is_predicted_again(tmp_path):
    path, structures = unpack(tmp_path)
    model = load_model(path).double()
    assert structures.keys() == {"graphene", "hbn"}
    for structure in structures.values():
        H = structure.hamiltonian
        assert np.abs(H.entries).max() > 10
        error = np.abs(predict(model, structure).hamiltonian.entries - H.entries)
        assert error.max() < 2e-5  # eV; H is written in single precision


@pytest.mark.parametrize("name", ["model.safetensors"])
def test_the_stored_model_is_of_the_first_version(tmp_path, name):
    path, _ = unpack(tmp_path)
    metadata = read_metadata(path)
    assert path.name == name
    assert metadata["description"]["shells"] == {"B": [0, 1], "C": [0, 1], "N": [0, 1]}
    assert sum(p.stat().st_size for p in FOLDER.rglob("*.gz")) < 200_000
