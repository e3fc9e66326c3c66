"""Error bars of levels in figures of bands: shaded, below lines and dots, and only where they can be read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.files.figures import LINE, THIN, figure_of
from deeph.runtime.log import logger
from postprocess.bands.bands import Bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray

NAME = "one standard deviation"
"""In the legend."""
SHADE = 0.25
"""Opacity."""
FULL = 1.0
"""Height of the bars of all levels at a k together, in heights of the window, from which on they are one area that says nothing."""

Window = tuple[float, float]


def draw_error_bars(
    ax: "Axes",
    bands: Sequence[Bands],
    zeros: Sequence[float],
    styles: Sequence[dict[str, Any]],
    window: Window,
    *,
    bars: bool,
    width: float,
) -> list[int]:
    """Shade one standard deviation to both sides of each level.

    Parameters
    ----------
    ax : matplotlib axes
        Of the figure.
    bands : sequence of Bands
        What is drawn, with ``errors`` or without.
    zeros : sequence of float
        What is subtracted from the energies of each, eV.
    styles : sequence of dict
        With the ``color`` of each spin channel of the first result, then of the next.
    window : (low, high)
        The frame, eV on the axis; nothing is drawn outside.
    bars : bool
        Whether levels are dots that no line joins; they get a bar each.
    width : float
        Of the levels of molecules, which lie side by side.

    Returns
    -------
    list of int
        Whose error bars were drawn. The user is told of others that would be one area.
    """
    shown = [n for n, (one, zero) in enumerate(zip(bands, zeros, strict=True)) if _is_readable(one, zero, window)]
    curves = [(n, spin) for n, one in enumerate(bands) for spin in range(len(one.energies))]
    look: dict[str, Any] = {"alpha": 2 * SHADE if bars else SHADE, "lw": THIN if bars else 0, "zorder": 1}
    label: str | None = NAME
    for place, ((n, spin), style) in enumerate(zip(curves, styles, strict=True)):
        if n not in shown:
            continue
        drawn = bands[n].connected
        low, high = (np.clip(end[spin], *window) for end in _ends(drawn, zeros[n]))
        for level in np.flatnonzero((high > low).any(axis=0)).tolist():
            for points in drawn.path.segments:
                x, ends = drawn.path.distances[points], (low[points, level], high[points, level])
                if len(drawn.path.k) == 1:
                    ax.bar(place, ends[1] - ends[0], width, ends[0], color=style["color"], label=label or "", **look)
                elif bars:
                    ax.vlines(x, *ends, color=style["color"], label=label or "", **look)
                else:
                    ax.fill_between(x, *ends, color=style["color"], label=label, **look)
                label = None
    return shown


def tell_if_thin(ax: "Axes", bands: Sequence[Bands], zeros: Sequence[float], window: Window) -> None:
    """Say so where error bars are hidden behind the lines of a figure, which has its final size."""
    figure = figure_of(ax)
    line = LINE * figure.dpi / 72 / ax.get_window_extent().height * (window[1] - window[0])
    for one, zero in zip(bands, zeros, strict=True):
        if 0 < (size := _size(one, zero, window)) < line / 2:
            logger.info(
                "%s: its error bars, %.3g meV (rms), are thinner than a line of the figure; a narrower window (--window) shows them",
                one.title or "bands",
                1e3 * size,
            )


def _is_readable(bands: Bands, zero: float, window: Window) -> bool:
    """Whether a figure can show the error bars of these levels, if there are any; if not, the user is told."""
    if bands.errors is None:
        return False
    low, high = (np.clip(end, *window) for end in _ends(bands, zero))
    height = window[1] - window[0]
    if np.nansum(high - low, axis=-1).mean() <= FULL * height:
        return True
    logger.warning(
        "%s: its error bars, %.3g eV (rms), are not drawn: those of all levels together fill the window of %.3g eV",
        bands.title or "bands",
        _size(bands, zero, window),
        height,
    )
    return False


def _ends(bands: Bands, zero: float) -> "tuple[FloatArray, FloatArray]":
    """Where the error bars begin and end, eV on the axis."""
    errors = np.zeros_like(bands.energies) if bands.errors is None else bands.errors
    return bands.energies - zero - errors, bands.energies - zero + errors


def _size(bands: Bands, zero: float, window: Window) -> float:
    """Root mean square of the error bars of the levels in the window, eV."""
    if bands.errors is None:
        return 0.0
    seen = bands.errors[(bands.energies - zero >= window[0]) & (bands.energies - zero <= window[1])]
    return float(np.sqrt((seen**2).mean())) if seen.size else 0.0
