"""The training loop: restarts are exact, processes share the work, signals save, mistakes stop."""

import copy
import csv
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_case import make_case, make_structure

from deeph.config import TrainConfig
from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.store import write_folder
from deeph.nn.fit import fit_model
from deeph.runtime.errors import DataError, DeephError, UsageError
from deeph.runtime.log import setup_logging
from deeph.runtime.processes import Group
from deeph.runtime.torch_group import Launch, find_launch
from deeph.training import loop, run
from deeph.training.batches import idle_processes
from deeph.training.check import check_data
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.data import split_of
from deeph.training.evaluate import EVALUATION
from deeph.training.recorder import keep_rows
from deeph.training.run_folder import BEST, LAST, STATE
from deeph.training.run_log import RunLog
from deeph.training.signals import StoppedError
from deeph.training.state import load_state


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return make_case(tmp_path)


@pytest.fixture
def one_start(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs of a test start from the same bits: a second least-squares fit may differ in the last digit."""
    torch.manual_seed(0)
    config = load_config(case)
    model = fit_model(config.model, open_dataset(config.data.path))
    monkeypatch.setattr("deeph.training.run.fit_model", lambda *_: copy.deepcopy(model))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def run_stopped_at(step: int, config: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until a signal arrives during a step."""
    plain = loop.Trainer._step

    def stopping(self: loop.Trainer, batch: list[str]) -> float:
        if self.position.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", stopping)
        with pytest.raises(StoppedError, match="--resume") as caught:
            run.train(config, out)
    assert caught.value.exit_code == 128 + signal.SIGTERM


def assert_same_state(a: Path, b: Path) -> None:
    first, second = load_file(a / STATE), load_file(b / STATE)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def test_a_run_leaves_its_files(case: Path, tmp_path: Path) -> None:
    config = load_config(case, ["train.epochs=6"])
    best = run.train(config, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(
        [
            BEST,
            LAST,
            STATE,
            EVALUATION,
            "config.toml",
            "curves.png",
            "errors.png",
            "metrics.csv",
            "parity.png",
            "train.log",
            "versions.json",
        ]
    )
    assert load_config(tmp_path / "run" / "config.toml") == config
    table = rows(tmp_path / "run")
    assert [int(row["epoch"]) for row in table] == [1, 2, 3, 4, 5, 6]
    assert {"time_min", "learning_rate", "train_mae_meV", "validate_mae_meV"} <= set(table[0])
    losses = [float(row["validate_loss"]) for row in table]
    lowest = losses.index(min(losses))
    assert read_metadata(best)["epoch"] == lowest + 1
    assert read_metadata(best)["metrics"]["validate_mae_meV"] == pytest.approx(float(table[lowest]["validate_mae_meV"]), rel=1e-6)


def test_best_model_is_the_validated_average(case: Path, tmp_path: Path) -> None:
    """The files hold the averages, and the best model gives again what metrics.csv says about it."""
    config = load_config(case, ["train.epochs=3"])
    run.train(config, tmp_path / "run")
    state = load_file(tmp_path / "run" / STATE)
    for name, parameter in load_model(tmp_path / "run" / LAST).named_parameters():
        assert torch.equal(parameter, state[f"average.{name}"])
    dataset = open_dataset(config.data.path)
    job = loop.Job(config, dataset, split_of(dataset, config.data), tmp_path / "run", Group(), torch.device("cpu"))
    trainer = loop.Trainer(job, load_state(tmp_path / "run" / STATE))
    model = load_model(tmp_path / "run" / BEST)
    trainer.average.weights = dict(model.named_parameters())
    found = trainer.evaluate(job.split.validate)
    assert found["loss"] == pytest.approx(min(float(row["validate_loss"]) for row in rows(tmp_path / "run")), rel=1e-7)


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([3.0, 2.0, 2.02, 2.0, 2.5], 2),
        ([3.0, 3.1, 1.0, 0.9, 4.0], 4),
        ([1.0, 2.0, 2.0, 2.0, 1.01], 1),
        ([math.nan, 3.0, 2.0, math.nan, 2.5], 3),
    ],
)
def test_only_a_lower_loss_makes_a_better_model(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], best: int
) -> None:
    left = iter(losses)
    plain = loop.Trainer.evaluate
    monkeypatch.setattr(loop.Trainer, "evaluate", lambda self, names: {**plain(self, names), "loss": next(left)})
    path = run.train(load_config(case, ["train.epochs=5"]), tmp_path / "run")
    assert read_metadata(path)["epoch"] == best
    assert load_state(tmp_path / "run" / STATE).position.best == min(loss for loss in losses if not math.isnan(loss))


def test_shares_of_a_batch_add_up_to_the_gradient_of_its_mean_loss(case: Path, tmp_path: Path) -> None:
    config = load_config(case)
    dataset = open_dataset(config.data.path)
    split = split_of(dataset, config.data)
    run._begin(dataset, split, config, tmp_path / "run", RunLog())
    job = loop.Job(config, dataset, split, tmp_path / "run", Group(), torch.device("cpu"))
    trainer = loop.Trainer(job, load_state(tmp_path / "run" / STATE))
    names = list(split.train[:3])
    loss, _ = loop.compute_loss(trainer.model, trainer.graphs.batch(names), config.loss)
    expected = torch.autograd.grad(loss, list(trainer.model.parameters()), allow_unused=True)
    for part in (names[:1], names[1:]):
        trainer._backward(part, 3)
    for parameter, gradient in zip(trainer.model.parameters(), expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)
    assert trainer.sums["structures"] == 3
    assert trainer.sums["loss"] == pytest.approx(3 * float(loss.detach()))


@pytest.mark.usefixtures("one_start")
@pytest.mark.parametrize("step", [1, 5, 8, 12])
def test_resume_is_exact(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    config = load_config(case, ["train.precision=float32", "train.batch_bonds=1", "train.epochs=3"])  # 4 steps an epoch
    run.train(config, tmp_path / "full")
    run_stopped_at(step, config, tmp_path / "parts", monkeypatch)
    run.train(config, tmp_path / "parts", resume=True)
    assert_same_state(tmp_path / "full", tmp_path / "parts")
    timeless = [[{k: v for k, v in row.items() if k != "time_min"} for row in rows(tmp_path / name)] for name in ("full", "parts")]
    assert timeless[0] == timeless[1]


class Killed(BaseException):
    """What no program can catch."""


@pytest.mark.usefixtures("one_start")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_around_a_row_of_metrics_doubles_and_loses_nothing(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The state of the last step of an epoch is saved, its row is written or not, and the program is killed."""
    config = load_config(case, ["train.batch_bonds=1", "train.epochs=3", "train.checkpoint_minutes=1e-9"])
    run.train(config, tmp_path / "full")
    plain, written = loop.Recorder.row, []

    def killed(self: loop.Recorder, values: Any) -> None:
        written.append(1)
        if when == "after" or len(written) < 2:
            plain(self, values)
        if len(written) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Recorder, "row", killed)
        with pytest.raises(Killed):
            run.train(config, tmp_path / "parts")
    run.train(config, tmp_path / "parts", resume=True)
    assert [row["epoch"] for row in rows(tmp_path / "parts")] == ["1", "2", "3"]
    timeless = [[{k: v for k, v in row.items() if k != "time_min"} for row in rows(tmp_path / name)] for name in ("full", "parts")]
    assert timeless[0] == timeless[1]
    assert_same_state(tmp_path / "full", tmp_path / "parts")


@pytest.mark.parametrize("settings", [["train.epochs=1"], ["train.epochs=100", "train.max_minutes=1e-6"]], ids=["epochs", "time"])
def test_a_run_stopped_in_its_last_step_is_finished_by_resume(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str]
) -> None:
    """The first validation had not come yet, so there was no best model."""
    config = load_config(case, ["train.batch_bonds=1000", *settings])  # one step an epoch
    run_stopped_at(1, config, tmp_path / "run", monkeypatch)
    assert not (tmp_path / "run" / BEST).exists()
    best = run.train(config, tmp_path / "run", resume=True)
    assert read_metadata(best)["epoch"] == 1
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1"]
    assert (tmp_path / "run" / EVALUATION).is_file()
    assert load_state(tmp_path / "run" / STATE).position.step == 1


@pytest.mark.usefixtures("one_start")
def test_resume_without_the_optimizer_would_differ(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exactness test sees a forgotten optimizer state."""
    config = load_config(case, ["train.batch_bonds=1", "train.epochs=3"])
    run.train(config, tmp_path / "full")
    run_stopped_at(5, config, tmp_path / "parts", monkeypatch)
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", lambda *_: None)
    run.train(config, tmp_path / "parts", resume=True)
    with pytest.raises(AssertionError):
        assert_same_state(tmp_path / "full", tmp_path / "parts")


def test_resume_extends_a_finished_run(case: Path, tmp_path: Path) -> None:
    run.train(load_config(case, ["train.epochs=2"]), tmp_path / "run")
    run.train(load_config(case, ["train.epochs=3"]), tmp_path / "run", resume=True)
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]


def test_a_finished_run_is_not_evaluated_again(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless its evaluation was interrupted, or is of another model."""
    config, out = load_config(case, ["train.epochs=1"]), tmp_path / "run"
    run.train(config, out)
    evaluated: list[Path] = []
    monkeypatch.setattr(loop, "evaluate_run", lambda best, *_: evaluated.append(best))
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "train.log"}
    with caplog.at_level(logging.INFO):
        run.train(config, out, resume=True)
    assert not evaluated
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "train.log"}
    assert "this run is complete (1 epochs); more, such as --resume --set train.epochs=2, goes on" in caplog.text
    record = json.loads((out / EVALUATION).read_text())
    (out / EVALUATION).write_text(json.dumps({**record, "model": {**record["model"], "step": 10**6}}))
    run.train(config, out, resume=True)
    (out / EVALUATION).unlink()
    run.train(config, out, resume=True)
    assert evaluated == [out / BEST] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_state_says_what_to_do(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)  # there is nothing to save yet
        with suppress(Exception):  # as where the errors of many structures are collected
            os.kill(os.getpid(), number)
            time.sleep(10)

    with monkeypatch.context() as patch:
        patch.setattr(run, "fit_with_zero", interrupted)
        with pytest.raises(StoppedError, match=r"nothing to --resume yet, and the same command starts anew") as caught:
            run.train(load_config(case), tmp_path / "run")
    assert caught.value.exit_code == 128 + number
    assert "nothing to --resume" in (tmp_path / "run" / "train.log").read_text()
    run.train(load_config(case, ["train.epochs=1"]), tmp_path / "run")  # the same folder


def test_time_budget_ends_the_run(case: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    run.train(load_config(case, ["train.epochs=1000000", "train.max_minutes=0.03"]), tmp_path / "run")
    assert time.monotonic() - start < 30
    last = rows(tmp_path / "run")[-1]
    assert float(last["time_min"]) >= 0.03
    assert float(last["learning_rate"]) < 0.01 * 0.1  # the cosine has come down


def test_refusals(case: Path, tmp_path: Path) -> None:
    config = load_config(case, ["train.epochs=1"])
    with pytest.raises(DataError, match="no saved state"):
        run.train(config, tmp_path / "run", resume=True)
    run.train(config, tmp_path / "run")
    with pytest.raises(UsageError, match="--resume"):
        run.train(config, tmp_path / "run")
    with pytest.raises(UsageError, match=r"^model\.rank \(\d+ -> 3\) changed since"):
        run.train(load_config(case, ["model.rank=3"]), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="train_data, validate_data changed since"):
        run.train(load_config(case, ["data.seed=5"]), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match=r"optimizer \(soap -> adamw\) changed since"):  # what is kept of the gradients is of the other one
        run.train(load_config(case, ["train.optimizer=adamw", "train.epochs=2"]), tmp_path / "run", resume=True)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="sees no GPU"):
            run.train(load_config(case, ["train.device=cuda"]), tmp_path / "other")


def test_a_loss_that_is_no_number_stops_and_keeps_the_state(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(case, ["train.epochs=1"])
    run.train(config, tmp_path / "run")
    before = (tmp_path / "run" / STATE).read_bytes()
    plain = loop.compute_loss
    monkeypatch.setattr(loop, "compute_loss", lambda *a: (plain(*a)[0] * float("nan"), {}))
    with pytest.raises(DeephError, match="not a number any more in epoch 2"):
        run.train(load_config(case, ["train.epochs=2"]), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / STATE).read_bytes() == before


def test_check_names_all_damaged_structures(case: Path) -> None:
    text = check_data(load_config(case))
    assert "4 to train on, 2 to validate with, 2 kept for tests" in text
    assert "{'C': [0, 1], 'H': [0]}" in text
    for name in ("001", "006"):
        (case.parent / "data" / name / "hamiltonian.h5").unlink()
    with pytest.raises(DataError, match=r"2 of 8(.|\n)*(001(.|\n)*006|006(.|\n)*001)"):
        check_data(load_config(case))


def test_check_counts_the_weights_of_the_run(case: Path, tmp_path: Path) -> None:
    config = load_config(case, ["train.epochs=1"])
    best = run.train(config, tmp_path / "run")
    assert f"weights     {sum(w.numel() for w in load_model(best).parameters())}\n" in check_data(config)


def test_check_names_elements_that_are_not_trained_on(case: Path) -> None:
    split = case.parent / "split.json"
    split.write_text('{"train": ["000"], "validate": ["001"]}')
    settings = ["data.fractions=none", f"data.split={split}"]
    check_data(load_config(case, settings))
    write_folder(case.parent / "data" / "000", make_structure(0, third=6), overwrite=True)
    with pytest.raises(DataError, match="001: H occurs in no structure that is trained on"):
        check_data(load_config(case, settings))


def test_metrics_rows_after_the_saved_step_are_dropped(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text("epoch,step,loss\n1,10,3\n2,20,2\n3,30,1\n4,4")
    assert keep_rows(table, 20) == ["epoch", "step", "loss"]
    assert table.read_text() == "epoch,step,loss\n1,10,3\n2,20,2\n"
    assert keep_rows(table, 0) is None
    assert not table.exists()


def test_a_signal_saves_and_stops_the_command(case: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deeph.cli.train", case, "--out", tmp_path / "run", "--set", "train.epochs=100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "run" / "metrics.csv")
    process.send_signal(signal.SIGUSR1)
    wait_for(tmp_path / "run" / LAST)  # saved, and it goes on
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the state is saved, continue with --resume" in messages
    assert "Traceback" not in messages
    assert load_state(tmp_path / "run" / STATE).position.step >= int(rows(tmp_path / "run")[-1]["step"])


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.is_file():
            return
        time.sleep(0.1)
    raise TimeoutError(path)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(case: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port), "-m"]
    settings = ["--set", "train.epochs=4", "--set", "train.batch_bonds=50"]  # batches of three structures and of one
    subprocess.run([*launch, "deeph.cli.train", case, *settings, "--out", tmp_path / "two"], check=True, capture_output=True, timeout=300)
    run.train(load_config(case, settings[1::2]), tmp_path / "one")
    one, two = load_file(tmp_path / "one" / STATE), load_file(tmp_path / "two" / STATE)
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith(("model.", "average.")):
            torch.testing.assert_close(one[name], two[name], rtol=1e-7, atol=1e-9, msg=name)
    found = [json.loads((tmp_path / name / EVALUATION).read_text()) for name in ("one", "two")]
    for part in ("train", "validate", "test"):
        first, second = (record[part]["model"] for record in found)
        assert first["structures"].keys() == second["structures"].keys()
        assert first["raw"] == pytest.approx(second["raw"], rel=1e-5)
    for a, b in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-7)
        assert float(a["validate_mae_meV"]) == pytest.approx(float(b["validate_mae_meV"]), rel=1e-7)


def test_who_we_are() -> None:
    assert find_launch({}) == Launch()
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "7"}
    assert find_launch(torchrun) == Launch(3, 4, 1, "a", 7)
    step = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "0",
        "SLURM_JOB_ID": "40123",
        "SLURM_STEP_NODELIST": "g[07-09],x",
    }
    assert find_launch(step) == Launch(2, 4, 0, "g07", 20123)
    assert find_launch({**step, "SLURM_STEP_NODELIST": "login1"}).host == "login1"
    assert find_launch({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Launch()  # a batch script starts one process


@pytest.mark.parametrize(
    "environment",
    [{"OMPI_COMM_WORLD_SIZE": "2"}, {"PMI_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}],
)
def test_copies_of_one_run_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="torchrun or srun"):
        find_launch(environment)


def test_numbers_go_to_tensorboard_beside_the_run(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a writer in place of the package, which is optional."""
    written: list[tuple[str, str]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, *_values: float) -> None:
            written.append((self.folder, name))

        def close(self) -> None:
            written.append((self.folder, "closed"))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    run.train(load_config(case, ["train.epochs=1", "train.tensorboard=true"]), tmp_path / "run")
    assert {folder for folder, _ in written} == {str(tmp_path / "run" / "tensorboard")}
    assert written[-1][1] == "closed"
    assert any("loss" in name for _, name in written)


@pytest.mark.parametrize(
    ("name", "gpus", "device"), [("auto", 0, "cpu"), ("cpu", 0, "cpu"), ("cpu", 2, "cpu"), ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1")]
)
def test_each_process_of_a_node_gets_its_own_gpu(monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert str(run.choose_device(name, Launch(rank=3, size=4, local=3))) == device


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="torch sees no GPU"):
        run.choose_device("cuda", Launch())


def test_settings_that_are_gone_may_be_named_if_they_are_off(case: Path) -> None:
    """As in files that earlier versions wrote."""
    assert load_config(case, ["model.zeroth_input=false", "model.overlap_input=false"]) == load_config(case)
    with pytest.raises(UsageError, match=r"model\.zeroth_input: unknown key"):
        load_config(case, ["model.zeroth_input=true"])


def test_processes_without_work_are_told() -> None:
    n_bonds, limits = dict.fromkeys("abcdef", 1000), load_config_of_batches(1500, 4)
    assert not idle_processes("abcdef", n_bonds, limits, 1)
    assert "3 of 4 processes have nothing to do; train.batch_bonds = 4000" in idle_processes("abcdef", n_bonds, limits, 4)
    assert not idle_processes("abcdef", n_bonds, load_config_of_batches(4000, 4), 4)


def load_config_of_batches(bonds: int, structures: int) -> TrainConfig:
    return TrainConfig(batch_bonds=bonds, batch_structures=structures)


def test_without_validation_nothing_is_called_validated(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(0)
    run.train(load_config(case, ["train.epochs=2", "data.fractions=[1.0,0.0,0.0]"]), tmp_path / "run")
    said = capsys.readouterr().err
    assert "no structures to validate with: the best model is the one with the lowest training error" in said
    assert "validated" not in said
