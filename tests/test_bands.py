"""Energies against the DFT codes' own numbers, and the symmetries every band structure obeys."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import random_model, supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.files.store import read_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from postprocess.bands.bands import compute_bands, share_fermi_energy
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver, compute_energies
from postprocess.lattice.kpath import make_kpath, read_kpath
from postprocess.output.tables import read_bands
from postprocess.states.fermi import fermi_on_mesh

K = np.array([[0, 0, 0], [0.5, 0, 0], [0.13, -0.27, 0], [1 / 3, 1 / 3, 0]])
SPINS = ("none", "collinear", "spinor")


def test_MoTe2_equals_the_reference_band_file(shared_data):
    folder = shared_data / "peers" / "deeph-bands" / "MoTe2"
    data = read_folder(folder)
    bands = compute_bands(data, read_kpath(folder / "K_PATH", data.system))
    with h5py.File(folder / "band.h5") as file:
        assert np.abs(bands.path.k - file["kpoints_frac_list"][:]).max() < 1e-12
        assert np.abs(bands.path.distances / (2 * np.pi) - file["kpoints_distance_list"][:]).max() < 1e-12  # theirs is without 2 pi
        assert np.abs(bands.path.ticks / (2 * np.pi) - file["hsk_distance_list"][:]).max() < 1e-12
        assert np.abs(bands.energies[0].T - bands.fermi_energy - file["band_data"][:]).max() < 1e-9
        assert bands.gap.width == pytest.approx(file["band_gap"][()], abs=1e-9)
    assert not bands.gap.is_metal
    assert bands.gap.is_direct
    assert np.allclose(bands.gap.vbm.k, (1 / 3, 1 / 3, 0))
    assert bands.gap.vbm.band == data.n_electrons / 2 - 1


def test_MoTe2_fermi_level_from_the_electrons_lies_in_the_gap(shared_data):
    data = read_folder(shared_data / "peers" / "deeph-bands" / "MoTe2")
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=60), fermi="count")
    assert bands.fermi_origin == "46 electrons on a 24 x 24 x 1 mesh"
    assert bands.gap.width == pytest.approx(1.03998, abs=1e-3)
    wrong = replace(data, n_electrons=48.0)
    assert compute_bands(wrong, bands.path, fermi="count").gap.is_metal


@pytest.mark.parametrize("case", ["mini_graphene", "mini_te_chain_soc", "fe_bcc_spin", "si2", "mos2_soc"])
def test_openmx_bands(shared_data, case):
    """The path of the input file, and the energies of OpenMX's .Band file along it."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    from preprocess.readers.openmx.band import read_bands as read_openmx_bands

    folder = shared_data / "openmx" / case
    data = openmx.read(folder)
    expected = read_openmx_bands(folder, data.system)
    bands = compute_bands(data, read_kpath(folder / f"{case}.dat", data.system))
    assert np.abs(bands.path.k - expected.k).max() < 1e-9
    assert bands.energies.shape == expected.energies.shape
    assert np.abs(bands.energies - expected.energies).max() < 1e-6


def test_twisted_bilayer_at_its_K(shared_data):
    """Our label K finds the Dirac point of the 60-degree cell; K of a 120-degree cell does not."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    from preprocess.readers.openmx.band import read_bands as read_openmx_bands

    folder = shared_data / "openmx" / "tbg28"
    data = openmx.read(folder)
    expected = read_openmx_bands(folder, data.system).energies[0, 20 + 15]  # first point of K-G
    path = make_kpath(data.system, "GK", n_points=2)
    assert np.abs(compute_energies(data, path.k[-1:])[0, 0] - expected).max() < 1e-6
    assert np.abs(compute_energies(data, np.array([[1 / 3, 1 / 3, 0]]))[0, 0] - expected).max() > 0.01


def test_bilayer_folder(bilayer36):
    data = read_folder(bilayer36 / "000")
    energies = compute_energies(data, K[:2])
    assert energies.shape == (1, 2, 468)
    assert (energies[0, :, :72] < data.fermi_energy + 0.5).all()
    assert (energies[0, :, 72:] > data.fermi_energy - 0.5).all()


@pytest.mark.parametrize("spin", SPINS)
def test_bloch_matrices_are_hermitian_and_periodic(spin):
    data = random_model(1, spin=spin)
    for matrix in (data.H_bloch.dense(K), data.S_bloch.dense(K)):
        assert np.abs(matrix - matrix.conj().swapaxes(-1, -2)).max() < 1e-12
    assert np.allclose(compute_energies(data, K), compute_energies(data, K + np.array([1, -2, 3])))


@pytest.mark.parametrize("spin", SPINS)
def test_gauges_give_the_same_energies(spin):
    from scipy.linalg import eigh

    data = random_model(2, spin=spin)
    expected = compute_energies(data, K)
    for channel in range(data.basis.n_spin):
        for n, k in enumerate(K):
            H, S = data.H_bloch.dense(k, component=channel, gauge="atomic"), data.S_bloch.dense(k, gauge="atomic")
            assert np.allclose(eigh(H, S, eigvals_only=True), expected[channel, n], atol=1e-10)


def test_time_reversal():
    """E(k) = E(-k) for a real H; a spinor H without that symmetry must not show it."""
    real, complex_ = random_model(3), random_model(3, spin="spinor")
    assert np.allclose(compute_energies(real, K), compute_energies(real, -K), atol=1e-10)
    assert np.abs(compute_energies(complex_, K) - compute_energies(complex_, -K)).max() > 0.01


@pytest.mark.parametrize("spin", SPINS)
def test_supercell_folding(spin):
    data = random_model(4, spin=spin)
    repeat = np.array([2, 3, 1])
    big = supercell(data, repeat)
    k = np.array([[0.1, 0.2, 0.0], [0.5, 0.0, 0.0]])
    shifts = np.stack(np.meshgrid(*[np.arange(n) for n in repeat], indexing="ij"), -1).reshape(-1, 3)
    folded = compute_energies(data, ((k[:, None] + shifts) / repeat).reshape(-1, 3))
    folded = np.sort(folded.reshape(data.basis.n_spin, len(k), -1), axis=-1)
    assert np.allclose(compute_energies(big, k), folded, atol=1e-9)


def test_supercell_with_wrong_cell_labels_does_not_fold():
    data = random_model(4)
    big = supercell(data, (2, 1, 1))
    pairs = big.S.pairs.copy()
    pairs[:, 0] *= 2
    broken = replace(big, H=replace(big.H, pairs=pairs), S=replace(big.S, pairs=pairs))
    k = np.array([[0.1, 0.2, 0.0]])
    assert np.abs(compute_energies(broken, k) - compute_energies(big, k)).max() > 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(SPINS), st.floats(-20, 20))
def test_shift_of_the_energy_zero(seed, spin, mu):
    data = random_model(seed, spin=spin)
    S = data.S.to_spinor() if spin == "spinor" else data.S
    moved = replace(data, H=replace(data.H, entries=data.H.entries + mu * S.entries))
    assert np.allclose(compute_energies(moved, K), compute_energies(data, K) + mu, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.permutations([0, 1, 2]), st.sampled_from(SPINS))
def test_order_of_the_atoms_does_not_matter(seed, order, spin):
    data = random_model(seed, spin=spin)
    assert np.allclose(compute_energies(data.permuted(np.array(order)), K), compute_energies(data, K), atol=1e-10)


def one_orbital_chain(spin, size, S, H):
    """One s orbital per cell; values at R = 0, 1, -1."""
    system = System(np.diag([3.0, 15, 15]), np.zeros((1, 3)), np.array([1]))
    pairs = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]])
    H = np.concatenate([(x * np.eye(size)).ravel() for x in H])
    overlap, blocks = PairBlocks(pairs, np.ones((3, 2)), np.array(S)), PairBlocks(pairs, np.full((3, 2), size), H)
    return Hamiltonian(system, Basis({1: (0,)}, spin), overlap, blocks, n_electrons=1.0)


def test_sign_of_the_bloch_phase():
    """H(R = 1) = t exp(i phi) gives 2 t cos(2 pi k + phi), not 2 t cos(2 pi k - phi)."""
    t, phi = 1.5, 0.4
    chain = one_orbital_chain("spinor", 2, (1, 0, 0), (0, t * np.exp(1j * phi), t * np.exp(-1j * phi)))
    energies = compute_energies(chain, K[2:3])
    assert np.allclose(energies, 2 * t * np.cos(2 * np.pi * K[2, 0] + phi))


def test_chain_with_overlap():
    """One orbital on a chain: E(k) = (e + 2 t cos k)/(1 + 2 s cos k)."""
    e, t, s = -1.0, -2.0, 0.1
    chain = one_orbital_chain("none", 1, (1, s, s), (e, t, t))
    path = make_kpath(chain.system, n_points=31)
    bands = compute_bands(chain, path)
    phi = 2 * np.pi * path.k[:, 0]
    assert path.labels == ("G", "X")
    assert np.allclose(bands.energies[0, :, 0], (e + 2 * t * np.cos(phi)) / (1 + 2 * s * np.cos(phi)), atol=1e-12)
    assert bands.gap.is_metal
    assert bands.gap.width == 0
    assert fermi_on_mesh(chain, make_mesh(chain, (400, 1, 1))).energy == pytest.approx(e, abs=0.05)  # half filling: cos k = 0


def test_band_subset_and_repeated_k():
    data = random_model(5)
    every = compute_energies(data, K)[0]
    assert np.allclose(compute_energies(data, K, solver=Eigensolver(bands=(2, 4)))[0], every[:, 2:5])
    assert np.allclose(compute_energies(data, K[[1, 0, 1, 3, 2]])[0], every[[1, 0, 1, 3, 2]])
    with pytest.raises(UsageError, match="bands 2 to 100"):
        compute_energies(data, K, solver=Eigensolver(bands=(2, 100)))


def test_non_hermitian_prediction_is_averaged(caplog):
    import logging

    logging.getLogger("deeph").propagate = True
    data = random_model(6)
    noise = np.random.default_rng(0).normal(scale=0.01, size=data.H.entries.shape)
    noisy = replace(data, H=replace(data.H, entries=data.H.entries + noise))
    clean = hermitian(noisy)
    assert "H is not Hermitian" in caplog.text
    assert clean.H.hermiticity_error() < 1e-14
    assert np.allclose(compute_energies(noisy, K), compute_energies(clean, K))


def test_missing_partners_are_filled():
    data = random_model(6)
    keep = np.flatnonzero(data.H.partners >= np.arange(data.H.n_pairs))  # one block of each two partners
    half = replace(data, H=data.H.selected(keep), S=data.S.selected(keep))
    assert np.allclose(compute_energies(half, K), compute_energies(data, K))


def test_overlap_that_is_not_positive_names_k_and_eigenvalue():
    data = random_model(7)
    broken = replace(data, S=replace(data.S, entries=data.S.entries * np.where(np.abs(data.S.entries) < 0.5, 60, 1)))
    with pytest.raises(DataError, match=r"not positive definite at k = \(.*smallest eigenvalue -"):
        compute_energies(broken, K)


def test_fermi_level_sources():
    data = random_model(8)
    path = make_kpath(data.system, "GMKG", n_points=20)
    assert compute_bands(data, path).fermi_origin.startswith("6 electrons")
    assert compute_bands(replace(data, fermi_energy=1.5), path).fermi_energy == 1.5
    assert compute_bands(data, path, fermi=-2.0).fermi_origin == "given"
    unknown = compute_bands(replace(data, n_electrons=None), path, title="B")
    assert unknown.fermi_energy is None
    assert unknown.gap is None
    known = compute_bands(data, path, fermi=0.1, title="A")
    assert share_fermi_energy([unknown, known])[0].fermi_origin == "taken from A"
    assert share_fermi_energy([unknown])[0].fermi_energy is None
    with pytest.raises(DataError, match="number of electrons"):
        compute_bands(replace(data, n_electrons=None), path, fermi="count")
    with pytest.raises(DataError, match="electrons, but the bands hold"):
        compute_bands(replace(data, n_electrons=1000.0), path)


@pytest.mark.parametrize("suffix", [".h5", ".json"])
@pytest.mark.parametrize("fermi", [0.25, None])
def test_tables_are_read_back(tmp_path, suffix, fermi):
    data = replace(random_model(9, spin="collinear"), n_electrons=None)
    bands = compute_bands(data, make_kpath(data.system, "GM|KG", n_points=15), fermi=fermi, title="model")
    bands.save(tmp_path / f"bands{suffix}")
    back = read_bands(tmp_path / f"bands{suffix}")
    for name in ("energies", "fermi_energy", "fermi_origin", "title"):
        assert np.array_equal(getattr(back, name), getattr(bands, name))
    for name in ("k", "distances", "ticks", "labels", "bounds"):
        assert np.array_equal(getattr(back.path, name), getattr(bands.path, name))
    assert [p.name for p in tmp_path.iterdir()] == [f"bands{suffix}"]


def test_csv_table(tmp_path):
    data = random_model(9)
    bands = compute_bands(data, make_kpath(data.system, "GMK", n_points=10), fermi=0.5)
    bands.save(tmp_path / "bands.csv")
    rows = np.loadtxt(tmp_path / "bands.csv", delimiter=",", skiprows=2)
    assert rows.shape == (len(bands.path.k), 6 + bands.n_bands)
    assert np.allclose(rows[:, 6:], bands.energies[0] - 0.5, atol=1e-8)
    with pytest.raises(UsageError, match=r"bands\.txt"):
        bands.save(tmp_path / "bands.txt")


@pytest.mark.parametrize("content", ["{}", "not json", '{"energies": [1]}'])
def test_damaged_table(tmp_path, content):
    file = tmp_path / "bands.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"bands\.json"):
        read_bands(file)


def test_figure():
    from postprocess.output.plot import plot_bands

    data = random_model(10, spin="collinear")
    path = make_kpath(data.system, "GMK|GK'", n_points=30)
    first, second = (compute_bands(data, path, fermi=f, title=t) for f, t in ((0.0, "DFT"), (0.1, "predicted")))
    ax = plot_bands([first, second], window=(-2, 1), dots=[False, True])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Γ", "M", "K|Γ", "K′"]
    assert ax.get_ylim() == (-2, 1)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["DFT up", "DFT down", "predicted up", "predicted down"]
    drawn = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert sum(len(line.get_xdata()) for line in drawn) == 2 * 2 * first.n_bands * len(path.k)
    assert np.allclose(drawn[0].get_ydata(), first.energies[0, path.segments[0], 0])
    assert plot_bands([replace(first, fermi_energy=None), second]).get_ylabel() == "$E$ (eV)"
    other = compute_bands(data, make_kpath(data.system, "GK", n_points=5))
    with pytest.raises(UsageError, match="not one figure"):
        plot_bands([first, other])


@pytest.mark.parametrize("change", [lambda e: e[:, :-1], lambda e: e[0], lambda e: e[None]])
def test_tables_whose_levels_do_not_fit_their_path_are_refused(tmp_path, change):
    """One k-point too few, a spin channel lost, an axis too many."""
    data = random_model(1)
    bands = compute_bands(data, make_kpath(data.system, "GMKG", n_points=12))
    replace(bands, energies=change(bands.energies)).save(tmp_path / "b.json")
    with pytest.raises(DataError, match=r"energies \(.*\) for 12 k-points; expected"):
        read_bands(tmp_path / "b.json")


@pytest.mark.parametrize("name", ["H", "S"])
@pytest.mark.parametrize("k", [(0, 0, 0), (0.1, 0.2, 0)])
def test_nan_is_said_and_gives_no_levels(name, k):
    data = random_model(1)
    blocks = getattr(data, name)
    entries = blocks.entries.copy()
    entries[0, len(entries[0]) // 2] = np.nan
    with pytest.raises(DataError, match=rf"{name}\(k\) holds NaN or infinite numbers at k"):
        replace(data, **{name: replace(blocks, entries=entries)}).eigenvalues(k)
