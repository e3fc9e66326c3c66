"""Figures of the flow of Wannier centres."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from deeph.files.figures import BLUE, GREY, ORANGE, THIN, new_figure, styled
from postprocess.topology.wilson import WannierFlow

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_flows(flows: Mapping[str, WannierFlow], *, largest_gap: bool, title: str = "") -> "Axes":
    """One panel for each plane: the centres of each line as dots, and the middle of the largest gap between them as diamonds.

    Parameters
    ----------
    flows : mapping of str to WannierFlow
        By the name of the plane, which stands above its panel where there are several.
    largest_gap : bool
        Whether to draw the middle of the largest gap; Z2 counts the centres that it jumps over from line to line.
    title : str
        Above the figure.
    """
    columns = min(3, len(flows))
    rows = -(-len(flows) // columns)
    with styled():
        figure = new_figure(columns=1 if columns == 1 else 2, height=6.5 * rows)
        axes = np.ravel(figure.subplots(rows, columns, sharey=True, squeeze=False))
        for ax, (name, flow) in zip(axes, flows.items(), strict=False):
            _panel(ax, flow, largest_gap=largest_gap)
            if len(flows) > 1:
                ax.set_title(name)
        for ax in axes[len(flows) :]:
            ax.set_axis_off()
        if largest_gap:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2, borderaxespad=0.1)
        if title:
            figure.suptitle(title)
    return cast("Axes", axes[0])


def _panel(ax: "Axes", flow: WannierFlow, *, largest_gap: bool) -> None:
    """Dots within one lattice vector and what of the next ones is seen: centres at 0 are at 1, too."""
    centres = np.concatenate([flow.centres + cell for cell in (-1, 0, 1)], axis=1)
    t = np.repeat(flow.t, centres.shape[1])
    ax.plot(t, centres.ravel(), ".", color=BLUE, ms=3, label="Wannier centres")
    if largest_gap:
        middle = flow.gaps[0]
        images = np.concatenate([middle[:, None] + cell for cell in (-1, 0, 1)], axis=1)
        t = np.repeat(flow.t, 3)
        ax.plot(t, images.ravel(), ls="", marker="D", ms=3.5, mfc="white", mec=ORANGE, mew=0.8, label="middle of the largest gap", zorder=3)
    for edge in (0.0, 1.0):
        ax.axhline(edge, color=GREY, linewidth=THIN, zorder=0)
    room = 0.02 * float(flow.t[-1] - flow.t[0])
    ax.set_xlim(flow.t[0] - room, flow.t[-1] + room)
    ax.set_ylim(-0.03, 1.03)
    across, along = (int(np.argmax(np.abs(vector))) + 1 for vector in (flow.across, flow.along))
    ax.set_xlabel(f"$k_{across}$ ($b_{across}$)")
    ax.set_ylabel(f"Wannier centre ($a_{along}$)")
