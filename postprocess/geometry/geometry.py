"""The geometry of Bloch states in a basis that is not orthogonal, from H, S and r as they are.

With |u_n> = e^{-ik.r} |psi_n>, S(k) and the connection of the basis A = W + (i/2) dS/dk (:mod:`deeph.physics.positions`), lattice gauge:

* velocity <u_n| dH/dk |u_m>: v_nm = C_n^dagger (dH - (E_n + E_m)/2 dS) C_m + i (E_n - E_m) C_n^dagger W C_m
* connection <u_n| i d/dk |u_m> = i v_nm / (E_m - E_n) between levels of different energy
* curvature of a group of levels, a matrix: d_a A_b - d_b A_a - i [A_a, A_b] of the connection of the group

The last one has two parts. Written out (the structure of X. Wang, J. R. Yates, I. Souza and D. Vanderbilt,
doi:10.1103/PhysRevB.74.195118, with S kept), the terms of the other levels l of the basis are the Kubo sum
i sum_l (A_a,nl A_b,lm - A_b,nl A_a,lm), and what is left is C^dagger [d_a A_b - d_b A_a - i (A_a^dagger S^-1 A_b - A_b^dagger S^-1 A_a)] C
with the A of the basis: the curvature of the basis itself, of the part of r|u> that the orbitals cannot hold. Their sum, ``curl``, is the
curvature of states that are normalized and differentiated as functions in space; its integral over the zone is a whole number. ``kubo``
alone sums to zero over all levels. With S = 1 and diagonal r they are the same.

<r_a r_b> and <r_a H r_b> are not known; quantum metric and orbital moment are those **within the basis**: r_a S^-1 r_b and
r_a S^-1 H S^-1 r_b.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.bloch_basis import AXIAL, BlochBasis
from postprocess.geometry.positions import find_positions

Array = npt.NDArray[Any]
Method = Literal["curl", "kubo"]
DEGENERATE = 1e-4
"""eV; levels so close are one: only sums over them mean anything."""
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


class AllLevels(NamedTuple):
    """Every level of the basis at many k: energies (n_k, n) in eV, ascending, and C (n_k, n, n) in columns with C^dagger S C = 1."""

    energies: FloatArray
    C: Array


class Geometry:
    """Velocities, connections, curvatures, metric, moments and spins at some k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian or BlochBasis
        A Hamiltonian is made Hermitian and its positions are found, see :func:`postprocess.geometry.positions.find_positions`; a BlochBasis
        keeps what was prepared before.
    k : (n_k, 3) array
        Fractional.
    levels : AllLevels, optional
        By default they are computed.
    spin : int
        Channel of collinear spins.
    tolerance : float
        Levels within it are degenerate, eV.

    Attributes
    ----------
    energies : (n_k, n) array
        eV, ascending.
    C : (n_k, n, n) array
        States in columns.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian | BlochBasis,
        k: FloatArray,
        levels: AllLevels | None = None,
        *,
        spin: int = 0,
        tolerance: float = DEGENERATE,
    ) -> None:
        self.basis = prepared(hamiltonian)
        self.k, self.channel, self.tolerance = np.asarray(k, float).reshape(-1, 3), spin, tolerance
        self._H, self._S = self.basis.H(self.k, spin), self.basis.S(self.k)
        self.energies, self.C = self._solved() if levels is None else levels

    def _solved(self) -> AllLevels:
        """All levels by LAPACK."""
        S = self.basis.with_spin(self._S[:, 0])
        found = [solve_states_at_k(h, s, q) for h, s, q in zip(self._H[:, 0], S, self.k, strict=True)]
        return AllLevels(np.array([e for e, _ in found]), np.array([C for _, C in found], complex))

    def __repr__(self) -> str:
        formula = self.basis.hamiltonian.system.formula
        return f"Geometry {formula}, {len(self.k)} k-points, {self.energies.shape[1]} levels, {self.basis.positions.source}"

    @cached_property
    def groups(self) -> IntArray:
        """(n_k, n) number of the group of degenerate levels that each level belongs to."""
        return np.concatenate([np.zeros((len(self.k), 1), int), np.cumsum(np.diff(self.energies) > self.tolerance, axis=1)], axis=1)

    def separation(self, levels: Sequence[int]) -> FloatArray:
        """(n_k,) distance in eV of a group of levels to all others; infinite if there are none."""
        inside, outside = self._parts(levels)
        distance = np.abs(self.energies[:, inside, None] - self.energies[:, None, outside])
        return np.asarray(distance.min(axis=(1, 2), initial=np.inf))

    def _parts(self, levels: Sequence[int]) -> tuple[IntArray, IntArray]:
        """The levels of a group and all others; UsageError if they are none."""
        n = self.energies.shape[1]
        inside = np.unique(np.asarray(levels, int))
        if not len(inside) or len(inside) != len(levels) or inside[0] < 0 or inside[-1] >= n:
            raise UsageError(f"levels {list(levels)}: expected different numbers from 0 to {n - 1}")
        return inside, np.setdiff1d(np.arange(n), inside)

    def _products(self, left: Array, M: Array, right: Array) -> Array:
        """left^dagger M right of states (n_k, n, m) and matrices (n_k, 3, n, n) between spatial orbitals."""
        pairs = zip(self._spins(left), self._spins(right), strict=True)
        return np.asarray(sum(bra.conj().swapaxes(-1, -2)[:, None] @ (M @ ket[:, None]) for bra, ket in pairs))

    def _spins(self, C: Array) -> list[Array]:
        """The states on the spatial orbitals, of spinors those with spin up and those with spin down."""
        return [C] if self.basis.hamiltonian.basis.spin != "spinor" else [C[:, rows] for rows in self.basis.spin_rows]

    @cached_property
    def _basis_W(self) -> tuple[Array, Array]:
        return self.basis.W(self.k)

    @cached_property
    def _A(self) -> Array:
        """(n_k, 3, n, n) C^dagger A C of the connection of the basis; not Hermitian."""
        return self._products(self.C, self._basis_W[0] + 0.5j * self._S[:, 1:], self.C)

    @cached_property
    def _W(self) -> Array:
        """Its Hermitian part."""
        return np.asarray((self._A + self._A.conj().swapaxes(-1, -2)) / 2)

    @cached_property
    def velocity(self) -> Array:
        """(n_k, 3, n, n) <u_n| dH/dk |u_m> in eV Angstrom (times hbar), Hermitian; its diagonal is dE/dk.

        In terms of the connection of the basis C^dagger dH C + i (E_n A_nm - E_m A*_mn), two matrices that are Hermitian conjugates.
        """
        C = self.C[:, None]
        half = C.conj().swapaxes(-1, -2) @ (self._H[:, 1:] @ C)
        half *= 0.5
        half += (1j * self.energies)[:, None, :, None] * self._A
        return np.asarray(half + half.conj().swapaxes(-1, -2))  # exactly Hermitian, so that the Kubo sums of all levels cancel

    @cached_property
    def between(self) -> Array:
        """(n_k, 3, n, n) connection between levels of different groups, Angstrom, Hermitian; zero within each group."""
        step = self.energies[:, None, :] - self.energies[:, :, None]
        apart = self.groups[:, None, :] != self.groups[:, :, None]
        return np.asarray(self.velocity * (1j * apart / np.where(apart, step, 1.0))[:, None])

    @cached_property
    def connection(self) -> Array:
        """(n_k, 3, n, n) Berry connection <u_n| i d/dk |u_m>, Angstrom, Hermitian.

        Blocks of one group are those of the gauge in which its states do not turn into each other, C^dagger S dC = -1/2 C^dagger dS C: the
        position W between them. Like every connection they depend on the gauge, and on the origin.
        """
        together = self.groups[:, None, :] == self.groups[:, :, None]
        return np.asarray(self.between + together[:, None] * self._W)

    @cached_property
    def basis_curvature(self) -> FloatArray:
        """(n_k, 3, n) curvature of the basis in each level, Angstrom^2: what ``curl`` has and ``kubo`` has not."""
        curl = sum(np.einsum("kpn,kapn->kan", C.conj(), self._basis_W[1] @ C[:, None]).real for C in self._spins(self.C))
        for c, (a, b) in enumerate(AXIAL):
            curl[:, c] += 2 * np.einsum("kln,kln->kn", self._A[:, a].conj(), self._A[:, b]).imag
        return np.asarray(curl)

    def curvature(self, method: Method = "curl") -> FloatArray:
        """(n_k, 3, n) Berry curvature of each level, components yz, zx, xy, Angstrom^2; degenerate levels have the mean of their group.

        It is that of the group (:meth:`curvature_matrix`) of levels that are degenerate there, divided by their number.
        """
        A = self.between
        out = np.stack([-2 * np.einsum("knl,knl->kn", A[:, a], A[:, b].conj()).imag for a, b in AXIAL], axis=1)
        return self.mean_of_groups(out + self.basis_curvature if _check(method) == "curl" else out)

    def curvatures(self) -> tuple[FloatArray, FloatArray]:
        """:meth:`curvature` by ``curl`` and by ``kubo``, for little more than the price of one."""
        kubo = self.curvature("kubo")
        return kubo + self.mean_of_groups(self.basis_curvature), kubo

    def metric(self) -> FloatArray:
        """(n_k, 3, 3, n) quantum metric within the basis of each level, Angstrom^2; degenerate levels have the mean of their group."""
        A = self.between
        return self.mean_of_groups(np.einsum("kanl,kbnl->kabn", A, A.conj()).real)

    def orbital_moment(self) -> FloatArray:
        """(n_k, 3, n) orbital moment within the basis, Bohr magneton; degenerate levels have the mean of their group.

        m = -(i e/2 hbar) <d u| x (H - E) |d u>, of an electron with charge -e.
        """
        A, step = self.between, self.energies[:, None, :] - self.energies[:, :, None]
        moment = [np.einsum("knl,knl,knl->kn", A[:, a], step, A[:, b].conj()).imag for a, b in AXIAL]
        return self.mean_of_groups(np.stack(moment, axis=1)) / (HBAR2_OVER_MASS / 2)

    def mean_of_groups(self, values: Array) -> FloatArray:
        """(n_k, ..., n) values replaced by their mean in each group of degenerate levels."""
        first = np.flatnonzero(np.diff(self.groups.ravel(), prepend=-1))
        first = np.union1d(first, np.arange(0, self.groups.size, self.groups.shape[1]))
        length = np.diff(np.append(first, self.groups.size))
        if (length == 1).all():
            return np.asarray(values)
        flat = np.moveaxis(values, -1, 1).reshape(self.groups.size, -1)
        mean = np.repeat(np.add.reduceat(flat, first, axis=0) / length[:, None], length, axis=0)
        return np.asarray(np.moveaxis(mean.reshape(*self.groups.shape, *values.shape[1:-1]), 1, -1))

    def _group_products(self, levels: Sequence[int]) -> tuple[IntArray, IntArray, Array]:
        """The levels, all others, and (n_k, 3, g, m) the connection between them."""
        inside, outside = self._parts(levels)
        step = self.energies[:, None, outside] - self.energies[:, inside, None]
        A = self.velocity[:, :, inside[:, None], outside] * (1j / np.where(step == 0, np.inf, step))[:, None]
        return inside, outside, np.asarray(A)

    def curvature_matrix(self, levels: Sequence[int], method: Method = "curl") -> Array:
        """(n_k, 3, g, g) non-abelian Berry curvature of a group of levels, components yz, zx, xy, Angstrom^2, Hermitian.

        The levels (counted from 0) are taken as one group whether they are degenerate or not; where another level touches them
        (:meth:`separation`), it means nothing. Its trace is what Chern numbers are made of.
        """
        inside, _, A = self._group_products(levels)
        Q = np.einsum("kanl,kbml->kabnm", A, A.conj())
        out = np.stack([1j * (Q[:, a, b] - Q[:, b, a]) for a, b in AXIAL], axis=1)
        if _check(method) == "curl":
            C, A_basis = self.C[:, :, inside], self._A[..., inside]
            out += self._products(C, self._basis_W[1], C)
            P = np.einsum("kaln,kblm->kabnm", A_basis.conj(), A_basis)
            out -= np.stack([1j * (P[:, a, b] - P[:, b, a]) for a, b in AXIAL], axis=1)
        return out

    def metric_matrix(self, levels: Sequence[int]) -> Array:
        """(n_k, 3, 3, g, g) quantum metric within the basis of a group of levels, Angstrom^2."""
        _, _, A = self._group_products(levels)
        Q = np.einsum("kanl,kbml->kabnm", A, A.conj())
        return np.asarray((Q + Q.swapaxes(1, 2)) / 2)

    def orbital_moment_matrix(self, levels: Sequence[int]) -> Array:
        """(n_k, 3, g, g) orbital moment within the basis of a group of levels, Bohr magneton; energies of the group are its mean."""
        inside, outside, A = self._group_products(levels)
        step = self.energies[:, outside] - self.energies[:, inside].mean(axis=1, keepdims=True)
        Q = np.einsum("kanl,kl,kbml->kabnm", A, step, A.conj())
        return np.stack([-0.5j * (Q[:, a, b] - Q[:, b, a]) for a, b in AXIAL], axis=1) / (HBAR2_OVER_MASS / 2)

    @cached_property
    def spin_matrix(self) -> Array:
        """(n_k, 3, n, n) Pauli matrices sigma_x, sigma_y, sigma_z between the states; hbar/2 is the unit.

        Raises
        ------
        UsageError
            If H has no spin.
        """
        kind, n_k, n = self.basis.hamiltonian.basis.spin, len(self.k), self.energies.shape[1]
        if kind == "none":
            raise UsageError("H has no spin, so its states have no spin texture; it takes a run with spin-orbit coupling or magnetism")
        if kind == "collinear":
            out = np.zeros((n_k, 3, n, n), complex)
            out[:, 2] = (1, -1)[self.channel] * np.eye(n)
            return out
        S, parts = self._S[:, 0], self._spins(self.C)
        products = [[left.conj().swapaxes(-1, -2) @ (S @ right) for right in parts] for left in parts]
        return np.asarray(np.einsum("ast,stknm->kanm", PAULI, np.array(products)))

    def spin_texture(self) -> FloatArray:
        """(n_k, 3, n) expectation values of the Pauli matrices, -1 to 1; degenerate levels have the mean of their group."""
        return self.mean_of_groups(np.einsum("kann->kan", self.spin_matrix).real)


def _check(method: str) -> str:
    """The method; UsageError if it is none."""
    if method not in ("curl", "kubo"):
        raise UsageError(f"method {method!r} of the curvature: expected curl or kubo")
    return method


def prepared(hamiltonian: Hamiltonian | BlochBasis) -> BlochBasis:
    """The basis with Hermitian matrices and the positions that there are."""
    if isinstance(hamiltonian, BlochBasis):
        return hamiltonian
    clean = hermitian(hamiltonian)
    return BlochBasis(clean, find_positions(clean))
