"""SIESTA (4 and 5): one run folder with ``.HSX``, ``.TSHS`` or ``.nc``, ``.ORB_INDX`` and ``.XV``. See docs/siesta.md."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.band_files.siesta import read_fermi_energy, read_k_points
from deeph.files.fdf import Fdf, read_fdf_file
from deeph.physics.basis import Basis, Spin
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import SYMBOLS, FloatArray, System
from deeph.physics.units import KELVIN, Constants
from deeph.runtime.errors import DataError
from preprocess.readers.common import asymmetry, one_basis, to_project_order
from preprocess.readers.kmesh import mesh_entries, mesh_of_points
from preprocess.readers.siesta.blocks import Slots, find_slots
from preprocess.readers.siesta.density import density_blocks, mulliken_moments, read_density
from preprocess.readers.siesta.files import AtomOrbitals, Geometry, find_constants, read_geometry, read_orb_indx
from preprocess.readers.siesta.matrix import Matrices, is_siesta_nc, read_matrices
from preprocess.readers.siesta.scf import read_convergence
from preprocess.readers.siesta.species import check_species

SPINS: dict[int, Spin] = {1: "none", 2: "collinear", 4: "spinor", 8: "spinor"}
SUFFIXES = (".HSX", ".TSHS", ".nc", ".onlyS")
"""Files with matrices, the preferred ones first."""
MAX_ASYMMETRY = 1e-5
"""Largest |M - M^dagger| accepted in H (Rydberg) and S; single precision gives 1e-6, a damaged or misread file orders more."""


def detect(folder: Path) -> str | None:
    """Why a folder looks like a SIESTA run, or None."""
    found = sorted(p.name for suffix in (*SUFFIXES, ".ORB_INDX") for p in _files(folder, suffix))
    return f"it holds {found[0]}" if found else None


def _files(folder: Path, suffix: str) -> list[Path]:
    """Files of this ending; of netCDF files those with matrices, and not the many others (basis, grids)."""
    found = sorted(folder.glob(f"*{suffix}"))
    return [path for path in found if is_siesta_nc(path)] if suffix == ".nc" else found


def find_matrices(folder: Path) -> Path:
    """The file with the matrices of a run folder; the other files have its name and other endings."""
    for suffix in SUFFIXES:
        found = _files(folder, suffix)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(p.name for p in found[:4])
            raise DataError(f"{folder} holds {len(found)} {suffix} files ({names}): expected one run a folder")
    raise DataError(f"{folder} holds no .HSX, .TSHS or .nc file with H and S: run SIESTA with 'SaveHS true'")


def read(folder: Path) -> Hamiltonian:
    """Read a SIESTA run.

    Parameters
    ----------
    folder : path
        Holds the files of one run.

    Returns
    -------
    Hamiltonian
        H and S in eV and Angstrom (converted with SIESTA's own constants), orbitals in the project's order, exactly Hermitian.

    Raises
    ------
    DataError
        If a file is missing, damaged or of an unknown layout, or the files contradict each other.
    """
    raw = read_matrices(find_matrices(folder))
    orbitals = read_orb_indx(raw.path.with_suffix(".ORB_INDX"))
    try:
        return _convert(raw, orbitals)
    except DataError as error:
        raise error if str(folder) in str(error) else DataError(f"{raw.path}: {error}") from error


def read_system(raw: Matrices) -> tuple[System, Geometry, Constants]:
    """The atoms, from the file of the matrices if it has them (full precision); as listed in a text file; the constants of the run."""
    xv, struct_out = (read_geometry(raw.path.with_suffix(suffix)) for suffix in (".XV", ".STRUCT_OUT"))
    constants = find_constants(xv, struct_out, raw.layout)
    listed = xv or struct_out
    if listed is None:
        raise DataError("neither .XV nor .STRUCT_OUT is there to tell the elements; SIESTA writes both in every run, copy them too")
    if len(listed.numbers) != len(raw.n_orbitals):
        raise DataError(f"{len(raw.n_orbitals)} atoms in the matrices, but {len(listed.numbers)} in .XV or .STRUCT_OUT")
    scale = constants.bohr if xv is not None else 1.0
    cell, positions = listed.cell * scale, listed.positions * scale
    if raw.cell is not None and raw.positions is not None:
        cell, positions = raw.cell * constants.bohr, raw.positions * constants.bohr
    return System(cell, positions, listed.numbers), listed, constants


def _convert(raw: Matrices, orbitals: list[AtomOrbitals]) -> Hamiltonian:
    """The physics: units, orbital order, spin."""
    system, listed, constants = read_system(raw)
    inputs = _readable_inputs(raw.path.parent)
    basis = _basis(raw, system, orbitals)
    check_species(listed, orbitals, raw.species, [fdf.species() for fdf in inputs])
    rydberg = constants.hartree / 2
    radii = {z: max(one.basis.radii) * constants.bohr for z, one in zip(system.numbers.tolist(), orbitals, strict=True)}
    slots = find_slots(raw, system, radii, constants.bohr)
    source: dict[str, Any] = {
        "code": "SIESTA",
        "format": raw.layout,
        "constants": constants._asdict(),
        "orbital_radii": {SYMBOLS[z]: radius for z, radius in radii.items()},
        **read_convergence(raw.path).to_source(),
    }
    S = slots.blocks(raw.S[None])
    source["asymmetry"] = {"S": asymmetry(S, "overlap", MAX_ASYMMETRY)}
    S = to_project_order("siesta", slots.triangle(S), system, basis, spin=False)
    H = None
    if raw.H is not None:
        H = _with_spin(slots, raw.H)
        source["asymmetry"]["H_eV"] = asymmetry(H, "Hamiltonian", MAX_ASYMMETRY) * rydberg
        H = slots.triangle(H)
        H = to_project_order("siesta", replace(H, entries=H.entries * rydberg), system, basis, spin=True)
    if raw.temperature is not None:
        source["electronic_temperature_K"] = raw.temperature * rydberg / KELVIN
    if all(fdf.is_value("OccupationFunction", "FD") or not fdf.has("OccupationFunction") for fdf in inputs):
        source |= _k_mesh(raw, system)  # with another smearing than the Fermi function the electrons cannot be counted exactly
    fermi = raw.fermi * rydberg if raw.fermi is not None else read_fermi_energy(raw.path.with_suffix(".EIG"))
    if H is None or any(fdf.is_true("Spin.Fix") or fdf.is_true("FixSpin") for fdf in inputs):
        fermi = None  # a fixed total spin has one level for each spin
    density = None if H is None else read_density(raw.path.with_suffix(".DM"), raw)
    rho = None if density is None else density_blocks(density, slots)
    return Hamiltonian(
        system,
        basis,
        S,
        H,
        fermi_energy=fermi,
        n_electrons=raw.n_electrons,
        source=source,
        moments=None if density is None else mulliken_moments(density, raw),
        extra={} if rho is None else {"density_matrix": to_project_order("siesta", rho, system, basis, spin=True)},
    )


def _basis(raw: Matrices, system: System, orbitals: list[AtomOrbitals]) -> Basis:
    """Shells of each element; the same on all its atoms, and as many orbitals as the matrices have."""
    if len(orbitals) != system.n_atoms:
        raise DataError(f"{system.n_atoms} atoms in the matrices, but {len(orbitals)} in .ORB_INDX")
    known = one_basis(zip(system.numbers.tolist(), (one.basis for one in orbitals), strict=True))
    basis = Basis({z: one.shells for z, one in known.items()}, "none" if raw.H is None else SPINS[len(raw.H)])
    expected = basis.n_orbitals(system.numbers)
    if (expected != raw.n_orbitals).any():
        n = int(np.argmax(expected != raw.n_orbitals))
        raise DataError(
            f"atom {n + 1} has {raw.n_orbitals[n]} orbitals in the matrices, but {expected[n]} in .ORB_INDX: they are of different runs"
        )
    return basis


def _with_spin(slots: Slots, H: FloatArray) -> PairBlocks:
    """H with its spin, from the element at row i and column j, which SIESTA defines as <j, R| H |i, 0>.

    Spinors are [[H1 + i H5, H3 - i H4], [H7 + i H8, H2 + i H6]] (diag3k.F), or for non-collinear runs [[H1, H3 - i H4], [H3 + i H4, H2]]
    (diag2k.F); the block <i, 0| H |j, R> is the adjoint in spin.
    """
    if len(H) <= 2:
        return slots.blocks(H)
    if len(H) == 4:
        return slots.spinor_blocks(H[0], H[2] - 1j * H[3], H[2] + 1j * H[3], H[1])
    return slots.spinor_blocks(H[0] - 1j * H[4], H[6] - 1j * H[7], H[2] + 1j * H[3], H[1] - 1j * H[5])


def _readable_inputs(folder: Path) -> list[Fdf]:
    """The fdf inputs in the folder; they are not needed, so one whose included files were left behind is passed over."""
    out = []
    for path in sorted(folder.glob("*.fdf")):
        with suppress(DataError):
            out.append(read_fdf_file(path))
    return out


def _k_mesh(raw: Matrices, system: System) -> dict[str, Any]:
    """The mesh of the run: as the file of the matrices has it, or the one that the points and weights in ``.KP`` are."""
    if raw.k_cell is not None and raw.k_shift is not None:
        return mesh_entries(raw.k_cell, raw.k_shift)
    path = raw.path.with_suffix(".KP")
    return mesh_of_points(*read_k_points(path, system.cell)) if path.is_file() else {}
