"""Band-structure figures."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from deeph.files.figures import BLACK, BLUE, GREY, LIGHT_BLUE, LINE, ORANGE, THIN, figure_of, legend_above, new_figure, styled
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.lattice.kpath import KPath
from postprocess.output.level_bars import draw_error_bars, tell_if_thin
from postprocess.output.look import Look, Reference, choose_zero, rename, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray

HEIGHT = 6.5
"""Of a figure, cm."""
DOTS = 50
"""About so many along a path that has more points: dots side by side would hide the lines they are compared with."""
DOT = 2.2
"""Diameter of dots along many points, points."""
FEW = 5
"""Points of a segment below which dots are not joined: lines between them would say what nobody computed."""
REACH = 3.0
"""eV to both sides of the zero that are drawn where levels go farther."""
LEVEL = 0.7
"""Half length of a molecule's levels, where the axes go from -1 to 1."""
SPIN_COLOURS = (BLUE, ORANGE)
SPIN_NAMES = ("up", "down")
RESULT_COLOURS = (BLACK, ORANGE, BLUE, LIGHT_BLUE)
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Lines of results that share a colour: of one spin, or because there are more results than colours."""


def plot_bands(
    bands: Sequence[Bands],
    *,
    window: tuple[float, float] | None = None,
    dots: Sequence[bool] = (),
    ax: "Axes | None" = None,
    **look: Unpack[Look],
) -> "Axes":
    """Draw one or several band structures of the same path.

    Parameters
    ----------
    bands : sequence of Bands
        Each is shifted to its own Fermi level; if one of them has none, all are drawn with absolute energies. Crossings are followed as
        far as ``bands.order`` tells, else the n-th levels are joined.
    window : (low, high), optional
        Energy range in eV on the axis of the figure. By default see :func:`default_window`.
    dots : sequence of bool
        Which of them are drawn as dots (predictions) instead of lines; levels that were not counted always are, because the n-th of one
        k-point may belong to another band than the n-th of the next, and so are the levels of a few points.
    ax : matplotlib axes, optional
        By default a new figure.
    **look
        See :class:`postprocess.output.look.Look`.

    Returns
    -------
    matplotlib axes
        With labels, ticks and legend.

    Raises
    ------
    UsageError
        If the paths have different lengths or corners, or the look is not possible.
    """
    path = bands[0].path
    for other in bands[1:]:
        if other.path.labels != path.labels or not np.allclose(other.path.ticks, path.ticks, rtol=0.02):
            raise UsageError(f"{other.title} runs along {other.path.labels}, {bands[0].title} along {path.labels}: not one figure")
    reference = choose_zero(bands, look.get("zero", "fermi"))
    pointwise = [as_dots or not one.counted for one, as_dots in zip(bands, [*dots, *[False] * len(bands)], strict=False)]
    curves = [(n, spin) for n, one in enumerate(bands) for spin in range(len(one.energies))]
    names = rename([curve_name(bands, *curve) for curve in curves], look)
    with styled(look.get("style")):
        if ax is None:
            ax = new_figure(height=HEIGHT, size=look.get("size")).subplots()
        styles = [curve_style(bands, n, spin, pointwise) for n, spin in curves]
        limits = window or default_window(bands, reference)
        if len(path.k) == 1:
            draw_levels(ax, [bands[n].energies[spin, 0] - reference.zeros[n] for n, spin in curves], names, styles, reference)
        else:
            for (n, spin), name, style in zip(curves, names, styles, strict=True):
                _draw(ax, bands[n], spin, reference.zeros[n], name, style)
            decorate(ax, path, reference)
        barred = draw_error_bars(ax, bands, reference.zeros, styles, limits, bars=is_short(path), width=LEVEL)  # below all, named last
        ax.set_ylim(*limits)
        set_title(ax, look)
        if barred or (len(path.k) > 1 and (len(names) > 1 or look.get("label"))):
            legend_above(ax)
        fit_ticks([ax])
        tell_if_thin(ax, [bands[n] for n in barred], [reference.zeros[n] for n in barred], limits)
    return ax


def default_window(bands: Sequence[Bands], reference: Reference | None = None) -> tuple[float, float]:
    """What is drawn: all computed levels, no farther than 3 eV from a known zero (or HOMO and LUMO), and some room."""
    reference = reference or choose_zero(bands)
    shifted = [b.energies - zero for b, zero in zip(bands, reference.zeros, strict=True)]
    low, high = min(float(np.nanmin(e)) for e in shifted), max(float(np.nanmax(e)) for e in shifted)
    room = 0.04 * (high - low) + 1e-3
    low, high = low - room, high + room
    if reference.line is None:
        return low, high
    near = far = line = reference.line
    if len(bands[0].path.k) == 1:  # HOMO and LUMO of a molecule may be farther apart
        near = max((float(e[e <= line].max()) for e in shifted if (e <= line).any()), default=line)
        far = min((float(e[e > line].min()) for e in shifted if (e > line).any()), default=line)
    if max(low, near - REACH) < min(high, far + REACH):
        low, high = max(low, near - REACH), min(high, far + REACH)
    return low, high


def is_short(path: KPath) -> bool:
    """Whether a path has so few points that lines between them would be made up; the one of a molecule is none."""
    return 1 < len(path.k) < FEW * len(path.segments)


def with_length(bands: Bands) -> Bands:
    """The levels of a molecule, known at Gamma alone, as short lines; bands as they are."""
    if len(bands.path.k) > 1:
        return bands
    ends = np.array([-LEVEL, LEVEL])
    path = replace(bands.path, k=np.repeat(bands.path.k, 2, axis=0), distances=ends, bounds=np.array([0, 2]))
    weights = {name: np.repeat(weight, 2, axis=1) for name, weight in bands.weights.items()}
    return replace(bands, energies=np.repeat(bands.energies, 2, axis=1), weights=weights, path=path, order=None)


def curve_name(bands: Sequence[Bands], number: int, spin: int) -> str:
    """Of one spin channel of one result, in the legend."""
    parts = [bands[number].title] * (len(bands) > 1) + [SPIN_NAMES[spin]] * (len(bands[number].energies) > 1)
    return " ".join(parts) or bands[number].title


def curve_style(bands: Sequence[Bands], number: int, spin: int, pointwise: Sequence[bool]) -> dict[str, Any]:
    """Colours tell spins apart where there are two, else results; then lines and dots tell the results."""
    spins = max(len(b.energies) for b in bands) > 1
    colours = SPIN_COLOURS if spins else RESULT_COLOURS if len(bands) > 1 else (BLACK,)
    colour = colours[(spin if spins else number) % len(colours)]
    short = is_short(bands[number].path)
    if not (pointwise[number] or short):
        again = number if spins else number // len(colours)
        return {"color": colour, "lw": LINE, "ls": DASHES[again % len(DASHES)]}
    if short and any(pointwise) and not pointwise[number]:  # below the dots that are compared with it
        return {"color": colour, "ls": "", "marker": "_", "ms": 9, "mew": LINE}
    hollow = spins and len(bands) > 1
    n_k = len(bands[number].path.k)
    return {
        "color": colour, "ls": "", "marker": "o", "zorder": 3, "ms": DOT * (1.4 if short else 1), "mew": THIN if hollow else 0,
        "mfc": "white" if hollow else colour, "markevery": max(1, round(n_k / DOTS)),
    }  # fmt: skip


def _draw(ax: "Axes", bands: Bands, spin: int, zero: float, name: str, style: dict[str, Any]) -> None:
    drawn = bands if style["ls"] == "" else bands.connected
    for points in drawn.path.segments:
        lines = ax.plot(drawn.path.distances[points], drawn.energies[spin, points] - zero, **style)
        if points.start == 0:
            lines[0].set_label(name)


def draw_levels(
    ax: "Axes", levels: "Sequence[FloatArray]", names: Sequence[str], styles: Sequence[dict[str, Any]], reference: Reference
) -> None:
    """Schemes of levels of molecules side by side; of a single one HOMO and LUMO by name."""
    for place, (energies, style) in enumerate(zip(levels, styles, strict=True)):
        ax.hlines(energies, place - LEVEL / 2, place + LEVEL / 2, color=style["color"], lw=LINE)
    ax.set_xticks(range(len(levels)), names)
    ax.set_xlim(-LEVEL, len(levels) - 1 + LEVEL)
    ax.tick_params(axis="x", length=0)
    if reference.line is not None:
        ax.axhline(reference.line, color=GREY, lw=THIN, ls=(0, (4, 3)), zorder=0)
        if len(levels) == 1:
            known = {"HOMO": levels[0][levels[0] <= reference.line][-1:], "LUMO": levels[0][levels[0] > reference.line][:1]}
            for name, energy in known.items():
                for y in energy:
                    ax.text(LEVEL / 2 + 0.03, y, name, va="center")
    ax.set_ylabel(reference.text)


def decorate(ax: "Axes", path: KPath, reference: Reference) -> None:
    """Corners, lines at the corners and the zero of energy, the name of the axis of energy and few round numbers on it."""
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    ax.set_xticks(path.ticks, [tick_text(label) for label in path.labels])
    low, high = (path.ticks[0], path.ticks[-1]) if len(path.ticks) > 1 else (-1.0, 1.0)
    room = 0.04 * (high - low) if is_short(path) else 0.0  # for whole dots at both ends
    ax.set_xlim(low - room, high + room)
    ax.tick_params(axis="x", length=0)
    for tick in path.ticks if room else path.ticks[1:-1]:
        ax.axvline(tick, color=GREY, lw=THIN, zorder=0)
    if reference.line is not None:
        ax.axhline(reference.line, color=GREY, lw=THIN, ls=(0, (4, 3)), zorder=0)
    ax.set_ylabel(reference.text)


def fit_ticks(axes: "Sequence[Axes]") -> None:
    """Corners whose names would touch their left neighbour's get them one line lower; last of all, when the axes have their width."""
    figure_of(axes[0]).draw_without_rendering()
    for ax in axes:
        right = -np.inf
        texts = []
        for label in ax.get_xticklabels():
            box = label.get_window_extent()
            low = box.x0 < right + 0.2 * box.height  # a fifth of the height of a letter
            texts.append(("\n" if low else "") + label.get_text())
            right = -np.inf if low else box.x1
        ax.set_xticks(ax.get_xticks(), texts)


def tick_text(label: str) -> str:
    """A corner's name as matplotlib text: Greek Gamma, digits as subscripts, primes."""
    parts = ("Γ" if part == "G" else part for part in label.split("|"))
    return "|".join(re.sub(r"^([A-Za-zΓ])(\d+)", r"$\\mathrm{\1}_{\2}$", part).replace("'", "′") for part in parts)
