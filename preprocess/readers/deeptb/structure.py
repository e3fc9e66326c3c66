"""The atoms of a DeePTB or dftio folder: text files with all frames below each other, an ASE trajectory, or DeePTB's structure.json."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.text import read_text
from deeph.physics.system import NUMBERS, FloatArray, System
from deeph.runtime.errors import DataError

STRUCTURE = "structure.json"
VACUUM = 20.0
"""Width of the box around a molecule, beyond its extent, Angstrom: the format gives it no cell."""


def read_system(folder: Path, frame: int, n_frames: int) -> System:
    """The atoms of one frame.

    Parameters
    ----------
    folder : path
        Holds cell.dat, positions.dat and atomic_numbers.dat (also without the plural s), or one .traj, or structure.json.
    frame, n_frames : int
        Which frame, counted from 0, of how many.

    Raises
    ------
    DataError
        If a file is missing, or the number of its rows does not fit to the frames.
    """
    if (folder / STRUCTURE).is_file() and not (folder / "cell.dat").is_file():
        return _from_structure(folder / STRUCTURE)
    trajectories = sorted(folder.glob("*.traj"))
    if trajectories:
        return _from_trajectory(trajectories[0], frame, n_frames)
    info = _read_info(folder)
    positions = _frames(_table(folder, "positions.dat", "position.dat"), n_frames, folder)[frame]
    numbers = _table(folder, "atomic_numbers.dat", "atomic_number.dat").reshape(-1)
    numbers = numbers if len(numbers) == len(positions) else _frames(numbers, n_frames, folder)[frame]
    pbc = _read_pbc(folder, info)
    if any(pbc):
        cell = _table(folder, "cell.dat").reshape(-1, 3)
        cell = cell if len(cell) == 3 else _frames(cell, n_frames, folder)[frame]
    else:
        cell = np.diag(np.ptp(positions, axis=0) + VACUUM)
    kind = info.get("pos_type", "cart")
    if kind not in ("cart", "ase", "frac", "dirc"):
        raise DataError(f"{folder}: pos_type {kind!r} in info.json; expected cart, frac or ase")
    try:
        return System(cell, positions @ cell if kind in ("frac", "dirc") else positions, numbers.astype(np.int64), pbc)
    except DataError as error:
        raise DataError(f"{folder} (cell.dat, positions.dat, atomic_numbers.dat): {error}") from error


def read_structure_basis(path: Path) -> dict[str, list[int]]:
    """Shells of each element from structure.json, ``{"Si": ["1s", "2s", "1p"]}``, sorted by l as DeePTB's orbitals are."""
    basis = _section(path, "basis_info").get("basis")
    try:
        words = {symbol: re.findall("[spdfg]", "".join(names)) for symbol, names in basis.items()}  # type: ignore[union-attr]
    except (AttributeError, TypeError) as error:
        raise DataError(f"{path}: basis_info.basis is {basis!r}; expected lists such as {{'Si': ['1s', '2s', '1p']}}: {error}") from error
    return {symbol: sorted("spdfg".index(letter) for letter in found) for symbol, found in words.items()}


def _from_structure(path: Path) -> System:
    section = _section(path, "structure")
    try:
        numbers = np.array([NUMBERS[symbol] for symbol in section["symbols"]])
        a, b, c = (bool(flag) for flag in section.get("pbc", [True] * 3))
        cell, positions = (np.array(section[key], float) for key in ("cell", "positions"))
        if not (a or b or c):
            cell = np.diag(np.ptp(positions, axis=0) + VACUUM)
        return System(cell, positions, numbers, (a, b, c))
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(f"{path}: structure holds no symbols, cell, positions and pbc of atoms: {error}") from error


def _section(path: Path, name: str) -> dict[str, Any]:
    """One part of structure.json."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not readable JSON with the section {name!r}: {error!r}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: the section {name!r} is no table of names and values")
    return found


def _frames(table: FloatArray, n_frames: int, folder: Path) -> FloatArray:
    if len(table) % n_frames:
        raise DataError(
            f"{folder}: {len(table)} rows of positions, numbers or cell vectors do not fit to {n_frames} frames in the matrices"
        )
    return table.reshape(n_frames, -1, *table.shape[1:])


def _table(folder: Path, *names: str) -> FloatArray:
    """Numbers of a text file, one row a line."""
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    try:
        return np.asarray(np.loadtxt(path, ndmin=2 if "position" in path.name else 1))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a table of numbers: {error}") from error


def _read_info(folder: Path) -> dict[str, Any]:
    """info.json of the folder or of the data set above it; {} if there is none."""
    for path in (folder / "info.json", folder.parent / "info.json"):
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise DataError(f"{path} is not readable JSON: {error}") from error
            return found if isinstance(found, dict) else {}
    return {}


def _read_pbc(folder: Path, info: dict[str, Any]) -> tuple[bool, bool, bool]:
    """Periodic directions from pbc.dat or info.json; all if neither tells."""
    path = folder / "pbc.dat"
    words = read_text(path).replace(",", " ").strip("[]\n ").split() if path.is_file() else info.get("pbc", [True] * 3)
    words = [words] * 3 if isinstance(words, bool) else words
    try:
        found = [word if isinstance(word, bool) else str(word) == "True" or (str(word) != "False" and float(word) != 0) for word in words]
        a, b, c = found
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} (or pbc in info.json): expected three of True and False, found {words}: {error}") from error
    return a, b, c


def _from_trajectory(path: Path, frame: int, n_frames: int) -> System:
    from ase.io import read

    try:
        atoms = read(path, ":", "traj", parallel=False, do_not_split_by_at_sign=True)
    except Exception as error:
        raise DataError(f"{path} could not be read as an ASE trajectory: {error}") from error
    if len(atoms) != n_frames:
        raise DataError(f"{path} has {len(atoms)} frames, the matrices {n_frames}")
    if not atoms[frame].pbc.any():
        atoms[frame].cell = np.diag(np.ptp(atoms[frame].positions, axis=0) + VACUUM)
    return System.from_ase(atoms[frame])
