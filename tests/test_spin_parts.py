"""The spin structure of a matrix: Pauli matrices, hermiticity, time reversal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeph.physics.spin_parts import PARTS, join_spin, split_spin
from deeph.runtime.errors import DataError

PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def random_blocks(spin, seed, n=3, rows=2, columns=4):
    rng = np.random.default_rng(seed)
    if spin == "spinor":
        return rng.normal(size=(1, n, 2 * rows, 2 * columns)) + 1j * rng.normal(size=(1, n, 2 * rows, 2 * columns))
    return rng.normal(size=(1 if spin == "none" else 2, n, rows, columns))


@given(st.sampled_from(["none", "collinear", "spinor"]), st.integers(0, 99))
def test_round_trip(spin, seed):
    blocks = random_blocks(spin, seed)
    np.testing.assert_allclose(join_spin(split_spin(blocks, spin), spin), blocks, atol=1e-14)


@given(st.integers(0, 99))
def test_parts_are_those_of_pauli_matrices(seed):
    blocks = random_blocks("spinor", seed)
    p = split_spin(blocks, "spinor")
    assert tuple(p) == PARTS
    coefficients = np.concatenate([p["A0"] + 1j * p["B0"], p["A"] + 1j * p["B"]], axis=1)
    summed = np.einsum("nars,axy->nxrys", coefficients, PAULI).reshape(blocks.shape[1:])
    np.testing.assert_allclose(summed, blocks[0], atol=1e-14)


@given(st.integers(0, 99))
def test_time_reversal_and_adjoint(seed):
    blocks = random_blocks("spinor", seed)
    _, rows, columns = blocks.shape[1:]
    y = np.kron(PAULI[2], np.eye(rows // 2)), np.kron(PAULI[2], np.eye(columns // 2))
    parts = split_spin(blocks, "spinor")
    reversed_ = split_spin((y[0] @ blocks[0].conj() @ y[1])[None], "spinor")
    adjoint = split_spin(blocks.conj().swapaxes(-1, -2), "spinor")
    for name, even, symmetric in (("A0", 1, 1), ("B0", -1, -1), ("A", -1, 1), ("B", 1, -1)):
        np.testing.assert_allclose(reversed_[name], even * parts[name], atol=1e-14)
        np.testing.assert_allclose(adjoint[name], symmetric * parts[name].swapaxes(-1, -2), atol=1e-14)


def test_collinear_is_a_spinor_along_z():
    blocks = random_blocks("collinear", 0)
    parts = split_spin(blocks, "collinear")
    zero = np.zeros_like(parts["A"])
    spinor = join_spin({"A0": parts["A0"], "A": np.concatenate([zero, zero, parts["A"]], axis=1)}, "spinor")
    np.testing.assert_allclose(spinor[0, :, :2, :4], blocks[0], atol=1e-15)
    np.testing.assert_allclose(spinor[0, :, 2:, 4:], blocks[1], atol=1e-15)
    assert not spinor[0, :, :2, 4:].any()


def test_spin_free_part_is_needed():
    with pytest.raises(DataError, match="A0"):
        join_spin({}, "spinor")
