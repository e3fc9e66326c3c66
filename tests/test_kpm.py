"""Kernel polynomials against exact densities smoothed with the same kernel, with overlap, at real and complex k."""

import re
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell
from lattice_models import changed_basis, graphene

from deeph.runtime.errors import DataError, UsageError
from postprocess.density.dos import Window, compute_dos
from postprocess.density.kpm import KPMOperator, Moments
from postprocess.density.kpm_dos import KPMCount, _electron_error, compute_kpm_dos, compute_moments
from postprocess.density.kpm_moments import exact_moments, moments_for, random_moments
from postprocess.density.kpm_work import KPMSettings, KPMWork, count_steps, duration, seconds_per_step
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.cholesky import PardisoCholesky, SuperLUCholesky
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.pencil import BlochPencils, Pencil
from postprocess.eigen.solver import Eigensolver, compute_energies
from postprocess.states.fermi import fermi_from_count
from postprocess.states.kjobs import Jobs, KTask
from postprocess.states.mesh_levels import compute_mesh_levels
from postprocess.states.orbital_groups import make_projections
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
    levels = Eigensolver()(data)(np.zeros(3), 0, vectors=False).energies
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


def with_projections(data, mesh, width, n_vectors, seeds, kinds, energies):
    """Counts and claimed errors (n_seeds, n_spin, n_projections, m) over an ensemble of seeds, and the exact counts with that kernel."""
    projections = make_projections(data, kinds)
    runs = [compute_moments(data, mesh, KPMSettings(width, n_vectors, seed=seed), projections) for seed in range(seeds)]
    levels = compute_mesh_levels(data, mesh, projections)
    exact = np.zeros((data.basis.n_spin, 1 + len(projections.names), len(energies)))
    for s, place in np.ndindex(levels.energies.shape[:2]):
        m = runs[0].traces[s][place]
        for p in range(exact.shape[1]):
            mu = moments_of_levels(levels.energies[s, place], m, m.values.shape[-1], levels.weights[s, place, :, p])
            exact[s, p] += mesh.weights[place] * Moments(m.center, m.half_width, mu[None, None]).counts(energies)[0, 0]
    return np.array([run(energies) for run in runs]), np.array([run.errors(energies) for run in runs]), exact


def assert_errors_hold(counts, errors, exact):
    """No bias, and the scatter over the seeds is the claimed one."""
    n, real = len(counts), counts.std(axis=0, ddof=1)
    claimed = np.sqrt((errors**2).mean(axis=0))
    assert np.abs(counts.mean(axis=0) - exact).max() < 4.5 * (real / np.sqrt(n)).max()
    assert np.abs((counts.mean(axis=0) - exact) / (real / np.sqrt(n))).max() < 4.5
    assert np.abs(np.log(real / claimed)).max() < 4 / np.sqrt(2 * n)
    both, both_claimed = counts.sum(axis=1).std(axis=0, ddof=1), np.sqrt((errors**2).sum(axis=1).mean(axis=0))
    assert np.abs(np.log(both / both_claimed)).max() < 4 / np.sqrt(2 * n)  # spins are independent


def test_error_bars_of_collinear_spin_and_of_projections():
    """A scatter of seeds agrees with the error bars, for each spin, for both together, and for every projection."""
    data = random_model(3, spin="collinear")
    mesh = make_mesh(data, (2, 1, 1), symmetry="none")
    counts, errors, exact = with_projections(data, mesh, 0.5, 8, 120, ["element", "shell", "atom"], np.array([-0.3, 0.5]))
    assert_errors_hold(counts, errors, exact)
    correlation = np.corrcoef((counts - counts.mean(axis=0))[:, :, 0, 0].T)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(120)


def test_error_bars_of_iron(shared_data):
    """Magnetic iron of OpenMX: both spins, shells that are not orthogonal to those of neighbours."""
    data = openmx.read(shared_data / "openmx" / "fe_bcc_spin")
    mesh = make_mesh(data, (2, 2, 1))
    counts, errors, exact = with_projections(data, mesh, 3.0, 6, 60, ["shell"], np.array([data.fermi_energy]))
    assert_errors_hold(counts, errors, exact)


@pytest.mark.parametrize("spin", ["none", "spinor"])
@pytest.mark.parametrize("n_moments", [40, 41])
def test_random_shares_are_mulliken_shares(spin, n_moments):
    """Many vectors come close to the exact moments; groups of all orbitals add up to the total of each vector."""
    data = random_model(2, spin=spin)
    operator = KPMOperator(BlochPencils(data).at(POINTS[1]))
    groups = make_projections(data, ["atom", "shell"]).groups
    samples = random_moments(operator, n_moments, 600, np.random.default_rng(1), groups).values
    expected = exact_moments(operator, n_moments, groups).values[0]
    sigma = (samples[:, 1:].mean(axis=0) - expected)[:, 1:] / (samples[:, 1:].std(axis=0, ddof=1) / np.sqrt(600))[:, 1:]
    assert 0.8 < np.sqrt(np.mean(sigma**2)) < 1.2
    assert np.abs(sigma).max() < 4.8
    assert samples[:, 1:, 0] == pytest.approx(np.tile(groups.sum(axis=1), (600, 1)), abs=1e-8)  # the number of orbitals, without scatter
    assert samples[:, 1:4].sum(axis=1) == pytest.approx(samples[:, 0], abs=1e-8)
    assert samples[:, 4:].sum(axis=1) == pytest.approx(samples[:, 0], abs=1e-8)


def test_shares_of_nearly_dependent_orbitals_scatter_less_than_the_total(shared_data):
    """An atom of a twisted bilayer, S with a condition of 7000: its error is a part of that of the total, as its orbitals are."""
    data = openmx.read(shared_data / "openmx" / "tbg28")
    mesh = make_mesh(data, (1, 1, 1))
    count = compute_moments(data, mesh, KPMSettings(2.0, 16), make_projections(data, ["atom"]))
    error = count.errors(np.array([data.fermi_energy]))[0, :, 0]
    assert error[1:].mean() < 0.4 * error[0]
    found = count(np.array([data.fermi_energy]))[0, :, 0]
    assert found[1:].sum() == pytest.approx(found[0], abs=1e-6)
    assert np.abs(found[1:] - found[0] / 28).max() < 4.5 * error[1:].max()


def test_the_density_of_groups_is_that_of_gaussians():
    """Projected levels widened to Gaussians know nothing of polynomials: exact moments differ by the kernel, random ones by their error."""
    data = supercell(random_model(4), (2, 2, 1))
    operator = KPMOperator(BlochPencils(data).at(POINTS[0]))
    window = Window(operator.center - 0.2 * operator.half_width, operator.center + 0.2 * operator.half_width, 41)
    mesh, projections = make_mesh(data, (1, 1, 1)), make_projections(data, ["element", "shell"])
    dos = compute_kpm_dos(data, mesh, KPMSettings(0.1, 100), window=window, projections=projections)
    exact = compute_kpm_dos(data, mesh, KPMSettings(0.1, 100, exact=True), window=window, projections=projections)
    other = compute_dos(data, mesh, method="gaussian", width=0.1, window=window, projections=projections)
    assert dos.names == exact.names == other.names
    assert (dos.errors[:, 1:] > 0).all()
    assert not exact.errors[:, 1:].any()
    assert exact.errors[:, 0] == pytest.approx(dos.errors[:, 0])
    assert "exact projections" in exact.method
    assert np.abs(exact.counts - other.counts)[:, 1:].max() < 0.06
    assert 0.5 < np.sqrt(np.mean(((dos.counts - exact.counts) / dos.errors)[:, 1:] ** 2)) < 1.6


def test_random_numbers_belong_to_the_k_point():
    """Neither other processes nor other points of the mesh change a result; another seed, k or spin does."""
    data = random_model(3, spin="collinear")
    whole, half = (make_mesh(data, n, symmetry="none") for n in ((4, 1, 1), (2, 1, 1)))
    settings = KPMSettings(0.5, 3)
    one = compute_moments(data, whole, settings)
    two = compute_moments(data, whole, settings, jobs=Jobs(2))
    few = compute_moments(data, half, settings)
    for spin in range(2):
        for place in range(4):
            assert np.array_equal(one.traces[spin][place].values, two.traces[spin][place].values)
        assert np.array_equal(one.traces[spin][2].values, few.traces[spin][1].values)
    phases = []
    for seed, spin, k in ((0, 0, 0.25), (1, 0, 0.25), (0, 1, 0.25), (0, 0, 0.75)):
        task = KTask(spin, (k, 0.0, 0.0))
        phases.append(KPMWork(data, settings._replace(seed=seed), np.zeros((0, 12), bool), task, 1).random(task).random())
    assert len(set(phases)) == 4


@pytest.mark.parametrize("n_moments", [2, 3, 30, 31])
@pytest.mark.parametrize("exact", [False, True])
def test_the_cost_that_is_announced_is_that_of_the_recursion(n_moments, exact):
    data = random_model(0)
    operator = KPMOperator(BlochPencils(data).at(POINTS[0]))
    groups = make_projections(data, ["shell"]).groups[:2]
    settings, done = KPMSettings(n_vectors=18, exact=exact), []
    random_moments(operator, n_moments, 18, np.random.default_rng(0), None if exact else groups, advance=done.append)
    if exact:
        exact_moments(operator, n_moments, groups, advance=done.append)
    assert sum(done) == count_steps(settings, groups, n_moments)


def test_cost_and_progress_are_told(caplog, monkeypatch):
    """Memory and time before the recursion; lines while it runs; a refusal where the moments do not fit."""
    data = random_model(0)
    mesh, projections = make_mesh(data, (2, 1, 1), symmetry="none"), make_projections(data, ["atom"])
    monkeypatch.setattr("deeph.runtime.log.SILENCE", 1e-3)
    with caplog.at_level("INFO", logger="deeph"):
        compute_moments(data, mesh, KPMSettings(0.01, 4), projections)
    lines = [text for r in caplog.records if not (text := r.getMessage()).endswith("are done") and "k-points are done, about" not in text]
    cost = [line for line in lines if line.startswith("expected: ")]
    assert len(cost) == 1
    operator = KPMOperator(BlochPencils(data).at(POINTS[0]))
    assert moments_for(operator, 0.01) == np.ceil(np.pi * operator.half_width / 0.01)  # the width of the kernel is pi a/N
    assert re.match(
        r"expected: \d+\.\d\d GiB of memory \(.* H, S and its factor\), \d+ steps in about \d+ s at each of 2 k-points", cost[0]
    )
    assert "4 random vectors, 3 projections" in lines[lines.index(cost[0]) - 1]
    running = [n for n, line in enumerate(lines) if re.search(r": \d+% of the steps, about \d+ (s|minutes|hours) left", line)]
    assert running
    assert running[0] > lines.index(cost[0])
    monkeypatch.setattr("postprocess.density.kpm_work.available_memory", lambda: 1e5)
    with pytest.raises(DataError, match=r"moments of 3 projections need .* GiB of memory"):
        compute_moments(data, mesh, KPMSettings(0.01, 4), projections)


def test_durations_in_words():
    assert [duration(x) for x in (0.01, 100, 119, 121, 7300)] == [
        "about 1 s",
        "about 100 s",
        "about 119 s",
        "about 2 minutes",
        "about 2 hours",
    ]


def test_the_memory_of_a_factor_is_known(shared_data):
    """SuperLU: at least the elements of S; PARDISO: within a factor of 5 of it."""
    S = BlochPencils(openmx.read(shared_data / "openmx" / "tbg28")).at(POINTS[1]).S
    whole = SuperLUCholesky(S).memory
    assert 2 * S.nnz * 16 <= whole < 2 * 364**2 * 20
    if is_installed():
        assert whole / 5 < PardisoCholesky(S).memory < 5 * whole


@pytest.mark.parametrize("steps", [14, 60])
def test_bounds_enclose_the_levels(monkeypatch, steps):
    """Also where Lanczos has not converged, whose residual widens them; on any zero of energy, and with little to spare."""
    monkeypatch.setattr("postprocess.density.kpm.LANCZOS_STEPS", steps)
    for seed in range(6):
        data = supercell(random_model(seed), (3, 3, 1))
        H, S = data.H_bloch.dense(POINTS[0]).real, data.S_bloch.dense(POINTS[0]).real
        levels = Eigensolver()(data)(POINTS[0], 0, vectors=False).energies
        span = levels[-1] - levels[0]
        for zero in (0.0, 1000.0):
            operator = KPMOperator(Pencil.from_matrices(H + zero * S, S))
            low, high = (operator.center + sign * operator.half_width - zero for sign in (-1, 1))
            assert low < levels[0] < levels[-1] < high
            assert high - low == pytest.approx(1.02 * span, rel=1e-6) if steps == 60 else high - low < 1.6 * span


def test_levels_that_are_all_equal():
    """Without any width of the spectrum: one step of the count."""
    S = random_model(1).S_bloch.dense(POINTS[0]).real
    operator = KPMOperator(Pencil.from_matrices(2 * S, S))
    count = random_moments(operator, 200, 2, np.random.default_rng(0)).counts(np.array([1.5, 2.0, 2.5]))
    assert count == pytest.approx(np.tile([0, len(S) / 2, len(S)], (2, 1, 1)), abs=1e-3)


@pytest.mark.parametrize(("n_vectors", "student"), [(3, 4.526537), (10, 2.319806)])
def test_error_of_the_number_of_electrons(n_vectors, student):
    """95.45 % of Student's distribution (two standard deviations of a normal one), both spins, and the largest change within a width."""
    data = supercell(random_model(5, spin="collinear"), (2, 2, 1))
    count = compute_moments(data, make_mesh(data, (1, 1, 1)), KPMSettings(0.3, n_vectors))
    error = _electron_error(count, 36.0, n_vectors)
    level = fermi_from_count(count, 36.0, count.bounds).energy
    scatter = np.sqrt((count.errors(np.array([level]))[:, 0] ** 2).sum())
    widths = [m.width for traces in count.traces for m in traces]
    fewer = [[replace(m, values=m.values[..., : m.values.shape[-1] // 2]) for m in traces] for traces in count.traces]
    near = level + max(widths) * np.linspace(-1, 1, 81)
    change = np.abs(count(near) - replace(count, traces=fewer)(near))[:, 0].sum(axis=0)
    assert change.max() > 1.5 * change[40]
    assert error**2 - (student * scatter) ** 2 == pytest.approx(change.max() ** 2, rel=0.01)
    assert _electron_error(count, None, n_vectors) == 0


def test_standard_errors_of_a_sum_over_k_points():
    """The variance of the mean of each k, with the square of its weight."""
    rng = np.random.default_rng(0)
    weights = np.array([0.25, 1.5])
    traces = [[Moments(0.0, 2.0, rng.normal(size=(4, 1, 9))) for _ in weights] for _ in range(2)]
    local = [[Moments(0.0, 2.0, rng.normal(size=(4, 3, 9))) for _ in weights] for _ in range(2)]
    E = np.linspace(-1, 1, 5)
    errors = KPMCount(traces, local, weights).errors(E)
    for spin, of_both in enumerate(zip(traces, local, strict=True)):
        samples = [np.concatenate([total.counts(E), part.counts(E)], axis=1) for total, part in zip(*of_both, strict=True)]
        expected = sum(w**2 * ((x - x.mean(axis=0)) ** 2).sum(axis=0) / 3 / 4 for w, x in zip(weights, samples, strict=True))
        assert errors[spin] == pytest.approx(np.sqrt(expected))


def test_time_of_a_step_and_of_all(caplog, monkeypatch):
    data = random_model(0)
    operator = KPMOperator(BlochPencils(data).at(POINTS[0]))
    clock, solve = [0.0], operator.solve

    def slow(y):
        clock[0] += 0.05
        return solve(y)

    monkeypatch.setattr(operator, "solve", slow)
    monkeypatch.setattr("postprocess.density.kpm_work.perf_counter", lambda: clock[0])
    assert seconds_per_step(operator, 3) == pytest.approx(0.05)
    monkeypatch.setattr("postprocess.density.kpm_work.seconds_per_step", lambda _operator, block: 3.0 * block)
    with caplog.at_level("INFO", logger="deeph"):
        compute_moments(data, make_mesh(data, (1, 1, 1)), KPMSettings(1.0, 4))
    n = moments_for(operator, 1.0)
    assert f", {4 * (1 + n // 2)} steps in {duration(3.0 * 4 * (1 + n // 2))}" in caplog.text
