"""Regular meshes of k points: folding, matrices, and meshes recognized from printed points."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeph.files.rounded_points import exact_points
from preprocess.readers.kmesh import k_mesh, mesh_entries, mesh_of_points, n_points, stored_mesh

SHIFTS = st.tuples(*[st.sampled_from([0.0, 0.5])] * 3)
MATRICES = st.lists(st.integers(-3, 3), min_size=9, max_size=9).map(lambda n: np.array(n).reshape(3, 3))


@given(size=st.tuples(*[st.integers(1, 5)] * 3), shift=SHIFTS)
def test_folding_k_and_minus_k_keeps_the_mesh(size, shift):
    full, ones = k_mesh(size, shift, fold=False)
    k, weights = k_mesh(size, shift, fold=True)
    assert len(full) == np.prod(size)
    assert ones.sum() == pytest.approx(1)
    assert weights.sum() == pytest.approx(1)

    def even(points, w):  # any function with f(k) = f(-k) and the periodicity of the lattice
        return float(w @ np.cos(2 * np.pi * points @ [[1, 2, 0], [0, 1, 3], [1, 0, 1]]).prod(axis=1))

    assert even(k, weights) == pytest.approx(even(full, ones), abs=1e-12)


@given(matrix=MATRICES, shift=SHIFTS)
def test_points_of_a_matrix(matrix, shift):
    """M k = n + shift, as many points as the determinant says, all different."""
    count = abs(round(np.linalg.det(matrix)))
    assume(count > 0)
    k, weights = k_mesh(matrix, shift, fold=False)
    n = k @ matrix.T - shift
    assert np.abs(n - np.rint(n)).max() < 1e-9
    assert len(np.unique(np.rint(k * 2 * count) % (2 * count), axis=0)) == len(k) == count
    assert np.allclose(weights, 1 / count)


def test_a_permuted_matrix_is_a_plain_mesh():
    assert mesh_entries([[0, 9, 0], [0, 0, 9], [9, 0, 0]], [0, 0.5, 0]) == {"k_grid": [9, 9, 9], "k_shift": [0.0, 0.0, 0.5]}
    assert mesh_entries([[2, 0, 0], [0, 3, 0], [0, 0, 1]], [0.5, 1.0, -0.5]) == {"k_grid": [2, 3, 1], "k_shift": [0.5, 0.0, 0.5]}
    assert mesh_entries([[2, 0, 0], [0, 3, 0], [0, 0, 1]], [0.25, 0, 0]) == {}
    assert mesh_entries([[2, 0, 0], [0, 3, 0], [2, 3, 0]], [0, 0, 0]) == {}
    centred = mesh_entries([[-1, 1, 1], [1, -1, 1], [1, 1, -1]], [0, 0, 0])
    assert centred == {"k_grid": [[1, 1, 1], [0, 2, 0], [0, 0, 2]], "k_shift": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize("size", ["a", [1, 2], [[1, 2], [3, 4]], [0, 1, 1], None, [1e300, 1, 1], {"a": 1}])
def test_a_stored_mesh_that_is_none_is_unknown(size):
    assert stored_mesh({"k_grid": size, "k_shift": [0, 0, 0]}) is None
    assert stored_mesh({"k_grid": [1, 2, 3], "k_shift": "a"}) is None
    assert stored_mesh({"k_grid": [1, 2, 3]}) is None


@given(matrix=MATRICES, shift=SHIFTS, fold=st.booleans(), seed=st.integers(0, 99))
def test_a_mesh_is_recognized_from_its_printed_points(matrix, shift, fold, seed):
    assume(n_points(matrix) > 0)
    k, weights = k_mesh(matrix, shift, fold=fold)
    rng = np.random.default_rng(seed)
    moved = k + rng.integers(-1, 2, k.shape)  # equivalent points
    if fold:
        moved *= rng.choice([1, -1], (len(k), 1))
    found = mesh_of_points(np.round(moved, 6), np.round(weights, 8))
    assert found == mesh_entries(matrix, shift)


def test_points_that_are_no_mesh():
    k, weights = k_mesh([4, 4, 1], [0, 0, 0], fold=True)
    assert mesh_of_points(k[:-1], weights[:-1] / weights[:-1].sum()) == {}
    assert mesh_of_points(k, np.full(len(k), 1 / len(k))) == {}
    assert mesh_of_points(k + np.array([0, 0.1234567, 0]), weights) == {}
    assert mesh_of_points(np.zeros((0, 3)), np.zeros(0)) == {}


def test_printed_points_are_moved_onto_their_mesh():
    k = np.array([[1 / 3, 0.5, 0.1234567], [2 / 3, 0.25, 0.7]])
    found = exact_points(np.round(k, 6))
    assert (found[:, :2] == k[:, :2]).all()
    assert (found[:, 2] == np.round(k[:, 2], 6)).all()
