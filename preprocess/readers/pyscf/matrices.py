"""Matrices of a converged PySCF calculation, molecular or periodic: Fock matrices, overlap, positions, populations."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Spin
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import DataError
from preprocess.readers.pyscf.kmesh import ComplexArray, mesh_points


class MeanField:
    """One face for PySCF's many mean-field classes: molecules, one k point, many k points.

    Parameters
    ----------
    mf : pyscf mean-field object
        Converged, unless ``run`` is False.
    run : bool
        Whether its own density is wanted, or only matrices that need none.

    Attributes
    ----------
    mol : pyscf Mole or Cell
        Atoms and basis.
    periodic : bool
        Whether ``mol`` is a cell.
    spin : {"none", "collinear", "spinor"}
        How H depends on spin: restricted, unrestricted, generalized.
    kpts : (n_k, 3) array
        k points of the self-consistent run, 1/Bohr; the origin for a molecule.

    Raises
    ------
    DataError
        If the object is of another kind, or not converged.
    """

    def __init__(self, mf: Any, *, run: bool = True) -> None:
        self.spin = _spin_of(mf)
        self.mf, self.mol = mf, mf.mol
        if self.mol.cart:
            raise DataError("Cartesian Gaussians (cart = True): expected spherical ones")
        self.periodic = hasattr(mf, "cell")
        self._many = _has_many_k(mf)
        if self._many and not isinstance(mf.kpts, np.ndarray):
            raise DataError(f"{type(mf).__name__} uses the symmetry of the crystal: expected plain k points, from cell.make_kpts(...)")
        if run and not mf.converged:
            raise DataError("the PySCF calculation is not converged: call mf.kernel() first, perhaps with a larger mf.max_cycle")
        points = mf.kpts if self._many else mf.kpt if self.periodic else np.zeros(3)
        self.kpts = np.asarray(points, float).reshape(-1, 3)

    @property
    def n_spin(self) -> int:
        """Spin channels that are diagonalized separately."""
        return 2 if self.spin == "collinear" else 1

    def states(self) -> tuple[FloatArray, FloatArray]:
        """(n_spin, n_k, n_bands) energies in Hartree, ascending, and occupations.

        Raises
        ------
        DataError
            If PySCF removed functions because the basis is linearly dependent.
        """
        size = self.mol.nao * (2 if self.spin == "spinor" else 1)
        shape = (self.n_spin, len(self.kpts), size)
        try:
            energies, occupation = (np.asarray(x, float).reshape(shape) for x in (self.mf.mo_energy, self.mf.mo_occ))
        except ValueError as error:
            raise DataError(
                f"fewer states than the {size} orbitals: PySCF removed linearly dependent functions; use a less diffuse basis"
            ) from error
        order = np.argsort(energies, axis=-1, kind="stable")  # molecules with symmetry come irrep by irrep
        return np.take_along_axis(energies, order, -1), np.take_along_axis(occupation, order, -1)

    def overlap(self, points: FloatArray | None) -> ComplexArray:
        """(1, n_k, n, n) overlap, at the k points of the run or at others."""
        S = np.asarray(self.mf.get_ovlp() if points is None else self.mf.get_ovlp(self.mol, points), np.complex128)
        n = self.mol.nao  # of spinors PySCF gives it twice
        return S.reshape(1, -1, *S.shape[-2:])[..., :n, :n]

    def fock(self, points: FloatArray | None, density: Any = None) -> ComplexArray:
        """(n_spin, n_k, n, n) Fock matrices of the converged density or of another one; for spinors n counts both spins.

        Parameters
        ----------
        points : (n_k, 3) array or None
            k points in 1/Bohr; None for those of the run.
        density : array, optional
            Density matrix as :meth:`atomic_density` gives it.
        """
        mf, density = self.mf, self.mf.make_rdm1() if density is None else density
        if points is None:
            F = np.asarray(mf.get_fock(dm=density))
        else:
            where = {"kpts" if self._many else "kpt": mf.kpts if self._many else mf.kpt}
            try:
                F = np.asarray(mf.get_hcore(self.mol, points)) + np.asarray(mf.get_veff(self.mol, density, kpts_band=points, **where))
            except NotImplementedError as error:
                raise DataError(
                    f"PySCF cannot give H of {type(mf).__name__} at other k points than its own; use K{type(mf).__name__} with "
                    "cell.make_kpts([1, 1, 1]), or a larger cell"
                ) from error
        return np.asarray(F, np.complex128).reshape(self.n_spin, -1, *F.shape[-2:])

    def atomic_density(self) -> Any:
        """Density matrix of the superposition of spherical atoms without moment, in the shape ``get_veff`` wants it."""
        from pyscf.scf.hf import init_guess_by_atom

        D = np.asarray(init_guess_by_atom(self.mol))
        if self.spin == "spinor":
            D = np.kron(np.eye(2), D / 2)
        if self._many:  # blocks of one atom only: the same at every k
            D = np.repeat(D[None], len(self.kpts), axis=0)
        return np.array([D / 2, D / 2]) if self.spin == "collinear" else D

    def moments(self) -> FloatArray:
        """(n_atoms, 3) Mulliken moments, Bohr magneton; (0, 3) without spin.

        Populations tr_a(D S) of the Pauli matrices, averaged over k.
        """
        if self.spin == "none":
            return np.zeros((0, 3))
        n, S = self.mol.nao, self.overlap(None)[0]
        D = np.asarray(self.mf.make_rdm1())
        D = D.reshape(self.n_spin, len(S), *D.shape[-2:])
        if self.spin == "collinear":
            parts = [np.zeros_like(D[0]), np.zeros_like(D[0]), D[0] - D[1]]
        else:
            uu, ud, du, dd = (D[0, :, i : i + n, j : j + n] for i in (0, n) for j in (0, n))
            parts = [ud + du, 1j * (ud - du), uu - dd]
        per_orbital = np.array([np.einsum("kij,kji->i", P, S).real / len(S) for P in parts])
        return np.array([per_orbital[:, first:last].sum(1) for first, last in self.mol.aoslice_by_atom()[:, 2:]])


def only_own_mesh(mf: Any, spin: Spin) -> str:
    """Why H(k) of a crystal is known only at the k points of the run; empty if the density gives it at any k."""
    xc = getattr(mf, "xc", None)
    if xc is None or mf._numint.libxc.is_hybrid_xc(xc):  # noqa: SLF001 - the only place where PySCF keeps it
        return "with exact exchange"
    return "of a KGKS calculation" if spin == "spinor" else ""


def position_matrices(mol: Any, R: IntArray, vectors: FloatArray) -> FloatArray:
    """(3, n_R, n, n) integrals <i, 0| r |j, R> in Bohr, relative to the origin of the coordinates.

    Parameters
    ----------
    mol : pyscf Mole or Cell
        Atoms and basis.
    R : (n_R, 3) int array
        Cells of the second orbital.
    vectors : (3, 3) array
        Lattice vectors in rows, Bohr.
    """
    from pyscf.gto import intor_cross

    home = mol.to_mol() if hasattr(mol, "to_mol") else mol
    out = np.empty((3, len(R), mol.nao, mol.nao))
    for n, shift in enumerate(R @ vectors):
        away = home.set_geom_(home.atom_coords() + shift, unit="Bohr", inplace=False)
        out[:, n] = intor_cross("int1e_r", home, away)
    return out


def on_mesh(field: MeanField, mesh: IntArray, scf_mesh: IntArray | None, density: Any = None) -> tuple[ComplexArray, ComplexArray]:
    """H(k), S(k) on a mesh, in the order of :func:`preprocess.readers.pyscf.kmesh.mesh_points`.

    On the mesh of the run they are the Fock matrices of the run; elsewhere they follow from the converged density. Without
    spin-orbit those at -k are the complex conjugates.
    """
    k = mesh_points(mesh)
    if scf_mesh is not None and np.array_equal(mesh, scf_mesh):
        order = mesh_order(np.asarray(field.mol.get_scaled_kpts(field.kpts)).reshape(-1, 3)) if field.periodic else np.zeros(1, int)
        return field.fock(None, density)[:, order], field.overlap(None)[:, order]
    index = np.rint(k * mesh).astype(int)
    place = np.ravel_multi_index(tuple(index.T), tuple(mesh))
    partner = np.ravel_multi_index(tuple((-index % mesh).T), tuple(mesh))
    chosen = np.arange(len(k)) if field.spin == "spinor" else np.flatnonzero(place <= partner)
    points = field.mol.get_abs_kpts(k[chosen])
    out = []
    for part in (field.fock(points, density), field.overlap(points)):
        whole = np.empty((len(part), len(k), *part.shape[-2:]), np.complex128)
        if field.spin != "spinor":
            whole[:, partner[chosen]] = part.conj()
        whole[:, chosen] = part
        out.append(whole)
    return out[0], out[1]


def mesh_of(k: FloatArray) -> IntArray | None:
    """The regular mesh through Gamma that fractional k points form, or None."""
    mesh = np.array([len(np.unique(np.round(x % 1 % (1 - 1e-9), 8))) for x in k.T])
    wanted = mesh_points(mesh)
    if len(wanted) != len(k):
        return None
    difference = k[mesh_order(k)] - wanted
    return mesh if np.abs(difference - np.rint(difference)).max() < 1e-6 else None


def mesh_order(k: FloatArray) -> IntArray:
    """Order that sorts fractional k points like :func:`preprocess.readers.pyscf.kmesh.mesh_points`."""
    inside: npt.NDArray[Any] = np.round(k % 1, 8) % 1
    return np.lexsort(inside.T[::-1])


def _has_many_k(mf: Any) -> bool:
    """Whether a calculation is of one of the classes with K in their name."""
    from pyscf.pbc.scf import khf

    return isinstance(mf, khf.KSCF)


def _spin_of(mf: Any) -> Spin:
    """How H depends on spin, from the class of a calculation."""
    from pyscf.pbc.scf import ghf as periodic_ghf
    from pyscf.pbc.scf import hf as periodic_hf
    from pyscf.pbc.scf import kghf, khf, krohf, kuhf
    from pyscf.pbc.scf import rohf as periodic_rohf
    from pyscf.pbc.scf import uhf as periodic_uhf
    from pyscf.scf import dhf, ghf, hf, rohf, uhf

    name = type(mf).__name__
    if isinstance(mf, rohf.ROHF | periodic_rohf.ROHF | krohf.KROHF):
        raise DataError(
            f"{name} has no Fock matrix whose eigenvalues are those of both spins (restricted open shells share their orbitals); "
            "use the unrestricted method, e.g. mf.to_uks() or mf.to_uhf(), and converge it"
        )
    if isinstance(mf, dhf.DHF):
        raise DataError(f"{name} has four components: expected a restricted, unrestricted or generalized calculation")
    kinds: list[tuple[Spin, Any]] = [
        ("spinor", ghf.GHF | periodic_ghf.GHF | kghf.KGHF),
        ("collinear", uhf.UHF | periodic_uhf.UHF | kuhf.KUHF),
        ("none", hf.RHF | periodic_hf.RHF | khf.KRHF),
    ]
    for spin, kind in kinds:
        if isinstance(mf, kind):
            return spin
    raise DataError(f"{name}: expected a (K)RHF, (K)UHF, (K)GHF, (K)RKS, (K)UKS or (K)GKS calculation of PySCF")
