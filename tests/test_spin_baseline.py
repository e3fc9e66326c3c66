"""What the baseline makes of the parts of H with spin: the coupling of free atoms, exchange fields along moments, two-centre functions."""

from dataclasses import replace

import numpy as np
import pytest
from harmonics import rotation_of_atom
from scipy.spatial.transform import Rotation
from spin_case import KINDS, SPIN_TINY, make_spin_structure, part_sizes, predict

from deeph.nn.fit import fit_model
from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.training.evaluate import baseline_alone

XI = {6: {(2, 2): 0.3}, 14: {(0, 0): 0.5, (2, 2): 0.2}}
"""Spin-orbit coupling (eV) of the shells of carbon, s s p, and silicon, p s d."""
FIELD = {6: -0.4, 14: 0.0}
"""eV for each Bohr magneton of an atom's own moment, the same for all its orbitals."""


def generators(shells: tuple[int, ...]) -> np.ndarray:
    """(3, n_orb, n_orb) change of the orbitals as a rotation about x, y, z begins: -i L."""
    step = 1e-4
    turns = [[rotation_of_atom(Rotation.from_rotvec(s * step * e).as_matrix(), shells) for s in (1, -1)] for e in np.eye(3)]
    return np.array([(there - back) / (2 * step) for there, back in turns])


def free_atom(structure: Hamiltonian, atom: int) -> dict[str, np.ndarray]:
    """Parts B and A of the on-site block: xi L.S, and a field along the moment."""
    z = int(structure.system.numbers[atom])
    shells = structure.basis.shells[z]
    ell, start = generators(shells), np.concatenate([[0], np.cumsum([2 * l + 1 for l in shells])])
    B = np.zeros_like(ell)
    for (a, b), xi in XI[z].items():
        block = slice(start[a], start[a + 1]), slice(start[b], start[b + 1])
        B[(slice(None), *block)] = xi / 2 * ell[(slice(None), *block)]
    assert structure.moments is not None
    return {"B": B, "A": FIELD[z] * structure.moments[atom][:, None, None] * np.eye(len(ell[0]))}


def with_free_atoms(structure: Hamiltonian) -> Hamiltonian:
    """The structure with these parts on its atoms."""

    def change(blocks: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        parts = split_spin(blocks, "spinor")
        for n in np.flatnonzero(is_onsite(pairs)).tolist():
            parts["B0"][n] = 0
            parts["A"][n], parts["B"][n] = (free_atom(structure, pairs[n, 3])[name] for name in ("A", "B"))
        return join_spin(parts, "spinor")

    return replace(structure, H=structure.hamiltonian.mapped(change))


def of_sizes(kind: str, seed: int) -> Hamiltonian:
    """With moments of different sizes."""
    structure = make_spin_structure(kind, seed)
    if structure.moments is None:
        return structure
    return replace(structure, moments=structure.moments * np.array([[0.6], [1.0], [1.4], [1.0]]))


def alone(model: HamiltonianModel, structure: Hamiltonian) -> Hamiltonian:
    """The structure with the H of the baseline."""
    return replace(structure, H=predict(baseline_alone(model).double(), structure))


def test_free_atoms_are_known() -> None:
    """Xi L.S and the field of the atom's own moment are the on-site mean: at other places and with other moments as well."""
    model = fit_model(SPIN_TINY, [with_free_atoms(of_sizes("magnetic", seed)) for seed in range(3)]).double()
    expected = with_free_atoms(make_spin_structure("magnetic", 9))
    moments = 1.5 * expected.moments
    expected = with_free_atoms(replace(expected, moments=moments))
    found = predict(baseline_alone(model), expected)
    own = np.flatnonzero(is_onsite(expected.S.pairs))
    for n in own:
        parts, wanted = (split_spin(blocks.take(np.array([n])), "spinor") for blocks in (found, expected.hamiltonian))
        for name in ("A", "B", "B0"):
            assert parts[name] == pytest.approx(wanted[name], abs=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_centres_are_known(kind: str) -> None:
    """H that is a baseline itself, with the moments of both ends in the exchange field, is found again, also with other moments."""
    structures = [of_sizes(kind, seed) for seed in range(8)]
    first = fit_model(SPIN_TINY, structures)
    second = fit_model(SPIN_TINY, [alone(first, one) for one in structures])
    other = structures[0]
    if other.moments is not None:
        order = np.array([2, 1, 0, 3])  # the moments of the two carbon atoms exchanged, and one turned over
        other = replace(other, moments=other.moments[order] * np.array([[-1], [1], [1], [1]]))
    found, expected = alone(second, other).hamiltonian, alone(first, other).hamiltonian
    sizes, errors = (part_sizes(blocks, KINDS[kind][0]) for blocks in (expected, replace(found, entries=found.entries - expected.entries)))
    for name in set(KINDS[kind][1]) - {"B0"}:
        assert errors[name] < 1e-2 * sizes[name], (name, errors[name], sizes[name])
        assert sizes[name] > 1e-3
