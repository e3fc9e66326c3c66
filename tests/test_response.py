"""Optics: exact sums, Kramers and Kronig, graphene; circular dichroism; transport of a chain."""

from dataclasses import replace

import numpy as np
import pytest
from lattice_models import hypercubic
from scipy.integrate import quad
from tight_binding import changed_basis, haldane, moved_origin, tight_binding, with_spinors

from deeph.physics.units import CONDUCTANCE, KELVIN
from deeph.runtime.errors import UsageError
from postprocess.geometry.against_fermi import FermiScan
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.hall import hall_conductivity
from postprocess.response import transitions
from postprocess.response.covariant import SecondDerivatives
from postprocess.response.dichroism import dichroism, edges
from postprocess.response.light import Broadening, Photons
from postprocess.response.measure import E2_OVER_HBAR, measure
from postprocess.response.optics import optical_response, smallest_direct_gap
from postprocess.response.scan import Settings
from postprocess.response.transitions import LightSettings
from postprocess.response.transport import transport
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import FermiLevel
from postprocess.states.wedge import Wedge

FERMI = FermiLevel(0.0, 0.0, 0.0, "given")
MESH_ONLY = Refinement(rounds=0)
K = np.array([[1 / 3, 1 / 3, 0], [-1 / 3, -1 / 3, 0]])


def general_crystal():
    """Four orbitals on two points, three directions, no symmetry at all; the two lower bands are filled."""
    rng = np.random.default_rng(3)

    def hop(size):
        return size * (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)))

    cell = [[2.0, 0, 0], [0.3, 2.2, 0], [0.1, 0.2, 2.4]]
    hops = [((1, 0, 0), 0, 0, hop(0.2)), ((0, 1, 0), 0, 1, hop(0.3)), ((0, 0, 1), 1, 1, hop(0.2)), ((0, 0, 0), 0, 1, hop(0.4))]
    onsite = [np.diag([-3.0, 3.0]), np.diag([-4.0, 2.5])]
    return tight_binding(cell, [[0, 0, 0], [0.7, 0.9, 1.1]], onsite, hops, n_orbitals=[2, 2], fermi_energy=0.0)


def light(n, low=0.0, high=6.0, points=61, width=0.2, shape="gaussian", **options):
    return LightSettings((n, n, n) if isinstance(n, int) else n, Photons(low, high, points), Broadening(width, shape), **options)


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_no_basis_and_no_origin_changes_the_conductivity(shape):
    data, settings = general_crystal(), light(4, shape=shape)
    here = optical_response(data, FERMI, settings)
    there = optical_response(moved_origin(changed_basis(data)), FERMI, settings)
    largest = np.abs(here.sigma).max()
    assert largest > 1e4
    assert np.abs(here.sigma - there.sigma).max() < 1e-8 * largest
    assert np.abs(here.joint - there.joint).max() < 1e-8 * here.joint.max()


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_absorption_is_all_there_is_of_the_sum_rule(shape):
    """(2/pi) int Re sigma dE = int sum f (<d_a d_a H> - d_a d_a E), what the Drude weight leaves of the sum rule; a warm metal."""
    data = general_crystal()
    fermi, T, n = FermiLevel(-2.5, -2.5, -2.5, "given"), 3000.0, 3
    found = optical_response(data, fermi, light(n, 0, 300.0, 3001, shape=shape, temperature=T))
    area = (2 / np.pi) * np.trapezoid(np.einsum("maa->ma", found.interband.real), found.energies, axis=0)
    k = np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), -1).reshape(-1, 3)
    g = Geometry(data, k)
    f = 1 / (np.exp((g.energies + 2.5) / (KELVIN * T)) + 1)
    H2, step = SecondDerivatives(g.basis).H(k, 0), 1e-3
    tau = np.repeat(data.system.positions, 2, axis=0)
    for a in range(3):
        shift = step * data.system.cell[:, a] / (2 * np.pi)
        slopes = [np.einsum("knn->kn", Geometry(data, k + s * shift).velocity[:, a]).real for s in (1, -1)]
        bent = (slopes[0] - slopes[1]) / (2 * step)
        apart = tau[None, :, a] - tau[:, None, a]  # in the gauge of the atoms d -> d + i (tau_j - tau_i)
        H, H1 = g.basis.H(k, 0)[:, 0], g.basis.H(k, 0)[:, 1 + a]
        whole = np.einsum("kpn,kpq,kqn->kn", g.C.conj(), H2[:, a, a] + 2j * apart * H1 - apart**2 * H, g.C).real
        expected = 2 * (f * (whole - bent)).sum() / len(k) * E2_OVER_HBAR * 1e10 / measure(data).size
        assert area[a] == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_kramers_and_kronig(shape):
    """The real part of chi from its imaginary part."""
    found = optical_response(general_crystal(), FERMI, light(2, 0, 60, 3001, width=0.3, shape=shape))
    E, chi = found.energies, found.susceptibility[:, 0, 0]
    for place in (0, 150, 400):
        x = E**2 - E[place] ** 2
        x[place] = np.inf
        # the other half of the point that is left out: subtract what is constant there
        integrand = (E * chi.imag - E[place] * chi.imag[place]) / x
        transformed = 2 / np.pi * np.trapezoid(integrand, E)
        if place:
            transformed += chi.imag[place] / np.pi * np.log(abs((E[-1] - E[place]) / (E[-1] + E[place])))
        assert transformed == pytest.approx(chi.real[place], abs=0.01 * np.abs(chi.real).max())


def test_only_half_of_the_zone_is_computed_with_time_reversal(monkeypatch):
    monkeypatch.setattr(transitions, "tensor_wedge", lambda *_: Wedge.none())  # which other symmetries spare is another matter
    data = haldane(0.3, t2=0.0, t=-2.7)
    found = optical_response(data, FERMI, light((12, 12, 1), width=0.3))
    assert found.conditions.reversal
    both = 12 * 12 + 6 * 6  # the mesh, and the one half as fine
    assert found.integral.n_k < both / 2 + 10
    broken = replace(data, H=replace(data.H, entries=data.H.entries.astype(complex)))  # which says that H may be complex
    whole = optical_response(broken, FERMI, light((12, 12, 1), width=0.3))
    assert whole.integral.n_k == both
    assert np.allclose(found.sigma, whole.sigma, atol=1e-12 * np.abs(whole.sigma).max())


def test_an_insulator_has_no_drude_peak():
    """However wide the transitions are drawn; one whose Fermi level lies in a band has one."""
    data = haldane(0.3, t2=0.0, t=-2.7)
    found = optical_response(data, FERMI, light((12, 12, 1), 0, 3, 31, width=0.4))
    assert not found.drude_weight.any()
    assert np.isfinite(found.sigma).all()
    doped = optical_response(data, replace(FERMI, energy=1.5), light((12, 12, 1), 0, 3, 31, width=0.4))
    assert doped.drude_weight[0, 0] > 0


def test_gapped_graphene_absorbs_above_its_gap():
    """Smallest direct gap 0.6 eV; the sheet conductivity is that of two spins; the susceptibility has a length."""
    data = haldane(0.3, t2=0.0, t=-2.7)
    found = optical_response(data, FERMI, light((24, 24, 1), 0, 3, 61, width=0.03))
    assert found.unit == "S"
    assert smallest_direct_gap(data, (24, 24, 1), found.conditions)[0] == pytest.approx(0.6)
    inside = found.energies < 0.6 - 5 * 0.03
    assert found.sigma[inside].real.max() < 1e-5 * found.sigma.real.max()
    spinors = optical_response(with_spinors(data), FERMI, light((24, 24, 1), 0, 3, 61, width=0.03))
    assert np.allclose(spinors.sigma, found.sigma, atol=1e-10 * np.abs(found.sigma).max())
    assert found.electronic[0, 0] == pytest.approx(found.electronic[1, 1])
    with pytest.raises(UsageError, match="crystal"):
        found.epsilon  # noqa: B018
    moved = optical_response(data, FERMI, light((24, 24, 1), 0, 3, 61, width=0.03, scissor=0.5))
    assert moved.sigma[found.energies < 0.95].real.max() < 1e-5 * found.sigma.real.max()


@pytest.mark.slow
def test_sheet_conductivity_of_graphene():
    """Pi e^2/2h = 6.085e-5 S, which bands that bend raise by (E/3t)^2 (quadrature of the closed form) and Gaussians by (width/E)^2."""
    data, t, width = haldane(0.0, t2=0.0, t=-2.7), 2.7, 0.06
    found = optical_response(data, FERMI, light((480, 480, 1), 0.4, 1.5, 12, width=width, temperature=50.0))
    universal = np.pi * CONDUCTANCE / 2
    assert universal == pytest.approx(6.085e-5, rel=1e-4)
    expected = universal * (1 + (found.energies / (3 * t)) ** 2) * (1 + (width / found.energies) ** 2)
    assert np.abs(np.einsum("maa->ma", found.interband.real) / expected[:, None] - 1).max() < 0.005


def test_hall_part_is_the_anomalous_hall_conductivity():
    data = changed_basis(haldane(0.2, 1.0))
    found = optical_response(data, FERMI, light((24, 24, 1)))
    hall = hall_conductivity(data, FERMI, (24, 24, 1), refinement=MESH_ONLY)
    assert found.hall[0, 1] == pytest.approx(hall.at_fermi[0] * CONDUCTANCE, rel=1e-8)
    assert not found.conditions.reversal


def test_dichroism_of_valleys():
    data = changed_basis(haldane(0.3, t2=0.0))
    found = dichroism(data, K, [0], [1])
    assert abs(found.degree[0, 0]) > 0.999999
    assert found.degree[0, 1] == pytest.approx(-found.degree[0, 0])
    assert found.energy[0] == pytest.approx(0.6)
    omega = Geometry(data, K).curvature()[:, 2, 0]
    assert (np.sign(omega) == np.sign(found.degree[0])).all()
    other = dichroism(data, K, [0], [1], direction=(0, 0, -1))
    assert other.degree == pytest.approx(-found.degree)
    assert edges(data, K, 0.0) == ([0], [1])
    spinors = changed_basis(with_spinors(haldane(0.3, t2=0.0)))
    assert edges(spinors, K, 0.0) == ([0, 1], [2, 3])
    assert dichroism(spinors, K, [0, 1], [2, 3]).degree == pytest.approx(found.degree)
    with pytest.raises(UsageError, match="degenerate"):
        dichroism(spinors, K, [1], [2, 3])
    with pytest.raises(UsageError, match="common"):
        dichroism(spinors, K, [1], [1])
    with pytest.raises(UsageError, match="bands 1 to 2"):
        dichroism(data, K, [0], [2])
    with pytest.raises(UsageError, match="not all zero"):
        dichroism(data, K, [0], [1], direction=(0, 0, 0))


@pytest.mark.parametrize("level", [0.0, -1.2, 1.7])
def test_transport_of_a_chain(level):
    """E = -2 cos(2 k), v = 2 sqrt(4 - E^2): L_p = (2/pi) int (-df/dE) (E - mu)^p 2 sqrt(4 - E^2) dE of two spins."""
    T = 300.0
    kT = KELVIN * T

    def moment(p):
        def integrand(x):
            return x**p / (4 * np.cosh(x / 2) ** 2) * 2 * np.sqrt(max(4 - (level + x * kT) ** 2, 0))

        return (
            2
            / np.pi
            * kT**p
            * quad(
                integrand, -40, 40, limit=400, points=[(s * 2 - level) / kT for s in (1, -1) if -40 < (s * 2 - level) / kT < 40] or None
            )[0]
        )

    found = transport(
        hypercubic(1), FermiLevel(level, level, level, "given"), Settings((1600, 1, 1), FermiScan(temperature=T), refinement=MESH_ONLY)
    )
    assert found["drude"].at_fermi[0] == pytest.approx(E2_OVER_HBAR * 1e-10 * moment(0), rel=1e-6)
    assert found["drude"].unit == "eV S m"
    assert found["seebeck"].at_fermi[0] == pytest.approx(-moment(1) / moment(0) / T, rel=1e-5, abs=1e-12)
    heat = moment(2) - moment(1) ** 2 / moment(0)
    ratio = found["kappa"].at_fermi[0] / found["sigma"].at_fermi[0] / T
    assert ratio == pytest.approx(heat / moment(0) / T**2, rel=1e-5)  # at low T the Lorenz number pi^2/3 (k_B/e)^2
    assert ratio == pytest.approx(np.pi**2 / 3 * KELVIN**2, rel=0.02)


def test_transport_takes_a_temperature_and_a_direction():
    with pytest.raises(UsageError, match="temperature"):
        transport(hypercubic(1), FERMI, Settings((8, 1, 1), FermiScan()))
    with pytest.raises(UsageError, match="molecule"):
        transport(hypercubic(0), FERMI)
    outside = transport(hypercubic(1), FermiLevel(9, 9, 9, ""), Settings((8, 1, 1), FermiScan(temperature=10.0), refinement=MESH_ONLY))
    assert outside["drude"].at_fermi[0] == pytest.approx(0, abs=1e-30)
    assert np.isnan(outside["seebeck"].at_fermi[0])


def test_each_part_of_transport_is_compared_with_its_own_coarse_mesh():
    """Without refinement the result from the coarse mesh is that on it."""
    found = transport(hypercubic(1), FERMI, Settings((40, 1, 1), FermiScan(temperature=3000.0), refinement=MESH_ONLY))
    for part in found.values():
        assert part.from_coarse.shape == part.at_fermi.shape
        assert np.array_equal(part.from_coarse, part.on_meshes[0])


def test_optical_drude_weight_of_a_warm_chain():
    chain = hypercubic(1)
    found = optical_response(chain, FERMI, light((400, 1, 1), temperature=300.0))
    same = transport(chain, FERMI, Settings((400, 1, 1), FermiScan(temperature=300.0), refinement=MESH_ONLY))["drude"]
    assert found.drude_weight[0, 0] == pytest.approx(same.at_fermi[0], rel=1e-12)
    assert found.sigma[0, 0, 0] == pytest.approx(found.drude_weight[0, 0] / found.relaxation)
    assert found.interband == pytest.approx(0)  # one band


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Broadening(0.0), "positive"),
        (lambda: Broadening(0.1, "box"), "gaussian"),
        (lambda: Photons(3.0, 1.0), "ascending"),
        (lambda: Photons(-1.0, 1.0), "ascending"),
        (lambda: LightSettings(relaxation=0.0), "positive"),
        (lambda: LightSettings(temperature=-1.0), "zero or more"),
    ],
)
def test_numbers_out_of_range_are_explained(make, said):
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_refinement_keeps_the_threefold_axis(rounds):
    """Of doped graphene: cells are chosen by lengths of tensors, not by components, which the axis mixes."""
    data = haldane(0.0, t2=0.0, t=-2.7)
    settings = Settings((12, 12, 1), FermiScan(temperature=300.0), refinement=Refinement(rounds, 1e-9))
    found = transport(data, replace(FERMI, energy=1.3), settings)["drude"]
    assert len(found.integral.rounds) == rounds
    xx, xy, yx, yy = found.at_fermi
    assert xx == pytest.approx(yy, rel=1e-9)
    assert abs(xy) + abs(yx) < 1e-9 * xx
