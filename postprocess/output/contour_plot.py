"""Figures of contours of constant energy and of maps, in the Brillouin zone."""

from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from deeph.files.figures import BLACK, COLOURS, LINE, THIN, figure_of, legend_above, new_figure, styled
from deeph.runtime.errors import UsageError
from postprocess.contours.maps import ZoneMap
from postprocess.contours.plane import KPlane
from postprocess.contours.quantities import NOTHING
from postprocess.contours.result import Contour, Contours
from postprocess.output.look import Look, rename, set_title
from postprocess.output.plot import SPIN_NAMES, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

    from deeph.physics.system import FloatArray

HEIGHT = 6.5
"""cm."""
MARGIN = 0.12
"""Around the zone, as part of its width."""
NAME = 8.0
"""Points from a special point to its name."""
ZONE = "0.35"
"""Its edge, which is no contour."""
COVERED = 0.004
"""Lines of two bands that are nowhere farther apart, as part of the width of the zone, are seen as one."""
DASH = 0.05
"""Length of the dashes of the second of them, as part of the width of the zone."""
SIGNED_MAP, ENERGY_MAP = "RdBu_r", "viridis"
ARROWS = 16
"""About so many across the zone."""
ARROW = 0.06
"""Length of the arrow of a spin that lies in the plane, as part of the width of the figure."""
LABELS = {"energy": r"$E - E_\mathrm{F}$ (eV)", "curvature": r"$\Omega$ (Å$^2$)", "band": ""}
LABELS |= {f"spin-{x}": rf"$\langle\sigma_{x}\rangle$" for x in "xyz"}
COLOURINGS = ("band", *(name for name in LABELS if name != "band"))


def plot_contours(
    found: Contours, *, colour: str = "", arrows: bool = False, background: ZoneMap | None = None, **look: Unpack[Look]
) -> "Axes":
    """Draw contours in the zone, with those of the neighbouring periods that reach into the figure.

    Parameters
    ----------
    found : Contours
        With curvature and spin where they are drawn.
    colour : str
        What colours tell: "band", "energy", "curvature", "spin-x", "spin-y" or "spin-z"; by default bands if there is one energy, else
        energies.
    arrows : bool
        Draw the spin in the plane as arrows.
    background : ZoneMap, optional
        Drawn behind the contours.
    **look
        See :class:`postprocess.output.look.Look`.

    Raises
    ------
    UsageError
        If the colouring is unknown, or what it shows was not computed.
    """
    colour = colour or ("band" if len(found.energies) == 1 or background is not None else "energy")
    if colour not in COLOURINGS:
        raise UsageError(f"colour {colour!r}: expected one of {', '.join(COLOURINGS)}")
    missing = [name for name, wanted, have in _needs(found, colour, arrows=arrows) if wanted and not have]
    if missing:
        raise UsageError(f"these contours have no {missing[0]}: compute it for them")
    with styled(look.get("style")):
        ax = _new_axes(found.plane, look)
        if background is not None:
            _draw_map(ax, background)
        if colour == "band":
            _by_band(ax, found, look)
        else:
            _by_value(ax, found, colour)
        if arrows:
            for line in found.lines:
                _arrows_on_line(ax, found.plane, line)
        _finish(ax, found.plane, look)
        if colour == "band" and len(_bands(found)) > 1:
            legend_above(ax)
    return ax


def _needs(found: Contours, colour: str, *, arrows: bool) -> list[tuple[str, bool, bool]]:
    has_spin = all(line.spins is not None for line in found.lines)
    has_curvature = all(line.curvature is not None for line in found.lines)
    return [("spin", arrows or colour.startswith("spin"), has_spin), ("curvature", colour == "curvature", has_curvature)]


def plot_map(found: ZoneMap, *, arrows: bool = False, **look: Unpack[Look]) -> "Axes":
    """Draw a map in the zone; ``arrows``: with the spin in the plane."""
    if arrows and found.spins is None:
        raise UsageError("this map has no spin: compute it with arrows")
    with styled(look.get("style")):
        ax = _new_axes(found.plane, look)
        _draw_map(ax, found)
        if arrows:
            _arrows_on_mesh(ax, found)
        _finish(ax, found.plane, look)
    return ax


def _new_axes(plane: KPlane, look: Look) -> "Axes":
    ax: Axes = new_figure(height=HEIGHT, size=look.get("size")).subplots()
    ax.set_aspect("equal")
    corners = plane.zone if len(plane.zone) else plane.cartesian(np.array([[-0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0.5, -0.5]]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = MARGIN * float((high - low).max())
    ax.set_xlim(low[0] - room, high[0] + room)
    ax.set_ylim(low[1] - room, high[1] + room)
    ax.set_xlabel(f"{plane.names[0]} (1/Å)")
    ax.set_ylabel(f"{plane.names[1]} (1/Å)")
    return ax


def _finish(ax: "Axes", plane: KPlane, look: Look) -> None:
    """The zone, its special points by name, the title."""
    from matplotlib.patheffects import withStroke

    if len(plane.zone):
        ax.plot(*np.vstack([plane.zone, plane.zone[:1]]).T, color=ZONE, lw=THIN, zorder=4)
    for name, place in plane.points.items():
        ax.plot(*place, ".", color=BLACK, ms=3, zorder=5)
        away = float(np.linalg.norm(place))
        offset = NAME * (place / away if away > 1e-9 else np.ones(2) / np.sqrt(2))  # outwards, where no edge of the zone is
        text = ax.annotate(
            tick_text(name), (float(place[0]), float(place[1])), (float(offset[0]), float(offset[1])), textcoords="offset points",
            ha="center", va="center", zorder=6,
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    set_title(ax, look)
    figure_of(ax).draw_without_rendering()


def _bands(found: Contours) -> list[tuple[int, int]]:
    return sorted({(line.spin, line.band) for line in found.lines})


def _pieces(ax: "Axes", plane: KPlane, line: Contour) -> "list[FloatArray]":
    """The line and its images under the periods of the plane that are seen in the axes."""
    points = line.xy
    if line.closed:
        points = np.vstack([points, points[:1]])
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    out = []
    inverse = np.linalg.inv(plane.basis)
    first = np.floor(points @ inverse).min(axis=0).astype(int) * -1
    for a in range(first[0] - 3, first[0] + 4):
        for b in range(first[1] - 3, first[1] + 4):
            moved = points + np.array([a, b]) @ plane.basis
            x, y = moved.T
            if x.max() > x0 and x.min() < x1 and y.max() > y0 and y.min() < y1:
                out.append(moved)
    return out


def _width(plane: KPlane) -> float:
    return float(np.ptp(plane.zone[:, 0])) if len(plane.zone) else float(np.linalg.norm(plane.basis[0]))


def _covering(found: Contours) -> set[int]:
    """The identities of lines that lie on one of another band, as both spins do where levels are degenerate: they are drawn as dashes."""
    from scipy.spatial import cKDTree

    out: set[int] = set()
    limit = COVERED * _width(found.plane)
    inverse = np.linalg.inv(found.plane.basis)
    places = [_dense(line, limit) for line in found.lines]
    for n, line in enumerate(found.lines):
        for m, other in enumerate(found.lines[:n]):
            if (line.spin, line.band) == (other.spin, other.band) or id(other) in out or line.energy != other.energy:
                continue
            shift = np.rint((places[m].mean(axis=0) - places[n].mean(axis=0)) @ inverse) @ found.plane.basis
            if cKDTree(places[m]).query(places[n] + shift)[0].max() < 2 * limit:
                out.add(id(line))
    return out


def _dense(line: Contour, spacing: float) -> "FloatArray":
    """(n, 2) points of a line that are no farther apart than the spacing."""
    points = np.vstack([line.xy, line.xy[:1]]) if line.closed else line.xy
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0.0, length[-1], max(2, int(np.ceil(length[-1] / spacing)) + 1))
    return np.column_stack([np.interp(at, length, x) for x in points.T])


def _dashes(points: "FloatArray", length: float) -> Any:
    """(n - 1,) which segments of a line (n, 2) lie in its dashes: as many whole ones as there is room for."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    middle = np.cumsum(steps) - steps / 2
    number = max(1, round(float(steps.sum()) / (2 * length)))
    return (middle / max(float(steps.sum()), 1e-300) * number) % 1 < 0.5


def _by_band(ax: "Axes", found: Contours, look: Look) -> None:
    bands, covering = _bands(found), _covering(found)
    both = found.filled.shape[1] > 1
    names = rename([f"band {band + 1}" + f" {SPIN_NAMES[spin]}" * both for spin, band in bands], look)
    dashes = ("-", (0, (4, 1.5)), (0, (1, 1)))
    for number, (spin, band) in enumerate(bands):
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "lw": LINE, "ls": dashes[number // len(COLOURS) % 3], "zorder": 3}
        lines = [line for line in found.lines if (line.spin, line.band) == (spin, band)]
        pieces = [(piece, line) for line in lines for piece in _pieces(ax, found.plane, line)]
        for n, (piece, line) in enumerate(pieces):
            ls = {"ls": (0, (5, 5))} if id(line) in covering else {}
            ax.plot(*piece.T, label=names[number] if n == 0 else None, **style | ls)


def _by_value(ax: "Axes", found: Contours, colour: str) -> None:
    """Lines whose colour changes along them, or from energy to energy, with a bar that tells which."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    values = [_value(found, line, colour) for line in found.lines]
    every = np.concatenate(values)
    top = _top(colour, every)
    if colour == "energy":
        norm, cmap = Normalize(float(every.min()), float(every.max())), ENERGY_MAP
    else:
        norm, cmap = Normalize(-top, top), SIGNED_MAP
        ax.set_facecolor("0.92")  # on which the white of zero is seen
    covering, width = _covering(found), _width(found.plane)
    for line, value in zip(found.lines, values, strict=True):
        ends = np.append(value, value[:1]) if line.closed else value
        middle = (ends[1:] + ends[:-1]) / 2
        for piece in _pieces(ax, found.plane, line):
            segments = np.stack([piece[:-1], piece[1:]], axis=1)
            shown = _dashes(piece, DASH * width) if id(line) in covering else np.ones(len(segments), bool)
            lines = LineCollection(
                list(segments[shown]), array=middle[shown], cmap=cmap, norm=norm, linewidths=1.6 * LINE, capstyle="round", zorder=3
            )
            ax.add_collection(lines, autolim=False)
    _bar(ax, ScalarMappable(norm, cmap), LABELS[colour] if found.fermi is not None or colour != "energy" else "$E$ (eV)")


def _bar(ax: "Axes", what: "ScalarMappable", label: str) -> None:
    figure_of(ax).colorbar(what, cax=ax.inset_axes((1.03, 0, 0.045, 1)), label=label)  # as tall as the axes


def _top(what: str, values: "FloatArray") -> float:
    """Where the colours of a quantity with a sign end: spins at 1, so that a small one looks small."""
    largest = float(np.abs(values).max())
    return largest if what == "curvature" and largest > NOTHING[what] else 1.0


def _value(found: Contours, line: Contour, colour: str) -> "FloatArray":
    if colour == "energy":
        return np.full(len(line.k), line.energy - found.zero)
    if colour == "curvature":
        return cast("FloatArray", line.curvature)
    return cast("FloatArray", line.spins)[:, "xyz".index(colour[-1])]


def _draw_map(ax: "Axes", found: ZoneMap) -> None:
    """The values at the points of the mesh, and between them what triangles give, in all periods that are seen."""
    n, plane = found.values.shape, found.plane
    places = [np.arange(-2 * m, 2 * m + 1) for m in n]
    k = plane.cartesian(np.stack(np.meshgrid(*[p / m for p, m in zip(places, n, strict=True)], indexing="ij"), axis=-1))
    values = found.values[np.ix_(places[0] % n[0], places[1] % n[1])]
    energy, top = found.what == "energy", _top(found.what, found.values)
    limits = (float(found.values.min()), float(found.values.max())) if energy else (-top, top)
    cmap = ENERGY_MAP if energy else SIGNED_MAP
    style: dict[str, Any] = {"cmap": cmap, "vmin": limits[0], "vmax": limits[1], "shading": "gouraud", "rasterized": True}
    mesh = ax.pcolormesh(k[..., 0], k[..., 1], values, **style)
    label = LABELS[found.what].replace(" (", f" of {found.band_text} (") if found.what == "curvature" else LABELS[found.what]
    _bar(ax, mesh, label if found.fermi is not None or not energy else "$E$ (eV)")


def _arrows_on_line(ax: "Axes", plane: KPlane, line: Contour) -> None:
    """Spins at places as far apart along the line, in the zone."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line.xy, axis=0), axis=1))])
    n = int(np.clip(length[-1] / _width(plane) * ARROWS, 4, 4 * ARROWS))
    which = np.unique(np.searchsorted(length, np.arange(n) / n * length[-1]))
    spins = cast("FloatArray", line.spins)[which] @ plane.axes.T
    for piece in _pieces(ax, plane, line):
        _arrows(ax, piece[which], spins)


def _arrows_on_mesh(ax: "Axes", found: ZoneMap) -> None:
    n, plane = np.array(found.values.shape), found.plane
    step = np.maximum(1, n // ARROWS)
    places = [np.arange(0, m, s) for m, s in zip(n, step, strict=True)]
    spins = cast("FloatArray", found.spins)[np.ix_(*places)].reshape(-1, 3) @ plane.axes.T
    xy = np.stack(np.meshgrid(*[p / m for p, m in zip(places, n, strict=True)], indexing="ij"), axis=-1).reshape(-1, 2)
    for a in range(-2, 2):
        for b in range(-2, 2):
            _arrows(ax, plane.cartesian(xy + np.array([a, b])), spins)


def _arrows(ax: "Axes", places: "FloatArray", spins: "FloatArray") -> None:
    """Arrows of the length of the spin in the plane, as long as the figure can show them."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    x, y = places.T
    seen = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    scale = (x1 - x0) * ARROW
    ax.quiver(
        x[seen], y[seen], *(spins[seen] * scale).T, angles="xy", scale_units="xy", scale=1, pivot="middle", width=0.004, headwidth=4,
        headlength=4.5, headaxislength=4, color=BLACK, zorder=5,
    )  # fmt: skip
