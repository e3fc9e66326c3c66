"""The density matrix in SIESTA's ``.DM``, and the magnetic moments of the atoms that follow from it."""

from pathlib import Path

import numpy as np

from deeph.physics.blocks import PairBlocks
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from preprocess.readers.siesta.blocks import Slots
from preprocess.readers.siesta.matrix import N_SPIN, Matrices
from preprocess.readers.siesta.records import Records


def read_density(path: Path, raw: Matrices) -> FloatArray | None:
    """(n_spin, n_nonzero) elements of the density matrix, on the elements of H and S.

    Parameters
    ----------
    path : path
        The ``.DM`` of the run.
    raw : Matrices
        H and S of the run.

    Returns
    -------
    array or None
        None if there is no such file, or it is of another supercell or pattern than H (a density matrix read from an older run).

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    records = Records(path)
    n, n_spin, *_ = records.array("the dimensions", "i4", records.next_size() // 4).tolist()
    if n != len(raw.n_row) or n_spin not in N_SPIN or (raw.H is not None and n_spin != len(raw.H)):
        return None
    n_row = records.array("the lengths of the rows", "i4", n).astype(np.int64)
    column = records.rows("the columns", "i4", n_row).astype(np.int64) - 1
    if not np.array_equal(n_row, raw.n_row) or not np.array_equal(column % n, raw.column % n):
        return None
    density = np.stack([records.rows("the density matrix", "f8", n_row) for _ in range(n_spin)])
    if not np.isfinite(density).all():
        raise DataError(f"{path} holds NaN or infinity: the run failed or the file is damaged; repeat the run")
    return np.asarray(density, float)


def mulliken_moments(density: FloatArray, raw: Matrices) -> FloatArray | None:
    """(n_atoms, 3) magnetic moments in Bohr magneton, from the density matrix times the overlap; None for a run without spin.

    SIESTA keeps [[D1 + i D5, D3 - i D4], [D7 + i D8, D2 + i D6]] of c_i conj(c_j), non-collinear runs with D7 = D3 and D8 = D4.
    """
    if len(density) == 1:
        return None
    atom = np.repeat(np.repeat(np.arange(len(raw.n_orbitals)), raw.n_orbitals), raw.n_row)
    share = [np.bincount(atom, D * raw.S, len(raw.n_orbitals)) for D in density]
    z = share[0] - share[1]
    if len(density) == 2:
        return np.stack([np.zeros_like(z), np.zeros_like(z), z], axis=1)
    x, y = (2 * share[2], 2 * share[3]) if len(density) == 4 else (share[2] + share[6], share[3] + share[7])
    return np.stack([x, y, z], axis=1)


def density_blocks(density: FloatArray, slots: Slots) -> PairBlocks | None:
    """Rho = sum of f c c^dagger with the spin of H, Hermitian, in SIESTA's orbital order; of one spin where SIESTA adds up two alike.

    None for non-collinear runs, whose files lack the imaginary parts of the up-up and down-down blocks.
    """
    D = density
    if len(D) == 4:
        return None
    if len(D) == 8:
        return slots.spinor_blocks(D[0] + 1j * D[4], D[2] - 1j * D[3], D[6] + 1j * D[7], D[1] + 1j * D[5]).hermitized()
    return slots.blocks(D / 2 if len(D) == 1 else D).hermitized()
