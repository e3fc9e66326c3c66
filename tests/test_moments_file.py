"""Moments that a network is given: the file, what it becomes for each atom, and what is refused with its line."""

import logging
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from band_cases import random_model

from deeph.files.moments_file import read_moments_file, rows_of_elements
from deeph.inference_moments import input_moments, tell, with_moments
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError

MAGNETIC = {24: 3.4, 26: 2.2}
CRI3 = System(np.eye(3) * 9, np.arange(24.0).reshape(8, 3), np.array([24, 24, 53, 53, 53, 53, 53, 53]))


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "moments.txt"
        path.write_text(text)
        return path

    return write


def moments(given, stored=None, magnetic=MAGNETIC, spin="spinor", system=CRI3):
    return input_moments(system, given, stored, magnetic, spin)


def test_directions_get_the_mean_size_of_their_element(file):
    found = moments(file("# ferromagnet along x\nCr 5 0 0\n"))
    assert found[:2] == pytest.approx(np.array([[3.4, 0, 0]] * 2))
    assert not found[2:].any()


def test_rows_of_atoms_win_over_rows_of_elements_in_any_order(file):
    found = moments(file("2 0 3 4 2.5  # canted\n\nCr 0 0 -1\n"))
    assert found[:2] == pytest.approx(np.array([[0, 0, -3.4], [0, 1.5, 2.0]]))


def test_an_atom_of_size_zero_is_not_magnetic(file):
    assert not moments(file("Cr 0 0 1\n1 0 0 1 0"))[0].any()


def test_numbers_of_fortran_and_extreme_lengths(file):
    found = moments(file("1 1.d-200 0 0\r\n2 0 1D300 1D300 2.D0\r\n"))
    assert found[:2] == pytest.approx(np.array([[3.4, 0, 0], [0, 2**0.5, 2**0.5]]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cr 0 0 1\n9 0 0 1", "line 2: atom 9 of Cr2I6, 8 atoms; atoms are counted from 1"),
        ("0 0 0 1", "line 1: atom 0; atoms are counted from 1"),
        ("-1 0 0 1", "line 1: '-1' is neither"),
        ("Fe 0 0 1", "line 1: there is no Fe in Cr2I6"),
        ("Xx 0 0 1", "line 1: 'Xx' is neither"),
        ("X 0 0 1", "line 1: 'X' is neither"),
        ("\nCr 0 0 0", "line 2: the direction 0 0 0"),
        ("Cr 0 0 up", "line 1: 'up' is not a finite number"),
        ("Cr 0 0 nan", "line 1: 'nan' is not a finite number"),
        ("Cr 0 0", "line 1: 2 numbers, expected three"),
        ("Cr 0 0 1 2 3", "line 1: 5 numbers"),
        ("Cr 0 0 1 -2", "line 1: the size -2 is negative"),
        ("1 0 0 1\n2 0 0 1\n1 0 1 0", "line 3: atom 1 comes twice; first in .*line 1"),
        ("Cr 0 0 1\nCr 0 1 0", "line 2: Cr comes twice"),
        ("# nothing\n", "holds no moment"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(file, text, words):
    path = file(text)
    with pytest.raises(DataError, match=words) as error:
        moments(path)
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_moments_file(tmp_path / "absent")


@pytest.mark.parametrize("text", ["I 0 0 1", "3 0 0 1", "I 0 0 1 0.1"])
def test_an_element_that_is_not_magnetic_is_refused(file, text):
    with pytest.raises(UsageError, match=r"line 1: the magnetic moment of atom 3, I, is none .* elements are Cr, Fe"):
        moments(file(text))


def test_a_model_that_is_not_magnetic(file):
    with pytest.raises(UsageError, match="the model is not magnetic"):
        moments(file("Cr 0 0 1"), magnetic={})
    assert moments(None, np.ones((8, 3)), {}) is None


def test_stored_moments_without_those_that_are_induced_and_a_file_instead(file):
    stored = np.full((8, 3), 0.1)
    stored[:2] = [0, 3.3, 0]
    assert moments(None, stored) == pytest.approx(np.where(np.arange(8)[:, None] < 2, stored, 0))
    assert moments(file("1 0 0 1"), stored) == pytest.approx(np.array([[0, 0, 3.4]] + [[0, 0, 0]] * 7))
    assert not moments(None).any()


def test_python_takes_directions_of_elements_and_moments_of_atoms():
    assert moments({"Cr": (0, 2, 0)})[:2] == pytest.approx(np.array([[0, 3.4, 0]] * 2))
    assert moments({"Cr": (0, 2, 0, 3)})[1] == pytest.approx([0, 3, 0])
    array = np.zeros((8, 3))
    array[1] = 1, 2, 3
    assert np.array_equal(moments(array), array)
    assert np.array_equal(moments(array.tolist()), array)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((7, 3)), r"shape \(7, 3\): expected \(8, 3\)"),
        (np.full((8, 3), np.nan), "atom 1, Cr, is no number"),
        ({"Kr1": (0, 0, 1)}, "'Kr1': expected a chemical symbol"),
        ({"Cr": (0, 0)}, "'Cr': 2 numbers"),
        ({"Cr": 1.0}, "'Cr': 1 numbers"),
        ([["a", 0, 0]] * 8, "moments: could not convert"),
    ],
)
def test_python_errors(given, words):
    with pytest.raises(DataError, match=words):
        moments(given)


def test_collinear_models_take_moments_along_z():
    assert moments({"Cr": (0, 0, -1)}, spin="collinear")[0] == pytest.approx([0, 0, -3.4])
    with pytest.raises(UsageError, match=r"of 'Cr': .* of atom 1, Cr, is \(0.338, 0, -3.38\), but the model is collinear"):
        moments({"Cr": (0.1, 0, -1)}, spin="collinear")


def test_several_structures_take_rows_of_elements(file):
    rows = rows_of_elements({"Cr": (0, 0, 1)})
    for order in (np.arange(8), np.arange(8)[::-1]):
        system = CRI3.permuted(order)
        assert moments(rows, system=system)[system.numbers == 24] == pytest.approx(np.array([[0, 0, 3.4]] * 2))


def test_an_overlap_without_spin_serves_a_model_of_every_spin():
    """What deeph-overlap writes; data with another spin than the model's stay what they are and are refused later."""
    plain, collinear = random_model(), random_model(spin="collinear")
    model = SimpleNamespace(magnetic={6: 1.5}, basis=replace(plain.basis, spin="spinor"))
    found = with_moments(replace(plain, source={"moments": "Mulliken", "code": "x"}), {"C": (1, 0, 0)}, model)
    assert (found.basis.spin, found.H, dict(found.source)) == ("spinor", None, {"moments": "input of the network", "code": "x"})
    assert found.moments == pytest.approx(np.array([[1.5, 0, 0], [0, 0, 0], [1.5, 0, 0]]))
    assert with_moments(collinear, None, model).basis.spin == "collinear"
    plain_model = SimpleNamespace(magnetic={}, basis=plain.basis)
    assert with_moments(replace(plain, moments=np.ones((3, 3)), source={"moments": "Mulliken"}), None, plain_model).moments is None


def test_arrays_are_taken_as_moments_of_a_folder_are(caplog):
    """Those of DFT were refused for what chromium induces in iodine."""
    caplog.set_level(logging.INFO)
    dft = np.full((8, 3), 0.1)
    dft[:2] = [0, 3.3, 0]
    dft[2] = 0.001
    plain = random_model()
    model = SimpleNamespace(magnetic=MAGNETIC, basis=replace(plain.basis, spin="spinor"))
    assert np.array_equal(moments(dft), moments(None, dft))
    with mock.patch("deeph.inference_moments.as_input", lambda _structure, moments, _model: moments):
        for given, stored in ((dft, None), (None, dft)):
            caplog.clear()
            found = with_moments(SimpleNamespace(system=CRI3, moments=stored), given, model)
            assert np.array_equal(found, np.where(np.arange(8)[:, None] < 2, dft, 0))
            told = caplog.records[0]
            assert (told.levelname, len(caplog.records)) == ("INFO", 2)
            assert "the moments of 5 I (up to 0.173 Bohr magneton) are no input of the model" in told.getMessage()
        caplog.clear()
        with_moments(SimpleNamespace(system=CRI3, moments=dft), {"Cr": (0, 0, 1)}, model)
        assert "no input" not in caplog.text
    dft[4] = np.nan
    for given, stored in ((dft, None), (None, dft)):
        with pytest.raises(DataError, match="atom 5, I, is no number"):
            moments(given, stored)


def test_a_model_that_is_not_magnetic_warns_of_moments(caplog):
    """They were ignored without a word."""
    plain = random_model()
    model = SimpleNamespace(magnetic={}, basis=plain.basis)
    for size, said in ((0.001, False), (0.05, True)):
        caplog.clear()
        assert with_moments(replace(plain, moments=np.full((3, 3), size)), None, model).moments is None
        assert ("up to 0.09 Bohr magneton, but the model is not magnetic" in caplog.text) == said
        assert [record.levelname for record in caplog.records] == ["WARNING"] * said


def test_what_was_given_is_told(caplog):
    caplog.set_level(logging.INFO)
    given = np.zeros((8, 3))
    tell(CRI3, given, MAGNETIC)
    assert "no atom is given a magnetic moment" in caplog.text
    assert "Cr of 3.40 Bohr magneton" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"
    given[0] = 0, 0, 3.3
    tell(CRI3, given, MAGNETIC)
    assert caplog.records[-1].getMessage() == "Cr2I6, 8 atoms: magnetic moments of 1 Cr (3.300 Bohr magneton); non-magnetic: 1 Cr, 6 I"
    assert len(caplog.records) == 2
    given[1] = 0, 1, 0
    tell(CRI3, given, MAGNETIC)
    assert "1 Cr have moments of another size than in training, 3.400" in caplog.text
    assert caplog.records[-1].getMessage().endswith("2 Cr (1.000 to 3.300 Bohr magneton); non-magnetic: 6 I")
