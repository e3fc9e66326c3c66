"""Matrices as lists of elements in the order of another program: <i, 0 | M | j, R> with orbitals counted through the whole cell."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.conventions import TARGETS, target_order
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import IntArray
from postprocess.eigen.hermitian import hermitian

Array = npt.NDArray[Any]


def sound(h: Hamiltonian) -> Hamiltonian:
    """H and S Hermitian, see :func:`postprocess.eigen.hermitian.hermitian`; r stays where no block had to be added."""
    clean = hermitian(h)
    return replace(clean, r=h.r) if np.array_equal(clean.S.pairs, h.S.pairs) else clean


class OrbitalMap(NamedTuple):
    """Where the orbitals of H(k) stand in the list of another program.

    Attributes
    ----------
    place : (n_orbitals,) int array
        Of each of our orbitals, in the order of H(k), among theirs.
    sign : (n_orbitals,) int array
        ``theirs[place] = sign * ours``.
    atom : (n_orbitals,) int array
        Atom of each of *their* orbitals.
    """

    place: IntArray
    sign: IntArray
    atom: IntArray

    def arranged(self, matrix: Array) -> Array:
        """(..., n_orbitals, n_orbitals) a matrix in our order as theirs."""
        back = np.argsort(self.place)
        sign = self.sign[back]
        return np.asarray(matrix[..., back[:, None], back] * (sign[:, None] * sign))


def orbital_map(h: Hamiltonian, target: str) -> OrbitalMap:
    """The order of a program in :data:`deeph.physics.conventions.TARGETS`, for all orbitals of a structure."""
    convention, factor = TARGETS[target], h.basis.spin_factor
    orders = {z: target_order(convention, shells) for z, shells in h.basis.shells.items()}
    n = h.basis.n_orbitals(h.system.numbers)
    start = np.cumsum(n) - n
    place, sign, atom = [], [], []
    for i, z in enumerate(h.system.numbers.tolist()):
        index, signs = orders[z]
        inverse = np.argsort(index)
        for spin in range(factor):
            theirs = {
                "atoms": factor * start[i] + spin * n[i] + inverse,
                "blocks": spin * n.sum() + start[i] + inverse,
                "interleaved": factor * (start[i] + inverse) + spin,
            }[convention.spin]
            place.append(theirs)
            sign.append(signs[inverse])
            atom.append(np.full(n[i], i))
    where = np.concatenate(place)
    of_atom = np.empty(len(where), np.int64)
    of_atom[where] = np.concatenate(atom)
    return OrbitalMap(where, np.concatenate(sign), of_atom)


class Elements(NamedTuple):
    """The stored elements of one or several matrices.

    Attributes
    ----------
    R : (n_R, 3) int array
        Cells, sorted.
    cell : (n,) int array
        Place in R of each element.
    row, column : (n,) int arrays
        Orbitals i in the home cell and j in the cell R.
    values : (n_components, n) array
        <i, 0 | M | j, R>.
    """

    R: IntArray
    cell: IntArray
    row: IntArray
    column: IntArray
    values: Array


def elements(h: Hamiltonian, blocks: PairBlocks, target: str) -> Elements:
    """All stored elements of H, or of S or r with the spin of H, in the order of another program.

    Parameters
    ----------
    h : Hamiltonian
        Whose blocks they are.
    blocks : PairBlocks
        Of the shape of H: for spinors S and r as :func:`with_spin` gives them.
    target : str
        Name in :data:`deeph.physics.conventions.TARGETS`.
    """
    found = orbital_map(h, target)
    n = h.basis.n_orbitals(h.system.numbers) * h.basis.spin_factor
    start = np.cumsum(n) - n
    sizes = blocks.shapes.prod(axis=1)
    pair = np.repeat(np.arange(blocks.n_pairs), sizes)
    inside = np.arange(len(pair)) - np.repeat(blocks.offsets[:-1], sizes)
    columns = blocks.shapes[pair, 1]
    row, column = start[blocks.pairs[pair, 3]] + inside // columns, start[blocks.pairs[pair, 4]] + inside % columns
    R, cell = np.unique(blocks.pairs[:, :3], axis=0, return_inverse=True)
    values = blocks.entries * (found.sign[row] * found.sign[column])
    return Elements(R, cell.reshape(-1)[pair], found.place[row], found.place[column], values)


def with_spin(h: Hamiltonian, blocks: PairBlocks) -> PairBlocks:
    """S or r as blocks of the shape of H: spin-diagonal for spinors."""
    if h.basis.spin != "spinor":
        return blocks
    parts = [PairBlocks(blocks.pairs, blocks.shapes, component[None]).to_spinor() for component in blocks.entries]
    return PairBlocks(parts[0].pairs, parts[0].shapes, np.concatenate([part.entries for part in parts]))


def shared_target_orders(h: Hamiltonian, target: str) -> tuple[dict[int, IntArray], dict[int, IntArray]]:
    """Orders and signs of each element, as :meth:`deeph.physics.blocks.PairBlocks.reordered` takes them."""
    orders = {z: target_order(TARGETS[target], shells) for z, shells in h.basis.shells.items()}
    return {z: index for z, (index, _) in orders.items()}, {z: signs for z, (_, signs) in orders.items()}
