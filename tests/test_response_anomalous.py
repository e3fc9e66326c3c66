"""Spin Hall, Nernst and curvature dipole; shift and injection currents."""

import json
from dataclasses import replace

import numpy as np
import pytest
from lattice_models import hypercubic
from test_response import FERMI, MESH_ONLY, general_crystal, light
from tight_binding import changed_basis, haldane, moved_origin, tight_binding, with_spinors

from deeph.physics.units import CONDUCTANCE, KELVIN
from deeph.runtime.errors import UsageError
from postprocess.geometry.against_fermi import FermiScan
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.hall import hall_conductivity
from postprocess.output.response_text import _static
from postprocess.response.anomalous import curvature_dipole, curvatures, nernst_coefficient, spin_hall_conductivity
from postprocess.response.covariant import SecondDerivatives, covariant_derivative
from postprocess.response.scan import LevelSums, Settings, entropy
from postprocess.response.second_order import direct_current
from postprocess.states.fermi import FermiLevel

POINTS = np.array([[0.11, 0.23, 0.37], [0.3, 0.1, -0.2]])


def kane_mele(mass=0.1, coupling=0.1):
    """Haldane's model for spin up, the conjugate one for spin down: s_z is conserved."""
    up, down = (haldane(mass, phi, t2=coupling).H.entries[0] for phi in (np.pi / 2, -np.pi / 2))
    data = with_spinors(haldane(mass, np.pi / 2, t2=coupling))
    pairs = len(data.H.pairs)
    blocks = np.zeros((pairs, 2, 2), complex)
    blocks[:, 0, 0], blocks[:, 1, 1] = up, down
    return replace(data, H=replace(data.H, entries=blocks.reshape(1, -1)))


def tilted_dirac(mass, tilt, speed=1.0):
    """One gapped Dirac cone at Gamma on a square lattice of 1 Angstrom, E = tilt k_x +- sqrt(v^2 k^2 + m^2); the others are far away."""
    sx, sy, sz = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1])
    big = 0.2
    hops = [
        ((1, 0, 0), 0, 0, speed * sx / 2j - big / 2 * sz + tilt / 2j * np.eye(2)),
        ((0, 1, 0), 0, 0, speed * sy / 2j - big / 2 * sz),
    ]
    return tight_binding(np.diag([1.0, 1.0, 20.0]), [[0, 0, 0]], [(mass + 2 * big) * sz], hops, n_orbitals=[2])


def test_rounding_is_told_as_what_it_is(tmp_path):
    """The spins of z alone have a Hall conductivity, s_z is conserved; 1e-17 of the others is no number, in words or in tables."""
    scan = FermiScan(-0.1, 0.1, 3)
    found = spin_hall_conductivity(moved_origin(kane_mele(0.1)), FERMI, Settings((6, 6, 1), scan, refinement=MESH_ONLY))
    names = {name for name, zero in zip(found.components, found.zero, strict=True) if zero}
    assert names == {name for name in found.components if name[0] != "z"} | {"z xx", "z yy"}
    assert "z xy " in repr(found)
    assert "e-1" not in repr(found)
    assert "zero to rounding: " in repr(found)
    text = "\n".join(_static({"spin-hall": found}))
    assert "e-1" not in text
    assert "others zero to rounding" in text
    assert "zero to rounding: " in text or "zero by symmetry: " in text
    found.save(tmp_path / "t.csv")
    found.save(tmp_path / "t.json")
    head = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "zero to rounding: " in head or "zero by symmetry: " in head
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["zero"] == found.zero.tolist()


@pytest.mark.parametrize(("mass", "quanta"), [(0.1, 1), (0.9, 0)])
def test_spin_hall_conductivity_is_quantized(mass, quanta):
    """e/2 pi, which is e^2/h in units of hbar/e, of the model with conserved s_z; the charge Hall conductivity is zero."""
    data = moved_origin(changed_basis(kane_mele(mass)))
    found = spin_hall_conductivity(data, FERMI, Settings((36, 36, 1), FermiScan(), refinement=MESH_ONLY))
    assert found.unit == "(hbar/e) S"
    values = dict(zip(found.components, found.at_fermi / CONDUCTANCE, strict=True))
    assert abs(values["z xy"]) == pytest.approx(quanta, abs=1e-3)
    assert values["z xy"] == pytest.approx(-values["z yx"])
    assert max(abs(values[name]) for name in values if name[0] != "z") < 1e-8
    assert hall_conductivity(data, FERMI, (12, 12, 1), refinement=MESH_ONLY).at_fermi[0] == pytest.approx(0, abs=1e-8)


def test_collinear_spins_without_flux_have_no_spin_hall_conductivity():
    """Each channel has curvature, of opposite signs at k and -k; with a flux it is that of the spinors."""
    settings = Settings((9, 9, 1), FermiScan(), refinement=MESH_ONLY)

    def collinear(up, down):
        entries = np.concatenate([up.H.entries, down.H.entries])
        H = replace(up.H, entries=entries if np.abs(entries.imag).max() > 0 else entries.real)
        return replace(up, H=H, basis=replace(up.basis, spin="collinear"))

    magnet = collinear(*(haldane(mass, t2=0.0) for mass in (0.2, 0.9)))
    assert np.abs(Geometry(magnet, POINTS * [1, 1, 0]).curvature()).max() > 0.01
    assert np.abs(spin_hall_conductivity(magnet, FERMI, settings).at_fermi).max() < 1e-9 * CONDUCTANCE
    flux = collinear(*(haldane(0.1, phi, t2=0.1) for phi in (np.pi / 2, -np.pi / 2)))
    found, spinors = (spin_hall_conductivity(data, FERMI, settings).at_fermi for data in (flux, kane_mele()))
    assert np.abs(spinors).max() > 0.5 * CONDUCTANCE
    assert np.allclose(found, spinors, atol=1e-8 * CONDUCTANCE)


def test_spin_hall_conductivity_takes_spin_and_two_directions():
    with pytest.raises(UsageError, match="no spin"):
        spin_hall_conductivity(haldane(), FERMI)
    with pytest.raises(UsageError, match="2 or more periodic"):
        nernst_coefficient(hypercubic(1), FERMI)
    with pytest.raises(UsageError, match="0 K"):
        nernst_coefficient(haldane(), FERMI, Settings((4, 4, 1), FermiScan()))


def test_nernst_is_an_integral_of_the_hall_conductivity():
    """-(1/eT) int (E - mu)(-df/dE) sigma(E) dE of the Hall conductivity at 0 K."""
    data, n, T = haldane(0.2), 60, 600.0
    fermi = FermiLevel(-1.2, -1.2, -1.2, "given")
    scan = FermiScan(-1.0, 1.0, 401)
    hall = hall_conductivity(data, fermi, (n, n, 1), scan=scan, refinement=MESH_ONLY)
    sigma, E = hall.sigma[:, 0] * CONDUCTANCE, hall.energies - fermi.energy
    warm = nernst_coefficient(data, fermi, Settings((n, n, 1), FermiScan(temperature=T), refinement=MESH_ONLY))
    weight = E / (4 * KELVIN * T * np.cosh(E / (2 * KELVIN * T)) ** 2)
    assert warm.at_fermi[0] == pytest.approx(-np.trapezoid(weight * sigma, E) / T, rel=5e-3)
    assert warm.unit == "A/K"


def test_nernst_at_20_kelvin_is_mott_to_two_per_cent():
    """One Dirac cone, on rings around it: sigma(E) = (e^2/2h) m/E up to the sign, so that d sigma/dE = (e^2/2h) m/E^2."""
    m, mu, T = 0.04, 0.06, 20.0
    q = (np.arange(400) + 0.5) * 2.5e-4
    k = np.stack([q / (2 * np.pi), 0 * q, 0 * q], axis=1)
    sums = LevelSums(curvatures, (entropy,), even=False, fermi_levels=(mu,), fermi_energy=mu, temperature=T).of(tilted_dirac(m, 0.0))(k, 0)
    integral = (sums["sums"][:, 0, 2, 0] * q).sum() * 2.5e-4 / (2 * np.pi)  # int d^2k/(2 pi)^2
    alpha = 2 * np.pi * CONDUCTANCE * KELVIN * integral
    assert abs(alpha) == pytest.approx(np.pi**2 / 3 * KELVIN**2 * T * CONDUCTANCE / 2 * m / mu**2, rel=0.02)


@pytest.mark.parametrize("level", [0.2, -0.2])
def test_dipole_of_a_tilted_dirac_cone(level):
    """D_x = 3 t m (mu^2 - m^2) / (8 pi mu^4) of each spin, to first order in the tilt t; nothing along y, nothing untilted."""
    m, t = 0.15, 0.02
    fermi = FermiLevel(level, level, level, "given")
    settings = Settings((110, 110, 1), FermiScan(temperature=240.0), refinement=MESH_ONLY)
    found = curvature_dipole(moved_origin(changed_basis(tilted_dirac(m, t))), fermi, settings)
    kT = KELVIN * 240.0
    energies = np.maximum(np.linspace(-15, 15, 3001) * kT + abs(level), m)
    density = 3 * t * m / (8 * np.pi) * (energies**2 - m**2) / energies**4
    density *= 1 / (4 * kT * np.cosh((np.linspace(-15, 15, 3001)) / 2) ** 2)
    assert found.unit == "m"
    assert found.components == ("x", "y")
    assert abs(found.at_fermi[0]) == pytest.approx(2e-10 * np.trapezoid(density, dx=kT / 100), rel=0.03)
    assert abs(found.at_fermi[1]) < 1e-6 * abs(found.at_fermi[0])
    none = curvature_dipole(tilted_dirac(m, 0.0), fermi, Settings((60, 60, 1), FermiScan(temperature=300.0), refinement=MESH_ONLY))
    assert np.abs(none.at_fermi).max() < 1e-20


def test_dipole_of_gapped_graphene_is_zero_by_its_threefold_axis():
    fermi = FermiLevel(0.9, 0.9, 0.9, "given")
    settings = Settings((36, 36, 1), FermiScan(temperature=600.0), refinement=MESH_ONLY)
    found = curvature_dipole(changed_basis(haldane(0.3, t2=0.0)), fermi, settings)
    assert np.abs(found.at_fermi).max() < 1e-20
    pulled = haldane(0.3, t2=0.0)
    entries = pulled.H.entries.copy()
    bond = (pulled.H.pairs == [0, 0, 0, 0, 1]).all(axis=1) | (pulled.H.pairs == [0, 0, 0, 1, 0]).all(axis=1)
    entries[:, bond] *= 1.05
    found = curvature_dipole(replace(pulled, H=replace(pulled.H, entries=entries)), fermi, settings)
    assert np.abs(found.at_fermi).max() > 1e-14


def test_covariant_derivatives():
    """Products r_c r_b;a are the same in every basis and for every origin; their sums are derivatives of r_c r_b."""

    def parts(data):
        g = Geometry(data, POINTS)
        derivative, r = covariant_derivative(g, SecondDerivatives(g.basis)), g.between
        return np.einsum("kcnm,kabmn->kcabnm", r, derivative), np.einsum("kacnm,kbmn->kacbnm", derivative, r)

    data = general_crystal()
    one, other = parts(data), parts(moved_origin(changed_basis(data)))
    for a, b in zip(one, other, strict=True):
        assert np.abs(a - b).max() < 1e-8 * np.abs(a).max()
    step = 1e-5
    for a in range(3):
        shift = step * data.system.cell[:, a] / (2 * np.pi)
        products = [np.einsum("kcnm,kbmn->kcbnm", r, r) for r in (Geometry(data, POINTS + s * shift).between for s in (1, -1))]
        slope = (products[0] - products[1]) / (2 * step)
        assert np.allclose(slope, one[1][:, a] + one[0][:, :, a], atol=1e-6 * np.abs(slope).max())


def test_shift_is_the_phase_between_links():
    """Im[r_b,mn r_b,nm;a] = |r|^2 times how far the charge moves: the phase of a small square of overlaps and matrix elements."""
    data, step, n, m = general_crystal(), 1e-4, 1, 2
    tau = np.repeat(data.system.positions, 2, axis=0)
    g = Geometry(data, POINTS)
    derivative = covariant_derivative(g, SecondDerivatives(g.basis))
    for a in range(3):
        shift = step * data.system.cell[:, a] / (2 * np.pi)
        left, right = (Geometry(data, POINTS + s * shift) for s in (-1, 1))
        turn = np.exp(-1j * 2 * step * tau[:, a])
        links = [np.einsum("kp,p,kp->k", left.C[:, :, band].conj(), turn, right.C[:, :, band]) for band in (n, m)]
        for b in range(3):
            square = left.between[:, b, n, m].conj() * links[0] * right.between[:, b, n, m] * links[1].conj()
            moved = np.angle(square) / (2 * step)
            size = np.abs(g.between[:, b, n, m]) ** 2
            found = (g.between[:, b, m, n] * derivative[:, a, b, n, m]).imag
            assert np.allclose(found, size * moved, rtol=1e-5, atol=1e-6 * size.max())


@pytest.mark.parametrize("kind", ["shift", "injection"])
def test_currents_are_the_same_in_every_basis(kind):
    data, settings = general_crystal(), light(3, 1, 9, 17)
    here = direct_current(data, kind, FERMI, settings)
    there = direct_current(moved_origin(changed_basis(data)), kind, FERMI, settings)
    largest = np.abs(here.values).max()
    assert largest > 0
    assert np.abs(here.values - there.values).max() < 1e-8 * largest


@pytest.mark.parametrize("kind", ["shift", "injection"])
def test_inversion_leaves_no_current(kind):
    """Graphene; with a mass there is a shift current, and with time reversal no injection by linear light."""
    size = {}
    for mass in (0.0, 0.3):
        data = changed_basis(haldane(mass, t2=0.0, t=-2.7))
        size[mass] = np.abs(direct_current(data, kind, FERMI, light((12, 12, 1), 0.5, 8, 16)).values)
    assert size[0.0].max() < (1e-20 if kind == "shift" else 1e-5)
    if kind == "shift":
        assert size[0.3].max() > 1e-16
    linear = direct_current(changed_basis(haldane(0.3, t2=0.0)), "injection", FERMI, light((12, 12, 1), 0.5, 8, 16))
    assert np.abs(linear.values.real).max() == 0
    with pytest.raises(UsageError, match="shift, injection"):
        direct_current(haldane(0.3), "photon", FERMI)
