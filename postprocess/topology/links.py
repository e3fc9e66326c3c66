"""Overlaps of the periodic parts of Bloch states at neighbouring k, and the link matrices of a group of bands made of them.

With u = exp(-ik.r) psi, the overlap of the basis functions at k and k + b is

    O_ij = sum_R exp(i(k+b).R) <phi_i,0| exp(-ib.r) |phi_j,R>,    exp(-ib.r) = exp(-ib.c) [1 - ib.(r - c)] + O(b^2),

expanded about the middle c = (tau_i + tau_j + R)/2 of each pair, so that it does not depend on the origin: moving it by d multiplies all
links by exp(-ib.d). With the orbitals of atom i taken out as the phases exp(-ib.tau_i/2), what is left is one Bloch matrix, S - ib.D at
the middle k + b/2, where D = r - cS holds the dipoles about the middles of the pairs. Exact for S = 1 and diagonal r.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from deeph.physics.bloch import BlochMatrix
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.positions import positions_on_atoms
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.geometry.positions import MATRIX, Positions, find_positions
from postprocess.states.states import atom_of_orbital, spin_of_orbital

ComplexArray = npt.NDArray[np.complex128]
SMALLEST = 0.7
"""Singular value of a link below which the states at two neighbouring k are not the same group of bands any more."""
KEPT = 4
"""Matrices S - ib.D kept for the next link along the same b."""


class PeriodicParts:
    """Overlaps of periodic parts of one Hamiltonian's basis functions.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With S, and r where it is known.
    positions : Positions, optional
        By default the matrix of the data, else the approximation (tau_i + tau_j)/2 S, in which D = 0.

    Attributes
    ----------
    position : str
        Where r comes from, for every output.
    """

    def __init__(self, hamiltonian: Hamiltonian, positions: Positions | None = None) -> None:
        positions = positions or find_positions(hamiltonian)
        self._system, self._S, self.position = hamiltonian.system, hamiltonian.S, positions.source
        self._dipoles = _dipoles(hamiltonian, positions) if positions.source == MATRIX else None
        spin = spin_of_orbital(hamiltonian)
        self._spins = [np.flatnonzero(spin == s) for s in range(int(spin.max()) + 1)]
        self._atoms = atom_of_orbital(hamiltonian)[self._spins[0]]
        self._known: dict[bytes, BlochMatrix] = {}

    def overlap(self, k: FloatArray, q: FloatArray) -> ComplexArray:
        """(n, n) overlap of the periodic parts of the spatial orbitals at k (rows) and q (columns), both fractional, lattice gauge."""
        b = np.asarray(q, float) - k
        half = np.exp(-1j * np.pi * (self._system.fractional @ b))[self._atoms]
        return np.asarray(half[:, None] * self._expansion(b).dense(np.asarray(k, float) + b / 2) * half)

    def link(self, k: FloatArray, C: ComplexArray, q: FloatArray, D: ComplexArray) -> ComplexArray:
        """(m, m) overlap of the periodic parts of the states C at k and D at q, each (n_orbitals, m) with C^dagger S C = 1."""
        b = np.asarray(q, float) - k
        half = np.exp(-1j * np.pi * (self._system.fractional @ b))[self._atoms][:, None]
        O = self._expansion(b).csr(np.asarray(k, float) + b / 2)  # of a large cell it is sparse
        return np.asarray(sum((half.conj() * C[rows]).conj().T @ (O @ (half * D[rows])) for rows in self._spins))

    def _expansion(self, b: FloatArray) -> BlochMatrix:
        """S - ib.D, kept for the next link along the same b."""
        key = np.rint(b * 1e12).tobytes()
        if key not in self._known:
            if len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            blocks = self._S
            if self._dipoles is not None:
                b_cartesian = b @ self._system.reciprocal
                blocks = replace(self._S, entries=self._S.entries - 1j * (b_cartesian @ self._dipoles))
            self._known[key] = BlochMatrix(self._system, blocks)
        return self._known[key]


def _dipoles(hamiltonian: Hamiltonian, positions: Positions) -> FloatArray:
    """(3, n_entries) dipoles D about the middles of the pairs, Angstrom."""
    return np.asarray(positions.W.entries - positions_on_atoms(hamiltonian.S, hamiltonian.system.positions).entries)


def unitary(link: ComplexArray) -> tuple[ComplexArray, float]:
    """The nearest unitary matrix to a link, and the smallest singular value.

    The latter is 1 where the group of bands at both k spans the same periodic parts.
    """
    u, values, v = np.linalg.svd(link)
    return np.asarray(u @ v), float(values.min(initial=1.0))


def check_links(smallest: float, where: str) -> None:
    """Refuse links whose smallest singular value is below :data:`SMALLEST`.

    Raises
    ------
    CoarseMeshError
        Where a finer mesh is needed.
    """
    if not smallest >= SMALLEST:
        raise CoarseMeshError(
            f"the k mesh is too coarse: {where} the states of neighbouring k-points overlap with a singular value of {smallest:.3f}; "
            f"expected at least {SMALLEST:g} (1 is perfect). Take more k-points (--mesh), or a group of bands that is farther from others"
        )


class CoarseMeshError(DataError):
    """Neighbouring k-points are too far apart for the states to be followed."""
