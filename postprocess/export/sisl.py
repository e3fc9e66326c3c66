"""sisl: a ``sisl.Hamiltonian`` with its overlap, and the files that sisl writes, which TBtrans reads (``.TSHS``, ``.nc``)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeph.physics.conventions import TARGETS, shell_order
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import pair_vectors
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import UsageError
from postprocess.export.layout import Array, elements, sound

SUFFIXES = (".TSHS", ".HSX", ".nc")
"""Files of SIESTA that sisl writes with H and S."""


def make(h: Hamiltonian) -> Any:
    """A ``sisl.Hamiltonian``: every spin as it is, S kept; orbitals of SIESTA's order and signs, radii but no radial functions."""
    import sisl
    from scipy.sparse import csr_matrix

    h = sound(h)
    spin = {"none": "unpolarized", "collinear": "polarized", "spinor": "spin-orbit"}[h.basis.spin]
    S = elements(_without_spin(h), h.S, "sisl")
    reach = 2 * np.abs(S.R).max(axis=0) + 1
    geometry = sisl.Geometry(h.system.positions, _atoms(h, sisl), lattice=sisl.Lattice(h.system.cell, nsc=reach.tolist()))
    n = int(h.basis.n_orbitals(h.system.numbers).sum())
    columns = n * np.array([geometry.lattice.sc_index(cell) for cell in S.R.tolist()])[S.cell] + S.column
    parts = [*_spin_parts(h), S.values[0]]
    matrices = [csr_matrix((part, (S.row, columns)), shape=(n, n * geometry.n_s)) for part in parts]
    return sisl.Hamiltonian.fromsp(geometry, matrices[:-1], S=matrices[-1], spin=sisl.Spin(spin))


def write(path: Path, h: Hamiltonian) -> None:
    """Write a file whose suffix says what it is.

    Raises
    ------
    UsageError
        If the suffix is none of :data:`SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"output without a known suffix: expected a name that ends in {', '.join(SUFFIXES)}, files with H and S that sisl writes"
        )
    make(h).write(str(path))


def _without_spin(h: Hamiltonian) -> Hamiltonian:
    """The structure with the orbitals of S."""
    return replace(h, basis=replace(h.basis, spin="none"), H=None, extra={}, error_bars=None)


def _spin_parts(h: Hamiltonian) -> list[Array]:
    """The elements of H on those of S, in the parts of sisl: of spinors Re uu, Re dd, Re ud, Im ud, Im uu, Im dd, Re du, Im du."""
    H = h.hamiltonian
    plain = _without_spin(h)
    if h.basis.spin != "spinor":
        return list(elements(plain, H, "sisl").values)

    def part(up: int, down: int) -> Array:
        one = H.mapped(lambda b, _: b.reshape(1, b.shape[1], 2, b.shape[2] // 2, 2, b.shape[3] // 2)[:, :, up, :, down, :])
        return np.asarray(elements(plain, one, "sisl").values[0])

    uu, ud, du, dd = part(0, 0), part(0, 1), part(1, 0), part(1, 1)
    return [uu.real, dd.real, ud.real, ud.imag, uu.imag, dd.imag, du.real, du.imag]


def _atoms(h: Hamiltonian, sisl: Any) -> list[Any]:
    """One ``sisl.Atom`` each; the radius of an element is half the largest distance over which its orbitals have blocks with themselves."""
    distances = np.linalg.norm(pair_vectors(h.system, h.S.pairs), axis=1)
    made = {}
    for z, shells in h.basis.shells.items():
        mine = (h.system.numbers[h.S.pairs[:, 3:]] == z).any(axis=1)
        radius = float(distances[mine].max(initial=0.0)) / 2 + 1e-3
        orbitals, seen = [], dict.fromkeys(shells, 0)
        for l in shells:
            seen[l] += 1
            ours = np.arange(-l, l + 1)[np.argsort(shell_order(TARGETS["sisl"].order, l))]
            orbitals += [sisl.AtomicOrbital(n=l + seen[l], l=l, m=int(m), zeta=1, R=radius) for m in ours]
        made[z] = sisl.Atom(SYMBOLS[z], orbitals)
    return [made[z] for z in h.system.numbers.tolist()]
