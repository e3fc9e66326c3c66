"""Logarithmic axes with few, plain numbers: 1, 2, 5, 10 rather than powers of ten between which nothing is labelled."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW = 2.0
"""Decades up to which 2 and 5 are labelled, too."""
LABELLED = (1.0, 2.0, 5.0), tuple(np.arange(1.0, 10.0)), tuple(np.arange(10.0, 100.0) / 10)
"""What is labelled in each decade: the first of these of which two lie on the axis."""


def log_axis(ax: "Axes", which: str) -> None:
    """Make the x or y axis of drawn axes logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_minor_formatter(NullFormatter())
    if np.log10(high / low) <= NARROW:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
        labels = next((s for s in LABELLED if ((low <= (x := np.outer(decades, s))) & (x <= high)).sum() >= 2), LABELLED[-1])
        axis.set_major_locator(LogLocator(10.0, labels))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
