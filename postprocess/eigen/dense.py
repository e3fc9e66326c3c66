"""Levels of small cells: all of them by dense matrices, of which those asked for are kept."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.eigenvalues import solve_at_k, solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import telling
from deeph.runtime.threads import blas_threads
from postprocess.eigen.dense_torch import check_device, solve_states_on
from postprocess.eigen.levels import Levels
from postprocess.eigen.overlap_spectrum import not_positive, report_overlap
from postprocess.eigen.selection import Selection

Array = npt.NDArray[Any]


class DenseSolver:
    """Levels of one Hamiltonian at any k by LAPACK or on a graphics processor; see :class:`postprocess.eigen.solver.StateSolver`.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    wanted : Selection
        Which levels, and how.
    """

    def __init__(self, hamiltonian: Hamiltonian, wanted: Selection) -> None:
        self._hamiltonian, self._wanted, self._checked = hamiltonian, wanted, wanted.is_everything
        if wanted.options.device != "cpu":
            check_device(wanted.options.device)

    def __call__(self, k: FloatArray, spin: int = 0, *, vectors: bool = True) -> Levels:
        """The levels at one k.

        Raises
        ------
        DataError
            If S(k) is not positive definite, LAPACK does not converge, or the memory does not suffice.
        """
        n = self._hamiltonian.H_bloch.n_orbitals
        with blas_threads(n), telling(f"diagonalizing the dense matrices of {n} orbitals"):
            return self._levels(k, spin, n, vectors=vectors)

    def _levels(self, k: FloatArray, spin: int, n: int, *, vectors: bool) -> Levels:
        try:
            h, s = self._hamiltonian.H_bloch.dense(k, component=spin), self._hamiltonian.S_bloch.dense(k)
            self._look_at_overlap(s, k)
            energies, C = self._solved(h, s, k, vectors=vectors or not self._wanted.is_everything)  # a part comes with its residual
            first, which = self._wanted.select(energies)
            energies = energies[which]
            if C is None:
                return Levels(energies, np.zeros((n, 0)), np.full(len(energies), np.nan), first, True)
            C = C[:, which]
            SC = s @ C
            residuals = np.linalg.norm(h @ C - SC * energies, axis=0) / np.linalg.norm(SC, axis=0)
        except MemoryError as error:
            need = (7 if vectors else 5) * 16 * n**2 / 2**30
            raise DataError(f"diagonalizing {n} orbitals needs about {need:.0f} GiB of memory, which is not available") from error
        return Levels(energies, C, residuals, first, True)

    def _solved(self, h: Array, s: Array, k: FloatArray, *, vectors: bool) -> tuple[FloatArray, Array | None]:
        options = self._wanted.options
        if options.project:
            return _projected(h, s, options.project)
        if options.device != "cpu":
            return solve_states_on(options.device, h, s, k, vectors=vectors)
        return solve_states_at_k(h, s, k) if vectors else (solve_at_k(h, s, k), None)

    def _look_at_overlap(self, s: Array, k: FloatArray) -> None:
        """The smallest eigenvalue of S(k) at the first k, where levels around an energy are looked for, ghosts among them."""
        if not self._checked:
            smallest = float(np.linalg.eigvalsh(s)[0])
            if smallest <= 1e-14:
                raise DataError(f"k = ({', '.join(f'{x:.6g}' for x in k)}): {not_positive(smallest)}")
            report_overlap(smallest, k, projected=bool(self._wanted.options.project))
            self._checked = True


def _projected(h: Array, s: Array, threshold: float) -> tuple[FloatArray, Array]:
    """Levels without the eigenvectors of S below a threshold: canonical orthogonalization (Lowdin, doi:10.1016/S0065-3276(08)60339-1)."""
    from scipy.linalg import eigh

    weights, Z = eigh(s)
    kept = weights >= threshold
    Z = Z[:, kept] / np.sqrt(weights[kept])
    energies, Y = eigh(Z.conj().T @ h @ Z)
    return energies, Z @ Y
