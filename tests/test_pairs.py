"""Neighbour lists against a loop over all images, and the bookkeeping of partners."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics.pairs import find_pairs, half_pairs, is_onsite, neighbour_pairs, pair_keys, pair_vectors, reversed_pairs
from deeph.physics.system import System
from deeph.runtime.errors import DataError


@st.composite
def systems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = np.diag(rng.uniform(2.0, 5.0, 3)) + rng.normal(scale=0.5, size=(3, 3))
    n = draw(st.integers(1, 4))
    positions = rng.uniform(-1.3, 2.3, (n, 3)) @ cell  # also outside the home cell
    pbc = draw(st.sampled_from([(True, True, True), (True, True, False), (False, False, True), (False, False, False)]))
    return System(cell, positions, rng.choice([1, 6], n), pbc), {1: rng.uniform(0.5, 2.5), 6: rng.uniform(0.5, 2.5)}


def brute_force(system, radii, reach):
    """Every image of every atom within ``reach`` cells, on-site pairs always."""
    found = set()
    ranges = [range(-reach, reach + 1) if p else range(1) for p in system.pbc]
    for R in itertools.product(*ranges):
        for i, j in itertools.product(range(system.n_atoms), repeat=2):
            distance = np.linalg.norm(system.positions[j] + np.array(R) @ system.cell - system.positions[i])
            if distance <= radii[system.numbers[i]] + radii[system.numbers[j]]:
                found.add((*R, i, j))
    return found


@settings(max_examples=40, deadline=None)
@given(systems())
def test_neighbours_are_those_of_a_loop_over_images(case):
    system, radii = case
    pairs = neighbour_pairs(system, radii)
    wanted = brute_force(system, radii, 9)
    assert {tuple(p) for p in pairs.tolist()} == wanted
    assert len(pairs) == len(wanted)
    assert np.array_equal(pairs, pairs[np.lexsort(pairs[:, [2, 1, 0, 4, 3]].T)])  # sorted by (i, j, R)
    distance = np.linalg.norm(pair_vectors(system, pairs), axis=1)
    assert (distance <= np.array([radii[z] for z in system.numbers])[pairs[:, 3:]].sum(1)).all()


@settings(max_examples=30, deadline=None)
@given(systems())
def test_partners_and_halves(case):
    system, radii = case
    pairs = neighbour_pairs(system, radii)
    partner = find_pairs(pairs, reversed_pairs(pairs))
    assert (partner >= 0).all()
    assert np.array_equal(partner[partner], np.arange(len(pairs)))
    assert np.array_equal(partner == np.arange(len(pairs)), is_onsite(pairs))
    assert np.allclose(pair_vectors(system, pairs[partner]), -pair_vectors(system, pairs))
    half = half_pairs(pairs)
    both = np.concatenate([half, partner[half], np.flatnonzero(is_onsite(pairs))])
    assert sorted(both.tolist()) == list(range(len(pairs)))


@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 3, *[st.integers(0, 3)] * 2), unique=True), st.integers(0, 2**31))
def test_find_pairs_is_a_dictionary(rows, seed):
    pairs = np.array(rows, np.int64).reshape(-1, 5)
    wanted = np.random.default_rng(seed).integers([-5, -5, -5, 0, 0], [6, 6, 6, 4, 4], (20, 5))
    table = {row: n for n, row in enumerate(rows)}
    assert find_pairs(pairs, wanted).tolist() == [table.get(tuple(row), -1) for row in wanted.tolist()]


def test_an_element_without_radius_is_named():
    system = System(np.eye(3) * 5, np.zeros((1, 3)), np.array([6]))
    with pytest.raises(DataError, match="C"):
        neighbour_pairs(system, {1: 1.0})


def test_indices_too_wide_for_one_key_are_refused():
    with pytest.raises(DataError, match="too wide"):
        pair_keys(np.array([[0, 0, 0, 0, 0], [2**40, 2**40, 2**40, 1, 1]]))
