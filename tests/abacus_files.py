"""Made-up ABACUS runs in every layout, written from the manual's description and independent of the reader."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from harmonics import rotation_of_atom, rotation_to_z
from scipy.integrate import simpson

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs, pair_vectors
from deeph.physics.system import SYMBOLS, System

RYDBERG, BOHR = 13.605698, 0.529177
SHELLS = {42: (0, 1, 2), 16: (0, 0, 1)}
CUTOFF = 2.2  # Angstrom, of the orbitals; H reaches farther
# rows: ABACUS's orbitals z, -x, -y and z2, -xz, -yz, x2-y2, xy in terms of y, z, x and xy, yz, z2, xz, x2-y2
TO_ABACUS = {
    0: np.eye(1),
    1: np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], float),
    2: np.array([[0, 0, 1, 0, 0], [0, 0, 0, -1, 0], [0, -1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]], float),
}


def made_up(spin: str = "none", seed: int = 0) -> Hamiltonian:
    """Two molybdenum and one sulphur atom with random matrices; H has more blocks than S, and r and T are there."""
    rng = np.random.default_rng(seed)
    cell = np.array([[5.0, 0, 0], [0.7, 5.5, 0], [0, 0, 9.0]]) * BOHR * 1.2
    system = System(cell, np.array([[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.3, 0.8, 0.45]]) @ cell, np.array([42, 42, 16]))
    basis = Basis(SHELLS, spin)
    pairs = neighbour_pairs(system, {42: 3.1, 16: 3.1})
    inside = neighbour_pairs(system, {42: CUTOFF, 16: CUTOFF})

    def blocks(which: np.ndarray, n: int, scale: float, *, spinor: bool = False) -> PairBlocks:
        shapes = block_shapes(basis, system.numbers, which, spin=spinor)
        values = rng.normal(size=(n, int(shapes.prod(axis=1).sum()))) * scale
        if spinor and spin == "spinor":
            values = values + 1j * rng.normal(size=values.shape) * scale
        return PairBlocks(which, shapes, values).hermitized()

    S = two_centre(rng, system, blocks(inside, 1, 0.0), 0.03)
    full = block_shapes(basis, system.numbers, pairs, spin=False)
    S, T, r = (one.on_pattern(pairs, full) for one in (S, blocks(inside, 1, 1.0), blocks(inside, 3, 0.5)))
    middle = np.repeat((pairs[:, :3] @ system.cell / 2).T, np.diff(S.offsets), axis=1)
    r = replace(r, entries=r.entries + middle * S.entries)  # Hermitian about the middle of the two cells
    H = blocks(pairs, basis.n_spin, 0.5, spinor=True)
    return Hamiltonian(system, basis, S, H, r, fermi_energy=0.25, source={}, extra={"kinetic": T})


def two_centre(rng: np.random.Generator, system: System, zeros: PairBlocks, scale: float) -> PairBlocks:
    """What a real overlap is like: the identity on site, and along each bond only between equal m, alike for m and -m."""
    for n, (pair, vector) in enumerate(zip(zeros.pairs, pair_vectors(system, zeros.pairs), strict=True)):
        first, second = (SHELLS[z] for z in system.numbers[pair[3:]].tolist())
        if not vector.any():
            zeros.put(np.array([n]), np.eye(zeros.shapes[n, 0]))
            continue
        parts = [[np.zeros((2 * a + 1, 2 * b + 1)) for b in second] for a in first]
        for row, a in zip(parts, first, strict=True):
            for part, b in zip(row, second, strict=True):
                for m in range(min(a, b) + 1):
                    part[a + m, b + m] = part[a - m, b - m] = scale * rng.normal()
        Q = rotation_to_z(vector)
        zeros.put(np.array([n]), rotation_of_atom(Q, first).T @ np.block(parts) @ rotation_of_atom(Q, second))
    return zeros.hermitized()


@dataclass(frozen=True)
class Layout:
    """How to write a run.

    ``naming``: "old" (data-HR-sparse_SPIN0.csr), "bare" (the same without the STEP line), "new" (hrs1_nao.csr, srs1_nao.csr),
    "newest" (hrs1g1_nao.csr, sr_nao.csr). ``width``: numbers on a line. ``only``: which matrices.
    """

    naming: str = "old"
    width: int = 10**9
    only: tuple[str, ...] = ("H", "S", "r", "kinetic")
    out: str = "OUT.ABACUS"
    log: bool = True
    orb: bool = True
    version: str = "3.10.0"


NAMES = {
    "old": ("data-HR-sparse_SPIN{}.csr", "data-SR-sparse_SPIN0.csr", "data-rR-sparse.csr", "data-TR-sparse_SPIN0.csr"),
    "new": ("hrs{}_nao.csr", "srs1_nao.csr", "rr.csr", "trs1_nao.csr"),
    "newest": ("hrs{}g1_nao.csr", "srg1_nao.csr", "rr.csr", "tr_nao.csr"),
}
NAMES["bare"] = NAMES["old"]


def write_run(folder: Path, data: Hamiltonian, layout: Layout = Layout()) -> Path:
    """A run folder; returns where the matrices are."""
    out = folder / layout.out
    out.mkdir(parents=True, exist_ok=True)
    spins = {"none": 1, "collinear": 2, "spinor": 4}[data.basis.spin]
    H, S, r, T = NAMES[layout.naming]
    first = 0 if layout.naming in ("old", "bare") else 1
    if "H" in layout.only and data.H is not None:
        for n in range(data.H.n_components):
            one = replace(data.H, entries=data.H.entries[n : n + 1] / RYDBERG)
            write_csr(out / H.format(n + first), "H", dense_cells(data, one), layout, spins)
    for name, blocks, unit, path in (("S", data.S, 1, S), ("r", data.r, BOHR, r), ("T", data.extra.get("kinetic"), RYDBERG, T)):
        if {"T": "kinetic"}.get(name, name) in layout.only and blocks is not None:
            scaled = replace(blocks, entries=blocks.entries / unit)
            if spins == 4 and name == "S":
                scaled = PairBlocks(scaled.pairs, scaled.shapes, scaled.entries + 0j)
            write_csr(out / path, name, dense_cells(data, scaled, double=spins == 4), layout, spins)
    (folder / "STRU").write_text(stru_text(data.system))
    (folder / "KPT").write_text("K_POINTS\n0\nGamma\n2 2 1 0 0 0\n")
    (folder / "INPUT").write_text(
        f"INPUT_PARAMETERS\ncalculation scf # self-consistent\nbasis_type lcao\nnspin {spins}\nsmearing_method fixed\nout_mat_hs2 1\n"
    )
    if layout.log:
        (out / "running_scf.log").write_text(log_text(data, spins, layout.version))
    if layout.orb:
        for number, shells in SHELLS.items():
            (folder / orb_name(number)).write_text(orb_text(number, shells))
    return out


def dense_cells(data: Hamiltonian, blocks: PairBlocks, *, double: bool = False) -> dict[tuple[int, ...], np.ndarray]:
    """{R: (n_components, n, n)} in ABACUS's order; ``double`` repeats a spin-free matrix for up and down."""
    n = data.basis.n_orbitals(data.system.numbers)
    start = np.concatenate([[0], np.cumsum(n)])
    spinor = double or bool((blocks.shapes != block_shapes(data.basis, data.system.numbers, blocks.pairs, spin=False)).any())
    change = [_of_atom(data.basis.shells[int(z)]) for z in data.system.numbers]
    out: dict[tuple[int, ...], np.ndarray] = {}
    for p, (R1, R2, R3, i, j) in enumerate(blocks.pairs.tolist()):
        one = blocks.entries[:, blocks.offsets[p] : blocks.offsets[p + 1]].reshape(-1, *blocks.shapes[p])
        width = 2 if spinor else 1
        cell = out.setdefault((R1, R2, R3), np.zeros((len(one), width * start[-1], width * start[-1]), blocks.entries.dtype))
        for s in range(width):
            for t in range(width):
                part = one if not spinor or double else one[:, s * n[i] : (s + 1) * n[i], t * n[j] : (t + 1) * n[j]]
                if double and s != t:
                    continue
                rows = width * np.arange(start[i], start[i + 1]) + s
                columns = width * np.arange(start[j], start[j + 1]) + t
                cell[:, rows[:, None], columns] = change[i] @ part @ change[j].T
    return out


def _of_atom(shells: tuple[int, ...]) -> np.ndarray:
    size = sum(2 * l + 1 for l in shells)
    out, start = np.zeros((size, size)), 0
    for l in shells:
        out[start : start + 2 * l + 1, start : start + 2 * l + 1] = TO_ABACUS[l]
        start += 2 * l + 1
    return out


def write_csr(path: Path, name: str, cells: dict[tuple[int, ...], np.ndarray], layout: Layout, spins: int) -> None:
    """One sparse file; entries below 1e-10 are left out, one by one."""
    newer = layout.naming in ("new", "newest") and name in "HS"
    size = next(iter(cells.values())).shape[-1]
    lines = [] if layout.naming == "bare" else ["STEP: 0"]
    if newer:
        lines = [" --- Ionic Step 1 ---", f" # print {name} matrix in real space {name}(R)", f" {spins} # number of spin directions"]
        lines += [" 1 # spin index", f" {size} # number of localized basis", f" {len(cells)} # number of Bravais lattice vector R", ""]
        lines += [" user_defined_lattice", " 1.889726", " 1 0 0", " 0 1 0", " 0 0 1", " Mo", " 2", " Direct", " 0 0 0", " 0.5 0.5 0.5", ""]
        lines += [" #---#", " #                CSR Format               #", " # values, column indices, row pointers. #", " #---#", ""]
        lines[3] = " 1 # spin index, E_Fermi = 0.25 eV" if layout.naming == "newest" else lines[3]
    else:
        lines += [f"Matrix Dimension of {name}(R): {size}", f"Matrix number of {name}(R): {len(cells)}"]
    for R, components in sorted(cells.items()):
        head = " ".join(map(str, R))
        if name == "r":
            lines.append(head)
        for one in components:
            kept = np.abs(one) > 1e-10
            lines.append(str(kept.sum()) if name == "r" else f"{head} {kept.sum()}")
            if not kept.any() and not newer:
                continue
            values = [f"({v.real:.16e},{v.imag:.16e})" if np.iscomplexobj(one) else f"{v:.16e}" for v in one[kept]]
            parts = {"values": values, "column indices": np.nonzero(kept)[1], "row pointers": [0, *np.cumsum(kept.sum(axis=1))]}
            for label, part in parts.items():
                lines += [f" # CSR {label}"] if newer else []
                lines += [" " + " ".join(map(str, part[n : n + layout.width])) for n in range(0, len(part), layout.width)]
    path.write_text("\n".join(lines) + "\n")


def orb_name(number: int) -> str:
    return f"{SYMBOLS[number]}_gga_4au_60Ry_made.orb"


def orb_text(number: int, shells: tuple[int, ...], mesh: int = 417) -> str:
    """An orbital file; not normalized, as real ones need not be."""
    names = {0: "S", 1: "P", 2: "D"}
    radius = (mesh - 1) * 0.01
    lines = [
        "-" * 75,
        f"Element                     {SYMBOLS[number]}",
        "Energy Cutoff(Ry)           60",
        f"Radius Cutoff(a.u.)         {radius:g}",
    ]
    lines += [f"Lmax                        {max(shells)}"]
    lines += [f"Number of {names[l]}orbital-->       {shells.count(l)}" for l in sorted(set(shells))]
    lines += ["-" * 75, "SUMMARY  END", "", f"Mesh                        {mesh}", "dr                          0.01"]
    r = np.arange(mesh) * 0.01
    of_l: dict[int, list[np.ndarray]] = {}
    for n, l in enumerate(shells):
        zeta = shells[:n].count(l)
        values = r**l * np.exp(-(0.5 + 0.2 * zeta) * r**2) * (1 - (r / radius) ** 2) ** 2
        for other in of_l.setdefault(l, []):  # orthogonal, as the overlap of the made-up runs has it
            values = values - other * simpson(other * values * r**2, x=r) / simpson(other**2 * r**2, x=r)
        of_l[l].append(values)
        lines += ["                Type                   L                   N", f"                   0 {l} {zeta}"]
        lines += [" ".join(f"{v:.12e}" for v in values[m : m + 4]) for m in range(0, mesh, 4)]
    return "\n".join(lines) + "\n"


def stru_text(system: System, form: str = "Direct", constant: float = 3.7) -> str:
    """A STRU file with fixed atoms, velocities and moments behind the positions."""
    cell = system.cell / BOHR / constant
    center = 0.5 * np.array(["x" in form[-3:], "y" in form[-3:], "z" in form[-3:]]) if "center" in form else np.zeros(3)
    positions = {
        "Direct": system.fractional,
        "Cartesian": system.positions / BOHR / constant,
        "Cartesian_au": system.positions / BOHR,
        "Cartesian_angstrom": system.positions,
    }.get(form, system.positions - center @ system.cell)
    species = list(dict.fromkeys(system.symbols))
    lines = ["# made up", "ATOMIC_SPECIES", *(f"{s} 1.0 {s}.upf upf201 // label; mass; file" for s in species), "", "NUMERICAL_ORBITAL"]
    lines += [orb_name(int(system.numbers[system.symbols.index(s)])) + " //numerical_orbital_file" for s in species]
    lines += [
        "",
        "LATTICE_CONSTANT",
        f"{constant} // Bohr",
        "",
        "LATTICE_VECTORS",
        *(" ".join(f"{x:.15f}" for x in row) + " #a" for row in cell),
    ]
    lines += ["", "ATOMIC_POSITIONS", f"{form} //Cartesian or Direct", ""]
    tails = ["1 1 1", "m 0 0 1 v 0.1 0.2 0.3", "mag 1.0 angle1 90 angle2 0", "0 0 0 mag 0 0 1"]
    for s in species:
        atoms = [n for n, name in enumerate(system.symbols) if name == s]
        lines += [f"{s} // element", "0.0 // magnetism", f"{len(atoms)} // number"]
        lines += [" ".join(f"{x:.15f}" for x in positions[n]) + " " + tails[n % 4] for n in atoms]
    return "\n".join(lines) + "\n"


def log_text(data: Hamiltonian, spins: int, version: str) -> str:
    """A log in the words of an older or newer version."""
    new = version >= "3.9.1" and version != "3.10.0"
    lines = [f"                              ABACUS v{version}", "", " READING UNITCELL INFORMATION", f"       ntype = {len(SHELLS)}"]
    for n, (number, shells) in enumerate(SHELLS.items(), 1):
        lines += [f" READING ATOM TYPE {n}", f"     {'Atom' if new else 'atom'} label = {SYMBOLS[number]}"]
        lines += [f"         L={l}, number of zeta = {shells.count(l)}" for l in sorted(set(shells))]
        lines += [f"     {'Number of atoms' if new else 'number of atom'} for this type = 2", ""]
    lines += ["             electron number of element Mo = 14", "            AUTOSET number of electrons:  = 17"]
    lines += [f"                        nspin = {spins}", "        longest orb rcut (Bohr) = 4.16"]
    lines += [
        " E_Fermi        -0.5        -6.802849",
        f" E_Fermi        {data.fermi_energy / RYDBERG:.10f}        {data.fermi_energy:.10f}",
    ]
    if not new:
        lines += [f" EFERMI = {data.fermi_energy:.10f} eV"]
    lines += [" Finish Time  : Sun Aug  3 13:16:10 2025", " Total  Time  : 0 h 0 mins 19 secs"]
    return "\n".join(lines) + "\n"
