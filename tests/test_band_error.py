"""The band error of training: the right levels at the right k, and where it is asked for."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from training_case import SMALL, make_case, make_structure

from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.store import read_folder, write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from deeph.training import band_error, run
from deeph.training.band_error import WINDOW, band_mae, make_reference
from deeph.training.check import check_data
from deeph.training.checkpoint import load_model, read_metadata
from deeph.training.data import split_of
from postprocess.eigen.solver import compute_energies
from preprocess.readers import openmx


def insulator(seed=0):
    """A structure whose Fermi level lies below the fifth level of Gamma."""
    structure = make_structure(seed)
    gamma = compute_energies(structure, np.zeros((1, 3)))[0, 0]
    return replace(structure, fermi_energy=float(gamma[3] + gamma[4]) / 2)


@pytest.fixture
def predicted(monkeypatch):
    """Give the test the say about what a model predicts: ``predicted(H entries, S entries -> H entries)``."""

    def install(change):
        def predict(_model, s):
            return replace(s, H=replace(s.H, entries=change(s.H.entries, s.S.entries)), fermi_energy=None)

        monkeypatch.setattr(band_error, "predict", predict)

    return install


def test_levels_are_those_of_the_postprocessing():
    structure = insulator()
    reference = make_reference(structure)
    np.testing.assert_allclose(reference.k, [[0, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 0]])  # no block crosses the vacuum along z
    np.testing.assert_allclose(reference.energies, compute_energies(structure, reference.k), atol=1e-9)
    assert (reference.counted == (reference.energies <= structure.fermi_energy + WINDOW)).all()
    assert reference.counted[0, 0, :4].all()
    assert not reference.counted.all()


LEARNED, FREE = SimpleNamespace(free_zero=False), SimpleNamespace(free_zero=True)
"""All that is asked of a model here; the predictions are made by the tests."""


def test_a_free_energy_zero_is_no_error(predicted):
    reference = make_reference(insulator())
    predicted(lambda H, S: H + 0.7 * S)
    assert band_mae(FREE, [reference]) == pytest.approx(0, abs=1e-6)
    assert band_mae(LEARNED, [reference]) == pytest.approx(700, rel=1e-6)


def test_a_shift_of_all_levels_is_the_error(predicted):
    reference = make_reference(insulator())
    predicted(lambda H, S: H + 0.007 * S)
    assert band_mae(LEARNED, [reference]) == pytest.approx(7, rel=1e-6)
    predicted(lambda H, _: 1.01 * H)
    expected = 10 * np.abs(reference.energies[reference.counted]).mean()
    assert band_mae(LEARNED, [reference]) == pytest.approx(expected, rel=1e-6)
    assert 10 * np.abs(reference.energies).mean() != pytest.approx(expected, rel=0.01)  # levels above the window would be seen


def test_structures_weigh_the_same(predicted):
    references = [make_reference(insulator(seed)) for seed in (0, 1)]
    predicted(lambda H, _: 1.01 * H)
    assert band_mae(LEARNED, references) == pytest.approx(np.mean([r.error(LEARNED) for r in references]))


def test_without_a_fermi_level_the_electrons_fill_the_levels():
    structure = insulator()
    filled = make_reference(replace(structure, fermi_energy=None, n_electrons=8.0))
    top = np.sort(filled.energies, axis=None)[4 * 3 - 1]
    assert (filled.counted == (filled.energies <= top + WINDOW)).all()
    with pytest.raises(DataError, match="'fermi_energy_eV' nor 'occupation'"):
        make_reference(replace(structure, fermi_energy=None))
    with pytest.raises(DataError, match="do not fit"):
        make_reference(replace(structure, fermi_energy=None, n_electrons=99.0))


@pytest.mark.parametrize("case", ["fe_bcc_spin", "mos2_soc", "o2_nc"])
def test_levels_of_every_spin(shared_data, predicted, case):
    """Levels and errors are those of the postprocessing; an error of the spin part alone is an error of levels."""
    data = openmx.read(shared_data / "openmx" / case)
    reference = make_reference(data)
    np.testing.assert_allclose(reference.energies, compute_energies(data, reference.k), atol=1e-9)
    n = int(data.basis.n_orbitals(data.system.numbers).sum())
    assert reference.energies.shape == (data.basis.n_spin, 3, n * data.basis.spin_factor)
    if case != "fe_bcc_spin":  # no metal: each level below the Fermi level holds one electron
        assert (reference.energies <= data.fermi_energy).sum() == 3 * data.n_electrons
        counted = make_reference(replace(data, fermi_energy=None))
        assert counted.energies[counted.counted].max() <= reference.energies[reference.counted].max()

    def change(blocks, _pairs):
        parts = split_spin(blocks, data.basis.spin)
        return join_spin({name: part if name == "A0" else 1.05 * part for name, part in parts.items()}, data.basis.spin)

    other = replace(data, H=data.H.mapped(change))
    predicted(lambda _H, _S: other.H.entries)
    expected = 1e3 * np.abs(compute_energies(other, reference.k) - reference.energies)[reference.counted].mean()
    assert reference.error(LEARNED) == pytest.approx(expected, abs=1e-6)
    assert expected > 1


def test_electrons_fill_collinear_levels_of_both_spins():
    """Two levels of up lie below the one of down that the third electron would fill."""
    pairs, ones = np.array([[0, 0, 0, 0, 0]]), 2 * np.ones((1, 2), int)
    system = System(10 * np.eye(3), np.zeros((1, 3)), np.array([1]))
    H = PairBlocks(pairs, ones, np.array([[-10.0, 0, 0, -3], [-5.0, 0, 0, 2]]))
    data = Hamiltonian(system, Basis({1: (0, 0)}, "collinear"), PairBlocks(pairs, ones, np.eye(2).reshape(1, 4)), H)
    for electrons, highest in ((1, -10.0), (2, -5.0), (3, -3.0), (4, 2.0)):
        reference = make_reference(replace(data, n_electrons=electrons))
        assert (reference.counted == (reference.energies <= highest + WINDOW)).all()


def test_a_run_writes_the_column(tmp_path):
    config = load_config(make_case(tmp_path, settings=SMALL + 'band_structures = ["000", "004"]\n'), ["data.seed=1"])
    split = split_of(open_dataset(config.data.path), config.data)
    assert not {"000", "004"} & set(split.test)
    with pytest.raises(DataError, match=r"000 .*Fermi level is not known"):
        check_data(config)
    for name in ("000", "004"):
        folder = config.data.path / name
        write_folder(folder, replace(read_folder(folder), fermi_energy=-4.0), overwrite=True)
    assert "DFT levels of 000, 004 are compared" in check_data(config)
    best = run.train(config, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    better = np.diff(np.minimum.accumulate([np.inf, *[float(row["validate_loss"]) for row in rows]])) < 0
    assert [row["band_mae_meV"] != "" for row in rows] == better.tolist()
    last = rows[int(np.flatnonzero(better)[-1])]
    metadata = read_metadata(best)
    assert metadata["metrics"]["band_mae_meV"] == pytest.approx(float(last["band_mae_meV"]), rel=1e-6)
    references = band_error.make_references(open_dataset(config.data.path), ["000", "004"])
    assert band_mae(load_model(best), references) == pytest.approx(float(last["band_mae_meV"]), rel=1e-6)


def test_names_that_cannot_be_used(tmp_path):
    path = make_case(tmp_path)
    config = load_config(path)
    split = split_of(open_dataset(config.data.path), config.data)
    with pytest.raises(UsageError, match="names 099, which"):
        check_data(load_config(path, ['train.band_structures=["099"]']))
    with pytest.raises(UsageError, match=f"names {split.test[0]} of the test set"):
        check_data(load_config(path, [f'train.band_structures=["{split.test[0]}"]']))
