"""Kernel polynomials against exact densities smoothed with the same kernel, with overlap, at real and complex k."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell
from lattice_models import changed_basis, graphene

from deeph.runtime.errors import DataError, UsageError
from postprocess.density.dos import Window, compute_mesh_levels
from postprocess.density.kpm import KPMOperator, Moments
from postprocess.density.kpm_dos import compute_kpm_dos, compute_moments
from postprocess.density.kpm_moments import exact_moments, moments_for, random_moments
from postprocess.density.kpm_work import KPMSettings
from postprocess.eigen.cholesky import PardisoCholesky, SuperLUCholesky
from postprocess.eigen.dense import compute_energies
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.pencil import BlochPencils
from postprocess.lattice.mesh import make_mesh
from postprocess.states.projections import make_projections
from postprocess.states.states import Dense
from preprocess.readers import openmx

POINTS = [np.zeros(3), np.array([0.21, 0.13, 0.0])]


def moments_of_levels(energies, operator, n, weights=1.0):
    x = (energies - operator.center) / operator.half_width
    assert np.abs(x).max() < 1
    return (np.cos(np.arange(n)[:, None] * np.arccos(x)) * weights).sum(axis=1)


@pytest.mark.parametrize("single", [False, pytest.param(True, marks=pytest.mark.skipif(not is_installed(), reason="needs PARDISO"))])
@pytest.mark.parametrize("k", POINTS, ids=["gamma", "complex"])
def test_moments_of_twisted_bilayer(shared_data, k, single):
    """Tbg28: local moments are exact, those of random vectors scatter as their error bars say."""
    data = openmx.read(shared_data / "openmx" / "tbg28")
    operator = KPMOperator(BlochPencils(data).at(k), single=single)
    exact = moments_of_levels(compute_energies(data, k[None])[0, 0], operator, 120)
    local = exact_moments(operator, 120, np.ones((1, operator.n), bool)).values[0, 0]
    assert np.abs(local - exact).max() < (0.5 if single else 1e-6)  # of 364
    samples = random_moments(operator, 120, 49, np.random.default_rng(0)).values[:, 0]
    sigma = (samples.mean(axis=0) - exact)[1:] / (samples.std(axis=0, ddof=1) / 7)[1:]
    assert 0.8 < np.sqrt(np.mean(sigma**2)) < 1.2
    assert samples[:, 0] == pytest.approx(364, rel=1e-4)


def test_density_of_graphene_supercell():
    """10 x 10 cells at Gamma against the exact density with Jackson's kernel; the error bars hold, and all electrons are found."""
    data = supercell(graphene(2.7), (10, 10, 1))
    levels = compute_energies(data, np.zeros((1, 3)))[0, 0]
    count = compute_moments(data, make_mesh(data, (1, 1, 1)), KPMSettings(width=0.2, n_vectors=40))
    moments = count.traces[0][0]
    n = moments.values.shape[-1]
    exact = Moments(moments.center, moments.half_width, moments_of_levels(levels, moments, n)[None, None])
    E = np.linspace(-8, 8, 161)
    deviation = count(E)[0, 0] - 2 * exact.counts(E)[0, 0]
    errors = count.errors(E)[0, 0]
    assert np.abs(deviation).max() < 4 * errors.max()
    assert 0.4 < np.sqrt(np.mean((deviation / errors)[10:-10] ** 2)) < 2
    assert count(np.array([-100.0, 100.0]))[0, 0] == pytest.approx([0, 400], abs=1e-9)
    smeared = np.array([2 * (levels < e).sum() for e in E])
    assert np.sqrt(np.mean((2 * exact.counts(E)[0, 0] - smeared) ** 2)) < 6  # it is the density of these levels, smoothed


def test_jackson_kernel_is_a_narrow_gaussian():
    """One level in the middle: standard deviation pi a/N, all of it counted."""
    n, a = 400, 5.0
    one = Moments(0.0, a, np.cos(np.arange(n) * np.pi / 2)[None, None])
    E = np.linspace(-a, a, 20001)
    density = np.gradient(one.counts(E)[0, 0], E)
    assert np.trapezoid(density, E) == pytest.approx(1, abs=1e-6)
    assert np.sqrt(np.trapezoid(density * E**2, E)) == pytest.approx(one.width, rel=0.02)
    assert density.min() > -1e-9


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_local_densities_are_mulliken_shares(spin):
    data = random_model(2, spin=spin)
    mesh = make_mesh(data, (2, 1, 1), symmetry="none")
    projections = make_projections(data, ["atom", "shell"])
    count = compute_moments(data, mesh, KPMSettings(width=0.3, n_vectors=2, exact=True), projections)
    levels = compute_mesh_levels(data, mesh, projections)
    E = np.linspace(-3, 3, 21)
    found, expected = count(E)[:, 1:], np.zeros((data.basis.n_spin, len(projections.names), len(E)))
    for s, traces in enumerate(count.traces):
        for place, m in enumerate(traces):
            for p in range(len(projections.names)):
                w = levels.weights[s, place, :, p + 1]
                one = moments_of_levels(levels.energies[s, place], m, m.values.shape[-1], w)
                expected[s, p] += mesh.weights[place] * Moments(m.center, m.half_width, one[None, None]).counts(E)[0, 0]
    assert found == pytest.approx(expected, abs=1e-8)


def test_basis_and_library_do_not_matter():
    """Bounds and local moments of an atom, in another basis of its orbitals and with SuperLU."""
    data = random_model(4)
    other = changed_basis(data, 4)
    k = POINTS[1]
    atom = make_projections(data, ["atom"]).groups[:1]
    results = [exact_moments(KPMOperator(BlochPencils(d).at(k)), 50, atom).counts(np.linspace(-2, 2, 9)) for d in (data, other)]
    assert results[0] == pytest.approx(results[1], abs=5e-3)  # the bounds differ a little, and with them the kernel
    S = BlochPencils(data).at(k).S
    y = np.random.default_rng(0).normal(size=(S.shape[0], 3)) + 0j
    full = S.toarray() + np.triu(S.toarray(), 1).conj().T
    for factor in (SuperLUCholesky(S), *([PardisoCholesky(S)] if is_installed() else [])):
        assert full @ factor.solve(y) == pytest.approx(y, abs=1e-10)
        half = factor.half_solve(y)
        assert half.conj().T @ full @ half == pytest.approx(y.conj().T @ y, abs=1e-10)


@pytest.mark.parametrize("width", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", [1, 3])
def test_fermi_level_has_an_error_bar(seed, width):
    """It covers the exact level, whether the random vectors or the width of the kernel are the larger error."""
    data = supercell(random_model(seed), (5, 5, 1))
    levels = Dense()(data)(np.zeros(3), 0, vectors=False).energies
    filled = round(0.5 * len(levels))
    data = replace(data, n_electrons=2.0 * filled)
    dos = compute_kpm_dos(data, make_mesh(data, (1, 1, 1)), KPMSettings(width, 100), window=Window(-3, 3, 61))
    half = (dos.counted.high - dos.counted.low) / 2
    assert 0 < half < 0.3
    assert levels[filled - 1] - 2 * half < dos.counted.energy < levels[filled] + 2 * half
    assert dos.errors.shape == dos.counts.shape
    assert "kernel polynomials" in dos.method


def test_wrong_questions_get_clear_answers():
    data = random_model(0)
    operator = KPMOperator(BlochPencils(data).at(POINTS[0]))
    with pytest.raises(UsageError, match=r"width 0 eV: expected .* to .* eV for levels that span"):
        moments_for(operator, 0.0)
    with pytest.raises(UsageError, match="0 random vectors"):
        random_moments(operator, 10, 0, np.random.default_rng(0))
    indefinite = data.S.mapped(lambda b, p: b - 2 * np.eye(*b.shape[-2:]) * ((p[:, 3] == p[:, 4]) & ~p[:, :3].any(1))[:, None, None])
    broken = type(data)(data.system, data.basis, indefinite, data.H)
    with pytest.raises(DataError, match="not positive definite"):
        KPMOperator(BlochPencils(broken).at(POINTS[0]))
    operator.half_width /= 3  # as if Lanczos had missed the ends
    with pytest.raises(DataError, match="moments diverge"):
        random_moments(operator, 200, 1, np.random.default_rng(0))
