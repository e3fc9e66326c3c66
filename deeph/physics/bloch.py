"""From blocks to Bloch matrices: M(k) = sum_R exp(2 pi i k.R) M(R).

The sparsity pattern is computed once; for every k the stored entries are multiplied by the phases of their pairs and the terms of
several R added up. No Python loop over blocks, no sum of sparse matrices.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError

Gauge = Literal["lattice", "atomic"]
Array = npt.NDArray[Any]


class BlochPattern:
    """The sparsity of M(k), atom by atom.

    The orbital rows of an atom i form a *panel*: all its blocks (R, i, j) side by side, ordered by the orbital of j, so that the terms of
    several R that add up to one element of M(k) are neighbours. Everything is known per column of a panel, not per entry.

    Parameters
    ----------
    pairs, shapes : int arrays
        As in :class:`deeph.physics.blocks.PairBlocks`.
    n_atoms : int
        Number of atoms; every atom must have its on-site block.

    Attributes
    ----------
    orbital_start : (n_atoms + 1,) int array
        First orbital of each atom.
    indptr, indices : int arrays
        Compressed sparse row form of M(k), columns sorted.
    """

    def __init__(self, pairs: IntArray, shapes: IntArray, n_atoms: int) -> None:
        width = np.zeros(n_atoms, np.int64)
        width[pairs[:, 3]] = shapes[:, 0]
        if (width == 0).any():
            raise DataError(f"atom {int(np.argmax(width == 0)) + 1} has no block at all; expected at least its on-site block")
        self.orbital_start = np.concatenate([[0], np.cumsum(width)])
        self.n_orbitals = int(self.orbital_start[-1])

        # one column for each orbital of the atom j of each pair, sorted by (i, orbital of j, R)
        pair = np.repeat(np.arange(len(pairs)), shapes[:, 1])
        b = np.arange(len(pair)) - np.repeat(np.cumsum(shapes[:, 1]) - shapes[:, 1], shapes[:, 1])
        i, orbital = pairs[pair, 3], self.orbital_start[pairs[pair, 4]] + b
        order = np.argsort(i * self.n_orbitals + orbital, kind="stable")
        self.pair, self._b, i, orbital = pair[order], b[order], i[order], orbital[order]
        self.stride = shapes[self.pair, 1]
        self.column_start = np.searchsorted(i, np.arange(n_atoms + 1))

        new = np.ones(len(i), bool)
        new[1:] = (i[1:] != i[:-1]) | (orbital[1:] != orbital[:-1])
        self.first = np.flatnonzero(new)  # the first of the terms of each element of a row
        self.first_start = np.searchsorted(self.first, self.column_start)
        length = np.diff(self.first_start)
        self.term_start = np.concatenate([[0], np.cumsum(width * np.diff(self.column_start))])
        self.value_start = np.concatenate([[0], np.cumsum(width * length)])
        index_type = np.int32 if self.value_start[-1] < 2**31 else np.int64
        self.indptr = np.concatenate([[0], np.cumsum(np.repeat(length, width))]).astype(index_type)
        self.indices = np.empty(int(self.value_start[-1]), index_type)
        columns = orbital[self.first]
        for atom in range(n_atoms):
            self.indices[self.value_start[atom] : self.value_start[atom + 1]].reshape(width[atom], -1)[:] = columns[
                self.first_start[atom] : self.first_start[atom + 1]
            ]

    def panels(self) -> Iterator[tuple[int, slice, slice, slice, IntArray]]:
        """For each atom: rows, where its terms and its values lie, its columns, and where the terms of each element start among them.

        A loop over atoms (not blocks) keeps every step in the processor's cache and needs no index as long as the matrix.
        """
        bounds = zip(self.column_start[:-1].tolist(), self.column_start[1:].tolist(), strict=True)
        for atom, (low, high) in enumerate(bounds):
            rows = int(self.orbital_start[atom + 1] - self.orbital_start[atom])
            terms = slice(int(self.term_start[atom]), int(self.term_start[atom + 1]))
            values = slice(int(self.value_start[atom]), int(self.value_start[atom + 1]))
            yield rows, terms, values, slice(low, high), self.first[self.first_start[atom] : self.first_start[atom + 1]] - low

    def arrange(self, entries: Array, offsets: IntArray) -> Array:
        """The entries of one component, panel by panel."""
        out = np.empty(int(self.term_start[-1]), entries.dtype)
        top = offsets[self.pair] + self._b
        for rows, terms, _, columns, _ in self.panels():
            out[terms] = entries[np.arange(rows)[:, None] * self.stride[columns] + top[columns]].ravel()
        return out


class BlochMatrix:
    """A lattice-periodic matrix, evaluated at any k.

    Parameters
    ----------
    system : System
        Positions enter only in the atomic gauge.
    blocks : PairBlocks
        The matrix; all orbitals of atom 0 come first, then those of atom 1, and so on.
    pattern : BlochPattern, optional
        Of another matrix with the same pairs and shapes (H and S share one).

    Notes
    -----
    Lattice gauge: M(k) = sum_R exp(2 pi i k.R) M(R). Atomic gauge: the phase is exp(2 pi i k.(R + tau_j - tau_i)) with
    fractional positions tau; eigenvalues agree, derivatives with respect to k differ.
    """

    def __init__(self, system: System, blocks: PairBlocks, pattern: BlochPattern | None = None) -> None:
        self.system = system
        self.pairs = blocks.pairs
        self.pattern = pattern or BlochPattern(blocks.pairs, blocks.shapes, system.n_atoms)
        self._terms = [self.pattern.arrange(component, blocks.offsets) for component in blocks.entries]

    @property
    def n_orbitals(self) -> int:
        """Dimension of M(k)."""
        return self.pattern.n_orbitals

    @property
    def n_components(self) -> int:
        """Number of matrices, e.g. two for collinear spin."""
        return len(self._terms)

    def phases(self, k: FloatArray, gauge: Gauge = "lattice") -> npt.NDArray[np.complex128]:
        """Phase of every pair; k fractional, (..., 3) -> (..., n_pairs)."""
        shift = self.pairs[:, :3].astype(float)
        if gauge == "atomic":
            tau = self.system.fractional
            shift = shift + tau[self.pairs[:, 4]] - tau[self.pairs[:, 3]]
        turns = (np.asarray(k, float) @ shift.T) % 1.0
        phase = np.exp(2j * np.pi * turns)
        phase[turns == 0.5] = -1  # exactly, so that M(k) is real at the edges of the zone where it should be
        return np.asarray(phase)

    def _data(self, phase: npt.NDArray[np.complex128], component: int) -> Array:
        """(n_k, n_nonzero) values of M(k) in row order from (n_k, n_pairs) phases; real if all phases and entries are."""
        terms, pattern = self._terms[component], self.pattern
        weight = phase if phase.imag.any() else phase.real
        out = np.empty((len(weight), len(pattern.indices)), np.result_type(weight, terms))
        for rows, of_terms, of_values, columns, first in pattern.panels():
            panel = terms[of_terms].reshape(rows, -1) * weight[:, None, pattern.pair[columns]]
            if len(first) < panel.shape[-1]:
                panel = np.add.reduceat(panel, first, axis=-1)
            out[:, of_values] = panel.reshape(len(weight), -1)
        return out

    def csr(self, k: FloatArray, *, component: int = 0, gauge: Gauge = "lattice") -> sparse.csr_array:
        """M(k) as a sparse matrix with the same pattern for every k; real where all phases are real.

        Parameters
        ----------
        k : (3,) array
            Fractional wave vector.
        component : int
            Which matrix (spin channel).
        gauge : {"lattice", "atomic"}
            See the notes of the class.
        """
        data = self._data(self.phases(k, gauge)[None], component)[0]
        return sparse.csr_array((data, self.pattern.indices, self.pattern.indptr), shape=(self.n_orbitals, self.n_orbitals))

    def derivative(self, k: FloatArray, directions: Sequence[int], *, component: int = 0) -> sparse.csr_array:
        """Derivative of M(k) with respect to Cartesian components of k, in the lattice gauge: sum_R (i R_a) (i R_b) ... exp(ik.R) M(R).

        Parameters
        ----------
        k : (3,) array
            Fractional wave vector.
        directions : sequence of int
            One Cartesian direction (0, 1, 2) for each derivative; none gives M(k).
        component : int
            Which matrix (spin channel).

        Returns
        -------
        csr_array
            Units of M times Angstrom for each derivative.
        """
        R = self.pairs[:, :3] @ self.system.cell
        weights = self.phases(k) * np.prod(1j * R[:, list(directions)], axis=1)
        data = self._data(weights[None], component)[0]
        return sparse.csr_array((data, self.pattern.indices, self.pattern.indptr), shape=(self.n_orbitals, self.n_orbitals))

    def dense(self, k: FloatArray, *, component: int = 0, gauge: Gauge = "lattice") -> npt.NDArray[np.complex128]:
        """(..., n_orbitals, n_orbitals) dense M(k) for k of shape (..., 3); ``component=1`` is spin down of collinear spins."""
        k = np.asarray(k, float)
        phase = self.phases(k.reshape(-1, 3), gauge)
        n, p = self.n_orbitals, self.pattern
        out = np.zeros((len(phase), n, n), np.complex128)
        rows = np.repeat(np.arange(n), np.diff(p.indptr))
        out[:, rows, p.indices] = self._data(phase, component)
        return out.reshape(*k.shape[:-1], n, n)
