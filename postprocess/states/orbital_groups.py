"""Mulliken shares of states in groups of orbitals: elements, shells, atoms, layers, spins, or chosen atoms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import conjugate_at_minus_k
from postprocess.lattice.mesh import Symmetry
from postprocess.states.layers import find_layers
from postprocess.states.states import atom_of_orbital, spin_of_orbital

Array = npt.NDArray[Any]
KINDS = ("element", "shell", "atom", "layer", "spin")
SHELL_LETTERS = "spdfghi"


@dataclass(frozen=True)
class Projections:
    """Groups of orbitals, each with a name; an orbital may be in several groups.

    Attributes
    ----------
    names : tuple of str
        Of the groups, e.g. ``("Mo", "Te", "Mo s", ...)``.
    groups : (n_groups, n_orbitals) bool array
        Rows of H(k) in each group.
    """

    names: tuple[str, ...] = ()
    groups: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))

    def shares(self, C: Array, SC: Array) -> FloatArray:
        """(m, n_groups) Mulliken shares Re sum_a C_a^* (S C)_a of m states in columns (doi:10.1063/1.1740588)."""
        return np.asarray((C.conj() * SC).real.T @ self.groups.T.astype(float))


def make_projections(hamiltonian: Hamiltonian, kinds: Sequence[str] = (), atoms: Mapping[str, Sequence[int]] | None = None) -> Projections:
    """Groups for a structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H.
    kinds : sequence of str
        Any of :data:`KINDS`: all elements, all shells of each element by l, every atom, the layers of a slab (bottom
        first), both spins of spinors.
    atoms : mapping of str to sequence of int, optional
        Named groups of atoms, counted from 0.

    Raises
    ------
    UsageError
        For an unknown kind, an atom that is not there, or spins of a Hamiltonian that has one H for each.
    """
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"projection {wrong[0]!r}: expected some of {', '.join(KINDS)}, or a named group of atoms such as tip=1,4-6")
    system, basis = hamiltonian.system, hamiltonian.basis
    atom, spin = atom_of_orbital(hamiltonian), spin_of_orbital(hamiltonian)
    l_of = {z: np.concatenate([np.full(2 * l + 1, l) for l in ls]) for z, ls in basis.shells.items()}
    l = np.concatenate([np.tile(l_of[z], basis.spin_factor) for z in system.numbers.tolist()])
    found: dict[str, npt.NDArray[np.bool_]] = {}
    symbol = np.array(system.symbols)[atom]
    elements = list(dict.fromkeys(system.symbols))
    if "element" in kinds:
        found |= {s: symbol == s for s in elements}
    if "shell" in kinds:
        shells = [(s, n) for s in elements for n in sorted(set(basis.to_symbols()[s]))]
        found |= {f"{s} {SHELL_LETTERS[n]}": (symbol == s) & (l == n) for s, n in shells}
    if "layer" in kinds:
        layer = find_layers(system)
        found |= {f"layer {n + 1}": layer[atom] == n for n in range(layer.max() + 1)}
    if "spin" in kinds:
        if basis.spin != "spinor":
            raise UsageError(f"projection 'spin': H has spin '{basis.spin}'; collinear spins are always given apart, others are equal")
        found |= {"up": spin == 0, "down": spin == 1}
    if "atom" in kinds:
        found |= {f"{s}{n + 1}": atom == n for n, s in enumerate(system.symbols)}
    for name, members in (atoms or {}).items():
        if not len(members) or min(members) < 0 or max(members) >= system.n_atoms:
            seen = ", ".join(str(n + 1) for n in members) or "none"
            raise UsageError(f"group {name!r} of atoms {seen}: expected numbers from 1 to {system.n_atoms}")
        found[name] = np.isin(atom, list(members))
    return Projections(tuple(found), np.array(list(found.values()), bool).reshape(len(found), len(atom)))


def usable_symmetry(hamiltonian: Hamiltonian, projections: Projections) -> Symmetry:
    """Which symmetries of the levels leave the shares unchanged: none may exchange orbitals of different groups.

    Time reversal keeps the shares of groups without spin; other operations keep those of whole elements and shells only.
    """
    system, basis = hamiltonian.system, hamiltonian.basis
    whole = {*system.symbols, *(f"{s} {SHELL_LETTERS[n]}" for s, ls in basis.to_symbols().items() for n in ls)}
    if whole.issuperset(projections.names):
        return "all"
    return "reversal" if conjugate_at_minus_k(hamiltonian) else "none"
