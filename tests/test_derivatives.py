"""Velocities and masses: exact models, finite differences, graphene."""

import numpy as np
import pytest
from band_cases import random_model

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import DataError
from postprocess.bands.derivatives import BandPoint
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver, compute_energies


def point(data, k, band, spin=0, **options):
    data, k = hermitian(data), np.array(k, float)
    return BandPoint(data, k, spin, Eigensolver()(data)(k, spin), band, **options)


def chain(t=-1.2, s=0.15, a=2.0):
    """One s orbital a cell: E = 2 t cos(ka) / (1 + 2 s cos(ka)), vacuum around."""
    pairs = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]])
    shapes = np.ones((3, 2), int)
    system = System(np.diag([a, 20.0, 20.0]), np.zeros((1, 3)), np.array([1]))
    return Hamiltonian(system, Basis({1: (0,)}), PairBlocks(pairs, shapes, [1, s, s]), PairBlocks(pairs, shapes, [0.0, t, t]))


def test_chain_is_exact():
    t, s, a = -1.2, 0.15, 2.0
    for k in (0.0, 0.5):
        c = np.cos(2 * np.pi * k)
        # at the edges of the band dE/dk = 0 and d2E/dk2 = -a^2 cos(ka) dE/dcos
        expected = -(a**2) * c * 2 * t / (1 + 2 * s * c) ** 2
        found = point(chain(t, s, a), [k, 0, 0], 0)
        assert found.inverse_mass[0, 0] == pytest.approx(expected / HBAR2_OVER_MASS, rel=1e-12)
        assert np.abs(found.slopes).max() < 1e-12
    middle = point(chain(t, s, a), [0.25, 0, 0], 0)
    assert middle.slopes[0, 0, 0].real == pytest.approx(-2 * t * a, rel=1e-12)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_against_finite_differences(spin):
    data = random_model(3, spin=spin)
    k, band, channel = np.array([0.13, 0.21, 0.0]), 3, data.basis.n_spin - 1
    h = 1e-3  # 1/Angstrom
    steps = np.eye(3)[:2] * h
    to_fractional = np.linalg.inv(data.system.reciprocal)

    def energy(*shifts):
        return compute_energies(data, np.array([k + np.sum(shifts, axis=0) @ to_fractional]))[channel, 0, band]

    found = point(data, k, band, channel)
    for a in range(2):
        slope = (energy(steps[a]) - energy(-steps[a])) / (2 * h)
        assert found.slopes[a, 0, 0].real == pytest.approx(slope, abs=1e-4)
        for b in range(2):
            corners = [s * r * energy(s * steps[a], r * steps[b]) for s in (1, -1) for r in (1, -1)]
            assert found.inverse_mass[a, b] * HBAR2_OVER_MASS == pytest.approx(sum(corners) / (4 * h * h), abs=1e-3)


def test_a_supercell_has_the_masses_of_its_crystal():
    from band_cases import supercell

    small = random_model(9)
    e = compute_energies(small, np.zeros((1, 3)))[0, 0, 0]
    big = supercell(small, (2, 1, 1))
    assert compute_energies(big, np.zeros((1, 3)))[0, 0].min() <= e + 1e-9
    place = int(np.argmin(np.abs(compute_energies(big, np.zeros((1, 3)))[0, 0] - e)))
    assert np.allclose(point(small, [0, 0, 0], 0).inverse_mass, point(big, [0, 0, 0], place).inverse_mass, atol=1e-7)


def test_spin_degeneracy_changes_no_mass():
    data = random_model(2)
    one, two = point(data, [0.0, 0, 0], 2), point(data.to_spinor(), [0.0, 0, 0], 4)
    assert len(two.group) == 2
    assert np.allclose(one.inverse_mass, two.inverse_mass)
    assert np.allclose(two.masses([1, 0, 0]), one.masses([1, 0, 0])[0])


def test_graphene_has_its_fermi_velocity_and_no_mass(shared_data):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "graphene")
    at_K = point(data, [1 / 3, 1 / 3, 0], 3, tolerance=1e-2)
    assert len(at_K.group) == 2
    for direction in ([1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]):
        v = at_K.velocities(direction)
        assert v[1] == pytest.approx(0.83e6, abs=0.03e6)  # PBE: 0.8 to 0.9e6 m/s, isotropic
        assert v[0] == pytest.approx(-v[1], rel=1e-2)
    with pytest.raises(DataError, match="cross linearly"):
        _ = at_K.inverse_mass


def test_mos2_masses_are_isotropic_at_K(shared_data):
    """C3 makes the tensor at K isotropic; electrons 0.4 to 0.6, holes -0.5 to -0.75 electron masses in PBE."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "mos2")
    for band, low, high in ((12, -0.75, -0.5), (13, 0.4, 0.6)):
        tensor = point(data, [1 / 3, 1 / 3, 0], band).inverse_mass
        assert tensor[0, 0] == pytest.approx(tensor[1, 1], rel=1e-2)
        assert abs(tensor[0, 1]) < 1e-2
        assert low < 1 / tensor[0, 0] < high
