"""The legacy DeepH folder: text files for the structure, one small HDF5 dataset for each block.

Lattice vectors and atoms stand in columns; names of datasets are ``[R1, R2, R3, i, j]`` with atoms counted from 1; orbitals are in OpenMX's
order; the overlap has no spin. Opening a dataset for each block is slow by design of the format: use it to exchange data, not to train.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deeph.basis import Basis
from deeph.blocks import PairBlocks, block_shapes
from deeph.conventions import atom_order
from deeph.errors import DataError
from deeph.folders import new_folder
from deeph.hamiltonian import Hamiltonian, on_union
from deeph.system import SYMBOLS, FloatArray, IntArray, System

OVERLAPS, HAMILTONIANS, POSITIONS = "overlaps.h5", "hamiltonians.h5", "positions.h5"


def is_legacy_folder(folder: Path) -> bool:
    """Whether a folder is in the legacy format."""
    return all((folder / name).is_file() for name in ("lat.dat", "element.dat", "orbital_types.dat"))


def read_legacy(folder: str | Path) -> Hamiltonian:
    """Read a legacy folder.

    Parameters
    ----------
    folder : path
        Holds lat.dat, site_positions.dat, element.dat, orbital_types.dat, info.json, overlaps.h5, and perhaps hamiltonians.h5 and
        positions.h5.

    Returns
    -------
    Hamiltonian
        Atoms in the order of the folder, orbitals in the project's order.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files contradict each other.
    """
    folder = Path(folder)
    if not is_legacy_folder(folder):
        raise DataError(f"{folder} is not a legacy folder: expected lat.dat, element.dat and orbital_types.dat in it")
    info = _read_info(folder / "info.json")
    numbers = _table(folder / "element.dat", 1)[0].astype(np.int64)
    try:
        system = System(_table(folder / "lat.dat", 3).T, _table(folder / "site_positions.dat", 3).T, numbers)
    except DataError as error:
        raise DataError(f"{folder} (lat.dat, site_positions.dat, element.dat): {error}") from error
    basis = Basis(_read_shells(folder / "orbital_types.dat", numbers), "spinor" if info["isspinful"] else "none")
    S = _read_blocks(folder / OVERLAPS, system, basis, spin=False)
    H = r = None
    if (folder / HAMILTONIANS).is_file():
        H, S = on_union(system, basis, _read_blocks(folder / HAMILTONIANS, system, basis, spin=True), S)
    if (folder / POSITIONS).is_file():
        r = _read_blocks(folder / POSITIONS, system, basis, spin=False, n_components=3).on_pattern(S.pairs, S.shapes)
    return Hamiltonian(system, basis, S, H, r, info.get("fermi_level"), info.get("occupation"), info.get("source", {}))


def write_legacy(folder: str | Path, data: Hamiltonian, *, overwrite: bool = False) -> None:
    """Write a legacy folder; it appears complete or not at all.

    Parameters
    ----------
    folder : path
        Must not exist unless ``overwrite``.
    data : Hamiltonian
        What to write; the format knows no collinear spin.

    Raises
    ------
    DataError
        If the folder exists, or the spin is collinear.
    """
    if data.basis.spin == "collinear":
        raise DataError("the legacy format has no place for collinear spin (two matrices); use the current format")
    system, basis = data.system, data.basis
    with new_folder(folder, overwrite=overwrite) as temporary:
        columns = {"lat": system.cell.T, "rlat": system.reciprocal.T, "site_positions": system.positions.T}
        for name, table in columns.items():
            np.savetxt(temporary / f"{name}.dat", table, fmt="%.17g")
        np.savetxt(temporary / "element.dat", system.numbers, fmt="%d")
        shells = [" ".join(map(str, basis.shells[z])) for z in system.numbers.tolist()]
        (temporary / "orbital_types.dat").write_text("\n".join(shells) + "\n", encoding="utf-8")
        _write_info(temporary / "info.json", data)
        orders = {z: np.argsort(atom_order("legacy", ls)) for z, ls in basis.shells.items()}
        _write_blocks(temporary / OVERLAPS, data.S.reordered(system.numbers, orders))
        if data.H is not None:
            _write_blocks(temporary / HAMILTONIANS, data.H.reordered(system.numbers, orders, basis.spin_factor))
        if data.r is not None:
            _write_blocks(temporary / POSITIONS, data.r.reordered(system.numbers, orders))


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        spinful = bool(info["isspinful"])
        numbers = {key: None if info.get(key) is None else float(info[key]) for key in ("fermi_level", "occupation")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a JSON file with 'isspinful' (and 'fermi_level' in eV): {error!r}") from error
    return {**info, **numbers, "isspinful": spinful}


def _write_info(path: Path, data: Hamiltonian) -> None:
    info = {
        "isspinful": data.basis.spin == "spinor",
        "isorthogonal": False,
        "nsites": data.system.n_atoms,
        "fermi_level": data.fermi_energy,
        "occupation": data.n_electrons,
        "source": dict(data.source),
    }
    path.write_text(json.dumps({key: value for key, value in info.items() if value is not None}, indent=1) + "\n", encoding="utf-8")


def _table(path: Path, n_rows: int) -> FloatArray:
    """Numbers of a text file as (n_rows, -1)."""
    try:
        return np.loadtxt(path).reshape(n_rows, -1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a table of numbers with {n_rows} rows: {error}") from error


def _read_shells(path: Path, numbers: IntArray) -> dict[int, tuple[int, ...]]:
    """Shells of each element from one line for each atom."""
    try:
        rows = [tuple(int(l) for l in line.split()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{path}: expected one line of angular momenta for each atom, such as '0 0 1 1 2': {error}") from error
    if len(rows) != len(numbers):
        raise DataError(f"{path} has {len(rows)} lines, but element.dat lists {len(numbers)} atoms")
    shells: dict[int, tuple[int, ...]] = {}
    for line, (z, row) in enumerate(zip(numbers.tolist(), rows, strict=True), start=1):
        if shells.setdefault(z, row) != row:
            raise DataError(f"{path} line {line}: {SYMBOLS[z]} with shells {row}, but {shells[z]} before; expected one basis an element")
    return shells


def _read_blocks(path: Path, system: System, basis: Basis, *, spin: bool, n_components: int = 1) -> PairBlocks:
    """All blocks of one file, sorted by R, i and j, with orbitals in the project's order; NaN and wrong shapes are refused."""
    try:
        with h5py.File(path, "r") as file:
            names = list(file)
            blocks = [file[name][()] for name in names]
        keys = np.array(json.loads(f"[{','.join(names)}]"), np.int64).reshape(len(names), 5 if n_components == 1 else 6)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is not a legacy matrix file with datasets '[R1, R2, R3, i, j]': {error}") from error
    direction = keys[:, 5] if n_components > 1 else np.ones(len(keys), np.int64)
    order = np.lexsort((*keys[:, 4::-1].T, direction))
    if not np.array_equal(direction[order], np.repeat(np.arange(1, n_components + 1), len(keys) // n_components)):
        raise DataError(f"{path}: expected every block in the directions 1, 2 and 3")
    pairs = keys[order, :5].reshape(n_components, -1, 5) - (0, 0, 0, 1, 1)
    if (pairs != pairs[0]).any() or (len(keys) and not (0 <= pairs[..., 3:].min() <= pairs[..., 3:].max() < system.n_atoms)):
        raise DataError(f"{path}: atom indices outside 1 to {system.n_atoms}, or directions with different blocks")
    shapes = block_shapes(basis, system.numbers, pairs[0], spin=spin)
    for n, expected in zip(order, np.tile(shapes, (n_components, 1)), strict=True):
        if np.shape(blocks[n]) != tuple(expected) or not np.isfinite(blocks[n]).all():
            raise DataError(
                f"{path}: block {names[n]} of shape {np.shape(blocks[n])} is not finite or not of the shape {expected.tolist()} that "
                "orbital_types.dat and isspinful ask for"
            )
    entries = np.concatenate([np.zeros(0), *(blocks[n].reshape(-1) for n in order)]).reshape(n_components, -1)
    orders = {z: atom_order("legacy", ls) for z, ls in basis.shells.items()}
    return PairBlocks(pairs[0], shapes, entries).reordered(system.numbers, orders, basis.spin_factor if spin else 1)


def _write_blocks(path: Path, blocks: PairBlocks) -> None:
    """One dataset for each block, and for each direction of a position matrix."""
    starts, stops = blocks.offsets[:-1].tolist(), blocks.offsets[1:].tolist()
    with h5py.File(path, "w") as file:
        for component, entries in enumerate(blocks.entries, start=1):
            direction = f", {component}" if blocks.n_components > 1 else ""
            for (R1, R2, R3, i, j), shape, start, stop in zip(blocks.pairs.tolist(), blocks.shapes.tolist(), starts, stops, strict=True):
                file[f"[{R1}, {R2}, {R3}, {i + 1}, {j + 1}{direction}]"] = entries[start:stop].reshape(shape)
