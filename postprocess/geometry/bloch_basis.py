"""The localized basis at many k: H, S, positions and their derivatives, dense, in the lattice gauge."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.bloch import BlochMatrix, BlochPattern
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.geometry.positions import Positions

Array = npt.NDArray[Any]
AXIAL = ((1, 2), (2, 0), (0, 1))
"""Components yz, zx, xy of an antisymmetric tensor, as the vector x, y, z."""


@dataclass(frozen=True)
class BlochBasis:
    """Matrices between the orbitals of one structure at k of shape (n_k, 3), fractional; derivatives are Cartesian.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    positions : Positions
        On the pattern of S.
    """

    hamiltonian: Hamiltonian
    positions: Positions

    @property
    def n_orbitals(self) -> int:
        """Dimension of H(k)."""
        return self.hamiltonian.n_orbitals

    def H(self, k: FloatArray, spin: int) -> Array:
        """(n_k, n, n) eV."""
        return self.hamiltonian.H_bloch.dense(k, component=spin)

    def S(self, k: FloatArray) -> Array:
        """(n_k, n, n)."""
        return self._with_spin(self._overlap.dense(k))

    def dH(self, k: FloatArray, spin: int) -> Array:
        """(n_k, 3, n, n) dH/dk, eV Angstrom."""
        return np.stack([self.hamiltonian.H_bloch.dense_derivative(k, (a,), component=spin) for a in range(3)], axis=1)

    def dS(self, k: FloatArray) -> Array:
        """(n_k, 3, n, n) dS/dk, Angstrom."""
        return self._with_spin(np.stack([self._overlap.dense_derivative(k, (a,)) for a in range(3)], axis=1))

    def W(self, k: FloatArray) -> Array:
        """(n_k, 3, n, n) Hermitian part of the connection of the basis, <u_i| i d/dk |u_j> = W + (i/2) dS/dk, Angstrom."""
        return self._with_spin(np.stack([self._position.dense(k, component=a) for a in range(3)], axis=1))

    def curl_W(self, k: FloatArray) -> Array:
        """(n_k, 3, n, n) d_a W_b - d_b W_a as an axial vector, Angstrom^2; also the curl of the whole connection of the basis."""
        d = self._position.dense_derivative
        return self._with_spin(np.stack([d(k, (a,), component=b) - d(k, (b,), component=a) for a, b in AXIAL], axis=1))

    @cached_property
    def spin_rows(self) -> tuple[IntArray, IntArray]:
        """Rows of H(k) with spin up, and those with spin down, of a spinor basis; both in the order of the orbitals of S."""
        n = self.hamiltonian.basis.n_orbitals(self.hamiltonian.system.numbers)
        start = np.repeat(2 * np.cumsum(n) - 2 * n, n)
        up = start + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        return up, up + np.repeat(n, n)

    def spin_free_overlap(self, k: FloatArray) -> Array:
        """(n_k, n, n) S of the spatial orbitals."""
        return self._overlap.dense(k)

    def _with_spin(self, M: Array) -> Array:
        """A spin-free matrix as it acts on the states: twice on spinors."""
        if self.hamiltonian.basis.spin != "spinor":
            return M
        out = np.zeros((*M.shape[:-2], 2 * M.shape[-2], 2 * M.shape[-1]), M.dtype)
        for rows in self.spin_rows:
            out[..., rows[:, None], rows] = M
        return out

    @cached_property
    def _pattern(self) -> BlochPattern:
        S = self.hamiltonian.S
        return BlochPattern(S.pairs, S.shapes, self.hamiltonian.system.n_atoms)

    @cached_property
    def _overlap(self) -> BlochMatrix:
        return BlochMatrix(self.hamiltonian.system, self.hamiltonian.S, self._pattern)

    @cached_property
    def _position(self) -> BlochMatrix:
        S, W = self.hamiltonian.S, self.positions.W
        entries = W.entries if np.array_equal(W.pairs, S.pairs) else W.on_pattern(S.pairs, S.shapes).entries
        return BlochMatrix(self.hamiltonian.system, replace(S, entries=entries), self._pattern)
