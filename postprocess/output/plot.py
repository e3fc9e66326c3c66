"""Band-structure figures."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deeph.files.folders import new_file
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.lattice.kpath import KPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")

STYLE = {
    "font.size": 9,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": False,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
COLOURS = ("#1a1a1a", "#c8321e", "#2b6cb0", "#2f855a", "#b7791f")
ROOM = 0.92
"""Part of the axes' width that a legend may take; tick labels still move a little when it is placed."""
DOTS = 60
"""About so many along a path that has more points: dots side by side would hide the lines they are compared with."""
LEVEL = 0.7
"""Half length of a molecule's levels, where the axes go from -1 to 1."""
SPIN_COLOURS = ("#c8321e", "#2b6cb0")
SPIN_NAMES = ("up", "down")
GROUP_COLOURS = ("#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#e6b800", "#0c8599", "#a61e4d", "#868e96")
MIDDLE = "#303030"
"""Zero on the scale between the first two group colours: as dark as a line has to be on white paper."""


def group_colours(n: int) -> list[str]:
    """As many different colours as there are groups of orbitals."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    if n <= len(GROUP_COLOURS):
        return list(GROUP_COLOURS[:n])
    return [to_hex(colour) for colour in mpl.colormaps["turbo"](np.linspace(0.02, 0.98, n))]


def plot_bands(
    bands: Sequence[Bands],
    *,
    window: tuple[float, float] | None = None,
    dots: Sequence[bool] = (),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one or several band structures of the same path.

    Parameters
    ----------
    bands : sequence of Bands
        Each is shifted to its own Fermi level; if one of them has none, all are drawn with absolute energies.
    window : (low, high), optional
        Energy range in eV, relative to the Fermi level if it is known. By default see :func:`default_window`.
    dots : sequence of bool
        Which of them are drawn as dots (predictions) instead of lines; levels that were not counted always are, because the n-th of one
        k-point may belong to another band than the n-th of the next.
    ax : matplotlib axes, optional
        By default a new figure.

    Returns
    -------
    matplotlib axes
        With labels, ticks and legend.

    Raises
    ------
    UsageError
        If the paths have different lengths or corners.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    path = bands[0].path
    for other in bands[1:]:
        if other.path.labels != path.labels or not np.allclose(other.path.ticks, path.ticks, rtol=0.02):
            raise UsageError(f"{other.title} runs along {other.path.labels}, {bands[0].title} along {path.labels}: not one figure")
    relative = all(b.fermi_energy is not None for b in bands)
    with mpl.rc_context(STYLE):
        if ax is None:
            ax = Figure(figsize=(3.4, 3.2), layout="constrained").subplots()
        for number, (one, as_dots) in enumerate(zip(bands, [*dots, *[False] * len(bands)], strict=False)):
            _draw(
                ax, one, (one.fermi_energy or 0.0) if relative else 0.0, number if len(bands) > 1 else -1, dots=as_dots or not one.counted
            )
        decorate(ax, path, relative=relative)
        ax.set_ylim(*(window or default_window(bands)))
        if len(bands) > 1 or len(bands[0].energies) > 1:
            fit_legend(ax)
        fit_ticks(ax)
    return ax


def default_window(bands: Sequence[Bands]) -> tuple[float, float]:
    """What is drawn: all computed levels, no farther than 3 eV from a known Fermi level (or HOMO and LUMO), and some room."""
    relative = all(b.fermi_energy is not None for b in bands)
    shifted = [b.energies - ((b.fermi_energy or 0.0) if relative else 0.0) for b in bands]
    low, high = min(float(np.nanmin(e)) for e in shifted), max(float(np.nanmax(e)) for e in shifted)
    room = 0.04 * (high - low) + 1e-3
    low, high = low - room, high + room
    near, far = -3.0, 3.0
    if len(bands[0].path.k) == 1:  # HOMO and LUMO of a molecule may be farther apart
        near += max((float(e[e <= 0].max()) for e in shifted if (e <= 0).any()), default=0.0)
        far += min((float(e[e > 0].min()) for e in shifted if (e > 0).any()), default=0.0)
    if relative and max(low, near) < min(high, far):
        low, high = max(low, near), min(high, far)
    return low, high


def with_length(bands: Bands) -> Bands:
    """The levels of a molecule, known at Gamma alone, as short lines; bands as they are."""
    if len(bands.path.k) > 1:
        return bands
    ends = np.array([-LEVEL, LEVEL])
    path = replace(bands.path, k=np.repeat(bands.path.k, 2, axis=0), distances=ends, bounds=np.array([0, 2]))
    weights = {name: np.repeat(weight, 2, axis=1) for name, weight in bands.weights.items()}
    return replace(bands, energies=np.repeat(bands.energies, 2, axis=1), weights=weights, path=path)


def _draw(ax: "Axes", bands: Bands, zero: float, number: int, *, dots: bool) -> None:
    n_spin = len(bands.energies)
    bands = bands if dots else with_length(bands)
    for spin, energies in enumerate(bands.energies):
        colour = SPIN_COLOURS[spin] if n_spin > 1 and number < 1 else COLOURS[max(number, 0) % len(COLOURS)]
        name = " ".join([bands.title] * (number >= 0) + [SPIN_NAMES[spin]] * (n_spin > 1))
        style: dict[str, Any] = {"color": colour, "lw": 1.0, "ls": "-" if spin == 0 or number < 1 else "--"}
        if dots:
            style = {"color": colour, "ls": "", "marker": "o", "ms": 1.5, "mew": 0, "zorder": 3}
            style["markevery"] = max(1, len(bands.path.k) // DOTS)
        for points in bands.path.segments:
            lines = ax.plot(bands.path.distances[points], energies[points] - zero, **style)
            if points.start == 0:
                lines[0].set_label(name)


def decorate(ax: "Axes", path: KPath, *, relative: bool) -> None:
    """Corners, lines at the corners and the Fermi level, and the names of the axes."""
    ax.set_xticks(path.ticks, [tick_text(label) for label in path.labels])
    ax.set_xlim(*((path.ticks[0], path.ticks[-1]) if len(path.ticks) > 1 else (-1.0, 1.0)))
    ax.tick_params(axis="x", length=0)
    for tick in path.ticks[1:-1]:
        ax.axvline(tick, color="0.6", lw=0.6, zorder=0)
    if relative:
        ax.axhline(0.0, color="0.6", lw=0.6, ls=(0, (4, 3)), zorder=0)
    ax.set_ylabel(r"$E - E_\mathrm{F}$ (eV)" if relative else "$E$ (eV)")


def fit_ticks(ax: "Axes") -> None:
    """Corners whose names would touch their left neighbour's get them one line lower; last of all, when the axes have their width."""
    cast("Figure", ax.get_figure(root=True)).draw_without_rendering()
    right = -np.inf
    texts = []
    for label in ax.get_xticklabels():
        box = label.get_window_extent()
        low = box.x0 < right + 0.2 * box.height  # a fifth of the height of a letter
        texts.append(("\n" if low else "") + label.get_text())
        right = -np.inf if low else box.x1
    ax.set_xticks(ax.get_xticks(), texts)


def fit_legend(ax: "Axes", title: str | None = None) -> None:
    """A legend above the axes and not wider than they are: in fewer columns, or with long names broken into lines."""
    handles, labels = ax.get_legend_handles_labels()
    cast("Figure", ax.get_figure(root=True)).draw_without_rendering()
    room, columns, width = 0.0, max(4, 1 + len(labels) // 4), max((len(label) for label in labels), default=0)
    while room < 1 and (columns > 1 or width > 8):
        if columns > 1:
            columns -= 1
        else:
            width = max(8, int(width * min(room, 0.95)))
        wrapped = ["\n".join(textwrap.wrap(label, width)) for label in labels]
        legend = ax.legend(
            handles,
            wrapped,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=columns,
            fontsize="small",
            handlelength=1.5,
            columnspacing=1.2,
            title=title,
            title_fontsize="small",
            borderaxespad=0.2,
            markerscale=2,
        )
        legend.set_in_layout(False)  # it must not shrink the axes before it fits them
        room = ROOM * float(ax.get_window_extent().width / legend.get_window_extent().width)
    legend.set_in_layout(True)


def tick_text(label: str) -> str:
    """A corner's name as matplotlib text: Greek Gamma, digits as subscripts, primes."""
    parts = ("Γ" if part == "G" else part for part in label.split("|"))
    return "|".join(re.sub(r"^([A-Za-zΓ])(\d+)", r"$\\mathrm{\1}_{\2}$", part).replace("'", "′") for part in parts)


def save_figure(ax: "Axes", path: Path) -> None:
    """Write the figure of some axes as pdf, png or svg, complete or not at all.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    import matplotlib as mpl

    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: cannot draw a figure as {path.suffix or 'a file without suffix'}; expected {', '.join(SUFFIXES)}")
    with mpl.rc_context(STYLE), new_file(path) as temporary:
        cast("Figure", ax.get_figure(root=True)).savefig(temporary)
