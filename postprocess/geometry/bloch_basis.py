"""The localized basis at many k: H, S and positions with their derivatives, dense, in the lattice gauge."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.geometry.fourier import CellMatrices
from postprocess.geometry.positions import Positions

Array = npt.NDArray[Any]
AXIAL = ((1, 2), (2, 0), (0, 1))
"""Components yz, zx, xy of an antisymmetric tensor, as the vector x, y, z."""


@dataclass(frozen=True)
class BlochBasis:
    """Matrices between the orbitals of one structure at k of shape (n_k, 3), fractional.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    positions : Positions
        On the pattern of S.
    """

    hamiltonian: Hamiltonian
    positions: Positions

    def H(self, k: FloatArray, spin: int) -> Array:
        """(n_k, 4, n, n) H(k) in eV, and its derivatives along x, y, z in eV Angstrom."""
        return self._H[spin](k)[:, :, 0]

    def S(self, k: FloatArray) -> Array:
        """(n_k, 4, n, n) S(k), and its derivatives along x, y, z in Angstrom; of spatial orbitals, see :meth:`with_spin`."""
        return self._S(k)[:, :, 0]

    def W(self, k: FloatArray) -> tuple[Array, Array]:
        """The Hermitian part of the connection of the basis, <u_i| i d/dk |u_j> = W + (i/2) dS/dk; of spatial orbitals.

        Returns
        -------
        W : (n_k, 3, n, n) array
            Angstrom.
        curl : (n_k, 3, n, n) array
            d_a W_b - d_b W_a as an axial vector, Angstrom^2: the curl of the whole connection, for dS/dk has none.
        """
        found = self._W(k)
        return found[:, 0], np.stack([found[:, 1 + a, b] - found[:, 1 + b, a] for a, b in AXIAL], axis=1)

    @cached_property
    def spin_rows(self) -> tuple[IntArray, IntArray]:
        """Rows of H(k) with spin up, and those with spin down, of a spinor basis; both in the order of the orbitals of S."""
        n = self.hamiltonian.basis.n_orbitals(self.hamiltonian.system.numbers)
        up = np.arange(n.sum()) + np.repeat(np.cumsum(n) - n, n)
        return up, up + np.repeat(n, n)

    def with_spin(self, M: Array) -> Array:
        """A matrix of spatial orbitals as it acts on the states: twice on spinors."""
        if self.hamiltonian.basis.spin != "spinor":
            return M
        out = np.zeros((*M.shape[:-2], 2 * M.shape[-2], 2 * M.shape[-1]), M.dtype)
        for rows in self.spin_rows:
            out[..., rows[:, None], rows] = M
        return out

    def _of(self, blocks: PairBlocks) -> CellMatrices:
        return CellMatrices.of(blocks, self.hamiltonian.system.cell, self.hamiltonian.system.n_atoms)

    @cached_property
    def _H(self) -> list[CellMatrices]:
        H = self.hamiltonian.hamiltonian
        return [self._of(PairBlocks(H.pairs, H.shapes, entries)) for entries in H.entries]

    @cached_property
    def _S(self) -> CellMatrices:
        return self._of(self.hamiltonian.S)

    @cached_property
    def _W(self) -> CellMatrices:
        return self._of(self.positions.W)
