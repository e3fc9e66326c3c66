"""Figures of Berry curvatures and Hall conductivities."""

from typing import TYPE_CHECKING, Unpack

import numpy as np

from deeph.files.figures import BLACK, BLUE, GREY, LINE, ORANGE, THIN, figure_of, legend_above, new_figure, styled
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.geometry.allowed import zero_to_rounding
from postprocess.geometry.curvature import Curvature
from postprocess.geometry.hall import HallConductivity
from postprocess.output.look import Look, Reference, choose_zero, rename, set_title
from postprocess.output.plot import DASHES, SPIN_NAMES, decorate, default_window, fit_ticks, plot_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SEEN = 1e-3
"""Components of the curvature below this part of the largest one are not drawn."""
AXES = ("x", "y", "z")
COLOURS = (BLUE, ORANGE, BLACK)
PICTURES = "maps of one band or group are drawn by deeph-contours --map curvature --bands N-M, or h.zone_map"


def plot_curvature(found: Curvature, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw the curvature (``curl``) along a path below the bands.

    Parameters
    ----------
    found : Curvature
        On a path.
    window : (low, high), optional
        Of the bands, eV on the axis of the figure.
    **look
        See :class:`postprocess.output.look.Look`.

    Returns
    -------
    matplotlib axes
        Those of the curvature.

    Raises
    ------
    UsageError
        If the k-points form none, or the look is not possible.
    """
    with styled(look.get("style")):
        return _plot_path(found, window, look)


def _components(found: Curvature) -> list[int]:
    """Those that are seen; the z component if all vanish."""
    largest = np.abs(found.curl).max(axis=(0, 1))
    return np.flatnonzero(largest > max(SEEN * largest.max(), 1e-9)).tolist() or [2]


def _plot_path(found: Curvature, window: tuple[float, float] | None, look: Look) -> "Axes":
    path = found.path
    if path is None:
        raise UsageError(f"these k-points form no path; {PICTURES}")
    bands = Bands(found.energies, path, found.fermi_energy, found.fermi_origin, found.title)
    figure = new_figure(height=9.0, size=look.get("size"))
    top: Axes
    ax: Axes
    top, ax = figure.subplots(2, 1, height_ratios=(3, 2))
    zero = look.get("zero", "fermi")
    plot_bands([bands], window=window or default_window([bands], choose_zero([bands], zero)), ax=top, zero=zero)
    if (legend := top.get_legend()) is not None:
        legend.remove()
    top.set_xticklabels([])
    curves = [(c, spin) for c in _components(found) for spin in range(len(found.curl))]
    both = len(found.curl) > 1
    names = rename([rf"$\Omega_{AXES[c]}$" + f" {SPIN_NAMES[spin]}" * both for c, spin in curves], look)
    for (c, spin), name in zip(curves, names, strict=True):
        for points in path.segments:
            lines = ax.plot(path.distances[points], found.curl[spin, points, c], color=COLOURS[c], lw=LINE, ls=DASHES[spin])
            if points.start == 0:
                lines[0].set_label(name)
    decorate(ax, path, Reference((0.0,), rf"$\Omega$ of {found.what} (Å$^2$)", 0.0))
    figure.align_ylabels()
    set_title(ax, look)
    if len(curves) > 1:
        legend_above(ax)
    fit_ticks([ax])
    return ax


def plot_hall(found: HallConductivity, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw the Hall conductivity against the Fermi level, with how far it is converged, but for components that symmetry makes zero.

    Parameters
    ----------
    found : HallConductivity
        Of several Fermi levels.
    window : (low, high), optional
        Fermi levels, eV on the axis of the figure.
    **look
        See :class:`postprocess.output.look.Look`.

    Raises
    ------
    UsageError
        If there is one Fermi level only, or the look is not possible.
    """
    if len(found.energies) < 2:
        raise UsageError("a figure of the Hall conductivity takes several Fermi levels: give a window")
    absolute = look.get("zero") == "none"
    zero = 0.0 if absolute else found.fermi_energy
    with styled(look.get("style")):
        ax = new_figure(size=look.get("size")).subplots()
        shown = np.flatnonzero(~(found.forbidden & zero_to_rounding(found.sigma))).tolist()
        names = rename([rf"$\sigma_{{{name}}}$" if len(name) == 2 else name for n, name in enumerate(found.components) if n in shown], look)
        for n, name in zip(shown, names, strict=True):
            values, error, colour = found.sigma[:, n], found.errors[:, n], COLOURS[n]
            ax.plot(found.energies - zero, values, color=colour, lw=LINE, label=name)
            ax.fill_between(found.energies - zero, values - error, values + error, color=colour, alpha=0.25, lw=0)
        ax.axvline(found.fermi_energy - zero, color=GREY, lw=THIN, ls=(0, (4, 3)), zorder=0)
        ax.axhline(0.0, color=GREY, lw=THIN, zorder=0)
        ax.set_xlim(*(window or (found.energies[0] - zero, found.energies[-1] - zero)))
        ax.set_xlabel("$E$ (eV)" if absolute else r"$E - E_\mathrm{F}$ (eV)")
        which = f"_{{{found.components[shown[0]]}}}" if len(shown) == 1 else ""
        ax.set_ylabel(rf"$\sigma{which}$ ({'S/cm' if found.unit == 'S/cm' else '$e^2/h$'})")
        set_title(ax, look)
        if len(names) > 1 or look.get("label"):
            legend_above(ax)
        figure_of(ax).draw_without_rendering()
    return ax
