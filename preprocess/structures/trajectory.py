"""Frames of a molecular dynamics run."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.text import numbers
from deeph.physics.system import NUMBERS, FloatArray, System
from deeph.runtime.errors import DataError, UsageError


def parse_slice(text: str) -> slice:
    """A slice from ``START:STOP:STEP``, each of them optional.

    Raises
    ------
    UsageError
        If it is something else or counts from the end.
    """
    parts = text.split(":")
    try:
        values = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or any(v is not None and v < 0 for v in values) or values[2:] == [0]:
        raise UsageError(f"frames {text!r}: expected START:STOP:STEP counted from 0, such as 1000:5000:20 or 1000: (each may be left out)")
    return slice(*values)


def read_frames(path: str | Path, frames: slice, cell: FloatArray | None = None) -> Iterator[tuple[int, System]]:
    """Read frames one by one.

    Parameters
    ----------
    path : path
        What ASE reads (extended xyz, traj, XDATCAR, ...) or an OpenMX ``.md`` file.
    frames : slice
        Which frames, see :func:`parse_slice`.
    cell : (3, 3) array, optional
        Lattice vectors for files that hold none, Angstrom.

    Yields
    ------
    (int, System)
        Number of the frame in the file, and the structure.

    Raises
    ------
    DataError
        If the file cannot be read, has no such frame, or has no cell and none is given.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no trajectory at {path}")
    empty = True
    for n, system in _openmx(path, frames, cell) if path.suffix == ".md" else _ase(path, frames, cell):
        empty = False
        yield n, system
    if empty:
        raise DataError(f"{path} has no frame in {frames.start or 0}:{'' if frames.stop is None else frames.stop}")


def _ase(path: Path, frames: slice, cell: FloatArray | None) -> Iterator[tuple[int, System]]:
    from ase.io import iread

    start, step = frames.start or 0, frames.step or 1
    count = 0
    reader = iread(path, slice(start, frames.stop, step), parallel=False, do_not_split_by_at_sign=True)
    while True:
        try:
            atoms: Any = next(reader)
        except StopIteration:
            return
        except Exception as error:
            raise DataError(f"{path}, frame {start + count * step}: {error or type(error).__name__}; is it complete?") from error
        n = start + count * step
        if atoms.cell.rank < 3:
            atoms.set_cell(_given(cell, path, n))
            atoms.pbc = True
        yield n, System.from_ase(atoms)
        count += 1


def _openmx(path: Path, frames: slice, cell: FloatArray | None) -> Iterator[tuple[int, System]]:
    """Frames of an OpenMX ``.md`` file: number of atoms; time, energy and ``Cell_Vectors=``; symbol, x y z and more for each atom."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for n, (count, line) in enumerate(_headers(file, path)):
            rows = [row.split() for row in islice(file, count)]
            if frames.stop is not None and n >= frames.stop:
                return
            if n < (frames.start or 0) or (n - (frames.start or 0)) % (frames.step or 1):
                continue
            vectors = line.partition("Cell_Vectors=")[2].split()[:9]
            try:
                lattice = numbers(vectors).reshape(3, 3) if vectors else _given(cell, path, n)
                positions = np.array([numbers(row[1:4]) for row in rows])
                elements = np.array([NUMBERS[row[0]] for row in rows])
            except (ValueError, KeyError, IndexError) as error:
                raise DataError(
                    f"{path}, frame {n}: {error}; expected nine Cell_Vectors, and symbol and position of {count} atoms"
                ) from error
            if len(rows) != count:
                raise DataError(f"{path}, frame {n} has {len(rows)} atoms, expected {count}; the file is truncated")
            yield n, System(lattice, positions.reshape(-1, 3), elements)


def _headers(file: Iterator[str], path: Path) -> Iterator[tuple[int, str]]:
    """Number of atoms and comment line of each frame; whoever takes one reads the atoms before the next."""
    for line in file:
        if not line.strip():
            continue
        if not line.strip().isdigit():
            raise DataError(f"{path}: found {line.strip()[:40]!r}, expected a number of atoms; is it an OpenMX .md file?")
        yield int(line), next(file, "")


def _given(cell: FloatArray | None, path: Path, n: int) -> FloatArray:
    if cell is None:
        raise DataError(f"{path}, frame {n} holds no lattice vectors; take them from a structure with --cell FILE")
    return cell
