"""Levels of cells that outgrow one machine: SLEPc's Krylov-Schur and MUMPS, all MPI ranks together on one k-point.

H(k) and S(k) are distributed by rows of atoms; nothing but the eigenvectors asked for ever lies in one rank. In a real build of PETSc a
Hermitian matrix A + iB is solved as the real symmetric one of twice the size, whose elements a + ib are 2 x 2 blocks [[a, -b], [b, a]]: the
factor takes the memory of the complex LU factor that MUMPS would make, and its inertia counts the levels.
"""

import sys
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.bloch import BlochMatrix
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.levels import Levels
from postprocess.eigen.search import levels_between, levels_near
from postprocess.eigen.selection import Selection
from postprocess.eigen.slepc_pencil import SlepcPencil

Array = npt.NDArray[Any]
HINT = (
    "install builds that belong to the same MPI as mpirun: conda install -c conda-forge slepc4py 'slepc=*=complex*' mumps-mpi, or Debian's "
    "python3-slepc4py; see docs/cluster.md"
)


def load_slepc() -> tuple[Any, Any]:
    """The modules ``petsc4py.PETSc`` and ``slepc4py.SLEPc``.

    Raises
    ------
    UsageError
        If they are missing or were built without MUMPS.
    """
    try:
        import slepc4py

        slepc4py.init(sys.argv[:1])
        from petsc4py import PETSc
        from slepc4py import SLEPc
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"the solver slepc needs slepc4py and petsc4py ({error}); {HINT}") from error
    PETSc.Sys.pushErrorHandler("ignore")  # failures come as exceptions
    if not PETSc.Sys.hasExternalPackage("mumps"):
        raise UsageError(f"this PETSc was built without MUMPS, which factors the matrices; {HINT}")
    return PETSc, SLEPc


class SlepcSolver:
    """Chosen levels of one Hamiltonian at any k; a call is made by all MPI ranks together.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S, the same in all ranks.
    wanted : Selection
        Which levels, and how.

    Raises
    ------
    UsageError
        If slepc4py is not installed or has no MUMPS.
    """

    def __init__(self, hamiltonian: Hamiltonian, wanted: Selection) -> None:
        self._wanted = wanted
        self._modules = load_slepc()
        PETSc = self._modules[0]
        self._rank, size = PETSc.COMM_WORLD.rank, PETSc.COMM_WORLD.size
        self._hamiltonian = hamiltonian
        widths = hamiltonian.basis.n_orbitals(hamiltonian.system.numbers) * hamiltonian.basis.spin_factor
        start = np.concatenate([[0], np.cumsum(widths)])
        bounds = np.searchsorted(start, np.linspace(0, start[-1], size + 1)[:-1]).tolist()
        self._atoms = [*bounds, len(widths)][self._rank : self._rank + 2]
        self._rows = slice(int(start[self._atoms[0]]), int(start[self._atoms[1]]))
        self.n = int(start[-1])
        kind = "complex" if np.issubdtype(PETSc.ScalarType, np.complexfloating) else "real"
        version = ".".join(map(str, PETSc.Sys.getVersion()))
        logger.info("solver: slepc (PETSc %s, %s) on %d processes, %d orbitals", version, kind, size, self.n)

    @cached_property
    def _own(self) -> tuple[BlochMatrix, BlochMatrix]:
        """H and S with the blocks of the own rows, and the on-site blocks of the others, which tell how many orbitals they have."""
        data = self._hamiltonian
        spinor = data.basis.spin == "spinor"
        pairs = data.S.pairs
        which = np.flatnonzero(((pairs[:, 3] >= self._atoms[0]) & (pairs[:, 3] < self._atoms[1])) | is_onsite(pairs))
        S = data.S.selected(which)
        H = BlochMatrix(data.system, data.hamiltonian.selected(which))
        return H, BlochMatrix(data.system, S.to_spinor() if spinor else S, H.pattern)

    def __call__(self, k: FloatArray, spin: int = 0, *, vectors: bool = True) -> Levels:
        """The chosen levels at one k; the vectors in the first rank only, (0, m) in the others.

        Raises
        ------
        DataError
            If the iteration does not converge, S(k) is not positive definite, or the memory does not suffice.
        """
        del vectors  # ranks may differ in that, but have to act together
        k, wanted = np.asarray(k, float), self._wanted
        options = wanted.options
        H, S = (bloch.csr(k, component=component)[self._rows] for bloch, component in zip(self._own, (spin, 0), strict=True))
        try:
            pencil = SlepcPencil(self._modules, H, S, compress=options.compress, out_of_core=options.out_of_core)
            if wanted.n_bands is None:
                levels = levels_between(pencil, wanted.low, wanted.high)
            else:
                levels = levels_near(pencil, wanted.center, wanted.n_bands, verify=options.verify)
        except DataError as error:
            raise type(error)(f"k = ({', '.join(f'{x:.6g}' for x in k)}): {error}") from error
        levels.log(k)
        logger.info("%s", pencil.describe_memory())
        levels = replace(levels, vectors=pencil.to_first(levels.vectors))
        pencil.release()
        return levels
