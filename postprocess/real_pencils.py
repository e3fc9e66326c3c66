"""Which pencils a Hamiltonian gets: real ones at every k where a symmetry makes them so, else complex ones."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.hamiltonian import Hamiltonian
from deeph.log import logger
from deeph.system import FloatArray
from postprocess.antiunitary import find_antiunitary
from postprocess.factorization import Factorization, best_backend, make_factorization
from postprocess.pencil import BlochPencils, Pencil
from postprocess.real_form import RealForm

Array = npt.NDArray[Any]
MAX_VIOLATION = 2e-5
"""eV; noise of predictions in single precision stays below. Levels change by its square over their distance."""


class RealPencil(Pencil):
    """The pencil at one k in orbitals in which it is real."""

    def __init__(self, H: sparse.csr_array, S: sparse.csr_array, factorization: Factorization, form: RealForm, k: FloatArray) -> None:
        super().__init__(H, S, factorization)
        self._form, self._k = form, k

    def orbitals(self, X: Array) -> Array:
        """See :class:`postprocess.pencil.Pencil`."""
        return self._form.orbitals(X, self._k)


class RealPencils:
    """The pencils at all k of a Hamiltonian with a real form; used like :class:`postprocess.pencil.BlochPencils`.

    Parameters
    ----------
    form : RealForm
        Of the Hamiltonian.
    backend, single
        See :class:`postprocess.pencil.BlochPencils`.
    """

    def __init__(self, form: RealForm, *, backend: str | None = None, single: bool = False) -> None:
        self.form, self.n = form, form.n
        self.backend, self.single = backend or best_backend(), single
        self._factorization = make_factorization(form.indptr, form.indices, np.float64, self.backend, single=single)

    def at(self, k: FloatArray, spin: int = 0) -> RealPencil:
        """The pencil at a fractional k."""
        k = np.asarray(k, float)
        return RealPencil(*self.form.matrices(k, spin), self._factorization, self.form, k)


def make_pencils(
    hamiltonian: Hamiltonian, *, backend: str | None = None, single: bool = False, symmetrize: float = MAX_VIOLATION
) -> BlochPencils | RealPencils:
    """Pencils at all k, real ones if the matrices allow it; the user is told.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    backend, single
        See :class:`postprocess.pencil.BlochPencils`.
    symmetrize : float
        eV; H and S are replaced by their parts that obey the symmetry if this changes no element by more (an element of S counts ten eV).
    """
    start = time.perf_counter()
    H = hamiltonian.hamiltonian
    spin_orbit = hamiltonian.basis.spin == "spinor" or np.iscomplexobj(H.entries)
    symmetry = None if spin_orbit or not symmetrize > 0 else find_antiunitary(hamiltonian.system, H.pairs)
    if symmetry is not None:
        form = RealForm(hamiltonian, symmetry)
        seen = f"violated by {form.violation:.1e} eV at most, atoms off by {symmetry.distance:.1e} Angstrom"
        if form.violation <= symmetrize:
            logger.info("real at every k by %s*T: %s (%.1f s)", symmetry.name, seen, time.perf_counter() - start)
            return RealPencils(form, backend=backend, single=single)
        del form  # gigabytes in a large cell
        logger.info("not used: %s*T, %s; it would make H(k) real if that were below %.1e eV", symmetry.name, seen, symmetrize)
    return BlochPencils(hamiltonian, backend=backend, single=single)
