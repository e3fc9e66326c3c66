"""The legacy DeepH folder: text files for the structure, one small HDF5 dataset for each block.

Lattice vectors and atoms stand in columns; names of datasets are ``[R1, R2, R3, i, j]`` with atoms counted from 1; orbitals are in OpenMX's
order; the overlap has no spin. Opening a dataset for each block is slow by design of the format: use it to exchange data, not to train.
The zeroth-order Hamiltonian and the kinetic energy are extensions, in files of the same kind.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.folders import new_folder
from deeph.files.hdf5 import new_hdf5, open_hdf5
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.conventions import atom_order
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.patterns import EXTRA, on_common_pattern, spin_free_overlap
from deeph.physics.system import SYMBOLS, FloatArray, IntArray, System
from deeph.runtime.errors import DataError

OVERLAPS, HAMILTONIANS, PREDICTIONS = "overlaps.h5", "hamiltonians.h5", "hamiltonians_pred.h5"
POSITIONS, MOMENTS = "positions.h5", "magmom.txt"
EXTRA_FILES = {
    "density_matrix": ("density_matrixs.h5", "density_matrices.h5"),
    "H0": ("hamiltonians_zeroth.h5",),
    "kinetic": ("kinetic_matrices.h5",),
}
"""Names of the files of :attr:`Hamiltonian.extra`: the first is written (for the density matrix DeepH-pack's spelling), each is read."""


def is_legacy_folder(folder: Path) -> bool:
    """Whether a folder is in the legacy format."""
    return all((folder / name).is_file() for name in ("lat.dat", "element.dat", "orbital_types.dat"))


def holds_prediction(folder: Path) -> bool:
    """Whether the only H of a legacy folder is that of a model."""
    return (folder / PREDICTIONS).is_file() and not (folder / HAMILTONIANS).is_file()


def read_legacy(folder: str | Path) -> Hamiltonian:
    """Read a legacy folder; where there is no H of DFT, that of a model.

    Parameters
    ----------
    folder : path
        Holds lat.dat, site_positions.dat, element.dat, orbital_types.dat, info.json, overlaps.h5, and perhaps hamiltonians.h5 (or
        hamiltonians_pred.h5), positions.h5, density_matrixs.h5 (or density_matrices.h5) and magmom.txt.

    Returns
    -------
    Hamiltonian
        Atoms in the order of the folder, orbitals in the project's order. The Fermi level of a prediction is unknown: that of
        info.json is of another H, or a zero that only fills the place.

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
    matrices = {"S": _read_blocks(folder / OVERLAPS, system, basis, "S")}
    predicted = holds_prediction(folder)
    optional = {"H": (PREDICTIONS if predicted else HAMILTONIANS,), "r": (POSITIONS,), **EXTRA_FILES}
    for name, files in optional.items():
        found = [folder / file for file in files if (folder / file).is_file()]
        if len(found) > 1:
            raise DataError(f"{folder} holds {' and '.join(path.name for path in found)}: expected one of them")
        if found:
            matrices[name] = _read_blocks(found[0], system, basis, name)
    if predicted:
        matrices["H"] = matrices["H"].closed()  # before S adds its pairs: some programs write one of each two partners
    matrices = on_common_pattern(system, basis, matrices)
    return Hamiltonian(
        system, basis, matrices["S"], matrices.get("H"), matrices.get("r"), None if predicted else info.get("fermi_level"),
        info.get("occupation"), info.get("source", {}), _read_moments(folder / MOMENTS, system),
        {name: matrices[name] for name in EXTRA_FILES if name in matrices}, predicted,
    )  # fmt: skip


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
        if data.moments is not None:
            _write_moments(temporary / MOMENTS, data.moments)
        orders = {z: np.argsort(atom_order("legacy", ls)) for z, ls in basis.shells.items()}
        written = {OVERLAPS: ("S", data.S), PREDICTIONS if data.predicted else HAMILTONIANS: ("H", data.H), POSITIONS: ("r", data.r)}
        written |= {EXTRA_FILES[name][0]: (name, blocks) for name, blocks in data.extra.items()}
        for file, (name, blocks) in written.items():
            if blocks is not None:
                _write_blocks(temporary / file, blocks.reordered(system.numbers, orders, basis.spin_factor if _has_spin(name) else 1))


def _has_spin(name: str) -> bool:
    """Whether the blocks of a matrix have the spin of H."""
    return name == "H" or EXTRA.get(name, False)


def _read_moments(path: Path, system: System) -> FloatArray | None:
    """(n_atoms, 3) moments from rows ``is magnetic, size, theta, phi`` (Bohr magneton, degrees); None if there is no such file."""
    if not path.is_file():
        return None
    try:
        table = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path} is not a table of numbers: {error}") from error
    if table.shape != (system.n_atoms, 4) or not np.isfinite(table).all():
        raise DataError(f"{path}: table of {table.shape}; expected {(system.n_atoms, 4)} finite numbers: is magnetic, size, theta, phi")
    size, theta, phi = table[:, 1] * (table[:, 0] != 0), *np.deg2rad(table[:, 2:]).T
    return np.asarray(size * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])).T


def _write_moments(path: Path, moments: FloatArray) -> None:
    size, in_plane = np.linalg.norm(moments, axis=1), np.linalg.norm(moments[:, :2], axis=1)
    theta, phi = np.rad2deg(np.arctan2(in_plane, moments[:, 2])), np.rad2deg(np.arctan2(moments[:, 1], moments[:, 0]))
    np.savetxt(path, np.column_stack([size > 0, size, theta, phi]), fmt=["%d", "%.17g", "%.17g", "%.17g"])


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


def _read_blocks(path: Path, system: System, basis: Basis, name: str) -> PairBlocks:
    """All blocks of one file, sorted by R, i and j, with orbitals in the project's order; NaN and wrong shapes are refused."""
    spin, n_components = _has_spin(name), 3 if name == "r" else 1
    content = "a legacy matrix file with datasets '[R1, R2, R3, i, j]'"
    with open_hdf5(path, content) as file:
        names = list(file)
        blocks = [file[key][()] for key in names]
    try:
        keys = np.array(json.loads(f"[{','.join(names)}]"), np.int64).reshape(len(names), 5 if n_components == 1 else 6)
    except (ValueError, TypeError, OverflowError) as error:
        other = next((name for name in names if not re.fullmatch(r"\[(\s*-?\d+\s*,?)+\]", name)), names[0])
        raise DataError(f"{path} is not {content}: it holds {other!r}") from error
    direction = keys[:, 5] if n_components > 1 else np.ones(len(keys), np.int64)
    order = np.lexsort((*keys[:, 4::-1].T, direction))
    if not np.array_equal(direction[order], np.repeat(np.arange(1, n_components + 1), len(keys) // n_components)):
        raise DataError(f"{path}: expected every block in the directions 1, 2 and 3")
    pairs = keys[order, :5].reshape(n_components, -1, 5) - (0, 0, 0, 1, 1)
    if (pairs != pairs[0]).any() or (len(keys) and not (0 <= pairs[..., 3:].min() <= pairs[..., 3:].max() < system.n_atoms)):
        raise DataError(f"{path}: atom indices outside 1 to {system.n_atoms}, or directions with different blocks")
    shapes = block_shapes(basis, system.numbers, pairs[0], spin=spin)
    if name == "S" and len(shapes) and np.shape(blocks[order[0]]) == tuple(2 * shapes[0]):  # spin-diagonal 2n x 2n, see spin_free_overlap
        shapes = 2 * shapes
    for n, expected in zip(order, np.tile(shapes, (n_components, 1)), strict=True):
        if np.shape(blocks[n]) != tuple(expected) or not np.isfinite(blocks[n]).all():
            raise DataError(
                f"{path}: block {names[n]} of shape {np.shape(blocks[n])} is not finite or not of the shape {expected.tolist()} that "
                "orbital_types.dat and isspinful ask for"
            )
    entries = np.concatenate([np.zeros(0), *(blocks[n].reshape(-1) for n in order)]).reshape(n_components, -1)
    found = PairBlocks(pairs[0], shapes, entries)
    if name == "S":
        try:
            found = spin_free_overlap(system, basis, found)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    orders = {z: atom_order("legacy", ls) for z, ls in basis.shells.items()}
    return found.reordered(system.numbers, orders, basis.spin_factor if spin else 1)


def _write_blocks(path: Path, blocks: PairBlocks) -> None:
    """One dataset for each block, and for each direction of a position matrix."""
    starts, stops = blocks.offsets[:-1].tolist(), blocks.offsets[1:].tolist()
    with new_hdf5(path) as file:
        for component, entries in enumerate(blocks.entries, start=1):
            direction = f", {component}" if blocks.n_components > 1 else ""
            for (R1, R2, R3, i, j), shape, start, stop in zip(blocks.pairs.tolist(), blocks.shapes.tolist(), starts, stops, strict=True):
                file[f"[{R1}, {R2}, {R3}, {i + 1}, {j + 1}{direction}]"] = entries[start:stop].reshape(shape)
