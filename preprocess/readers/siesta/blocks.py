"""From SIESTA's sparse rows to blocks (R, i, j): which cell an element belongs to, and where its spin components go."""

from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.pairs import neighbour_pairs, pair_keys
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError
from preprocess.readers.siesta.matrix import Matrices

MAX_MISFIT = 1e-3
"""Accepted distance (Angstrom) of a vector between orbitals from the one between the atoms; single precision gives 1e-5."""
PROJECTOR_REACH = 3.2
"""How much farther than their radii two orbitals couple, through a projector between them, Angstrom (twice a radius of 3 Bohr)."""


@dataclass(frozen=True)
class Slots:
    """Where each sparse element lies in blocks of spatial orbitals.

    Attributes
    ----------
    pairs : (n_pairs, 5) int array
        R1 R2 R3 i j.
    shapes : (n_pairs, 2) int array
        Orbitals of i and j.
    pair, row, column : (n_nonzero,) int arrays
        Pair of each element, and its place in the block.
    above : (n_nonzero,) int array
        1 where the orbital of the row is before that of the column, 0 for an orbital and its own images, -1 else.
    """

    pairs: IntArray
    shapes: IntArray
    pair: IntArray
    row: IntArray
    column: IntArray
    above: IntArray

    def blocks(self, components: Array) -> PairBlocks:
        """Spin-free blocks of (n_components, n_nonzero) elements."""
        return self._filled([[(0, 0, c)] for c in components], 1)

    def spinor_blocks(self, uu: Array, ud: Array, du: Array, dd: Array) -> PairBlocks:
        """Spinor blocks [[uu, ud], [du, dd]] of (n_nonzero,) elements each."""
        return self._filled([[(0, 0, uu), (0, 1, ud), (1, 0, du), (1, 1, dd)]], 2)

    def triangle(self, blocks: PairBlocks) -> PairBlocks:
        """The Hermitian matrix that SIESTA diagonalizes: it takes one triangle of H(k) and S(k), of the orbitals in its own order.

        The elements (R, i, j) and (-R, j, i) are computed separately and differ by 1e-9; averages of them would move eigenvalues far
        above the Fermi level by 1e-4 eV, because S is nearly singular.
        """
        spin_factor = int(blocks.shapes[0, 0] // self.shapes[0, 0]) if len(self.shapes) else 1
        weight = 1.0 + self.above
        mask = self.spinor_blocks(*[weight] * 4) if spin_factor == 2 else self.blocks(weight[None])
        return replace(blocks, entries=blocks.entries * mask.entries).hermitized()

    def _filled(self, components: list[list[tuple[int, int, Array]]], spin_factor: int) -> PairBlocks:
        shapes = self.shapes * spin_factor
        dtype = np.result_type(*(values for parts in components for _, _, values in parts))
        out = PairBlocks.zeros(self.pairs, shapes, len(components), dtype)
        offset, width = out.offsets[self.pair], shapes[self.pair, 1]
        for n, parts in enumerate(components):
            for s, t, values in parts:
                row, column = self.row + s * self.shapes[self.pair, 0], self.column + t * self.shapes[self.pair, 1]
                out.entries[n, offset + row * width + column] = values
        return out


def find_slots(raw: Matrices, system: System, radii: dict[int, float], bohr: float) -> Slots:
    """The block and the place in it of each element.

    Parameters
    ----------
    raw : Matrices
        The sparse rows.
    system : System
        The atoms, where SIESTA has them: cells refer to these positions.
    radii : dict of atomic number to float
        Largest orbital radius of each element, Angstrom; needed where all images of an atom were added up (Gamma point).
    bohr : float
        1 Bohr in Angstrom.

    Raises
    ------
    DataError
        If vectors do not belong to these atoms, an element occurs twice, or images were added up that the matrices need apart.
    """
    n = len(raw.n_row)
    atom_of = np.repeat(np.arange(len(raw.n_orbitals)), raw.n_orbitals)
    first = np.concatenate([[0], np.cumsum(raw.n_orbitals)])
    left, right = np.repeat(np.arange(n), raw.n_row), raw.column % n
    i, j = atom_of[left], atom_of[right]
    if raw.vectors is not None:
        R = _cells_of_vectors(system, i, j, raw.vectors * bohr)
    elif raw.cells is not None and len(raw.cells) > 1:
        R = raw.cells[raw.column // n]
    else:
        R = _cells_of_images(system, i, j, radii)
    keys = pair_keys(np.column_stack([R, i, j]))[0]
    _, where, pair = np.unique(keys, return_index=True, return_inverse=True)
    pairs = np.column_stack([R[where], i[where], j[where]])
    slots = Slots(pairs, raw.n_orbitals[pairs[:, 3:]], pair, left - first[i], right - first[j], np.sign(right - left))
    distinct = int(slots.blocks(np.ones((1, len(pair)))).entries.sum())
    if distinct != len(pair):
        raise DataError(f"{len(pair) - distinct} elements of the matrices occur twice: the file is damaged")
    return slots


def _cells_of_vectors(system: System, i: IntArray, j: IntArray, vectors: FloatArray) -> IntArray:
    """R of each element from the vector between its orbitals."""
    between = np.linalg.solve(system.cell.T, vectors.T).T - system.fractional[j] + system.fractional[i]
    R = np.rint(between).astype(np.int64)
    misfit = float(np.abs((between - R) @ system.cell).max(initial=0.0))
    if not misfit < MAX_MISFIT:
        raise DataError(
            f"the vectors between orbitals differ from those between the atoms in .XV by up to {misfit:.1e} Angstrom: atoms and matrices "
            "are of different steps or runs; repeat the run for the final structure"
        )
    return R


def _cells_of_images(system: System, i: IntArray, j: IntArray, radii: dict[int, float]) -> IntArray:
    """R of the only image of atom j within reach of atom i: a run at Gamma alone has one element for all images together."""
    near = neighbour_pairs(system, {z: radius + PROJECTOR_REACH / 2 for z, radius in radii.items()})
    code, counts = np.unique(near[:, 3] * system.n_atoms + near[:, 4], return_counts=True)
    wanted = i * system.n_atoms + j
    place = np.minimum(np.searchsorted(code, wanted), len(code) - 1)
    lonely = code[place] == wanted
    if (counts > 1).any() or not lonely.all():
        a, b = divmod(int(code[np.argmax(counts > 1)] if (counts > 1).any() else wanted[np.argmin(lonely)]), system.n_atoms)
        raise DataError(
            f"a run at the Gamma point alone, whose matrices add up all images of an atom, and atoms {a + 1} and {b + 1} do not have "
            "exactly one image within reach: repeat the run with 'ForceAuxCell true' or a k mesh"
        )
    return np.asarray(near[np.argsort(near[:, 3] * system.n_atoms + near[:, 4])[place], :3])
