"""Learning curves: ``curves.png`` of a run while it trains, and several runs over each other."""

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.files.figures import COLOURS, GREY, TEXT, legend_above, new_figure, save_figure, styled
from deeph.runtime.errors import DataError
from deeph.training.log_axis import log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS, CURVES = "metrics.csv", "curves.png"
PAUSE, SHARE = 30.0, 100.0
"""Seconds between two drawings, at least, and at least so many times the duration of one: drawing takes 1 % of a run or less."""
PARTS = {"validate": "validation", "train": "training"}
MUCH_LONGER = 5.0
"""Times that the longest of several runs is longer than the shortest, from which on they are drawn on logarithmic axes."""
STYLES = ("-", "--", ":", "-.")
Table = dict[str, list[float]]


def read_metrics(run: Path) -> Table:
    """Columns of ``metrics.csv``; empty fields are NaN.

    Raises
    ------
    DataError
        If the run has none, or it is no such table.
    """
    path = run / METRICS if run.is_dir() else run
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table = {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else {})}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected the folder of a run of deeph-train") from error
    except (ValueError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a table of deeph-train: {error}") from error
    if not {"epoch", "step", "time_min", "train_mae_meV"} <= set(table):
        raise DataError(f"{path} holds no validation yet, or is not a table of deeph-train")
    return table


class Curves:
    """Draws the curves of a run, now and then.

    Parameters
    ----------
    run : Path
        The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run, self._next = run, 0.0

    def update(self, *, now: bool = False) -> None:
        """Draw if it is time to, or in any case."""
        started = time.monotonic()
        if started < self._next and not now:
            return
        draw_run(read_metrics(self.run), self.run / CURVES)
        ended = time.monotonic()
        self._next = ended + max(PAUSE, SHARE * (ended - started))


def draw_run(table: Table, path: Path) -> None:
    """Loss, mean absolute error and learning rate of one run by epoch."""
    with styled():
        axes = new_figure(height=9.0).subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
        _lines(axes[0], table, "epoch", {"train_loss": ("training", COLOURS[0]), "validate_loss": ("validation", COLOURS[1])})
        _lines(axes[1], table, "epoch", {"train_mae_meV": ("", COLOURS[0]), "validate_mae_meV": ("", COLOURS[1]),
                                         "band_mae_meV": ("bands", COLOURS[3])})  # fmt: skip
        _lines(axes[2], table, "epoch", {"learning_rate": ("", GREY)})
        for ax, label in zip(axes, ("loss", "MAE (meV)", "rate"), strict=True):
            ax.set_ylabel(label)
        axes[2].set_xlabel("epoch")
        best = _best(table)
        if best is not None:
            for ax in axes[:2]:
                ax.axvline(best, color=GREY, linewidth=0.5, zorder=0)
            axes[1].annotate(
                "best", (best, 1), xycoords=("data", "axes fraction"), ha="right", va="top", rotation=90, fontsize=TEXT, color="0.4"
            )
        if axes[1].get_legend_handles_labels()[1]:
            axes[0].plot([], [], color=COLOURS[3], label="bands")  # one legend for both
        legend_above(axes[0])
        save_figure(axes[0], path)


def draw_runs(runs: Sequence[Path], path: Path) -> None:
    """Loss and mean absolute error (validation, or training where there is none) of several runs, by epoch and by minutes.

    Raises
    ------
    DataError
        If a run has no table.
    """
    tables = [read_metrics(run) for run in runs]
    names = _names(runs)
    with styled():
        axes = new_figure(columns=2, height=11.0).subplots(2, 2, sharex="col", sharey="row", squeeze=False)
        for row, (kind, label) in enumerate((("loss", "loss"), ("mae_meV", "MAE (meV)"))):
            shown = [part for part in PARTS if any(_shown(table) == part for table in tables)]
            axes[row][0].set_ylabel(f"{label} of {' or '.join(PARTS[part] for part in shown)}")
            for column, x in enumerate(("epoch", "time_min")):
                for number, (name, table) in enumerate(zip(names, tables, strict=True)):
                    place = {"linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}
                    _lines(axes[row][column], table, x, {f"{_shown(table)}_{kind}": (name, COLOURS[number % len(COLOURS)])}, **place)
        for column, x in enumerate(("epoch", "time_min")):
            ends = [table[x][-1] for table in tables]
            if max(ends) > MUCH_LONGER * min(ends) > 0:
                log_axis(axes[1][column], "x")
        axes[1][0].set_xlabel("epoch")
        axes[1][1].set_xlabel("minutes")
        legend_above(axes[0][0])
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(axes[0][0], path)


def _shown(table: Table) -> str:
    """The part of the data whose errors are drawn."""
    return "validate" if "validate_loss" in table else "train"


def _lines(ax: "Axes", table: Table, x: str, curves: dict[str, tuple[str, str]], **style: Any) -> None:
    """Some columns of a table on a logarithmic axis; single rows are dots."""
    from matplotlib.ticker import MaxNLocator

    for name, (label, colour) in curves.items():
        points = [(a, b) for a, b in zip(table[x], table.get(name, []), strict=False) if math.isfinite(b) and b > 0]
        if points:
            ax.plot(*zip(*points, strict=True), color=colour, label=label or None, marker="o" if len(points) < 3 else None, **style)
    log_axis(ax, "y")
    if x == "epoch":
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def _best(table: Table) -> float | None:
    """Epoch of the lowest validation loss."""
    losses = [(loss, epoch) for loss, epoch in zip(table.get("validate_loss", []), table["epoch"], strict=False) if math.isfinite(loss)]
    return min(losses)[1] if losses else None


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names, with their parents where two are alike."""
    short = [run.resolve().name for run in runs]
    return [name if short.count(name) == 1 else f"{run.resolve().parent.name}/{name}" for name, run in zip(short, runs, strict=True)]
