"""PETSc: binary matrices (``MatLoad``) of H and S at k-points, or of all R one after the other; written without PETSc."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import sparse

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.export.layout import elements, sound, with_spin

Scalars = Literal["complex", "real"]
MAT = 1211216
"""First integer of a PETSc file that holds a sparse matrix."""
MOST = 2**31 - 1
"""Elements of a matrix that 32-bit indices count."""


def write(folder: Path, h: Hamiltonian, *, k: Sequence[FloatArray] = (), scalars: Scalars = "complex") -> None:
    """Write ``H.petsc`` and ``S.petsc`` with one matrix for each k (or R), and the list of them (``k.dat`` or ``R.dat``).

    Parameters
    ----------
    folder : Path
        That exists.
    h : Hamiltonian
        One spin channel, or spinors.
    k : sequence of (3,) arrays
        Fractional wave vectors; none for the matrices of all R.
    scalars : {"complex", "real"}
        How PETSc was configured, which its files do not tell. Integers have 32 bits.

    Raises
    ------
    DataError
        If a matrix is complex and PETSc is not, or it has too many elements.
    """
    h = sound(h)
    if len(k):
        np.savetxt(folder / "k.dat", np.array(k), fmt="%.17g", header="fractional wave vector of each matrix, lattice gauge")
        _write(folder / "H.petsc", (h.H_bloch.csr(one) for one in k), scalars)
        _write(folder / "S.petsc", (h.S_bloch.csr(one) for one in k), scalars)
        return
    n = h.n_orbitals
    for name, blocks in (("H", h.hamiltonian), ("S", with_spin(h, h.S))):
        found = elements(h, blocks, "petsc")
        order = np.argsort(found.cell, kind="stable")
        bounds = np.searchsorted(found.cell[order], np.arange(len(found.R) + 1))
        parts = (order[start:stop] for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        matrices = (sparse.csr_array((found.values[0, part], (found.row[part], found.column[part])), shape=(n, n)) for part in parts)
        _write(folder / f"{name}.petsc", matrices, scalars)
        np.savetxt(folder / "R.dat", found.R, fmt="%d", header="R of each matrix: H(k) = sum exp(2 pi i k.R) H(R)")


def _write(path: Path, matrices: Iterable[sparse.csr_array], scalars: Scalars) -> None:
    """Matrices one after the other, all numbers big-endian."""
    with path.open("wb") as file:
        for matrix in matrices:
            if matrix.nnz > MOST:
                raise DataError(
                    f"{path.name}: {matrix.nnz} elements in one matrix are more than PETSc's 32-bit indices count; write H(R), without k"
                )
            if scalars == "real" and np.iscomplexobj(matrix.data) and matrix.data.imag.any():
                raise DataError(f"{path.name} has complex elements, which PETSc with real scalars cannot hold; leave --scalars real out")
            matrix.sort_indices()
            np.array([MAT, *matrix.shape, matrix.nnz], ">i4").tofile(file)
            np.diff(matrix.indptr).astype(">i4").tofile(file)
            matrix.indices.astype(">i4").tofile(file)
            (matrix.data.real.astype(">f8") if scalars == "real" else matrix.data.astype(">c16")).tofile(file)
