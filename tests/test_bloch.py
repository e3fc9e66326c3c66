"""M(k) against the plain sum over all blocks, and physics that has to hold for it."""

import numpy as np
import pytest
import scipy.linalg
from band_cases import random_model, supercell
from hypothesis import given, settings
from hypothesis import strategies as st

import deeph
from deeph.physics.bloch import BlochMatrix, BlochPattern
from deeph.runtime.errors import DataError

SPINS = ["none", "collinear", "spinor"]
K = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 0], [0.12, -0.71, 0.4]])


def plain_sum(data, blocks, k, component, gauge, sign=1):
    """Sum of exp(2 pi i k.R) M(R), block by block."""
    start = np.concatenate([[0], np.cumsum([blocks.block((0, 0, 0, a, a)).shape[1] for a in range(data.system.n_atoms)])])
    out = np.zeros((start[-1], start[-1]), complex)
    for R1, R2, R3, i, j in blocks.pairs.tolist():
        shift = np.array([R1, R2, R3], float)
        if gauge == "atomic":
            vector = data.system.positions[j] + shift @ data.system.cell - data.system.positions[i]
            shift = vector @ np.linalg.inv(data.system.cell)
        phase = np.exp(sign * 2j * np.pi * (k @ shift))
        out[start[i] : start[i + 1], start[j] : start[j + 1]] += phase * blocks.block((R1, R2, R3, i, j))[component]
    return out


@pytest.mark.parametrize("gauge", ["lattice", "atomic"])
@pytest.mark.parametrize("spin", SPINS)
def test_csr_and_dense_are_the_plain_sum(spin, gauge):
    data = random_model(1, spin=spin)
    assert np.unique(data.H.pairs[:, 3:], axis=0, return_counts=True)[1].max() > 2  # several R for one pair of atoms
    for component in range(data.H.n_components):
        dense = data.H_bloch.dense(K, component=component, gauge=gauge)
        for k, matrix in zip(K, dense, strict=True):
            wanted = plain_sum(data, data.H, k, component, gauge)
            assert np.allclose(matrix, wanted, atol=1e-13)
            assert np.allclose(data.H_bloch.csr(k, component=component, gauge=gauge).toarray(), wanted, atol=1e-13)
            assert np.allclose(matrix, matrix.conj().T, atol=1e-13)
        assert not np.allclose(dense[-1], plain_sum(data, data.H, K[-1], component, gauge, sign=-1), atol=1e-3)  # the sign is seen


def test_shapes_of_dense_and_pattern_of_csr():
    bloch = random_model(2).H_bloch
    assert bloch.dense(np.zeros((2, 5, 3))).shape == (2, 5, bloch.n_orbitals, bloch.n_orbitals)
    assert bloch.dense(np.zeros(3)).shape == (bloch.n_orbitals, bloch.n_orbitals)
    a, b = bloch.csr(K[0]), bloch.csr(K[4])
    assert np.array_equal(a.indices, b.indices)
    assert np.isrealobj(a.data)
    assert np.iscomplexobj(b.data)


@settings(max_examples=15, deadline=None)
@given(k=st.tuples(*[st.floats(-1, 1)] * 3), G=st.tuples(*[st.integers(-2, 2)] * 3), spin=st.sampled_from(SPINS))
def test_symmetries_of_k(k, G, spin):
    """Lattice gauge: periodic in k. Real H(R): H(-k) = H(k)*. Both gauges: the same eigenvalues."""
    data, k = random_model(3, spin=spin), np.array(k)
    H = data.H_bloch
    assert np.allclose(H.dense(k), H.dense(k + np.array(G)), atol=1e-11)
    if spin != "spinor":
        assert np.allclose(H.dense(-k), H.dense(k).conj(), atol=1e-13)
    energies = [scipy.linalg.eigvalsh(H.dense(k, gauge=g), data.S_bloch.dense(k, gauge=g)) for g in ("lattice", "atomic")]
    assert np.allclose(*energies, atol=1e-10)


@pytest.mark.parametrize("repeat", [(2, 1, 1), (3, 2, 1)])
def test_bands_of_a_supercell_are_the_folded_ones(repeat):
    data = random_model(4)
    big, k = supercell(data, repeat), np.array([0.21, -0.4, 0.1])
    folds = np.stack(np.meshgrid(*[np.arange(n) for n in repeat], indexing="ij"), -1).reshape(-1, 3)
    small = [scipy.linalg.eigvalsh(data.H_bloch.dense(q), data.S_bloch.dense(q)) for q in (k + folds) / repeat]
    wanted = np.sort(np.concatenate(small))
    assert np.allclose(scipy.linalg.eigvalsh(big.H_bloch.dense(k), big.S_bloch.dense(k)), wanted, atol=1e-9)
    wrong = [scipy.linalg.eigvalsh(data.H_bloch.dense(q), data.S_bloch.dense(q)) for q in (k + folds) / repeat + 0.05]
    assert not np.allclose(np.sort(np.concatenate(wrong)), wanted, atol=1e-4)


def test_moving_an_atom_by_a_lattice_vector_changes_labels_but_no_energy():
    """tau_j -> tau_j + T goes with R -> R - T in every block of column j and R -> R + T in every row j."""
    data, T = random_model(5), np.array([1, -2, 0])
    positions = data.system.positions.copy()
    positions[1] += T @ data.system.cell
    system = deeph.System(data.system.cell, positions, data.system.numbers)
    pairs = data.H.pairs.copy()
    pairs[:, :3] += T * ((pairs[:, 3] == 1).astype(int) - (pairs[:, 4] == 1))[:, None]
    moved = deeph.Hamiltonian(system, data.basis, *(deeph.PairBlocks(pairs, b.shapes, b.entries) for b in (data.S, data.H)))
    k = np.array([0.3, 0.1, 0.2])
    before, after = (scipy.linalg.eigvalsh(d.H_bloch.dense(k), d.S_bloch.dense(k)) for d in (data, moved))
    assert np.allclose(before, after, atol=1e-10)
    assert np.allclose(data.H_bloch.dense(k, gauge="atomic"), moved.H_bloch.dense(k, gauge="atomic"), atol=1e-12)


@pytest.mark.parametrize("order", [[0, 2, 1], [2, 1, 0]])
def test_any_sequence_of_blocks_gives_the_same_matrix(order):
    data = random_model(6)
    shuffled = data.H.selected(np.random.default_rng(0).permutation(data.H.n_pairs))
    assert np.allclose(BlochMatrix(data.system, shuffled).dense(K), data.H_bloch.dense(K), atol=1e-13)
    moved = data.permuted(np.array(order))
    energies = [scipy.linalg.eigvalsh(d.H_bloch.dense(K[4]), d.S_bloch.dense(K[4])) for d in (data, moved)]
    assert np.allclose(*energies, atol=1e-10)


def test_an_atom_without_blocks_is_named():
    data = random_model(0)
    keep = np.flatnonzero((data.H.pairs[:, 3:] != 1).all(1))
    with pytest.raises(DataError, match="atom 2 has no block"):
        BlochPattern(data.H.pairs[keep], data.H.shapes[keep], 3)


def test_real_dft_data_is_a_hamiltonian(bilayer36):
    """H(k) Hermitian, S(k) positive, and the valence electrons below the Fermi level, for an unpacked training structure."""
    data = deeph.read_folder(bilayer36 / "000")
    k = np.array([[0.0, 0, 0], [0.17, 0.4, 0]])
    for H, S in zip(data.H_bloch.dense(k), data.S_bloch.dense(k), strict=True):
        assert np.allclose(H, H.conj().T, atol=1e-10)
        assert np.linalg.eigvalsh(S)[0] > 0
    fermi = data.fermi_energy
    occupied = np.mean([(scipy.linalg.eigvalsh(data.H_bloch.dense(q), data.S_bloch.dense(q)) < fermi).sum() for q in k])
    assert occupied == pytest.approx(2 * data.system.n_atoms, abs=1)  # four valence electrons a carbon atom, two a state
