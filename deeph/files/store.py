"""The structure folder: POSCAR, info.json and packed matrices, in the current DeepH format.

Files: ``POSCAR``; ``info.json``; ``overlap.h5``; ``hamiltonian.h5`` (or ``hamiltonian_pred.h5``); optional ``position_matrix.h5``.
A matrix file is described in :mod:`deeph.files.matrix_file`.
Collinear spin is an extension: ``"spin": "collinear"`` in info.json and ``entries`` of shape (2, M), up and down.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from deeph.files.error_files import read_error_bars, write_error_bars
from deeph.files.folders import new_folder
from deeph.files.matrix_file import read_matrix, write_matrix
from deeph.files.text import integer, read_text
from deeph.physics.basis import Basis, Spin
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.patterns import on_common_pattern, spin_free_overlap
from deeph.physics.system import NUMBERS, FloatArray, IntArray, System
from deeph.runtime.errors import DataError

OVERLAP, HAMILTONIAN, PREDICTED, POSITION = "overlap.h5", "hamiltonian.h5", "hamiltonian_pred.h5", "position_matrix.h5"
NEEDED = "POSCAR", "info.json"
"""Files that make a folder a structure folder."""
SPIN_ORBIT, SPLIT_STORAGE = "hkb.h5", "spinless_plus_hkb"
EXTRA_FILES = {"density_matrix": "density_matrix.h5", "H0": "hamiltonian_zeroth.h5", "kinetic": "kinetic_matrix.h5"}


def is_structure_folder(folder: Path) -> bool:
    """Whether a folder is in the current DeepH format (it may hold the overlap only)."""
    return all((folder / name).is_file() for name in NEEDED)


def find_folders(path: str | Path) -> list[Path]:
    """All structure folders at or below a path, sorted.

    Raises
    ------
    DataError
        If the path does not exist or holds no structure folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; expected a structure folder or a folder of them")
    if is_structure_folder(path):
        return [path]
    check_holds_structures(path)
    return sorted(folder for folder, complete, _ in _walk(path) if complete)


def check_holds_structures(path: Path) -> None:
    """At or below a folder there is a structure folder; none but the first is looked for.

    Raises
    ------
    DataError
        If there is none.
    """
    if not any(complete for _, complete, _ in _walk(path)):
        raise DataError(f"no structure folder in {path}: expected POSCAR, info.json and overlap.h5, as deeph-preprocess writes them")


def find_incomplete(path: Path) -> list[Path]:
    """Folders below a path that lack what makes a structure folder: they hold some file of one, or there is nothing below them; sorted."""
    return sorted(f for f, complete, inner in _walk(path) if not complete and f != path and (not inner or holds_a_part(f)))


def holds_a_part(folder: Path) -> bool:
    """Whether a folder has any of the files of a structure folder."""
    return any((folder / name).is_file() for name in (*NEEDED, OVERLAP, HAMILTONIAN))


def _walk(path: Path) -> Iterator[tuple[Path, bool, bool]]:
    """A folder and those below it, through links as well, each once: whether it is a structure folder, and whether it has folders in it."""
    seen = set()
    for name, below, _ in os.walk(path, followlinks=True):
        folder = Path(name)
        status = folder.stat()
        new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(b for b in below if not b.startswith(".")) if new else []
        if new:
            complete = is_structure_folder(folder)
            yield folder, complete, bool(below)
            if complete:
                below[:] = []  # nothing that counts lies inside a structure folder


def read_folder(
    folder: str | Path,
    *,
    predicted: bool | None = None,
    positions: bool = False,
    extra: bool | Collection[str] = False,
    modes: bool = False,
) -> Hamiltonian:
    """Read a structure folder.

    Parameters
    ----------
    folder : path
        The folder.
    predicted : bool, optional
        True for ``hamiltonian_pred.h5``, False for ``hamiltonian.h5``; by default the DFT one if it is there, else the predicted one,
        else the overlap alone.
    positions : bool
        Whether to read the position matrices, if there are any.
    extra : bool or names
        Whether to read the further matrices of :attr:`Hamiltonian.extra` that there are, or which of them.
    modes : bool
        Whether to read the modes of the error bars of a prediction, if there are any; the error bars of its blocks always are.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files contradict each other.
    """
    folder = Path(folder)
    name: str | None = HAMILTONIAN if (folder / HAMILTONIAN).is_file() else PREDICTED
    if predicted is not None:
        name = PREDICTED if predicted else HAMILTONIAN
    elif not (folder / str(name)).is_file():
        name = None
    return _read(folder, name, positions=positions, extra=extra, modes=modes)


def read_overlap(folder: str | Path, extra: Collection[str] = ()) -> Hamiltonian:
    """Read a structure folder without any H it may hold; otherwise like :func:`read_folder`."""
    return _read(Path(folder), None, extra=extra)


def _read(
    folder: Path, matrix: str | None, *, positions: bool = False, extra: bool | Collection[str] = False, modes: bool = False
) -> Hamiltonian:
    if lacking := [name for name in NEEDED if not (folder / name).is_file()]:
        raise DataError(
            f"{folder} is not a structure folder: it has no {' and no '.join(lacking)}; "
            "deeph-preprocess converts runs of DFT codes and legacy folders"
        )
    try:
        return _read_parts(folder, matrix, positions=positions, extra=extra, modes=modes)
    except DataError as error:
        if str(folder) in str(error):
            raise
        raise DataError(f"{folder}: {error}") from error


def _read_parts(folder: Path, matrix: str | None, *, positions: bool, extra: bool | Collection[str], modes: bool) -> Hamiltonian:
    info = read_info(folder)
    system = read_poscar(folder / "POSCAR")
    basis = _basis_of(info, folder).restricted(system.numbers)
    matrices = {"S": spin_free_overlap(system, basis, read_matrix(folder / OVERLAP, system.n_atoms))}
    if matrix is not None:
        matrices["H"] = read_matrix(folder / matrix, system.n_atoms)
        if matrix == PREDICTED:
            matrices["H"] = matrices["H"].closed()  # before S adds its pairs: some programs write one of each two partners
        if _is_split(info, basis):
            matrices["H"] = _joined(system, basis, matrices["H"], read_matrix(folder / SPIN_ORBIT, system.n_atoms))
    if positions and (folder / POSITION).is_file():
        matrices["r"] = read_matrix(folder / POSITION, system.n_atoms)
    wanted = extra if isinstance(extra, Collection) else EXTRA_FILES if extra else ()
    for name, file in EXTRA_FILES.items():
        if name in wanted and (folder / file).is_file():
            matrices[name] = read_matrix(folder / file, system.n_atoms)
    matrices = on_common_pattern(system, basis, matrices)
    bars = read_error_bars(folder, matrices["H"], system.n_atoms, modes=modes) if matrix == PREDICTED else None
    return Hamiltonian(
        system, basis, matrices["S"], matrices.get("H"), matrices.get("r"),
        fermi_energy=_number(info, "fermi_energy_eV"), n_electrons=_number(info, "occupation"), source=info.get("source", {}),
        moments=read_moments(info), extra={name: matrices[name] for name in EXTRA_FILES if name in matrices}, predicted=matrix == PREDICTED,
        fermi_guess=_guess(info), error_bars=bars,
    )  # fmt: skip


def _is_split(info: dict[str, Any], basis: Basis) -> bool:
    """Whether H is stored as a spin-free part and a spin-orbit part; ``hamiltonian_storage`` is the older name of the key."""
    split, storage = info.get("split_hkb"), info.get("hamiltonian_storage")
    if split not in (None, True, False) or storage not in (None, "full", SPLIT_STORAGE):
        raise DataError(
            f"info.json: split_hkb is {split!r}, expected true or false, and hamiltonian_storage {storage!r}, expected 'full' or "
            f"{SPLIT_STORAGE!r}, or neither"
        )
    if split is not None and storage is not None and split != (storage == SPLIT_STORAGE):
        raise DataError(f"info.json: split_hkb is {split} but hamiltonian_storage {storage!r}; keep the one that is right")
    if (found := bool(split) or storage == SPLIT_STORAGE) and basis.spin != "spinor":
        raise DataError("info.json: H is split into a spin-free and a spin-orbit part (split_hkb), but 'spinful' is not true")
    return found


def _joined(system: System, basis: Basis, base: PairBlocks, spin_orbit: PairBlocks) -> PairBlocks:
    """H = I2 x H0 + H_KB from the spin-free H0 and the complex spinor blocks of the non-local potential with spin-orbit coupling."""
    scalar = on_common_pattern(system, replace(basis, spin="none"), {"H": base})["H"]
    both = on_common_pattern(system, basis, {"H0": scalar.to_spinor(), "H": spin_orbit})
    return replace(both["H"], entries=both["H0"].entries + both["H"].entries)


def read_moments(info: dict[str, Any]) -> FloatArray | None:
    """(n_atoms, 3) magnetic moments in info.json, Bohr magneton; None where they are not recorded."""
    value = info.get("magnetic_moments_muB")
    try:
        return None if value is None else np.array(value, np.float64).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise DataError(f"magnetic_moments_muB in info.json: expected three numbers for each atom: {error}") from error


def _guess(info: dict[str, Any]) -> tuple[float, float] | None:
    """Where the search for the Fermi level of a prediction begins, and how far it may have to go."""
    match info.get("fermi_guess_eV"):
        case None:
            return None
        case [int() | float() as level, int() | float() as spread] if not isinstance(level, bool) and spread >= 0:
            return float(level), float(spread)
        case value:
            raise DataError(f"fermi_guess_eV in info.json is {value!r}; expected a level and its spread in eV, or null")


def _number(info: dict[str, Any], key: str) -> float | None:
    """An optional number of info.json."""
    value = info.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise DataError(f"{key} in info.json is {value!r}; expected a number or null")
    return None if value is None else float(value)


def write_folder(folder: str | Path, data: Hamiltonian, *, predicted: bool | None = None, overwrite: bool = False) -> IntArray:
    """Write a structure folder; it appears complete or not at all.

    Parameters
    ----------
    folder : path
        Must not exist unless ``overwrite``.
    data : Hamiltonian
        What to write. POSCAR wants the atoms of one element together, so atoms may be reordered.
    predicted : bool, optional
        Whether to write H as ``hamiltonian_pred.h5``; by default if it is a prediction.

    Returns
    -------
    (n_atoms,) int array
        Order of the atoms in the folder: ``folder atom a = given atom order[a]``.
    """
    order = element_order(data.system)
    data = data.permuted(order)
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_overlap_part(temporary, data, order)
        if data.H is not None:
            as_prediction = data.predicted if predicted is None else predicted
            write_matrix(temporary / (PREDICTED if as_prediction else HAMILTONIAN), data.H)
            if as_prediction and data.error_bars is not None:
                write_error_bars(temporary, data.H.pairs, data.error_bars)
        if data.r is not None:
            write_matrix(temporary / POSITION, data.r)
        for name, blocks in data.extra.items():
            write_matrix(temporary / EXTRA_FILES[name], blocks)
    return order


def element_order(system: System) -> IntArray:
    """(n_atoms,) order that puts the atoms of one element together, elements by first appearance."""
    kinds = list(dict.fromkeys(system.numbers.tolist()))
    return np.asarray(np.argsort([kinds.index(z) for z in system.numbers.tolist()], kind="stable"))


def write_overlap_part(folder: Path, data: Hamiltonian, atom_order: IntArray) -> None:
    """Write POSCAR, info.json and overlap.h5 into a folder; atoms already in the order of the elements."""
    write_poscar(folder / "POSCAR", data.system)
    write_info(folder, data, atom_order)
    write_matrix(folder / OVERLAP, data.S)


def copy_positions(given: Path, folder: Path, atom_order: IntArray) -> None:
    """Position matrices of a structure folder, if it has them, into another of the same structure with its atoms in another order."""
    if not (given / POSITION).is_file():
        return
    if (atom_order == np.arange(len(atom_order))).all():
        shutil.copyfile(given / POSITION, folder / POSITION)
    elif (r := _read(given, None, positions=True).permuted(atom_order).r) is not None:
        write_matrix(folder / POSITION, r)


def read_info(folder: Path) -> dict[str, Any]:
    """info.json of a structure folder."""
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'info.json'} is not readable JSON: {error}") from error
    if not isinstance(info, dict) or "elements_orbital_map" not in info:
        raise DataError(f"{folder / 'info.json'} lacks 'elements_orbital_map' (the shells of each element)")
    return cast("dict[str, Any]", info)


def write_info(folder: Path, data: Hamiltonian, atom_order: IntArray) -> None:
    """Write info.json with the keys of the DeepH format, plus ``spin`` and ``source``."""
    info: dict[str, Any] = {
        "atoms_quantity": data.system.n_atoms,
        "orbits_quantity": int(data.basis.n_orbitals(data.system.numbers).sum()),
        "orthogonal_basis": False,
        "spinful": data.basis.spin == "spinor",
        "fermi_energy_eV": data.fermi_energy,
        "elements_orbital_map": data.basis.to_symbols(),
        "spin": data.basis.spin,
        "source": dict(data.source),
    }
    if data.n_electrons is not None:
        info["occupation"] = data.n_electrons
    if data.fermi_guess is not None:
        info["fermi_guess_eV"] = list(data.fermi_guess)
    if data.moments is not None:
        info["magnetic_moments_muB"] = data.moments.tolist()
    if (atom_order != np.arange(len(atom_order))).any():
        info["original_atom_index"] = atom_order.tolist()
    (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _basis_of(info: dict[str, Any], folder: Path) -> Basis:
    spin: Spin = info.get("spin", "spinor" if info.get("spinful") else "none")
    try:
        return Basis.from_symbols(info["elements_orbital_map"], spin)
    except (DataError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'info.json'}: {error}") from error


def read_poscar(path: Path) -> System:
    """Read a VASP 5 POSCAR.

    Raises
    ------
    DataError
        If it is something else.
    """
    lines = read_text(path).splitlines()
    try:
        scale = float(lines[1])
        cell = scale * np.array([[float(x) for x in line.split()[:3]] for line in lines[2:5]])
        kinds, counts = [NUMBERS[s] for s in lines[5].split()], [integer(x) for x in lines[6].split()]
        n = sum(counts)
        rows = np.array([[float(x) for x in line.split()[:3]] for line in lines[8 : 8 + max(n, 0)]]).reshape(-1, 3)
        cartesian = lines[7].strip()[:1].lower() in ("c", "k")
    except (IndexError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a VASP 5 POSCAR (cell, element line, counts, Cartesian or Direct): {error}") from error
    if len(rows) != n or len(kinds) != len(counts) or min(counts, default=0) < 0:
        raise DataError(f"{path}: {len(rows)} positions of {len(kinds)} elements, expected {n} ({lines[6].strip()})")
    numbers = np.repeat(kinds, counts)
    return System(cell, scale * rows if cartesian else rows @ cell, numbers)


def write_poscar(path: Path, system: System) -> None:
    """Write a POSCAR with all digits; the atoms of one element have to be together, see :func:`element_order`."""
    symbols = list(dict.fromkeys(system.symbols))
    counts = [system.symbols.count(s) for s in symbols]
    rows = [" ".join(f"{x:.17g}" for x in row) for row in (*system.cell, *system.positions)]
    head = [system.formula, "1.0", *rows[:3], " ".join(symbols), " ".join(map(str, counts)), "Cartesian"]
    path.write_text("\n".join([*head, *rows[3:]]) + "\n", encoding="utf-8")
