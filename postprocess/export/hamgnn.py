"""HamGNN: ``graph_data.npz`` with one graph, in atomic units and single precision, the orbitals padded to 14, 19 or 26 an atom.

The places of an atom are three s, two p, one d (14), a second d (19) and an f (26) in OpenMX's order; shells fill them from the first one.
HamGNN itself takes which of them an element has from its own tables, so the basis must be OpenMX's standard one of the element there.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import IntArray
from deeph.physics.units import OPENMX
from deeph.runtime.errors import UsageError
from postprocess.export.layout import Array, shared_target_orders, sound

PLACES = {14: (0, 0, 0, 1, 1, 2), 19: (0, 0, 0, 1, 1, 2, 2), 26: (0, 0, 0, 1, 1, 2, 2, 3)}
"""Shells of an atom with so many places."""


def write(path: Path, h: Hamiltonian) -> None:
    """Write the file; a zeroth-order Hamiltonian is written where the structure has one.

    Raises
    ------
    UsageError
        If an element has more shells than there are places.
    """
    import torch
    from torch_geometric.data import Data

    h = sound(h)
    width, slots = _slots(h)
    onsite = np.flatnonzero(is_onsite(h.S.pairs))
    onsite = onsite[np.argsort(h.S.pairs[onsite, 3])]
    edges = np.flatnonzero(~is_onsite(h.S.pairs))
    pairs = h.S.pairs[edges]
    place = np.full(h.S.n_pairs, -1)
    place[edges] = np.arange(len(edges))
    numbers = {
        "cell": h.system.cell[None] / OPENMX.bohr, "pos": h.system.positions / OPENMX.bohr,
        "nbr_shift": pairs[:, :3] @ h.system.cell / OPENMX.bohr,
    }  # fmt: skip
    wholes = {
        "z": h.system.numbers, "node_counts": np.array([h.system.n_atoms]), "edge_index": pairs[:, 3:].T.copy(),
        "inv_edge_idx": place[h.S.partners[edges]], "cell_shift": pairs[:, :3],
    }  # fmt: skip
    padded = {"S": _padded(h, h.S, slots, width)}
    padded["H"] = _padded(h, h.hamiltonian, slots, width) / OPENMX.hartree
    if "H0" in h.extra:
        padded["H0"] = _padded(h, h.extra["H0"], slots, width) / OPENMX.hartree
    for name, all_blocks in padded.items():
        for part, chosen in (("on", onsite), ("off", edges)):
            numbers[f"{name[0]}{part}{name[1:]}"] = all_blocks[chosen].real
            if np.iscomplexobj(all_blocks):
                numbers[f"i{name[0]}{part}{name[1:]}"] = all_blocks[chosen].imag
    numbers["overlap"] = np.concatenate([numbers["Son"], numbers["Soff"]])
    if h.basis.spin == "none":
        numbers["hamiltonian"] = np.concatenate([numbers["Hon"], numbers["Hoff"]])
    tensors: dict[str, Any] = {name: torch.tensor(np.ascontiguousarray(value), dtype=torch.float32) for name, value in numbers.items()}
    tensors |= {name: torch.tensor(np.ascontiguousarray(value), dtype=torch.int64) for name, value in wholes.items()}
    graph = Data(**tensors, total_energy=0.0, doping_charge=torch.zeros(1))
    with path.open("wb") as file:
        np.savez(file, graph=np.array({0: graph}, dtype=object))


def _slots(h: Hamiltonian) -> tuple[int, dict[int, IntArray]]:
    """Places of an atom, and those that the orbitals of each element take, its shells sorted by l."""
    for width, shells in PLACES.items():
        room = Counter(shells)
        if all(n <= room[l] for own in h.basis.shells.values() for l, n in Counter(own).items()):
            start = np.cumsum([0, *(2 * l + 1 for l in shells)])
            first = {l: start[shells.index(l)] for l in room}
            out = {}
            for z, own in h.basis.shells.items():
                counts = sorted(Counter(own).items())
                out[z] = np.concatenate([first[l] + np.arange(n * (2 * l + 1)) for l, n in counts])
            return width, out
    raise UsageError(
        f"the basis {h.basis.to_symbols()} does not fit into HamGNN's places for OpenMX: at most three s, two p, two d and one f shell"
    )


def _padded(h: Hamiltonian, blocks: PairBlocks, slots: dict[int, IntArray], width: int) -> Array:
    """(n_pairs, places^2) blocks, zero where an atom has no orbital; spinors have twice as many places, up then down."""
    factor = int(blocks.shapes[0, 0] // h.basis.n_orbitals(h.system.numbers)[blocks.pairs[0, 3]])
    orders, signs = shared_target_orders(h, "hamgnn")
    moved = blocks.reordered(h.system.numbers, orders, factor, signs)
    full = {z: np.concatenate([one + spin * width for spin in range(factor)]) for z, one in slots.items()}
    out = np.zeros((blocks.n_pairs, factor * width, factor * width), moved.entries.dtype)
    kinds = h.system.numbers[blocks.pairs[:, 3:]]
    for a, b in np.unique(kinds, axis=0).tolist():
        members = np.flatnonzero((kinds == (a, b)).all(axis=1))
        out[np.ix_(members, full[a], full[b])] = moved.take(members)[0]
    return out.reshape(blocks.n_pairs, -1)
