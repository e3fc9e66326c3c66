"""The energy zero of a model: Fermi levels and electrons of the training data go into the model file and from there into predictions."""

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stored_model import unpack
from training_case import make_structure

from deeph.config import ModelConfig
from deeph.files.store import read_folder, write_folder
from deeph.inference import predict, predict_folder
from deeph.nn.filling import Filled, Filling
from deeph.nn.fit import fit_model
from deeph.runtime.version import VERSION
from deeph.training.checkpoint import load_model, save_model
from preprocess.inspect.subject import inspect_path

TINY = ModelConfig(
    node_channels=4, node_pseudo_channels=2, bond_channels=4, bond_pseudo_channels=2, n_layers=1, n_radial=4, radial_hidden=8, rank=2,
    baseline_degree=2,
)  # fmt: skip
DFT = {
    "code": "OpenMX",
    "version": "3.8",
    "format": "scfout 3",
    "orbital_radii": {"C": 1.8, "H": 1.2},
    "k_grid": [3, 3, 1],
    "k_shift": [0, 0, 0],
    "scf": {"converged": True},
}


def structure(seed: int, **known):
    return replace(make_structure(seed), source=DFT, **known)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A model of CH structures with known Fermi levels, one of them without."""
    torch.manual_seed(0)
    levels = [-3.5, -3.7, None]
    data = [structure(n, fermi_energy=level, n_electrons=9.0) for n, level in enumerate(levels)]
    data.append(replace(make_structure(3, third=6), fermi_energy=-3.6, n_electrons=12.0))
    model = fit_model(TINY, data)
    file = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(file, model, {"metrics": {"validate_mae_meV": 1.25, "validate_projected_mae_meV": 1.0, "train_mae_meV": 3.0}})
    return file


def test_a_model_file_keeps_levels_and_electrons_of_its_data(path):
    filling = load_model(path).filling
    assert filling.fermi == pytest.approx((-3.6, 0.1))
    assert dict((*composition, n) for composition, n in filling.electrons) == {"C": 4, "H": 1}
    assert filling.n_electrons(np.array([6] * 28)) == 112


def test_a_prediction_says_whose_it_is(path, tmp_path):
    model = load_model(path)
    given = structure(7, fermi_energy=-2.0, extra={})
    predict_folder(model, given, tmp_path / "out")
    for found in (predict(model, given), read_folder(tmp_path / "out")):
        assert (found.fermi_energy, found.n_electrons, found.predicted) == (None, 9.0, True)
        assert found.fermi_guess == pytest.approx((-3.6, 0.1))
        assert (found.source["code"], found.source["version"]) == ("deeph", VERSION)
        assert found.source["model"] == {
            "file": f"{path.parent.name}/model.safetensors",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "code": f"deeph {VERSION}",
            "validate_mae_meV": 1.25,
            "validate_projected_mae_meV": 1.0,
        }
        assert found.source["overlap"] == {"code": "OpenMX", "version": "3.8", "format": "scfout 3"}
        assert {key: found.source[key] for key in ("orbital_radii", "k_grid", "k_shift")} == {
            key: DFT[key] for key in ("orbital_radii", "k_grid", "k_shift")
        }
        assert "scf" not in found.source  # that of another H
    again = predict(model, read_folder(tmp_path / "out"))  # the overlap of a prediction is still that of OpenMX
    assert again.source["overlap"]["code"] == "OpenMX"


def test_a_prediction_with_spin_says_the_errors_of_all_parts(path, tmp_path):
    """That of the spin-free part stood for all of them."""
    errors = {"validate_mae_meV": 1.25, "validate_exchange_mae_meV": 0.5, "validate_spin_orbit_mae_meV": 0.125}
    save_model(tmp_path / "model.safetensors", load_model(path), {"metrics": {**errors, "train_exchange_mae_meV": 3.0}})
    model = load_model(tmp_path)
    assert {name: value for name, value in model.origin.items() if "meV" in name} == errors
    predict_folder(model, structure(7), tmp_path / "out")
    text = inspect_path(tmp_path / "out").facts["model"]
    assert "validation MAE 1.25 meV of the spin-free part, exchange 0.5, spin-orbit 0.125, overlap" in text


def test_the_electrons_of_the_structure_itself_come_first(path):
    assert predict(load_model(path), structure(7, n_electrons=8.0)).n_electrons == 8.0  # an ion


def test_old_model_files_know_nothing_and_load(tmp_path):
    file, structures = unpack(tmp_path)
    assert "filling" not in json.dumps(inspect_path(file).facts["metadata"])
    model = load_model(file)
    assert model.filling == Filling()
    H = predict(model, structures["graphene"])
    assert H.fermi_guess is None
    assert H.n_electrons == structures["graphene"].n_electrons


def test_what_inspect_shows(path, tmp_path):
    facts = inspect_path(path).facts
    assert facts["Fermi level of the data (eV)"] == "-3.6000 within 0.1000"
    assert facts["electrons"] == "C 4, H 1"
    write_folder(tmp_path / "out", predict(load_model(path), structure(7)))
    facts = inspect_path(tmp_path / "out").facts
    assert facts["source"].startswith(f"deeph, {VERSION}")
    assert facts["model"] == f"{path.parent.name}/model.safetensors, validation MAE 1.25 meV (1 without the energy zero), overlap of OpenMX"
    assert facts["Fermi level expected (eV)"] == "-3.6000 within 0.1000"


MOS2, WSE2 = np.array([42, 16, 16]), np.array([74, 34, 34])


def test_compounds_that_do_not_tell_their_elements_apart():
    filling = Filling.of([Filled(np.tile(MOS2, 2), 0.0, 52.0), Filled(MOS2, 0.0, 26.0), Filled(WSE2, 0.0, 24.0)])
    assert len(filling.electrons) == 2
    assert filling.n_electrons(np.tile(MOS2, 50)) == 1300
    assert filling.n_electrons(np.concatenate([MOS2, WSE2, WSE2])) == 74
    assert filling.n_electrons(np.array([42, 34, 34])) is None  # MoSe2
    assert filling.n_electrons(np.array([6])) is None
    assert Filling.from_plain(json.loads(json.dumps(filling.to_plain()))) == filling


def test_ions_leave_no_electrons_and_a_warning(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("deeph"), "propagate", True)
    filling = Filling.of([Filled(MOS2, -1.0, 26.0), Filled(MOS2, -1.2, 27.0)])
    assert filling.electrons == ()
    assert filling.n_electrons(MOS2) is None
    assert filling.fermi == pytest.approx((-1.1, 0.1))
    assert "predictions will not state theirs" in caplog.text


def test_nothing_known():
    filling = Filling.of([Filled(MOS2, None, None)])
    assert filling == Filling()


def test_electrons_of_ions_that_fit_by_chance_are_not_kept(caplog):
    """Water and hydroxide: H would have no electron and O eight."""
    ions = [Filled(np.array([8, 1, 1]), None, 8.0), Filled(np.array([8, 1]), None, 8.0)]
    found = Filling.of(ions)
    assert found.n_electrons(np.array([8, 8])) is None
    assert "not those of neutral atoms (H " in caplog.text


def test_a_potential_on_the_given_hamiltonian_is_not_said_of_the_prediction(path):
    """H is predicted anew, without it."""
    model, given = load_model(path), structure(5)
    found = predict(model, given.with_potential(1.0))
    np.testing.assert_array_equal(found.H.entries, predict(model, given).H.entries)
    assert "changes" not in found.source
    again = predict(model, found.with_potential(1.0))
    assert "changes" not in again.source
    assert found.with_potential(1.0).source["changes"] == ["scalar potential from 1 to 1 eV"]
