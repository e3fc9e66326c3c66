"""Eigenvalues of the generalized problem H(k) C = S(k) C E."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.eigenvalues import solve_at_k
from deeph.physics.hamiltonian import Hamiltonian, on_union
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger

Array = npt.NDArray[Any]
Solver = Callable[[Hamiltonian, FloatArray, int], FloatArray]
"""``solver(hamiltonian, k (n_k, 3), spin) -> energies (n_k, n_bands)``, eV, ascending; the place for sparse solvers."""

BATCH_BYTES = 2**28
"""Memory for the dense Bloch matrices that are built at once; a single k may take more."""

SYMMETRY_TOLERANCE = {"H": 1e-6, "S": 1e-8}
"""Deviations from Hermiticity, eV and 1, that are rounding noise of a DFT code: left as they are, the lower triangle counts."""


def compute_energies(hamiltonian: Hamiltonian, k: FloatArray, *, solver: Solver | None = None) -> FloatArray:
    """Band energies at any k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; if it is not Hermitian (some predictions), its Hermitian part is used, and the user is told.
    k : (n_k, 3) array
        Fractional wave vectors; repeated ones are computed once.
    solver : Solver, optional
        By default :func:`solve_dense`, all bands.

    Returns
    -------
    (n_spin, n_k, n_bands) array
        Energies in eV, ascending, on the energy zero of H.

    Raises
    ------
    DataError
        If there is no H, S(k) is not positive definite, or the matrices do not fit in memory.
    """
    hamiltonian = hermitian(hamiltonian)
    distinct, where = np.unique(np.asarray(k, float).reshape(-1, 3), axis=0, return_inverse=True)
    solve = solver or solve_dense
    energies = [solve(hamiltonian, distinct, spin) for spin in range(hamiltonian.basis.n_spin)]
    return np.stack(energies)[:, where.ravel()]


def hermitian(hamiltonian: Hamiltonian) -> Hamiltonian:
    """The same with Hermitian H and S; a missing block (-R, j, i) is filled from its partner."""

    def clean(name: str, blocks: PairBlocks) -> PairBlocks:
        error = blocks.hermiticity_error()
        if error <= SYMMETRY_TOLERANCE[name]:
            return blocks
        missing = int((blocks.partners < 0).sum())
        seen = f"{missing} blocks (R, i, j) lack their partner (-R, j, i)" if missing else f"it deviates by up to {error:.3g}"
        level = logging.WARNING if error > 100 * SYMMETRY_TOLERANCE[name] else logging.INFO  # single precision is no news
        logger.log(level, "%s is not Hermitian: %s; continuing with (%s + %s^dagger)/2", name, seen, name, name)
        return blocks.hermitized()

    H, S = clean("H", hamiltonian.hamiltonian), clean("S", hamiltonian.S)
    if H is hamiltonian.H and S is hamiltonian.S:
        return hamiltonian
    if not np.array_equal(H.pairs, S.pairs):
        H, S = on_union(hamiltonian.system, hamiltonian.basis, H, S)
    return replace(hamiltonian, H=H, S=S, r=None)


def solve_dense(hamiltonian: Hamiltonian, k: FloatArray, spin: int = 0, *, bands: tuple[int, int] | None = None) -> FloatArray:
    """LAPACK, all bands or a range of them.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hermitian H and S.
    k : (n_k, 3) array
        Fractional wave vectors.
    spin : int
        Spin channel (collinear data have two).
    bands : (first, last), optional
        Band indices counted from 0, both included.

    Returns
    -------
    (n_k, n_bands) array
        eV, ascending.

    Raises
    ------
    DataError
        If S(k) is not positive definite, LAPACK does not converge, or the memory does not suffice.
    UsageError
        If ``bands`` is not a range of existing bands.
    """
    from tqdm import tqdm

    n = hamiltonian.H_bloch.n_orbitals
    if bands is not None and not 0 <= bands[0] <= bands[1] < n:
        raise UsageError(f"bands {bands[0]} to {bands[1]}: expected an ascending range within 0 to {n - 1}")
    n_batch = max(1, BATCH_BYTES // (32 * n**2))
    energies = []
    try:
        with tqdm(total=len(k), desc="k-points", disable=None, leave=False) as progress:
            for start in range(0, len(k), n_batch):
                batch = k[start : start + n_batch]
                H, S = hamiltonian.H_bloch.dense(batch, component=spin), hamiltonian.S_bloch.dense(batch)
                for kpoint, h, s in zip(batch, H, S, strict=True):
                    energies.append(solve_at_k(h, s, kpoint, bands))
                    progress.update()
    except MemoryError as error:
        need = 5 * 16 * n**2 / 2**30
        raise DataError(f"diagonalizing {n} orbitals needs about {need:.0f} GiB of memory, which is not available") from error
    return np.array(energies)
