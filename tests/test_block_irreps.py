"""Blocks as irreducible coefficients: orthogonal, with the right charges, and exchanged as the transpose."""

from pathlib import Path

import numpy as np
import pytest
import torch
from harmonics import rotation_of_atom, rotation_of_shell
from network_case import random_rotation
from openmx_files import unpack_run

from deeph.nn.frames import bond_matrices, bond_rotation, into_frame, orbital_matrix, spin_axes, wigner_matrices
from deeph.nn.irreps import BlockIrreps
from deeph.nn.tables import AtomTable, PairTable
from deeph.physics.pairs import is_onsite, pair_vectors
from preprocess.readers import openmx

SHELLS_I, SHELLS_J = (0, 0, 1, 2), (1, 0, 2, 3)
LS = [(a, b) for a in range(4) for b in range(4)]
MIRROR = np.diag([1.0, 1.0, -1.0])
KINDS = pytest.mark.parametrize(("spin", "antisymmetric"), [(False, False), (False, True), (True, False), (True, True)])
SPIN = pytest.mark.parametrize("spin", [False, True])


def axial(Q: np.ndarray, *, spin: bool) -> np.ndarray:
    """What a rotation or mirror makes of the Pauli matrices x, y, z, an axial vector; 1 where there are none."""
    return np.linalg.det(Q) * Q if spin else np.eye(1)


def about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@SPIN
@pytest.mark.parametrize(("l1", "l2"), LS)
def test_combinations_are_orthonormal(l1: int, l2: int, spin: bool) -> None:
    M = BlockIrreps(l1, l2, spin=spin).matrix
    assert np.abs(M @ M.T - np.eye((2 * l1 + 1) * (2 * l2 + 1) * (3 if spin else 1))).max() < 1e-14


@SPIN
@pytest.mark.parametrize(("l1", "l2"), LS)
def test_combinations_carry_their_charge(l1: int, l2: int, spin: bool) -> None:
    """A turn about the bond rotates the components of a slot by m times the angle; the mirror y -> -y changes the sign of the second."""
    block, angle = BlockIrreps(l1, l2, spin=spin), 0.7
    M, mirror = block.matrix, np.diag([1.0, -1.0, 1.0])

    def action(Q: np.ndarray) -> np.ndarray:
        return M @ np.kron(np.kron(rotation_of_shell(Q, l1), rotation_of_shell(Q, l2)), axial(Q, spin=spin)) @ M.T

    same_slot = block.slot[:, None] == block.slot
    m = np.maximum(block.sector - 1, 0)
    later = block.component[:, None] - block.component  # +1: from cos to sin
    expected = np.where(later == 0, np.cos(m * angle), later * np.sin(m * angle)) * same_slot
    assert np.abs(action(about_z(angle)) - expected).max() < 1e-12
    sign = np.where((block.sector == 1) | (block.component == 1), -1.0, 1.0)
    assert np.abs(action(mirror) - np.diag(sign)).max() < 1e-12


@SPIN
@pytest.mark.parametrize(("l1", "l2"), LS)
def test_orders_are_those_of_the_elements(l1: int, l2: int, spin: bool) -> None:
    """Each combination is made of elements with its |m1|, |m2| and charge of the Pauli matrix alone, and that decides its scale."""
    block = BlockIrreps(l1, l2, spin=spin)
    orders = [np.abs(np.arange(2 * l + 1) - l) for l in (l1, l2)] + ([np.array([1, 1, 0])] if spin else [])
    elements = np.stack([x.ravel() for x in np.meshgrid(*orders, indexing="ij")], 1)
    row, column = np.nonzero(np.abs(block.matrix) > 1e-12)
    assert (block.orders[row] == elements[column]).all()


@KINDS
@pytest.mark.parametrize(("l1", "l2"), LS)
def test_exchange_of_the_ends_within_a_block(l1: int, l2: int, spin: bool, antisymmetric: bool) -> None:
    """Seen from the other end the block is transposed, with its sign, and mirrored: z -> -z, which reverses sigma_x and sigma_y."""
    block, other = (BlockIrreps(*ls, spin=spin, antisymmetric=antisymmetric) for ls in ((l1, l2), (l2, l1)))
    values = np.random.default_rng(0).normal(size=(2 * l1 + 1, 2 * l2 + 1, 3 if spin else 1))
    left, right = rotation_of_shell(MIRROR, l2), rotation_of_shell(MIRROR, l1)
    seen = (-1 if antisymmetric else 1) * np.einsum("ai,bj,st,jit->abs", left, right, axial(MIRROR, spin=spin), values)
    index, sign = block.transposed
    assert np.abs(block.matrix @ values.ravel() - sign * (other.matrix @ seen.ravel())[index]).max() < 1e-12


@KINDS
def test_pair_table_round_trip_and_norm(spin: bool, antisymmetric: bool) -> None:
    table = PairTable(SHELLS_I, SHELLS_J, spin=spin, antisymmetric=antisymmetric)
    blocks = torch.randn(5, 3 if spin else 1, table.n_i, table.n_j, dtype=torch.float64)
    c = table.to_coefficients(blocks)
    assert c.shape == (5, table.size) == (5, blocks[0].numel())
    assert torch.allclose(table.to_blocks(c), blocks, atol=1e-14)
    assert torch.allclose(c.norm(dim=1), blocks.flatten(1).norm(dim=1))


@KINDS
def test_pair_table_exchange(spin: bool, antisymmetric: bool) -> None:
    """Coefficients of H_ji in the frame of j-i from those of H_ij, through real rotations."""
    table, back = (PairTable(*s, spin=spin, antisymmetric=antisymmetric) for s in ((SHELLS_I, SHELLS_J), (SHELLS_J, SHELLS_I)))
    block = torch.randn(1, 3 if spin else 1, table.n_i, table.n_j, dtype=torch.float64)
    direction = torch.tensor([[0.3, -0.5, 0.8]], dtype=torch.float64)
    D = bond_matrices(direction, 3)
    turned = into_frame(block, D, SHELLS_I, SHELLS_J)
    forth = table.to_coefficients(torch.einsum("nab,nbij->naij", spin_axes(D), turned) if spin else turned)
    # the roll of the two frames must fit: z -> -z leaves x and y of the first frame, so mirror it
    left, right = (torch.as_tensor(rotation_of_atom(MIRROR, shells)) for shells in (SHELLS_J, SHELLS_I))
    local = (-1 if antisymmetric else 1) * left @ table.to_blocks(forth).transpose(2, 3) @ right.T
    expected = back.to_coefficients(torch.einsum("ab,nbij->naij", torch.as_tensor(axial(MIRROR, spin=spin)), local))
    assert torch.allclose(forth * torch.as_tensor(table.exchange_sign), expected[:, table.exchanged], atol=1e-12)


def test_keys_group_equal_orders() -> None:
    table = PairTable((0, 1), (1, 2))
    counts = np.bincount(table.key)
    assert counts.sum() == table.size == 4 * 8
    assert set(counts) <= {1, 2, 4}  # (0,0), (0,m), (m1,m2)


def test_keys_with_spin_tell_the_components_of_the_pauli_matrix_apart() -> None:
    """Sigma_z, and sigma_x with sigma_y, of each (a, b, |m1|, |m2|)."""
    plain, spin = PairTable((0, 1), (1, 2)), PairTable((0, 1), (1, 2), spin=True)
    counts = np.bincount(spin.key)
    assert len(counts) == 2 * len(np.bincount(plain.key))
    assert counts.sum() == spin.size == 3 * plain.size
    assert sorted(counts) == sorted([*np.bincount(plain.key), *(2 * np.bincount(plain.key))])


@KINDS
def test_atom_table(spin: bool, antisymmetric: bool) -> None:
    table = AtomTable((0, 1, 1, 2), spin=spin, antisymmetric=antisymmetric)
    identity = torch.eye(table.size, dtype=torch.float64)
    matrix, symmetrizer = table.to_blocks(identity).flatten(1), table.symmetrized(identity)
    assert torch.allclose(matrix @ matrix.T, identity, atol=1e-13)
    assert torch.allclose(symmetrizer @ symmetrizer, symmetrizer, atol=1e-13)
    blocks = torch.randn(3, 3 if spin else 1, table.n, table.n, dtype=torch.float64)
    assert torch.allclose(table.to_blocks(table.to_coefficients(blocks)), blocks, atol=1e-13)
    symmetric = table.to_blocks(table.symmetrized(table.to_coefficients(blocks)))
    sign = -1 if antisymmetric else 1
    assert torch.allclose(symmetric, (blocks + sign * blocks.transpose(2, 3)) / 2, atol=1e-13)


@pytest.mark.parametrize("proper", [True, False])
@SPIN
def test_atom_table_coefficients_rotate_as_L(spin: bool, proper: bool) -> None:
    """With the parity (-1)^(l1+l2) of their shells: a Pauli matrix has none."""
    shells, Q = (0, 1, 2), random_rotation(3, proper=proper)
    table, D, det = AtomTable(shells, spin=spin), torch.as_tensor(rotation_of_atom(Q, shells)), round(np.linalg.det(Q))
    blocks = torch.randn(2, 3 if spin else 1, table.n, table.n, dtype=torch.float64)
    turned = torch.einsum("ab,nbij->naij", torch.as_tensor(axial(Q, spin=spin)), D @ blocks @ D.T)
    before, after = table.to_coefficients(blocks), table.to_coefficients(turned)
    D_L = wigner_matrices(torch.as_tensor(det * Q)[None], 5)
    for a, b, _, L, start in table.paths:
        rows = slice(start, start + 2 * L + 1)
        assert torch.allclose(det ** (shells[a] + shells[b]) * before[:, rows] @ D_L[L][0].T, after[:, rows], atol=1e-12)


def test_overlaps_of_openmx_couple_only_equal_m(tmp_path: Path) -> None:
    """S is a two-centre matrix: in the frame of a bond only Sigma+ coefficients are left, and m and -m agree."""
    data = openmx.read(unpack_run("mini_graphene", tmp_path))
    off = np.flatnonzero(~is_onsite(data.S.pairs))
    v = torch.as_tensor(pair_vectors(data.system, data.S.pairs[off]))
    shells = data.basis.shells[6]
    D = orbital_matrix(wigner_matrices(bond_rotation(v / v.norm(dim=1, keepdim=True)), 2), shells)
    table = PairTable(shells, shells)
    for matrix, limit in ((data.S, 1e-6), (data.hamiltonian, None)):
        c = table.to_coefficients((D @ torch.as_tensor(matrix.take(off)[0]) @ D.transpose(1, 2))[:, None]).numpy()
        inside, outside = np.abs(c[:, table.sector == 0]).max(), np.abs(c[:, table.sector != 0]).max()
        assert inside > 0.1
        if limit is not None:
            assert outside < limit * inside
        else:
            assert outside > 0.01  # eV: H is not, and an order of orbitals that is wrong would show here
