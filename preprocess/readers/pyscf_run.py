"""The raw run of a periodic PySCF calculation: H(k) and S(k) on a mesh, saved without pickle.

H of Gaussian orbitals has no sharp range. Its blocks are taken from all pairs closer than the sum of two element radii, chosen so that
the overlap of the most diffuse functions has fallen to ``TOLERANCE``; the mesh has to resolve these pairs.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.errors import DataError
from deeph.pairs import neighbour_pairs
from deeph.system import NUMBERS, FloatArray, IntArray, System
from deeph.units import PYSCF
from preprocess.readers.kmesh import ComplexArray, mesh_points, smallest_mesh

RUN_FILE = "pyscf_run.npz"
FORMAT_VERSION = 1
TOLERANCE = 1e-8
"""Overlap of two s functions of the smallest exponent at the distance where blocks end."""


class Run(NamedTuple):
    """What the run file holds: Hartree, Bohr, PySCF's orbital order.

    Attributes
    ----------
    info : str
        JSON object: ``format_version``, ``version`` of PySCF, ``method``, ``basis``, ``shells`` and smallest ``exponents`` of each element,
        ``n_electrons``, ``fermi_energy``, and ``k_grid`` of the self-consistent run where its states are all full or empty.
    cell : (3, 3) array
        Lattice vectors in rows.
    positions : (n_atoms, 3) array
        Cartesian positions.
    numbers : (n_atoms,) int array
        Atomic numbers.
    mesh : (3,) int array
        k mesh through Gamma of the matrices.
    H : (n_spin, n_k, n_orbitals, n_orbitals) array
        Fock matrices, the last direction of the mesh running fastest.
    S : (1, n_k, n_orbitals, n_orbitals) array
        Overlap matrices.
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
    scf_k: FloatArray
    scf_energies: FloatArray


def save_run(mf: Any, folder: str | Path, *, mesh: tuple[int, int, int] | None = None) -> Path:
    """Write a converged calculation into a run folder for ``deeph-preprocess``.

    Parameters
    ----------
    mf, mesh
        See :func:`collect_run`.
    folder : path
        Is made if it does not exist.

    Returns
    -------
    path
        The run file.
    """
    run, folder = collect_run(mf, mesh=mesh), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{RUN_FILE}.{os.getpid()}.part"
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(value) for name, value in run._asdict().items()})
        return temporary.replace(folder / RUN_FILE)
    finally:
        temporary.unlink(missing_ok=True)


def collect_run(mf: Any, *, mesh: tuple[int, int, int] | None = None) -> Run:
    """Evaluate H(k) and S(k) of a converged calculation on a mesh that resolves the range of the orbitals.

    Parameters
    ----------
    mf : KRHF, KUHF, KRKS or KUKS of pyscf.pbc
        Converged, with plain k points (no space-group symmetry).
    mesh : three int, optional
        Mesh through Gamma for the matrices; by default the smallest one that resolves the range. It need not be the mesh of the
        self-consistent run: H(k) follows from the converged density at any k. Only with exact exchange the two have to be the same.

    Raises
    ------
    DataError
        If the calculation is of another kind or not converged, or atoms of one element have different bases.
    """
    from pyscf import __version__
    from pyscf.pbc.scf import khf, kuhf

    if not isinstance(mf, khf.KRHF | kuhf.KUHF) or not isinstance(mf.kpts, np.ndarray):
        raise DataError(f"{type(mf).__name__}: expected a periodic KRHF, KUHF, KRKS or KUKS with plain k points (no k-point symmetry)")
    if not mf.converged:
        raise DataError("the PySCF calculation is not converged: call mf.kernel() first, perhaps with a larger mf.max_cycle")
    cell, n_spin = mf.cell, 2 if isinstance(mf, kuhf.KUHF) else 1
    shells, exponents = _basis_of(cell)
    scf_k = np.asarray(cell.get_scaled_kpts(mf.kpts)).reshape(-1, 3)
    energies, occupation = (np.asarray(x).reshape(n_spin, len(scf_k), -1) for x in (mf.mo_energy, mf.mo_occ))
    info = {
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "method": f"{type(mf).__name__} {getattr(mf, 'xc', 'HF')}",
        "basis": str(cell.basis),
        "shells": shells,
        "exponents": exponents,
        "n_electrons": float(cell.nelectron),
        "fermi_energy": _fermi_energy(energies, occupation > 1 / n_spin),
    }
    scf_mesh = _mesh_of(scf_k)
    if scf_mesh is not None and np.isin(occupation, (0, 2 / n_spin)).all():
        info["k_grid"] = scf_mesh.tolist()
    vectors, positions = np.asarray(cell.lattice_vectors()), np.asarray(cell.atom_coords())
    numbers = np.array([NUMBERS.get(cell.atom_pure_symbol(a), 0) for a in range(cell.natm)])
    pairs = pairs_in_range(System(vectors * PYSCF.bohr, positions * PYSCF.bohr, numbers), exponents)
    chosen = smallest_mesh(pairs) if mesh is None else np.array(mesh)
    if _has_exact_exchange(mf):
        chosen = _scf_mesh_instead(chosen, scf_mesh, free=mesh is None)
    H, S = _matrices(mf, chosen, n_spin)
    return Run(json.dumps(info), vectors, positions, numbers, chosen, H, S, scf_k, energies)


def pairs_in_range(system: System, exponents: dict[str, float]) -> IntArray:
    """(n_pairs, 5) all pairs closer than the sum of the radii of their elements."""
    return neighbour_pairs(system, {NUMBERS[symbol]: r for symbol, r in orbital_radii(exponents).items()})


def orbital_radii(exponents: dict[str, float]) -> dict[str, float]:
    """Radius of each element in Angstrom from its smallest exponent a in 1/Bohr^2: exp(-a (2r)^2 / 2) = ``TOLERANCE``."""
    return {symbol: math.sqrt(-math.log(TOLERANCE) / (2 * a)) * PYSCF.bohr for symbol, a in exponents.items()}


def _basis_of(cell: Any) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Shells and smallest exponent of each element."""
    if cell.cart:
        raise DataError("Cartesian Gaussians (cell.cart = True): expected spherical ones")
    shells: dict[str, list[int]] = {}
    exponents: dict[str, float] = {}
    for atom in range(cell.natm):
        symbol, members = cell.atom_pure_symbol(atom), cell.atom_shell_ids(atom)
        own = [int(cell.bas_angular(b)) for b in members for _ in range(cell.bas_nctr(b))]
        smallest = min(float(cell.bas_exp(b).min()) for b in members)
        if own != shells.setdefault(symbol, own) or smallest != exponents.setdefault(symbol, smallest):
            raise DataError(f"atoms of {symbol} have different bases; expected one basis an element")
    return shells, exponents


def _fermi_energy(energies: FloatArray, full: npt.NDArray[np.bool_]) -> float:
    """The middle of the gap; of a metal, the middle of the two levels around half filling."""
    top = float(energies[full].max())
    return top if full.all() else (top + float(energies[~full].min())) / 2


def _mesh_of(k: FloatArray) -> IntArray | None:
    """The regular mesh through Gamma that k points form, or None."""
    mesh = np.array([len(np.unique(np.round(x % 1 % (1 - 1e-9), 8))) for x in k.T])
    wanted, found = mesh_points(mesh), k % 1
    if len(wanted) != len(found):
        return None
    difference = found[np.lexsort(np.round(found, 8).T[::-1])] - wanted
    return mesh if np.abs(difference - np.rint(difference)).max() < 1e-6 else None


def _scf_mesh_instead(chosen: IntArray, scf_mesh: IntArray | None, *, free: bool) -> IntArray:
    """The mesh of the self-consistent run, the only one on which exact exchange is known."""
    if scf_mesh is None or not (free or np.array_equal(chosen, scf_mesh)):
        raise DataError(
            f"with exact exchange H(k) is known only on the mesh of the self-consistent run; "
            f"expected mf.kpts = cell.make_kpts({chosen.tolist()})"
        )
    return scf_mesh


def _has_exact_exchange(mf: Any) -> bool:
    xc = getattr(mf, "xc", None)
    return xc is None or bool(mf._numint.libxc.is_hybrid_xc(xc))  # noqa: SLF001 - the only place where PySCF keeps it


def _matrices(mf: Any, mesh: IntArray, n_spin: int) -> tuple[ComplexArray, ComplexArray]:
    """H(k), S(k) on a mesh; those at -k are the complex conjugates."""
    k = mesh_points(mesh)
    index = np.rint(k * mesh).astype(int)
    place = np.ravel_multi_index(tuple(index.T), tuple(mesh))
    partner = np.ravel_multi_index(tuple((-index % mesh).T), tuple(mesh))
    half = np.flatnonzero(place <= partner)
    points = mf.cell.get_abs_kpts(k[half])
    potential = mf.get_veff(mf.cell, mf.make_rdm1(), kpts=mf.kpts, kpts_band=points)
    H = np.asarray(mf.get_hcore(mf.cell, points)) + np.asarray(potential)
    n = H.shape[-1]
    out = []
    for part in (H.reshape(n_spin, len(half), n, n), np.asarray(mf.get_ovlp(mf.cell, points))[None]):
        whole = np.empty((len(part), len(k), n, n), np.complex128)
        whole[:, partner[half]] = part.conj()
        whole[:, half] = part
        out.append(whole)
    return out[0], out[1]
