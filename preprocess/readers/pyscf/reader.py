"""PySCF calculations, from the run file or from a converged mean-field object; reading the run file needs no PySCF."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs
from deeph.physics.system import System
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence, ReferenceBands
from preprocess.readers.common import spinor_blocks, to_project_order
from preprocess.readers.pyscf.kmesh import ComplexArray, blocks_from_cells, blocks_from_mesh
from preprocess.readers.pyscf.run import FORMAT_VERSION, RUN_FILE, Run, collect_run, orbital_radii, pairs_in_range

INFO_KEYS = {
    "version", "method", "basis", "shells", "exponents", "spin", "periodic", "n_electrons", "fermi_energy", "total_energy",
}  # fmt: skip
"""What ``info`` of a run file has to hold."""
MAX_DROPPED = 1e-3
"""Largest accepted entry of H outside the pattern, eV."""
ACCURACY = 1e-3
"""Accepted difference from PySCF's eigenvalues, eV: what the dropped entries and an SCF converged to 1e-8 Hartree explain."""


def hamiltonian_from_pyscf(mf: Any, *, mesh: tuple[int, int, int] | None = None, zeroth: bool = False) -> Hamiltonian:
    """The Hamiltonian of a converged PySCF calculation.

    Parameters
    ----------
    mf, mesh, zeroth
        See :func:`preprocess.readers.pyscf.run.collect_run`.

    Returns
    -------
    Hamiltonian
        With position matrices, magnetic moments (Mulliken) where there is spin, and ``extra["H0"]`` if ``zeroth``.

    Raises
    ------
    DataError
        If the calculation cannot be used, or the mesh is too small for the range of the orbitals.
    """
    return to_hamiltonian(collect_run(mf, mesh=mesh, zeroth=zeroth))


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
        return to_hamiltonian(load_run(path))
    except DataError as error:
        raise DataError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def read_bands(folder: Path, _system: System) -> ReferenceBands:
    """The eigenvalues of the self-consistent run, at its k points."""
    return bands_of(load_run(folder / RUN_FILE))


def bands_of(run: Run) -> ReferenceBands:
    """The eigenvalues of a run, at its k points."""
    fermi = float(json.loads(run.info)["fermi_energy"])
    return ReferenceBands(RUN_FILE, run.scf_k, run.scf_energies * PYSCF.hartree, fermi * PYSCF.hartree, ACCURACY)


def load_run(path: Path) -> Run:
    """The content of a run file.

    Raises
    ------
    DataError
        If it is missing, damaged, or of another format version.
    """
    run, info = _load(path)
    if missing := sorted(INFO_KEYS - set(info)):
        raise DataError(f"{path} is not a complete run file of save_run: info lacks {', '.join(missing)}")
    _check_arrays(path, run, info)
    n_k, n, m = int(np.prod(run.mesh)), run.S.shape[-1], run.H.shape[-1]
    shapes = {"S": (1, n_k, n, n), "H": (len(run.scf_energies), n_k, m, m), "H0": (len(run.H0), n_k, m, m), "r": (3, len(run.cells), n, n)}
    for name, shape in shapes.items():
        if (found := getattr(run, name).shape) != shape and shape[0]:
            mesh = "x".join(map(str, run.mesh))
            raise DataError(
                f"{path}: {name} {found} and the other matrices do not fit to each other or to a {mesh} k mesh; expected {shape}"
            )
    return run


def _load(path: Path) -> tuple[Run, dict[str, Any]]:
    """The arrays of a run file of this format version, and ``info`` parsed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            info = json.loads(str(file["info"]))
            if (version := info["format_version"]) == FORMAT_VERSION:
                return Run(str(file["info"]), *(file[name] for name in Run._fields[1:])), info
    except Exception as error:  # numpy, zipfile and zlib have a dozen for a damaged archive
        raise DataError(
            f"{path} is not a complete run file of save_run: damaged, or run or copy interrupted; copy it again or repeat the run"
        ) from error
    raise DataError(f"{path} has format version {version}, expected {FORMAT_VERSION}; write it again with this version of the package")


def _check_arrays(path: Path, run: Run, info: dict[str, Any]) -> None:
    """Each array has its kind of numbers and its dimensions, and all are finite."""
    n, n_k = len(np.atleast_1d(run.numbers)), len(np.atleast_1d(run.scf_k))
    wanted: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "cell": ("f", (3, 3)), "positions": ("f", (n, 3)), "numbers": ("iu", (n,)), "mesh": ("iu", (3,)), "H": ("fc", (None,) * 4),
        "S": ("fc", (None,) * 4), "H0": ("fc", (None,) * 4), "cells": ("iu", (None, 3)), "r": ("f", (None,) * 4),
        "moments": ("f", (None, 3)), "scf_k": ("f", (n_k, 3)), "scf_energies": ("f", (len(np.atleast_1d(run.H)), n_k, None)),
    }  # fmt: skip
    for name, (kinds, shape) in wanted.items():
        array = np.asarray(getattr(run, name))
        fits = array.ndim == len(shape) and all(m in (None, found) for m, found in zip(shape, array.shape, strict=True))
        if array.dtype.kind not in kinds or not fits or not np.isfinite(array).all():
            raise DataError(f"{path}: {name} is {array.dtype} {array.shape}, with NaN or infinity, or not what save_run writes: damaged")
    numbers = [info["n_electrons"], info["fermi_energy"], info["total_energy"], info.get("temperature", 1.0)]
    if not all(isinstance(x, int | float) and np.isfinite(x) for x in numbers) or min(run.mesh) < 1 or not len(run.numbers):
        raise DataError(f"{path}: electrons, Fermi level, energy and temperature {numbers} are not all numbers, or there are no atoms")


def to_hamiltonian(run: Run) -> Hamiltonian:
    """The physics: units, orbital order, blocks in real space.

    Raises
    ------
    DataError
        If the mesh is too small for the range, or the matrices are not those of the basis.
    """
    info = json.loads(run.info)
    system = System(run.cell * PYSCF.bohr, run.positions * PYSCF.bohr, run.numbers, (bool(info["periodic"]),) * 3)
    basis = Basis.from_symbols(info["shells"], info["spin"])
    size = int(basis.n_orbitals(system.numbers).sum())
    if run.S.shape[-1] != size or {run.H.shape[-1], run.H0.shape[-1]} != {size * basis.spin_factor}:
        raise DataError(f"matrices of {run.S.shape[-1]} orbitals, but the basis {info['shells']} has {size}")
    pairs = pairs_in_range(run.cell, run.positions, run.numbers, info)

    def blocks(matrices: ComplexArray, scale: float) -> tuple[PairBlocks, float]:
        spinor = matrices.shape[-1] != size
        found, dropped = blocks_from_mesh(system, basis, _spin_parts(matrices, size) * scale, run.mesh, pairs, real=not spinor)
        found = to_project_order("pyscf", found, system, basis, spin=False)
        return (spinor_blocks(found) if spinor else found).hermitized(), dropped

    S, dropped_overlap = blocks(run.S, 1.0)
    H, dropped = blocks(run.H if len(run.H) else run.H0, PYSCF.hartree)
    H0 = blocks(run.H0, PYSCF.hartree)[0] if len(run.H0) else None
    if not dropped <= MAX_DROPPED:
        raise DataError(
            f"H has entries of {dropped:.1e} eV beyond the range of the orbitals, expected below {MAX_DROPPED:g} eV: "
            + ("use a larger mesh; " if info["periodic"] else "")
            + "exact exchange reaches far where the gap is small: a semi-local or screened functional (PBE, HSE06) does not"
        )
    place = find_pairs(_as_pairs(run.cells), _as_pairs(pairs[:, :3]))
    if (place < 0).any():
        raise DataError("the position matrices lack cells that the orbitals reach")
    r = blocks_from_cells(system, basis, run.r * PYSCF.bohr, place, pairs)[0]
    return Hamiltonian(
        system,
        basis.restricted(system.numbers),
        S,
        H if len(run.H) else None,
        to_project_order("pyscf", r, system, basis, spin=False),
        fermi_energy=info["fermi_energy"] * PYSCF.hartree if "fermi_energy" in info else None,
        n_electrons=info["n_electrons"],
        source=_source(info, run) | {"largest_dropped_H_eV": dropped, "largest_dropped_S": dropped_overlap},
        moments=run.moments if len(run.moments) else None,
        extra={} if H0 is None else {"H0": H0},
    )


def _source(info: dict[str, Any], run: Run) -> dict[str, Any]:
    """Where the data come from, for info.json."""
    source = {
        "code": "PySCF",
        "version": info["version"],
        "method": info["method"],
        "basis": info["basis"],
        "constants": PYSCF._asdict(),
        "orbital_radii": orbital_radii(info["exponents"]),
        "periodic": info["periodic"],
        "mesh": run.mesh.tolist(),
    }
    if len(run.H):
        source["total_energy_eV"] = info["total_energy"] * PYSCF.hartree
        # no run file is written of another calculation than a converged one
        source |= Convergence.of({"scf": {"converged": True}} | info).to_source()
    if len(run.H0):
        source["H0"] = "Fock matrix of the superposition of spherical atomic densities"
    if len(run.moments):
        source["moments"] = "Mulliken"
    if "k_grid" in info:
        source |= {"k_grid": info["k_grid"], "k_shift": [0.0, 0.0, 0.0]}
    if "temperature" in info:
        source["electronic_temperature_K"] = info["temperature"]
    return source


def _as_pairs(cells: Any) -> Any:
    """Lattice vectors as pairs of atom 0 with itself, to look them up."""
    return np.concatenate([cells, np.zeros((len(cells), 2), np.int64)], axis=1)


def _spin_parts(matrices: ComplexArray, n: int) -> ComplexArray:
    """(n_spin, ...) matrices as they are; spinors as the four parts uu, ud, du, dd."""
    if matrices.shape[-1] == n:
        return matrices
    return np.concatenate([matrices[:, :, i : i + n, j : j + n] for i in (0, n) for j in (0, n)])
