"""Periodic PySCF calculations, from the run file or from a converged mean-field object; reading the run file needs no PySCF."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from deeph.basis import Basis
from deeph.conventions import atom_order
from deeph.errors import DataError
from deeph.hamiltonian import Hamiltonian
from deeph.system import System
from deeph.units import PYSCF
from preprocess.readers.base import ReferenceBands
from preprocess.readers.kmesh import blocks_from_mesh
from preprocess.readers.pyscf_run import FORMAT_VERSION, RUN_FILE, Run, collect_run, orbital_radii, pairs_in_range

INFO_KEYS = {"version", "method", "basis", "shells", "exponents", "n_electrons", "fermi_energy"}
"""What ``info`` of a run file has to hold."""
MAX_DROPPED = 1e-3
"""Largest accepted entry of H outside the pattern, eV."""
ACCURACY = 1e-3
"""Accepted difference from PySCF's eigenvalues, eV: what the dropped entries and an SCF converged to 1e-8 Hartree explain."""


def hamiltonian_from_pyscf(mf: Any, *, mesh: tuple[int, int, int] | None = None) -> Hamiltonian:
    """The Hamiltonian of a converged periodic PySCF calculation.

    Parameters
    ----------
    mf, mesh
        See :func:`preprocess.readers.pyscf_run.collect_run`.

    Raises
    ------
    DataError
        If the calculation cannot be used, or the mesh is too small for the range of the orbitals.
    """
    return _to_hamiltonian(collect_run(mf, mesh=mesh))


def detect(folder: Path) -> str | None:
    """Whether a folder holds a run file."""
    return f"it holds {RUN_FILE}" if (folder / RUN_FILE).is_file() else None


def read(folder: Path) -> Hamiltonian:
    """Read a run folder.

    Raises
    ------
    DataError
        If the run file is damaged, or its mesh is too small for the range of the orbitals.
    """
    path = folder / RUN_FILE
    try:
        return _to_hamiltonian(load_run(path))
    except DataError as error:
        raise DataError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def read_bands(folder: Path, _system: System) -> ReferenceBands:
    """The eigenvalues of the self-consistent run, at its k points."""
    run = load_run(folder / RUN_FILE)
    fermi = float(json.loads(run.info)["fermi_energy"])
    return ReferenceBands(RUN_FILE, run.scf_k, run.scf_energies * PYSCF.hartree, fermi * PYSCF.hartree, ACCURACY)


def load_run(path: Path) -> Run:
    """The content of a run file.

    Raises
    ------
    DataError
        If it is missing, damaged, or of another format version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            run = Run(str(file["info"]), *(file[name] for name in Run._fields[1:]))
        info = json.loads(run.info)
        version, missing = info["format_version"], sorted(INFO_KEYS - set(info))
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a complete run file of save_run: {error}") from error
    if version != FORMAT_VERSION:
        raise DataError(f"{path} has format version {version}, expected {FORMAT_VERSION}; write it again with this version of the package")
    if missing:
        raise DataError(f"{path} is not a complete run file of save_run: info lacks {', '.join(missing)}")
    n_k, n = int(np.prod(run.mesh)), run.S.shape[-1]
    if run.S.shape != (1, n_k, n, n) or run.H.shape != (len(run.scf_energies), n_k, n, n):
        raise DataError(f"{path}: H {run.H.shape} and S {run.S.shape} do not fit to a {'x'.join(map(str, run.mesh))} k mesh")
    return run


def _to_hamiltonian(run: Run) -> Hamiltonian:
    info = json.loads(run.info)
    system = System(run.cell * PYSCF.bohr, run.positions * PYSCF.bohr, run.numbers)
    basis = Basis.from_symbols(info["shells"], "collinear" if len(run.H) == 2 else "none")
    if (size := int(basis.n_orbitals(system.numbers).sum())) != run.S.shape[-1]:
        raise DataError(f"matrices of {run.S.shape[-1]} orbitals, but the basis {info['shells']} has {size}")
    pairs = pairs_in_range(system, info["exponents"])
    H, dropped = blocks_from_mesh(system, basis, run.H * PYSCF.hartree, run.mesh, pairs)
    S, dropped_overlap = blocks_from_mesh(system, basis, run.S, run.mesh, pairs)
    if not dropped <= MAX_DROPPED:
        raise DataError(
            f"H has entries of {dropped:.1e} eV beyond the range of the orbitals, expected below {MAX_DROPPED:g} eV: use a larger mesh"
        )
    orders = {z: atom_order("pyscf", shells) for z, shells in basis.shells.items()}
    source = {
        "code": "PySCF",
        "version": info["version"],
        "method": info["method"],
        "basis": info["basis"],
        "constants": PYSCF._asdict(),
        "orbital_radii": orbital_radii(info["exponents"]),
        "mesh": run.mesh.tolist(),
        "largest_dropped_H_eV": dropped,
        "largest_dropped_S": dropped_overlap,
    }
    if "k_grid" in info:
        source |= {"k_grid": info["k_grid"], "k_shift": [0.0, 0.0, 0.0]}
    return Hamiltonian(
        system,
        basis.restricted(system.numbers),
        S.reordered(system.numbers, orders),
        H.reordered(system.numbers, orders),
        fermi_energy=info["fermi_energy"] * PYSCF.hartree,
        n_electrons=info["n_electrons"],
        source=source,
    )
