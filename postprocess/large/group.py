"""The geometry of a group of levels of a large cell at one k, equal to that of :class:`postprocess.geometry.geometry.Geometry`.

With the connection of the basis A (Hermitian part W) and the states C_n of the group, the part of d|u_n>/dk in the other levels of the
basis is

    D_n = X_n - i Q S^-1 A C_n,   (H - E_n S) X_n = -(1 - S C C^dagger)(dH - E_n dS) C_n,   Q = 1 - C C^dagger S,

and D^dagger S D, D^dagger (H - E S) D are all that curvature, metric and orbital moment ask of other levels.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR2_OVER_MASS
from postprocess.eigen.cholesky import factor_overlap
from postprocess.eigen.pencil import Pencil
from postprocess.geometry.bloch_basis import AXIAL
from postprocess.geometry.geometry import DEGENERATE, Method
from postprocess.large.sparse_basis import Matrices, SparseBasis
from postprocess.large.sternheimer import Group, Sternheimer

Array = npt.NDArray[Any]


class GroupGeometry:
    """Curvature, metric and orbital moment of neighbouring levels at one k.

    Parameters
    ----------
    basis : SparseBasis
        H, S and positions.
    pencil : Pencil
        H(k), S(k); it is factored once more, within the group.
    k : (3,) array
        Fractional.
    group : Group
        Its states, lattice gauge.
    spin : int
        Channel.

    Raises
    ------
    DataError
        If another level touches the group, S(k) is not positive definite, or the solution does not converge.
    """

    def __init__(self, basis: SparseBasis, pencil: Pencil, k: FloatArray, group: Group, spin: int = 0) -> None:
        self._solver = Sternheimer(pencil, group)
        self._pencil, self.group = pencil, self._solver.group
        self.energies, self.C = self.group.energies, self.group.C
        self._dH, self._dS, self._W = basis.dH(k, spin), basis.dS(k), basis.W(k)
        self._curl = basis.curl(k)
        self.n_steps = 0

    def _applied(self, matrices: Matrices) -> Array:
        """(n, 3, g) products with the states."""
        return np.stack([M @ self.C for M in matrices], axis=1)

    @cached_property
    def _products(self) -> tuple[Array, Array, Array]:
        """The products dH C, dS C, W C."""
        return self._applied(self._dH), self._applied(self._dS), self._applied(self._W)

    @cached_property
    def velocity(self) -> Array:
        """(3, g, g) velocities within the group, eV Angstrom (times hbar)."""
        H, S, W = (np.einsum("in,iam->anm", self.C.conj(), MC) for MC in self._products)
        E = self.energies
        v = H - (E[:, None] + E) / 2 * S + 1j * (E[:, None] - E) * W
        return np.asarray((v + v.conj().swapaxes(1, 2)) / 2)

    @cached_property
    def _basis_parts(self) -> tuple[Array, Array]:
        """(n, 3, g) A C, and S^-1 A C."""
        _, SC, WC = self._products
        A = WC + 0.5j * SC
        factor = factor_overlap(self._pencil.S)
        flat = A.reshape(len(A), -1)
        if np.iscomplexobj(self._pencil.S.data):
            return A, factor.solve(flat).reshape(A.shape)
        return A, (factor.solve(flat.real.copy()) + 1j * factor.solve(flat.imag.copy())).reshape(A.shape)

    @cached_property
    def outside(self) -> Array:
        """(n, 3, g) the part of the derivatives of the periodic parts in all other levels, 1/Angstrom."""
        H, S, _ = self._products
        _, solved = self._basis_parts
        X = self._solver(-(H - S * self.energies))
        self.n_steps = self._solver.n_steps
        flat = solved.reshape(len(solved), -1)
        return np.asarray(X - 1j * self._solver.outside(flat).reshape(X.shape))

    def _between(self, M: Array) -> Array:
        """(3, 3, g, g) D_a^dagger M D_b of M D (n, 3, g)."""
        return np.asarray(np.einsum("ian,ibm->abnm", self.outside.conj(), M))

    @cached_property
    def _tensors(self) -> tuple[Array, Array]:
        """D_a^dagger S D_b and D_a^dagger H D_b."""
        D = self.outside
        flat = D.reshape(len(D), -1)
        return tuple(self._between(M(flat).reshape(D.shape)) for M in (self._pencil.apply_S, self._pencil.apply_H))  # type: ignore[return-value]

    @cached_property
    def _basis_curvature(self) -> Array:
        """(3, g, g) what ``curl`` has and ``kubo`` has not."""
        A, solved = self._basis_parts
        P = np.einsum("ian,ibm->abnm", A.conj(), solved)
        curl = np.einsum("in,iam->anm", self.C.conj(), self._applied(self._curl))
        return np.asarray(curl - np.stack([1j * (P[a, b] - P[b, a]) for a, b in AXIAL]))

    def curvature_matrix(self, method: Method = "curl") -> Array:
        """(3, g, g) non-abelian Berry curvature of the group, components yz, zx, xy, Angstrom^2, Hermitian."""
        Q = self._tensors[0]
        out = np.stack([1j * (Q[a, b] - Q[b, a]) for a, b in AXIAL])
        return out + self._basis_curvature if method == "curl" else out

    def metric_matrix(self) -> Array:
        """(3, 3, g, g) quantum metric of the group within the basis, Angstrom^2."""
        Q = self._tensors[0]
        return np.asarray((Q + Q.swapaxes(0, 1)) / 2)

    def orbital_moment_matrix(self) -> Array:
        """(3, g, g) orbital moment of the group within the basis, Bohr magneton; energies of the group are its mean."""
        S, H = self._tensors
        Q = H - self.energies.mean() * S
        return np.stack([-0.5j * (Q[a, b] - Q[b, a]) for a, b in AXIAL]) / (HBAR2_OVER_MASS / 2)

    @cached_property
    def _degenerate(self) -> Array:
        """(g, g) whether two levels are degenerate."""
        number = np.concatenate([[0], np.cumsum(np.diff(self.energies) > DEGENERATE)])
        return np.asarray(number[:, None] == number)

    @cached_property
    def _inside(self) -> Array:
        """(3, g, g) connection between levels of the group that are not degenerate."""
        step = self.energies - self.energies[:, None]
        return np.asarray(self.velocity * 1j * ~self._degenerate / np.where(self._degenerate, 1.0, step))

    def _shared(self, values: Array) -> FloatArray:
        """(..., g) values, of degenerate levels their mean."""
        return np.asarray(values @ (self._degenerate / self._degenerate.sum(axis=0)))

    def curvature(self, method: Method = "curl") -> FloatArray:
        """(3, g) Berry curvature of each level, Angstrom^2; degenerate levels have the mean of theirs."""
        A = self._inside
        Q = np.einsum("abnn->abn", self._tensors[0]) + np.einsum("anl,bnl->abn", A, A.conj())
        out = np.stack([-2 * Q[a, b].imag for a, b in AXIAL])
        return self._shared(out + np.einsum("ann->an", self._basis_curvature).real if method == "curl" else out)

    def metric(self) -> FloatArray:
        """(3, 3, g) quantum metric within the basis of each level, Angstrom^2."""
        A = self._inside
        return self._shared((np.einsum("abnn->abn", self._tensors[0]) + np.einsum("anl,bnl->abn", A, A.conj())).real)

    def orbital_moment(self) -> FloatArray:
        """(3, g) orbital moment within the basis of each level, Bohr magneton."""
        S, H = (np.einsum("abnn->abn", M) for M in self._tensors)
        A, step = self._inside, self.energies - self.energies[:, None]
        Q = H - self.energies * S + np.einsum("anl,nl,bnl->abn", A, step, A.conj())
        return self._shared(np.stack([Q[a, b].imag for a, b in AXIAL])) / (HBAR2_OVER_MASS / 2)
