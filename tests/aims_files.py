"""Made-up FHI-aims runs, written as FHI-aims lays its files out; independent of the reader."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.system import System

HARTREE = 27.2113845
SIGNS = {0: [1], 1: [1, 1, -1], 2: [1, 1, 1, -1, 1], 3: [1, 1, 1, 1, -1, 1, -1]}
"""Sign of FHI-aims' real harmonics m = -l..l relative to those without Condon-Shortley sign, written out."""
CELL = np.array([[3.1, 0.0, 0.0], [-1.4, 2.9, 0.0], [0.3, 0.2, 14.0]])
POSITIONS = np.array([[0.1, 0.2, 9.0], [1.4, 0.9, 7.2], [2.2, 2.4, 7.9]])


def random_hamiltonian(spin: str = "collinear", seed: int = 0) -> Hamiltonian:
    """Three atoms of two elements with s to f shells; S like an overlap (decaying, positive), H random and Hermitian."""
    system = System(CELL, POSITIONS, np.array([16, 42, 16]))
    basis = Basis({16: (0, 0, 1, 3), 42: (0, 1, 2, 2)}, spin)
    pairs = neighbour_pairs(system, {16: 2.2, 42: 2.4})
    shapes = block_shapes(basis, system.numbers, pairs, spin=False)
    rng = np.random.default_rng(seed)
    blocks = PairBlocks(pairs, shapes, rng.normal(size=(1 + basis.n_spin, int(shapes.prod(axis=1).sum())))).hermitized()
    distance = np.linalg.norm(POSITIONS[pairs[:, 4]] + pairs[:, :3] @ CELL - POSITIONS[pairs[:, 3]], axis=1)
    decay = np.repeat(0.02 * np.exp(-distance), shapes.prod(axis=1))
    S = PairBlocks(pairs, shapes, blocks.entries[:1] * decay)
    for atom in range(3):
        place = np.flatnonzero((pairs == (0, 0, 0, atom, atom)).all(axis=1))
        S.put(place, np.eye(int(shapes[place[0], 0]))[None, None])
    return Hamiltonian(system, basis, S, PairBlocks(pairs, shapes, 10 * blocks.entries[1:]), moments=None)


@dataclass
class Run:
    """What to write and how.

    Attributes
    ----------
    data : Hamiltonian
        Orbitals in the project's order.
    shifts : (n_atoms, 3) int array
        Lattice vectors by which FHI-aims moves the atoms before it labels cells.
    hdf5 : bool
        ``output_rs_matrices hdf5`` instead of ``plain``.
    control : list of str
        More lines of control.in.
    """

    data: Hamiltonian
    shifts: np.ndarray = field(default_factory=lambda: np.array([[0, 0, -1], [0, -1, 1], [-1, -1, 0]]))
    hdf5: bool = False
    control: list[str] = field(default_factory=list)


def write_run(folder: Path, run: Run) -> Path:
    """A run folder without aims.out."""
    folder.mkdir(parents=True, exist_ok=True)
    data, collinear = run.data, run.data.basis.spin == "collinear"
    _write_input(folder, run)
    orbitals = [
        (atom, n) for atom, z in enumerate(data.system.numbers.tolist()) for n in range(sum(2 * l + 1 for l in data.basis.shells[z]))
    ]
    index = {orbital: n for n, orbital in enumerate(orbitals)}
    sign = {z: np.concatenate([SIGNS[l] for l in shells]) for z, shells in data.basis.shells.items()}
    elements: dict[tuple[tuple[int, ...], int], list[tuple[int, list[float]]]] = {}
    for n, (R1, R2, R3, i, j) in enumerate(data.S.pairs.tolist()):
        # <row at its cell | M | column at 0>: the pair (R, i, j) has j as the row
        cell = tuple((np.array([R1, R2, R3]) - run.shifts[j] + run.shifts[i]).tolist())
        values = np.concatenate([data.S.take(np.array([n]))[:, 0], data.H.take(np.array([n]))[:, 0] / HARTREE])
        values = values * np.outer(sign[int(data.system.numbers[i])], sign[int(data.system.numbers[j])])
        for a in range(values.shape[1]):
            for b in range(values.shape[2]):
                row, column = index[j, b], index[i, a]
                if row >= column:
                    elements.setdefault((cell, row), []).append((column, values[:, a, b].tolist()))
    cells = sorted({cell for cell, _ in elements}, key=lambda cell: (cell != (0, 0, 0), cell))
    first, last, columns, stored = [], [], [], []
    for cell in cells:
        for row in range(len(orbitals)):
            found = sorted(elements.get((cell, row), []))
            first.append(len(columns) + 1 if found else 0)
            last.append(len(columns) + len(found) if found else -1)
            columns += [column + 1 for column, _ in found]
            stored += [values for _, values in found]
    n = len(orbitals)
    first, last, columns = first + [0] * n, last + [-1] * n, [*columns, 0]
    table = np.vstack([stored, np.zeros(len(stored[0]))])
    lines = [
        f"n_hamiltonian_matrix_size: {len(columns):12d}",
        f"n_cells_in_hamiltonian: {len(cells) + 1:12d}",
        f"n_basis: {n:12d}",
        "cell_index",
    ]
    lines += ["".join(f"{x:11d}" for x in cell) for cell in [*cells, (999999999,) * 3]]
    for name, numbers in (("index_hamiltonian(1,:,:)", first), ("index_hamiltonian(2,:,:)", last)):
        lines += [name, *("".join(f"{x:11d}" for x in numbers[k : k + n]) for k in range(0, len(numbers), n))]
    lines += ["column_index_hamiltonian", *(f"{x:10d}" for x in columns)]
    (folder / "rs_indices.out").write_text("\n".join(lines) + "\n")
    down = "down" if run.hdf5 else "dn"
    names = ["rs_overlap", *(["rs_hamiltonian_up", f"rs_hamiltonian_{down}"] if collinear else ["rs_hamiltonian"])]
    for name, values in zip(names, table.T, strict=True):
        if run.hdf5:
            import h5py

            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["sparse_matrix"] = values
        else:
            (folder / f"{name}.out").write_text("".join(f"{_fortran(x)}\n" for x in values))
    return folder


def _fortran(x: float) -> str:
    """A number as Fortran's E24.16 prints it: the E makes way for the third digit of the exponent."""
    mantissa, exponent = f"{x:.17E}".split("E")
    return f"  {mantissa}{'E' if abs(int(exponent)) < 100 else ''}{int(exponent):+03d}"


def _write_input(folder: Path, run: Run) -> None:
    data = run.data
    geometry = ["# made up", *(f"lattice_vector {x:.17g} {y:.17g} {z:.17g}" for x, y, z in data.system.cell)]
    names = {16: "S", 42: "heavy"}
    for z, tau, frac in zip(data.system.numbers.tolist(), data.system.positions, data.system.fractional, strict=True):
        kind, place = ("atom_frac", frac) if z == 42 else ("atom", tau)
        geometry.append(f"{kind} {place[0]:.17g} {place[1]:.17g} {place[2]:.17g} {names[z]}  # atom")
    (folder / "geometry.in").write_text("\n".join(geometry) + "\n")
    control = ["xc pbe", f"spin {data.basis.spin}", "k_grid 2 2 1", f"output_rs_matrices {'hdf5' if run.hdf5 else 'plain'}", *run.control]
    species = [line for z in sorted(names) for line in (f"species {names[z]}", f"nucleus {z}", "valence 3 s 2.", "hydro 4 f 7")]
    (folder / "control.in").write_text("\n".join([*control, *species]) + "\n")
    basis, count = ["", "  fn.   type   at.   n   l   m"], 0
    for atom, z in enumerate(data.system.numbers.tolist(), start=1):
        for n, l in enumerate(data.basis.shells[z]):
            for m in range(-l, l + 1):
                count += 1
                basis.append(f"{count:5d} atomic   {atom:3d} {n + l + 1:3d} {l:3d} {m:3d}")
    (folder / "basis-indices.out").write_text("\n".join(basis) + "\n")


def write_log(folder: Path, fermi: float, moments: list[float] | None = None) -> None:
    """aims.out: two Fermi levels, of which the last counts, and perhaps the table of Mulliken spins."""
    lines = [f"  | Chemical potential (Fermi level):  {level:15.8f} eV" for level in (fermi - 1, fermi)]
    if moments is not None:
        lines += ["  Summary of the per-atom spin analysis:", "  |", "  |  atom   spin      l=0         l=1"]
        lines += [f"  | {atom:5d}  {spin:10.6f}  {spin:10.6f}" for atom, spin in enumerate(moments, start=1)]
        lines += ["  |", f"  | Total  {sum(moments):10.6f}"]
    (folder / "aims.out").write_text("\n".join([*lines, "          Have a nice day."]) + "\n")


def add_eigenvalues(folder: Path, k: np.ndarray, energies: np.ndarray, *, name_k: bool = True) -> None:
    """Two tables of eigenvalues in aims.out, of which the last counts, before its last line."""
    lines = []
    for shift in (1.0, 0.0):
        lines += ["  Writing Kohn-Sham eigenvalues."]
        for n, one in enumerate(k):
            for spin, channel in enumerate(energies):
                lines += ["", f"  Spin-{('up', 'down')[spin]} eigenvalues: "] if len(energies) == 2 else [""]
                place = "".join(f"  {x:10.6f}" for x in one)
                lines += [f"  K-point:{n + 1:8d} at{place} (in units of recip. lattice)"] if name_k else []
                lines += ["", "  State    Occupation    Eigenvalue [Ha]    Eigenvalue [eV]"]
                lines += [
                    f"  {s:5d}      {0.0:8.5f}     {(e + shift) / HARTREE:14.6f}    {e + shift:15.5f}"
                    for s, e in enumerate(channel[n], start=1)
                ]
        lines += [
            "",
            "  Highest occupied state (VBM) at",
            "  | K-point:       1 at    0.000000    0.000000    0.000000 (in units of recip. lattice)",
        ]
    text = (folder / "aims.out").read_text()
    (folder / "aims.out").write_text("\n".join(lines) + "\n" + text)


def write_bands(folder: Path, k: np.ndarray, energies: np.ndarray, fermi: float, suffix: str = "") -> None:
    """band1001.out (and band2001.out), in two segments."""
    for spin, channel in enumerate(energies, start=1):
        for segment, part in enumerate((slice(0, 2), slice(2, None)), start=1):
            rows = []
            for n, (one, levels) in enumerate(zip(k[part], channel[part], strict=True), start=1):
                states = "".join(f"{float(e < fermi):12.5f}{e - fermi:15.5f}" for e in levels)
                rows.append(f"{n:7d}" + "".join(f"  {x:10.7f}" for x in one) + states)
            (folder / f"band{spin}{segment:03d}.out{suffix}").write_text("\n".join(rows) + "\n")
