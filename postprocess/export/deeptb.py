"""DeePTB: the folder that ``dftio parse`` makes and DeePTB trains on, with S; shells sorted by l, as ``2s2p1d`` says them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from deeph.files.hdf5 import new_hdf5
from deeph.physics.basis import LETTERS
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from postprocess.export.layout import shared_target_orders


def write(folder: Path, h: Hamiltonian) -> None:
    """Write the files into a folder that exists; blocks of both directions, double precision, spinors [[uu, ud], [du, dd]]."""
    system, basis = h.system, h.basis
    np.savetxt(folder / "cell.dat", system.cell, fmt="%.17g")
    np.savetxt(folder / "positions.dat", system.positions, fmt="%.17g")
    np.savetxt(folder / "atomic_numbers.dat", system.numbers, fmt="%d")
    (folder / "pbc.dat").write_text("".join(f"{flag}\n" for flag in system.pbc), encoding="utf-8")
    info = {"nframes": 1, "natoms": system.n_atoms, "pos_type": "cart", "pbc": list(system.pbc)}
    (folder / "info.json").write_text(json.dumps(info) + "\n", encoding="utf-8")
    counts = {symbol: sorted(Counter(shells).items()) for symbol, shells in basis.to_symbols().items()}
    names = {symbol: "".join(f"{n}{LETTERS[l]}" for l, n in found) for symbol, found in counts.items()}
    (folder / "basis.dat").write_text(str(names), encoding="utf-8")
    orders, signs = shared_target_orders(h, "deeptb")
    for name, blocks, factor in (("hamiltonians.h5", h.hamiltonian, basis.spin_factor), ("overlaps.h5", h.S, 1)):
        _write_blocks(folder / name, blocks.reordered(system.numbers, orders, factor, signs))


def _write_blocks(path: Path, blocks: PairBlocks) -> None:
    """One group, frame 0, and in it a dataset i_j_R1_R2_R3 for each block."""
    starts, stops = blocks.offsets[:-1].tolist(), blocks.offsets[1:].tolist()
    with new_hdf5(path) as file:
        group = file.create_group("0")
        for (R1, R2, R3, i, j), shape, start, stop in zip(blocks.pairs.tolist(), blocks.shapes.tolist(), starts, stops, strict=True):
            group[f"{i}_{j}_{R1}_{R2}_{R3}"] = blocks.entries[0, start:stop].reshape(shape)
