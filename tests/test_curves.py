"""Curves of several runs over each other: where they are drawn, what of, and on which axes."""

import csv
from pathlib import Path
from typing import Any

import pytest

from deeph.cli import train as command
from deeph.training import curves


def make_run(folder: Path, epochs: int, part: str = "validate") -> Path:
    """The table of a run."""
    folder.mkdir()
    columns = ["epoch", "step", "time_min", "train_loss", "train_mae_meV"]
    columns += ["validate_loss", "validate_mae_meV"] if part == "validate" else []
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *([n, 10 * n, 0.1 * n, *[5 / n] * (len(columns) - 3)] for n in range(1, epochs + 1))])
    return folder


@pytest.mark.parametrize(
    ("given", "written"),
    [("plots", "plots/curves.png"), ("new/plots", "new/plots/curves.png"), ("both.pdf", "both.pdf"), (None, "curves.png")],
)
def test_a_figure_goes_to_a_file_or_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, written: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plots").mkdir()
    runs = [str(make_run(tmp_path / name, 3)) for name in "ab"]
    with pytest.raises(SystemExit) as ended:
        command.main(["--plot", *runs, *(["--out", given] if given else [])])
    assert ended.value.code == 0
    assert (tmp_path / written).is_file()


@pytest.mark.parametrize(("longest", "scale"), [(20, "linear"), (30, "log")])
def test_long_and_short_runs_are_both_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int, scale: str) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(curves, "save_figure", lambda ax, _path: drawn.extend(ax.figure.axes))
    curves.draw_runs([make_run(tmp_path / "a", 4), make_run(tmp_path / "b", longest)], tmp_path / "x.png")
    assert {ax.get_xscale() for ax in drawn} == {scale}
    assert [drawn[n].get_ylabel() for n in (0, 2)] == ["loss of validation", "MAE (meV) of validation"]
    drawn.clear()
    curves.draw_runs([tmp_path / "a", make_run(tmp_path / "c", 4, "train")], tmp_path / "x.png")
    assert drawn[0].get_ylabel() == "loss of validation or training"
