"""The matrix files of DeePTB and dftio: a group for each frame, in it a dataset ``i_j_R1_R2_R3`` for each block."""

from pathlib import Path

import h5py
import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.system import System
from deeph.runtime.errors import DataError

DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


def frame_names(path: Path) -> list[str]:
    """Names of the groups, in the order of the frames; they are counted from 0, in older files from 1.

    Raises
    ------
    DataError
        If the file is damaged or its groups are no frames.
    """
    try:
        with h5py.File(path, "r") as file:
            names = sorted((name for name in file if isinstance(file[name], h5py.Group)), key=int)
    except DAMAGED as error:
        raise DataError(f"{path} is not a matrix file of DeePTB with the groups 0, 1, ...: {error}") from error
    if not names or [int(name) - int(names[0]) for name in names] != list(range(len(names))):
        raise DataError(f"{path}: expected the groups 0, 1, ... for the frames, found {', '.join(names) or 'none'}")
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
    try:
        with h5py.File(path, "r") as file:
            group = file[name]
            blocks = {key: group[key][()] for key in group}
        keys = np.array([[int(x) for x in key.split("_")] for key in blocks], np.int64).reshape(-1, 5)
    except DAMAGED as error:
        raise DataError(f"{path}: frame {frame} is not complete, or a dataset is not named i_j_R1_R2_R3: {error}") from error
    if not len(keys):
        raise DataError(f"{path}: frame {frame} has no blocks")
    order = np.lexsort(keys.T[[1, 0, 4, 3, 2]])
    pairs = keys[order][:, [2, 3, 4, 0, 1]]
    pairs[:, 3:] -= 0 if pairs[:, 3:].min() == 0 else 1  # older dftio counts the atoms from 1
    if pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= system.n_atoms:
        raise DataError(f"{path}: atoms up to {keys[:, :2].max()}, but the structure has {system.n_atoms}")
    sorted_blocks = [list(blocks.values())[n] for n in order.tolist()]
    n = basis.n_orbitals(system.numbers)
    shapes = np.stack([n[pairs[:, 3]], n[pairs[:, 4]]], axis=1)
    spin = sorted_blocks[0].shape == tuple(2 * shapes[0])
    shapes = 2 * shapes if spin else shapes
    for pair, shape, block in zip(pairs.tolist(), shapes.tolist(), sorted_blocks, strict=True):
        if list(np.shape(block)) != shape or not np.isfinite(block).all():
            R1, R2, R3, i, j = pair
            raise DataError(
                f"{path}: block {i}_{j}_{R1}_{R2}_{R3} of shape {list(np.shape(block))} is not finite or not of the shape {shape} that "
                f"the basis {basis.to_symbols()} asks for"
            )
    entries = np.concatenate([block.reshape(-1) for block in sorted_blocks])
    return PairBlocks(pairs, shapes, entries.astype(np.complex128 if spin else np.float64)), spin
