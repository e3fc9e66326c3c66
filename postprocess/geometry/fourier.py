"""Small dense matrices at many k with their gradients: sums over lattice vectors as one matrix product.

For cells of some orbitals, where :class:`deeph.physics.bloch.BlochMatrix`, made for one k of a large cell, spends its time on bookkeeping.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import FloatArray, IntArray

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CellMatrices:
    """M(R) between all orbitals of a cell.

    Attributes
    ----------
    R : (n_R, 3) int array
        Lattice vectors.
    cell : (3, 3) array
        In rows, Angstrom.
    M : (n_R, n_components, n, n) array
        The matrices.
    """

    R: IntArray
    cell: FloatArray
    M: Array

    @classmethod
    def of(cls, blocks: PairBlocks, cell: FloatArray, n_atoms: int) -> "CellMatrices":
        """Of packed blocks; every atom has its on-site block."""
        R, which = np.unique(blocks.pairs[:, :3], axis=0, return_inverse=True)
        width = np.zeros(n_atoms, np.int64)
        width[blocks.pairs[:, 3]] = blocks.shapes[:, 0]
        start = np.cumsum(width) - width
        M = np.zeros((len(R), blocks.n_components, int(width.sum()), int(width.sum())), blocks.entries.dtype)
        for (rows, columns), members in blocks.groups():
            row = start[blocks.pairs[members, 3]][:, None, None] + np.arange(rows)[:, None]
            column = start[blocks.pairs[members, 4]][:, None, None] + np.arange(columns)
            for c, values in enumerate(blocks.take(members)):
                M[which.ravel()[members][:, None, None], c, row, column] = values
        return cls(R, cell, M)

    def __call__(self, k: FloatArray) -> Array:
        """(n_k, 4, n_components, n, n) M(k) at fractional k (n_k, 3), and its derivatives along x, y, z (Angstrom)."""
        turns = (k @ self.R.T) % 1.0
        phase = np.exp(2j * np.pi * turns)
        phase[turns == 0.5] = -1  # exactly, so that M(k) is real at the edges of the zone where it should be
        gradient = 1j * phase[:, None] * (self.R @ self.cell).T
        weights = np.concatenate([phase[:, None], gradient], axis=1).reshape(-1, len(self.R))
        flat = self.M.reshape(len(self.R), -1)
        out = np.empty((len(weights), flat.shape[1]), np.complex128)
        if np.iscomplexobj(flat):
            np.matmul(weights, flat, out=out)
        else:
            out.real, out.imag = weights.real @ flat, weights.imag @ flat
        return out.reshape(len(k), 4, *self.M.shape[1:])
