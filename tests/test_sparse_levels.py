"""The sparse eigensolver against LAPACK: real cases, random matrices, and everything that can go wrong."""

import numpy as np
import pytest
from band_cases import random_model, supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.linalg import eigh

from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.levels import Levels
from postprocess.eigen.overlap_spectrum import Projected, nearly_dependent, smallest_overlap
from postprocess.eigen.pardiso import is_installed
from postprocess.eigen.pencil import BlochPencils, Pencil
from postprocess.eigen.search import levels_between, levels_near

needs_pardiso = pytest.mark.skipif(not is_installed(), reason="PARDISO is not installed (pip install mkl)")
PARDISO = pytest.param("pardiso", marks=needs_pardiso)
BACKENDS = [PARDISO, "superlu"]
CASES = (
    *("graphene", "mos2", "mos2_soc", "bilayer_ab", "fe_bcc_spin", "fe_nc_soc", "o2_nc", "si2", "h2o", "mini_graphene"),
    *("mini_te_chain_soc", "graphene_f", "si2_frac_wrap", "tbg28"),
)
K = np.array([[0, 0, 0], [0.5, 0, 0], [0.13, -0.27, 0.0], [1 / 3, 1 / 3, 0]])


def reference(data, k, spin=0):
    return eigh(data.H_bloch.dense(k, component=spin), data.S_bloch.dense(k), eigvals_only=True)


def check_near(pencil, expected, center, n):
    found = levels_near(pencil, center, n)
    nearest = np.sort(np.abs(expected - center))[:n]
    assert np.abs(np.sort(np.abs(found.energies - center)) - nearest).max() < 1e-8
    assert np.abs(found.energies - expected[found.first : found.first + n]).max() < 1e-8  # the count tells which levels they are
    assert found.complete
    assert found.residuals.max() < 1e-6
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_dense_and_sparse_agree_on_openmx_cases(shared_data, case, backend):
    from preprocess.readers import openmx

    data = hermitian(openmx.read(shared_data / "openmx" / case))
    pencils = BlochPencils(data, backend=backend)
    for k in K:
        for spin in range(data.basis.n_spin):
            expected = reference(data, k, spin)
            check_near(pencils.at(k, spin), expected, data.fermi_energy or -5.0, min(14, len(expected)))
            low, high = expected[len(expected) // 4] - 0.01, expected[len(expected) // 2] + 0.01
            inside = expected[(expected >= low) & (expected <= high)]
            window = levels_between(pencils.at(k, spin), low, high)
            assert window.complete
            assert np.abs(window.energies - inside).max() < 1e-8


@pytest.mark.parametrize("backend", BACKENDS)
def test_dense_and_sparse_agree_on_MoTe2(shared_data, backend):
    from deeph.files.store import read_folder

    data = read_folder(shared_data / "peers" / "deeph-bands" / "MoTe2")
    for k in K:
        check_near(BlochPencils(data, backend=backend).at(k), reference(data, k), data.fermi_energy, 20)


@needs_pardiso
@pytest.mark.parametrize("k", K)
def test_single_precision_factors_give_double_precision_levels(bilayer36, k):
    from deeph.files.store import read_folder

    data = read_folder(bilayer36 / "000")
    expected = reference(data, k)
    found = levels_near(BlochPencils(data, backend="pardiso", single=True).at(k), data.fermi_energy, 20)
    nearest = np.sort(expected[np.argsort(np.abs(expected - data.fermi_energy))[:20]])
    assert np.abs(found.energies - nearest).max() < 1e-8
    assert found.complete in (True, None)  # a count with so few digits is not always trusted


@pytest.mark.parametrize("backend", BACKENDS)
def test_dirac_point_and_kramers_pairs(shared_data, backend):
    from preprocess.readers import openmx

    graphene = openmx.read(shared_data / "openmx" / "graphene")
    k = np.array([1 / 3, 1 / 3, 0])
    found = check_near(BlochPencils(graphene, backend=backend).at(k), reference(graphene, k), -4.0, 6)
    assert np.diff(found.energies).min() < 1e-3  # the Dirac point, split by the grid of the DFT code
    mos2 = openmx.read(shared_data / "openmx" / "mos2_soc")
    edge = np.array([0.5, 0, 0])
    found = check_near(BlochPencils(mos2, backend=backend).at(edge), reference(mos2, edge), mos2.fermi_energy, 8)
    assert np.abs(found.energies[1::2] - found.energies[::2]).max() < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_high_multiplicity(backend):
    """12 equal copies of a model: every level 12-fold, more than a block holds."""
    data = random_model(3)
    k = np.array([0.1, 0.2, 0.0])
    H, S = (sparse.block_diag([m.csr(k)] * 12) for m in (data.H_bloch, data.S_bloch))
    expected = np.repeat(reference(data, k), 12)
    found = levels_near(Pencil.from_matrices(H, S, backend=backend), expected[30], 24)
    assert np.abs(found.energies - expected[24:48]).max() < 1e-8 or np.abs(found.energies - expected[12:36]).max() < 1e-8
    window = levels_between(Pencil.from_matrices(H, S, backend=backend), expected[12] - 0.01, expected[47] + 0.01)
    assert window.complete
    assert np.abs(window.energies - expected[12:48]).max() < 1e-8


@pytest.mark.parametrize("backend", BACKENDS)
def test_shift_on_a_level(backend):
    data = supercell(random_model(5), (3, 3, 1))
    for k in K[[0, 2]]:
        expected = reference(data, k)
        check_near(BlochPencils(data, backend=backend).at(k), expected, expected[20], 9)


def random_pencil(seed, n, density, *, is_complex):
    rng = np.random.default_rng(seed)
    A = sparse.random_array((n, n), density=density, rng=rng)
    if is_complex:
        A = A + 1j * sparse.random_array((n, n), density=density, rng=rng)
    B = sparse.random_array((n, n), density=density, rng=rng)
    B = B + B.T
    return 3 * (A + A.conj().T), sparse.eye_array(n) + 0.5 * B / max(1e-3, abs(B).sum(axis=0).max())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 50), st.floats(0, 0.5), st.booleans(), st.booleans())
def test_random_pencils(seed, n, density, is_complex, on_level):
    H, S = random_pencil(seed, n, density, is_complex=is_complex)
    expected = eigh(H.toarray(), S.toarray(), eigvals_only=True)
    rng = np.random.default_rng(seed)
    center = expected[rng.integers(n)] if on_level else rng.normal()
    m = int(rng.integers(1, n + 1))
    low, high = center - rng.uniform(0.1, 3), center + rng.uniform(0.1, 3)
    for backend in ("pardiso", "superlu") if is_installed() else ("superlu",):
        pencil = Pencil.from_matrices(H, S, backend=backend)
        found = levels_near(pencil, center, m)
        assert np.abs(np.sort(np.abs(found.energies - center)) - np.sort(np.abs(expected - center))[:m]).max() < 1e-8
        window = levels_between(pencil, low, high)
        at_ends = min(np.abs(expected - low).min(), np.abs(expected - high).min()) < 1e-5
        assert at_ends or len(window.energies) == ((expected >= low) & (expected <= high)).sum()


def test_a_missed_level_is_noticed_and_found(monkeypatch):
    """A search that loses a level on the first attempt: the counts see it, and the search goes on."""
    data = supercell(random_model(6), (3, 3, 1))
    pencil, expected = BlochPencils(data, backend="superlu").at(K[0]), reference(data, K[0])
    search, calls = pencil.search, []

    def forgetful(center, n, known=None):
        sigma, found = search(center, n + 1, known)
        calls.append(n)
        if len(calls) > 1:
            return sigma, found
        kept = np.delete(np.arange(len(found.energies)), 3)
        return sigma, Levels(found.energies[kept], found.vectors[:, kept], found.residuals[kept], None, None)

    monkeypatch.setattr(pencil, "search", forgetful)
    check_near(pencil, expected, float(expected[30]) + 0.01, 8)
    assert len(calls) > 1
    calls.clear()
    window = levels_between(pencil, expected[25] - 0.01, expected[35] + 0.01)
    assert len(calls) > 1
    assert np.abs(window.energies - expected[25:36]).max() < 1e-8
    calls.clear()
    assert np.abs(levels_near(pencil, float(expected[30]) + 0.01, 8, verify=False).energies - expected[26:34]).max() > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_window_is_cut_in_slices(backend, monkeypatch):
    monkeypatch.setattr("postprocess.eigen.search.MAX_SLICE", 10)
    data = supercell(random_model(7), (3, 3, 1))
    expected = reference(data, K[2])
    window = levels_between(BlochPencils(data, backend=backend).at(K[2]), expected[0] - 1, expected[-1] + 1)
    assert window.complete
    assert np.abs(window.energies - expected).max() < 1e-8


def test_window_without_states_and_nonsense():
    data = random_model(8)
    pencil, expected = BlochPencils(data, backend="superlu").at(K[0]), reference(data, K[0])
    middle = (expected[3] + expected[4]) / 2
    empty = levels_between(pencil, middle - 1e-4, middle + 1e-4)
    assert (len(empty.energies), empty.first, empty.complete) == (0, 4, True)
    for low, high in ((1, 0), (0, 0), (0, np.nan), (0, np.inf)):
        with pytest.raises(UsageError, match="lower one first"):
            levels_between(pencil, low, high)
    for n in (0, -1, 1000):
        with pytest.raises(UsageError, match="number between 1 and"):
            levels_near(pencil, 0.0, n)


def test_matrices_that_are_no_pencil():
    H, S = random_pencil(1, 20, 0.3, is_complex=True)
    with pytest.raises(DataError, match="H is not Hermitian"):
        Pencil.from_matrices(H + 1e-3 * sparse.triu(H), S)
    with pytest.raises(DataError, match="NaN"):
        Pencil.from_matrices(H * np.nan, S)
    with pytest.raises(DataError, match="square"):
        Pencil.from_matrices(H[:, :10], S)
    broken = S - 3 * sparse.diags_array(np.arange(20) == 7, dtype=float)
    with pytest.raises(DataError, match="not positive definite"):
        smallest_overlap(Pencil.from_matrices(H, broken, backend="superlu"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", K[[0, 2]])
def test_projection_removes_nearly_dependent_orbitals(bilayer36, backend, k):
    from deeph.files.store import read_folder

    data = read_folder(bilayer36 / "001")
    H, S = data.H_bloch.dense(k), data.S_bloch.dense(k)
    weights, U = np.linalg.eigh(S)
    plain = BlochPencils(data, backend=backend).at(k)
    assert smallest_overlap(plain) == pytest.approx(weights[0], rel=1e-9)
    Z = U[:, weights > 5e-3]
    expected = eigh(Z.conj().T @ H @ Z, Z.conj().T @ S @ Z, eigvals_only=True)
    vectors = nearly_dependent(plain, 5e-3)
    assert vectors.shape[1] == (weights < 5e-3).sum() > 10
    check_near(Projected(plain, vectors), expected, data.fermi_energy, 12)
    assert np.abs(expected - reference(data, k)[: len(expected)]).max() > 1e-4  # it did change something


@pytest.mark.parametrize("backend", BACKENDS)
def test_ghost_level_goes_with_the_projection(backend):
    """Two orbitals that are nearly the same, and an error of H in their difference: a level far below all others."""
    data = supercell(random_model(9), (2, 2, 1))
    H, S = (m.dense(K[2]) for m in (data.H_bloch, data.S_bloch))
    n = len(H)
    T = np.eye(n, n + 1)
    T[4, n] = 1.0
    H, S = T.conj().T @ H @ T, T.conj().T @ S @ T
    S[n, n] += 1e-7
    H[n, n] -= 1e-4
    expected = reference(data, K[2])
    assert eigh(H, S, eigvals_only=True)[0] < expected[0] - 10
    pencil = Pencil.from_matrices(sparse.csr_array(H), sparse.csr_array(S), backend=backend)
    assert smallest_overlap(pencil) < 1e-6
    clean = Projected(pencil, nearly_dependent(pencil, 1e-5))
    found = levels_near(clean, float(expected[0]), 5)
    assert found.first == 0
    assert np.abs(found.energies - expected[:5]).max() < 1e-3


@needs_pardiso
def test_want_of_memory_is_told_before_it_happens(monkeypatch):
    monkeypatch.setattr("postprocess.eigen.pardiso.available_memory", lambda: 1000.0)
    H, S = random_pencil(1, 50, 0.3, is_complex=False)
    with pytest.raises(DataError, match=r"not enough memory .*--single"):
        levels_near(Pencil.from_matrices(H, S, backend="pardiso"), 0.0, 5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", K[[0, 2]])
def test_shifts_replace_each_other(backend, k):
    """H - sigma S is written over H, and still H is known after any number of shifts; an older pencil keeps its matrices."""
    data = hermitian(random_model(5))
    pencils = BlochPencils(data, backend=backend)
    pencil, H = pencils.at(k), data.H_bloch.dense(k)
    X = np.random.default_rng(1).normal(size=(len(H), 3))
    for sigma in (0.3, -2.0, 0.0, 7.1):
        pencil.factor(sigma)
        assert np.abs(pencil.apply_H(X) - H @ X).max() < 1e-12
        assert np.abs(pencil.H.toarray() - np.triu(H)).max() < 1e-13
        assert np.abs((H - sigma * data.S_bloch.dense(k)) @ pencil.solve(X.astype(pencil.dtype)) - X).max() < 1e-8
    pencils.at(K[1]).factor(0.1)
    assert np.abs(pencil.apply_H(X) - H @ X).max() < 1e-12
    pencil.factor(0.3)
    assert np.abs((H - 0.3 * data.S_bloch.dense(k)) @ pencil.solve(X.astype(pencil.dtype)) - X).max() < 1e-8


@needs_pardiso
def test_levels_are_numbered_by_the_factor_at_hand():
    """Without proof, but without another factorization: band n is the same band at every k."""
    data = hermitian(supercell(random_model(5), (3, 3, 1)))
    pencils = BlochPencils(data, backend="pardiso")
    for k in K[[0, 1]]:  # real matrices
        expected = reference(data, k)
        for center, n in ((0.1, 5), (-0.4, 12), (0.6, 1)):
            pencil = pencils.at(k)
            found = levels_near(pencil, center, n, verify=False)
            assert pencil.n_factored == 1
            assert found.complete is None
            assert np.abs(found.energies - expected[found.first : found.first + n]).max() < 1e-8
            inside = Projected(pencil, np.linalg.qr(np.eye(pencil.n)[:, :2])[0])
            projected = levels_near(inside, center, n, verify=False)
            proved = levels_near(inside, center, n)
            assert projected.first == proved.first
    assert levels_near(pencils.at(K[2]), 0.1, 4, verify=False).first is None  # complex: PARDISO does not tell
    assert levels_near(BlochPencils(data, backend="superlu").at(K[0]), 0.1, 4, verify=False).first is None
    assert levels_near(BlochPencils(data, backend="pardiso", single=True).at(K[0]), 0.1, 4, verify=False).first is None
