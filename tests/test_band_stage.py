"""The band stage of a run: when it is, what it keeps, exact restarts, refusals."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_training import assert_same_state, one_start, rows, run_stopped_at  # noqa: F401 - a fixture
from training_case import SMALL, make_case, make_structure

from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.store import write_folder
from deeph.runtime.errors import DataError, UsageError
from deeph.training import run
from deeph.training.band_states import BandStates
from deeph.training.check import check_data
from deeph.training.checkpoint import load_model, read_tensors
from deeph.training.recorder import add_columns
from deeph.training.run_folder import BEST, FIRST, STATE
from deeph.training.stages import Stages

BANDS = """
[bands]
share = 0.5
weight = 0.5
learning_rate = 0.004
k_points = 2
"""


@pytest.fixture
def case(tmp_path: Path) -> Path:
    path = make_case(tmp_path, settings=SMALL + BANDS)
    for folder in (tmp_path / "data").iterdir():
        write_folder(folder, replace(make_structure(int(folder.name)), fermi_energy=-5.0), overwrite=True)
    return path


def test_the_stage_is_the_last_share_of_the_run(case: Path, tmp_path: Path) -> None:
    """First stage as without it at its own learning rate, then the states count; its best model stays beside that of the stage."""
    config = load_config(case)
    run.train(config, tmp_path / "run")
    table = rows(tmp_path / "run")
    rates = [float(row["learning_rate"]) for row in table]
    assert [int(row["epoch"]) for row in table] == [1, 2, 3, 4]
    assert rates[1] == pytest.approx(0, abs=1e-5)  # both stages end with the lowest rate
    assert rates[3] == pytest.approx(1e-6, rel=1e-3)
    assert 0.001 < rates[2] < 0.004
    assert all(float(row["validate_levels_mae_meV"]) > 0 for row in table)
    losses = [float(row["validate_loss"]) for row in table]
    assert losses[2] > losses[1]  # another loss: the best of the first stage is no bar
    assert read_tensors(tmp_path / "run" / STATE, "deeph-training-state")[1]["position"]["best"] == pytest.approx(min(losses[2:]), rel=1e-6)
    weights = [load_file(tmp_path / "run" / name) for name in (FIRST, BEST)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    load_model(tmp_path / "run" / FIRST)


@pytest.mark.usefixtures("one_start")
@pytest.mark.parametrize("step", [8, 9, 11])
def test_resume_is_exact(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Stopped before, at and after the beginning of the stage; 4 steps an epoch."""
    config = load_config(case, ["train.precision=float32", "train.batch_bonds=1"])
    run.train(config, tmp_path / "full")
    run_stopped_at(step, config, tmp_path / "parts", monkeypatch)
    run.train(config, tmp_path / "parts", resume=True)
    assert_same_state(tmp_path / "full", tmp_path / "parts")
    timeless = [[{k: v for k, v in row.items() if k != "time_min"} for row in rows(tmp_path / name)] for name in ("full", "parts")]
    assert timeless[0] == timeless[1]


def test_a_finished_run_gets_a_stage(case: Path, tmp_path: Path) -> None:
    run.train(load_config(case, ["bands.share=0", "train.epochs=2"]), tmp_path / "run")
    before = load_file(tmp_path / "run" / BEST)
    run.train(load_config(case), tmp_path / "run", resume=True)
    table = rows(tmp_path / "run")
    assert ["" if row["validate_levels_mae_meV"] == "" else "there" for row in table] == ["", "", "there", "there"]
    kept = load_file(tmp_path / "run" / FIRST)
    assert all(torch.equal(kept[name], before[name]) for name in before)
    run.train(load_config(case, ["bands.share=0", "train.epochs=5"]), tmp_path / "run", resume=True)  # and goes on without it
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3", "4", "5"]


def test_a_run_of_an_earlier_version_is_resumed(case: Path, tmp_path: Path) -> None:
    """Settings that its version did not have are what they are by default."""
    run.train(load_config(case, ["train.epochs=1", "bands.share=0"]), tmp_path / "run")
    tensors, header = read_tensors(tmp_path / "run" / STATE, "deeph-training-state")
    del header["identity"]["loss"]["sigma_power"], header["position"]["bands"]
    run.save_state.__globals__["write_tensors"](tmp_path / "run" / STATE, "deeph-training-state", tensors, header)
    run.train(load_config(case, ["train.epochs=2", "bands.share=0"]), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match=r"loss\.sigma_power \(0\.0 -> 0\.5\) changed"):
        run.train(load_config(case, ["train.epochs=3", "loss.sigma_power=0.5"]), tmp_path / "run", resume=True)


def test_states_are_kept_as_long_as_there_is_room(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(case)
    dataset, made = open_dataset(config.data.path), list[str]()
    plain = BandStates._make

    def counting(self: BandStates, name: str, turn: int) -> Any:
        made.append(name)
        return plain(self, name, turn)

    monkeypatch.setattr(BandStates, "_make", counting)
    kept, none = (BandStates(dataset, config.bands, 0, torch.device("cpu"), room) for room in (1e9, 0.0))
    for states, expected in ((kept, 2), (none, 4)):
        made.clear()
        terms = [states.term(["000"], epoch) for epoch in range(4)]  # two k in turn
        assert len(made) == expected
        assert torch.equal(terms[0].states[0].vectors, terms[2].states[0].vectors)
        assert not torch.equal(terms[0].states[0].k, terms[1].states[0].k)
        assert terms[0].weight == 0.5
    assert kept.term(["000"], counts=False).weight == 0


def test_a_window_without_fermi_level_is_refused_first(case: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "003", make_structure(3), overwrite=True)
    with pytest.raises(DataError, match=r"003: the Fermi level is not known.*bands.window"):
        check_data(load_config(case, ["data.fractions=[0.75,0.25,0.0]"]))
    check_data(load_config(case, ["data.fractions=[0.75,0.25,0.0]", "bands.window=none"]))
    check_data(load_config(case, ["data.fractions=[0.75,0.25,0.0]", "bands.share=0"]))
    assert "the last 0.5 of the run, 2 of 4 epochs" in check_data(load_config(case, ["bands.window=none"]))


def test_learning_rates(case: Path) -> None:
    stages = Stages(load_config(case, ["train.warmup=0.1"]))
    assert [stages.in_bands(p) for p in (0.0, 0.49, 0.5, 1.0)] == [False, False, True, True]
    assert stages.rate(0.05, bands=False) == pytest.approx(0.01)
    assert stages.rate(0.55, bands=True) == pytest.approx(0.004)
    assert stages.rate(1.0, bands=True) == pytest.approx(1e-6)
    whole, never = (Stages(load_config(case, [f"bands.share={share}"])) for share in (1, 0))
    assert whole.in_bands(0.0)
    assert not never.in_bands(1.0)
    assert never.rate(0.5, bands=False) == pytest.approx(Stages(load_config(case)).rate(0.25, bands=False))


def test_columns_of_a_later_stage(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    assert add_columns(tmp_path / "m.csv", ["c"]) == ["a", "b", "c"]
    with (tmp_path / "m.csv").open() as file:
        assert list(csv.reader(file)) == [["a", "b", "c"], ["1", "2", ""]]


def test_a_stage_without_an_epoch_is_refused(case: Path) -> None:
    """Its epochs are those that begin in it; a time budget may have room for more than are counted."""
    for epochs, share, n in ((3, 0.34, 1), (3, 0.65, 1), (4, 0.5, 2), (60, 0.25, 15), (3, 1.0, 3), (10, 0.3, 3)):
        stages = Stages(load_config(case, [f"train.epochs={epochs}", f"bands.share={share}"]))
        stages.check_share()
        assert stages.n_epochs == sum(stages.in_bands(epoch / epochs) for epoch in range(epochs)) == n
    short = ["train.epochs=3", "bands.share=0.1"]
    with pytest.raises(UsageError, match=r"bands\.share = 0\.1 of 3 epochs is less than one(.|\n)*at least 1/3, 0\.334"):
        check_data(load_config(case, short))
    Stages(load_config(case, [*short, "train.max_minutes=5"])).check_share()


def test_a_stage_that_should_have_begun_is_refused(case: Path, tmp_path: Path) -> None:
    """Its learning rate would not start anew; the message names the largest share that leaves what is done."""
    run.train(load_config(case, ["bands.share=0", "train.epochs=2"]), tmp_path / "run")
    with pytest.raises(UsageError, match=r"begins after epoch 0\.4, and 2 epochs are done or begun: a share of at most 0\.5 leaves them"):
        run.train(load_config(case, ["bands.share=0.9", "train.epochs=4"]), tmp_path / "run", resume=True)
