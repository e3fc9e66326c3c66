"""States at one k: coefficients, their product with S, Mulliken populations."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]


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
    levels : Levels
        What the solver found.
    """

    hamiltonian: Hamiltonian
    k: FloatArray
    spin: int
    levels: Levels

    def __repr__(self) -> str:
        k = ", ".join(f"{x:.4g}" for x in np.asarray(self.k) + 0.0)
        spin = f", spin {('up', 'down')[self.spin]}" if self.hamiltonian.basis.spin == "collinear" else ""
        ends = f" from {self.energies[0]:.3f} to {self.energies[-1]:.3f} eV" if len(self.energies) else ""
        return f"States {self.hamiltonian.system.formula}, k = ({k}){spin}, {len(self.energies)} levels{ends}"

    @property
    def energies(self) -> FloatArray:
        """(m,) eV."""
        return self.levels.energies

    @property
    def C(self) -> Array:
        """(n_orbitals, m) coefficients in columns, C^dagger S C = 1, lattice gauge.

        Rows: all orbitals of atom 0, then of atom 1, and so on; in a spinor basis those with spin up before those with spin down in each
        atom.
        """
        return self.levels.vectors

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
