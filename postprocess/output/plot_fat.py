"""Figures of fat bands: what the states are made of as colours and widths of the bands, and a panel with the density of states.

Nothing may hide what lies below it. Two groups of orbitals are shown by their difference on a scale of colours, more of them as stripes
along the band, each as wide as its share, so that equal shares look equal.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.bands.unfold import UNFOLDED
from postprocess.output.dos_plot import draw_dos
from postprocess.output.fat_lines import (
    DEGENERATE,
    RESOLUTION,
    Pieces,
    average_degenerate,
    draw_dots,
    draw_scale,
    draw_stripes,
    split_partitions,
)
from postprocess.output.plot import (
    GROUP_COLOURS,
    SPIN_COLOURS,
    SPIN_NAMES,
    STYLE,
    decorate,
    default_window,
    fit_legend,
    fit_ticks,
    with_length,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray
    from postprocess.density.dos import DOS

PAULI = ("sx", "sy", "sz")


class Panel(NamedTuple):
    """What is drawn in one pair of axes: groups that make up one whole or one signed quantity, of one spin channel or all."""

    names: tuple[str, ...] = ()
    spin: int | None = None

    @property
    def spin_name(self) -> str | None:
        """For the head of the panel."""
        return None if self.spin is None else f"spin {SPIN_NAMES[self.spin]}"


def plot_fat_bands(bands: Bands, *, window: tuple[float, float] | None = None, dos: "DOS | None" = None) -> "list[Axes]":
    """Draw one band structure and what its states are made of.

    Parameters
    ----------
    bands : Bands
        With ``weights``, or without if a ``dos`` is given. Levels that the figure cannot show apart get the mean of their weights.
    window : (low, high), optional
        Energy range in eV, relative to the Fermi level if it is known. By default -3 to 3 eV around it, else all bands.
    dos : DOS, optional
        Drawn in a panel at the right, on the same energy axis.

    Returns
    -------
    list of matplotlib axes
        Of one figure: a panel for each partition of the states (elements, shells, ...), then one for each signed quantity (sx, sy, sz,
        polarisations), each for both channels of collinear spin, then the DOS.

    Raises
    ------
    UsageError
        If there is nothing to draw beside the bands.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if not bands.weights and dos is None:
        raise UsageError(f"{bands.title}: there are no weights for fat bands; compute them with --projections, --group or --function")
    bands = with_length(bands)
    relative = bands.fermi_energy is not None
    zero = bands.fermi_energy or 0.0
    limits = window or default_window([bands])
    weights = {name: _at_levels(bands, name, limits) for name in bands.weights}
    shares = {name: np.clip(w, 0, None) for name, w in weights.items() if name not in bands.signed}
    panels = _panels(bands)
    ratios = [1.0] * len(panels) + [0.5] * (dos is not None)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 2.8 * sum(ratios), 3.2), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)))
        axes[0].set_ylim(*limits)
        for ax, panel in zip(axes, panels, strict=False):
            decorate(ax, bands.path, relative=relative)
            _draw_thin(ax, bands, panel, zero)
            pieces = Pieces(bands, zero, limits, panel.spin)
            if panel.names and panel.names[0] in bands.signed:
                _draw_signed(ax, panel, pieces, weights, _top(bands, panel.names[0], weights))
            elif panel.names:
                _draw_shares(ax, panel, pieces, shares)
            elif len(bands.energies) > 1:
                fit_legend(ax)
        if dos is not None:
            _draw_dos(axes[-1], dos, panels, zero, limits)
        for ax in axes[1:]:
            ax.set_ylabel("")
        for ax in axes[: len(panels)]:
            fit_ticks(ax)
    return axes


def _at_levels(bands: Bands, name: str, limits: tuple[float, float]) -> "FloatArray":
    """A weight as it is drawn: degenerate levels share it, their spectral weights are added."""
    if name == UNFOLDED:
        return average_degenerate(bands.energies, bands.weights[name], within=DEGENERATE, add=True)
    return average_degenerate(bands.energies, bands.weights[name], within=RESOLUTION * (limits[1] - limits[0]))


def _panels(bands: Bands) -> list[Panel]:
    """Partitions, then signed quantities, each for both channels; the bands alone if there are none."""
    shares = {name: w for name, w in bands.weights.items() if name not in bands.signed and name != UNFOLDED}
    groups = split_partitions(shares)
    if UNFOLDED in bands.weights:
        groups.append((UNFOLDED,))
    groups += [(name,) for name in bands.weights if name in bands.signed]
    spins = range(2) if len(bands.energies) > 1 else (None,)
    return [Panel(names, spin) for names in groups for spin in spins] or [Panel()]


def _draw_thin(ax: "Axes", bands: Bands, panel: Panel, zero: float) -> None:
    """All bands as thin lines; not those of a supercell on the path of its primitive cell, most of which belong to another k there."""
    if UNFOLDED in bands.weights:
        return
    coloured = not panel.names and len(bands.energies) > 1
    for spin, energies in enumerate(bands.energies):
        if panel.spin not in (None, spin):
            continue
        for points in bands.path.segments:
            style: dict[str, Any] = {"color": SPIN_COLOURS[spin], "lw": 0.8} if coloured else {"color": "0.7", "lw": 0.4}
            lines = ax.plot(bands.path.distances[points], energies[points] - zero, zorder=1, **style)
            if coloured and points.start == 0:
                lines[0].set_label(SPIN_NAMES[spin])


def _draw_shares(ax: "Axes", panel: Panel, pieces: Pieces, shares: "dict[str, FloatArray]") -> None:
    """One group by widths, two by the colour of their difference, more as stripes; unfolded weights as dots."""
    values = [shares[name] for name in panel.names]
    seen = shares.get(UNFOLDED)
    if panel.names == (UNFOLDED,):
        draw_dots(ax, pieces, values[0], GROUP_COLOURS[1])
        if panel.spin_name:
            fit_legend(ax, panel.spin_name)
    elif len(values) == 2:
        total = values[0] + values[1]
        label = "  ".join(filter(None, [f"{panel.names[0]} − {panel.names[1]}", panel.spin_name]))
        draw_scale(ax, pieces, values[0] - values[1], width=total if seen is None else total * seen, top=1.0, label=label)
    else:
        draw_stripes(ax, pieces, panel.names, values if seen is None else [v * seen for v in values])
        fit_legend(ax, panel.spin_name)


def _draw_signed(ax: "Axes", panel: Panel, pieces: Pieces, weights: "dict[str, FloatArray]", top: float) -> None:
    label = "  ".join(filter(None, [signed_text(panel.names[0]), panel.spin_name]))
    draw_scale(ax, pieces, weights[panel.names[0]], width=weights.get(UNFOLDED), top=top, label=label)


def _top(bands: Bands, name: str, weights: "dict[str, FloatArray]") -> float:
    """End of the scale: 1 for the spin, else one for all functions of the figure, so that a small one does not look large."""
    if name in PAULI:
        return 1.0
    return max(float(np.nanmax(np.abs(weights[n]))) for n in bands.signed if n not in PAULI) or 1.0


def _draw_dos(ax: "Axes", dos: "DOS", panels: list[Panel], zero: float, limits: tuple[float, float]) -> None:
    """The groups of the largest panel that the table knows, in the colours they have there; else all it has."""
    known = [panel.names for panel in panels if panel.names and set(panel.names) < set(dos.names)]
    groups = max(known, key=len, default=dos.names[1:])
    draw_dos(ax, dos, (dos.names[0], *groups), zero=zero, window=limits, vertical=True)
    if known and len(groups) > 2:  # explained at the bands
        for line in ax.lines:
            if line.get_label() in groups:
                line.set_label("_")
    fit_legend(ax)


def signed_text(name: str) -> str:
    """A quantity's name as matplotlib text."""
    return rf"$\langle\sigma_{name[1]}\rangle$" if name in PAULI else name
