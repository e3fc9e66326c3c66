"""Figures of densities of states."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from postprocess.density.dos import DOS
from postprocess.output.plot import SPIN_NAMES, STYLE, fit_legend, group_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray

MAX_CURVES = 12
"""Projections drawn by default."""
SAME = 0.01
"""Curves that differ by less than this part of the highest value of the total lie on each other in the figure."""
DASH = 4.0
"""Length of the pieces of curves that lie on each other, points."""
TOTAL: dict[str, Any] = {"color": "0.45", "lw": 1.8}
WIDTHS = (1.2, 0.8)
"""Lines of the total, and widths of those of the first and last projection: what is drawn first shows beside what covers it."""


def plot_dos(dos: DOS, *, names: Sequence[str] | None = None, vertical: bool = False, ax: "Axes | None" = None) -> "Axes":
    """Draw a density of states; that of spin down to the other side.

    The total is a grey area. Projections that are equal, such as the atoms of a symmetric cell, share a line with pieces of each colour.

    Parameters
    ----------
    dos : DOS
        Energies are shifted to the Fermi level if it is known.
    names : sequence of str, optional
        Of the projections; by default the total and the first ones.
    vertical : bool
        With the energy upwards, to stand beside bands.
    ax : matplotlib axes, optional
        By default a new figure.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [name for n, name in enumerate(dos.names) if (name in names if names is not None else n <= MAX_CURVES)]
    zero = dos.fermi_energy or 0.0
    with mpl.rc_context(STYLE):
        if ax is None:
            ax = Figure(figsize=(1.8, 3.2) if vertical else (3.4, 2.6), layout="constrained").subplots()
        draw_dos(ax, dos, shown, zero=zero, window=(dos.energies[0] - zero, dos.energies[-1] - zero), vertical=vertical)
        energy = "$E$ (eV)" if dos.fermi_energy is None else r"$E - E_\mathrm{F}$ (eV)"
        (ax.set_ylabel if vertical else ax.set_xlabel)(energy)
        if len(shown) > 1:
            fit_legend(ax)
    return ax


def draw_dos(ax: "Axes", dos: DOS, names: Sequence[str], *, zero: float, window: tuple[float, float], vertical: bool) -> None:
    """Curves, lines at zero, limits, and the name of the axis of the density; no legend."""
    energies: FloatArray = dos.energies - zero
    visible = (energies >= window[0]) & (energies <= window[1])
    top = 1.05 * float(np.abs(dos.density[:, [dos.names.index(name) for name in names]][..., visible]).max(initial=0.0)) or 1.0
    parts = [name for name in names if name != dos.names[0]]
    colours = dict(zip(parts, group_colours(len(parts)), strict=True))
    for spin, density in enumerate(dos.density):
        side = -1 if spin else 1
        fill = ax.fill_betweenx if vertical else ax.fill_between
        if dos.names[0] in names:
            fill(energies, side * density[0], color="0.85", lw=0, zorder=0)
            _draw(ax, energies, side * density[0], vertical=vertical, label=None if spin else dos.names[0], **TOTAL)
        drawn = {name: density[dos.names.index(name)] for name in parts}
        for (name, curve), width in zip(drawn.items(), np.linspace(*WIDTHS, len(drawn)), strict=True):
            equal = [n for n, c in drawn.items() if np.abs(c - curve)[visible].max(initial=0.0) < SAME * top]
            m, place = len(equal), equal.index(name)
            dash = DASH / width  # matplotlib counts in line widths
            style: dict[str, Any] = {"ls": "-" if m == 1 else (-dash * place, (dash, dash * (m - 1))), "dash_capstyle": "butt"}
            _draw(ax, energies, side * curve, vertical=vertical, color=colours[name], lw=width, **style)
            if spin == 0:
                ax.plot([], [], color=colours[name], lw=width, label=name)  # in the legend without gaps
    across, along = (ax.axvline, ax.axhline) if vertical else (ax.axhline, ax.axvline)
    if len(dos.density) > 1:
        across(0.0, color="0.6", lw=0.6)
    if dos.fermi_energy is not None:
        along(0.0, color="0.6", lw=0.6, ls=(0, (4, 3)), zorder=0)
    (ax.set_ylim if vertical else ax.set_xlim)(*window)
    (ax.set_xlim if vertical else ax.set_ylim)(-top if len(dos.density) > 1 else 0.0, top)
    sides = "DOS" if len(dos.density) == 1 else rf"{SPIN_NAMES[1]} $\leftarrow$ DOS $\rightarrow$ {SPIN_NAMES[0]}"
    (ax.set_xlabel if vertical else ax.set_ylabel)(sides + (" " if sides == "DOS" and not vertical else "\n") + "(states/eV per cell)")


def _draw(ax: "Axes", energies: "FloatArray", curve: "FloatArray", *, vertical: bool, **style: Any) -> None:
    ax.plot(*((curve, energies) if vertical else (energies, curve)), **style)
