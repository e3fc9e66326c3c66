"""The k-points of a ``.bands`` file as the blocks BandLines and BandPoints of SIESTA's input ask for them."""

from pathlib import Path
from typing import Literal

import numpy as np

from deeph.files.band_files.base import Line, label
from deeph.files.fdf import Fdf, read_fdf_file
from deeph.files.text import count, numbers
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

ROUNDING = 2e-5
"""1/Bohr, relative to the length of the path: digits of the numbers in ``.bands``, and those in which the constants agree."""
Block = Literal["BandLines", "BandPoints"]
Points = tuple[FloatArray, tuple[Line, ...]]
"""(n_k, 3) fractional k-points, and the lines they lie on."""


def find_points(path: Path, block: Block, printed: FloatArray, bohr_cell: FloatArray) -> Points | None:
    """The points of the first fdf file beside a ``.bands`` that fits it; None if there is none with the block.

    Several may hold the block: inputs of other runs, and a file that another includes, which alone need not tell the units.

    Parameters
    ----------
    path : path
        The ``.bands`` file.
    block : "BandLines" or "BandPoints"
        Where the points are.
    printed : (n_k, 1) or (n_k, 3) array
        What the file has in front of the energies: for BandLines the length of the path, through jumps as well, for BandPoints k;
        1/Bohr with 2 pi.
    bohr_cell : (3, 3) array
        Lattice vectors of the run in rows, Bohr.

    Raises
    ------
    DataError
        If no file fits, about the first one.
    """
    unreadable, unfit = [], []
    for name in sorted(path.parent.glob("*.fdf")):
        try:
            fdf = read_fdf_file(name)
        except DataError as error:
            unreadable.append(error)
            continue
        if fdf.block(block):
            try:
                return _fitting_points(path, fdf, block, printed, bohr_cell)
            except DataError as error:
                unfit.append(error)
    if block == "BandLines":  # which cannot do without
        unfit += unreadable
    if unfit:
        raise unfit[0]
    return None


def _fitting_points(path: Path, fdf: Fdf, block: Block, printed: FloatArray, bohr_cell: FloatArray) -> Points:
    """The points of an input, in the reciprocal vectors of the cell, if they are those of the ``.bands`` file."""
    rows = [line.split() for line in fdf.block(block)]
    along = block == "BandLines"
    try:
        sizes = [count(row[0]) if along else 1 for row in rows]
        ends = numbers([word for row in rows for word in (row[1:4] if along else row[:3])]).reshape(len(rows), 3)
    except (ValueError, IndexError) as error:
        raise DataError(f"{fdf.path}: the block {block} is not a list of k points: {error}") from error
    if sum(sizes) != len(printed):
        raise DataError(f"{path} holds {len(printed)} k points, but {fdf.path} asks for {sum(sizes)}: they are of different runs")
    k, lines = _along(ends, sizes, [label(row[4]) if len(row) > 4 else "?" for row in rows]) if along else (ends, ())
    if not fdf.is_value("BandLinesScale", "ReciprocalLatticeVectors"):
        constant = fdf.length("LatticeConstant")
        if constant is None:
            raise DataError(f"{fdf.path}: k points in units of pi/a, but there is no LatticeConstant")
        k = np.asarray(k * np.pi / constant @ bohr_cell.T / (2 * np.pi))
    cartesian = k @ (2 * np.pi * np.linalg.inv(bohr_cell).T)
    steps = np.linalg.norm(np.diff(cartesian, axis=0, prepend=cartesian[:1]), axis=1)
    expected = np.cumsum(steps)[:, None] if along else cartesian
    if not np.abs(expected - printed).max() < ROUNDING * (1 + np.abs(expected).max()):
        raise DataError(f"{path} and the k points in {fdf.path} do not fit together: they are of different runs")
    return k, lines


def _along(ends: FloatArray, sizes: list[int], names: list[str]) -> Points:
    """Points of BandLines, in the units of the block: a row with 1 begins anew, any other gives the points on the way to its own."""
    points, lines, start = [ends[0]] * sizes[0], [], sizes[0] - 1
    for n in range(1, len(ends)):
        points += [ends[n - 1] + (ends[n] - ends[n - 1]) * m / sizes[n] for m in range(1, sizes[n] + 1)]
        if sizes[n] > 1:
            lines.append(Line(start, start + sizes[n] + 1, names[n - 1], names[n]))
        start += sizes[n]
    return np.array(points), tuple(lines)
