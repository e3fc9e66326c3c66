"""The coupling xi L.S of free atoms, fitted to the spin-orbit parts on the atoms of a training set: an answer that takes no network."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from deeph import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.rotations import shell_rotation
from deeph.physics.spin_parts import join_spin, split_spin

Array = npt.NDArray[np.float64]
Coupling = dict[int, Array]
"""(n_shells, n_shells) xi in eV of each atomic number; of shells with the same l."""
STEP = 1e-4


@cache
def generators(l: int) -> Array:
    """(3, 2l+1, 2l+1) real matrices of -i L_a: the change of the harmonics as a rotation about x, y, z begins."""
    turns = Rotation.from_rotvec(STEP * np.eye(3))
    forward, back = (shell_rotation(l, R.as_matrix()) for R in (turns, turns.inv()))
    return np.asarray((forward - back) / (2 * STEP))


def fit_coupling(structures: Iterable[Hamiltonian]) -> Coupling:
    """Mean over all atoms of an element of the best xi, B_a = xi/2 (-i L_a)."""
    found: dict[int, list[Array]] = {}
    for h in structures:
        own = np.flatnonzero(is_onsite(h.hamiltonian.pairs))
        for pair in own.tolist():
            z = int(h.system.numbers[h.hamiltonian.pairs[pair, 3]])
            B = split_spin(h.hamiltonian.take(np.array([pair])), "spinor")["B"][0]
            xi = np.zeros((len(h.basis.shells[z]),) * 2)
            for a, b, rows, columns in coupled_shells(h.basis.shells[z]):
                ell = generators(h.basis.shells[z][a])
                xi[a, b] = 2 * (B[:, rows, columns] * ell).sum() / (ell * ell).sum()
            found.setdefault(z, []).append(xi)
    return {z: np.mean(each, axis=0) for z, each in found.items()}


def coupled_shells(shells: tuple[int, ...]) -> list[tuple[int, int, slice, slice]]:
    """Pairs of shells with the same l > 0, and their orbitals."""
    starts = np.concatenate([[0], np.cumsum([2 * l + 1 for l in shells])]).tolist()
    places = [slice(starts[n], starts[n + 1]) for n in range(len(shells))]
    same = [(a, b) for a, la in enumerate(shells) for b, lb in enumerate(shells) if la == lb > 0]
    return [(a, b, places[a], places[b]) for a, b in same]


def with_coupling(h: Hamiltonian, coupling: Coupling) -> Hamiltonian:
    """H with xi L.S in the place of its spin-orbit part: the same on all atoms of an element, nothing between them."""

    def change(blocks: npt.NDArray[np.complex128], pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.complex128]:
        parts = split_spin(blocks, "spinor")
        parts["B"] = np.zeros_like(parts["B"])
        for n in np.flatnonzero(is_onsite(pairs)).tolist():
            z = int(h.system.numbers[pairs[n, 3]])
            for a, b, rows, columns in coupled_shells(h.basis.shells[z]):
                parts["B"][n, :, rows, columns] = coupling[z][a, b] / 2 * generators(h.basis.shells[z][a])
        return join_spin(parts, "spinor")

    return replace(h, H=h.hamiltonian.mapped(change))
