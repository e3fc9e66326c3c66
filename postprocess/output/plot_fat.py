"""Figures of fat bands: what the states are made of, one panel a group, and a panel with the density of states beside them.

In a panel of its own nothing hides a group, and the eye compares areas of dots. Quantities with a sign have a colour for each.
"""

from typing import TYPE_CHECKING, NamedTuple, Unpack

import numpy as np

from deeph.files.figures import COLOURS, GREY, LINE, new_figure, styled
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.bands.unfold import UNFOLDED
from postprocess.output.dos_plot import choose_panels, density_name, draw_dos
from postprocess.output.fat_dots import DEGENERATE, LARGEST, NEGATIVE, POSITIVE, RESOLUTION, SMALLEST, average_degenerate, draw_dots
from postprocess.output.groups import TOGETHER, families, largest_visible, visible_groups, whole_of
from postprocess.output.look import Look, Reference, choose_zero, rename, set_title
from postprocess.output.plot import SPIN_COLOURS, SPIN_NAMES, decorate, default_window, fit_ticks, is_short, with_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from deeph.physics.system import FloatArray
    from postprocess.density.dos import DOS

PAULI = ("sx", "sy", "sz")
HEIGHTS = (1.2, 5.4)
"""Of a figure without rows, and of each row, cm."""
DOS_WIDTH = 0.55
"""Of its panel, as part of a panel of bands."""
THIN_BANDS = 0.4
"""Width of the lines below the dots, points."""


class Panel(NamedTuple):
    """What is drawn in one pair of axes: one group or quantity (none: the bands alone), of one spin channel or all."""

    name: str | None
    spin: int | None
    colour: str


class Scene(NamedTuple):
    """What all panels share: bands, their energies on the axis (n_spin, n_k, n_bands), the window of the figure, and the zero."""

    bands: Bands
    energies: "FloatArray"
    window: tuple[float, float]
    reference: Reference
    weights: "dict[str, FloatArray]"
    """As they are drawn: shares are not negative, levels that lie on each other share theirs, and an unfolded one is a factor."""

    def top(self, name: str) -> float:
        """The weight of the largest dots: 1 for shares and spins, else one for all functions, so that a small one does not look large."""
        if name in PAULI or name not in self.bands.signed:
            return 1.0
        return max(float(np.nanmax(np.abs(self.weights[n]))) for n in self.bands.signed if n not in PAULI) or 1.0


def plot_fat_bands(
    bands: Bands, *, window: tuple[float, float] | None = None, dos: "DOS | None" = None, **look: Unpack[Look]
) -> "list[Axes]":
    """Draw one band structure and what its states are made of.

    Parameters
    ----------
    bands : Bands
        With ``weights``, or without if a ``dos`` is given. Levels that the figure cannot show apart get the mean of their weights.
    window : (low, high), optional
        Energy range in eV on the axis of the figure. By default -3 to 3 eV around the zero, else all bands.
    dos : DOS, optional
        Drawn in a panel at the right of each row, on the same energy axis, with the groups of the row in the colours they have there.
    **look
        See :class:`postprocess.output.look.Look`.

    Returns
    -------
    list of matplotlib axes
        Of one figure, row by row: a panel for each group (elements, the shells of an element, ..., quantities with a sign), for both
        channels of collinear spin, and the DOS. Groups of which nothing is seen in the window have none.

    Raises
    ------
    UsageError
        If there is nothing to draw beside the bands, or the look is not possible.
    """
    if not bands.weights and dos is None:
        raise UsageError(f"{bands.title}: there are no weights for fat bands; compute them with --projections, --group or --function")
    scene = _scene(bands, window, look)
    rows = _rows(scene)
    names = iter(rename([_panel_name(panel) for row in rows for panel in row], look))
    with styled(look.get("style")):
        figure = _figure(rows, dos=dos is not None, look=look)
        ratios = [1.0] * max(len(row) for row in rows) + [DOS_WIDTH] * (dos is not None)
        grid = figure.subplots(len(rows), len(ratios), width_ratios=ratios, sharey=True, squeeze=False)
        grid[0, 0].set_ylim(*scene.window)
        axes: list[Axes] = []
        for row, places in zip(rows, grid, strict=True):
            for panel, ax in zip(row, places, strict=False):
                _draw_panel(ax, scene, panel, next(names))
            used = [*places[: len(row)]]
            if dos is not None:
                _draw_dos(places[-1], scene, dos, row)
                used.append(places[-1])
            for ax in places:
                ax.yaxis.label.set_visible(ax is places[0])
                if ax not in used:
                    ax.remove()
            axes += used
        if dos is not None:
            grid[-1, -1].set_xlabel("states/eV\nper cell")
        set_title(axes[0], look)
        handles = [*_dot_handles(scene, rows), *_curve_handles(grid[-1], rows)]
        if handles:
            figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), borderaxespad=0.1)
        fit_ticks([ax for row, places in zip(rows, grid, strict=True) for ax in places[: len(row)]])
    return axes


def _scene(bands: Bands, window: tuple[float, float] | None, look: Look) -> Scene:
    reference = choose_zero([bands], look.get("zero", "fermi"))
    limits = window or default_window([bands], reference)
    bands = with_length(bands.connected)
    weights = {}
    for name, weight in bands.weights.items():
        if name == UNFOLDED:
            drawn = average_degenerate(bands.energies, weight, within=DEGENERATE, add=True)
        else:
            drawn = average_degenerate(bands.energies, weight, within=RESOLUTION * (limits[1] - limits[0]))
        weights[name] = drawn if name in bands.signed else np.clip(drawn, 0, None)
    seen = weights.get(UNFOLDED)
    if seen is not None:
        weights = {name: weight if name == UNFOLDED else weight * seen for name, weight in weights.items()}
    return Scene(bands, bands.energies - reference.zeros[0], limits, reference, weights)


def _rows(scene: Scene) -> list[list[Panel]]:
    """Groups of one kind side by side, then quantities with a sign, for each channel; the bands alone if there are none."""
    bands = scene.bands
    if not bands.weights:
        return [[Panel(None, None, COLOURS[0])]]
    sizes = {name: largest_visible(w, scene.energies, scene.window) / scene.top(name) for name, w in scene.weights.items()}
    seen = visible_groups(sizes, SMALLEST)
    kinds = [[n for n in seen if n not in bands.signed and n != UNFOLDED], [n for n in seen if n == UNFOLDED]]
    kinds += [[n for n in seen if n in bands.signed and n in PAULI], [n for n in seen if n in bands.signed and n not in PAULI]]
    rows = []
    for names in (family for kind in kinds for family in families(kind)):
        if len(bands.energies) == 1:
            rows.append([Panel(name, None, COLOURS[n]) for n, name in enumerate(names)])
        else:
            apart = [[Panel(name, spin, COLOURS[n]) for n, name in enumerate(names)] for spin in range(2)]
            rows += [[*apart[0], *apart[1]]] if 2 * len(names) <= TOGETHER else apart
    return rows


def _figure(rows: list[list[Panel]], *, dos: bool, look: Look) -> "Figure":
    """As wide as one column for two panels, else as two."""
    wide = max(len(row) for row in rows) + DOS_WIDTH * dos > 2
    return new_figure(columns=2 if wide else 1, height=HEIGHTS[0] + HEIGHTS[1] * len(rows), size=look.get("size"))


def _panel_name(panel: Panel) -> str:
    spin = "" if panel.spin is None else f"spin {SPIN_NAMES[panel.spin]}"
    return ", ".join(filter(None, [panel.name and signed_text(panel.name), spin]))


def _draw_panel(ax: "Axes", scene: Scene, panel: Panel, name: str) -> None:
    decorate(ax, scene.bands.path, scene.reference)
    _draw_thin(ax, scene, panel)
    if name:
        ax.set_title(name)
    if panel.name is None:
        return
    channels = slice(None) if panel.spin is None else slice(panel.spin, panel.spin + 1)
    draw_dots(
        ax,
        scene.bands.path,
        scene.energies[channels],
        scene.weights[panel.name][channels],
        top=scene.top(panel.name),
        window=scene.window,
        colour=None if panel.name in scene.bands.signed else panel.colour,
    )


def _draw_thin(ax: "Axes", scene: Scene, panel: Panel) -> None:
    """All bands as thin lines; not those of a supercell on the path of its primitive cell, most of which belong to another k there."""
    bands = scene.bands
    if UNFOLDED in bands.weights:
        return
    alone = panel.name is None
    joined = bands.counted and not is_short(bands.path)
    for spin, energies in enumerate(scene.energies):
        if panel.spin not in (None, spin):
            continue
        colour = GREY if not alone else SPIN_COLOURS[spin] if len(scene.energies) > 1 else "black"
        look = {"lw": LINE if alone else THIN_BANDS} if joined else {"ls": "", "marker": "o", "mew": 0, "ms": 2.2 if alone else 0.8}
        for points in bands.path.segments:
            lines = ax.plot(bands.path.distances[points], energies[points], zorder=1, color=colour, **look)
            if alone and points.start == 0:
                lines[0].set_label(SPIN_NAMES[spin])


def _draw_dos(ax: "Axes", scene: Scene, dos: "DOS", row: list[Panel]) -> None:
    """The groups of a row that the table knows, in the colours they have there; of bands alone those of its first kind."""
    colours = {panel.name: panel.colour for panel in row if panel.name in dos.names}
    if not colours and row[0].name is None:
        first = choose_panels(dos, dos.names)[0]
        colours = dict(zip(first, COLOURS, strict=False))
    draw_dos(ax, dos, colours, reference=scene.reference, window=scene.window, vertical=True)
    element = whole_of(list(colours)) if colours else None
    ax.set(title=f"{density_name(dos)}, {element}" if element in dos.names else density_name(dos), xlabel="")


def _dot_handles(scene: Scene, rows: list[list[Panel]]) -> "list[Line2D]":
    """For all panels: the weight of the largest dots, of each sign."""
    from matplotlib.lines import Line2D

    names = [panel.name for row in rows for panel in row if panel.name is not None]
    entries: dict[str, str] = {}
    if any(name not in scene.bands.signed for name in names):
        entries["weight 1"] = GREY
    for name in names:
        if name in scene.bands.signed:
            top = f"{scene.top(name):.3g}"
            entries |= {f"+{top}": POSITIVE, f"−{top}": NEGATIVE}
    size = LARGEST**0.5
    return [Line2D([], [], color=colour, label=text, ls="", marker="o", mew=0, ms=size) for text, colour in entries.items()]


def _curve_handles(axes: "Sequence[Axes]", rows: list[list[Panel]]) -> "list[Artist]":
    """Of bands alone and the density beside them; elsewhere the panels tell the colours."""
    if rows[0][0].name is not None:
        return []
    handles = [ax.get_legend_handles_labels()[0] for ax in axes]
    return [handle for of_panel in handles if len(of_panel) > 1 for handle in of_panel]


def signed_text(name: str) -> str:
    """A quantity's name as matplotlib text."""
    return rf"$\langle\sigma_{name[1]}\rangle$" if name in PAULI else name
