"""The raw run of a PySCF calculation: H(k) and S(k) on a mesh and what belongs to them, saved without pickle.

H of Gaussian orbitals has no sharp range. Its blocks are taken from all pairs closer than the sum of two element radii, at which the
overlap of the most diffuse functions has fallen to :data:`deeph.physics.orbitals.SMALL_OVERLAP`; the mesh has to resolve these pairs. A
molecule has one k point and a box so large that no pair reaches into the next one.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.physics.orbitals import gaussian_radius
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.system import NUMBERS, SYMBOLS, FloatArray, IntArray, System
from deeph.physics.units import KELVIN, PYSCF
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.common import one_basis
from preprocess.readers.pyscf.kmesh import ComplexArray, smallest_mesh
from preprocess.readers.pyscf.matrices import MeanField, mesh_of, on_mesh, only_own_mesh, position_matrices

RUN_FILE = "pyscf_run.npz"
FORMAT_VERSION = 2
MARGIN = 2.0
"""Angstrom between the ranges of a molecule and of its image in the next box."""


class Run(NamedTuple):
    """What the run file holds: Hartree, Bohr, PySCF's orbital order.

    Attributes
    ----------
    info : str
        JSON object: ``format_version``, ``version`` of PySCF, ``method``, ``basis``, ``shells`` and smallest ``exponents`` of each element,
        ``spin``, ``periodic``, ``n_electrons``, ``fermi_energy``, ``total_energy`` of a cell, ``scf`` (how the cycle ended), ``k_grid`` of
        the self-consistent run where its occupations follow from the energies, and ``temperature`` (kelvin) of a Fermi smearing. Without
        a self-consistent run there is no energy.
    cell : (3, 3) array
        Lattice vectors in rows; the box of a molecule.
    positions : (n_atoms, 3) array
        Cartesian positions.
    numbers : (n_atoms,) int array
        Atomic numbers.
    mesh : (3,) int array
        k mesh through Gamma of the matrices.
    H : (n_spin, n_k, n, n) array
        Fock matrices, the last direction of the mesh running fastest; n counts both spins of a spinor, all up first.
    S : (1, n_k, n_orbitals, n_orbitals) array
        Overlap matrices.
    H0 : (n_spin, n_k, n, n) array
        Fock matrices of the superposition of atomic densities; of length 0 if not asked for.
    cells : (n_R, 3) int array
        Lattice vectors R of the position matrices.
    r : (3, n_R, n_orbitals, n_orbitals) array
        Position matrices between the home cell and the cells R.
    moments : (n_atoms, 3) array
        Mulliken moments in Bohr magneton; of length 0 without spin.
    scf_k : (n_scf, 3) array
        Fractional k points of the self-consistent run.
    scf_energies : (n_spin, n_scf, n_bands) array
        Its eigenvalues.
    """

    info: str
    cell: FloatArray
    positions: FloatArray
    numbers: IntArray
    mesh: IntArray
    H: ComplexArray
    S: ComplexArray
    H0: ComplexArray
    cells: IntArray
    r: FloatArray
    moments: FloatArray
    scf_k: FloatArray
    scf_energies: FloatArray


def save_run(mf: Any, folder: str | Path, *, mesh: tuple[int, int, int] | None = None, zeroth: bool = False) -> Path:
    """Write a converged calculation into a run folder for ``deeph-preprocess``.

    Parameters
    ----------
    mf, mesh, zeroth
        See :func:`collect_run`.
    folder : path
        Is made if it does not exist.

    Returns
    -------
    path
        The run file.
    """
    run, folder = collect_run(mf, mesh=mesh, zeroth=zeroth), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{RUN_FILE}.{os.getpid()}.part"
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(value) for name, value in run._asdict().items()})
        return temporary.replace(folder / RUN_FILE)
    finally:
        temporary.unlink(missing_ok=True)


def collect_run(mf: Any, *, mesh: tuple[int, int, int] | None = None, zeroth: bool = False, hamiltonian: bool = True) -> Run:
    """Evaluate H(k) and S(k) of a converged calculation on a mesh that resolves the range of the orbitals, and r(R).

    Parameters
    ----------
    mf : pyscf mean-field object
        RHF, UHF, GHF, RKS, UKS or GKS of a molecule, of a cell at Gamma, or (with K) of a cell on plain k points. Converged.
    mesh : three int, optional
        Mesh through Gamma for the matrices; by default the smallest one that resolves the range. It need not be the mesh of the
        self-consistent run: H(k) follows from the converged density at any k. Only with exact exchange the two have to be the same.
    zeroth : bool
        Whether to evaluate the Fock matrix of the superposition of spherical atomic densities, too (once more the cost of a mesh).
    hamiltonian : bool
        False for S, r and H0 of a calculation that was not run: ``H`` and ``scf_energies`` are of length 0 then.

    Raises
    ------
    DataError
        If the calculation is of another kind or not converged, or atoms of one element have different bases.
    """
    from pyscf import __version__

    field = MeanField(mf, run=hamiltonian)
    mol = field.mol
    shells, exponents = basis_of(mol)
    positions = np.asarray(mol.atom_coords())
    vectors = np.asarray(mol.lattice_vectors()) if field.periodic else _box(positions, exponents)
    scf_k = np.asarray(mol.get_scaled_kpts(field.kpts)).reshape(-1, 3) if field.periodic else field.kpts
    info: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "method": f"{type(mf).__name__} {getattr(mf, 'xc', 'HF')}",
        "basis": str(mol.basis),
        "shells": shells,
        "exponents": exponents,
        "spin": field.spin,
        "periodic": field.periodic,
        "n_electrons": float(mol.nelectron),
    }
    scf_mesh = mesh_of(scf_k)
    energies = np.zeros((0, len(scf_k), 0))
    if hamiltonian:
        energies, occupation = field.states()
        info |= {"total_energy": float(mf.e_tot), **_convergence(mf).to_source()}
        info |= _filling(mf, energies, occupation / (2 if field.spin == "none" else 1), scf_mesh)
    numbers = np.array([NUMBERS.get(mol.atom_pure_symbol(a), 0) for a in range(mol.natm)])
    pairs = pairs_in_range(vectors, positions, numbers, info)
    chosen = np.ones(3, int) if not field.periodic else smallest_mesh(pairs) if mesh is None else np.array(mesh)
    if field.periodic and (why := only_own_mesh(mf, field.spin)):
        chosen = _scf_mesh_instead(chosen, scf_mesh, why, free=mesh is None)
    density = None if hamiltonian else field.atomic_density()
    H, S = on_mesh(field, chosen, scf_mesh, density)
    H, H0 = (H, H[:0]) if hamiltonian else (H[:0], H)
    if zeroth and hamiltonian:
        H0 = on_mesh(field, chosen, scf_mesh, field.atomic_density())[0]
    cells = np.unique(pairs[:, :3], axis=0)
    r = position_matrices(mol, cells, vectors)
    moments = field.moments() if hamiltonian else np.zeros((0, 3))
    return Run(json.dumps(info), vectors, positions, numbers, chosen, H, S, H0, cells, r, moments, scf_k, energies)


def _convergence(mf: Any) -> Convergence:
    """What PySCF says of its self-consistent cycle."""
    cycles, limit = getattr(mf, "cycles", None), getattr(mf, "conv_tol", None)
    steps = int(cycles) if isinstance(cycles, int) and cycles > 0 else None
    return Convergence(bool(mf.converged), steps, None, None if limit is None else float(limit), "change of the total energy (Hartree)")


def pairs_in_range(vectors: FloatArray, positions: FloatArray, numbers: IntArray, info: dict[str, Any]) -> IntArray:
    """(n_pairs, 5) all pairs closer than the sum of the radii of their elements; vectors and positions in Bohr."""
    system = System(vectors * PYSCF.bohr, positions * PYSCF.bohr, numbers, (bool(info["periodic"]),) * 3)
    return neighbour_pairs(system, {NUMBERS[symbol]: r for symbol, r in orbital_radii(info["exponents"]).items()})


def orbital_radii(exponents: dict[str, float]) -> dict[str, float]:
    """Radius of each element in Angstrom from its smallest exponent in 1/Bohr^2."""
    return {symbol: gaussian_radius(a / PYSCF.bohr**2) for symbol, a in exponents.items()}


def basis_of(mol: Any) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Shells and smallest exponent of each element."""
    bases = one_basis((NUMBERS.get(mol.atom_pure_symbol(a), 0), _AtomBasis.of(mol, a)) for a in range(mol.natm))
    shells = {SYMBOLS[z]: [l for l, functions, *_ in one.shells for _ in range(functions)] for z, one in bases.items()}
    return shells, {SYMBOLS[z]: min(min(exponents) for _, _, exponents, _ in one.shells) for z, one in bases.items()}


class _AtomBasis(NamedTuple):
    """All that tells the basis of an atom: the charge that its core leaves, and l, number, exponents and coefficients of its shells."""

    charge: int
    shells: tuple[tuple[int, int, tuple[float, ...], tuple[float, ...]], ...]

    @classmethod
    def of(cls, mol: Any, atom: int) -> "_AtomBasis":
        """The basis of one atom of a PySCF molecule or cell."""
        return cls(
            int(mol.atom_charge(atom)),
            tuple(
                (
                    int(mol.bas_angular(b)),
                    int(mol.bas_nctr(b)),
                    tuple(mol.bas_exp(b).tolist()),
                    tuple(mol.bas_ctr_coeff(b).ravel().tolist()),
                )
                for b in mol.atom_shell_ids(atom)
            ),
        )

    def __str__(self) -> str:
        smallest = min(min(exponents) for _, _, exponents, _ in self.shells)
        functions = [l for l, n, *_ in self.shells for _ in range(n)]
        return f"shells {functions} with exponents down to {smallest:g} around a core of charge {self.charge}"


def _box(positions: FloatArray, exponents: dict[str, float]) -> FloatArray:
    """(3, 3) box of a molecule in Bohr: its extent, twice the largest radius, and a margin. The atoms stay where they are."""
    reach = 2 * max(orbital_radii(exponents).values()) + MARGIN
    return np.diag(np.ptp(positions, axis=0) + reach / PYSCF.bohr)


def _filling(mf: Any, energies: FloatArray, occupation: FloatArray, mesh: IntArray | None) -> dict[str, Any]:
    """The Fermi level (Hartree), and the mesh and temperature with which it reproduces the number of electrons.

    Without smearing the level is the middle between the highest full and the lowest empty state, counted over all k and both spins.
    """
    levels, n = np.sort(energies, axis=None), round(float(occupation.sum()))
    fermi = float(np.append(levels, levels[-1] + 1.0)[n - 1 : n + 1].mean())
    known = {} if mesh is None else {"k_grid": mesh.tolist()}
    sigma, partial = getattr(mf, "sigma", None), np.abs(occupation - 0.5)
    if sigma and str(getattr(mf, "smearing_method", "")).lower().startswith("fermi") and partial.min() < 0.49:
        state = np.unravel_index(int(partial.argmin()), partial.shape)
        fermi = float(energies[state] + sigma * math.log(occupation[state] / (1 - occupation[state])))
        return {"fermi_energy": fermi, "temperature": sigma * PYSCF.hartree / KELVIN, **known}
    return {"fermi_energy": fermi, **(known if np.allclose(occupation, energies < fermi) else {})}


def _scf_mesh_instead(chosen: IntArray, scf_mesh: IntArray | None, why: str, *, free: bool) -> IntArray:
    """The mesh of the self-consistent run, the only one on which H is known; ``why`` so."""
    if scf_mesh is None or not (free or np.array_equal(chosen, scf_mesh)):
        raise DataError(
            f"{why} H(k) is known only on the mesh of the self-consistent run; expected mf.kpts = cell.make_kpts({chosen.tolist()})"
        )
    return scf_mesh
