"""Rotations of orbitals and spins against Cartesian formulas, and as representations of the group."""

import numpy as np
import pytest
from harmonics import rotation_of_atom, rotation_of_shell
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deeph.physics.rotations import atom_rotation, bond_rotations, shell_rotation, spin_rotation

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
seeds = st.integers(0, 10**6)


def orthogonal(seed: int) -> np.ndarray:
    """A random rotation, every other one improper."""
    return Rotation.random(random_state=seed).as_matrix() * (-1) ** seed


@given(seeds)
def test_shells_turn_as_their_formulas(seed):
    Q = orthogonal(seed)
    for l in range(4):
        np.testing.assert_allclose(shell_rotation(l, Q), rotation_of_shell(Q, l), atol=1e-10)
    np.testing.assert_allclose(atom_rotation((0, 1, 1, 2), Q), rotation_of_atom(Q, (0, 1, 1, 2)), atol=1e-10)


@given(seeds, seeds, st.integers(0, 6))
def test_products_and_orthogonality(one, other, l):
    A, B = orthogonal(one), orthogonal(other)
    both = shell_rotation(l, np.stack([A, B, A @ B]))
    np.testing.assert_allclose(both[0] @ both[1], both[2], atol=1e-11)
    np.testing.assert_allclose(both @ both.swapaxes(-1, -2), np.broadcast_to(np.eye(2 * l + 1), both.shape), atol=1e-11)


@given(seeds)
def test_spins_turn_as_axial_vectors(seed):
    Q = orthogonal(seed)
    U = spin_rotation(Q)
    m = np.random.default_rng(seed).normal(size=3)
    turned = np.einsum("a,ast->st", np.linalg.det(Q) * Q @ m, PAULI)
    np.testing.assert_allclose(U @ np.einsum("a,ast->st", m, PAULI) @ U.conj().T, turned, atol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_bonds_turn_to_z(scale):
    vectors = scale * np.concatenate([np.eye(3), -np.eye(3), np.random.default_rng(0).normal(size=(20, 3))])
    Q = bond_rotations(vectors)
    np.testing.assert_allclose(np.linalg.det(Q), 1.0)
    np.testing.assert_allclose(np.einsum("nab,nb->na", Q, vectors)[:, :2], 0, atol=1e-12)
