"""Weights of bands as dots: their area is the weight."""

from typing import TYPE_CHECKING

import numpy as np

from deeph.files.figures import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeph.physics.system import FloatArray, IntArray
    from postprocess.lattice.kpath import KPath

LARGEST = 9.0
"""Area of the dot of a weight of 1, square points."""
SMALLEST = 0.01
"""Weights below are not drawn."""
DOTS = 60
"""About so many along a path that has more points: each can be seen, and files of many bands stay small."""
DEGENERATE = 1e-4
"""Levels closer than this, in eV, are one degenerate level for spectral weights."""
TIED = 1e-7
"""Levels closer than this, in eV, are one whatever belongs together, so that no pair is torn apart."""
RESOLUTION = 1 / 500
"""Of the height of the figure: of levels that are closer, the dots of one cover those of the other."""
NEGATIVE, POSITIVE = BLUE, ORANGE


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
        near = (ascending[..., n] - first < within) | (ascending[..., n] - ascending[..., n - 1] < TIED)
        new[..., n] = ~near  # also where there is no level
        first = np.where(new[..., n], ascending[..., n], first)
    level = np.cumsum(new.ravel()) - 1
    sums = np.bincount(level, np.take_along_axis(weights, order, -1).ravel())
    values = sums if add else sums / np.bincount(level)
    out = np.empty_like(weights, float)
    np.put_along_axis(out, order, values[level].reshape(weights.shape), -1)
    return out


def thinned(path: "KPath") -> "IntArray":
    """Points of a path where dots are drawn: both ends of each segment, and as many between them as its length asks for."""
    length = float(path.distances[-1] - path.distances[0]) or 1.0
    points = []
    for segment in path.segments:
        share = float(path.distances[segment.stop - 1] - path.distances[segment.start]) / length
        step = max(1, round((segment.stop - segment.start) / max(1.0, DOTS * share)))  # the same all along
        points.append(np.append(np.arange(segment.start, segment.stop - 1 - step // 2, step), segment.stop - 1))
    return np.unique(np.concatenate(points))


def draw_dots(
    ax: "Axes", path: "KPath", energies: "FloatArray", weight: "FloatArray", *, top: float, window: tuple[float, float], colour: str | None
) -> None:
    """A dot for each level of some channels, its area the absolute weight as part of ``top``.

    Parameters
    ----------
    ax : matplotlib axes
        Where to draw.
    path : KPath
        Of n_k points.
    energies, weight : (n_spin, n_k, n_bands) array
        Energies as on the axis.
    top : float
        The weight of the largest dots.
    window : (low, high)
        Energies that are seen.
    colour : str or None
        None: one for positive and one for negative weights.
    """
    points = thinned(path)
    y, w = energies[:, points], weight[:, points] / top
    x = np.broadcast_to(path.distances[points][None, :, None], y.shape)
    margin = 0.1 * (window[1] - window[0])
    with np.errstate(invalid="ignore"):
        drawn = (np.abs(w) > SMALLEST) & (y > window[0] - margin) & (y < window[1] + margin)
    colours = colour if colour is not None else np.where(w[drawn] > 0, POSITIVE, NEGATIVE).tolist()
    ax.scatter(x[drawn], y[drawn], s=LARGEST * np.abs(w[drawn]), color=colours, lw=0, zorder=2)
