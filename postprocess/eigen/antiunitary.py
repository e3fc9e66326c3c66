"""Inversion or a half turn of the structure that, together with time reversal, leaves a wave vector as it is.

An operation g: x -> Q x + t maps atom j onto atom p(j), moved by the lattice vector L_j. Without spin-orbit coupling A = g T (T: complex
conjugation) acts on the Bloch sums of the orbitals as A |j b k> = s_b exp(-2 pi i k.L_j) |p(j) b k>, if g turns k to -k; s_b = +1 or -1
is the parity of the orbital. L_p(j) = L_j, hence A^2 = 1, and there are orbitals in which H(k) and S(k) are real: see
:mod:`postprocess.eigen.real_form`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.rotations import atom_rotation
from deeph.physics.system import FloatArray, IntArray, System

Array = npt.NDArray[Any]
OPERATIONS = {"P": (-1, -1, -1), "C2z": (-1, -1, 1), "C2y": (-1, 1, -1), "C2x": (1, -1, -1)}
"""Diagonals of Q, in the order in which they are tried; along these axes orbitals only change sign."""
ATOM_TOLERANCE = 0.02
"""Angstrom; how far an image may lie from its atom. Whether the matrices obey the symmetry is checked much more sharply."""
SAMPLE = 12
"""Atoms with which a centre is tried before all of them are."""


@dataclass(frozen=True)
class Antiunitary:
    """One operation of a structure, see the head of the module.

    Attributes
    ----------
    name : str
        "P", "C2x", ...
    numbers : (n_atoms,) int array
        Atomic numbers.
    partner : (n_atoms,) int array
        p(j).
    shift : (n_atoms, 3) int array
        L_j.
    distance : float
        How far an image lies from its atom at most, Angstrom.
    """

    name: str
    numbers: IntArray
    partner: IntArray
    shift: IntArray
    distance: float

    def parities(self, basis: Basis) -> FloatArray:
        """(n_atoms, most orbitals of an atom) +1 or -1 for each orbital, then zeros."""
        Q = np.diag(np.array(OPERATIONS[self.name], float))
        signs = {z: np.diagonal(atom_rotation(shells, Q)) for z, shells in basis.shells.items()}
        table = np.zeros((int(self.numbers.max()) + 1, max(map(len, signs.values()))))
        for z in np.unique(self.numbers):
            table[z, : len(signs[int(z)])] = np.rint(signs[int(z)])
        return np.asarray(table[self.numbers])

    def images(self, pairs: IntArray) -> IntArray:
        """(n_pairs, 5) the pair (R', p(i), p(j)) onto which each pair (R, i, j) is mapped."""
        i, j = pairs[:, 3], pairs[:, 4]
        R = self.shift[j] - self.shift[i] - pairs[:, :3]
        return np.column_stack([R, self.partner[i], self.partner[j]])

    def image(self, blocks: PairBlocks, basis: Basis, pairs: IntArray, shapes: IntArray) -> PairBlocks:
        """The blocks A M A^-1 of a real matrix M on some pairs; where the block that is mapped onto a pair is missing, zero."""
        table = self.parities(basis)

        def signed(values: Array, pairs: IntArray) -> Array:
            rows, columns = values.shape[-2:]
            return np.asarray(values * (table[pairs[:, 3], :rows, None] * table[pairs[:, 4], None, :columns]))

        # g is its own inverse, up to lattice vectors
        return replace(blocks.on_pattern(self.images(pairs), shapes).mapped(signed), pairs=pairs)


def find_antiunitary(system: System, pairs: IntArray) -> Antiunitary | None:
    """An operation that turns every wave vector around, with its centre, if the structure has one.

    Parameters
    ----------
    system : System
        The atoms.
    pairs : (n_pairs, 5) int array
        Of the Hamiltonian. Along lattice vectors that reach no other cell nothing repeats: they need not be turned around, so that a half
        turn about the normal will do for a slab.

    Returns
    -------
    Antiunitary or None
        The first of :data:`OPERATIONS` that is found; the atoms are compared within :data:`ATOM_TOLERANCE`.
    """
    repeated = np.asarray(pairs[:, :3].any(axis=0))
    for name, diagonal in OPERATIONS.items():
        turned = system.cell * np.array(diagonal)
        if (np.linalg.norm(turned + system.cell, axis=1)[repeated] < ATOM_TOLERANCE).all():
            found = _with_centre(system, name, repeated)
            if found is not None:
                return found
    return None


def _with_centre(system: System, name: str, repeated: npt.NDArray[np.bool_]) -> Antiunitary | None:
    finder = _Finder(system, np.array(OPERATIONS[name], float), repeated)
    species = min(np.unique(system.numbers), key=lambda z: int((system.numbers == z).sum()))
    same = np.flatnonzero(system.numbers == species)
    centres = system.positions[same] - finder.turned[same[0]]  # the translations that map the first of these atoms onto each of them
    sample = np.unique(np.linspace(0, system.n_atoms - 1, SAMPLE).astype(np.int64))
    distance = finder.images(sample, centres[:, None])[2].max(axis=1)
    for t in centres[distance < 2 * ATOM_TOLERANCE]:
        everyone = np.arange(system.n_atoms)
        partner, shift, _, vectors = (part[0] for part in finder.images(everyone, t[None, None]))
        off = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1).max()  # the reference atom may be off itself
        involution = (partner[partner] == everyone).all() and (shift[partner] == shift).all()
        if off < ATOM_TOLERANCE and involution and (system.numbers[partner] == system.numbers).all():
            return Antiunitary(name, system.numbers, partner, shift, float(off))
    return None


class _Finder:
    """Nearest atoms of many points at once, periodic images included."""

    def __init__(self, system: System, Q: FloatArray, repeated: npt.NDArray[np.bool_]) -> None:
        from scipy.spatial import cKDTree

        self.system, self.repeated = system, repeated
        self.turned = system.positions * Q
        self.inverse = np.linalg.inv(system.cell)
        self.tree = cKDTree(self._wrapped(system.fractional), boxsize=np.where(repeated, 1.0, 0.0))

    def _wrapped(self, fractional: FloatArray) -> FloatArray:
        inside = fractional - np.floor(fractional)
        return np.where(self.repeated, np.where(inside >= 1.0, 0.0, inside), fractional)

    def images(self, atoms: IntArray, translations: FloatArray) -> tuple[Any, Any, Any, Any]:
        """For (n, 1, 3) translations: the atom each image falls on, the lattice vector, the distance and its vector, (n, n_atoms, ...)."""
        points = self.turned[atoms] + translations
        fractional = points @ self.inverse
        _, atom = self.tree.query(self._wrapped(fractional))
        shift = np.where(self.repeated, np.rint(fractional - self.system.fractional[atom]), 0).astype(np.int64)
        vectors = points - self.system.positions[atom] - shift @ self.system.cell
        return atom, shift, np.linalg.norm(vectors, axis=-1), vectors
