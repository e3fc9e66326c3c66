"""Conductivities by kernel polynomials: the sum over all pairs of levels, in any basis, and within the error bars of random vectors."""

import numpy as np
import pytest
from test_geometry import Gaussians, four_bands
from tight_binding import changed_basis, enlarged, haldane, moved_origin
from twisted_cases import pi_bilayer

from deeph.physics.units import CONDUCTANCE
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.kpm import KPMOperator
from postprocess.eigen import pardiso
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.pencil import BlochPencils
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import find_positions
from postprocess.large import kubo_work
from postprocess.large.conductivity import kubo_conductivity, level_conductivity
from postprocess.large.kubo import Nodes, PairFunctions, Window, absorbed, sums_over_pairs
from postprocess.large.kubo_moments import Velocity, double_moments
from postprocess.large.kubo_work import KuboWork
from postprocess.large.settings import ConductivitySettings
from postprocess.large.sparse_basis import SparseBasis
from postprocess.response.light import Broadening, Photons
from postprocess.response.measure import E2_OVER_HBAR, measure
from postprocess.response.optics import optical_response
from postprocess.response.transitions import LightSettings
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs

K = np.array([0.13, 0.27, 0.41])
EDGE = np.array([0.5, 0.0, 0.0])
FUNCTIONS = PairFunctions(0.1, 2000.0, np.array([0.0, 0.5, 2.0]), 0.3, 0.5)
FRAME = np.eye(3)[:2]


def by_levels(data, k, functions):
    """The same sums over all pairs of levels."""
    g = Geometry(data, k)
    E, v = g.energies[0], g.velocity[0, :2]
    pairs = np.einsum("apq,bqp->abpq", v, v)
    absorption = [np.einsum("abpq,pq->ab", pairs, F) for F in functions.absorption(E[:, None], E)]
    return np.stack(absorption, axis=-1), np.einsum("abpq,pq->ab", pairs, functions.hall(E[:, None], E))


def by_polynomials(data, k, functions, *, more=3):
    """With the exact trace, and more moments than random vectors are worth."""
    data = hermitian(data)
    operator = KPMOperator(BlochPencils(data).at(k))
    velocity = Velocity.along(SparseBasis(data, find_positions(data)), k, 0, FRAME, operator.dtype)
    n = more * functions.moments(operator.half_width, hall=True)
    moments = double_moments(operator, velocity, n, np.eye(operator.n, dtype=operator.dtype)).sum(axis=0)
    return operator.dtype, sums_over_pairs(functions, moments, operator.center, operator.half_width, hall=True)


@pytest.mark.parametrize(
    ("plain", "changed", "k", "dtype"),
    [
        (four_bands, lambda: moved_origin(changed_basis(four_bands())), K, complex),
        (lambda: Gaussians().data, lambda: Gaussians().data, K, complex),
        (lambda: enlarged(haldane(0.3, t2=0.0), (2, 1, 1)), lambda: changed_basis(enlarged(haldane(0.3, t2=0.0), (2, 1, 1))), EDGE, float),
    ],
    ids=["spinors", "Gaussians", "real"],
)
def test_moments_give_the_sum_over_all_pairs_in_any_basis(plain, changed, k, dtype):
    absorption, hall = by_levels(plain(), k, FUNCTIONS)
    kind, found = by_polynomials(changed(), k, FUNCTIONS)
    assert kind == dtype
    np.testing.assert_allclose(found["absorption"], absorption, atol=1e-8 * np.abs(absorption).max())
    np.testing.assert_allclose(found["hall"], hall, atol=1e-8 * max(np.abs(hall).max(), 1e-3))


def test_filtered_vectors_and_sums_at_nodes_change_nothing():
    """What the work of one vector does, with the exact trace: a narrow window, and sums made during the recursion."""
    data, functions = hermitian(changed_basis(four_bands())), PairFunctions(0.1, 300.0, np.array([0.5, 1.0]), 0.1, 0.5)
    operator = KPMOperator(BlochPencils(data).at(K))
    velocity = Velocity.along(SparseBasis(data, find_positions(data)), K, 0, FRAME, operator.dtype)
    n, scale = functions.moments(operator.half_width, hall=False), (operator.center, operator.half_width)
    phases = np.eye(operator.n, dtype=operator.dtype)
    plain = double_moments(operator, velocity, n, phases).sum(axis=0)
    near, window = Nodes.of(n, *scale, (0.1, functions.reach())), Window.around(functions, n, *scale)
    found = double_moments(operator, velocity, n, phases, rows=near.rows, window=window.coefficients).sum(axis=0)
    assert len(near.rows) < 2 * n
    assert np.ptp(window(near.energies)) > 0.3
    expected = sums_over_pairs(functions, plain, *scale, hall=False)["absorption"]
    np.testing.assert_allclose(absorbed(functions, found, near.energies, window), expected, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(double_moments(operator, velocity, n, phases, rows=near.rows).sum(axis=0), near.at(plain), atol=1e-9)


def test_the_chosen_number_of_moments_suffices():
    absorption, _ = by_levels(four_bands(), K, FUNCTIONS)
    _, found = by_polynomials(four_bands(), K, FUNCTIONS, more=1)
    assert np.abs(found["absorption"] - absorption).max() < 3e-3 * np.abs(absorption).max()


def fermi(energy):
    return FermiLevel(energy, energy, energy, "given")


def on_mesh_by_levels(data, settings, energy):
    """(m, d, d) sigma of the mesh from all levels."""
    mesh, functions = make_mesh(data, settings.divisions, symmetry="reversal"), settings.functions(energy)
    total = sum(w * by_levels(data, k, functions)[0].real for k, w in zip(mesh.points, mesh.weights, strict=True))
    return 2 * E2_OVER_HBAR * measure(data).per_size(2) * np.moveaxis(total, -1, 0)


def test_random_vectors_hold_their_error_bars():
    data, energy = pi_bilayer(1, 2), 0.81
    settings = ConductivitySettings((2, 2, 1), Photons(2.0, 6.0, 9), 0.4, 1500.0, n_vectors=6)
    found, exact = kubo_conductivity(data, fermi(energy), settings), on_mesh_by_levels(data, settings, energy)
    deviation = (found.sigma.real - exact) / found.errors
    assert np.abs(deviation).max() < 6
    assert 0.3 < np.sqrt((deviation**2).mean()) < 1.7
    assert (found.errors[:, 0, 0] < 0.4 * exact[:, 0, 0].max()).all()


def test_sigma_is_that_of_dense_matrices_where_transitions_are_far_from_zero():
    """The dense route has photon/(E' - E)^2 where this one has 1/(E' - E): the same to the square of width over photon energy."""
    data = changed_basis(haldane(mass=0.1, t2=0.2))
    settings = ConductivitySettings((3, 3, 1), Photons(3.0, 4.0, 3), 0.1, 1000.0, n_vectors=4)
    found = kubo_conductivity(data, fermi(0.0), settings)
    dense = optical_response(data, fermi(0.0), LightSettings((3, 3, 1), settings.photons, Broadening(0.1), 1000.0))
    np.testing.assert_allclose(found.sigma[:, 0, 0].real, dense.sigma_fine[:, 0, 0].real, atol=4 * found.errors.max() + 2e-6)
    np.testing.assert_allclose(found.sigma[:, 0, 1].imag, dense.sigma_fine[:, 0, 1].imag, atol=4 * found.errors.max() + 2e-6)


def test_hall_conductivity_of_an_insulator_is_quantized():
    """Two e^2/h (both spins) of Haldane's model in a random basis, with dense matrices and with polynomials alike."""
    data = changed_basis(haldane(mass=0.1, t2=0.2))
    settings = ConductivitySettings((4, 4, 1), Photons(0.0, 1.0, 2), 0.4, 900.0, n_vectors=3, hall=True, gap=1.5)
    found = kubo_conductivity(data, fermi(0.0), settings)
    dense = optical_response(data, fermi(0.0), LightSettings((4, 4, 1), Photons(0.0, 1.0, 2)))
    np.testing.assert_allclose(found.hall, dense.hall, atol=1e-3 * CONDUCTANCE)
    assert abs(found.hall[0, 1] / CONDUCTANCE / 2 + 1) < 0.1  # what 4 x 4 points leave


def test_single_precision():
    found = []
    for single in (False, True):
        options = SolverOptions(single=single)
        settings = ConductivitySettings((1, 1, 1), Photons(0.5, 6.0, 4), 0.4, 1500.0, n_vectors=2, options=options)
        found.append(kubo_conductivity(pi_bilayer(1, 2), fermi(0.81), settings).sigma)
    assert 0 < np.abs(found[1] - found[0]).max() < 1e-4 * np.abs(found[0]).max()


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    data, done = changed_basis(haldane()), []
    settings = ConductivitySettings((2, 2, 1), Photons(1.0, 2.0, 3), 0.5, 2000.0, n_vectors=2, jobs=Jobs(scratch=tmp_path / "kept"))
    whole = kubo_conductivity(data, fermi(0.0), ConductivitySettings(**vars(settings) | {"jobs": Jobs()}))
    compute = KuboWork.__call__

    def failing(self, task):
        done.append(task)
        if len(done) == 4:
            raise DataError("the power is gone")
        return compute(self, task)

    monkeypatch.setattr(KuboWork, "__call__", failing)
    with pytest.raises(DataError, match="power"):
        kubo_conductivity(data, fermi(0.0), settings)
    found = kubo_conductivity(data, fermi(0.0), settings)
    assert len(done) == 4 + 5  # three of eight were kept
    np.testing.assert_array_equal(found.sigma, whole.sigma)
    with pytest.raises(DataError, match="other options"):
        kubo_conductivity(data, fermi(0.3), settings)


def test_what_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="a sharp occupation, 0 K"):
        ConductivitySettings(temperature=0.0)
    monkeypatch.setattr(kubo_work, "available_memory", lambda: 1e5)
    with pytest.raises(DataError, match="choose a larger width"):
        kubo_conductivity(pi_bilayer(1, 2), fermi(0.8), ConductivitySettings((1, 1, 1)))


@pytest.mark.parametrize("conductivity", [kubo_conductivity, level_conductivity])
def test_a_layer_has_no_k_across_its_vacuum(conductivity):
    with pytest.raises(UsageError, match=r"not periodic along lattice vector 3; expected 2 2 1"):
        conductivity(pi_bilayer(1, 2), fermi(0.8), ConductivitySettings((2, 2, 2)))


@pytest.mark.parametrize("changed", [False, True])
def test_levels_near_the_fermi_energy_absorb_the_same(changed):
    """By the sparse eigensolver: as with all levels of dense matrices, in any basis."""
    plain = enlarged(haldane(mass=0.1, t2=0.2), (3, 3, 1))
    options = SolverOptions(name="pardiso" if pardiso.is_installed() else "superlu")
    settings = ConductivitySettings((2, 2, 1), Photons(2.0, 2.4, 3), 0.1, 300.0, options=options)
    found = level_conductivity(changed_basis(plain) if changed else plain, fermi(0.0), settings)
    total = sum(by_levels(plain, k, settings.functions(0.0))[0] for k in make_mesh(plain, (2, 2, 1), symmetry="none").points) / 4
    exact = 2 * E2_OVER_HBAR * measure(plain).per_size(2) * np.moveaxis(total, -1, 0)
    np.testing.assert_allclose(found.sigma, (exact + exact.conj().swapaxes(1, 2)) / 2, atol=1e-9)
    assert np.abs(exact).max() > 1e-5
    assert not found.errors.any()


@pytest.mark.slow
def test_868_atoms_absorb_as_with_all_levels():
    """Twisted bilayer graphene, 3.9 degrees."""
    data, energy = pi_bilayer(8, 9), 0.809
    settings = ConductivitySettings((3, 3, 1), Photons(0.5, 2.0, 7), 0.2, 800.0, n_vectors=3)
    found, exact = kubo_conductivity(data, fermi(energy), settings), on_mesh_by_levels(data, settings, energy)
    deviation = (found.sigma.real - exact) / found.errors
    assert np.abs(deviation).max() < 7  # Student's distribution of three vectors at five k-points
    assert 0.3 < np.sqrt((deviation**2).mean()) < 1.8
    assert (found.errors[:, 0, 0] < 0.3 * exact[:, 0, 0]).all()


@pytest.mark.slow
def test_868_atoms_with_haldane_terms_have_chern_number_two():
    data = pi_bilayer(8, 9, haldane=0.1)
    settings = ConductivitySettings((2, 2, 1), Photons(0.0, 1.0, 2), 0.5, 800.0, n_vectors=3, hall=True, gap=1.0)
    found = kubo_conductivity(data, fermi(0.809), settings)
    chern, error = (x[0, 1] / CONDUCTANCE / 2 for x in (-found.hall, found.hall_errors))
    assert error < 0.15
    assert abs(chern - 2) < 4 * error + 0.01
