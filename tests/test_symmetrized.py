"""H, S and r averaged over the group of their structure, against representations that the tests build by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from harmonics import rotation_of_atom
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_models import graphene, one_orbital_model
from scipy.spatial.transform import Rotation
from symmetry_case import asymmetry, magnetic_group, middle, random_structure, space_group, turned_crystal

from deeph.physics.pairs import reversed_pairs
from deeph.physics.symmetrize import describe_symmetry, symmetrize, violation
from deeph.physics.symmetry import bloch_operator
from deeph.physics.symmetry_group import symmetry_group
from deeph.runtime.errors import DataError, UsageError

Z = np.array([0, 0, 1.0])
CASES = {  # name, spin, moments, spin-orbit coupling, operations up to lattice vectors
    "zincblende": ("zincblende", "none", None, False, 24),
    "diamond": ("diamond", "none", None, False, 48),
    "two cells": ("two cells", "none", None, False, None),
    "MoS2, spin-orbit": ("MoS2", "spinor", None, True, 24),
    "diamond, spin-orbit": ("diamond", "spinor", None, True, 96),
    "ferromagnet along z": ("hcp", "spinor", np.array([Z, Z]), True, 24),
    "ferromagnet along x": ("hcp", "spinor", np.array([[1.0, 0, 0]] * 2), True, 8),
    "antiferromagnet": ("hcp", "spinor", np.array([Z, -Z]), True, 24),
    "antitranslation": ("two cells", "spinor", np.array([Z, -Z]), True, None),
    "altermagnet, collinear": ("rutile", "collinear", 4.6 * np.array([Z, -Z, 0 * Z, 0 * Z, 0 * Z, 0 * Z]), False, 16),
}


def made(case):
    name, spin, moments, _, _ = CASES[case]
    return random_structure(name, spin, reversal=spin == "spinor" and moments is None, moments=moments)


@pytest.mark.parametrize("case", CASES)
def test_a_random_matrix_keeps_every_operation_afterwards(case):
    """The representation is permutations, lstsq rotations of harmonics and exp(-i angle n.sigma/2), in the atomic gauge."""
    data, spin_orbit = made(case), CASES[case][3]
    found = symmetrize(data)
    k = np.array([0.13, 0.29, -0.41])
    assert asymmetry(data, k, spin_orbit=spin_orbit)[0] > 0.1
    assert asymmetry(found.hamiltonian, k, spin_orbit=spin_orbit).max() < 1e-11
    group = list(magnetic_group(data, spin_orbit=spin_orbit))
    if data.basis.spin == "none":  # H is real: conjugation adds nothing
        group = [g for g in group if not g[2]]
    assert found.group.order == len(group)
    assert CASES[case][4] in (None, len(group))


@pytest.mark.parametrize("case", CASES)
def test_once_more_changes_nothing(case):
    first = symmetrize(made(case))
    again = symmetrize(first.hamiltonian)
    assert again.group.order == first.group.order
    assert again.added == 0
    for name in ("H", "S", "r"):
        one, two = (getattr(found.hamiltonian, name) for found in (first, again))
        np.testing.assert_array_equal(one.pairs, two.pairs)
        np.testing.assert_allclose(one.entries, two.entries, atol=1e-12)
        if name != "r":
            assert one.hermiticity_error() < 1e-13


def test_half_of_the_operations_of_an_altermagnet_exchange_up_and_down():
    data = made("altermagnet, collinear")
    group = symmetry_group(data)
    assert sum(g.reversed for g in group.operations) == 8
    up, down = symmetrize(data).hamiltonian.eigenvalues([0.21, 0.33, 0.0])
    assert np.abs(up - down).max() > 0.05
    mirrored = symmetrize(data).hamiltonian.eigenvalues([-0.21, 0.33, 0.0])
    np.testing.assert_allclose(up, mirrored[1], atol=1e-10)


def test_positions_turn_as_a_vector_with_their_origin():
    """The r of the image is D (Q r + t S) D^T with the whole affine operation."""
    new = symmetrize(random_structure("diamond")).hamiltonian
    system, pairs = new.system, [tuple(p) for p in new.r.pairs.tolist()]
    place = {pair: n for n, pair in enumerate(pairs)}
    for operation in symmetry_group(new).operations[1::7]:
        Q = operation.Q
        D = rotation_of_atom(Q, new.basis.shells[14])
        for pair, image in zip(pairs[::5], operation.pairs(new.r.pairs)[::5].tolist(), strict=True):
            t = system.positions[image[3]] - Q @ system.positions[pair[3]]
            r, S = new.r.block(pair), new.S.block(pair)[0]
            expected = D @ (np.einsum("ab,bij->aij", Q, r) + t[:, None, None] * S) @ D.T
            np.testing.assert_allclose(new.r.block(tuple(image)), expected, atol=1e-11)
        assert place


def test_the_origin_does_not_matter():
    data, step = random_structure("zincblende"), np.array([0.13, 0.29, 0.41])
    moved = replace(
        data,
        system=replace(data.system, positions=data.system.positions + step),
        r=replace(data.r, entries=data.r.entries + step[:, None] * data.S.entries),
    )
    one, two = symmetrize(data).hamiltonian, symmetrize(moved).hamiltonian
    np.testing.assert_allclose(two.r.entries - step[:, None] * two.S.entries, one.r.entries, atol=1e-12)
    np.testing.assert_allclose(two.H.entries, one.H.entries, atol=1e-12)


def test_position_matrices_keep_their_partners():
    """<j 0|r|i -R> = <i 0|r|j R>^T - R S^T."""
    new = symmetrize(random_structure("MoS2")).hamiltonian
    centred = replace(new.r, entries=new.r.entries - middle(new.system, new.S) * new.S.entries)
    assert centred.hermiticity_error() < 1e-13


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["zincblende", "MoS2, spin-orbit", "ferromagnet along x"]))
def test_it_does_not_matter_how_the_crystal_lies(seed, case):
    data = made(case)
    Q = Rotation.random(random_state=seed).as_matrix()
    then, first = symmetrize(turned_crystal(data, Q)).hamiltonian, turned_crystal(symmetrize(data).hamiltonian, Q)
    for name in ("H", "S", "r"):
        np.testing.assert_allclose(getattr(then, name).entries, getattr(first, name).entries, atol=1e-10)


@pytest.mark.parametrize("case", ["diamond", "diamond, spin-orbit", "antitranslation"])
def test_operators_between_bloch_states(case):
    new = symmetrize(made(case)).hamiltonian
    k = np.array([0.11, -0.27, 0.38])
    for factor in symmetry_group(new).factors:
        for g in factor[::3]:
            M = bloch_operator(g, new.basis, new.system.numbers, k).toarray()
            np.testing.assert_allclose(M @ M.conj().T, np.eye(len(M)), atol=1e-12)
            for bloch in (new.H_bloch, new.S_bloch):
                before = bloch.dense(k)
                expected = M @ (before.conj() if g.reversed else before) @ M.conj().T
                np.testing.assert_allclose(bloch.dense(g.k(k)), expected, atol=1e-11)


def test_a_pattern_with_gaps_is_completed():
    data = random_structure("zincblende")
    gap = data.S.pairs[[3]]
    left = np.flatnonzero(~((data.S.pairs == gap).all(axis=1) | (data.S.pairs == reversed_pairs(gap)).all(axis=1)))
    cut = replace(data, **{name: getattr(data, name).selected(left) for name in ("S", "H", "r")})
    found = symmetrize(cut)
    assert found.added == 2
    assert "2 blocks of zeros" in found.describe()[-1]
    assert violation(found.hamiltonian, found.hamiltonian.H, found.group.generators).largest < 1e-12


def test_what_is_symmetric_stays_and_atoms_are_put_in_place():
    data = graphene()  # one atom is 1.4e-4 Angstrom beside its place
    found = symmetrize(data)
    assert 5e-5 < found.moved < 2e-4
    np.testing.assert_allclose(found.hamiltonian.H.entries, data.H.entries, atol=1e-15)
    assert symmetrize(found.hamiltonian).moved < 1e-14
    assert violation(data, data.H, found.group.generators).largest < 1e-15
    assert "--symmetrize" not in describe_symmetry(data)
    assert "--symmetrize averages" in describe_symmetry(random_structure("zincblende"))


def test_further_matrices_and_moments_are_averaged_too():
    data = made("ferromagnet along z")
    data = replace(data, moments=data.moments + 0.004 * np.array([[1, 0, 0.5], [0, 1, 0]]), extra={"H0": data.H, "kinetic": data.S})
    new = symmetrize(data).hamiltonian
    np.testing.assert_allclose(new.extra["H0"].entries, new.H.entries, atol=1e-15)
    np.testing.assert_allclose(new.extra["kinetic"].entries, new.S.entries, atol=1e-15)
    np.testing.assert_allclose(new.moments, [[0, 0, 1.001]] * 2, atol=1e-12)
    assert "averaged over" in new.source["changes"][-1]


def test_magnetic_order_is_read_off_the_exchange_fields_where_no_moments_are_recorded():
    known = symmetrize(made("antiferromagnet")).hamiltonian
    assert symmetry_group(replace(known, moments=None)).order == symmetry_group(known).order == 24


def test_what_has_no_known_group_is_refused():
    flux = one_orbital_model(np.diag([2.0, 2, 9]), [[0, 0, 0]], [((1, 0, 0), 0, 0, -1.0)])
    flux = replace(flux, H=replace(flux.H, entries=flux.H.entries + 0.3j * flux.H.pairs[:, 0]))
    with pytest.raises(DataError, match="magnetic flux"):
        symmetrize(flux)
    assert describe_symmetry(flux).startswith("not known")
    data = random_structure("zincblende")
    with pytest.raises(DataError, match="Hermitian conjugate"):
        symmetrize(replace(data, H=replace(data.H, entries=data.H.entries + 1e-3 * np.arange(data.H.entries.size))))
    with pytest.raises(UsageError, match="tolerance"):
        data.symmetrized(0.0)


def test_the_cells_of_a_supercell_become_equal():
    """All translations are averaged over, and the smaller cell is found by their number."""
    data = random_structure("two cells")
    group = symmetry_group(data)
    assert len(group.factors[0]) == 2
    assert group.order == sum(1 for _ in space_group(data.system))
    new = data.symmetrized()
    own = [new.H.block((0, 0, 0, n, n)) for n in range(2)]
    np.testing.assert_allclose(own[0], own[1], atol=1e-13)
