"""WannierTools in its non-orthogonal form: sparse ``hr.dat`` and ``overlap.dat``, and a ``wt.in`` that names them.

As WannierTools reads them with ``Is_Sparse_Hr = T`` and ``Orthogonal_Basis = F``: a comment, the number of lines, the number of orbitals,
then ``R1 R2 R3 i j Re Im`` for each element.
"""

from pathlib import Path

import numpy as np

from deeph.physics.conventions import shell_order
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.export.layout import Elements, elements, sound, with_spin
from postprocess.export.wannier90 import write_elements

AT_A_TIME = 2**18
"""Lines made in memory at once."""
NAMES = {
    0: ("s",),
    1: ("py", "pz", "px"),
    2: ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
    3: ("fy3x2", "fxyz", "fyz2", "fz3", "fxz2", "fzx2", "fx3"),
}
"""Of the orbitals m = -l..l, as WannierTools spells them."""


def write(folder: Path, h: Hamiltonian) -> None:
    """Write the three files into a folder that exists; spinors all up, then all down."""
    h = sound(h)
    for name, blocks in (("hr", h.hamiltonian), ("overlap", with_spin(h, h.S))):
        _write_sparse(
            folder / f"{name}.dat", f"{h.system.formula}, {'H in eV' if name == 'hr' else 'S'}", elements(h, blocks, "wanniertools"), h
        )
    (folder / "wt.in").write_text(_input(h), encoding="utf-8")


def _write_sparse(path: Path, title: str, found: Elements, h: Hamiltonian) -> None:
    """Elements that are not zero."""
    kept = np.flatnonzero(found.values[0])
    R = found.R[found.cell]
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{title}: lines, orbitals, then R1 R2 R3 i j Re Im of <i, 0 | M | j, R>\n{len(kept)}\n{h.n_orbitals}\n")
        for start in range(0, len(kept), AT_A_TIME):
            some = kept[start : start + AT_A_TIME]
            write_elements(file, [*R[some].T, found.row[some] + 1, found.column[some] + 1], [found.values[0, some]])


def _input(h: Hamiltonian) -> str:
    """The system and its files; what is to be computed is added by the user."""
    names = {z: [_names(l)[m] for l in shells for m in _positions(l)] for z, shells in h.basis.shells.items()}
    atoms = list(zip(h.system.symbols, h.system.numbers.tolist(), h.system.positions, strict=True))
    spinor = h.basis.spin == "spinor"
    electrons = 0 if h.n_electrons is None else round(h.n_electrons / (1 if spinor else 2))
    cards: dict[str, list[str]] = {
        "&TB_FILE": ["Hrfile = 'hr.dat'", "Overlapfile = 'overlap.dat'", "Is_Sparse_Hr = T", "Orthogonal_Basis = F", "/"],
        "&SYSTEM": [f"SOC = {int(spinor)}", f"E_FERMI = {h.fermi_energy or 0.0:.9f}  ! eV", f"NumOccupied = {electrons}", "/"],
        "LATTICE": ["Angstrom", *(_row(vector) for vector in h.system.cell)],
        "ATOM_POSITIONS": [str(len(atoms)), "Cartesian", *(f"{symbol} {_row(place)}" for symbol, _, place in atoms)],
        "PROJECTORS": [" ".join(str(len(names[z])) for _, z, _ in atoms), *(f"{symbol} {' '.join(names[z])}" for symbol, z, _ in atoms)],
    }
    return "\n".join("\n".join([card, *lines, ""]) for card, lines in cards.items())


def _row(numbers: FloatArray) -> str:
    return " ".join(f"{x:.12f}" for x in numbers)


def _names(l: int) -> tuple[str, ...]:
    """Of the orbitals m = -l..l; WannierTools has none beyond f."""
    return NAMES.get(l) or tuple(f"l{l}m{m}" for m in range(-l, l + 1))


def _positions(l: int) -> list[int]:
    """Place of each of their orbitals among ours."""
    return [int(m) for m in np.argsort(shell_order("wannier90", l))]
