"""H0: the network learns H - H0, and a prediction is H0 plus what the network says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from given_case import make_given_model, make_known, predict, symmetry_errors
from network_case import TINY, largest, make_structure
from spin_case import SPIN_TINY, make_spin_structure
from training_case import SMALL

from deeph.cli.infer import main as infer
from deeph.files.config_file import load_config
from deeph.files.store import read_folder, write_folder
from deeph.inference import predict_anyway, predict_folder
from deeph.inference_cost import estimate
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError, ModelError
from deeph.training.check import check_data
from deeph.training.checkpoint import load_model, save_model
from deeph.training.data import open_split
from deeph.training.evaluate import baseline_alone
from deeph.training.run import train


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    return make_given_model()


@pytest.mark.parametrize("seed", range(2))
def test_every_symmetry(model: HamiltonianModel, seed: int) -> None:
    errors = symmetry_errors(model, make_known(seed), seed)
    assert max(errors.values()) < 1e-10, errors


def test_the_prediction_follows_its_H0(model: HamiltonianModel) -> None:
    """What is added to H0 is added to the prediction, and the network sees none of it."""
    one = make_known(5)
    more = replace(one.extra["H0"], entries=one.extra["H0"].entries + one.S.entries)
    other = replace(one, extra={"H0": more})
    assert np.abs(predict(model, other).entries - predict(model, one).entries - one.S.entries).max() < 1e-12


def test_the_target_is_what_H0_leaves(model: HamiltonianModel) -> None:
    """Where H is H0 there is nothing to learn; the baseline and the scales are those of the difference."""
    same = [replace(make_structure(n), extra={"H0": make_structure(n).hamiltonian}) for n in range(3)]
    nothing = fit_model(TINY, same)
    assert nothing.given.zeroth
    assert float(nothing.baseline().unit_offsite) == pytest.approx(1e-5)
    assert largest(predict_anyway(baseline_alone(nothing), same[0]).hamiltonian, same[0].hamiltonian) < 1e-5
    plain = fit_model(TINY.model_copy(update={"zeroth": "never"}), [make_known(n) for n in range(3)])
    assert not plain.given.zeroth
    assert float(model.baseline().unit_offsite) < 0.3 * float(plain.baseline().unit_offsite)


def test_pairs_beyond_the_cutoffs_have_H0(model: HamiltonianModel) -> None:
    far = make_known(3)
    short = HamiltonianModel(
        model.config, model.basis, dict.fromkeys(model.cutoffs, 2.0), model.degree, model.trained, given=model.given
    ).double()
    H, H0 = predict_anyway(short, far).hamiltonian, far.extra["H0"]
    same = np.array([np.array_equal(H.take(np.array([n])), H0.take(np.array([n]))) for n in range(H.n_pairs)])
    assert 0.3 < same.mean() < 0.99
    graph = make_graph(far, short, targets=True)
    difference = replace(H0, entries=far.hamiltonian.entries - H0.entries)
    squares = 2 * float(graph.beyond_target_A0.square().sum())
    assert squares == pytest.approx(float(np.square(difference.selected(np.flatnonzero(same)).entries).sum()))


@pytest.mark.parametrize("kind", ["collinear", "spin-orbit", "magnetic"])
def test_with_spin(kind: str) -> None:
    """All parts of H - H0: an H0 that is off by a tenth leaves a tenth to learn in each part, and comes back in the prediction."""

    def known(seed: int) -> Hamiltonian:
        one = make_spin_structure(kind, seed)
        return replace(one, extra={"H0": replace(one.hamiltonian, entries=0.9 * one.hamiltonian.entries)})

    structures = [known(n) for n in range(3)]
    model, plain = (fit_model(c, structures) for c in (SPIN_TINY, SPIN_TINY.model_copy(update={"zeroth": "never"})))
    for part in model.spin:
        ratio = float(model.baseline(part.name).unit_offsite / plain.baseline(part.name).unit_offsite)
        assert ratio == pytest.approx(0.1, rel=0.02), part.name
    H = structures[0].hamiltonian
    alone = predict_anyway(baseline_alone(model), structures[0]).hamiltonian
    assert np.abs(alone.entries - H.entries).max() < 0.11 * np.abs(H.entries).max()


def test_auto_use_and_none() -> None:
    have, lack = make_known(0), make_structure(1)
    use = TINY.model_copy(update={"zeroth": "use"})
    assert not fit_model(TINY, [have, lack]).given.zeroth
    with pytest.raises(ModelError, match=r'"use", but 1 of 2 structures have no H0 .*deeph-pyscf'):
        fit_model(use, [have, lack])


def test_round_trip_and_old_files(model: HamiltonianModel, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", model, {})
    again, one = load_model(tmp_path), make_known(4)
    assert again.given == model.given
    assert np.array_equal(predict(again, one).entries, predict(model, one).entries)
    old = model.description()
    del old["given"]
    del old["config"]["zeroth"]
    assert not HamiltonianModel.from_description(old).given.zeroth


def test_prediction_in_folders(model: HamiltonianModel, tmp_path: Path) -> None:
    """Atoms in another order, H in a file; H0 itself is not copied, and a structure without it is refused before anything is written."""
    one = make_known(6)
    predict_folder(model, one, tmp_path / "out")
    back = read_folder(tmp_path / "out", extra=True)
    assert not back.extra
    order = np.argsort(one.system.numbers, kind="stable")
    assert np.abs(back.hamiltonian.entries - predict(model, one).permuted(order).entries).max() < 1e-12
    with pytest.raises(ModelError, match=r"no H0 .*output\.hamiltonian=false"):
        predict_folder(model, replace(one, extra={}), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert estimate(model, replace(one, H=None)).n_bonds > 0


def test_commands(model: HamiltonianModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model.safetensors", model, {})
    write_folder(tmp_path / "given", replace(make_known(6), H=None))
    write_folder(tmp_path / "plain", make_structure(6))
    paths = [str(tmp_path / name) for name in ("model.safetensors", "given", "plain", "out")]
    with pytest.raises(SystemExit) as end:
        infer(paths)
    assert end.value.code == 1
    assert "no H0 (hamiltonian_zeroth.h5): deeph-pyscf" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["given"]
    H = load_model(tmp_path / "model.safetensors").predict(tmp_path / "given").hamiltonian
    assert np.abs(H.entries - read_folder(tmp_path / "out" / "given").hamiltonian.entries).max() < 1e-6


def _data(folder: Path, lacking: tuple[int, ...] = (), choice: str = "auto") -> Path:
    for n in range(8):
        write_folder(folder / "data" / f"{n:03d}", make_structure(n) if n in lacking else make_known(n))
    text = SMALL.replace("[model]", f'[model]\nzeroth = "{choice}"').replace("batch_bonds = 30", "batch_bonds = 200")
    (folder / "small.toml").write_text(text, encoding="utf-8")
    return folder / "small.toml"


def test_training(tmp_path: Path) -> None:
    """H0 is read from the folders; the errors of the run are those of H0 + network."""
    config = load_config(_data(tmp_path))
    assert "learned     H - H0" in check_data(config)
    best = train(config, tmp_path / "run")
    model = load_model(best)
    assert model.given.zeroth
    dataset, split = open_split(config)
    errors = []
    for name in split.test:
        data = dataset.read(name)
        errors.append(np.abs(predict(model, data).entries - data.hamiltonian.entries).mean())
    import json

    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]["model"]["raw"]["mae"]
    assert found == pytest.approx(1e3 * np.mean(errors), rel=0.05)


def test_structures_that_lack_it(tmp_path: Path) -> None:
    config = load_config(_data(tmp_path, lacking=(3,)))
    assert "learned     H\n" in check_data(config)
    dataset, _ = open_split(config)
    assert dataset.extra == ()
    wanted = load_config(_data(tmp_path / "use", lacking=(3,), choice="use"))
    with pytest.raises(DataError, match=r'003: no H0 \(hamiltonian_zeroth.h5\), which model.zeroth = "use" asks for'):
        check_data(wanted)


def test_the_fingerprint_covers_H0(tmp_path: Path) -> None:
    config = load_config(_data(tmp_path))
    dataset, _ = open_split(config)
    before = dataset.fingerprint()
    one = dataset.read("002")
    write_folder(dataset.path / "002", replace(one, extra={"H0": one.hamiltonian}), overwrite=True)
    assert dataset.fingerprint() != before
