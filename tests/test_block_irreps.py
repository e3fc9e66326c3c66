"""Blocks as irreducible coefficients: orthogonal, with the right charges, and exchanged as the transpose."""

from pathlib import Path

import numpy as np
import pytest
import torch
from harmonics import rotation_of_atom, rotation_of_shell
from network_case import random_rotation
from openmx_files import unpack_run

from deeph.nn.frames import bond_rotation, orbital_matrix, wigner_matrices
from deeph.nn.irreps import BlockIrreps
from deeph.nn.tables import AtomTable, PairTable
from deeph.physics.pairs import is_onsite, pair_vectors
from preprocess.readers import openmx

SHELLS_I, SHELLS_J = (0, 0, 1, 2), (1, 0, 2, 3)
LS = [(a, b) for a in range(4) for b in range(4)]


def about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize(("l1", "l2"), LS)
def test_combinations_are_orthonormal(l1: int, l2: int) -> None:
    M = BlockIrreps(l1, l2).matrix()
    assert np.abs(M @ M.T - np.eye((2 * l1 + 1) * (2 * l2 + 1))).max() < 1e-14


@pytest.mark.parametrize(("l1", "l2"), LS)
def test_combinations_carry_their_charge(l1: int, l2: int) -> None:
    """A turn about the bond rotates the components of a slot by m times the angle; the mirror y -> -y changes the sign of the second."""
    block, angle = BlockIrreps(l1, l2), 0.7
    M, mirror = block.matrix(), np.diag([1.0, -1.0, 1.0])

    def action(Q: np.ndarray) -> np.ndarray:
        return M @ np.kron(rotation_of_shell(Q, l1), rotation_of_shell(Q, l2)) @ M.T

    same_slot = block.slot[:, None] == block.slot
    m = np.maximum(block.sector - 1, 0)
    later = block.component[:, None] - block.component  # +1: from cos to sin
    expected = np.where(later == 0, np.cos(m * angle), later * np.sin(m * angle)) * same_slot
    assert np.abs(action(about_z(angle)) - expected).max() < 1e-12
    sign = np.where((block.sector == 1) | (block.component == 1), -1.0, 1.0)
    assert np.abs(action(mirror) - np.diag(sign)).max() < 1e-12


@pytest.mark.parametrize(("l1", "l2"), LS)
def test_exchange_of_the_ends_within_a_block(l1: int, l2: int) -> None:
    """Seen from the other end the block is transposed and turned by pi: x -> x, z -> -z."""
    block, other = BlockIrreps(l1, l2), BlockIrreps(l2, l1)
    values = np.random.default_rng(0).normal(size=(2 * l1 + 1, 2 * l2 + 1))
    mirror = np.diag([1.0, 1.0, -1.0])
    seen = rotation_of_shell(mirror, l2) @ values.T @ rotation_of_shell(mirror, l1).T
    index, sign = block.transposed
    assert np.abs(block.matrix() @ values.ravel() - sign * (other.matrix() @ seen.ravel())[index]).max() < 1e-12


def test_pair_table_round_trip_and_norm() -> None:
    table = PairTable(SHELLS_I, SHELLS_J)
    blocks = torch.randn(5, table.n_i, table.n_j, dtype=torch.float64)
    c = table.to_coefficients(blocks)
    assert torch.allclose(table.to_blocks(c), blocks, atol=1e-14)
    assert torch.allclose(c.norm(dim=1), blocks.flatten(1).norm(dim=1))


def test_pair_table_exchange() -> None:
    """Coefficients of H_ji in the frame of j-i from those of H_ij, through real rotations."""
    table, back = PairTable(SHELLS_I, SHELLS_J), PairTable(SHELLS_J, SHELLS_I)
    block = torch.randn(1, table.n_i, table.n_j, dtype=torch.float64)
    direction = torch.tensor([[0.3, -0.5, 0.8]], dtype=torch.float64)
    direction = direction / direction.norm()

    def frame(n: torch.Tensor, shells: tuple[int, ...]) -> torch.Tensor:
        return orbital_matrix(wigner_matrices(bond_rotation(n), 3), shells)

    forth = table.to_coefficients(frame(direction, SHELLS_I) @ block @ frame(direction, SHELLS_J).transpose(1, 2))
    # the roll of the two frames must fit: z -> -z leaves x and y of the first frame, so mirror it
    mirror = torch.as_tensor(np.diag([1.0, 1.0, -1.0]))
    left, right = (torch.as_tensor(rotation_of_atom(mirror.numpy(), shells)) for shells in (SHELLS_J, SHELLS_I))
    local = table.to_blocks(forth).transpose(1, 2)
    expected = back.to_coefficients(left @ local @ right.T)
    assert torch.allclose(forth * torch.as_tensor(table.exchange_sign), expected[:, table.exchanged], atol=1e-12)


def test_keys_group_equal_orders() -> None:
    table = PairTable((0, 1), (1, 2))
    counts = np.bincount(table.key)
    assert counts.sum() == table.size == 4 * 8
    assert set(counts) <= {1, 2, 4}  # (0,0), (0,m), (m1,m2)


def test_atom_table() -> None:
    table = AtomTable((0, 1, 1, 2))
    identity = torch.eye(table.size, dtype=torch.float64)
    assert torch.allclose(table.matrix @ table.matrix.T, identity, atol=1e-13)
    assert torch.allclose(table.symmetrizer @ table.symmetrizer, table.symmetrizer, atol=1e-13)
    blocks = torch.randn(3, table.n, table.n, dtype=torch.float64)
    symmetric = table.to_blocks(table.to_coefficients(blocks) @ table.symmetrizer)
    assert torch.allclose(symmetric, (blocks + blocks.transpose(1, 2)) / 2, atol=1e-13)


def test_atom_table_coefficients_rotate_as_L() -> None:
    shells, Q = (0, 1, 2), random_rotation(3)
    table, D = AtomTable(shells), torch.as_tensor(rotation_of_atom(Q, shells))
    blocks = torch.randn(2, table.n, table.n, dtype=torch.float64)
    before, after = table.to_coefficients(blocks), table.to_coefficients(D @ blocks @ D.T)
    D_L = wigner_matrices(torch.as_tensor(Q)[None], 4)
    for _, _, L, start in table.paths:
        rows = slice(start, start + 2 * L + 1)
        assert torch.allclose(before[:, rows] @ D_L[L][0].T, after[:, rows], atol=1e-12)


def test_overlaps_of_openmx_couple_only_equal_m(tmp_path: Path) -> None:
    """S is a two-centre matrix: in the frame of a bond only Sigma+ coefficients are left, and m and -m agree."""
    data = openmx.read(unpack_run("mini_graphene", tmp_path))
    off = np.flatnonzero(~is_onsite(data.S.pairs))
    v = torch.as_tensor(pair_vectors(data.system, data.S.pairs[off]))
    shells = data.basis.shells[6]
    D = orbital_matrix(wigner_matrices(bond_rotation(v / v.norm(dim=1, keepdim=True)), 2), shells)
    table = PairTable(shells, shells)
    for matrix, limit in ((data.S, 1e-6), (data.hamiltonian, None)):
        c = table.to_coefficients(D @ torch.as_tensor(matrix.take(off)[0]) @ D.transpose(1, 2)).numpy()
        inside, outside = np.abs(c[:, table.sector == 0]).max(), np.abs(c[:, table.sector != 0]).max()
        assert inside > 0.1
        if limit is not None:
            assert outside < limit * inside
        else:
            assert outside > 0.01  # eV: H is not, and an order of orbitals that is wrong would show here
