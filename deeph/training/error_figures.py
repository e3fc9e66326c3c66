"""Figures of the errors of a trained model: ``parity.png`` and ``errors.png``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.files.figures import COLOURS, GREY, LINE, legend_above, new_figure, save_figure, styled
from deeph.physics.difference import NOTHING
from deeph.physics.system import FloatArray
from deeph.training.log_axis import log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARITY, ERRORS = "parity.png", "errors.png"
MAX_SHELLS = 16
"""Pairs of shells with the largest errors that are shown."""


def draw_parity(samples: Mapping[str, Mapping[str, FloatArray]], path: Path) -> None:
    """Predicted against DFT matrix elements, and their difference; each part of the spin by itself.

    Parameters
    ----------
    samples : mapping of str to mapping of str to (2, n) array
        DFT and prediction of some elements of H in eV, by part of the data and of the spin.
    path : Path
        The figure.
    """
    together = {name: np.concatenate([of_data[name].ravel() for of_data in samples.values()]) for name in next(iter(samples.values()))}
    parts = [name for name, values in together.items() if np.abs(values).max() > 1e-3 * NOTHING] or list(together)[:1]
    with styled():
        figure = new_figure(columns=min(len(parts), 2), height=10.5)
        axes = figure.subplots(2, len(parts), sharex="col", height_ratios=(2, 1), squeeze=False)
        for (above, below), name in zip(axes.T, parts, strict=True):
            ends = [float(together[name].min()), float(together[name].max())]
            above.plot(ends, ends, color=GREY, linewidth=LINE, zorder=0)
            below.axhline(0, color=GREY, linewidth=LINE, zorder=0)
            for (data, found), colour in zip(samples.items(), COLOURS, strict=False):
                dots: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 1.5, "color": colour, "rasterized": True}
                reference, predicted = found[name]
                above.plot(reference, predicted, label=data, **dots)
                below.plot(reference, 1e3 * (predicted - reference), **dots)
            number = sum(found[name].shape[1] for found in samples.values())
            below.set_xlabel(f"{'H' if len(parts) == 1 else f'{name} part of H'} of DFT (eV), {number} elements")
        axes[0, 0].set_ylabel("H predicted (eV)")
        axes[1, 0].set_ylabel("difference (meV)")
        legend_above(axes[0, 0])
        save_figure(axes[0, 0], path)


def draw_errors(record: Mapping[str, Any], path: Path) -> None:
    """Mean absolute errors by distance, pair of shells and structure, and where H has spin, errors and sizes of its parts.

    Parameters
    ----------
    record : mapping
        What evaluation.json holds.
    path : Path
        The figure.
    """
    part = next(name for name in ("test", "validate", "train") if name in record)
    model, baseline = record[part]["model"], record[part]["baseline"]
    with styled():
        spin = bool(model["by_spin"])
        axes = new_figure(columns=2, height=15.0 if spin else 8.0).subplots(*((2, 2) if spin else (1, 3))).ravel()
        _by_distance(axes[0], model, baseline)
        _by_shells(axes[1], model, baseline)
        _by_structure(axes[2], record)
        axes[0].set_ylabel(f"MAE without the energy zero (meV), {part}")
        if spin:
            axes[2].set_ylabel("MAE without the energy zero (meV)")
            _by_spin(axes[3], model, baseline)
        for ax in (axes[0], *axes[2:]):
            legend_above(ax)
        save_figure(axes[0], path)


def _by_distance(ax: "Axes", model: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    for found, label, colour in ((model, "network", COLOURS[0]), (baseline, "baseline alone", GREY)):
        bins = found["by_distance"]
        middle = [float(name.split("-")[0]) + 0.5 for name in bins]
        ax.plot(middle, [row["mae"] for row in bins.values()], marker="o", color=colour, label=label)
        if "on-site" in found["by_site"]:
            ax.plot([0], [found["by_site"]["on-site"]["mae"]], marker="s", linestyle="", color=colour)
    log_axis(ax, "y")
    ax.set_xlabel("distance (Å), squares: on-site")


def _by_shells(ax: "Axes", model: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    rows = sorted(model["by_shells"].items(), key=lambda row: -row[1]["mae"])[:MAX_SHELLS][::-1]
    places = range(len(rows))
    ax.plot([row["mae"] for _, row in rows], places, linestyle="", marker="o", color=COLOURS[0])
    ax.plot([baseline["by_shells"][name]["mae"] for name, _ in rows], places, linestyle="", marker="o", color=GREY)
    log_axis(ax, "x")
    ax.set_yticks(list(places), [name for name, _ in rows])
    ax.set_xlabel("MAE (meV) by shells" if len(rows) == len(model["by_shells"]) else f"MAE (meV), {MAX_SHELLS} worst pairs of shells")


def _by_spin(ax: "Axes", model: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    names = list(model["by_spin"])[::-1]
    rows = (("network", model["by_spin"], "o", COLOURS[0]), ("baseline alone", baseline["by_spin"], "o", GREY))
    for label, table, marker, colour in (*rows, ("H itself", model["spin_sizes"], "|", COLOURS[2])):
        values = np.array([table[name]["rmse"] if name in table else 0.0 for name in names])
        dots: dict[str, Any] = {"linestyle": "", "marker": marker, "markersize": 6 if marker == "|" else 3}
        ax.plot(np.where(values > NOTHING, values, np.nan), range(len(names)), color=colour, label=label, **dots)
    log_axis(ax, "x")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("RMS (meV) by parts of the spin")


def _by_structure(ax: "Axes", record: Mapping[str, Any]) -> None:
    parts = [name for name in ("train", "validate", "test") if name in record]
    for part, colour in zip(parts, COLOURS, strict=False):
        errors = sorted(row["projected_mae"] for row in record[part]["model"]["structures"].values())
        ax.plot(np.linspace(0, 1, len(errors)) if len(errors) > 1 else [0.5], errors, marker=".", color=colour, label=part)
    log_axis(ax, "y")
    ax.set_xticks([0, 1], ["best", "worst"])
    ax.set_xlabel("structures")
