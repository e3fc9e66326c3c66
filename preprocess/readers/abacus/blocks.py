"""From ABACUS's sparse matrices to blocks of atom pairs."""

from pathlib import Path

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.pairs import pair_keys
from deeph.physics.system import IntArray, System
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.csr import SparseMatrix

MAX_SPIN_PART = 1e-8
"""Largest deviation of a spinor overlap from S times the unit matrix."""


def to_blocks(matrix: SparseMatrix, system: System, basis: Basis, *, interleaved: bool) -> PairBlocks:
    """Collect the entries of a sparse matrix into blocks, in ABACUS's orbital order.

    Parameters
    ----------
    matrix : SparseMatrix
        All entries.
    system, basis : System, Basis
        Atoms and the number of their orbitals; only the shells of ``basis`` matter.
    interleaved : bool
        Whether each orbital stands for up and down; blocks are then spin-major, [[uu, ud], [du, dd]].

    Returns
    -------
    PairBlocks
        Only pairs with an entry.
    """
    spins = 2 if interleaved else 1
    width = basis.n_orbitals(system.numbers)
    atom_of = np.repeat(np.arange(system.n_atoms), width)
    start = np.cumsum(width) - width

    def place(index: IntArray) -> tuple[IntArray, IntArray]:
        """Atom and position in its block."""
        orbital, spin = index // spins, index % spins
        atom = atom_of[orbital]
        return atom, spin * width[atom] + orbital - start[atom]

    (i, a), (j, b) = place(matrix.row), place(matrix.column)
    entry_pairs = np.column_stack([matrix.R, i, j])
    _, first, of_entry = np.unique(pair_keys(entry_pairs)[0], return_index=True, return_inverse=True)
    pairs = entry_pairs[first]
    shapes = spins * width[pairs[:, 3:]]
    out = PairBlocks.zeros(pairs, shapes, matrix.n_components, matrix.values.dtype)
    slot = out.offsets[of_entry] + a * shapes[of_entry, 1] + b
    if np.bincount(slot * matrix.n_components + matrix.component, minlength=1).max() > 1:
        raise DataError(f"{matrix.path} gives some entries twice: the file is damaged, or several runs are in it")
    out.entries[matrix.component, slot] = matrix.values
    return out


def spin_free(blocks: PairBlocks, path: Path) -> PairBlocks:
    """The scalar part of a spinor matrix that does not depend on spin, such as the overlap of an nspin 4 run.

    Raises
    ------
    DataError
        If it does depend on spin or is not real.
    """
    worst = 0.0

    def scalar(spinor: Array, _pairs: IntArray) -> Array:
        nonlocal worst
        n_components, n, rows, columns = spinor.shape
        parts = spinor.reshape(n_components, n, 2, rows // 2, 2, columns // 2)
        up, down = parts[:, :, 0, :, 0], parts[:, :, 1, :, 1]
        for wrong in (up - down, up.imag, parts[:, :, 0, :, 1], parts[:, :, 1, :, 0]):
            worst = max(worst, float(np.abs(wrong).max(initial=0.0)))
        return np.ascontiguousarray(up.real)

    out = blocks.mapped(scalar)
    if not worst <= MAX_SPIN_PART:
        raise DataError(f"{path} differs from a real matrix times the unit matrix of spin by {worst:.1e}, expected below {MAX_SPIN_PART:g}")
    return out
