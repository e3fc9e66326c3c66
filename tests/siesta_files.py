"""Made-up SIESTA runs: a random Hermitian model, and its files in every layout, written from SIESTA's own descriptions."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.system import System
from deeph.physics.units import SIESTA_5, Constants

SHELLS = {6: (0, 0, 1, 1, 2), 1: (0, 1)}
RADII = {6: 2.6, 1: 2.1}
CELL = np.array([[4.1, 0.3, 0.0], [-0.4, 3.9, 0.2], [0.1, 0.5, 4.6]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [4.9, -0.6, 1.1], [-1.4, 2.2, 5.2]])
"""The second and third atom lie outside the cell."""
SPIN = {1: "none", 2: "collinear", 4: "spinor", 8: "spinor"}


def model(n_spin: int, *, cell: np.ndarray = CELL, positions: np.ndarray = POSITIONS, seed: int = 0) -> Hamiltonian:
    """Random H with the symmetry that SIESTA's spin components can express, S positive definite, and a density matrix."""
    rng = np.random.default_rng(seed)
    system, basis = System(cell, positions, np.array([6, 1, 6])), Basis(SHELLS, SPIN[n_spin])
    pairs = neighbour_pairs(system, RADII)
    shapes = block_shapes(basis, system.numbers, pairs, spin=False)

    def blocks(n: int, scale: float) -> PairBlocks:
        zero = PairBlocks.zeros(pairs, shapes, n)
        return replace(zero, entries=scale * rng.normal(size=zero.entries.shape))

    S = (
        blocks(1, 0.02)
        .hermitized()
        .mapped(lambda b, p: b + (p[:, 3] == p[:, 4])[:, None, None] * ~p[:, :3].any(1)[:, None, None] * np.eye(*b.shape[-2:]))
    )
    rho = None
    if n_spin <= 2:
        H, rho = blocks(n_spin, 2.0).hermitized(), blocks(n_spin, 0.1).hermitized()
    elif n_spin == 4:
        H = spinor(pairs, shapes, *noncollinear(blocks(4, 2.0).hermitized().entries))
    else:
        H, rho = (random_spinor(blocks(8, scale), shapes).hermitized() for scale in (2.0, 0.1))
    return Hamiltonian(system, basis, S, H, fermi_energy=-3.25, n_electrons=9.0, extra={} if rho is None else {"density_matrix": rho})


def noncollinear(parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Uu, ud, du, dd of an exchange field along (x, y, z) on real orbitals: up, down, x and y components, each symmetric."""
    up, down, x, y = parts
    return up + 0j, x - 1j * y, x + 1j * y, down + 0j


def random_spinor(parts: PairBlocks, shapes: np.ndarray) -> PairBlocks:
    return spinor(parts.pairs, shapes, *(parts.entries[:4] + 1j * parts.entries[4:]))


def spinor(pairs: np.ndarray, shapes: np.ndarray, *components: np.ndarray) -> PairBlocks:
    """Spinor blocks [[uu, ud], [du, dd]]."""
    four = PairBlocks(pairs, shapes, np.array(components))

    def join(b: np.ndarray, _pairs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.concatenate([b[0], b[1]], -1), np.concatenate([b[2], b[3]], -1)], -2)[None]

    return four.mapped(join)


@dataclass
class Rows:
    """SIESTA's sparse rows of a model: counts, columns from 1, S, H and D in Rydberg with SIESTA's spin components, vectors in Bohr."""

    data: Hamiltonian
    nsc: np.ndarray
    cells: np.ndarray
    n_row: np.ndarray
    column: np.ndarray
    S: np.ndarray
    H: np.ndarray
    D: np.ndarray | None
    vectors: np.ndarray
    n_orbitals: np.ndarray
    constants: Constants


def supercell(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of cells along each direction, and their R in SIESTA's order: 0, 1, ..., n, -n, ..., -1, the first direction fastest."""
    n = np.abs(pairs[:, :3]).max(0)
    lines = [[*range(m + 1), *range(-m, 0)] for m in n]
    return 2 * n + 1, np.array([[a, b, c] for c in lines[2] for b in lines[1] for a in lines[0]])


def siesta_sign(shells: tuple[int, ...]) -> np.ndarray:
    """SIESTA's harmonics keep the factor (-1)^m."""
    return np.array([(-1.0) ** m for l in shells for m in range(-l, l + 1)])


def rows_of(data: Hamiltonian, n_spin: int, *, folded: bool = False, constants: Constants = SIESTA_5) -> Rows:
    """The element (io, jo) is <s', jo| H |s, io>: [[H1 + i H5, H3 - i H4], [H7 + i H8, H2 + i H6]] (comments of diag3k.F)."""
    system, numbers = data.system, data.system.numbers
    nsc, cells = supercell(data.S.pairs)
    if folded:
        nsc, cells = np.ones(3, int), np.zeros((1, 3), int)
    index = {tuple(c): n for n, c in enumerate(cells.tolist())}
    n_orbitals = data.basis.n_orbitals(numbers)
    first, n = np.concatenate([[0], np.cumsum(n_orbitals)]), int(n_orbitals.sum())
    rho = data.extra.get("density_matrix")
    found = [[] for _ in range(n)]
    for p, (*R, i, j) in enumerate(data.S.pairs.tolist()):
        sign = np.outer(siesta_sign(SHELLS[numbers[i]]), siesta_sign(SHELLS[numbers[j]]))
        one = np.array([p])
        h = siesta_components(data.H.take(one)[:, 0] / (constants.hartree / 2), n_spin, adjoint=True)
        d = siesta_components(rho.take(one)[:, 0], n_spin, adjoint=False) if rho is not None else h
        s = data.S.take(one)[0, 0]
        xij = (system.positions[j] + R @ system.cell - system.positions[i]) / constants.bohr
        cell = 0 if folded else index[tuple(R)]
        for a in range(n_orbitals[i]):
            for b in range(n_orbitals[j]):
                found[first[i] + a].append(
                    (cell * n + first[j] + b + 1, s[a, b] * sign[a, b], h[:, a, b] * sign[a, b], d[:, a, b] * sign[a, b], xij)
                )
    flat = [element for row in found for element in row]
    return Rows(
        data, nsc, cells, np.array([len(row) for row in found]), np.array([e[0] for e in flat]), np.array([e[1] for e in flat]),
        np.array([e[2] for e in flat]).T, None if rho is None else np.array([e[3] for e in flat]).T, np.array([e[4] for e in flat]),
        n_orbitals, constants,
    )  # fmt: skip


def siesta_components(block: np.ndarray, n_spin: int, *, adjoint: bool) -> np.ndarray:
    """(n_spin, rows, columns) of a block <i| M |j>: of M_ji for H (``adjoint``), of M_ij for the density matrix."""
    if n_spin <= 2:
        return block
    rows, columns = (n // 2 for n in block.shape[1:])
    b = block[0].reshape(2, rows, 2, columns).transpose(0, 2, 1, 3)  # (s, s', a, b)
    b = b.conj().swapaxes(0, 1) if adjoint else b
    out = [b[0, 0].real, b[1, 1].real, b[0, 1].real, -b[0, 1].imag, b[0, 0].imag, b[1, 1].imag, b[1, 0].real, b[1, 0].imag]
    return np.array(out[:n_spin])


class Fortran:
    """Writer of sequential records."""

    def __init__(self, order: str = "<") -> None:
        self.order, self.parts = order, []

    def write(self, *values: tuple[str, object]) -> None:
        data = b"".join(np.asarray(v).astype(np.dtype(kind).newbyteorder(self.order)).tobytes() for kind, v in values)
        mark = np.array(len(data), f"{self.order}i4").tobytes()
        self.parts += [mark, data, mark]

    def rows(self, kind: str, values: np.ndarray, n_row: np.ndarray) -> None:
        for part in np.split(values, np.cumsum(n_row)[:-1]):
            self.write((kind, part))

    def save(self, path: Path) -> None:
        path.write_bytes(b"".join(self.parts))


K_CELL, K_SHIFT, TEMPERATURE = np.diag([2, 3, 1]), np.array([0.0, 0.5, 0.0]), 0.00190
SPECIES = {6: ("C", 4.0), 1: ("H", 1.0)}


def write_hsx(path: Path, rows: Rows, version: int = 2, *, double: bool = True, order: str = "<") -> None:
    """Versions 1 and 2 (io_hsx.F90 of SIESTA 5)."""
    data, real, out = rows.data, "f8" if double else "f4", Fortran(order)
    numbers, bohr, rydberg = data.system.numbers, rows.constants.bohr, rows.constants.hartree / 2
    kinds = list(dict.fromkeys(numbers.tolist()))
    out.write(("i4", version))
    out.write(("i4", -1 if double else 0))
    out.write(("i4", [len(numbers), len(rows.n_row), len(rows.H), len(kinds), *rows.nsc]))
    out.write(("f8", data.system.cell / bohr), ("f8", [data.fermi_energy / rydberg, data.n_electrons, TEMPERATURE]))
    isa = [kinds.index(z) + 1 for z in numbers]
    out.write(("i4", rows.cells), ("f8", data.system.positions / bohr), ("i4", isa), ("i4", np.cumsum(rows.n_orbitals)))
    out.write(*(v for z in kinds for v in species_fields(z)))
    for z in kinds:
        out.write(("i4", [q for l in SHELLS[z] for _ in range(2 * l + 1) for q in (2, l, 1)]))
    if version == 2:
        out.write(("i4", K_CELL), ("f8", K_SHIFT))
    out.write(("i4", rows.n_row))
    out.rows("i4", rows.column, rows.n_row)
    for H in rows.H:
        out.rows(real, H, rows.n_row)
    out.rows(real, rows.S, rows.n_row)
    out.save(path)


def species_fields(z: int) -> list[tuple[str, object]]:
    label, valence = SPECIES[z]
    return [("S20", label.ljust(20)), ("f8", valence), ("i4", sum(2 * l + 1 for l in SHELLS[z]))]


def write_hsx_0(path: Path, rows: Rows, *, gamma: bool = False) -> None:
    """The layout of SIESTA 4."""
    data, out, n = rows.data, Fortran(), len(rows.n_row)
    kinds = list(dict.fromkeys(data.system.numbers.tolist()))
    out.write(("i4", [n, n * len(rows.cells), len(rows.H), len(rows.column)]))
    out.write(("i4", -1 if gamma else 0))
    if not gamma:
        out.write(("i4", np.tile(np.arange(1, n + 1), len(rows.cells))))
    out.write(("i4", rows.n_row))
    out.rows("i4", rows.column, rows.n_row)
    for H in rows.H:
        out.rows("f4", H, rows.n_row)
    out.rows("f4", rows.S, rows.n_row)
    out.write(("f8", [data.n_electrons, TEMPERATURE]))
    if not gamma:
        out.rows("f4", rows.vectors.ravel(), 3 * rows.n_row)
    out.write(("i4", len(kinds)))
    out.write(*(v for z in kinds for v in species_fields(z)))
    for z in kinds:
        for l in SHELLS[z]:
            for _ in range(2 * l + 1):
                out.write(("i4", [2, l, 1]))
    out.write(("i4", data.system.n_atoms))
    out.write(("i4", [kinds.index(z) + 1 for z in data.system.numbers]))
    atom = np.repeat(np.arange(data.system.n_atoms), rows.n_orbitals)
    out.write(("i4", np.stack([atom + 1, np.arange(n) + 1], 1)))
    out.save(path)


def write_tshs(path: Path, rows: Rows, *, only_S: bool = False, gamma: bool = False) -> None:
    """Version 1 (m_ts_io.F90)."""
    data, out, n = rows.data, Fortran(), len(rows.n_row)
    bohr, rydberg = rows.constants.bohr, rows.constants.hartree / 2
    out.write(("i4", 1))
    out.write(("i4", [data.system.n_atoms, n, n * len(rows.cells), len(rows.H), len(rows.column)]))
    out.write(("i4", rows.nsc))
    out.write(("f8", data.system.cell / bohr), ("f8", data.system.positions / bohr))
    out.write(("i4", [-int(gamma), -int(gamma), -int(only_S)]))
    out.write(("i4", K_CELL), ("f8", K_SHIFT))
    out.write(("f8", [data.fermi_energy / rydberg, data.n_electrons, TEMPERATURE]))
    out.write(("i4", [0, 0]))
    out.write(("i4", [0, *np.cumsum(rows.n_orbitals)]))
    out.write(("i4", rows.n_row))
    out.rows("i4", rows.column, rows.n_row)
    out.rows("f8", rows.S, rows.n_row)
    if not only_S:
        for H in rows.H:
            out.rows("f8", H, rows.n_row)
    if not gamma:
        out.write(("i4", rows.cells))
    out.save(path)


def write_nc(path: Path, rows: Rows) -> None:
    """The netCDF file (HDF5 underneath)."""
    import h5py

    data, bohr, rydberg = rows.data, rows.constants.bohr, rows.constants.hartree / 2
    with h5py.File(path, "w") as file:
        file["cell"], file["xa"] = data.system.cell / bohr, data.system.positions / bohr
        file["nsc"], file["lasto"] = rows.nsc.astype("i4"), np.cumsum(rows.n_orbitals).astype("i4")
        file["Ef"], file["Qtot"] = np.array([data.fermi_energy / rydberg]), np.array([data.n_electrons])
        file["SPARSE/n_col"], file["SPARSE/list_col"] = rows.n_row.astype("i4"), rows.column.astype("i4")
        file["SPARSE/isc_off"], file["SPARSE/S"], file["SPARSE/H"] = rows.cells.astype("i4"), rows.S, rows.H
        file["SETTINGS/BZ"], file["SETTINGS/BZ_displ"] = K_CELL.astype("i4"), K_SHIFT
        file["SETTINGS/ElectronicTemperature"] = np.array([TEMPERATURE])


def write_dm(path: Path, rows: Rows) -> None:
    """The density matrix, with the supercell in the header as SIESTA 5 writes it."""
    out = Fortran()
    out.write(("i4", [len(rows.n_row), len(rows.D), *rows.nsc]))
    out.write(("i4", rows.n_row))
    out.rows("i4", rows.column, rows.n_row)
    for D in rows.D:
        out.rows("f8", D, rows.n_row)
    out.save(path)


def write_texts(folder: Path, rows: Rows, label: str = "run", *, struct_out: bool = True) -> None:
    """``.ORB_INDX``, ``.XV`` and ``.STRUCT_OUT`` in SIESTA's formats."""
    system, bohr = rows.data.system, rows.constants.bohr
    kinds = list(dict.fromkeys(system.numbers.tolist()))
    n, lines, io = len(rows.n_row), [], 0
    for ia, z in enumerate(system.numbers.tolist()):
        iao = 0
        for shell, l in enumerate(SHELLS[z]):
            for m in range(-l, l + 1):
                io, iao = io + 1, iao + 1
                rc = RADII[z] / bohr - 0.25 * (shell > 0)
                names = f"{io:6d}{ia + 1:6d}{kinds.index(z) + 1:3d} {SPECIES[z][0]:>6s}{iao:4d}"
                lines.append(f"{names}{2:3d}{l:3d}{m:3d}{1:3d}  F{'sym':>13s}{rc:8.3f}  0  0  0{io:6d}")
    head = f"{n:7d}{n * len(rows.cells):8d} = orbitals in unit cell and supercell. See end of file.\n\n   header\n"
    (folder / f"{label}.ORB_INDX").write_text(head + "\n".join(lines) + "\n" + lines[0] + "\n\nColumn codes:\n")
    cell, positions = system.cell / bohr, system.positions / bohr
    xv = ["".join(f"{x:18.9f}" for x in (*a, 0, 0, 0)) for a in cell] + [f"{system.n_atoms:12d}"]
    xv += [
        f"{kinds.index(z) + 1:3d}{z:6d}" + "".join(f"{x:18.9f}" for x in (*p, 0, 0, 0))
        for z, p in zip(system.numbers.tolist(), positions, strict=True)
    ]
    (folder / f"{label}.XV").write_text("\n".join(xv) + "\n")
    if struct_out:
        out = ["".join(f"{x:18.9f}" for x in a) for a in system.cell] + [f"{system.n_atoms:12d}"]
        out += [
            f"{kinds.index(z) + 1:3d}{z:6d}" + "".join(f"{x:18.9f}" for x in f)
            for z, f in zip(system.numbers.tolist(), system.fractional, strict=True)
        ]
        (folder / f"{label}.STRUCT_OUT").write_text("\n".join(out) + "\n")


def write_bands(path: Path, before: np.ndarray, energies: np.ndarray, *, lines: bool) -> None:
    """``.bands`` (bands.F): the path length, or with BandPoints the point itself, before the energies of each k point."""
    n_spin, n_k, n_bands = energies.shape
    text = ["  -3.25", "  0.0  1.0", f"{energies.min()} {energies.max()}", f" {n_bands} {n_spin} {n_k}"]
    for ik in range(n_k):
        words = [f"{e:12.4f}" for e in energies[:, ik].ravel()]
        head = "".join(f"{x:10.6f}" if lines else f"{x:9.5f}" for x in before[ik])
        text += [head + "".join(words[:10])] + ["".join(words[m : m + 10]) for m in range(10, len(words), 10)]
    trailer = ["  2", "    0.000000   'A'", "    1.000000   'B'"]
    path.write_text("\n".join([text[0], *text[2:]] if not lines else text + trailer) + "\n")


def write_eigenvalues(folder: Path, k: np.ndarray, energies: np.ndarray, rows: Rows, label: str = "run") -> None:
    """``.EIG`` and ``.KP`` (ioeig.f, iokp.f); energies (n_spin, n_k, n_bands) in eV."""
    _, n_k, n_bands = energies.shape
    text = [f"{rows.data.fermi_energy:17.9E}", f" {n_bands:10d} {len(rows.H)} {n_k:10d}"]
    for ik in range(n_k):
        words = [f"{e:17.9E}" for e in energies[:, ik].ravel()]
        chunks = [words[m : m + 10] for m in range(0, len(words), 10)]
        text += [f"{ik + 1:10d} " + " ".join(chunks[0])] + [" " * 11 + " ".join(c) for c in chunks[1:]]
    (folder / f"{label}.EIG").write_text("\n".join(text) + "\n")
    cartesian = k @ (2 * np.pi * np.linalg.inv(rows.data.system.cell / rows.constants.bohr).T)
    points = [f"{ik + 1:12d}" + "".join(f"{x:14.6E}" for x in one) + f"{1 / n_k:14.6E}" for ik, one in enumerate(cartesian)]
    (folder / f"{label}.KP").write_text("\n".join([f"{n_k:12d}", *points]) + "\n")


LAYOUTS = {
    "HSX 2": lambda path, rows: write_hsx(path / "run.HSX", rows),
    "HSX 2 big-endian": lambda path, rows: write_hsx(path / "run.HSX", rows, order=">"),
    "HSX 2 single": lambda path, rows: write_hsx(path / "run.HSX", rows, double=False),
    "HSX 1": lambda path, rows: write_hsx(path / "run.HSX", rows, version=1),
    "HSX 0": lambda path, rows: write_hsx_0(path / "run.HSX", rows),
    "TSHS": lambda path, rows: write_tshs(path / "run.TSHS", rows),
    "nc": lambda path, rows: write_nc(path / "run.nc", rows),
}


def written(folder: Path, rows, layout: str = "HSX 2") -> Path:
    folder.mkdir(exist_ok=True)
    LAYOUTS[layout](folder, rows)
    write_texts(folder, rows)
    return folder
