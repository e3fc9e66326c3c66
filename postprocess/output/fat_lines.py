"""Bands whose colours and widths tell what the states are made of."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from postprocess.output.plot import GROUP_COLOURS, MIDDLE, group_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray
    from postprocess.bands.bands import Bands

WIDEST = 4.0
"""Width of a band whose shares add up to 1, points."""
EDGE = 0.8
"""White beside the stripes, so that bands can be told apart where they cross, points."""
THINNEST = 0.2
"""Stripes in the middle of a band that are thinner, points, are not drawn: screens and printers would make them wider."""
LARGEST_DOT = 14.0
"""Area of the dot of a weight of 1, square points."""
SMALLEST = 0.01
"""Shares below are not drawn."""
DEGENERATE = 1e-4
"""Levels closer than this, in eV, are one degenerate level for spectral weights."""
RESOLUTION = 1 / 500
"""Of the height of the figure: of levels that are closer, 0.4 points, the line of one covers that of the other."""
WHOLE = 1e-3
"""How far from 1 the shares of a partition may add up to."""


def split_partitions(shares: "Mapping[str, FloatArray]") -> list[tuple[str, ...]]:
    """Groups in the given order, cut where those before make up the states completely (elements, then shells), or would overlap.

    Parameters
    ----------
    shares : mapping of name to array
        Of each group in each state; NaN where there is no state.
    """
    panels: list[list[str]] = []
    total: FloatArray | float = np.inf
    for name, share in shares.items():
        known = share[np.isfinite(share)]
        whole = bool(np.all(np.abs(total - 1) < WHOLE)) and known.max(initial=0.0) > WHOLE
        if whole or np.mean(total + known) > 1.05:  # single sums beyond 1 are Mulliken's
            panels.append([])
            total = np.zeros_like(known)
        panels[-1].append(name)
        total = total + known
    return [tuple(panel) for panel in panels]


def average_degenerate(energies: "FloatArray", weights: "FloatArray", *, within: float, add: bool = False) -> "FloatArray":
    """Mean (or sum) of weights over degenerate levels at each k: how it is shared among them is up to the eigensolver.

    Of levels that lie on each other in the figure, the last one would else hide the others: opposite spins would look like one spin.

    Parameters
    ----------
    energies, weights : (n_spin, n_k, n_bands) array
        In any order along the bands.
    within : float
        Levels no further apart, eV, belong together.
    add : bool
        The sum instead of the mean, for spectral weights.
    """
    order = np.argsort(energies, axis=-1)
    ascending = np.take_along_axis(energies, order, -1)
    new = np.ones(energies.shape, bool)
    first = ascending[..., 0]
    for n in range(1, energies.shape[-1]):
        new[..., n] = ~(ascending[..., n] - first < within)  # also where there is no level
        first = np.where(new[..., n], ascending[..., n], first)
    level = np.cumsum(new.ravel()) - 1
    sums = np.bincount(level, np.take_along_axis(weights, order, -1).ravel())
    values = sums if add else sums / np.bincount(level)
    out = np.empty_like(weights, float)
    np.put_along_axis(out, order, values[level].reshape(weights.shape), -1)
    return out


class Pieces:
    """Straight pieces of the bands between neighbouring k-points, band by band.

    Parameters
    ----------
    bands : Bands
        Energies and path.
    zero : float
        Subtracted from the energies, eV.
    window : (low, high)
        Energies that are drawn.
    spin : int or None
        One channel, or all.
    """

    def __init__(self, bands: "Bands", zero: float, window: tuple[float, float], spin: int | None) -> None:
        self.channels = slice(None) if spin is None else slice(spin, spin + 1)
        self.distances, self.energies = bands.path.distances, bands.energies[self.channels] - zero
        k = np.arange(len(self.distances))
        self.starts = np.concatenate([k[points][:-1] for points in bands.path.segments])
        y = np.stack([self.energies[:, self.starts], self.energies[:, self.starts + 1]], -1).transpose(0, 2, 1, 3)
        x = np.broadcast_to(np.stack([self.distances[self.starts], self.distances[self.starts + 1]], -1), y.shape)
        self.lines = np.stack([x, y], -1).reshape(-1, len(self.starts), 2, 2)
        """(n_bands, n_pieces, 2, 2) ends as x and y."""
        margin = 0.1 * (window[1] - window[0])
        self.window = (window[0] - margin, window[1] + margin)
        with np.errstate(invalid="ignore"):
            self.visible = (self.lines[..., 1].max(-1) > self.window[0]) & (self.lines[..., 1].min(-1) < self.window[1])

    def means(self, quantity: "FloatArray") -> "FloatArray":
        """(n_bands, n_pieces) mean of the values at both ends, of (n_spin, n_k, n_bands)."""
        q = quantity[self.channels]
        mean = (q[:, self.starts] + q[:, self.starts + 1]) / 2
        return np.asarray(mean.transpose(0, 2, 1).reshape(-1, len(self.starts)))


def draw_stripes(ax: "Axes", pieces: Pieces, names: Sequence[str], shares: "Sequence[FloatArray]") -> None:
    """Each band as stripes side by side, as wide as the shares: the first group in the middle, the next on both sides of it, and so on."""
    from matplotlib.collections import LineCollection

    colours = group_colours(len(names))
    shown = np.array([pieces.means(share) for share in shares])  # (n_groups, n_bands, n_pieces)
    sums = np.cumsum(shown, axis=0)
    # what is drawn later covers what was drawn before: of each band a white edge, the sum of all groups, that of all but the last, ...
    widths = np.concatenate([WIDEST * sums[-1:] + EDGE * (sums[-1:] > SMALLEST), WIDEST * sums[::-1]]).swapaxes(0, 1)
    drawn = (np.concatenate([sums[-1:], shown[::-1]]).swapaxes(0, 1) > SMALLEST) & (widths > THINNEST) & pieces.visible[:, None]
    lines = np.broadcast_to(pieces.lines[:, None], (*drawn.shape, 2, 2))[drawn]
    colour = np.broadcast_to(np.array(["#ffffff", *colours[::-1]])[:, None], drawn.shape)[drawn]
    ax.add_collection(LineCollection(list(lines), linewidths=widths[drawn], colors=colour.tolist(), capstyle="round", zorder=2))
    for name, one in zip(names, colours, strict=True):
        ax.plot([], [], color=one, lw=WIDEST / 2, label=name)


def draw_scale(ax: "Axes", pieces: Pieces, value: "FloatArray", *, width: "FloatArray | None", top: float, label: str) -> None:
    """Bands coloured by a quantity from -top to top, with a colour bar; as wide as a share says, or all alike."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("signed", [GROUP_COLOURS[1], MIDDLE, GROUP_COLOURS[0]])
    values = pieces.means(value)
    widths = np.full(values.shape, 1.5) if width is None else WIDEST / 2 * pieces.means(width)
    drawn = pieces.visible & (widths > SMALLEST) & np.isfinite(values)
    lines = LineCollection(list(pieces.lines[drawn]), array=values[drawn], cmap=colours, clim=(-top, top), zorder=2)
    lines.set(linewidths=widths[drawn], capstyle="round")
    ax.add_collection(lines)
    bar = ax.figure.colorbar(lines, ax=ax, location="top", fraction=0.05, pad=0.02, label=label, ticks=[-top, 0, top])
    bar.outline.set_visible(False)


def draw_dots(ax: "Axes", pieces: Pieces, weight: "FloatArray", colour: str) -> None:
    """A dot for each level, its area the weight."""
    y, w = pieces.energies, weight[pieces.channels]
    x = np.broadcast_to(pieces.distances[None, :, None], y.shape)
    with np.errstate(invalid="ignore"):
        drawn = (w > SMALLEST) & (y > pieces.window[0]) & (y < pieces.window[1])
    ax.scatter(x[drawn], y[drawn], s=LARGEST_DOT * w[drawn], color=colour, lw=0, zorder=2)
