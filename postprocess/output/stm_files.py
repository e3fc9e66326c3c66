"""Images of tunnelling microscopes as figures and tables."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from deeph.files.figures import figure_of, new_figure, styled
from deeph.files.folders import new_file
from postprocess.density.local import ELECTRONS
from postprocess.density.stm import Image
from postprocess.output import records
from postprocess.output.berry_tables import SUFFIXES, check_suffix
from postprocess.output.look import Look, set_title
from postprocess.output.records import write_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 12.0
"""Angstrom that a figure shows at least."""
MAP = "afmhot"
ATOM_MARKS = "o^sDv"
TABLES = SUFFIXES
"""Names of tables."""


def plot_image(found: Image, **look: Unpack[Look]) -> "Axes":
    """Draw an image, repeated until it is some cells wide, with the outermost atoms and the cell.

    Parameters
    ----------
    found : Image
        See :mod:`postprocess.density.stm`.
    **look
        See :class:`postprocess.output.look.Look`.
    """
    with styled(look.get("style")):
        ax: Axes = new_figure(height=7.0, size=look.get("size")).subplots()
        repeat = np.maximum(2, np.ceil(1.6 * WIDTH / np.linalg.norm(found.cell, axis=1))).astype(int)
        n = np.array(found.values.shape)
        edges = [(np.arange(r * m + 1) - 0.5) / m for r, m in zip(repeat, n, strict=True)]
        xy = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1) @ found.cell
        power = 0 if found.mode == "current" else int(np.floor(np.log10(max(float(found.values.max()), 1e-300))))
        mesh = ax.pcolormesh(xy[..., 0], xy[..., 1], np.tile(found.values, repeat) / 10.0**power, cmap=MAP, rasterized=True)
        unit = "Å$^{-3}$" if found.density_unit == ELECTRONS else "eV$^{-1}$ Å$^{-3}$"
        label = "height (Å)" if found.mode == "current" else rf"density ($10^{{{power}}}$ {unit})"
        figure_of(ax).colorbar(mesh, cax=ax.inset_axes((1.03, 0, 0.045, 1)), label=label)
        _limits(ax, found, repeat)
        _atoms(ax, found, repeat)
        ax.set_aspect("equal")
        ax.set_xlabel("$x$ (Å)")
        ax.set_ylabel("$y$ (Å)")
        set_title(ax, look)
        figure_of(ax).draw_without_rendering()
    return ax


def _limits(ax: "Axes", found: Image, repeat: Any) -> None:
    """A square in the middle that the repeated cells fill, at most :data:`WIDTH` or a cell wide."""
    a, b = found.cell * repeat[:, None]
    middle = (a + b) / 2
    height = abs(float(np.linalg.det([a, b])))
    room = min(height / float(np.linalg.norm(a)), height / float(np.linalg.norm(b))) / np.sqrt(2)
    half = min(room, max(WIDTH, 1.2 * float(np.linalg.norm(found.cell, axis=1).max()))) / 2
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)


def _atoms(ax: "Axes", found: Image, repeat: Any) -> None:
    """Outermost atoms as marks with a legend, and one cell."""
    shifts = np.stack(np.meshgrid(*[np.arange(-1, r + 1) for r in repeat], indexing="ij"), axis=-1).reshape(-1, 2) @ found.cell
    for mark, symbol in zip(ATOM_MARKS, dict.fromkeys(found.symbols), strict=False):
        own = found.atoms[[s == symbol for s in found.symbols]]
        places = (own[:, None] + shifts).reshape(-1, 2)
        ax.plot(*places.T, ls="", marker=mark, ms=3, mfc="none", mec="#56B4E9", mew=0.8, label=symbol)
    corner = np.rint((repeat - 1) / 2) @ found.cell
    outline = corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ found.cell
    ax.plot(*outline.T, color="#56B4E9", lw=0.6)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, borderaxespad=0.2)


def write_image(path: Path, found: Image) -> None:
    """Write an image; the suffix tells the format.

    A ``.csv`` has a row per point: x, y (Angstrom) and the height (Angstrom) or density, in the unit that its first line tells. ``.h5`` and
    ``.json`` hold ``values`` (n1, n2), at (i/n1) a + (j/n2) b of ``cell``, the setting, the unit of densities, and the outermost atoms.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "images")
    what = "height" if found.mode == "current" else "density"
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            record = {
                name: getattr(found, name) for name in ("values", "mode", "setting", "density_unit", "cell", "atoms", "what", "title")
            }
            write_record(temporary, record | {"symbols": list(found.symbols)})
            return
        n = found.values.shape
        xy = np.stack(np.meshgrid(np.arange(n[0]) / n[0], np.arange(n[1]) / n[1], indexing="ij"), axis=-1) @ found.cell
        with temporary.open("w", newline="", encoding="utf-8") as file:
            unit = "Angstrom" if what == "height" else found.density_unit
            file.write(f"# {found.title}: {what} ({unit}) at constant {found.mode} {found.setting:.6g}, {found.what}\n")
            writer = csv.writer(file)
            writer.writerow(["x", "y", what])
            rows = np.concatenate([xy, found.values[..., None]], axis=-1).reshape(-1, 3)
            writer.writerows([f"{x:.8g}" for x in row] for row in rows.tolist())
