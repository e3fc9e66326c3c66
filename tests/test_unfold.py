"""Unfolding: 0 and 1 for perfect supercells, sums that always hold, the twisted bilayer onto graphene."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell

from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.unfold import folded_path, make_unfolding, primitive_system
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import compute_energies
from postprocess.lattice.kpath import make_kpath
from postprocess.states.layers import find_layers
from postprocess.states.spectrum import compute_spectrum

K = np.array([[0.1, 0.23, 0.0], [0.6, -0.37, 0.0], [0.31, 0.44, 0.0]])


def unfolded(data, unfolding, k=K):
    spectrum = compute_spectrum(hermitian(data), unfolding.folded(k), projectors=[unfolding])
    return spectrum.energies, spectrum.weights["unfolded"]


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_a_perfect_supercell_gives_zero_and_one(spin):
    small = random_model(5, spin=spin)
    big = supercell(small, (3, 2, 1))
    unfolding = make_unfolding(big.system, small.system.cell)
    assert unfolding.n_cells == 6
    energies, weights = unfolded(big, unfolding)
    assert np.abs(weights - np.rint(weights)).max() < 1e-9
    expected = compute_energies(small, K)
    for spin_energies, spin_weights, spin_expected in zip(energies, weights, expected, strict=True):
        for e, w, known in zip(spin_energies, spin_weights, spin_expected, strict=True):
            assert np.abs(e[w > 0.5] - known).max() < 1e-9


def test_the_order_and_the_cells_of_the_atoms_do_not_matter():
    small = random_model(6)
    big = supercell(small, (2, 2, 1)).permuted(np.random.default_rng(0).permutation(12))
    weights = unfolded(big, make_unfolding(big.system, np.diag([2, 2, 1])))[1]
    assert np.abs(weights - np.rint(weights)).max() < 1e-9
    assert np.allclose(weights.sum(axis=-1), small.H_bloch.n_orbitals)


def test_a_perturbed_supercell_gives_fractions_that_add_up():
    """Sum over states: the orbitals of the primitive cell if S has its symmetry; sum over the k that fold on one: 1 for each state."""
    small = random_model(7)
    big = supercell(small, (2, 2, 1))
    noise = np.random.default_rng(1).normal(scale=0.2, size=big.H.entries.shape)
    big = replace(big, H=replace(big.H, entries=big.H.entries + noise).hermitized())
    unfolding = make_unfolding(big.system, small.system.cell)
    k = K[0] + np.array([[a, b, 0] for a in (0, 0.5) for b in (0, 0.5)])
    weights = unfolded(big, unfolding, k)[1][0]
    assert np.allclose(weights.sum(axis=1), small.H_bloch.n_orbitals)
    assert ((weights > 0.02) & (weights < 0.98)).mean() > 0.3
    energies = unfolded(big, unfolding, k)[0][0]
    assert np.allclose(energies, energies[0])  # the same supercell k
    assert np.allclose(weights.sum(axis=0), 1)


def test_what_does_not_fit_is_refused():
    big = supercell(random_model(5), (2, 2, 1)).system
    with pytest.raises(UsageError, match="no supercell"):
        make_unfolding(big, big.cell / 2.3)
    with pytest.raises(UsageError, match="independent"):
        make_unfolding(big, np.zeros((3, 3)))
    with pytest.raises(DataError, match="evenly"):
        make_unfolding(big, np.diag([2, 2, 1]), atoms=range(5))
    with pytest.raises(DataError, match="evenly"):
        make_unfolding(big, np.diag([4, 1, 1]))


@pytest.mark.parametrize("vacuum", [1.0, 1.2])
def test_a_turned_primitive_cell_is_refused_with_the_matrix_that_fits(vacuum):
    """Also the mirrored cell, or the other height of the vacuum: what is said has to be what works."""
    small = random_model(5)
    big = supercell(small, (3, 2, 1))
    angle = 0.3
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    with pytest.raises(UsageError, match=r"no supercell.*expected integers.*orientation.*--unfold=([-\d,]+)$") as caught:
        make_unfolding(big.system, small.system.cell @ turn * np.array([1, 1, vacuum]))
    matrix = np.array(str(caught.value).rpartition("=")[2].split(","), int).reshape(3, 3)
    weights = unfolded(big, make_unfolding(big.system, matrix))[1]
    assert np.abs(weights - np.rint(weights)).max() < 1e-9
    with pytest.raises(UsageError, match="no turn of the primitive cell fits"):
        make_unfolding(big.system, small.system.cell @ turn * np.array([1.1, 1.1, 1]))


def test_twisted_bilayer_unfolded_on_each_layer(shared_data):
    """7 graphene cells a layer; the strong weights lie on the bands of graphene, whose sigma bottom is at -19.6 eV, and form the cone."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "tbg28")
    layers = find_layers(data.system)
    graphene = openmx.read(shared_data / "openmx" / "graphene")
    expected = compute_energies(graphene, make_kpath(graphene.system, "GK", n_points=3).k)[0] - graphene.fermi_energy
    for layer in (0, 1):
        unfolding = graphene_cells(data.system, np.flatnonzero(layers == layer))
        small = primitive_system(data.system, unfolding)
        assert np.allclose(np.linalg.norm(small.cell[:2], axis=1), 2.46, atol=0.02)
        path = make_kpath(small, "GK", n_points=3)
        spectrum = compute_spectrum(hermitian(data), folded_path(path, unfolding, data.system).k, projectors=[unfolding])
        energies, weights = spectrum.energies[0] - data.fermi_energy, spectrum.weights["unfolded"][0]
        assert np.allclose(weights.sum(axis=1), 26)  # the orbitals of a graphene cell, exactly
        for e, w, bands in zip(energies, weights, expected, strict=True):
            near = np.abs(e[:, None] - bands[None, :4]) < 0.7  # the other layer and the twist shift bands by less
            assert (w[:, None] * near).sum(axis=0).min() > 0.9
        at_K = weights[-1][np.abs(energies[-1]) < 0.3]
        assert len(at_K) == 4  # the Dirac points of both layers fold on one k and mix
        assert np.allclose(at_K, 0.5, atol=0.02)
        assert at_K.sum() > 1.95  # this layer's Dirac point, whole


def graphene_cells(system, atoms):
    """The one of the four cells of 7 graphene cells that fits this layer: the others give more than two sites."""
    for n, m in ((2, 1), (1, 2), (3, -1), (3, -2)):
        try:
            found = make_unfolding(system, np.array([[n, m, 0], [-m, n + m, 0], [0, 0, 1]]), atoms=atoms)
        except DataError:
            continue
        if found.site.max() == 1:
            return found
    raise AssertionError
