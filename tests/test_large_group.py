"""Groups of levels of large cells by sparse states and linear solves: the same as with all levels, and refused where they are no group."""

from dataclasses import replace

import numpy as np
import pytest
from test_geometry import Gaussians, four_bands
from tight_binding import changed_basis, enlarged, haldane, moved_origin
from twisted_cases import pi_bilayer

from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.geometry.curvature import compute_curvature
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import find_positions
from postprocess.large import find_group as large_find_group
from postprocess.large.find_group import Bands, find_group
from postprocess.large.group import GroupGeometry
from postprocess.large.group_curvature import group_chern_number, group_curvature
from postprocess.large.sparse_basis import SparseBasis
from postprocess.large.sternheimer import Group, Sternheimer, shift_within
from postprocess.lattice.kpath import KPath
from postprocess.topology.chern import chern_number, lattice_plane
from postprocess.topology.groups import BandGroup

K = np.array([0.13, 0.27, 0.41])
MODELS = {
    "random spinors": four_bands,
    "another basis": lambda: changed_basis(four_bands()),
    "Gaussians": lambda: Gaussians().data,  # the part of r|u> outside the basis is large
    "six cells": lambda: moved_origin(changed_basis(enlarged(haldane(mass=0.2), (3, 2, 1)))),
}


def both(data, k, levels, spin=0):
    """The group from all levels, and by linear solves from a group that is not quite converged."""
    data = hermitian(data)
    dense = Geometry(data, k)
    E, C = dense.energies[0], dense.C[0].copy()
    noise = np.random.default_rng(0).normal(size=C.shape)
    C[:, levels] += 3e-8 * noise[:, levels]  # more than the eigensolver leaves
    ends = [levels[0] - 1, levels[-1] + 1]
    below = E[levels[0]] - E[ends[0]] if ends[0] >= 0 else np.inf
    above = E[ends[1]] - E[levels[-1]] if ends[1] < len(E) else np.inf
    group = Group(E[levels], C[:, levels], below, above)
    return dense, GroupGeometry(SparseBasis(data, find_positions(data)), BlochPencils(data).at(k, spin), k, group, spin)


def path_of(k):
    n = len(k)
    return KPath(k, np.arange(float(n)), np.array([0.0, n - 1.0]), ("A", "B"), np.array([0, n]))


def trace(M):
    return np.trace(M, axis1=-2, axis2=-1)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("levels", [[0], [1, 2]])
def test_linear_solves_are_the_sum_over_all_levels(name, levels):
    dense, group = both(MODELS[name](), K, levels)
    for method in ("curl", "kubo"):
        expected = dense.curvature_matrix(levels, method)[0]
        assert np.abs(trace(group.curvature_matrix(method)) - trace(expected)).max() < 1e-9 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(group.curvature(method), dense.curvature(method)[0][:, levels], atol=1e-9)
    np.testing.assert_allclose(trace(group.metric_matrix()), trace(dense.metric_matrix(levels)[0]), atol=1e-9)
    np.testing.assert_allclose(trace(group.orbital_moment_matrix()), trace(dense.orbital_moment_matrix(levels)[0]), atol=1e-9)
    np.testing.assert_allclose(group.metric(), dense.metric()[0][..., levels], atol=1e-9)
    np.testing.assert_allclose(group.orbital_moment(), dense.orbital_moment()[0][:, levels], atol=1e-9)
    if name == "Gaussians":  # else the test would not see the solution with S
        assert np.abs(group.curvature("curl") - group.curvature("kubo")).max() > 1e-2


def test_where_h_is_real():
    """At the edge of the zone H and S are real, their derivatives imaginary."""
    data = changed_basis(enlarged(haldane(mass=0.3, t2=0.0), (2, 2, 1)))
    k = np.array([0.5, 0.0, 0.0])
    assert BlochPencils(hermitian(data)).at(k).dtype == np.float64
    dense, group = both(data, k, [2, 3])
    np.testing.assert_allclose(trace(group.metric_matrix()), trace(dense.metric_matrix([2, 3])[0]), atol=1e-9)


def test_levels_that_touch_others_are_no_group():
    data = hermitian(enlarged(haldane(), (2, 2, 1)))
    pencil = BlochPencils(data).at(np.zeros(3))
    group = find_group(pencil, Bands(1, 2, 0.0))  # one of three degenerate levels
    with pytest.raises(DataError, match=r"beside the group.*Take the other bands in"):
        Sternheimer(pencil, group)


@pytest.mark.parametrize("energies", [[0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.3, 0.301, 1.0]])
def test_the_shift_lies_among_the_levels_but_on_none(energies):
    group = Group(np.array(energies), np.zeros((4, 4)), 0.1, 0.2)
    sigma = shift_within(group)
    assert sigma > energies[0] - 0.1
    assert sigma < energies[-1] + 0.1
    assert np.abs(np.array(energies) - sigma).min() > 1e-3


@pytest.fixture(scope="module")
def bilayer():
    return pi_bilayer(1, 2, mass=0.3)


def test_twisted_bilayer_without_all_levels(bilayer):
    """Along a path through Gamma: as with dense matrices; time reversal turns the curvature over."""
    k = np.array([[0.13, 0.27, 0.0], [0.4, 0.1, 0.0], [-0.13, -0.27, 0.0]])
    path = path_of(k)
    dense = compute_curvature(bilayer, path, None, group=(12, 13))
    found, chern = group_curvature(bilayer, path, Bands(12, 14, 0.8))
    for name in ("curl", "kubo", "separation"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name), atol=1e-8)
    for name in ("energies", "levels", "metric", "orbital_moment"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name)[..., 12:14], atol=1e-6)
    np.testing.assert_allclose(found.curl[:, 0], -found.curl[:, 2], atol=1e-8)
    assert np.abs(found.curl).max() > 1e-3
    assert not chern


@pytest.mark.parametrize(("settings", "number"), [({"haldane": 0.2}, 2), pytest.param({"mass": 0.3}, 0, marks=pytest.mark.slow)])
def test_chern_numbers_by_sparse_links(settings, number):
    """Haldane's term in both layers: one from each; a sublattice potential alone: none."""
    n = 8 if number else 12
    data = pi_bilayer(1, 2, **settings)
    (found,) = group_chern_number(data, (n, n, 1), Bands(0, 14, 0.0))
    dense = chern_number(data, BandGroup(0, 14), lattice_plane(data, 2), (n, n))
    assert found.number == dense.number == number
    np.testing.assert_allclose(found.flux, dense.flux, atol=1e-8)
    assert abs(found.smallest - dense.smallest) < 1e-8


def test_chern_number_comes_with_a_map():
    _, (chern,) = group_curvature(haldane(t2=0.2), (5, 6, 1), Bands(0, 1, 0.0))
    assert chern.number == chern_number(haldane(t2=0.2), BandGroup(0, 1), lattice_plane(haldane(), 2), (5, 6)).number != 0


def test_what_is_refused(bilayer):
    with pytest.raises(UsageError, match=r"bands 27 to 30: this structure has bands 1 to 28"):
        group_curvature(bilayer, (4, 4, 1), Bands(26, 30, 0.0))
    with pytest.raises(UsageError, match="two directions"):
        group_chern_number(bilayer, (4, 1, 1), Bands(12, 14, 0.0))
    with pytest.raises(DataError, match=r"k = \(0, 0, 0\): a level lies"):
        group_chern_number(bilayer, (2, 2, 1), Bands(12, 14, -2.5))
    for compute in (group_curvature, group_chern_number):
        with pytest.raises(UsageError, match=r"not periodic along lattice vector 3; expected 3 1 1"):
            compute(bilayer, (3, 1, 2), Bands(13, 14, 0.8))


def test_bands_are_found_from_a_distant_energy(bilayer):
    data = hermitian(pi_bilayer(2, 3, mass=0.3))
    pencil = BlochPencils(data).at(K * [1, 1, 0])
    near, far = (find_group(pencil, Bands(36, 38, center)) for center in (0.8, -2.0))
    np.testing.assert_allclose(near.energies, far.energies, atol=1e-9)
    assert abs(near.separation - far.separation) < 1e-9


def test_bands_beside_a_wide_gap_are_found_from_their_own_energy(monkeypatch):
    """The level below the gap is farther away than all levels that may be computed."""
    monkeypatch.setattr(large_find_group, "MOST", 16)
    data = hermitian(pi_bilayer(2, 3, haldane=0.3))
    k, n = K * [1, 1, 0], data.n_orbitals // 2
    E = data.eigenvalues(k)
    group = find_group(BlochPencils(data).at(k), Bands(n, n + 2, float(E[n + 1])))
    np.testing.assert_allclose(group.energies, E[n : n + 2], atol=1e-9)
    assert abs(group.separation - (E[n + 2] - E[n + 1])) < 1e-9
    assert E[n] - E[n - 1] > 2


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"mass": 0.3}, {"haldane": 0.1}])
def test_364_atoms_sparse_is_dense(settings):
    data = pi_bilayer(5, 6, **settings)
    k = np.array([[0.13, 0.27, 0.0], [-0.13, -0.27, 0.0]])
    path = path_of(k)
    group = tuple(range(178, 182))
    dense, (found, _) = compute_curvature(data, path, None, group=group), group_curvature(data, path, Bands(178, 182, 0.8))
    for name in ("curl", "kubo"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name), atol=1e-6)
    if "mass" in settings:
        np.testing.assert_allclose(found.curl[:, 0], -found.curl[:, 1], atol=1e-6)
    assert np.abs(found.curl).max() > 0.1


def test_collinear_spins_have_their_own_groups():
    data = enlarged(haldane(mass=0.2), (2, 1, 1))
    up, down = data, enlarged(haldane(mass=0.9), (2, 1, 1))
    H = replace(up.H, entries=np.concatenate([up.H.entries, down.H.entries]))
    both_spins = replace(data, H=H, basis=replace(data.basis, spin="collinear"))
    path = path_of(np.array([K, -K]) * [1, 1, 0])
    found, _ = group_curvature(both_spins, path, Bands(1, 2, 0.0))
    for spin, alone in enumerate((up, down)):
        np.testing.assert_allclose(found.curl[spin], compute_curvature(alone, path, None, group=(1,)).curl[0], atol=1e-9)
