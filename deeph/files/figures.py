"""One look for every figure: the size it has on the page, its text, colours that everybody can tell apart, and files of it.

``with styled(): ax = new_figure().subplots(); ax.plot(..., color=COLOURS[0]); legend_above(ax); save_figure(ax, path)``. matplotlib is
imported inside the calls, and never its global state: nobody's settings change, and no window opens.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deeph.files.folders import new_file
from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")
CM = 1 / 2.54
"""Inches."""
WIDTHS = {1: 8.5, 2: 17.5}
"""Of a figure in one or two columns of a journal, cm."""
SIZES = (2.0, 100.0)
"""The smallest and largest side of a figure, cm; a larger one was meant in another unit."""
TEXT = 8.0
"""Points, all text."""
BLUE, ORANGE, LIGHT_BLUE, BLACK = "#0072B2", "#D55E00", "#56B4E9", "#000000"
COLOURS = (BLUE, ORANGE, BLACK, LIGHT_BLUE)
"""All that may be in one figure beside greys. Of the colours of Okabe and Ito (jfly.uni-koeln.de/color) the four whose smallest distance is
largest, also for the three kinds of colour blindness; on white paper all are dark enough for lines."""
GREY, LIGHT_GREY = "0.6", "0.85"
"""Lines at zero and at corners, and areas."""
LINE, THIN = 0.8, 0.5
"""Widths of curves, and of what helps to read them, points."""
STYLE: dict[str, Any] = {
    "font.size": TEXT,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), TEXT),
    "legend.title_fontsize": TEXT,
    "figure.titlesize": TEXT,
    "figure.labelsize": TEXT,
    "axes.titlepad": 3,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "lines.linewidth": LINE,
    "lines.markersize": 3,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.0,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
MOST_COLUMNS = 6
"""Of a legend."""
TALLEST = 0.4
"""Part of a figure's height that a legend may take before the figure grows."""
ROOM = 0.97
"""Part of the axes' width that a legend may take; tick labels still move a little when it is placed."""


@contextmanager
def styled(style: str | Path | None = None) -> Iterator[None]:
    """The look of all figures, for what is drawn in the ``with`` block.

    Parameters
    ----------
    style : str or path, optional
        Name of a matplotlib style, or a style file, whose settings go before.

    Raises
    ------
    UsageError
        If there is no such style.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        if style is not None:
            import matplotlib.style as styles

            try:
                styles.use(style)
            except OSError as error:
                names = ", ".join(name for name in styles.available if not name.startswith("_"))
                raise UsageError(f"{style}: neither a matplotlib style file nor the name of a style; there are {names}") from error
        yield


def new_figure(*, columns: int = 1, height: float = 6.0, size: tuple[float, float] | None = None) -> "Figure":
    """An empty figure, as large as it will be printed; to be drawn within :func:`styled`.

    Parameters
    ----------
    columns : 1 or 2
        Of a journal's page that it takes: 8.5 or 17.5 cm.
    height : float
        cm.
    size : (width, height), optional
        cm, instead.

    Raises
    ------
    UsageError
        If the size is none of a figure.
    """
    from matplotlib.figure import Figure

    width, height = size or (WIDTHS[columns], height)
    if not all(isfinite(x) and SIZES[0] <= x <= SIZES[1] for x in (width, height)):
        raise UsageError(f"a figure of {width:g} x {height:g} cm: expected width and height from {SIZES[0]:g} to {SIZES[1]:g} cm")
    return Figure(figsize=(width * CM, height * CM), layout="constrained")


def figure_of(ax: "Axes") -> "Figure":
    """The figure that axes belong to."""
    return cast("Figure", ax.get_figure(root=True))


def legend_above(ax: "Axes", title: str | None = None) -> None:
    """A legend above the axes, where no data are, and not wider than they are: in fewer columns, or with long names broken into lines.

    Parameters
    ----------
    ax : matplotlib axes
        With labelled curves; drawn completely, for the legend is fitted to the width they have now.
    title : str, optional
        First line of the legend.
    """
    handles, labels = ax.get_legend_handles_labels()
    figure_of(ax).draw_without_rendering()
    room, columns, width = 0.0, 1 + min(len(labels), MOST_COLUMNS), max((len(label) for label in labels), default=0)
    while room < 1 and (columns > 1 or width > 8):
        if columns > 1:
            columns -= 1
        else:
            width = max(8, int(width * min(room, 0.95)))
        wrapped = ["\n".join(textwrap.wrap(label, width)) for label in labels]
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "borderaxespad": 0.2}
        legend = ax.legend(handles, wrapped, ncols=columns, markerscale=2, title=title, **place)
        legend.set_in_layout(False)  # it must not shrink the axes before it fits them
        room = ROOM * float(ax.get_window_extent().width / legend.get_window_extent().width)
    legend.set_in_layout(True)
    figure = figure_of(ax)
    tall = legend.get_window_extent().height / figure.dpi - TALLEST * figure.get_figheight()
    if tall > 0:  # names of many lines leave no room for the data
        figure.set_figheight(figure.get_figheight() + tall)


def save_figure(ax: "Axes", path: Path, style: str | Path | None = None) -> None:
    """Write the figure of some axes as pdf, png or svg, complete or not at all; fonts are in the pdf.

    Parameters
    ----------
    ax : matplotlib axes
        Any of the figure.
    path : Path
        The suffix tells the format.
    style : str or path, optional
        As it was drawn with.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: cannot draw a figure as {path.suffix or 'a file without suffix'}; expected {', '.join(SUFFIXES)}")
    with styled(style), new_file(path) as temporary:
        figure_of(ax).savefig(temporary)
