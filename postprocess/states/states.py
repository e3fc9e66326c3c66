"""States at one k: what every solver gives, and the dense one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.physics.eigenvalues import solve_at_k, solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.dense_torch import check_device, solve_states_on
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]


class StateSolver(Protocol):
    """The levels of one Hamiltonian at any k."""

    def __call__(self, k: FloatArray, spin: int, *, vectors: bool = True) -> Levels:
        """Levels at a fractional k; without ``vectors`` the solver may leave them out, as (n_orbitals, 0)."""


SolverFactory = Callable[[Hamiltonian], StateSolver]
"""Makes the solver of a Hamiltonian with Hermitian matrices; sent to worker processes, so it has to be picklable, with a telling repr."""


@dataclass(frozen=True)
class Dense:
    """All states, or a range of them, by LAPACK or on a graphics processor.

    Attributes
    ----------
    bands : (first, last) or None
        Counted from 0, both included.
    device : str
        "cpu" (LAPACK), or a device of torch such as "cuda".
    """

    bands: tuple[int, int] | None = None
    device: str = "cpu"

    def __call__(self, hamiltonian: Hamiltonian) -> "DenseSolver":
        """The solver of one Hamiltonian; UsageError if there are no such bands, or no such device."""
        n = hamiltonian.H_bloch.n_orbitals
        if self.bands is not None and not 0 <= self.bands[0] <= self.bands[1] < n:
            raise UsageError(f"bands {self.bands[0]} to {self.bands[1]}: expected an ascending range within 0 to {n - 1}")
        if self.device != "cpu":
            check_device(self.device)
        return DenseSolver(hamiltonian, self.bands, self.device)

    def describe(self, n_orbitals: int) -> str:
        """What solves a problem of some size."""
        return f"dense matrices ({'LAPACK' if self.device == 'cpu' else self.device}), {n_orbitals} orbitals"


@dataclass(frozen=True)
class DenseSolver:
    """All states of one Hamiltonian.

    Errors as for :func:`deeph.physics.eigenvalues.solve_at_k`, and DataError if the memory does not suffice.
    """

    hamiltonian: Hamiltonian
    bands: tuple[int, int] | None = None
    device: str = "cpu"

    def __call__(self, k: FloatArray, spin: int = 0, *, vectors: bool = True) -> Levels:
        """Levels at one k."""
        n, first = self.hamiltonian.H_bloch.n_orbitals, self.bands[0] if self.bands else 0
        try:
            h, s = self.hamiltonian.H_bloch.dense(k, component=spin), self.hamiltonian.S_bloch.dense(k)
            energies, C = self._solved(h, s, k, vectors=vectors)
            if C is None:
                return Levels(energies, np.zeros((n, 0)), np.full(len(energies), np.nan), first, True)
            SC = s @ C
            residuals = np.linalg.norm(h @ C - SC * energies, axis=0) / np.linalg.norm(SC, axis=0)
        except MemoryError as error:
            need = (7 if vectors else 5) * 16 * n**2 / 2**30
            raise DataError(f"diagonalizing {n} orbitals needs about {need:.0f} GiB of memory, which is not available") from error
        return Levels(energies, C, residuals, first, True)

    def _solved(self, h: Array, s: Array, k: FloatArray, *, vectors: bool) -> tuple[FloatArray, Array | None]:
        if self.device != "cpu":
            return solve_states_on(self.device, h, s, k, self.bands, vectors=vectors)
        return solve_states_at_k(h, s, k, self.bands) if vectors else (solve_at_k(h, s, k, self.bands), None)


@dataclass(frozen=True)
class States:
    """States at one k, ready to be projected.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        Structure, basis and matrices.
    k : (3,) array
        Fractional.
    spin : int
        Channel.
    energies : (m,) array
        eV.
    C : (n_orbitals, m) array
        Coefficients in columns, C^dagger S C = 1, lattice gauge. Rows: all orbitals of atom 0, then of atom 1, and so on; in a spinor
        basis those with spin up before those with spin down in each atom.
    """

    hamiltonian: Hamiltonian
    k: FloatArray
    spin: int
    energies: FloatArray
    C: Array

    @cached_property
    def SC(self) -> Array:
        """(n_orbitals, m) S(k) C."""
        return np.asarray(self.hamiltonian.S_bloch.csr(self.k) @ self.C)

    @cached_property
    def populations(self) -> FloatArray:
        """(n_orbitals, m) Mulliken populations Re C* (S C); each column adds up to 1."""
        return np.asarray((self.C.conj() * self.SC).real)

    @property
    def atom_of_orbital(self) -> IntArray:
        """(n_orbitals,) atom of each row of C."""
        return atom_of_orbital(self.hamiltonian)

    @property
    def spin_of_orbital(self) -> IntArray:
        """(n_orbitals,) 0 for up, 1 for down; the channel where the basis has no spinors."""
        return spin_of_orbital(self.hamiltonian) + self.spin


def atom_of_orbital(hamiltonian: Hamiltonian) -> IntArray:
    """(n_orbitals,) atom of each row of H(k)."""
    n = hamiltonian.basis.n_orbitals(hamiltonian.system.numbers) * hamiltonian.basis.spin_factor
    return np.repeat(np.arange(len(n)), n)


def spin_of_orbital(hamiltonian: Hamiltonian) -> IntArray:
    """(n_orbitals,) 1 for the orbitals of a spinor basis with spin down, else 0."""
    n = hamiltonian.basis.n_orbitals(hamiltonian.system.numbers)
    factor = hamiltonian.basis.spin_factor
    return np.repeat(np.tile(np.arange(factor), len(n)), np.repeat(n, factor))
