"""Prediction: Hermitian, the same in memory and in a folder, and refused where the model does not apply."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import deeph
from deeph.cli import infer
from deeph.config import ModelConfig
from deeph.files.folders import FolderExistsError
from deeph.files.matrix_file import read_matrix
from deeph.files.store import POSITION, copy_positions
from deeph.inference import predict, predict_folder
from deeph.nn.fit import fit_model
from deeph.physics.basis import Basis
from deeph.physics.pairs import pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, ModelError
from deeph.runtime.log import logger
from deeph.training.checkpoint import save_model

TINY = ModelConfig(
    node_channels=8, node_pseudo_channels=4, bond_channels=8, bond_pseudo_channels=4, rank=4, n_layers=2, chunk_bonds=100, baseline_degree=6
)


@pytest.fixture(scope="module")
def model(mini_graphene):
    torch.manual_seed(0)
    return fit_model(TINY, [mini_graphene]).eval()


def test_prediction_is_exactly_hermitian_and_does_not_look_at_h(model, mini_graphene):
    H = predict(model, mini_graphene).hamiltonian
    assert H.hermiticity_error() == 0
    blind = predict(model, replace(mini_graphene, H=None)).hamiltonian
    assert (blind.entries == H.entries).all()
    assert np.abs(H.entries - mini_graphene.H.entries).max() > 1e-3  # an untrained network is not right


def test_baseline_alone_is_a_tight_binding_model(mini_graphene):
    """With the heads silenced the prediction is the Slater-Koster part, which leaves little of an ideal crystal's bonds."""
    model = fit_model(TINY, [mini_graphene]).eval()
    readout = model.readouts["A0"]
    for head in (*readout.offsite_heads, *readout.onsite_heads):
        for weights in head.coefficients.mix[-1].parameters():
            weights.data.zero_()
    error = predict(model, mini_graphene).hamiltonian.entries - mini_graphene.H.entries
    assert np.abs(error).mean() < 0.1 * np.abs(mini_graphene.H.entries).mean()


def test_folder_equals_memory(model, mini_graphene, tmp_path):
    predict_folder(model, mini_graphene, tmp_path / "out")
    read = deeph.read_folder(tmp_path / "out")
    assert read.fermi_energy is None
    in_memory = predict(model, replace(mini_graphene, moments=np.ones((2, 3))))
    assert (in_memory.fermi_energy, in_memory.moments, in_memory.extra) == (None, None, {})  # those are of the DFT run
    assert (read.H.entries == predict(model, mini_graphene).H.entries).all()
    assert read.H.entries.dtype == np.float32
    with pytest.raises(DataError, match="exists already"):
        predict_folder(model, mini_graphene, tmp_path / "out")


def test_position_matrices_go_along(model, mini_graphene, tmp_path):
    """As bytes where the atoms stay where they are, else with their blocks in the new order."""
    deeph.write_folder(tmp_path / "data", mini_graphene)
    predict_folder(model, mini_graphene, tmp_path / "out", given=tmp_path / "data")
    assert (tmp_path / "out" / POSITION).read_bytes() == (tmp_path / "data" / POSITION).read_bytes()
    assert model.predict(tmp_path / "data").r is not None
    (tmp_path / "other").mkdir()
    copy_positions(tmp_path / "data", tmp_path / "other", np.array([1, 0]))
    deeph.write_folder(tmp_path / "expected", mini_graphene.permuted(np.array([1, 0])))
    assert np.array_equal(*(read_matrix(tmp_path / name / POSITION, 2).entries for name in ("other", "expected")))


def test_the_pairs_beyond_the_cutoffs_are_counted_once_each(mini_graphene, caplog):
    """A message with their number; their blocks, and no others, are zero."""
    model = fit_model(TINY, [mini_graphene]).eval()
    length = np.linalg.norm(pair_vectors(mini_graphene.system, mini_graphene.S.pairs), axis=1)
    lengths = np.unique(length.round(6))
    predict(model, mini_graphene)
    assert "beyond" not in caplog.text
    for cutoff in (lengths[2] + 1e-3, lengths[1] + 1e-3):
        caplog.clear()
        model.cutoffs = dict.fromkeys(model.cutoffs, float(cutoff))
        H = predict(model, mini_graphene).hamiltonian
        far = length > cutoff
        assert f"{far.sum() // 2} pairs lie beyond the cutoffs" in caplog.text
        zero = [not block.any() for block in (H.take(np.array([n])) for n in range(H.n_pairs))]
        assert zero == far.tolist()


def test_refusals(model, mini_graphene):
    system = mini_graphene.system
    shells = mini_graphene.basis.shells[6]
    silicon = replace(mini_graphene, system=System(system.cell, system.positions, [14, 14]), basis=Basis({14: shells}))
    with pytest.raises(ModelError, match="does not know Si"):
        predict(model, silicon)
    with pytest.raises(ModelError, match="was trained with"):
        predict(model, replace(mini_graphene, basis=Basis({6: shells[::-1]})))
    one_way = mini_graphene.S.selected(np.flatnonzero(mini_graphene.S.pairs[:, 0] >= 0))
    with pytest.raises(DataError, match="partner"):
        predict(model, replace(mini_graphene, S=one_way, H=None, r=None, extra={}))


def test_command(model, mini_graphene, tmp_path):
    """One good folder and two bad ones: the good one is predicted, the others are named, exit code 1."""
    save_model(tmp_path / "model.safetensors", model, {})
    data = tmp_path / "data"
    deeph.write_folder(data / "good", mini_graphene)
    shutil.copytree(data / "good", data / "unknown_element")
    for name in ("POSCAR", "info.json"):
        text = (data / "unknown_element" / name).read_text()
        (data / "unknown_element" / name).write_text(re.sub(r"\bC2?\b", "Si", text))
    shutil.copytree(data / "good", data / "no_overlap")
    (data / "no_overlap" / "overlap.h5").unlink()
    command = [sys.executable, "-m", "deeph.cli.infer", tmp_path / "model.safetensors", data, tmp_path / "out", "--threads", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "does not know Si" in run.stderr
    assert "overlap.h5 is missing" in run.stderr
    assert "Traceback" not in run.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good"]
    missing = subprocess.run([*command[:3], tmp_path / "nothing", *command[4:]], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "missing" in missing.stderr


def test_what_another_command_predicts_meanwhile_is_skipped(model, mini_graphene, tmp_path, monkeypatch):
    save_model(tmp_path / "model.safetensors", model, {})
    deeph.write_folder(tmp_path / "data" / "good", mini_graphene)

    def late(model, structure, folder, **options):
        predict_folder(model, structure, folder, **options)
        written = (folder / "hamiltonian_pred.h5").stat().st_mtime_ns
        with pytest.raises(FolderExistsError):
            predict_folder(model, structure, folder, **options)
        assert (folder / "hamiltonian_pred.h5").stat().st_mtime_ns == written
        raise FolderExistsError(f"{folder} was made by another program")

    monkeypatch.setattr("deeph.inference.predict_folder", late)
    with pytest.raises(SystemExit) as ended:
        infer.main([str(tmp_path / name) for name in ("model.safetensors", "data", "out")])
    assert ended.value.code == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good"]


def test_pairs_beyond_the_cutoffs_are_counted_and_zero(model, mini_graphene, caplog, monkeypatch):
    """Each pair once, not both directions; on-site blocks do not count."""
    length = np.linalg.norm(pair_vectors(mini_graphene.system, mini_graphene.S.pairs), axis=1)
    limit = 2.0
    beyond = int((length >= limit).sum()) // 2
    assert 0 < beyond < (length > 0).sum() // 2
    monkeypatch.setattr(model, "cutoffs", {(6, 6): limit})
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level("WARNING"):
        H = predict(model, mini_graphene).hamiltonian
    assert f"{beyond} pairs lie beyond the cutoffs of the model; their blocks are zero" in caplog.text
    largest = np.array([np.abs(H.block(tuple(pair))).max() for pair in H.pairs.tolist()])
    assert (largest[length >= limit] == 0).all()
    assert (largest[length < limit] > 0).all()
