"""Topology of real DFT data: bismuth bilayer, MoS2 and Bi2Se3 with spin-orbit coupling."""

from dataclasses import replace

import numpy as np
import pytest

from deeph.runtime.errors import DataError
from postprocess.topology.chern import chern_number, lattice_plane
from postprocess.topology.groups import BandGroup, energies_at, filled_groups
from postprocess.topology.parity import invariant_points, z2_by_parity
from postprocess.topology.polarisation import ion_charges, polarisation
from postprocess.topology.spin_orbit import find_transition, with_spin_orbit
from postprocess.topology.z2 import z2_by_flow


@pytest.fixture(scope="module")
def runs(shared_data):
    """Reads a finished run by its name, position matrices included."""
    from preprocess.readers import openmx

    return lambda name: openmx.read(shared_data / "openmx" / name)


def filled(data):
    k = invariant_points(data)
    return filled_groups(data, k, energies_at(data, k))[0]


def test_bismuth_bilayer_by_parities(runs):
    """And where the atoms are 0.02 Angstrom away, or H is polar, this route refuses."""
    data = runs("bi_bilayer_soc")
    found = z2_by_parity(data, filled(data))
    assert found.indices == (1,)
    assert sorted(found.products.tolist()) == [-1, 1, 1, 1]  # from a centre on the threefold axis: the three M are alike
    assert np.allclose(sorted(found.gaps), [0.63, 2.25, 2.25, 2.25], atol=0.005)
    with pytest.raises(DataError, match=r"H breaks the inversion of its structure by .* meV"):
        z2_by_parity(data.with_potential([0.1, -0.1]), filled(data))


@pytest.mark.slow
@pytest.mark.parametrize("position", ["matrix", "atoms"])
def test_bismuth_bilayer_by_wannier_centres(runs, position):
    """The same with the approximation of the positions, and in a field that breaks inversion."""
    data = runs("bi_bilayer_soc")
    data = data if position == "matrix" else replace(data, r=None)
    assert z2_by_flow(data, filled(data), 18).indices == (1,)
    assert z2_by_flow(data.with_potential([0.05, -0.05]), filled(data), 18).indices == (1,)


@pytest.mark.slow
def test_mos2_is_trivial_and_has_no_inversion(runs):
    data = runs("mos2_soc")
    assert z2_by_flow(data, filled(data), 16).indices == (0,)
    with pytest.raises(DataError, match="no inversion symmetry"):
        z2_by_parity(data, filled(data))
    spinless = runs("mos2")
    with pytest.raises(DataError, match="spin 'none', without spin-orbit coupling"):
        z2_by_flow(spinless, BandGroup(0, 13), 16)


@pytest.mark.slow
def test_bi2se3_by_parities_and_its_transition(runs):
    """(1;000); at 0.56 times its spin-orbit coupling the gap at Gamma closes, and below the crystal is trivial."""
    data = runs("bi2se3_soc")
    group = filled(data)

    def index(scaled):
        found = z2_by_parity(scaled, group)
        return found.indices, float(found.gaps.min())

    assert z2_by_parity(data, group).indices == (1, 0, 0, 0)
    found = find_transition(data, index, n_steps=4, precision=0.002)
    assert (found.below, found.above) == ((0, 0, 0, 0), (1, 0, 0, 0))
    assert found.low < 0.5645 < found.high
    assert found.gap < 0.005


@pytest.mark.slow
def test_bi2se3_by_wannier_centres(runs):
    data = runs("bi2se3_soc")
    assert z2_by_flow(data, filled(data), 22).indices == (1, 0, 0, 0)
    assert z2_by_flow(with_spin_orbit(data, 0.3), filled(data), 22).indices == (0, 0, 0, 0)


def test_iron_is_a_metal_and_a_magnet(runs):
    data = runs("fe_nc_soc")
    with pytest.raises(DataError, match=r"H is magnetic: parts that are odd under time reversal reach \d+ meV"):
        z2_by_flow(data, BandGroup(0, 16), 8)
    lowest = BandGroup(0, round(data.n_electrons), filled=True)
    with pytest.raises(DataError, match=r"this is a metal: band \d+ reaches|bands \d+ and \d+ touch"):
        chern_number(data, lowest, lattice_plane(data, 2), (6, 6))


@pytest.mark.slow
def test_polarisation_of_zinc_blende(runs):
    """By its symmetry P is the same along all three lattice vectors, and with ions of charge 13 and 15 a multiple of 1/4 of a quantum."""
    data = runs("gaas")
    ions = ion_charges(data, {"Ga": 13.0, "As": 15.0})
    found = polarisation(data, [filled(data)], ions, n_along=16, n_across=4).fractions
    assert np.abs((found - found[0] + 0.5) % 1 - 0.5).max() < 2e-3
    assert np.abs((4 * found + 0.5) % 1 - 0.5).max() < 2e-2
