"""Band energies and states at one wave vector."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.lapack import NotConvergedError, generalized_eigh
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from deeph.runtime.threads import blas_threads

Array = npt.NDArray[Any]


def solve_at_k(h: Array, s: Array, k: FloatArray) -> FloatArray:
    """Eigenvalues of H(k) C = S(k) C E by LAPACK.

    Parameters
    ----------
    h, s : (n_orbitals, n_orbitals) arrays
        Hermitian H(k) in eV and S(k).
    k : (3,) array
        The wave vector, fractional; for messages.

    Returns
    -------
    (n_orbitals,) array
        eV, ascending.

    Raises
    ------
    DataError
        If S(k) is not positive definite, or LAPACK does not converge.
    """
    return _eigh(h, s, k, vectors=False)[0]


def solve_states_at_k(h: Array, s: Array, k: FloatArray) -> tuple[FloatArray, Array]:
    """Eigenvalues and states of H(k) C = S(k) C E by LAPACK; parameters and errors as for :func:`solve_at_k`.

    Returns
    -------
    energies : (n_orbitals,) array
        eV, ascending.
    vectors : (n_orbitals, n_orbitals) array
        C in columns, C^dagger S C = 1.
    """
    energies, conjugate = _eigh(h, s, k, vectors=True)
    return energies, conjugate.conj()


def _eigh(h: Array, s: Array, k: FloatArray, *, vectors: bool) -> tuple[FloatArray, Array]:
    """Eigenvalues, and eigenvectors of the complex conjugate problem if asked for."""
    if not h.imag.any() and not s.imag.any():  # time-reversal invariant k without spin-orbit: four times faster
        h, s = h.real, s.real
    try:
        # the transposes are the complex conjugates: the same eigenvalues, in the memory order that LAPACK wants
        with blas_threads(len(h)):
            return generalized_eigh(h.T, s.T, vectors=vectors)
    except NotConvergedError as error:
        at = f"k = ({', '.join(f'{x:.6g}' for x in k)})"
        for name, matrix in (("H", h), ("S", s)):
            if not np.isfinite(matrix).all():
                raise DataError(f"{name}(k) holds NaN or infinite numbers at {at}") from error
        smallest = float(np.linalg.eigvalsh(s)[0])
        if smallest <= 1e-12:
            raise DataError(
                f"the overlap S(k) is not positive definite at {at}: smallest eigenvalue {smallest:.3e}. Overlap blocks are missing or "
                "wrong (cutoff too short, other basis, other atom positions), or atoms lie on top of each other"
            ) from error
        raise DataError(f"LAPACK did not converge at {at} (smallest eigenvalue of S(k) {smallest:.3e}): {error}") from error
