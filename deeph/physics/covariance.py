"""Whether the matrices turn with the structure.

A wrong order or sign of orbitals, or a wrong spin layout, shows as a violation of the size of the matrix elements themselves.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, pair_vectors
from deeph.physics.rotations import atom_rotation, bond_rotations
from deeph.physics.symmetry import Operation, turned_blocks
from deeph.physics.system import SYMBOLS, IntArray

MAX_BONDS = 3000
"""Number of overlap blocks looked at along their bonds."""


def turned(data: Hamiltonian, blocks: PairBlocks, operation: Operation) -> PairBlocks:
    """The matrix of the structure after an operation, D_i M_ij D_j^dagger at the images of the pairs; S, or a matrix with the spin of H."""
    numbers = data.system.numbers
    spin = blocks.n_pairs > 0 and blocks.shapes[0, 0] != data.basis.n_orbitals(numbers)[blocks.pairs[0, 3]]
    D = operation.orbitals(data.basis, spin=spin)
    collinear = data.basis.spin == "collinear" and blocks.n_components == data.basis.n_spin

    def turn(values: Array, pairs: IntArray) -> Array:
        kinds = numbers[pairs[:, 3:]]
        out = np.empty(values.shape, np.result_type(values, *D.values()))
        for zi, zj in np.unique(kinds, axis=0):
            members = (kinds == (zi, zj)).all(axis=1)
            out[:, members] = turned_blocks(values[:, members], operation, D[zi], D[zj], collinear=collinear, vector=False)
        return out

    return replace(blocks.mapped(turn), pairs=operation.pairs(blocks.pairs))


def time_reversed(blocks: PairBlocks) -> PairBlocks:
    """Spinor blocks after time reversal, sigma_y M* sigma_y."""

    def reverse(values: Array, _pairs: IntArray) -> Array:
        components, n, rows, columns = values.shape
        parts = values.conj().reshape(components, n, 2, rows // 2, 2, columns // 2)[:, :, ::-1, :, ::-1].copy()
        parts[:, :, 0, :, 1] *= -1
        parts[:, :, 1, :, 0] *= -1
        return parts.reshape(values.shape)

    return blocks.mapped(reverse)


def difference(blocks: PairBlocks, other: PairBlocks) -> tuple[float, int]:
    """Largest |M - M'| over the pairs both have, and the pair (index in ``blocks``) where it is."""
    place = find_pairs(other.pairs, blocks.pairs)
    both = np.flatnonzero(place >= 0)
    one, two = blocks.selected(both), other.selected(place[both])
    error = np.abs(one.entries - two.entries).max(axis=0, initial=0.0)
    if not len(error):
        return 0.0, 0
    worst = int(error.argmax())
    return float(error[worst]), int(both[np.searchsorted(one.offsets, worst, side="right") - 1])


def bond_violations(data: Hamiltonian) -> dict[tuple[str, str], float]:
    """What an overlap of atom-centred orbitals cannot have: about its bond, S couples only equal m, and m and -m alike.

    This holds for every pair of atoms of every structure, and needs no symmetry.

    Returns
    -------
    dict of (shell, shell) to float
        Largest forbidden element of S for each two kinds of shells, such as ``("C p", "C d")``.
    """
    length = np.linalg.norm(pair_vectors(data.system, data.S.pairs), axis=1)
    offsite = np.flatnonzero(length > 1e-3)
    chosen = offsite[np.linspace(0, len(offsite) - 1, min(len(offsite), MAX_BONDS)).astype(int)]
    S = data.S.selected(np.unique(chosen))
    numbers, shells = data.system.numbers, data.basis.shells
    out: dict[tuple[str, str], float] = {}
    kinds = numbers[S.pairs[:, 3:]]
    for zi, zj in np.unique(kinds, axis=0).tolist():
        members = np.flatnonzero((kinds == (zi, zj)).all(axis=1))
        Q = bond_rotations(pair_vectors(data.system, S.pairs[members]))
        local = atom_rotation(shells[zi], Q) @ S.take(members)[0] @ atom_rotation(shells[zj], Q).swapaxes(-1, -2)
        for (la, rows), (lb, columns) in ((a, b) for a in _slices(shells[zi]) for b in _slices(shells[zj])):
            first, second = sorted([f"{SYMBOLS[zi]} {'spdfghi'[la]}", f"{SYMBOLS[zj]} {'spdfghi'[lb]}"])
            worst = _forbidden(local[:, rows, columns], la, lb)
            out[first, second] = max(out.get((first, second), 0.0), worst)
    return out


def _slices(shells: Sequence[int]) -> list[tuple[int, slice]]:
    """(l, where it lies) for each shell of an atom."""
    stops = np.cumsum([2 * l + 1 for l in shells]).tolist()
    return [(l, slice(stop - 2 * l - 1, stop)) for l, stop in zip(shells, stops, strict=True)]


def _forbidden(local: Array, la: int, lb: int) -> float:
    """Largest element between different m, and largest difference between m and -m; bonds along z, (n, 2la+1, 2lb+1)."""
    low = min(la, lb)
    m = np.arange(-low, low + 1)
    diagonal = local[:, la + m, lb + m]
    rest = local.copy()
    rest[:, la + m, lb + m] = 0
    return float(max(np.abs(rest).max(initial=0.0), np.abs(diagonal - diagonal[:, ::-1]).max(initial=0.0)))
