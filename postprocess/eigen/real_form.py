"""H(k) and S(k) as real symmetric matrices at every k, where time reversal with inversion or a half turn leaves k as it is.

With the Bloch sums |j> = exp(-pi i k.L_j) |j b k> the operation of :mod:`postprocess.eigen.antiunitary` is A |j> = s_b |p(j)>. In the
combinations (|j> + A |j>)/sqrt 2 and i (|j> - A |j>)/sqrt 2 of two atoms, which A leaves as they are, every matrix that obeys the symmetry
is real. Orbitals of atoms that are mapped onto themselves are taken once, with the factor 1 (s = 1) or i (s = -1).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.antiunitary import Antiunitary

Array = npt.NDArray[Any]
ENERGY_SCALE = 10.0
"""eV; a deviation of S counts so many times as much as one of H, because levels lie within some ten eV of the energy zero."""


class RealForm:
    """The matrices of one Hamiltonian in orbitals in which they are real; the pattern is made once for all k.

    H and S are replaced by their parts that obey the symmetry.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hermitian, real H(R): without spin-orbit coupling.
    symmetry : Antiunitary
        Of its structure.

    Attributes
    ----------
    pairs : (n_pairs, 5) int array
        A quarter of the pairs of atoms; the others follow by Hermiticity and symmetry.
    violations : (n_pairs,) array
        By how much an element of H, or :data:`ENERGY_SCALE` times one of S, differs from its image at most, eV.
    indptr, indices : int arrays
        Upper triangles in compressed sparse rows.
    n : int
        Number of orbitals.
    """

    def __init__(self, hamiltonian: Hamiltonian, symmetry: Antiunitary) -> None:
        system, blocks = hamiltonian.system, hamiltonian.hamiltonian
        atoms = np.arange(system.n_atoms)
        first = np.minimum(atoms, symmetry.partner)  # the atom that stands for both
        images = symmetry.images(blocks.pairs)
        pairs = np.concatenate([blocks.pairs, images[find_pairs(blocks.pairs, images) < 0]])
        pairs = pairs[(first[pairs[:, 3]] == pairs[:, 3]) & (first[pairs[:, 4]] >= pairs[:, 3])]  # the rest follows by symmetry
        width = hamiltonian.basis.n_orbitals(system.numbers)
        self._start = np.concatenate([[0], np.cumsum(width)])
        signs = symmetry.parities(hamiltonian.basis)
        self._sign = signs[signs != 0]
        self._first, self._own_image = first, symmetry.partner == atoms
        self._partner, self._shift = symmetry.partner, symmetry.shift
        self.n = int(self._start[-1])
        self._number_orbitals(width)

        shapes, terms = width[pairs[:, 3:]], []
        self.violations = np.zeros(len(pairs))
        for matrix, weight in ((blocks, 1.0), (hamiltonian.S, ENERGY_SCALE)):
            own, image = matrix.on_pattern(pairs, shapes), symmetry.image(matrix, hamiltonian.basis, pairs, shapes)
            for difference in np.abs(own.entries - image.entries):
                self.violations = np.maximum(self.violations, weight * np.maximum.reduceat(difference, own.offsets[:-1]))
            terms.append(replace(own, entries=(own.entries + image.entries) / 2))
        self._arrange(pairs, shapes)
        self._H, self._S = ([self._ordered(component, matrix.offsets) for component in matrix.entries] for matrix in terms)

    def _number_orbitals(self, width: IntArray) -> None:
        """The number of each new orbital: two for each orbital of a first atom, one if that is its own image."""
        of_first = np.repeat(self._first == np.arange(len(width)), width)
        single = np.repeat(self._own_image, width)
        there = of_first[:, None] & ~(single[:, None] & np.column_stack([self._sign < 0, self._sign > 0]))
        self._there = there
        self._number = np.cumsum(there).reshape(there.shape) - 1

    def _arrange(self, pairs: IntArray, shapes: IntArray) -> None:
        """Order the columns of the blocks of each row of blocks by orbital, and set up the pattern."""
        pair = np.repeat(np.arange(len(pairs)), shapes[:, 1])
        b = np.arange(len(pair)) - np.repeat(np.cumsum(shapes[:, 1]) - shapes[:, 1], shapes[:, 1])
        i, j = pairs[pair, 3], pairs[pair, 4]
        target = self._start[self._first[j]] + b
        order = np.argsort(i * self.n + target, kind="stable")
        self.pairs, self._pair, self._b, i, target = pairs, pair[order], b[order], i[order], target[order]
        self._stride = shapes[self._pair, 1]
        j = pairs[self._pair, 4]
        self._mirrored = self._first[j] != j
        self._column_sign = self._sign[target]
        self._norm = np.sqrt(2.0) ** (self._own_image[j].astype(int) - self._own_image[i])
        self._panels, indices, counts = [], [], []
        for atom in np.unique(i):
            columns = slice(*np.searchsorted(i, [atom, atom + 1]).tolist())
            new = np.flatnonzero(np.diff(target[columns], prepend=-1))
            orbitals = target[columns][new]
            rows = slice(int(self._start[atom]), int(self._start[atom + 1]))
            self._panels.append((rows, columns, new, orbitals))
            numbers = self._number[orbitals][self._there[orbitals]]
            for row in self._number[rows][self._there[rows]]:
                indices.append(numbers[np.searchsorted(numbers, row) :].astype(np.int32))
                counts.append(len(indices[-1]))
        self.indices = np.concatenate(indices)
        self.indptr = np.concatenate([[0], np.cumsum(counts)])
        if len(self.indices) < 2**31:
            self.indptr = self.indptr.astype(np.int32)

    def _ordered(self, entries: Array, offsets: IntArray) -> list[Array]:
        """The entries panel by panel, (rows, columns) each."""
        top = offsets[self._pair] + self._b
        return [entries[np.arange(r.stop - r.start)[:, None] * self._stride[c] + top[c]] for r, c, _, _ in self._panels]

    def matrices(self, k: FloatArray, spin: int = 0) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Upper triangles of H(k) and S(k) at a fractional k."""
        phase = self._phase(k)
        weight = np.exp(2j * np.pi * (self.pairs[:, :3] @ k)) * phase[self.pairs[:, 4]] * phase[self.pairs[:, 3]].conj()
        columns = weight[self._pair] * self._norm
        plain = np.stack([columns.real, -columns.imag, columns.imag, columns.real])
        mirrored = np.stack([columns.real, columns.imag, columns.imag, -columns.real]) * self._column_sign
        weights = np.where(self._mirrored, mirrored, plain).reshape(2, 2, -1)
        return self._upper(self._H[spin], weights), self._upper(self._S[0], weights)

    def _upper(self, panels: list[Array], weights: FloatArray) -> sparse.csr_array:
        data = np.empty(len(self.indices))
        start = 0
        for (rows, columns, new, orbitals), panel in zip(self._panels, panels, strict=True):
            terms = panel[:, None, None, :] * weights[:, :, columns]
            if len(new) < panel.shape[1]:
                terms = np.add.reduceat(terms, new, axis=-1)
            square = terms.transpose(0, 1, 3, 2).reshape(2 * len(panel), -1)
            square = square[self._there[rows].ravel()][:, self._there[orbitals].ravel()]
            for n, row in enumerate(square):  # of the orbitals of one atom, which come first, all are columns
                data[start : start + len(row) - n] = row[n:]
                start += len(row) - n
        return sparse.csr_array((data, self.indices, self.indptr), shape=(self.n, self.n))

    def _phase(self, k: FloatArray) -> Array:
        """(n_atoms,) exp(-pi i k.L), the same for an atom and its image."""
        return np.asarray(np.exp(-1j * np.pi * (self._shift[self._first] @ k)))

    def orbitals(self, X: FloatArray, k: FloatArray) -> Array:
        """(n, m) coefficients of the orbitals of the Hamiltonian, in the lattice gauge, from those of the real form at k."""
        split = np.zeros((self.n, 2, X.shape[1]))
        split[self._there] = X
        C = split[:, 0] + 1j * split[:, 1]  # of the first atoms
        width = np.diff(self._start)
        atom = np.repeat(np.arange(len(width)), width)
        mirrored = self._first[atom] != atom
        source = np.arange(self.n) + (self._start[self._first] - self._start[:-1])[atom]
        C = np.where(mirrored[:, None], self._sign[:, None] * C[source].conj(), C)
        C *= (self._phase(k)[atom] * np.where(self._own_image[atom], 1.0, np.sqrt(0.5)))[:, None]
        return np.asarray(C)
