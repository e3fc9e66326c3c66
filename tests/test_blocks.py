"""Packed blocks against dictionaries of matrices."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics.blocks import PairBlocks, energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.patterns import on_union
from deeph.runtime.errors import DataError

SPINS = ["none", "collinear", "spinor"]


def as_dict(blocks):
    """{(R, i, j): (components, rows, columns)} by slicing the flat array, without any method of the class."""
    out, start = {}, 0
    for pair, (rows, columns) in zip(blocks.pairs.tolist(), blocks.shapes.tolist(), strict=True):
        out[tuple(pair)] = blocks.entries[:, start : start + rows * columns].reshape(-1, rows, columns)
        start += rows * columns
    return out


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def partner(key):
    return (-key[0], -key[1], -key[2], key[4], key[3])


@pytest.mark.parametrize("spin", SPINS)
def test_take_put_block_and_selected(spin):
    H = random_model(1, spin=spin).H
    wanted = as_dict(H)
    copy = PairBlocks.zeros(H.pairs, H.shapes, H.n_components, H.entries.dtype)
    for (rows, columns), members in H.groups():
        assert H.take(members).shape == (H.n_components, len(members), rows, columns)
        copy.put(members, H.take(members))
    assert same(as_dict(copy), wanted)
    key = tuple(H.pairs[7].tolist())
    assert np.array_equal(H.block(key), wanted[key])
    index = np.random.default_rng(0).permutation(H.n_pairs)[: H.n_pairs // 2]
    assert same(as_dict(H.selected(index)), {tuple(H.pairs[n].tolist()): wanted[tuple(H.pairs[n].tolist())] for n in index})
    with pytest.raises(DataError, match="no block"):
        H.block((50, 0, 0, 0, 0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), spin=st.sampled_from(SPINS), keep=st.floats(0.3, 1.0))
def test_hermitized_is_the_mean_with_the_partner(seed, spin, keep):
    """Also when partners are missing: then the present block decides."""
    H = random_model(2, spin=spin).H
    rng = np.random.default_rng(seed)
    noisy = replace(H, entries=H.entries + rng.normal(size=H.entries.shape))
    noisy = noisy.selected(np.flatnonzero((rng.random(H.n_pairs) < keep) | (H.partners == np.arange(H.n_pairs))))
    old, new = as_dict(noisy), as_dict(noisy.hermitized())
    assert new.keys() == old.keys() | {partner(key) for key in old}
    for key, block in new.items():
        own = old.get(key, old.get(partner(key), block).conj().swapaxes(1, 2) if key not in old else None)
        other = old[partner(key)].conj().swapaxes(1, 2) if partner(key) in old else own
        assert np.allclose(block, (own + other) / 2, atol=1e-14)
    assert noisy.hermitized().hermiticity_error() < 1e-15
    assert not noisy.hermiticity_error() < 1e-3


def test_adjoint_wants_every_partner():
    H = random_model(2).H
    lonely = H.selected(np.arange(1, H.n_pairs))
    assert lonely.hermiticity_error() == np.inf
    with pytest.raises(DataError, match="no Hermitian partner"):
        lonely.adjoint()


@pytest.mark.parametrize("spin", SPINS)
def test_reordered_permutes_orbitals_of_both_atoms_in_every_spin(spin):
    data = random_model(3, spin=spin)
    orders = {6: np.array([0, 2, 3, 1]), 7: np.array([1, 0])}
    old, new = as_dict(data.H), as_dict(data.H.reordered(data.system.numbers, orders, data.basis.spin_factor))
    for key, block in new.items():
        row, column = (
            np.concatenate([orders[z] + s * len(orders[z]) for s in range(data.basis.spin_factor)])
            for z in data.system.numbers[list(key[3:])]
        )
        assert np.array_equal(block, old[key][:, row][:, :, column])


def test_on_union_fills_with_zeros_on_both_sides():
    data = random_model(4)
    S, H = data.S.selected(np.arange(data.S.n_pairs - 5)), data.H.selected(np.arange(5, data.H.n_pairs))
    H_all, S_all = on_union(data.system, data.basis, H, S)
    assert np.array_equal(H_all.pairs, S_all.pairs)
    assert H_all.n_pairs == data.H.n_pairs
    for full, part in ((H_all, H), (S_all, S)):
        known = as_dict(part)
        for key, block in as_dict(full).items():
            assert np.array_equal(block, known.get(key, np.zeros_like(block)))


def test_on_pattern_refuses_other_shapes():
    H = random_model(4).H
    with pytest.raises(DataError, match="different shapes"):
        H.on_pattern(H.pairs, H.shapes[:, ::-1] + 1)


def test_to_spinor_is_spin_major():
    up_down = random_model(5, spin="collinear").H
    old, new = as_dict(up_down), as_dict(up_down.to_spinor())
    for key, (up, down) in old.items():
        zero = np.zeros_like(up)
        assert np.array_equal(new[key][0], np.block([[up, zero], [zero, down]]))


@given(shift=st.floats(-100, 100), spin=st.sampled_from(SPINS))
@settings(max_examples=20, deadline=None)
def test_energy_zero_follows_a_shift(shift, spin):
    """H + c S has the energy zero of H plus c, whatever the spin."""
    data = random_model(6, spin=spin)
    S = data.S.to_spinor() if spin == "spinor" else data.S
    moved = replace(data.H, entries=data.H.entries + shift * S.entries)
    assert energy_zero(moved, data.S) == pytest.approx(energy_zero(data.H, data.S) + shift, abs=1e-9)


def test_permuted_relabels_atoms():
    data = random_model(7)
    order = np.array([2, 0, 1])
    new, old = as_dict(data.permuted(order).H), as_dict(data.H)
    assert data.permuted(order).system.numbers.tolist() == data.system.numbers[order].tolist()
    for key, block in new.items():
        assert np.array_equal(block, old[(*key[:3], order[key[3]], order[key[4]])])


def test_pieces_that_do_not_belong_together_are_refused():
    data = random_model(0)
    with pytest.raises(DataError, match="do not belong together"):
        PairBlocks(data.H.pairs, data.H.shapes, data.H.entries[:, 1:])
    with pytest.raises(DataError, match="different patterns"):
        Hamiltonian(data.system, data.basis, data.S, data.H.selected(np.arange(3)))
    other = replace(data.basis, shells={6: (0, 1, 1), 7: (0, 0)})
    with pytest.raises(DataError, match="asks for"):
        Hamiltonian(data.system, other, data.S, data.H)


def test_blocks_are_taken_and_put_in_any_order():
    """Neighbouring places in another order than they lie, which a slice would not give."""
    shapes = np.full((6, 2), 2)
    pairs = np.array([[R, 0, 0, 0, 0] for R in range(6)])
    blocks = PairBlocks(pairs, shapes, np.arange(1.0, 25.0))
    for order in ([0, 2, 1, 3], [3, 2, 1, 0], [1, 0], [2], [1, 2, 3], [0, 2, 4]):
        index = np.array(order)
        expected = (1.0 + np.arange(24)).reshape(6, 2, 2)[order]
        assert np.array_equal(blocks.take(index)[0], expected)
        copy = PairBlocks.zeros(pairs, shapes, 1, np.float64)
        copy.put(index, expected[None])
        assert np.array_equal(copy.take(index)[0], expected)
        assert np.count_nonzero(copy.entries) == expected.size
