"""Some levels of large cells by the factorization of H - sigma S and block Lanczos."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger, telling
from postprocess.eigen.levels import Levels
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent, report_overlap, smallest_overlap
from postprocess.eigen.real_pencils import make_pencils
from postprocess.eigen.search import levels_between, levels_near
from postprocess.eigen.selection import Selection

CHECKED_LIMIT = 20000
"""Orbitals up to which the smallest eigenvalue of S is looked at without being asked."""


class SparseSolver:
    """Chosen levels of one Hamiltonian at any k; the symbolic analysis is done once for all k.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, see :func:`postprocess.eigen.hermitian.hermitian`.
    wanted : Selection
        Which levels, and how.
    backend : {"pardiso", "superlu"}
        The library that factors.
    """

    def __init__(self, hamiltonian: Hamiltonian, wanted: Selection, backend: str) -> None:
        self._wanted, self._n = wanted, hamiltonian.n_orbitals
        self._checked = self._n > CHECKED_LIMIT
        logger.info("solver: %s", wanted.describe(self._n))
        options = wanted.options
        self._pencils = make_pencils(hamiltonian, backend=backend, single=options.single, real_form=options.real_form)

    def __call__(self, k: FloatArray, spin: int = 0, *, vectors: bool = True) -> Levels:
        """The chosen levels at one k. The vectors are there in any case.

        Raises
        ------
        DataError
            If S(k) is not positive definite, the iteration does not converge, or the memory does not suffice.
        """
        del vectors
        try:
            levels = self._solved(np.asarray(k, float), spin)
        except DataError as error:
            raise type(error)(f"k = ({', '.join(f'{x:.6g}' for x in k)}): {error}") from error
        levels.log(k)
        return levels

    def _solved(self, k: FloatArray, spin: int) -> Levels:
        with telling(f"making H(k) and S(k) of {self._n} orbitals"):
            plain, wanted = self._pencils.at(k, spin), self._wanted
        threshold = wanted.options.project
        if not self._checked:
            report_overlap(smallest_overlap(plain), k, projected=bool(threshold))
            self._checked = True
        pencil = Projected(plain, nearly_dependent(plain, threshold)) if threshold else plain
        if wanted.n_bands is None:
            levels = levels_between(pencil, wanted.low, wanted.high)
        else:
            levels = levels_near(pencil, wanted.center, wanted.n_bands, verify=wanted.options.verify)
        return plain.as_given(levels)
