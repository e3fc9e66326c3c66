"""Error bars: what the spread of an ensemble means, their symmetries, levels to first order, files."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import random_model
from given_case import make_given_model, make_known
from hypothesis import given, settings
from hypothesis import strategies as st
from network_case import TINY, make_model, make_structure, random_rotation, rotated

import deeph
from deeph.files.error_files import ERROR_BARS, ERROR_MODES
from deeph.files.store import read_folder, write_folder
from deeph.inference import keeps_modes, predict, predict_folder
from deeph.nn.calibration import ONE_SIGMA, ONSITE, Blocks, Calibration, calibrate, describe, held_out
from deeph.nn.ensemble import Ensemble
from deeph.nn.model import HamiltonianModel
from deeph.physics.bloch import BlochMatrix
from deeph.physics.blocks import PairBlocks
from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.error_bars import ErrorBars, bloch_modes, block_rms, common_error, level_errors
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs, reversed_pairs
from deeph.runtime.errors import DataError, ModelError
from postprocess.bands.bands import compute_bands
from postprocess.cli.bands import main as deeph_bands
from postprocess.lattice.kpath import make_kpath
from postprocess.output.tables import read_bands

BARE = Calibration({(6, 6, ONSITE): (1.0, 0.0, 0.0), (6, 6, 0): (1.0, 0.0, 0.0)})
K = np.array([0.13, -0.21, 0.37])


@pytest.fixture(scope="module")
def members() -> list[HamiltonianModel]:
    data = [make_structure(n) for n in range(3)]
    return [make_model(data, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def structure() -> Hamiltonian:
    return make_structure(5)


def bars(h: Hamiltonian) -> ErrorBars:
    assert h.error_bars is not None
    return h.error_bars


def test_mean_and_spread_are_those_of_the_members(members, structure):
    H = np.array([predict(m, structure).hamiltonian.entries[0] for m in members])
    predicted = Ensemble(members, BARE).predict(structure)
    assert np.abs(predicted.hamiltonian.entries[0] - H.mean(axis=0)).max() < 1e-12
    variance = PairBlocks(structure.S.pairs, structure.S.shapes, H.std(axis=0, ddof=1)[None])
    assert np.abs(bars(predicted).sigma - block_rms(variance)).max() < 1e-12
    modes = bars(predicted).modes
    assert modes is not None
    assert np.abs(modes.entries[:3] - (H - H.mean(axis=0)) / 2**0.5).max() < 1e-12
    common = Ensemble(members, replace(BARE, levels=(2.0, 0.5))).predict(structure).error_bars.modes
    assert np.abs(common.entries[:3] - 2 * modes.entries[:3]).max() < 1e-12
    assert np.array_equal(common.entries[3:], 0.5 * structure.S.entries)
    assert predicted.hamiltonian.hermiticity_error() == 0


def test_members_that_agree_have_no_spread(members, structure):
    predicted = Ensemble([members[0]] * 3, BARE).predict(structure)
    assert not bars(predicted).sigma.any()
    assert not bars(predicted).modes.entries.any()
    assert np.array_equal(predicted.hamiltonian.entries, predict(members[0], structure).hamiltonian.entries)


def test_one_member_is_no_ensemble(members):
    with pytest.raises(ModelError, match="expected 2 models or more"):
        Ensemble(members[:1], BARE)


def test_members_of_other_matrices_are_refused(members):
    other = make_model([make_structure(n, np.array([[0, 0, 0], [1.6, 0.3, 0.1]])) for n in range(2)])
    other.cutoffs = {**other.cutoffs, (6, 6): 1.0}
    with pytest.raises(ModelError, match="cutoffs"):
        Ensemble([members[0], other], BARE)


def test_members_of_other_known_matrices_are_refused(members):
    structures = [make_known(n) for n in range(2)]
    known = make_given_model(TINY.model_copy(update={"potential": True}), structures=structures)
    with pytest.raises(ModelError, match="known matrices H0, potentials, but member 1 none"):
        Ensemble([members[0], known], BARE)


def test_ensembles_that_read_known_matrices(tmp_path):
    """Each member reads S and H0, also where H goes to a file block by block."""
    config = TINY.model_copy(update={"potential": True})
    own, one = [make_given_model(config, seed) for seed in range(3)], make_known(5)
    ensemble = Ensemble(own, BARE)
    found = predict(ensemble, one).hamiltonian.entries
    assert np.abs(found - np.mean([predict(member, one).hamiltonian.entries for member in own], axis=0)).max() < 1e-12
    predict_folder(ensemble, one, tmp_path / "out")
    order = np.argsort(one.system.numbers, kind="stable")
    assert (
        np.abs(read_folder(tmp_path / "out").hamiltonian.entries - predict(ensemble, one).permuted(order).hamiltonian.entries).max() < 1e-12
    )


@pytest.mark.parametrize("proper", [True, False])
def test_error_bars_do_not_depend_on_the_orientation(members, structure, proper):
    ensemble = Ensemble(members, replace(BARE, rows={(6, 6, 0): (1.3, 0.2, 0.01)}))
    turned = rotated(structure, random_rotation(3, proper=proper))
    before, after = bars(ensemble.predict(structure)).sigma, bars(ensemble.predict(turned)).sigma
    assert np.ptp(before) > 1e-3
    assert np.abs(before - after).max() < 1e-9


def test_error_bars_are_hermitian_and_follow_the_atoms(members, structure):
    ensemble = Ensemble(members, BARE)
    sigma, pairs = bars(ensemble.predict(structure)).sigma, structure.S.pairs
    assert np.abs(sigma - sigma[find_pairs(pairs, reversed_pairs(pairs))]).max() < 1e-14
    order = np.array([2, 0, 3, 1])
    moved = structure.permuted(order)
    other = bars(ensemble.predict(moved)).sigma
    assert np.abs(other - sigma).max() < 1e-9  # the sequence of the blocks is kept
    assert np.array_equal(bars(ensemble.predict(structure).permuted(order)).modes.pairs, moved.S.pairs)


@settings(max_examples=20, deadline=None)
@given(a=st.floats(0.2, 20), seed=st.integers(0, 1000), n_elements=st.sampled_from([1, 9]))
def test_calibration_finds_the_factor_of_normal_errors(a, seed, n_elements):
    rng = np.random.default_rng(seed)
    keys = np.tile([6, 6, 4], (4000, 1))
    spread = np.exp(rng.normal(scale=1.0, size=4000)) * 1e-3
    error = a * spread * np.sqrt((rng.normal(size=(4000, n_elements)) ** 2).mean(axis=1))
    found = calibrate([Blocks(keys, spread, rng.uniform(0.1, 1, 4000), error)])
    sigma = found.of_keys(keys, spread, np.zeros(4000))
    assert abs((error <= found.of_keys(keys, spread, np.ones(4000))).mean() - ONE_SIGMA) < 0.05
    expected = a * spread * (1.0 if n_elements == 1 else np.quantile(error / (a * spread), ONE_SIGMA))
    assert np.median(np.abs(sigma / expected - 1)) < 0.1


def test_what_all_members_have_in_common_is_found():
    """Errors that the spread does not show: a part of the size of the block, and noise of the data."""
    rng = np.random.default_rng(0)
    keys, n = np.tile([6, 14, 8], (6000, 1)), 6000
    spread, size = np.exp(rng.normal(size=n)) * 1e-3, np.exp(rng.normal(size=n))
    true = np.sqrt((2 * spread) ** 2 + (3e-3 * size) ** 2 + 1e-3**2)
    sigma = calibrate([Blocks(keys, spread, size, true * np.abs(rng.normal(size=n)))]).of_keys(keys, spread, size)
    assert np.abs(sigma / true - 1).max() < 0.15


def test_structures_that_err_as_a_whole_are_told():
    """Of all blocks 68 % lie within one sigma, by construction; of the blocks of one structure nearly all or hardly any."""
    rng, found = np.random.default_rng(1), []
    for factor in (0.3, 0.3, 0.3, 4.0):
        spread = np.exp(rng.normal(scale=0.3, size=2000)) * 1e-3
        keys = np.tile([6, 6, 4], (2000, 1))
        found.append(Blocks(keys, spread, np.ones(2000), factor * spread * np.abs(rng.normal(size=2000))))
    shares = held_out(found)
    assert min(shares[:3]) > 0.95
    assert shares[3] < 0.1
    *_, total, line = describe(calibrate(found), found)
    assert total.startswith("all")
    assert total.endswith("68 %")
    assert (
        line
        == f"of each of the 4 structures, calibrated by the others: {100 * shares[3]:.0f} to {100 * max(shares):.0f} % within one sigma"
    )
    assert describe(calibrate(found[:1]), found[:1])[-1].startswith("all")


def test_rare_blocks_take_the_coefficients_of_the_nearest_bin():
    found = Calibration({(6, 6, ONSITE): (1, 0, 0), (6, 6, 4): (2, 0, 0), (6, 6, 9): (3, 0, 0), (1, 6, 3): (9, 0, 0)})
    keys = np.array([[6, 6, 5], [6, 6, 12], [6, 6, 0], [1, 1, ONSITE], [1, 1, 2]])
    assert found.of_keys(keys, np.ones(5), np.ones(5)).tolist() == [2, 3, 2, 1, 9]


def modes_of(h: Hamiltonian, seed: int, n: int = 3, size: float = 1.0) -> PairBlocks:
    """Random Hermitian matrices on the pattern of H."""
    rng = np.random.default_rng(seed)
    one = [replace(h.H, entries=rng.normal(scale=size, size=h.H.entries.shape)).hermitized().entries for _ in range(n)]
    return PairBlocks(h.H.pairs, h.H.shapes, np.concatenate(one))


def test_levels_to_first_order_are_those_of_small_changes():
    h, step = random_model(1), 1e-6
    modes = modes_of(h, 0)
    S = h.S_bloch.dense(K)
    energies, states = solve_states_at_k(h.H_bloch.dense(K), S, K)
    found = level_errors(energies, states, bloch_modes(BlochMatrix(h.system, modes), K, 1, 0))
    shifts = []
    for mode in modes.entries:
        changed = [replace(h, H=replace(h.H, entries=h.H.entries + sign * step * mode)) for sign in (1, -1)]
        up, down = (solve_states_at_k(c.H_bloch.dense(K), S, K)[0] for c in changed)
        shifts.append((up - down) / (2 * step))
    assert np.abs(found - np.linalg.norm(shifts, axis=0)).max() < 1e-6


def test_degenerate_levels_do_not_depend_on_the_choice_of_states():
    rng = np.random.default_rng(0)
    mode = rng.normal(size=(4, 4))
    mode += mode.T
    energies, turn = np.array([0.0, 1.0, 1.0, 2.0]), np.eye(4)
    turn[1:3, 1:3] = [[0.6, -0.8], [0.8, 0.6]]
    first, second = (level_errors(energies, states, [mode]) for states in (np.eye(4), turn))
    assert np.abs(first - second).max() < 1e-12
    assert abs(first[1] - np.sqrt((np.linalg.eigvalsh(mode[1:3, 1:3]) ** 2).mean())) < 1e-12


def with_bars(h: Hamiltonian) -> Hamiltonian:
    modes = modes_of(h, 2, size=1e-3)
    sigma = block_rms(PairBlocks(modes.pairs, modes.shapes, np.sqrt((np.abs(modes.entries) ** 2).sum(axis=0))[None]))
    return replace(h, predicted=True, error_bars=ErrorBars(sigma, modes))


def test_bands_bring_error_bars_to_tables_and_figures(tmp_path):
    h = with_bars(replace(random_model(1), fermi_energy=-0.2))
    bands = compute_bands(h, make_kpath(h, "GMK", n_points=20))
    assert bands.errors is not None
    assert bands.errors.shape == bands.energies.shape
    assert (bands.errors > 0).all()
    assert not bands.weights
    at = solve_states_at_k(h.H_bloch.dense(bands.path.k[3]), h.S_bloch.dense(bands.path.k[3]), bands.path.k[3])
    expected = level_errors(*at, bloch_modes(h.error_bloch, bands.path.k[3], 1, 0))
    assert np.abs(bands.levels[0, 3] - at[0]).max() < 1e-9
    assert np.abs(bands.errors[0, 3] - expected).max() < 1e-9
    for name in ("b.h5", "b.json"):
        bands.save(tmp_path / name)
        assert np.array_equal(read_bands(tmp_path / name).errors, bands.errors)
    bands.save(tmp_path / "b.csv")
    assert "level error of band1" in (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize("n_points", [4, 20, 1])
def test_error_bars_in_figures_are_named_stay_in_the_frame_and_below_the_levels(caplog, n_points):
    """Of lines, of the dots of a short path, of a molecule."""
    caplog.set_level("INFO", logger="deeph")
    h = with_bars(replace(random_model(1), fermi_energy=-0.2))
    bands = compute_bands(h, make_kpath(h, "GMK", n_points=max(4, n_points)))
    bands = replace(bands, errors=0.05 + 0 * bands.energies)
    if n_points == 1:
        path = replace(bands.path, k=np.zeros((1, 3)), distances=np.zeros(1), ticks=np.zeros(0), labels=(), bounds=np.array([0, 1]))
        bands = replace(bands, energies=bands.energies[:, :1], errors=bands.errors[:, :1], path=path, order=None)
    window = (float(np.nanmin(bands.energies)) + 0.18, float(np.nanmax(bands.energies)) + 0.22)  # the ends cut bars in half
    ax = bands.plot(window=window)
    plain = replace(bands, errors=None).plot(window=window)
    assert [text.get_text() for text in ax.get_legend().get_texts()].index("one standard deviation") == len(ax.get_legend().get_texts()) - 1
    new = [*ax.collections[len(plain.collections) :], *ax.patches]
    assert new
    for bar in new:
        assert bar.get_zorder() < min((line.get_zorder() for line in ax.lines if len(line.get_xdata()) > 2), default=2)
        boxes = [bar.get_bbox()] if hasattr(bar, "get_bbox") else [path.get_extents() for path in bar.get_paths()]
        assert all(window[0] - 1e-9 <= box.y0 <= box.y1 <= window[1] + 1e-9 for box in boxes)
    assert not caplog.messages


def test_error_bars_that_would_be_one_area_are_left_out_and_told(caplog):
    h = with_bars(replace(random_model(1), fermi_energy=-0.2))
    bands = compute_bands(h, make_kpath(h, "GMK", n_points=20), title="bad")
    plain = replace(bands, errors=None)
    ax = plain.plot(replace(bands, errors=16.0 + 0 * bands.energies))
    assert len(ax.collections) == len(plain.plot(plain).collections)
    assert "one standard deviation" not in [text.get_text() for text in ax.get_legend().get_texts()]
    assert caplog.messages[0].startswith("bad: its error bars, 16 eV (rms), are not drawn: those of all levels together fill the window")


def test_error_bars_thinner_than_a_line_are_told(caplog):
    caplog.set_level("INFO", logger="deeph")
    h = with_bars(replace(random_model(1), fermi_energy=-0.2))
    bands = compute_bands(h, make_kpath(h, "GMK", n_points=20), title="good")
    bands = replace(bands, errors=1e-4 + 0 * bands.energies)
    bands.plot()
    assert caplog.messages[-1].startswith("good: its error bars, 0.1 meV (rms), are thinner than a line of the figure; a narrower window")
    caplog.clear()
    middle = float(bands.levels[0, 0, 0]) + 0.2
    bands.plot(window=(middle - 1e-3, middle + 1e-3))
    assert not [line for line in caplog.messages if "thinner" in line]


@pytest.mark.parametrize(("common", "named"), [(0.02, True), (1e-6, False)])
@pytest.mark.parametrize("spinor", [False, True])
def test_the_constant_of_the_calibration_is_named_where_it_is_most_of_the_bar(tmp_path, capsys, common, named, spinor):
    """20 meV beside some 5 meV that the members tell."""
    h = replace(random_model(1), fermi_energy=-0.2, predicted=True)
    h = h.to_spinor() if spinor else h
    S = h.S.to_spinor() if spinor else h.S
    rng = np.random.default_rng(0)
    own = replace(h.H, entries=1e-3 * rng.normal(size=h.H.entries.shape)).hermitized().entries
    modes = PairBlocks(
        h.H.pairs, h.H.shapes, np.concatenate([own, (common * S.entries).astype(own.dtype)]).astype(np.complex64 if spinor else np.float32)
    )
    assert common_error(modes, S) == pytest.approx(common, rel=1e-5)
    assert common_error(replace(modes, entries=modes.entries[:1]), S) == 0.0
    write_folder(tmp_path / "a", replace(h, error_bars=ErrorBars(np.full(h.H.n_pairs, 1e-3), modes)))
    with pytest.raises(SystemExit):
        deeph_bands([str(tmp_path / "a"), "--path", "GM", "--points", "3"])
    said = "mostly the constant 20 meV that the validation structures gave: it does not depend on this structure"
    assert (said in capsys.readouterr().out) == named
    with pytest.raises(SystemExit):
        deeph_bands([str(tmp_path / "a"), "--path", "GM", "--points", "3", "--json"])
    assert json.loads(capsys.readouterr().out)["structures"][0]["level_errors"]["constant"] == pytest.approx(common, rel=1e-5)


def test_folder_round_trip(tmp_path):
    h = with_bars(random_model(1)).permuted(np.array([2, 0, 1]))
    write_folder(tmp_path / "a", h)
    back = read_folder(tmp_path / "a", modes=True)
    assert np.allclose(bars(back).sigma, h.error_bars.sigma, rtol=1e-6)
    assert np.array_equal(bars(back).modes.entries, h.error_bars.modes.entries)
    assert bars(read_folder(tmp_path / "a")).modes is None
    assert np.array_equal(bars(deeph.read(tmp_path / "a")).modes.entries, h.error_bars.modes.entries)


def test_bands_of_a_folder_have_error_bars(tmp_path):
    h = with_bars(replace(random_model(1), fermi_energy=-0.2))
    write_folder(tmp_path / "a", h)
    found = deeph.read(tmp_path / "a").bands("GMK", points=6).errors
    assert found == pytest.approx(h.bands("GMK", points=6).errors, rel=1e-6)


def damaged(folder, change):
    with h5py.File(folder / ERROR_BARS, "r+") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["entries"].__setitem__(0, -1.0), "not negative"),
        (lambda f: f["entries"].__setitem__(0, np.nan), "NaN"),
        (lambda f: f["atom_pairs"].__setitem__((0, 0), 7), "belongs to another prediction"),
        (lambda f: f.__delitem__("entries"), "lacks 'entries'"),
        (lambda f: f["chunk_shapes"].__setitem__((0, 0), 2), "running sum"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    write_folder(tmp_path / "a", with_bars(random_model(1)))
    damaged(tmp_path / "a", change)
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "a")


def test_modes_of_another_matrix_are_refused(tmp_path):
    h = with_bars(random_model(1))
    write_folder(tmp_path / "a", h)
    (tmp_path / "a" / ERROR_MODES).write_bytes((tmp_path / "a" / ERROR_BARS).read_bytes())
    with pytest.raises(DataError, match="do not fit H"):
        read_folder(tmp_path / "a", modes=True)
    with pytest.raises(DataError, match="error bars of 3 blocks"):
        replace(h, error_bars=ErrorBars(np.zeros(3)))


def test_prediction_in_a_folder_is_that_in_memory(members, structure, tmp_path, monkeypatch):
    ensemble = Ensemble(members, BARE)
    memory = ensemble.predict(structure)
    n = predict_folder(ensemble, structure, tmp_path / "a")
    back = read_folder(tmp_path / "a", modes=True)
    assert n == back.S.n_pairs
    place = find_pairs(memory.S.pairs, back.S.permuted(np.array(deeph_order(structure))).pairs)
    assert np.allclose(bars(back).sigma, bars(memory).sigma[place], rtol=1e-6)
    monkeypatch.setattr("deeph.inference.KEPT_MODES", 10)
    assert not keeps_modes(ensemble, memory.hamiltonian)
    predict_folder(ensemble, structure, tmp_path / "b")
    assert not (tmp_path / "b" / ERROR_MODES).exists()
    predict_folder(ensemble, structure, tmp_path / "c", modes=True)
    assert np.array_equal(bars(read_folder(tmp_path / "c", modes=True)).modes.entries, bars(back).modes.entries)


def deeph_order(structure: Hamiltonian) -> list[int]:
    """Where each atom of the structure is in its folder, whose atoms are sorted by element."""
    return np.argsort(np.argsort(structure.system.numbers, kind="stable")).tolist()


def test_other_operations_keep_or_drop_error_bars():
    h = with_bars(random_model(1))
    assert h.to_spinor().error_bars is None
    assert replace(h, H=None).error_bars is None
    assert h.with_potential(0.1).error_bars is h.error_bars
