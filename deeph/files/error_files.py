"""Error bars in a structure folder, beside ``hamiltonian_pred.h5``; both are packed matrix files, :mod:`deeph.files.matrix_file`.

``error_bars.h5`` has one number a block: its blocks are 1 x 1. ``error_modes.h5`` has the modes, the blocks of each as those of H; it is
larger than H by the number of members and one more.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph.files.hdf5 import open_hdf5
from deeph.files.matrix_file import read_matrix, write_matrix
from deeph.physics.blocks import PairBlocks
from deeph.physics.error_bars import ErrorBars
from deeph.physics.pairs import find_pairs
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError

ERROR_BARS, ERROR_MODES = "error_bars.h5", "error_modes.h5"


def write_sigma(folder: Path, pairs: IntArray, sigma: FloatArray) -> None:
    """Write ``error_bars.h5``: standard deviations of the blocks, eV, in single precision."""
    shapes = np.ones((len(pairs), 2), np.int64)
    write_matrix(folder / ERROR_BARS, PairBlocks(pairs, shapes, np.asarray(sigma, np.float32)[None]))


def read_sigma(folder: Path) -> FloatArray | None:
    """The numbers of ``error_bars.h5``, eV, in the order of its blocks; None if there is no such file."""
    path = folder / ERROR_BARS
    if not path.is_file():
        return None
    with open_hdf5(path, "a file of error bars (entries)") as file:
        return np.asarray(file["entries"][:], np.float64)


def write_error_bars(folder: Path, pairs: IntArray, bars: ErrorBars) -> None:
    """Write all files of the error bars."""
    write_sigma(folder, pairs, bars.sigma)
    if bars.modes is not None:
        write_matrix(folder / ERROR_MODES, bars.modes)


def read_error_bars(folder: Path, H: PairBlocks, n_atoms: int, *, modes: bool = False) -> ErrorBars | None:
    """The error bars of a prediction; None if there are none.

    Parameters
    ----------
    folder : Path
        The structure folder.
    H : PairBlocks
        Its predicted H; blocks that the files lack have no error.
    n_atoms : int
        Atoms of the structure.
    modes : bool
        Whether to read the modes, if there are any.

    Raises
    ------
    DataError
        If a file is damaged or belongs to another H.
    """
    if not (folder / ERROR_BARS).is_file():
        return None
    sigma = read_matrix(folder / ERROR_BARS, n_atoms)
    if (sigma.shapes != 1).any() or sigma.n_components != 1 or np.iscomplexobj(sigma.entries):
        raise DataError(f"{folder / ERROR_BARS}: expected one real number a block (chunk_shapes 1 x 1)")
    _check_pairs(folder / ERROR_BARS, sigma.pairs, H)
    bars = ErrorBars(sigma.entries[0].astype(np.float64))
    if modes and (folder / ERROR_MODES).is_file():
        found = read_matrix(folder / ERROR_MODES, n_atoms)
        _check_pairs(folder / ERROR_MODES, found.pairs, H)
        if not np.array_equal(found.pairs, sigma.pairs):
            found = found.on_pattern(sigma.pairs, H.shapes[find_pairs(H.pairs, sigma.pairs)])
        bars = replace(bars, modes=found)
    return bars.on_pattern(sigma.pairs, H.pairs, H.shapes)


def _check_pairs(path: Path, pairs: IntArray, H: PairBlocks) -> None:
    unknown = np.flatnonzero(find_pairs(H.pairs, pairs) < 0)
    if len(unknown):
        R1, R2, R3, i, j = pairs[unknown[0]].tolist()
        raise DataError(f"{path} holds R = {R1} {R2} {R3}, i = {i}, j = {j}, which H lacks: it belongs to another prediction")
