"""OpenMX (3.8 and 3.9): one run folder with its ``.scfout``, written with ``HS.fileout on``.

Everything is taken from the ``.scfout``: positions and cell at full precision, the matrices, the Fermi level, and the basis from the copy
of the input file inside it. See docs/openmx.md.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeph.physics.basis import Basis, Spin
from deeph.physics.blocks import Array, PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import SYMBOLS, System
from deeph.physics.units import OPENMX
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.common import hermitian, spinor_blocks, to_project_order
from preprocess.readers.openmx.density import density_matrix, mulliken_moments
from preprocess.readers.openmx.input import read_k_mesh, read_species
from preprocess.readers.openmx.scf import read_convergence
from preprocess.readers.openmx.scfout import SPINS, Scfout, read_scfout

MAX_ASYMMETRY = 1e-6
"""Largest |M - M^dagger| accepted in H (Hartree) and S; real files show 1e-9, a damaged or misread one orders more."""
MAX_ASYMMETRY_R = 1e-2
"""The same for r (Angstrom), which OpenMX integrates on its real-space grid in single precision: real files show 2e-4."""


def detect(folder: Path) -> str | None:
    """Why a folder looks like an OpenMX run, or None."""
    found = sorted(p.name for p in folder.glob("*.scfout"))
    return f"it holds {found[0]}" if found else None


def find_scfout(folder: Path) -> Path:
    """The one ``.scfout`` of a run folder."""
    found = sorted(folder.glob("*.scfout"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:4]) + (", ..." if len(found) > 4 else "")
        raise DataError(
            f"{folder} holds {len(found)} .scfout files{f' ({names})' if found else ''}: expected one structure a folder. "
            + ("Put each run (or step of a molecular dynamics) in a folder of its own" if found else "Run OpenMX with 'HS.fileout on'")
        )
    return found[0]


def read(folder: Path) -> Hamiltonian:
    """Read an OpenMX run.

    Parameters
    ----------
    folder : path
        Holds exactly one ``.scfout``.

    Returns
    -------
    Hamiltonian
        H, S and r in eV and Angstrom (converted with OpenMX's own constants), orbitals in the project's order, exactly Hermitian.

    Raises
    ------
    DataError
        If the file is damaged, of an unknown layout, or of a run that is not supported.
    """
    path = find_scfout(folder)
    raw = read_scfout(path)
    scf = read_convergence(path, raw.input)
    try:
        return _convert(raw, scf)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _convert(raw: Scfout, scf: Convergence) -> Hamiltonian:
    """The physics: units, orbital order, spin."""
    if raw.solver == 4:
        raise DataError("a transport (NEGF) run; expected a band, cluster or O(N) run")
    spin: Spin = SPINS[raw.spin]
    species = read_species(raw.input, len(raw.n_orbitals))
    system = System(raw.cell * OPENMX.bohr, raw.positions * OPENMX.bohr, np.array([s.number for s in species]))
    basis = Basis({s.number: s.shells for s in species}, spin)
    expected = basis.n_orbitals(system.numbers)
    if (expected != raw.n_orbitals).any():
        atom = int(np.argmax(expected != raw.n_orbitals))
        raise DataError(
            f"atom {atom + 1} has {raw.n_orbitals[atom]} orbitals in the matrices, but its basis {species[atom].pao} asks "
            f"for {expected[atom]}"
        )
    shapes = block_shapes(basis, system.numbers, raw.pairs, spin=False)

    def ordered(entries: Array) -> PairBlocks:
        if not np.isfinite(entries).all():
            raise DataError("NaN or infinity in the matrices: the run failed or the file is damaged; repeat the run")
        return to_project_order("openmx", PairBlocks(raw.pairs, shapes, entries), system, basis, spin=False)

    S, asymmetry_S = hermitian(ordered(raw.S), "overlap", MAX_ASYMMETRY)
    H, asymmetry_H = _hamiltonian(raw, ordered)
    density = density_matrix(raw, ordered)
    r, asymmetry_r = _position(system, S, ordered(raw.position * OPENMX.bohr))
    return Hamiltonian(
        system,
        basis,
        S,
        replace(H, entries=H.entries * OPENMX.hartree),
        r,
        fermi_energy=raw.fermi_energy * OPENMX.hartree,
        n_electrons=raw.n_electrons,
        source={
            "code": "OpenMX",
            "format": f"scfout version {raw.version}",
            "constants": OPENMX._asdict(),
            "orbital_radii": {SYMBOLS[s.number]: s.radius * OPENMX.bohr for s in species},
            "electronic_temperature_K": raw.temperature,
            "asymmetry": {"H_eV": asymmetry_H * OPENMX.hartree, "S": asymmetry_S, "r_angstrom": asymmetry_r},
            **read_k_mesh(raw.input),
            **scf.to_source(),
        },
        moments=mulliken_moments(raw),
        extra={} if density is None else {"density_matrix": density},
    )


def _hamiltonian(raw: Scfout, ordered: Callable[[Array], PairBlocks]) -> tuple[PairBlocks, float]:
    """H in Hartree with its spin, and its asymmetry before symmetrization.

    Non-collinear files keep H_uu = H0 + i iH0, H_dd = H1 + i iH1 and H_ud = H2 + i (H3 + iH2); H_du is the adjoint of H_ud.
    """
    if raw.spin != 3:
        return hermitian(ordered(raw.H), "Hamiltonian", MAX_ASYMMETRY)
    diagonal, error = hermitian(ordered(raw.H[:2] + 1j * raw.iH[:2]), "Hamiltonian", MAX_ASYMMETRY)
    ud = ordered(raw.H[2] + 1j * (raw.H[3] + raw.iH[2]))
    parts = np.concatenate([diagonal.entries[:1], ud.entries, ud.adjoint().entries, diagonal.entries[1:]])
    return spinor_blocks(replace(diagonal, entries=parts)), error


def _position(system: System, S: PairBlocks, relative: PairBlocks) -> tuple[PairBlocks, float]:
    """<i,0| r |j,R> in Angstrom from <i,0| r - r_i |j,R>, and its asymmetry before symmetrization.

    About the middle of the two cells, r - R/2, the matrix is Hermitian; OpenMX's integrals fulfil this to 1e-4 Bohr (real-space grid), so
    the Hermitian part is taken there.
    """
    sizes = np.diff(S.offsets)
    middle = S.pairs[:, :3] @ system.cell / 2
    to_middle = np.repeat((system.positions[S.pairs[:, 3]] - middle).T, sizes, axis=1)
    centred = replace(relative, entries=relative.entries + to_middle * S.entries)
    centred, error = hermitian(centred, "position matrix", MAX_ASYMMETRY_R)
    return replace(centred, entries=centred.entries + np.repeat(middle.T, sizes, axis=1) * S.entries), error
