"""From blocks to Bloch matrices: M(k) = sum_R exp(2 pi i k.R) M(R).

The sparsity pattern is computed once; every k is then one sparse matrix-vector product of the stored entries with the
phases of their pairs. No Python loop over blocks, no sum of sparse matrices.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.blocks import PairBlocks
from deeph.errors import DataError
from deeph.system import FloatArray, IntArray, System

Gauge = Literal["lattice", "atomic"]
Array = npt.NDArray[Any]


class BlochPattern:
    """Where each stored entry goes in the compressed sparse row form of M(k).

    Row r of the orbital matrix collects the blocks of its atom, ordered by neighbour j; the contributions of several R to
    one (i, j) lie next to each other, so that M(k).data = A @ phase with A of shape (n_nonzero, n_pairs).

    Parameters
    ----------
    pairs, shapes : int arrays
        As in :class:`deeph.blocks.PairBlocks`.
    n_atoms : int
        Number of atoms; every atom must have its on-site block.
    """

    def __init__(self, pairs: IntArray, shapes: IntArray, n_atoms: int) -> None:
        i, j = pairs[:, 3], pairs[:, 4]
        width = np.zeros(n_atoms, np.int64)
        width[i] = shapes[:, 0]
        if (width == 0).any():
            raise DataError(f"atom {int(np.argmax(width == 0))} has no block at all; expected at least its on-site block")
        self.orbital_start = np.concatenate([[0], np.cumsum(width)])
        self.n_orbitals = int(self.orbital_start[-1])

        order = np.lexsort((j, i))
        new = np.ones(len(order), bool)
        new[1:] = (i[order][1:] != i[order][:-1]) | (j[order][1:] != j[order][:-1])
        first = np.flatnonzero(new)  # one slot per atom pair (i, j)
        multiplicity = np.diff(np.append(first, len(order)))
        slot = np.cumsum(new) - 1
        rank = np.arange(len(order)) - first[slot]  # which of the R of its slot
        slot_i, slot_width = i[order][first], width[j[order][first]]

        row_length, start = _row_layout(slot_i, slot_width, width)
        row_terms, terms_start = _row_layout(slot_i, slot_width * multiplicity, width)
        nnz, n_terms = int((width * row_length).sum()), int((width * row_terms).sum())
        index_type = np.int32 if max(n_terms, len(pairs), nnz) < 2**31 else np.int64

        self.indptr = np.concatenate([[0], np.cumsum(np.repeat(row_length, width))]).astype(index_type)
        self.indices = np.empty(nnz, index_type)
        self._term_pair = np.empty(n_terms, index_type)
        self._term_of_entry = np.empty(n_terms, index_type)
        terms = np.empty(nnz, index_type)

        offsets = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        for rows, columns in np.unique(shapes, axis=0):
            members = np.flatnonzero((shapes[order] == (rows, columns)).all(axis=1))
            a, b = np.arange(rows)[:, None], np.arange(columns)
            for part in np.array_split(members, max(1, len(members) * int(rows * columns) // 4_000_000)):
                p, s = order[part], slot[part]
                atom = slot_i[s]
                grid = (slice(None), None, None)
                term = terms_start[s][grid] + a * row_terms[atom][grid] + b * multiplicity[s][grid] + rank[part][grid]
                self._term_pair[term] = p[grid]
                self._term_of_entry[term] = offsets[p][grid] + a * columns + b
                place = start[s][grid] + a * row_length[atom][grid] + b
                self.indices[place] = self.orbital_start[j[p]][grid] + b
                terms[place] = multiplicity[s][grid]
        self._terms_indptr = np.concatenate([[0], np.cumsum(terms)]).astype(index_type)
        self._n_pairs = len(pairs)

    def arrange(self, entries: Array) -> sparse.csr_array:
        """The matrix A of one component: ``A @ phase`` is the data of M(k) in compressed sparse row order."""
        shape = (len(self.indices), self._n_pairs)
        return sparse.csr_array((entries[self._term_of_entry], self._term_pair, self._terms_indptr), shape=shape)


def _row_layout(slot_i: IntArray, slot_size: IntArray, width: IntArray) -> tuple[IntArray, IntArray]:
    """Length of an orbital row of each atom, and where each slot's first element stands; slots are sorted by atom."""
    row = np.zeros(len(width), np.int64)
    np.add.at(row, slot_i, slot_size)
    panel = np.concatenate([[0], np.cumsum(width * row)])[:-1]  # an atom's rows follow each other
    before = np.cumsum(slot_size) - slot_size
    return row, panel[slot_i] + before - (np.cumsum(row) - row)[slot_i]


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
        self._terms = [self.pattern.arrange(component) for component in blocks.entries]

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
        """Values of M(k) in row order; (n_pairs,) or (n_pairs, n_k) phases."""
        terms = self._terms[component]
        if not phase.imag.any():
            return np.asarray(terms @ phase.real)
        if np.iscomplexobj(terms.data):
            return np.asarray(terms @ phase)
        out = np.empty((terms.shape[0], *phase.shape[1:]), np.complex128)
        out.real, out.imag = terms @ phase.real, terms @ phase.imag
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
        data = self._data(self.phases(k, gauge), component)
        return sparse.csr_array((data, self.pattern.indices, self.pattern.indptr), shape=(self.n_orbitals, self.n_orbitals))

    def dense(self, k: FloatArray, *, component: int = 0, gauge: Gauge = "lattice") -> npt.NDArray[np.complex128]:
        """(..., n_orbitals, n_orbitals) dense M(k) for k of shape (..., 3)."""
        k = np.asarray(k, float)
        phase = self.phases(k.reshape(-1, 3), gauge)
        n, p = self.n_orbitals, self.pattern
        out = np.zeros((len(phase), n, n), np.complex128)
        rows = np.repeat(np.arange(n), np.diff(p.indptr))
        out[:, rows, p.indices] = self._data(phase.T, component).T
        return out.reshape(*k.shape[:-1], n, n)
