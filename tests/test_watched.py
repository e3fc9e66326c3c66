"""A run can be watched: lines by time, a log of the screen, curves and figures of errors; mixed energy zeros are noticed."""

import csv
import time
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from training_case import make_case, make_structure

from deeph.cli import train as command
from deeph.config import TrainConfig
from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.store import read_folder, write_folder
from deeph.physics.blocks import energy_zero
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, setup_logging
from deeph.training import curves
from deeph.training import energy_zero as zeros
from deeph.training import run as training
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.data import split_of
from deeph.training.progress import Progress, duration
from deeph.training.run_log import RunLog
from deeph.training.state import Position


@pytest.fixture(autouse=True)
def _screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages go to what capsys reads, which has to be there first."""
    setup_logging(0)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        command.main([str(one) for one in arguments])
    return int(ended.value.code or 0)


def lines_of(seconds_per_step: float, n_steps: int, steps_per_epoch: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """Times and texts of the lines of a run, on a clock of its own."""
    now: list[float] = [0.0]
    found: list[tuple[float, str]] = []
    monkeypatch.setattr(logger, "info", lambda _form, text: found.append((now[0], text)))
    position = Position()
    told = Progress(TrainConfig(epochs=n_steps // steps_per_epoch), position, lambda: now[0])
    for step in range(1, n_steps + 1):
        now[0] += seconds_per_step
        position.epoch, position.step = step // steps_per_epoch, step
        told.step(step % steps_per_epoch / steps_per_epoch, step / n_steps, lambda: {"loss": 0.5, "mae_meV": 12.0})
    return found


@pytest.mark.parametrize(("per_step", "n_steps", "per_epoch"), [(0.001, 60_000, 1), (0.1, 6000, 2), (2.0, 1800, 300)])
def test_lines_come_by_time_whatever_an_epoch_is(per_step: float, n_steps: int, per_epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines_of(per_step, n_steps, per_epoch, monkeypatch)
    times = [at for at, _ in found]
    assert times[0] < 10
    gaps = np.diff(times)
    assert gaps.min() >= 10
    assert gaps.max() < 12 + per_step + 0.06 * times[-1]
    assert len(found) < 120
    for text in ("epoch", "steps/s", "left", "loss 0.5", "MAE 12 meV", "learning rate"):
        assert text in found[1][1]
    total, (at, text) = per_step * n_steps, found[1]
    assert f"{duration(total - at)} left" in text


def test_time_left_counts_the_budget() -> None:
    now = [100.0]
    told = Progress(TrainConfig(epochs=1000, max_minutes=10), Position(epoch=10, step=100, seconds=300), lambda: now[0])
    now[0] += 60
    assert told.left(0.5) == "4.0 min left"


def test_time_left_after_a_restart_within_an_epoch() -> None:
    """Eight tenths of the epoch were done before: a minute for one tenth leaves 90 for nine epochs and a tenth."""
    now = [0.0]
    told = Progress(TrainConfig(epochs=20), Position(epoch=10, step=108, batch=8), lambda: now[0], fraction=0.8)
    now[0] += 60
    assert told.left(0.9) == f"{duration(91 * 60.0)} left"


def test_train_log_is_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it: the first line, warnings of libraries, the table, the next command; a stop with its error."""
    config = make_case(tmp_path)
    assert run(config, "--out", tmp_path / "run", "--set", "train.epochs=2") == 0
    screen = capsys.readouterr().err.splitlines()
    log = (tmp_path / "run" / "train.log").read_text()
    assert screen[0].startswith("deeph-train ")
    assert screen[-1].startswith(f"next: deeph-infer {tmp_path / 'run'}")
    for line in screen:
        assert line in log
    for text in ("errors of H (meV)", "baseline alone", "test", "best model"):
        assert text in log
    assert run(config, "--out", tmp_path / "run", "--resume", "--set", "train.epochs=4", "--set", "train.max_minutes=600") == 0
    screen = capsys.readouterr().err.splitlines()
    assert any("continuing at epoch 3 of 4" in line and "600 counts the whole run" in line for line in screen)
    log = (tmp_path / "run" / "train.log").read_text()
    assert all(line in log for line in screen)


def test_the_log_keeps_errors_and_warnings(tmp_path: Path) -> None:
    def fail() -> None:
        with RunLog() as log:
            logger.info("first")
            log.open(tmp_path)
            warnings.warn("soon gone", UserWarning, stacklevel=1)
            raise DataError("no data")

    with pytest.raises(DataError):
        fail()
    text = (tmp_path / "train.log").read_text()
    assert [part in text for part in ("first", "UserWarning: soon gone", "no data")] == [True] * 3


def test_curves_are_drawn_now_and_then_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr(curves, "draw_run", lambda _table, path: drawn.append(path))
    training.train(load_config(make_case(tmp_path), ["train.epochs=8"]), tmp_path / "run")
    assert len(drawn) == 2  # of eight validations within half a minute the first, and the end


def test_figures_of_a_run_and_of_several(tmp_path: Path) -> None:
    config = make_case(tmp_path)
    for name in ("a", "b"):
        training.train(load_config(config, ["train.epochs=3"]), tmp_path / name)
    assert run("--plot", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both.png") == 0
    for path in (tmp_path / "both.png", *(tmp_path / "a" / f"{name}.png" for name in ("curves", "parity", "errors"))):
        image = matplotlib.image.imread(path)
        assert image.shape[0] > 500
        assert (image[..., :3].min(axis=2) < 0.5).mean() > 0.002  # there is something in it
    assert run("--plot", tmp_path / "c") == 1


def test_curves_follow_the_table(tmp_path: Path) -> None:
    with (tmp_path / "metrics.csv").open("w") as file:
        csv.writer(file).writerows(
            [["epoch", "step", "time_min", "train_mae_meV", "validate_loss"], [1, 2, 0.1, 5, ""], [2, 4, 0.2, 3, 0.5]]
        )
    table = curves.read_metrics(tmp_path)
    assert table["train_mae_meV"] == [5, 3]
    assert curves._best(table) == 2


def shifted(folder: Path, spread: float, names: tuple[str, ...]) -> None:
    """Give structures of a data set energy zeros of their own, with mean zero."""
    zeros = np.random.default_rng(7).normal(size=len(names))
    for name, mu in zip(names, spread * (zeros - zeros.mean()), strict=True):
        data = read_folder(folder / name)
        H = replace(data.H, entries=data.H.entries + mu * data.S.entries)
        write_folder(folder / name, replace(data, H=H), overwrite=True)


def best_error(run_folder: Path) -> float:
    return float(read_metadata(run_folder)["metrics"]["validate_projected_mae_meV"])


def test_mixed_energy_zeros_are_noticed_and_do_not_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same data with and without a random mu S in each structure train to the same projected error."""
    steps = ["train.epochs=8", "train.optimizer=adamw"]  # slow enough not to learn the noise of twelve structures by heart
    config = load_config(make_case(tmp_path, 12), [*steps, "loss.energy_zero=free"])
    training.train(config, tmp_path / "clean")
    shifted(tmp_path / "data", 30.0, split_of(open_dataset(config.data.path), config.data).train)
    training.train(load_config(tmp_path / "small.toml", steps), tmp_path / "mixed")
    assert "different energy zeros" in capsys.readouterr().err
    assert load_model(tmp_path / "mixed").free_zero
    assert best_error(tmp_path / "mixed") == pytest.approx(best_error(tmp_path / "clean"), rel=1e-2)
    training.train(load_config(tmp_path / "small.toml", [*steps, "loss.energy_zero=learned"]), tmp_path / "raw")
    assert best_error(tmp_path / "raw") > 1.03 * best_error(tmp_path / "mixed")  # most of it is noise that nothing can learn


REAL = """
[data]
path = "data"
[model]
l_max = 4
node_channels = 4
node_pseudo_channels = 2
bond_channels = 4
bond_pseudo_channels = 2
n_layers = 1
rank = 4
[train]
epochs = 6
device = "cpu"
"""


@pytest.mark.slow
def test_bilayers_with_random_zeros_train_like_those_without(bilayer36: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """OpenMX data: clean ones are left alone; with a random mu S they give the projected error of the clean ones with a free zero."""
    for name in ("000", "001", "002"):
        write_folder(tmp_path / "data" / name, read_folder(bilayer36 / name))
    (tmp_path / "data" / "split.json").write_text('{"train": ["000", "001"], "validate": ["002"]}')
    (tmp_path / "real.toml").write_text(REAL)
    training.train(load_config(tmp_path / "real.toml"), tmp_path / "auto")
    assert not load_model(tmp_path / "auto").free_zero
    assert "energy zeros agree" in capsys.readouterr().err
    training.train(load_config(tmp_path / "real.toml", ["loss.energy_zero=free"]), tmp_path / "clean")
    shifted(tmp_path / "data", 5.0, ("000", "001", "002"))
    training.train(load_config(tmp_path / "real.toml"), tmp_path / "mixed")
    assert load_model(tmp_path / "mixed").free_zero
    assert best_error(tmp_path / "mixed") == pytest.approx(best_error(tmp_path / "clean"), rel=0.005)
    training.train(load_config(tmp_path / "real.toml", ["loss.energy_zero=learned"]), tmp_path / "raw")
    left = {name: float(load_model(tmp_path / name).baseline().unit_onsite) for name in ("clean", "mixed", "raw")}
    assert left["mixed"] == pytest.approx(left["clean"], rel=1e-3)
    assert left["raw"] > 1.01 * left["clean"]


def test_one_energy_zero_is_left_alone(tmp_path: Path) -> None:
    training.train(load_config(make_case(tmp_path), ["train.epochs=1"]), tmp_path / "run")
    assert not load_model(tmp_path / "run").free_zero


def test_a_prediction_says_that_its_zero_is_arbitrary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deeph.inference import predict_folder

    training.train(load_config(make_case(tmp_path), ["train.epochs=1", "loss.energy_zero=free"]), tmp_path / "run")
    predict_folder(load_model(tmp_path / "run"), make_structure(3), tmp_path / "predicted")
    assert "energy zero of the prediction is arbitrary" in capsys.readouterr().err
    assert read_folder(tmp_path / "predicted").source["energy_zero"] == "arbitrary"


def test_scatter_measures_what_was_put_in(tmp_path: Path) -> None:
    """On structures whose baseline is exact, mu is the shift."""
    structures = [make_structure(1) for _ in range(4)]
    shifts = [0.0, 1.0, 2.0, 3.0]
    moved = [replace(s, H=replace(s.H, entries=s.H.entries + mu * s.S.entries)) for s, mu in zip(structures, shifts, strict=True)]
    model = training.fit_model(load_config(make_case(tmp_path)).model, structures)
    baseline = zeros.baseline_alone(model)
    start = zeros.rest_of(structures[0], baseline)[1]
    assert [zeros.rest_of(s, baseline)[1] - start for s in moved] == pytest.approx(shifts, abs=1e-5)
    one = zeros.OneZero(moved, baseline)
    assert [energy_zero(one[n].H, one[n].S) for n in range(4)] == pytest.approx([energy_zero(one[0].H, one[0].S)] * 4, abs=1e-5)
    assert zeros.scatter_of_zeros(moved, baseline).deviation == pytest.approx(np.std(shifts, ddof=1), abs=1e-5)
    assert zeros.scatter_of_zeros(moved, baseline).mixed
    assert not zeros.scatter_of_zeros(structures, baseline).mixed


def test_an_ini_file_points_to_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "train.ini"
    old.write_text("[basic]\nsave_dir = /a/result\nraw_dir = /a/processed\n[train]\nnum_epoch = 100\n[hyperparameter]\nbatch_size = 1\n")
    assert run(old) == UsageError.exit_code
    said = capsys.readouterr().err
    for text in ("DeepH-pack or DeepH-E3", "docs/coming_from_deeph.md", "num_epoch -> train.epochs", "raw_dir -> data.path"):
        assert text in said


def test_first_line_comes_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, config = time.monotonic(), make_case(tmp_path)
    monkeypatch.setattr(training, "open_split", lambda _config: (_ for _ in ()).throw(DataError("slow disk")))
    assert run(config, "--out", tmp_path / "run") == 1
    assert capsys.readouterr().err.splitlines()[0].startswith("deeph-train ")
    assert time.monotonic() - start < 60
