"""The pair H, S distributed over MPI ranks: search around an energy, counts of levels by inertia, windows (SLEPc, MUMPS).

SLEPc: V. Hernandez, J. E. Roman, V. Vidal, ACM Trans. Math. Softw. 31, 351 (2005), doi:10.1145/1089014.1089019; spectrum slicing:
C. Campos, J. E. Roman, Numer. Algorithms 60, 279 (2012), doi:10.1007/s11075-012-9564-z. Parameters of MUMPS as in its users' guide.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]
TOLERANCE = 1e-10
"""Of SLEPc: residual relative to the eigenvalue of (H - sigma S)^-1 S."""
LARGEST_RESIDUAL = 1e-5
"""eV; a larger one tells that the shift lies on a level, or that the factor is too inexact."""
SAME_STATE = 1e-6
"""Weight left of a unit vector outside of the span of others, from which on it is a state of its own."""


class SlepcPencil:
    """H - sigma S for any sigma, rows shared among the ranks; all methods are called by all ranks together.

    Parameters
    ----------
    modules : (PETSc, SLEPc)
        See :func:`postprocess.eigen.slepc.load_slepc`.
    H, S : csr_array, (own rows, n)
        The rows of this rank; H in eV.
    compress : float
        Threshold of block-low-rank factors, 0 for exact ones.
    out_of_core : Path or None
        Folder for the factors.
    """

    def __init__(
        self, modules: tuple[Any, Any], H: sparse.csr_array, S: sparse.csr_array, *, compress: float = 0.0, out_of_core: Path | None = None
    ) -> None:
        self._PETSc, SLEPc = modules
        self.n, self.n_rows = int(H.shape[1]), int(H.shape[0])
        is_complex = np.iscomplexobj(H.data) or np.iscomplexobj(S.data)
        scalar = np.dtype(self._PETSc.ScalarType)
        self.dtype = np.dtype(np.complex128 if is_complex or scalar.kind == "c" else np.float64)
        self.doubled = is_complex and scalar.kind == "f"
        self.counts = scalar.kind == "f"  # MUMPS has LDL^T, not LDL^H
        self._H, self._S = self._distributed(H), self._distributed(S)
        self._set_mumps(compress, out_of_core)
        self._eps = SLEPc.EPS().create()
        self._eps.setOperators(self._H, self._S)
        self._eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        self._eps.setType(SLEPc.EPS.Type.KRYLOVSCHUR)
        self._eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        self._eps.setTolerances(TOLERANCE, 200)
        st = self._eps.getST()
        st.setType(SLEPc.ST.Type.SINVERT)
        st.setMatStructure(self._PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        ksp = st.getKSP()
        ksp.setType(self._PETSc.KSP.Type.PREONLY)
        self._pc = ksp.getPC()
        self._pc.setType(self._PETSc.PC.Type.CHOLESKY if self.counts else self._PETSc.PC.Type.LU)
        self._pc.setFactorSolverType("mumps")
        self._eps.setFromOptions()
        self._st, self._ready = st, False

    def _distributed(self, M: sparse.csr_array) -> Any:
        PETSc = self._PETSc
        factor = 2 if self.doubled else 1
        if self.doubled:
            a, b = M.data.real, M.data.imag
            blocks = np.stack([a, -b, b, a], axis=1).reshape(-1, 2, 2)
            M = sparse.bsr_array((blocks, M.indices, M.indptr), shape=(2 * M.shape[0], 2 * M.shape[1])).tocsr()
        size = (M.shape[0], factor * self.n)
        parts = (M.indptr.astype(PETSc.IntType), M.indices.astype(PETSc.IntType), M.data.astype(PETSc.ScalarType))
        A = PETSc.Mat().createAIJ(size=(size, size), csr=parts)
        A.setOption(PETSc.Mat.Option.SYMMETRIC if self.counts else PETSc.Mat.Option.HERMITIAN, True)
        return A

    def _set_mumps(self, compress: float, out_of_core: Path | None) -> None:
        """Options that MUMPS reads at its analysis; what the user sets in PETSC_OPTIONS comes first."""
        options = self._PETSc.Options()
        wanted: dict[str, float] = {"icntl_13": 1, "icntl_24": 1, "icntl_14": 50}  # inertia in parallel, null pivots, spare memory in %
        if compress:
            wanted |= {"icntl_35": 2, "cntl_7": compress}
        if out_of_core is not None:
            wanted["icntl_22"] = 1
            os.environ["MUMPS_OOC_TMPDIR"] = str(out_of_core)
        for name, value in wanted.items():
            if not options.hasName(f"st_mat_mumps_{name}"):
                options[f"st_mat_mumps_{name}"] = value

    def _guarded(self, what: str, action: Callable[[], Any]) -> Any:
        """Errors of PETSc, SLEPc and MUMPS in words."""
        try:
            return action()
        except self._PETSc.Error as error:
            mumps = self._mumps_error()
            raise DataError(
                f"SLEPc, {self.n} orbitals: {what} failed{mumps} (PETSc error {error.ierr}); if the memory does not suffice, use more "
                "nodes, --compress or --out-of-core; else check that S is positive definite"
            ) from error

    def _mumps_error(self) -> str:
        try:
            code, detail = (self._pc.getFactorMatrix().getMumpsInfog(n) for n in (1, 2))
        except self._PETSc.Error:
            return ""
        memory = code in (-8, -9, -11, -13, -17, -19, -20)
        return f", MUMPS reports {code} ({detail}){': not enough memory' if memory else ''}" if code < 0 else ""

    @property
    def n_levels(self) -> int:
        """How many levels there are."""
        return self.n

    def count_factored(self, distance: float) -> int | None:
        """None: the factor of the last search is SLEPc's own."""
        del distance
        return None

    def count_below(self, sigma: float, distance: float = 1e-6) -> int | None:
        """Number of levels below sigma (eV) from the inertia of H - sigma S; None in a complex build."""
        del distance  # MUMPS is exact enough to count within it
        if not self.counts:
            return None

        def count() -> int:
            self._st.setShift(sigma)  # factors at once, if the first set-up is done
            if not self._ready:
                self._eps.setUp()
                self._ready = True
            return int(self._pc.getFactorMatrix().getInertia()[0])

        n = int(self._guarded(f"the factorization at {sigma:.6f} eV", count))
        if self.doubled and n % 2:
            raise DataError(f"{n} negative pivots counted below {sigma:.6f} eV, an even number expected; the count is not reliable")
        return n // 2 if self.doubled else n

    def search(self, center: float, n: int, known: Array | None = None) -> tuple[float, Levels]:
        """About n levels or more around an energy, nearest first; ``vectors`` are the rows of this rank.

        Raises
        ------
        DataError
            If the iteration does not converge.
        """
        del known  # SLEPc starts anew
        for step in (0.0, 1.7e-3, -2.3e-3, 1.1e-2):
            sigma = center + step
            self._guarded(f"the search near {sigma:.4f} eV", partial(self._solve, sigma, n * (1 + self.doubled)))
            found = self._collected(self._eps.getConverged())
            if len(found.energies) and found.residuals.max() < LARGEST_RESIDUAL:
                nearest = np.argsort(np.abs(found.energies - sigma), kind="stable")
                return sigma, Levels(found.energies[nearest], found.vectors[:, nearest], found.residuals[nearest], None, None)
            logger.debug("search near %.4f eV: %d levels, residual too large; the shift is moved", sigma, len(found.energies))
        raise DataError(f"SLEPc found no level near {center:.4f} eV: the iteration does not converge")

    def _solve(self, sigma: float, n: int) -> None:
        self._eps.setTarget(sigma)
        self._st.setShift(sigma)  # does not follow the target
        self._eps.setDimensions(min(n, (1 + self.doubled) * self.n))
        self._eps.solve()
        self._ready = True

    def _collected(self, n: int) -> Levels:
        """Ritz pairs of what converged; in a doubled problem the copies of a state (x and ix) are put together.

        There the n nearest of 2n eigenvectors span less than 2n, at least n/2 states.
        """
        x, y = self._H.createVecs()
        columns: dict[str, list[Array]] = {"X": [], "HX": [], "SX": []}
        for i in range(n):
            self._eps.getEigenvector(i, x)
            columns["X"].append(self._own(x))
            for name, M in (("HX", self._H), ("SX", self._S)):
                M.mult(x, y)
                columns[name].append(self._own(y))
        X, HX, SX = (np.array(c, self.dtype).reshape(n, -1).T for c in columns.values())
        weights, Y = np.linalg.eigh(self._summed(X.conj().T @ SX))
        kept = weights > SAME_STATE
        Y = Y[:, kept] / np.sqrt(weights[kept])
        energies, Z = np.linalg.eigh(Y.conj().T @ self._summed(X.conj().T @ HX) @ Y)
        Y = Y @ Z
        SC = SX @ Y
        R = HX @ Y - SC * energies
        squares = self._summed(np.stack([(abs(R) ** 2).sum(axis=0), (abs(SC) ** 2).sum(axis=0)]))
        return Levels(energies, X @ Y, np.sqrt(squares[0] / squares[1]), None, None)

    def _own(self, x: Any) -> Array:
        return np.array(x.array_r).view(np.complex128) if self.doubled else np.array(x.array_r)

    def _summed(self, part: Array) -> Array:
        """The sum over all ranks, the same to the last bit in each."""
        comm = self._PETSc.COMM_WORLD
        return part if comm.size == 1 else np.asarray(comm.tompi4py().bcast(comm.tompi4py().allreduce(part)))

    def to_first(self, rows: Array) -> Array:
        """(n, m) all rows in the first rank, (0, m) in the others."""
        comm = self._PETSc.COMM_WORLD
        if comm.size == 1:
            return rows
        parts = comm.tompi4py().gather(rows)
        return rows[:0] if parts is None else np.concatenate(parts)

    def describe_memory(self) -> str:
        """Memory that MUMPS took, by its own account."""
        F = self._pc.getFactorMatrix()
        most, total = F.getMumpsInfog(21) / 1024, F.getMumpsInfog(22) / 1024
        return f"MUMPS: {total:.2f} GiB in all processes, at most {most:.2f} GiB in one"

    def release(self) -> None:
        """Give the memory back: PETSc's objects outlive Python's references to them until all ranks destroy them."""
        for thing in (self._eps, self._H, self._S):
            thing.destroy()
