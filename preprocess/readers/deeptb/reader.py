"""Folders of DeePTB and dftio (its ``dat`` and ``ase`` formats): one or several frames of the same atoms, one HDF5 group for each.

Also DeePTB's predictions (``predicted_hamiltonians.h5``, from its ``to_pardiso``), with the same text files or one ``structure.json``.
Orbitals stand in the project's own order; numbers are single precision. See docs/deeph_folders.md.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.patterns import on_common_pattern
from deeph.physics.system import NUMBERS, SYMBOLS, FloatArray, IntArray, System
from deeph.runtime.errors import DataError
from preprocess.readers.base import NoBandsError, ReferenceBands
from preprocess.readers.common import asymmetry, one_basis
from preprocess.readers.deeptb.blocks import frame_names, read_blocks
from preprocess.readers.deeptb.structure import STRUCTURE, read_structure_basis, read_system
from preprocess.readers.folders import PREDICTION

BASIS = "basis.dat"
PREDICTED = "predicted_"
FILES = {
    "S": ("overlaps.h5", "overlap.h5", "predicted_overlaps.h5"),
    "H": ("hamiltonians.h5", "hamiltonian.h5", "predicted_hamiltonians.h5"),
    "density_matrix": ("density_matrices.h5", "density_matrix.h5", "DM.h5"),
}
"""Names of the matrix files: of DeePTB and newer dftio first, then those of older dftio, then those of predictions."""
KPOINTS, EIGENVALUES = ("kpoints.npy", "kpoint.npy"), ("eigenvalues.npy", "eigenvalue.npy")
FRAME = re.compile(r"frame_(\d+)")
MAX_ASYMMETRY = 1e-3
"""Largest accepted |M - M^dagger| relative to the largest element: single precision leaves 1e-7, a wrong layout of order one."""
ACCURACY = 1e-3
"""Accepted difference from the stored eigenvalues, eV: what matrices in single precision explain."""


def detect(path: Path) -> str | None:
    """Why a folder, or one frame of it, is of DeePTB, or None."""
    folder, _ = _locate(path)
    found = _first(folder, FILES["S"]) or _first(folder, FILES["H"])
    structure = _first(folder, (BASIS, STRUCTURE))
    if found is None or structure is None or (folder / "POSCAR").is_file():
        return None
    H = _first(folder, FILES["H"])
    return f"it holds {structure.name} and {found.name}{PREDICTION if H is not None and H.name.startswith(PREDICTED) else ''}"


def frames(folder: Path) -> list[Path]:
    """A path for each frame: the folder itself, or ``folder/frame_0000`` and so on where there are several."""
    first = _first(folder, FILES["S"]) or _first(folder, FILES["H"])
    names = frame_names(first) if first is not None else []
    return [folder] if len(names) < 2 else [folder / f"frame_{n:04d}" for n in range(len(names))]


def read(path: Path) -> Hamiltonian:
    """Read one frame.

    Parameters
    ----------
    path : path
        A folder with one frame, or one of :func:`frames`.

    Returns
    -------
    Hamiltonian
        Double precision; pairs whose blocks are all zero are left out. The format has no Fermi level. Exactly Hermitian, but for the H of a
        prediction, which is as it is in the file.

    Raises
    ------
    DataError
        If a file is missing or damaged, the files contradict each other, or the folder has several frames.
    """
    folder, frame = _locate(path)
    found = {name: file for name, names in FILES.items() if (file := _first(folder, names)) is not None}
    if "S" not in found:
        raise DataError(
            f"{folder} has no overlaps.h5 (predicted_overlaps.h5), without which H alone has no bands; write it with 'dftio parse -ovp', "
            "or predict with a model that has overlaps"
        )
    counts = {file.name: len(frame_names(file)) for file in found.values()}
    n_frames = max(counts.values())
    if min(counts.values()) != n_frames or (frame or 0) >= n_frames:
        numbers = ", ".join(f"{n} in {name}" for name, n in counts.items())
        raise DataError(f"{folder}: frame {frame or 0} (counted from 0) was asked for; frames: {numbers}; expected the same number in all")
    if frame is None and n_frames > 1:
        raise DataError(f"{folder} holds {n_frames} frames; read them one by one, such as {frames(folder)[0]}")
    system = read_system(folder, frame or 0, n_frames)
    json_file = folder / STRUCTURE
    named = _read_basis(folder / BASIS, system.numbers) if (folder / BASIS).is_file() else read_structure_basis(json_file)
    shells = Basis.from_symbols(named).restricted(system.numbers)
    predicted = "H" in found and found["H"].name.startswith(PREDICTED)
    raw = {name: read_blocks(file, frame or 0, system, shells) for name, file in found.items()}
    doubled = {name: spin for name, (_, spin) in raw.items()}
    if doubled["S"] or len({spin for name, spin in doubled.items() if name != "S"}) > 1:
        raise DataError(f"{folder}: blocks of {', '.join(n for n, s in doubled.items() if s)} have spin, the others not: mixed runs")
    basis = replace(shells, spin="spinor") if any(doubled.values()) else shells
    try:
        closed = {name: blocks.closed() if predicted and name == "H" else _hermitian(name, blocks) for name, (blocks, _) in raw.items()}
        matrices = _without_zeros(closed, system, basis)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    extra = {name: blocks for name, blocks in matrices.items() if name == "density_matrix"}
    source = {"code": "DeePTB/dftio", "precision": "float32", **({} if frame is None else {"frame": frame})}
    return Hamiltonian(system, basis, matrices["S"], matrices.get("H"), source=source, extra=extra, predicted=predicted)


def read_bands(path: Path, _system: System) -> ReferenceBands:
    """The eigenvalues in eigenvalues.npy at the points of kpoints.npy; the Fermi level is not known (NaN).

    Raises
    ------
    DataError
        If there are none, or their shapes do not fit to the frames.
    """
    folder, frame = _locate(path)
    k_file, e_file = _first(folder, KPOINTS), _first(folder, EIGENVALUES)
    if k_file is None or e_file is None:
        missing = " and ".join(names[0] for names, file in ((KPOINTS, k_file), (EIGENVALUES, e_file)) if file is None)
        raise NoBandsError(f"{folder} has no {missing}: there are no bands to compare with")
    k, energies = (_load(file) for file in (k_file, e_file))
    n_frames = len(frames(folder))
    k = k[frame or 0] if k.ndim == 3 and len(k) == n_frames else k
    if k.ndim != 2 or k.shape[1] != 3 or not len(k) or energies.ndim not in (2, 3) or energies.size % (n_frames * len(k)):
        raise DataError(f"{folder}: k points {k.shape} and eigenvalues {energies.shape} do not fit to {n_frames} frames")
    energies = energies.reshape(n_frames, len(k), -1)[frame or 0]
    return ReferenceBands(e_file.name, k, np.sort(energies, axis=-1)[None], float("nan"), ACCURACY)


def _locate(path: Path) -> tuple[Path, int | None]:
    """The folder and the number of the frame that a path stands for."""
    match = FRAME.fullmatch(path.name)
    return (path.parent, int(match[1])) if match and not path.exists() else (path, None)


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _load(path: Path) -> FloatArray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, TokenError, MemoryError) as error:  # numpy parses the head as Python
        raise DataError(f"{path} is not a complete array of numbers: its head or its end is damaged") from error


def _read_basis(path: Path, numbers: IntArray) -> dict[str, list[int]]:
    """Shells of each element: dftio writes ``{'Si': '2s2p1d'}``, DeePTB's own reader of ABACUS a line ``2s2p1d`` for each atom."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        if text.startswith("{"):
            entries = [(str(symbol), str(shells)) for symbol, shells in ast.literal_eval(text).items()]
        else:
            entries = [(SYMBOLS[z], line.strip()) for z, line in zip(numbers.tolist(), text.splitlines(), strict=True)]
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is neither a basis such as {{'Si': '2s2p1d'}} nor one line '2s2p1d' for each atom: {error}") from error
    for symbol, shells in entries:
        if symbol not in NUMBERS or not re.fullmatch(r"(\d{1,2}[spdfghi])+", shells):
            raise DataError(f"{path}: the basis of {symbol[:20]!r} is {shells[:40]!r}; expected numbers of shells such as '2s2p1d'")
    try:
        known = one_basis((NUMBERS[symbol], shells) for symbol, shells in entries)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    counts = {z: re.findall(r"(\d+)(.)", shells) for z, shells in known.items()}
    return {SYMBOLS[z]: ["spdfghi".index(letter) for n, letter in found for _ in range(int(n))] for z, found in counts.items()}


def _hermitian(name: str, blocks: PairBlocks) -> PairBlocks:
    """The Hermitian part; some writers store only one of each two partners, which is no asymmetry."""
    both: IntArray = np.flatnonzero(blocks.partners >= 0)
    asymmetry(blocks.selected(both), name, MAX_ASYMMETRY * float(np.abs(blocks.entries).max(initial=0.0)))
    return blocks.hermitized()


def _without_zeros(matrices: dict[str, PairBlocks], system: System, basis: Basis) -> dict[str, PairBlocks]:
    """On one pattern, without the pairs whose blocks are zero in every matrix (some writers store all of a cell)."""
    common = on_common_pattern(system, basis, matrices)
    used = is_onsite(common["S"].pairs)
    for blocks in common.values():
        used = used | (np.add.reduceat(np.abs(blocks.entries[0]), blocks.offsets[:-1]) > 0)
    return {name: blocks.selected(np.flatnonzero(used)) for name, blocks in common.items()}
