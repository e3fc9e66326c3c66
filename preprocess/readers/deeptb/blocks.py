"""The matrix files of DeePTB and dftio: a group for each frame, in it a dataset ``i_j_R1_R2_R3`` for each block."""

import re
from pathlib import Path

import h5py
import numpy as np

from deeph.files.hdf5 import open_hdf5
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.system import System
from deeph.runtime.errors import DataError

CONTENT = "a complete matrix file of DeePTB with the groups 0, 1, ... for the frames"
FRAME = re.compile(r"\d{1,9}")
BLOCK = re.compile(r"(-?\d{1,9})_(-?\d{1,9})_(-?\d{1,9})_(-?\d{1,9})_(-?\d{1,9})")


def frame_names(path: Path) -> list[str]:
    """Names of the groups, in the order of the frames; they are counted from 0, in older files from 1.

    Raises
    ------
    DataError
        If the file is damaged or its groups are no frames.
    """
    with open_hdf5(path, CONTENT) as file:
        names = [name for name in file if isinstance(file[name], h5py.Group)]
    names = sorted(names, key=int) if all(FRAME.fullmatch(name) for name in names) else names
    if not names or not FRAME.fullmatch(names[0]) or [int(name) - int(names[0]) for name in names] != list(range(len(names))):
        raise DataError(f"{path}: expected the groups 0, 1, ... for the frames, found {', '.join(names[:5]) or 'none'}")
    return names


def read_blocks(path: Path, frame: int, system: System, basis: Basis) -> tuple[PairBlocks, bool]:
    """All blocks of one frame in double precision, and whether they have spin (2n x 2n).

    Parameters
    ----------
    path : path
        The matrix file.
    frame : int
        Counted from 0.
    system, basis : System, Basis
        The atoms, and the shells without spin.

    Raises
    ------
    DataError
        If the file is damaged, or a block is not of the shape that the basis asks for.
    """
    name = frame_names(path)[frame]
    with open_hdf5(path, CONTENT) as file:
        group = file[name]
        blocks = {key: np.asarray(group[key][()]) for key in group}
    matches = [BLOCK.fullmatch(key) for key in blocks]
    if None in matches:
        wrong = list(blocks)[matches.index(None)]
        raise DataError(f"{path}: frame {frame} has a dataset {wrong[:40]!r}; expected names i_j_R1_R2_R3")
    keys = np.array([match.groups() for match in matches if match], np.int64)
    if not len(keys):
        raise DataError(f"{path}: frame {frame} has no blocks")
    order = np.lexsort(keys.T[[1, 0, 4, 3, 2]])
    pairs = keys[order][:, [2, 3, 4, 0, 1]]
    pairs[:, 3:] -= 0 if pairs[:, 3:].min() == 0 else 1  # older dftio counts the atoms from 1
    if pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= system.n_atoms:
        raise DataError(f"{path}: atoms up to {keys[:, :2].max()}, but the structure has {system.n_atoms}")
    if len(np.unique(pairs, axis=0)) != len(pairs):
        raise DataError(f"{path}: frame {frame} has two datasets for one block")
    values = list(blocks.values())
    sorted_blocks = [values[n] for n in order.tolist()]
    n = basis.n_orbitals(system.numbers)
    shapes = np.stack([n[pairs[:, 3]], n[pairs[:, 4]]], axis=1)
    spin = sorted_blocks[0].shape == tuple(2 * shapes[0])
    shapes = 2 * shapes if spin else shapes
    for pair, shape, block in zip(pairs.tolist(), shapes.tolist(), sorted_blocks, strict=True):
        if list(block.shape) != shape or block.dtype.kind not in ("fc" if spin else "f") or not np.isfinite(block).all():
            R1, R2, R3, i, j = pair
            raise DataError(
                f"{path}: block {i}_{j}_{R1}_{R2}_{R3} of shape {list(block.shape)} and type {block.dtype} is not finite, or is not of the "
                f"shape {shape} that the basis {basis.to_symbols()} asks for, {'complex or ' if spin else ''}real"
            )
    entries = np.concatenate([block.reshape(-1) for block in sorted_blocks])
    return PairBlocks(pairs, shapes, entries.astype(np.complex128 if spin else np.float64)), spin
