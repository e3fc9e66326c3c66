"""FHI-aims: the real-space H and S of a periodic run with ``output_rs_matrices``. See docs/aims.md.

FHI-aims moves every atom into its central cell before it labels the cells of the matrices, so that these cells do not refer to geometry.in;
:mod:`preprocess.readers.aims.images` finds from the overlap which image of each atom they mean.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.files.text import integer, number
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, is_onsite, pair_keys, reversed_pairs
from deeph.physics.system import SYMBOLS, FloatArray, System
from deeph.physics.units import AIMS, KELVIN
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from preprocess.readers.aims.images import home_cells
from preprocess.readers.aims.input import BASIS, CONTROL, GEOMETRY, Control, read_basis, read_control, read_geometry
from preprocess.readers.aims.matrix import INDICES, Index, read_index, read_values
from preprocess.readers.aims.output import read_convergence, read_fermi_energy, read_moments
from preprocess.readers.common import closed_pattern, to_project_order

OVERLAPS = ("rs_overlap.out", "rs_overlap.h5")
HAMILTONIANS = (
    ("rs_hamiltonian.out",),
    ("rs_hamiltonian.h5",),
    ("rs_hamiltonian_up.out", "rs_hamiltonian_dn.out"),
    ("rs_hamiltonian_up.h5", "rs_hamiltonian_down.h5"),
    ("rs_hamiltonian_up.h5", "rs_hamiltonian_dn.h5"),
)
MAX_NORM_ERROR = 0.05
"""Largest accepted |S - 1| on the diagonal: FHI-aims' functions are normalized up to its grids, 1e-4 in real files."""
MAX_ASYMMETRY = 1e-5
"""Largest accepted difference (Hartree, or overlap) of stored elements that Hermiticity makes equal; real files show 1e-9."""


def detect(folder: Path) -> str | None:
    """Why a folder looks like an FHI-aims run with matrices, or None."""
    return f"it holds {INDICES}" if (folder / INDICES).is_file() else None


def read(folder: Path) -> Hamiltonian:
    """Read an FHI-aims run.

    Parameters
    ----------
    folder : path
        Holds geometry.in, control.in, basis-indices.out, rs_indices.out, rs_overlap.out, rs_hamiltonian.out (or _up and _dn), and perhaps
        aims.out.

    Returns
    -------
    Hamiltonian
        All-electron, scalar-relativistic H and S; spin ``none`` or ``collinear``. Without aims.out there is no Fermi level.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the files contradict each other.
    """
    control = read_control(folder / CONTROL)
    system = read_geometry(folder / GEOMETRY, control.species)
    functions = read_basis(folder / BASIS, system)
    names = _hamiltonian_names(folder, control)
    basis = Basis({z: found.shells for z, found in functions.items()}, "collinear" if len(names) == 2 else "none")
    index = read_index(folder / INDICES)
    if (size := int(basis.n_orbitals(system.numbers).sum())) != index.n_basis:
        raise DataError(f"{folder / INDICES} is of {index.n_basis} basis functions, but {BASIS} lists {size}: files of different runs")
    overlap = next((name for name in OVERLAPS if (folder / name).is_file()), OVERLAPS[0])
    values = np.array([read_values(folder / name, index) for name in (overlap, *names)])
    try:
        blocks, asymmetry = _to_blocks(system, basis, index, values)
        S = PairBlocks(blocks.pairs, blocks.shapes, blocks.entries[:1])
        _check_norm(S)
        shifts = home_cells(system, S)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    pairs = S.pairs.copy()
    pairs[:, :3] += shifts[pairs[:, 4]] - shifts[pairs[:, 3]]
    H = PairBlocks(pairs, S.shapes, blocks.entries[1:] * AIMS.hartree)
    S = replace(S, pairs=pairs)
    return Hamiltonian(
        system,
        basis,
        to_project_order("aims", S, system, basis, spin=False),
        to_project_order("aims", H, system, basis, spin=True),
        fermi_energy=read_fermi_energy(folder, control),
        n_electrons=float(system.numbers.sum()) - control.number("charge", "0"),
        moments=read_moments(folder, system.n_atoms),
        source={
            "code": "FHI-aims",
            "constants": AIMS._asdict(),
            "radial_functions": {SYMBOLS[z]: list(found.names) for z, found in functions.items()},
            "asymmetry": {"H_eV": float(asymmetry[1:].max()) * AIMS.hartree, "S": float(asymmetry[0])},
            **read_convergence(folder, control).to_source(),
            **_settings(control),
        },
    )


def _hamiltonian_names(folder: Path, control: Control) -> tuple[str, ...]:
    """The one set of files with H, which must fit to ``spin`` in control.in."""
    found = [names for names in HAMILTONIANS if all((folder / name).is_file() for name in names)]
    if len(found) != 1:
        seen = ", ".join(sorted(path.name for path in folder.glob("rs_hamiltonian*"))) or "none"
        raise DataError(f"{folder}: expected rs_hamiltonian.out, or rs_hamiltonian_up.out and _dn.out (or .h5), of one run; found {seen}")
    collinear = (control.keywords.get("spin") or ["none"])[0].lower() == "collinear"
    if collinear != (len(found[0]) == 2):
        raise DataError(
            f"{folder}: {CONTROL} asks for spin {'collinear' if collinear else 'none'}, but there is {' and '.join(found[0])}: "
            "files of different runs"
        )
    if "include_spin_orbit" in control.keywords:
        logger.warning("%s: FHI-aims adds spin-orbit coupling after self-consistency; it is not part of the matrices", folder)
    return found[0]


def _settings(control: Control) -> dict[str, Any]:
    """Mesh of k points and smearing, where electrons can be counted with them; FHI-aims' default is a Gaussian of 0.01 eV."""
    kind, width, *_ = [*control.keywords.get("occupation_type", ["gaussian"]), "0.01"]
    kind = kind.lower()
    if kind not in ("fermi", "gaussian") or "k_grid" not in control.keywords or "k_offset" in control.keywords:
        return {}
    try:
        n1, n2, n3 = (integer(n) for n in control.keywords["k_grid"][:3])
        spread = number(width)
    except ValueError as error:
        raise DataError(f"{CONTROL}: k_grid or occupation_type is not understood: {error}") from error
    if min(n1, n2, n3) < 1:
        raise DataError(f"{CONTROL}: k_grid {n1} {n2} {n3}, expected at least one point along each direction")
    mesh = {"k_grid": [n1, n2, n3], "k_shift": [0.0, 0.0, 0.0]}
    if kind == "fermi":
        return {**mesh, "electronic_temperature_K": spread / KELVIN}
    return {**mesh, "smearing": "gauss", "smearing_width_eV": spread}


def _to_blocks(system: System, basis: Basis, index: Index, values: FloatArray) -> tuple[PairBlocks, FloatArray]:
    """Blocks of all matrices, exactly Hermitian, and the largest asymmetry of each before.

    A stored element <row, cell | M | column, 0> belongs to the pair (cell, atom of column, atom of row), and by Hermiticity to its partner.
    """
    n_orbitals = basis.n_orbitals(system.numbers)
    start = np.concatenate([[0], np.cumsum(n_orbitals)])
    atom = np.repeat(np.arange(system.n_atoms), n_orbitals)
    direct = np.column_stack([index.cell, atom[index.column], atom[index.row]])
    elements = np.concatenate([direct, reversed_pairs(direct)])
    distinct = direct[np.unique(pair_keys(direct)[0], return_index=True)[1]]
    pairs = closed_pattern(system.n_atoms, distinct)
    out = PairBlocks.zeros(pairs, block_shapes(basis, system.numbers, pairs, spin=False), len(values))
    pair = find_pairs(pairs, elements)
    a, b = np.concatenate([index.column, index.row]), np.concatenate([index.row, index.column])
    slot = out.offsets[pair] + (a - start[atom[a]]) * out.shapes[pair, 1] + b - start[atom[b]]
    times = np.bincount(slot, minlength=out.entries.shape[1])
    asymmetry = np.zeros(len(values))
    for component, stored in enumerate(np.concatenate([values, values], axis=1)):
        out.entries[component] = np.bincount(slot, stored, times.size) / np.maximum(times, 1)
        asymmetry[component] = np.abs(stored - out.entries[component, slot]).max()
    if asymmetry.max() > MAX_ASYMMETRY:
        raise DataError(
            f"elements that Hermiticity makes equal differ by up to {asymmetry.max():.1e}: indices and values do not belong together"
        )
    return out, asymmetry


def _check_norm(S: PairBlocks) -> None:
    """Every function overlaps with itself by one: index and values belong together."""
    for n in np.flatnonzero(is_onsite(S.pairs)).tolist():
        error = np.abs(np.diagonal(S.take(np.array([n]))[0, 0]) - 1).max()
        if error > MAX_NORM_ERROR:
            raise DataError(
                f"the overlap of a function of atom {S.pairs[n, 3] + 1} with itself is off 1 by {error:.2g}: damaged or mixed files"
            )
