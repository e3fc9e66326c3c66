"""Curvatures and Hall conductivities of OpenMX runs."""

from dataclasses import replace

import numpy as np
import pytest

from deeph.physics.spin_parts import join_spin, split_spin
from deeph.physics.symmetrize import symmetrize
from postprocess.geometry.geometry import Geometry, prepared
from postprocess.geometry.hall import hall_conductivity
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel
from preprocess.readers import openmx

VALENCE = [24, 25]
"""The two uppermost of the 26 filled bands of MoS2 with spin-orbit coupling."""


@pytest.fixture(scope="module")
def mos2(shared_data):
    return prepared(openmx.read(shared_data / "openmx" / "mos2_soc"))


@pytest.fixture(scope="module")
def iron(shared_data):
    return openmx.read(shared_data / "openmx" / "fe_nc_soc")


def with_parts(data, change):
    """H with its spin-free, exchange and spin-orbit parts changed."""
    return replace(data, H=data.H.mapped(lambda blocks, _: join_spin(change(split_spin(blocks, "spinor")), "spinor")))


def test_valleys_of_mos2(mos2):
    """About 2 a^2 t^2 / gap^2 = 9 Angstrom^2 in each of the two valence bands at K, the opposite at K', spins up and down along z."""
    g = Geometry(mos2, [[1 / 3, 1 / 3, 0], [-1 / 3, -1 / 3, 0]])
    for method in ("curl", "kubo"):
        each = g.curvature(method)[:, 2][:, VALENCE]
        assert np.abs(each).mean() == pytest.approx(9, abs=0.3)
        assert (np.sign(each[0]) == -np.sign(each[1])).all()
        pair = np.einsum("kann->ka", g.curvature_matrix(VALENCE, method)).real
        assert np.allclose(pair[0], -pair[1], atol=1e-8)
    assert np.allclose(np.abs(g.spin_texture()[:, 2][:, VALENCE]), 1, atol=5e-3)
    assert np.allclose(g.orbital_moment()[0], -g.orbital_moment()[1], atol=1e-6)


def test_curvature_of_mos2_is_odd_in_k_and_its_kubo_sums_cancel(mos2):
    k = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 3)) * [1, 1, 0]
    here, there = Geometry(mos2, k), Geometry(mos2, -k)
    occupied = [np.einsum("kann->ka", g.curvature_matrix(range(26))).real for g in (here, there)]
    assert np.allclose(occupied[0], -occupied[1], atol=1e-7)
    assert np.abs(here.curvature("kubo").sum(axis=-1)).max() < 1e-10 * max(1, np.abs(here.curvature("kubo")).max())
    assert np.abs(here.curvature("kubo") - here.curvature("curl")).max() > 0.1  # r leads out of the basis


def test_slopes_of_the_bands_of_mos2(mos2):
    k, step = np.array([[0.21, 0.13, 0.0]]), 1e-4
    for a in range(2):
        d = step * mos2.hamiltonian.system.cell[:, a] / (2 * np.pi)
        slope = (Geometry(mos2, k + d).energies - Geometry(mos2, k - d).energies) / (2 * step)
        assert np.allclose(np.einsum("knn->kn", Geometry(mos2, k).velocity[:, a]).real, slope, atol=1e-4)


def test_the_origin_does_not_matter(mos2):
    data = mos2.hamiltonian
    shift = np.array([0.13, 0.29, 0.41])
    moved = replace(
        data,
        system=replace(data.system, positions=data.system.positions + shift),
        r=replace(data.r, entries=data.r.entries + shift[:, None] * data.S.entries),
    )
    k = [[0.3, 0.31, 0.0]]
    here, there = Geometry(mos2, k), Geometry(moved, k)
    for method in ("curl", "kubo"):
        assert np.allclose(
            here.curvature_matrix(VALENCE, method).trace(axis1=2, axis2=3), there.curvature_matrix(VALENCE, method).trace(axis1=2, axis2=3)
        )


def test_hall_conductivity_of_iron_turns_over_with_the_magnetization(iron):
    """Time reversal gives the opposite vector; without spin-orbit coupling and with one axis of the exchange there is none."""
    fermi = FermiLevel(iron.fermi_energy, iron.fermi_energy, iron.fermi_energy, "stored")
    options = {"divisions": (5, 5, 5), "refinement": Refinement(rounds=0)}
    found = hall_conductivity(iron, fermi, **options)
    reversed_ = with_parts(iron, lambda p: {"A0": p["A0"], "B0": -p["B0"], "A": -p["A"], "B": p["B"]})
    opposite = hall_conductivity(reversed_, fermi, **options)
    assert np.abs(found.at_fermi).max() > 10
    assert np.allclose(found.at_fermi, -opposite.at_fermi, atol=1e-10 * np.abs(found.at_fermi).max())
    axis = iron.moments[0] / np.linalg.norm(iron.moments[0])
    off = with_parts(iron, lambda p: {"A0": p["A0"], "A": axis[None, :, None, None] * np.einsum("a,narc->nrc", axis, p["A"])[:, None]})
    none = hall_conductivity(off, fermi, **options)
    assert np.abs(none.at_fermi).max() < 1e-6


def test_what_symmetry_forbids_stays_zero_where_the_mesh_is_refined(shared_data):
    """Of a star of equal cells all are refined; sigma of symmetrized iron is parallel to its moment along z."""
    iron = symmetrize(openmx.read(shared_data / "openmx" / "fe_soc_z")).hamiltonian
    fermi = FermiLevel(iron.fermi_energy, iron.fermi_energy, iron.fermi_energy)
    sigma = hall_conductivity(iron, fermi, (6, 6, 6), refinement=Refinement(1, 1e-6))
    assert sigma.integral.rounds
    assert np.abs(sigma.at_fermi[:2]).max() < 1e-6 * abs(sigma.at_fermi[2])
