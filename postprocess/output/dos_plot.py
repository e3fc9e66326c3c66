"""Figures of densities of states."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from deeph.files.figures import COLOURS, GREY, LIGHT_GREY, LINE, THIN, figure_of, legend_above, new_figure, styled
from postprocess.density.dos import DOS, TOTAL
from postprocess.output.groups import families, visible_groups, whole_of
from postprocess.output.look import Look, Reference, choose_zero, rename, set_title
from postprocess.output.plot import SPIN_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray

SEEN = 0.005
"""Projections that stay below this part of the highest value of the total are not drawn."""
SAME = 0.01
"""Curves that differ by less than this part of the highest value of the total lie on each other in the figure."""
DASH = 4.0
"""Length of the pieces of curves that lie on each other, points."""
EDGE = "0.45"
"""The total, or the sum of what a panel shows: a grey area with a thin edge."""
UNIT = "(states/eV per cell)"
HEIGHTS = (2.4, 3.6)
"""Of a figure without panels, and of each of them, cm."""


def plot_dos(
    dos: DOS,
    *,
    window: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    vertical: bool = False,
    ax: "Axes | None" = None,
    **look: Unpack[Look],
) -> "Axes":
    """Draw a density of states; that of spin down to the other side.

    Elements stand beside the total, the shells of each element in a panel of their own beside the element, and other groups in panels of
    at most four. Projections that are equal, such as the atoms of a symmetric cell, share a line with pieces of each colour.

    Parameters
    ----------
    dos : DOS
        Energies are shifted to the Fermi level if it is known.
    window : (low, high), optional
        Energy range in eV on the axis of the figure; by default all of the table.
    names : sequence of str, optional
        Of the projections; by default all that can be seen.
    vertical : bool
        With the energy upwards, to stand beside bands.
    ax : matplotlib axes, optional
        For the first panel, which is the only one then; by default a new figure.
    **look
        See :class:`postprocess.output.look.Look`.

    Returns
    -------
    matplotlib axes
        Of the first panel; the others are in its figure.
    """
    reference = choose_zero([dos], look.get("zero", "fermi"))
    zero = reference.zeros[0]
    limits = window or (float(dos.energies[0] - zero), float(dos.energies[-1] - zero))
    panels = choose_panels(dos, dos.names if names is None else names, _within(dos, zero, limits))
    panels = panels if ax is None else panels[:1]
    shown = list(dict.fromkeys([TOTAL, *(name for panel in panels for name in panel)]))
    texts = dict(zip(shown, rename(shown, look), strict=True)) if look.get("label") else {}
    with styled(look.get("style")):
        axes = [ax] if ax is not None else _new_axes(len(panels), vertical=vertical, size=look.get("size"))
        for place, panel in zip(axes, panels, strict=True):
            colours = dict(zip(panel, COLOURS, strict=False))
            draw_dos(place, dos, colours, reference=reference, window=limits, vertical=vertical, texts=texts)
            place.set(xlabel="", ylabel="")
        _name_axes(axes, density_name(dos) + ("\n" if vertical or len(axes) == 1 else " ") + UNIT, reference.text, vertical=vertical)
        set_title(axes[0], look)
        for place in axes:
            if len(place.get_legend_handles_labels()[0]) > 1:
                legend_above(place)
    return axes[0]


def _new_axes(n: int, *, vertical: bool, size: tuple[float, float] | None) -> "list[Axes]":
    """Panels below each other, or side by side if the energy goes upwards."""
    if vertical:
        figure = new_figure(size=size or (2.0 + 2.5 * n, 8.0))
        return list(figure.subplots(1, n, sharey=True, squeeze=False)[0])
    figure = new_figure(height=HEIGHTS[0] + HEIGHTS[1] * n, size=size)
    return list(figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0])


def density_name(dos: DOS) -> str:
    """What the density is called, with the side of each spin."""
    return "DOS" if len(dos.density) == 1 else rf"{SPIN_NAMES[1]} $\leftarrow$ DOS $\rightarrow$ {SPIN_NAMES[0]}"


def _name_axes(axes: "list[Axes]", density: str, energy: str, *, vertical: bool) -> None:
    """The density once for all panels."""
    figure = figure_of(axes[0])
    (axes[0].set_ylabel if vertical else axes[-1].set_xlabel)(energy)
    if len(axes) == 1:
        (axes[0].set_xlabel if vertical else axes[0].set_ylabel)(density)
    elif vertical:
        figure.supxlabel(density)
    else:
        figure.supylabel(density)


def choose_panels(dos: DOS, names: Sequence[str], visible: "FloatArray | None" = None) -> list[tuple[str, ...]]:
    """Projections that share a panel, beside the total or the element they belong to; one empty panel for the total alone.

    Parameters
    ----------
    dos : DOS
        The density of states.
    names : sequence of str
        Those that may be drawn.
    visible : (m,) bool array, optional
        Energies that are seen.
    """
    density = dos.density if visible is None else dos.density[..., visible]
    sizes = {name: float(np.abs(density[:, dos.names.index(name)]).max(initial=0.0)) for name in dos.names}
    parts = {name: size for name, size in sizes.items() if name in names and name != TOTAL}
    return families(visible_groups(parts, SEEN * sizes[TOTAL])) if parts else [()]


def _within(dos: DOS, zero: float, window: tuple[float, float]) -> "FloatArray":
    energies = dos.energies - zero
    return np.asarray((energies >= window[0]) & (energies <= window[1]))


def draw_dos(
    ax: "Axes",
    dos: DOS,
    colours: Mapping[str, str],
    *,
    reference: Reference,
    window: tuple[float, float],
    vertical: bool,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Curves of some colours before the area of what they are parts of, lines at zero, limits, the name of the density; no legend.

    Parameters
    ----------
    ax : matplotlib axes
        Where to draw.
    dos : DOS
        The density of states.
    colours : mapping of name to colour
        Of the projections.
    reference : Reference
        Where energies are counted from.
    window : (low, high)
        Of the axis of energy.
    vertical : bool
        With the energy upwards.
    texts : mapping of name to str, optional
        What the legend calls them; else shells of the element beside them are called by their letters.
    """
    zero = reference.zeros[0]
    whole = whole_of(tuple(colours)) if colours else None
    texts = texts or ({name: name.removeprefix(f"{whole} ") for name in colours} if whole in dos.names else {})
    whole = whole if whole in dos.names else TOTAL
    energies, visible = dos.energies - zero, _within(dos, zero, window)
    curves = {name: dos.density[:, dos.names.index(name)] for name in (whole, *colours)}
    errors = None if dos.density_errors is None else dos.density_errors[:, dos.names.index(whole)]
    highest = [*curves.values()] if errors is None else [*curves.values(), curves[whole] + np.nan_to_num(errors)]
    top = 1.05 * max(float(np.abs(curve[:, visible]).max(initial=0.0)) for curve in highest) or 1.0
    for spin in range(len(dos.density)):
        side = -1 if spin else 1
        drawn = {name: side * curve[spin] for name, curve in curves.items()}
        fill = ax.fill_betweenx if vertical else ax.fill_between
        label = None if spin else texts.get(whole, whole)
        fill(energies, drawn.pop(whole), facecolor=LIGHT_GREY, edgecolor=EDGE, lw=THIN, zorder=0, label=label)
        if errors is not None and np.isfinite(errors).all():
            label = None if spin else "± standard error"
            low, high = side * (curves[whole][spin] - errors[spin]), side * (curves[whole][spin] + errors[spin])
            fill(energies, low, high, facecolor=GREY, alpha=0.6, lw=0, zorder=0.5, label=label)
        for name, curve in drawn.items():
            equal = [n for n, c in drawn.items() if np.abs(c - curve)[visible].max(initial=0.0) < SAME * top]
            _draw(ax, energies, curve, vertical=vertical, color=colours[name], lw=LINE, **_pieces(equal.index(name), len(equal)))
            if spin == 0:
                ax.plot([], [], color=colours[name], lw=LINE, label=texts.get(name, name))  # in the legend without gaps
    across, along = (ax.axvline, ax.axhline) if vertical else (ax.axhline, ax.axvline)
    if len(dos.density) > 1:
        across(0.0, color=GREY, lw=THIN)
    if reference.line is not None:
        along(reference.line, color=GREY, lw=THIN, ls=(0, (4, 3)), zorder=0)
    (ax.set_ylim if vertical else ax.set_xlim)(*window)
    (ax.set_xlim if vertical else ax.set_ylim)(-top if len(dos.density) > 1 else 0.0, top)
    (ax.set_xlabel if vertical else ax.set_ylabel)(f"{density_name(dos)}\n{UNIT}")


def _pieces(place: int, n: int) -> dict[str, Any]:
    """The line of one of n curves that lie on each other."""
    dash = DASH / LINE  # matplotlib counts in line widths
    return {"ls": "-" if n == 1 else (-dash * place, (dash, dash * (n - 1))), "dash_capstyle": "butt"}


def _draw(ax: "Axes", energies: "FloatArray", curve: "FloatArray", *, vertical: bool, **style: Any) -> None:
    ax.plot(*((curve, energies) if vertical else (energies, curve)), **style)
