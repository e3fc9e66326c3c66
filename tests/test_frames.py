"""Frames of bonds and rotations of harmonics, against e3nn and against Cartesian formulas."""

import numpy as np
import pytest
import torch
from harmonics import rotation_of_shell
from hypothesis import given
from hypothesis import strategies as st
from network_case import random_rotation, rolled_rotation

from deeph.nn.frames import bond_rotation, frame_matrix, orbital_matrix, wigner_matrices
from deeph.nn.irreps import bond_rows, clebsch_gordan, inversion_sign

AXES = np.concatenate([np.eye(3), -np.eye(3)])
NEAR_AXES = np.concatenate([AXES + shift for shift in (1e-4, 1e-8, 1e-12, -1e-4, -1e-8, -1e-12)])
DIRECTIONS = torch.as_tensor(np.concatenate([AXES, NEAR_AXES, np.random.default_rng(0).normal(size=(200, 3))]))
DIRECTIONS = DIRECTIONS / DIRECTIONS.norm(dim=1, keepdim=True)
Z = torch.tensor([0.0, 0, 1], dtype=torch.float64)


def assert_frames(Q: torch.Tensor, directions: torch.Tensor, tolerance: float) -> None:
    assert (Q @ Q.transpose(1, 2) - torch.eye(3, dtype=Q.dtype)).abs().max() < tolerance
    assert (torch.linalg.det(Q) - 1).abs().max() < tolerance
    assert ((Q @ directions[..., None])[..., 0] - Z.to(Q)).abs().max() < tolerance


@pytest.mark.parametrize("rotation", [bond_rotation, rolled_rotation])
def test_frames_are_proper_rotations_to_z(rotation) -> None:
    assert_frames(rotation(DIRECTIONS), DIRECTIONS, 1e-14)
    assert_frames(rotation(DIRECTIONS.float()), DIRECTIONS.float(), 1e-6)


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: sum(x * x for x in v) > 1e-3))
def test_frame_of_any_direction(vector) -> None:
    direction = torch.tensor([vector], dtype=torch.float64)
    direction = direction / direction.norm()
    assert_frames(bond_rotation(direction), direction, 1e-14)


def test_rotations_of_harmonics_against_e3nn() -> None:
    """Its polar axis is y, so that its (y, z, x) are our (x, y, z); its generators of rotations have seven digits."""
    from e3nn.o3 import Irrep, angles_to_matrix

    angles = [torch.as_tensor(x) for x in np.random.default_rng(0).uniform(0, np.pi, size=(3, 20))]
    axes = [2, 0, 1]
    Q = angles_to_matrix(*angles)[:, axes][:, :, axes]
    for l, D in enumerate(wigner_matrices(Q, 6)):
        assert (D - Irrep(l, 1).D_from_angles(*angles)).abs().max() < 1e-5, l


@pytest.mark.parametrize("l", range(4))
def test_rotations_of_harmonics_against_formulas(l: int) -> None:
    Q = bond_rotation(DIRECTIONS[:20])
    expected = np.stack([rotation_of_shell(q, l) for q in Q.numpy()])
    assert np.abs(wigner_matrices(Q, 3)[l].numpy() - expected).max() < 1e-12


def test_rotations_compose_and_stay_orthogonal() -> None:
    A, B = (torch.as_tensor(np.stack([random_rotation(seed + shift) for seed in range(10)])) for shift in (0, 100))
    for l, (a, b, ab) in enumerate(zip(wigner_matrices(A, 8), wigner_matrices(B, 8), wigner_matrices(A @ B, 8), strict=True)):
        assert (a @ b - ab).abs().max() < 1e-12, l
        assert (ab @ ab.transpose(1, 2) - torch.eye(2 * l + 1)).abs().max() < 1e-12, l


def test_single_precision_is_enough() -> None:
    exact = wigner_matrices(bond_rotation(DIRECTIONS), 4)
    for D, single in zip(exact, wigner_matrices(bond_rotation(DIRECTIONS.float()), 4), strict=True):
        assert (D - single).abs().max() < 2e-6


def test_frame_matrix_groups_by_order() -> None:
    """Rows (m = 0), then cos and sin of m = 1, ...: a turn about the bond mixes only the two runs of each m > 0."""
    l_max, angle = 4, 0.3
    c, s = np.cos(angle), np.sin(angle)
    D = wigner_matrices(torch.tensor([[[c, -s, 0], [s, c, 0], [0, 0, 1]]], dtype=torch.float64), l_max)
    order = torch.as_tensor(bond_rows(l_max))
    turn = frame_matrix(D)[0][:, order].numpy()
    expected, start = np.zeros((25, 25)), l_max + 1
    expected[:start, :start] = np.eye(start)
    for m in range(1, l_max + 1):
        n = l_max + 1 - m
        cos, sin = slice(start, start + n), slice(start + n, start + 2 * n)
        expected[cos, cos] = expected[sin, sin] = np.cos(m * angle) * np.eye(n)
        expected[sin, cos], expected[cos, sin] = np.sin(m * angle) * np.eye(n), -np.sin(m * angle) * np.eye(n)
        start += 2 * n
    assert np.abs(turn - expected).max() < 1e-14


def test_the_mirror_across_the_bond_is_the_inversion_and_a_half_turn() -> None:
    """The map z -> -z on harmonics of natural parity: (-1)^l and, in the rows of m, (-1)^m."""
    mirror = np.diag([1.0, 1.0, -1.0])
    full = np.concatenate([np.diag(rotation_of_shell(mirror, l)) for l in range(4)])
    m = np.concatenate([np.arange(-l, l + 1) for l in range(4)])
    assert np.allclose(inversion_sign(3) * (-1.0) ** m, full, atol=1e-12)


def test_orbitals_of_an_atom() -> None:
    D = wigner_matrices(torch.as_tensor(random_rotation(1))[None], 2)
    full = orbital_matrix(D, (0, 1, 1, 2))
    expected = torch.block_diag(D[0][0], D[1][0], D[1][0], D[2][0])
    assert torch.equal(full[0], expected)


def test_couplings_rotate() -> None:
    """C D1 D2 = D3 C is the defining property, and their columns are orthonormal."""
    D = [d[0].numpy() for d in wigner_matrices(torch.as_tensor(random_rotation(2))[None], 4)]
    for a, b in [(1, 1), (1, 2), (2, 2)]:
        for c in range(abs(a - b), a + b + 1):
            C = clebsch_gordan(a, b, c)
            assert np.abs(np.einsum("xa,yb,abz->xyz", D[a], D[b], C) - np.einsum("xyw,wz->xyz", C, D[c])).max() < 1e-12
            assert np.abs(np.einsum("xyz,xyw->zw", C, C) - np.eye(2 * c + 1)).max() < 1e-12
