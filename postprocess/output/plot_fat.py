"""Figures of fat bands: dots as large as the shares of groups of orbitals, colours for signed quantities, and a panel with the DOS."""

from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.output.plot import COLOURS, STYLE, decorate, fit_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.system import FloatArray
    from postprocess.density.dos import DOS

PAULI = ("sx", "sy", "sz")
LARGEST_DOT = 14.0
"""Area of the dot of a share of 1, square points."""
FAT_COLOURS = ("#c8321e", "#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#0e7490", "#9d174d", "#4a5568")


def plot_fat_bands(bands: Bands, *, window: tuple[float, float] | None = None, dos: "DOS | None" = None) -> "list[Axes]":
    """Draw one band structure and what its states are made of.

    Parameters
    ----------
    bands : Bands
        With ``weights``, or without if a ``dos`` is given.
    window : (low, high), optional
        Energy range in eV, relative to the Fermi level if it is known. By default -3 to 3 eV around it, else all bands.
    dos : DOS, optional
        Drawn in a panel at the right, on the same energy axis.

    Returns
    -------
    list of matplotlib axes
        Of one figure: shares as dots, then a panel for each signed quantity (sx, sy, sz, polarisations), then the DOS.

    Raises
    ------
    UsageError
        If there is nothing to draw beside the bands.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    signed = [name for name in bands.weights if name in bands.signed]
    shares = [name for name in bands.weights if name not in bands.signed]
    if not bands.weights and dos is None:
        raise UsageError(f"{bands.title}: there are no weights for fat bands; compute them with --projections, --group or --function")
    ratios = [1.0] * (bool(shares or not signed) + len(signed)) + [0.45] * (dos is not None)
    relative = bands.fermi_energy is not None
    zero = bands.fermi_energy or 0.0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 2.8 * sum(ratios), 3.2), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)))
        panels = iter(axes)
        for names in ([shares] if shares or not signed else []) + [[name] for name in signed]:
            ax = next(panels)
            decorate(ax, bands.path, relative=relative)
            if names and names[0] in signed:
                _draw_signed(ax, bands, names[0], zero)
            else:
                _draw_shares(ax, bands, names, zero)
        axes[0].set_ylim(*(window or ((-3.0, 3.0) if relative else (float(np.nanmin(bands.energies)), float(np.nanmax(bands.energies))))))
        if dos is not None:
            _draw_dos(axes[-1], dos, zero)
        for ax in axes[1:]:
            ax.set_ylabel("")
        if shares:
            fit_legend(axes[0])
        if dos is not None and len(dos.names) > 1 and list(dos.names[1:]) != shares:  # else the colours are explained already
            fit_legend(axes[-1])
    return axes


def _draw_shares(ax: "Axes", bands: Bands, names: list[str], zero: float) -> None:
    """Thin lines, and dots; of several at one place the smaller one lies on top."""
    for energies in bands.energies:
        for points in bands.path.segments:
            ax.plot(bands.path.distances[points], energies[points] - zero, color="0.6", lw=0.5, zorder=1)
    if not names:
        return
    x = np.broadcast_to(bands.path.distances[None, :, None], bands.energies.shape).ravel()
    y = np.tile((bands.energies - zero).ravel(), len(names))
    size = np.concatenate([np.clip(bands.weights[name].ravel(), 0, None) for name in names])
    colours = [FAT_COLOURS[n % len(FAT_COLOURS)] for n in range(len(names))]
    colour = np.repeat(colours, bands.energies.size)
    shown = np.flatnonzero((size > 0.01) & np.isfinite(y))
    order = shown[np.argsort(-size[shown], kind="stable")]
    ax.scatter(np.tile(x, len(names))[order], y[order], s=LARGEST_DOT * size[order], c=colour[order].tolist(), lw=0, zorder=2)
    for name, one in zip(names, colours, strict=True):
        ax.plot([], [], ls="", marker="o", ms=2.5, mew=0, color=one, label=name)


def _draw_signed(ax: "Axes", bands: Bands, name: str, zero: float) -> None:
    """Lines coloured by a quantity, blue below and red above zero."""
    from matplotlib.collections import LineCollection

    lines, values = [], []
    for energies, weight in zip(bands.energies, bands.weights[name], strict=True):
        for points in bands.path.segments:
            x, y, w = bands.path.distances[points], energies[points].T - zero, weight[points].T
            curve = np.stack([np.broadcast_to(x, y.shape), y], -1)
            lines.append(np.stack([curve[:, :-1], curve[:, 1:]], 2).reshape(-1, 2, 2))
            values.append(((w[:, 1:] + w[:, :-1]) / 2).ravel())
    segments, value = np.concatenate(lines), np.concatenate(values)
    known = np.isfinite(segments).all(axis=(1, 2))
    top = max(float(np.abs(value[known]).max(initial=0.0)), 1e-12)
    collection = LineCollection(list(segments[known]), array=value[known], cmap="coolwarm", clim=(-top, top), lw=1.2)
    ax.add_collection(collection)
    ax.figure.colorbar(collection, ax=ax, location="top", fraction=0.05, pad=0.02, label=signed_text(name))


def signed_text(name: str) -> str:
    """A quantity's name as matplotlib text."""
    return rf"$\langle\sigma_{name[1]}\rangle$" if name in PAULI else name


def _draw_dos(ax: "Axes", dos: "DOS", zero: float) -> None:
    """Total in grey, parts as lines; spin down to the left."""
    energies: FloatArray = dos.energies - zero
    style: dict[str, Any] = {"lw": 0.9}
    for spin, density in enumerate(dos.density):
        side = -1 if spin else 1
        ax.fill_betweenx(energies, side * density[0], color="0.85", lw=0)
        ax.plot(side * density[0], energies, color=COLOURS[0], label=None if spin else dos.names[0], **style)
        for n, (name, part) in enumerate(zip(dos.names[1:], density[1:], strict=True)):
            ax.plot(side * part, energies, color=FAT_COLOURS[n % len(FAT_COLOURS)], label=None if spin else name, **style)
    ax.axhline(0.0, color="0.6", lw=0.6, ls=(0, (4, 3)), zorder=0)
    low, high = ax.get_ylim()
    visible = (energies >= low) & (energies <= high)
    top = float(dos.density[:, 0, visible].max(initial=0.0)) * 1.05 or 1.0
    ax.set_xlim(-top if len(dos.density) > 1 else 0, top)
    ax.set_xlabel("DOS (states/eV)")
