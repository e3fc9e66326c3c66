"""The localized basis of a large cell at one k: derivatives of H and S, and positions, as sparse matrices in the lattice gauge."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from deeph.physics.bloch import BlochMatrix
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.geometry.bloch_basis import AXIAL
from postprocess.geometry.positions import Positions

Matrices = list[sparse.csr_array]
"""Along x, y and z."""


class SparseBasis:
    """What :class:`postprocess.geometry.bloch_basis.BlochBasis` is for small cells; all matrices have the size and pattern of H(k).

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    positions : Positions
        On the pattern of S.
    """

    def __init__(self, hamiltonian: Hamiltonian, positions: Positions) -> None:
        self.hamiltonian, self.positions = hamiltonian, positions

    def dH(self, k: FloatArray, spin: int) -> Matrices:
        """Derivatives of H(k), eV Angstrom; of one spin channel."""
        return [self.hamiltonian.H_bloch.derivative(k, [a], component=spin) for a in range(3)]

    def dS(self, k: FloatArray) -> Matrices:
        """Derivatives of S(k), Angstrom."""
        return [self.hamiltonian.S_bloch.derivative(k, [a]) for a in range(3)]

    def W(self, k: FloatArray) -> Matrices:
        """Hermitian part of the connection of the basis, Angstrom; see :mod:`deeph.physics.positions`."""
        return [self._W.csr(k, component=a) for a in range(3)]

    def A(self, k: FloatArray) -> Matrices:
        """The connection of the basis <u_i| i d/dk |u_j> = W + (i/2) dS/dk, Angstrom; not Hermitian."""
        out = self.W(k)
        for a, of_S in enumerate(self.dS(k)):
            out[a] = like(of_S, out[a].data + 0.5j * of_S.data)
        return out

    def curl(self, k: FloatArray) -> Matrices:
        """Curl of the connection, components yz, zx, xy, Angstrom^2."""
        out = []
        for a, b in AXIAL:
            first, second = self._W.derivative(k, [a], component=b), self._W.derivative(k, [b], component=a)
            out.append(like(first, first.data - second.data))
        return out

    @cached_property
    def _W(self) -> BlochMatrix:
        W, data = self.positions.W, self.hamiltonian
        if data.basis.spin == "spinor":
            each = [PairBlocks(W.pairs, W.shapes, one[None]).to_spinor() for one in W.entries]
            W = replace(each[0], entries=np.concatenate([one.entries for one in each]))
        return BlochMatrix(data.system, W, data.H_bloch.pattern)


def like(matrix: Any, values: Any) -> sparse.csr_array:
    """A matrix of the same pattern."""
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
