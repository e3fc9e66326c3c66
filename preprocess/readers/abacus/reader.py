"""ABACUS (3.0 to 3.10 and later), numerical atomic orbitals: one run folder with H(R) and S(R), written with ``out_mat_hs2 1``.

Structure from ``STRU``, orbitals from the ``.orb`` files it names or from the log. See docs/abacus.md.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.basis import Basis, Spin
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import pair_vectors
from deeph.physics.system import SYMBOLS, System
from deeph.physics.units import ABACUS
from deeph.runtime.errors import DataError
from preprocess.readers.abacus.blocks import spin_free, to_blocks
from preprocess.readers.abacus.csr import SparseMatrix, read_csr
from preprocess.readers.abacus.files import RunFiles, detect, find_files
from preprocess.readers.abacus.input import calculation, number_of, read_k_mesh, read_smearing
from preprocess.readers.abacus.log import Log, read_log, read_moments
from preprocess.readers.abacus.species import Orbital, check_functions, read_orbitals
from preprocess.readers.abacus.stru import Stru, parse_stru
from preprocess.readers.base import Convergence
from preprocess.readers.common import closed_pattern, hermitian, to_project_order

__all__ = ["detect", "read"]

RYDBERG = ABACUS.hartree / 2
MAX_ASYMMETRY = 1e-6
"""Largest |M - M^dagger| accepted in H (Rydberg), S and r (Bohr); real files show 1e-8 (entries are printed with eight decimals)."""
SPINS: dict[int, Spin] = {1: "none", 2: "collinear", 4: "spinor"}
"""By ABACUS's nspin."""
MAX_BEYOND = 1e-6
"""Largest overlap accepted between orbitals whose spheres do not touch; real files show none."""


def read(folder: Path) -> Hamiltonian:
    """Read an ABACUS run.

    Parameters
    ----------
    folder : path
        Where ABACUS was started, or its ``OUT.suffix``.

    Returns
    -------
    Hamiltonian
        S, and H, r and the kinetic energy where there are files of them, in eV and Angstrom (with ABACUS's own constants), orbitals in the
        project's order, exactly Hermitian, all on the union of their patterns.

    Raises
    ------
    DataError
        If a file is missing, damaged, or of a run that is not supported.
    """
    files = find_files(folder)
    _check_complete(files)
    stru, log = parse_stru(files.stru, files.keywords.get("latname")), read_log(files.log)
    orbitals = read_orbitals(files, stru, log)
    raw = {name: read_csr(path, n_components=3 if name == "r" else 1) for name, path in files.matrices.items()}
    for one in raw.values():
        if not one.values.any():
            raise DataError(
                f"{one.path} holds zeros only, as ABACUS 3.11.0-beta.3 writes H with nspin 2: repeat the run with another version"
            )
    basis = Basis({number: orbital.shells for number, orbital in orbitals.items()}, _spin(files, raw, log, stru, orbitals))
    blocks, asymmetry = _matrices(stru.system, basis, raw)
    _check_range(files.stru, stru.system, orbitals, blocks["S"])
    check_functions(files, stru.system, orbitals, blocks["S"])
    return Hamiltonian(
        stru.system,
        basis,
        blocks["S"],
        blocks.get("H"),
        blocks.get("r"),
        fermi_energy=_fermi_energy(files, log) if "H" in blocks else None,
        n_electrons=number_of(files.keywords, "nelec") or log.n_electrons,
        source=_source(files, log, orbitals, asymmetry),
        moments=None if basis.spin == "none" else read_moments(files.out / "mulliken.txt", stru.system.n_atoms),
        extra={"kinetic": blocks["kinetic"]} if "kinetic" in blocks else {},
    )


def _check_complete(files: RunFiles) -> None:
    """The matrices that a calculation of this kind writes are there."""
    kind = calculation(files.keywords)
    if kind not in ("scf", "nscf", "get_s"):
        raise DataError(f"{files.out}: 'calculation {kind}' moves the atoms; repeat the run with 'calculation scf' for each structure")
    names = ", ".join(path.name for path in files.matrices.values())
    if "S" not in files.matrices:
        raise DataError(f"{files.out} holds {names}, but no overlap (data-SR-sparse_SPIN0.csr, srs1_nao.csr or sr_nao.csr): copy it, too")
    of_scf = files.log is not None and files.log.name in ("running_scf.log", "running_nscf.log")
    if "H" not in files.matrices and kind != "get_s" and (files.keywords or of_scf):
        raise DataError(
            f"{files.out} holds {names}, but no H (data-HR-sparse_SPIN0.csr or hrs1_nao.csr) of this 'calculation {kind}': copy it, too, "
            "or run 'calculation get_s' if only the overlap is wanted"
        )


def _spin(files: RunFiles, raw: dict[str, SparseMatrix], log: Log, stru: Stru, orbitals: dict[int, Orbital]) -> Spin:
    """The kind of spin from the sizes of the matrices and the files that are there, compared with what INPUT and log say."""
    n = sum(sum(2 * l + 1 for l in orbitals[int(number)].shells) for number in stru.system.numbers)
    main = raw.get("H", raw["S"])
    if main.size not in (n, 2 * n):
        raise DataError(
            f"{main.path} holds {main.size} x {main.size} matrices, but the atoms of {files.stru.name} have {n} orbitals "
            f"({', '.join(f'{SYMBOLS[z]} {o.source}' for z, o in orbitals.items())}): expected {n}, or {2 * n} for nspin 4"
        )
    for name, one in raw.items():
        if one.size != main.size:
            raise DataError(f"{one.path} holds {one.size} x {one.size} matrices, {main.path.name} {main.size} x {main.size}: mixed runs?")
        if np.iscomplexobj(one.values) and main.size == n:
            raise DataError(f"{one.path} holds complex numbers, but only {n} orbitals (no spinors): mixed runs?")
        if name == "H_down" and main.size == 2 * n:
            raise DataError(f"{one.path} is the second spin of an nspin 2 run, but {main.path.name} holds spinors: mixed runs?")
    if "H_down" in raw and "H" not in raw:
        raise DataError(f"{files.out} holds {raw['H_down'].path.name}, but not the first spin; copy both files")
    found = 4 if main.size == 2 * n else 2 if "H_down" in raw else 1
    if "H" in raw and log.nspin not in (None, found):
        raise DataError(
            f"{files.log} is of an nspin {log.nspin} run, but {main.path.name} {'and the second spin are' if found == 2 else 'is'} of "
            f"nspin {found}: a file is missing or the runs are mixed"
        )
    if "H" not in raw:  # the overlap does not show it: where it is that of collinear spins, INPUT or the log do
        found = 4 if found == 4 else log.nspin or int(number_of(files.keywords, "nspin", "1"))
        if found not in SPINS:
            raise DataError(f"{files.out}: nspin {found}; expected 1, 2 or 4")
    return SPINS[found]


def _matrices(system: System, basis: Basis, raw: dict[str, SparseMatrix]) -> tuple[dict[str, PairBlocks], dict[str, float]]:
    """Blocks of all matrices on one pattern, in eV and Angstrom, and how far they were from Hermitian."""
    spinor = raw.get("H", raw["S"]).size != int(basis.n_orbitals(system.numbers).sum())
    blocks = {name: to_blocks(one, system, basis, interleaved=spinor) for name, one in raw.items()}
    for name in ("S", "r", "kinetic"):
        if name in blocks and spinor:
            blocks[name] = spin_free(blocks[name], raw[name].path)
    pairs = closed_pattern(system.n_atoms, *(one.pairs for one in blocks.values()))

    def prepared(name: str) -> PairBlocks:
        spin = name in ("H", "H_down")
        one = blocks[name].on_pattern(pairs, block_shapes(basis, system.numbers, pairs, spin=spin))
        return to_project_order("abacus", one, system, basis, spin=spin)

    out: dict[str, PairBlocks] = {}
    asymmetry: dict[str, float] = {}
    for name, unit in (("S", 1.0), ("H", RYDBERG), ("H_down", RYDBERG), ("kinetic", RYDBERG), ("r", ABACUS.bohr)):
        if name in blocks:
            middle = _middle(system, out["S"]) if name == "r" else 0.0
            one = prepared(name)
            one = replace(one, entries=one.entries * unit - middle)
            one, asymmetry[name] = hermitian(one, f"matrix in {raw[name].path}", MAX_ASYMMETRY, unit)
            out[name] = replace(one, entries=one.entries + middle)
    if "H_down" in out:
        down = out.pop("H_down")
        out["H"] = replace(out["H"], entries=np.concatenate([out["H"].entries, down.entries]))
    return out, asymmetry


def _middle(system: System, S: PairBlocks) -> Any:
    """(3, n_entries) R/2 times the overlap: r relative to the middle of the two cells is Hermitian."""
    return np.repeat((S.pairs[:, :3] @ system.cell / 2).T, np.diff(S.offsets), axis=1) * S.entries


def _check_range(path: Path, system: System, orbitals: dict[int, Orbital], S: PairBlocks) -> None:
    """Orbitals overlap only where their spheres do: the positions and lattice vectors belong to the matrices."""
    cutoffs = {number: orbital.cutoff for number, orbital in orbitals.items()}
    if any(cutoff is None for cutoff in cutoffs.values()):
        return
    reach = np.array([cutoffs[int(number)] for number in system.numbers])
    distance = np.linalg.norm(pair_vectors(system, S.pairs), axis=1)
    apart = np.flatnonzero(distance > reach[S.pairs[:, 3]] + reach[S.pairs[:, 4]] + 1e-3)
    largest = np.array([np.abs(S.entries[0, S.offsets[n] : S.offsets[n + 1]]).max() for n in apart])
    if len(apart) and largest.max() > MAX_BEYOND:
        R1, R2, R3, i, j = S.pairs[apart[largest.argmax()]].tolist()
        raise DataError(
            f"{path} does not belong to the matrices: atoms {i + 1} and {j + 1} (R = {R1} {R2} {R3}) overlap by {largest.max():.1e} at a "
            f"distance of {distance[apart[largest.argmax()]]:.2f} Angstrom, beyond the range of their orbitals"
        )


def _fermi_energy(files: RunFiles, log: Log) -> float | None:
    """None where ``nupdown`` gives each spin its own Fermi level."""
    return log.fermi_energy if number_of(files.keywords, "nupdown") == 0 else None


def _source(files: RunFiles, log: Log, orbitals: dict[int, Orbital], asymmetry: dict[str, float]) -> dict[str, Any]:
    """Where the data come from."""
    smearing = read_smearing(files.keywords)
    radii = {SYMBOLS[number]: orbital.cutoff for number, orbital in orbitals.items() if orbital.cutoff is not None}
    return {
        "code": "ABACUS",
        **({"version": log.version} if log.version else {}),
        "files": sorted(path.name for path in files.matrices.values()),
        "basis": {SYMBOLS[number]: orbital.source for number, orbital in orbitals.items()},
        "constants": ABACUS._asdict(),
        **({"orbital_radii": radii} if len(radii) == len(orbitals) else {}),
        "asymmetry": asymmetry,
        **_scf(files, log).to_source(),
        **smearing,
        **(read_k_mesh(files.kpt, files.keywords) if smearing["smearing"] in ("fixed", "gauss", "fd") else {}),
    }


def _scf(files: RunFiles, log: Log) -> Convergence:
    """How the self-consistent cycle ended; a calculation of another kind has none."""
    if calculation(files.keywords) != "scf" or log.scf.converged is None:
        return Convergence()
    given = "scf_thr" in files.keywords
    return log.scf._replace(criterion=number_of(files.keywords, "scf_thr") if given else None)
