"""What the levels of a large cell near the Fermi energy absorb: sparse states at one k, and velocities between them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from postprocess.eigen.solver import Eigensolver, StateSolver
from postprocess.geometry.positions import Positions
from postprocess.large.kubo import PairFunctions
from postprocess.large.sparse_basis import SparseBasis
from postprocess.states.kjobs import KTask, Result

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LevelWork:
    """The sums over pairs of levels at one k; see :func:`postprocess.states.kjobs.run_tasks`.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    solver : Eigensolver
        Finds the levels that take part.
    positions : Positions
        On the pattern of S.
    frame : (d, 3) tuple
        Directions.
    functions : PairFunctions
        What is summed.
    """

    hamiltonian: Hamiltonian
    solver: Eigensolver
    positions: Positions
    frame: tuple[tuple[float, ...], ...]
    functions: PairFunctions

    def __call__(self, task: KTask) -> Result:
        """``absorption`` (d, d, m), Angstrom^2, and the number of levels."""
        k = np.array(task.k)
        levels = self._solve(k, task.spin)
        E, v = levels.energies, self._velocities(k, task.spin, levels.energies, levels.vectors)
        pairs = np.einsum("apq,bqp->abpq", v, v)
        values = [np.einsum("abpq,pq->ab", pairs, F) for F in self.functions.absorption(E[:, None], E)]
        return {"absorption": np.stack(values, axis=-1), "levels": np.array(len(E))}

    def _velocities(self, k: Array, spin: int, E: Array, C: Array) -> Array:
        """(d, m, m) between the levels along the directions, eV Angstrom."""
        parts = []
        for dH, dS, W in zip(self._basis.dH(k, spin), self._basis.dS(k), self._basis.W(k), strict=True):
            H, S, position = (C.conj().T @ (M @ C) for M in (dH, dS, W))
            parts.append(H - (E[:, None] + E) / 2 * S + 1j * (E[:, None] - E) * position)
        return np.tensordot(np.array(self.frame), np.array(parts), axes=1)

    @cached_property
    def _solve(self) -> StateSolver:
        return self.solver(self.hamiltonian)

    @cached_property
    def _basis(self) -> SparseBasis:
        return SparseBasis(self.hamiltonian, self.positions)
