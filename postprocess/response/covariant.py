"""Covariant derivatives of positions between levels, r_b,nm;a, in a basis that is not orthogonal; no sum is truncated.

For a matrix M(k) of the basis and X = C^dagger M C, the covariant derivative is X;a = C^dagger (d_a M) C + G_a^dagger X + X G_a with
G_a = i (C^dagger A_a C - r_a), where A is the connection of the basis and r the connection between groups of degenerate levels: this is
C^dagger S d_a C plus the connection within the groups. The velocity v_b = C^dagger d_b H C - {E, S_b}/2 + i [E, W_b] is made of such
matrices, and E;a is the velocity within the groups; from v = i [E, r]:

    r_b,nm;a = (v_b;a - i [E;a, r_b])_nm / (i (E_n - E_m)).

In an orthogonal basis it is the formula of C. Aversa and J. E. Sipe, doi:10.1103/PhysRevB.52.14636, with what a finite basis needs
(J. Ibanez-Azpiroz et al., doi:10.1103/PhysRevB.97.245143); with overlaps compare C. Wang et al., doi:10.1088/1367-2630/ab3c9c.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import FloatArray
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.fourier import CellMatrices
from postprocess.geometry.geometry import DEGENERATE, Geometry

Array = npt.NDArray[Any]
TOGETHER = 0.1
"""Of the width of transitions: levels so close are one group, in which r_nm;a is a derivative of matrices. Summed over the group nothing
changes, as their transitions have the same energy, but nothing is divided by the small distance of levels that symmetry, or the noise of H,
has almost made equal."""


@dataclass(frozen=True)
class SecondDerivatives:
    """Second derivatives of H, S, and the first ones of W, at many k."""

    basis: BlochBasis

    def H(self, k: FloatArray, spin: int) -> Array:
        """(n_k, 3, 3, n, n) of H(k), eV Angstrom^2."""
        return _second(self._H[spin], k)[:, :, :, 0]

    def S(self, k: FloatArray) -> Array:
        """(n_k, 3, 3, n, n) of S(k), Angstrom^2, as it acts on the states."""
        return self.basis.with_spin(_second(self._S, k)[:, :, :, 0])

    def W(self, k: FloatArray) -> tuple[Array, Array]:
        """W (n_k, 3, n, n) in Angstrom, and d_a W_b (n_k, 3, 3, n, n) in Angstrom^2, as they act on the states."""
        found = self.basis.with_spin(self._W(k))
        return found[:, 0], found[:, 1:]

    def _of(self, blocks: PairBlocks) -> CellMatrices:
        system = self.basis.hamiltonian.system
        return CellMatrices.of(blocks, system.cell, system.n_atoms)

    @cached_property
    def _H(self) -> list[CellMatrices]:
        H = self.basis.hamiltonian.hamiltonian
        return [self._of(PairBlocks(H.pairs, H.shapes, entries)) for entries in H.entries]

    @cached_property
    def _S(self) -> CellMatrices:
        return self._of(self.basis.hamiltonian.S)

    @cached_property
    def _W(self) -> CellMatrices:
        return self._of(self.basis.positions.W)


def _second(matrices: CellMatrices, k: FloatArray) -> Array:
    """(n_k, 3, 3, n_components, n, n) second derivatives of sum_R e^{ik.R} M(R)."""
    R = matrices.R @ matrices.cell
    phase = np.exp(2j * np.pi * ((k @ matrices.R.T) % 1.0))
    weights = -phase[:, None, None] * (R[:, :, None] * R[:, None, :]).transpose(1, 2, 0)
    flat = matrices.M.reshape(len(R), -1)
    return np.asarray(weights.reshape(-1, len(R)) @ flat).reshape(len(k), 3, 3, *matrices.M.shape[1:])


def covariant_derivative(g: Geometry, second: SecondDerivatives) -> Array:
    """(n_k, 3, 3, n, n) r_b,nm;a with components a, b: derivatives along a of the position b between different groups, Angstrom^2."""
    basis, C, r, v = g.basis, g.C[:, None], g.between, g.velocity
    E = g.energies[:, None, :, None], g.energies[:, None, None, :]
    bra = C.conj().swapaxes(-1, -2)
    H1, S1 = basis.H(g.k, g.channel)[:, 1:], basis.with_spin(basis.S(g.k)[:, 1:])
    W0, W1 = second.W(g.k)
    H2, S2 = second.H(g.k, g.channel), second.S(g.k)
    Hb, Sb, Wb = bra @ H1 @ C, bra @ S1 @ C, bra @ W0 @ C
    together = g.groups[:, None, :] == g.groups[:, :, None]
    apart = ~together
    slope = v * together[:, None]
    step = np.where(apart, g.energies[:, :, None] - g.energies[:, None, :], np.inf)
    out = np.empty((len(g.k), 3, *r.shape[1:]), complex)
    for a in range(3):
        turn = (1j * (Wb[:, a] + 0.5j * Sb[:, a] - r[:, a]))[:, None]
        back, V = turn.conj().swapaxes(-1, -2), slope[:, a, None]

        def derived(M: Array, X: Array, turn: Array = turn, back: Array = back) -> Array:
            return np.asarray(bra @ M @ C + back @ X + X @ turn)

        dH, dS, dW = derived(H2[:, a], Hb), derived(S2[:, a], Sb), derived(W1[:, a], Wb)
        dv = dH - (V @ Sb + Sb @ V + (E[0] + E[1]) * dS) / 2 + 1j * (V @ Wb - Wb @ V + (E[0] - E[1]) * dW)
        out[:, a] = -1j * (dv - 1j * (V @ r - r @ V)) / step[:, None]
    return out


@dataclass(frozen=True)
class Frame:
    """What responses of second order are made of at some k, levels closer than :data:`TOGETHER` of the width in groups.

    Attributes
    ----------
    geometry : Geometry
        With these groups.
    second : SecondDerivatives
        Of the basis.
    """

    geometry: Geometry
    second: SecondDerivatives

    @classmethod
    def at(cls, basis: BlochBasis, second: SecondDerivatives, k: FloatArray, spin: int, width: float) -> "Frame":
        """At k (n_k, 3), for transitions of this width in eV."""
        return cls(Geometry(basis, k, spin=spin, tolerance=max(DEGENERATE, TOGETHER * width)), second)

    @property
    def energies(self) -> FloatArray:
        """(n_k, n) eV."""
        return self.geometry.energies

    @property
    def r(self) -> Array:
        """(n_k, 3, n, n) positions between groups, Angstrom."""
        return self.geometry.between

    @cached_property
    def slope(self) -> Array:
        """(n_k, 3, n, n) velocities within groups, eV Angstrom."""
        g = self.geometry
        return np.asarray(g.velocity * (g.groups[:, None, :, None] == g.groups[:, None, None, :]))

    @cached_property
    def derivative(self) -> Array:
        """(n_k, 3, 3, n, n) r_b;a, components a, b, Angstrom^2."""
        return covariant_derivative(self.geometry, self.second)
