"""Figures of the flow of Wannier centres."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from deeph.files.figures import BLUE, GREY, ORANGE, THIN, new_figure, styled
from postprocess.topology.wilson import WannierFlow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_flows(flows: Mapping[str, WannierFlow], *, largest_gap: bool, title: str = "") -> "Axes":
    """One panel for each plane: the centres of each line as dots, and the middle of the largest gap between them as a line.

    Parameters
    ----------
    flows : mapping of str to WannierFlow
        By the name of the plane.
    largest_gap : bool
        Whether to draw the middle of the largest gap, whose crossings Z2 counts.
    title : str
        Above the figure.
    """
    columns = min(3, len(flows))
    rows = -(-len(flows) // columns)
    with styled():
        figure = new_figure(columns=1 if columns == 1 else 2, height=6.0 * rows)
        axes = np.ravel(figure.subplots(rows, columns, sharey=True, squeeze=False))
        for ax, (name, flow) in zip(axes, flows.items(), strict=False):
            _panel(ax, flow, largest_gap=largest_gap)
            ax.set_title(name)
        for ax in axes[:: columns or 1]:
            ax.set_ylabel("Wannier centre")
        for ax in axes[len(flows) :]:
            ax.set_axis_off()
        if title:
            figure.suptitle(title)
    return cast("Axes", axes[0])


def _panel(ax: "Axes", flow: WannierFlow, *, largest_gap: bool) -> None:
    t = np.repeat(flow.t, flow.centres.shape[1])
    ax.plot(t, flow.centres.ravel(), ".", color=BLUE, markersize=3)
    if largest_gap:
        middle, _ = flow.gaps
        jump = np.abs(np.diff(middle)) > 0.5  # around the circle
        ax.plot(np.insert(flow.t, np.flatnonzero(jump) + 1, np.nan), np.insert(middle, np.flatnonzero(jump) + 1, np.nan), color=ORANGE)
    for edge in (0.0, 1.0):
        ax.axhline(edge, color=GREY, linewidth=THIN)
    ax.set_xlim(flow.t[0], flow.t[-1])
    ax.set_ylim(-0.02, 1.02)
    number = int(np.argmax(np.abs(flow.across))) + 1
    ax.set_xlabel(f"$k_{number}$")
