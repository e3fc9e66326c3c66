"""What all readers share: numbers, patterns, Hermitian parts, one basis an element, and what is known of the self-consistent cycle."""

import json

import numpy as np
import pytest

from deeph.files.text import integer, lines_of_words, number, numbers, read_text
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.conventions import atom_order, atom_signs
from deeph.physics.pairs import is_onsite, reversed_pairs
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.readers.base import Convergence
from preprocess.readers.common import (
    asymmetry,
    closed_pattern,
    finite,
    hermitian,
    one_basis,
    spinor_blocks,
    to_project_order,
)


@pytest.mark.parametrize(
    ("word", "value"),
    [("1", 1), ("0.d0", 0), ("1.d-2", 0.01), ("-2.5D+01", -25), (".5", 0.5), ("1.", 1), ("0.12-101", 0.12e-101), ("+3e2", 300)],
)
def test_number_reads_fortran(word, value):
    assert number(word) == value
    assert numbers(["1.5", word]).tolist() == [1.5, value]


@pytest.mark.parametrize("word", ["nan", "inf", "-Infinity", "1e999", "", "1_0", "0x10", "1d", "--1", "1.2.3", "******"])
def test_what_is_no_finite_number_is_refused(word):
    with pytest.raises(ValueError, match="not a finite number"):
        number(word)
    if word != "1_0":  # numpy's fast path knows it
        with pytest.raises(ValueError, match="not a finite number"):
            numbers(["1.5", word])


def test_integers_have_the_size_of_counts():
    assert integer("-12") == -12
    for word in ("1.0", "9" * 19, "9" * 5000, "1_0", ""):
        with pytest.raises(ValueError, match="not an integer"):
            integer(word)


def test_lines_are_split_whatever_their_ends():
    text = "Keyword  1.d0 # comment\r\n# alone\r\n\r\n  other x\n"
    assert lines_of_words(text) == [(1, ["Keyword", "1.d0"]), (4, ["other", "x"])]
    assert lines_of_words("a // b", "#|//") == [(1, ["a"])]


def test_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt cannot be read .*; the code writes it"):
        read_text(tmp_path / "gone.txt", "the code writes it")
    (tmp_path / "dos.txt").write_bytes(b"a\r\nb\xff\r\n")
    assert read_text(tmp_path / "dos.txt") == "a\nb\ufffd\n"


def test_finite_names_the_file(tmp_path):
    assert finite(np.ones(3), tmp_path, "energies").sum() == 3
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or infinity among the energies"):
            finite(np.array([1.0, bad]), tmp_path, "energies")


def test_one_basis_compares_everything():
    assert one_basis([(6, ("a", 5.0)), (1, ("b", 4.0)), (6, ("a", 5.0))]) == {6: ("a", 5.0), 1: ("b", 4.0)}
    with pytest.raises(DataError, match=r"C has two bases, \('a', 5\.0\) and \('a', 6\.0\)"):
        one_basis([(6, ("a", 5.0)), (6, ("a", 6.0))])


def test_pattern_is_closed():
    some = np.array([[1, 0, 0, 0, 1], [0, 0, 0, 1, 0], [-1, 0, 0, 1, 0]])
    pairs = closed_pattern(3, some[:1], some[1:])
    assert {tuple(p) for p in pairs.tolist()} == {
        *((0, 0, 0, a, a) for a in range(3)), (1, 0, 0, 0, 1), (-1, 0, 0, 1, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1),
    }  # fmt: skip
    assert len(pairs) == 7
    assert is_onsite(closed_pattern(2)).all()


def random_blocks(n_components: int = 1) -> tuple[System, Basis, PairBlocks]:
    rng = np.random.default_rng(3)
    system = System(5 * np.eye(3), rng.random((2, 3)), np.array([6, 1]))
    basis = Basis({6: (0, 1), 1: (0,)})
    pairs = closed_pattern(2, np.array([[0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]))
    sizes = np.array([4, 1])[pairs[:, 3:]]
    out = PairBlocks.zeros(pairs, sizes, n_components, np.dtype(float))
    out.entries[:] = rng.random(out.entries.shape)
    return system, basis, out


def test_hermitian_part_and_its_limit():
    blocks = random_blocks()[2]
    with pytest.raises(DataError, match=r"the overlap differs from its Hermitian conjugate by .*, expected below 1e-06"):
        hermitian(blocks, "overlap", 1e-6)
    part, error = hermitian(blocks, "overlap", 10.0)
    assert asymmetry(part, "overlap", 0.0) == 0.0
    assert error == blocks.hermiticity_error() > 0
    blocks.entries[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinity in the overlap"):
        asymmetry(blocks, "overlap", 10.0)
    lonely = blocks.selected(np.flatnonzero(blocks.pairs[:, 3] <= blocks.pairs[:, 4]))
    lonely.entries[:] = 1.0
    with pytest.raises(DataError, match="by inf"):
        asymmetry(lonely, "overlap", 10.0)


@pytest.mark.parametrize("code", ["openmx", "abacus", "siesta", "aims", "pyscf"])
def test_project_order_is_that_of_the_conventions(code):
    system, basis, blocks = random_blocks()
    found = to_project_order(code, blocks, system, basis, spin=True)
    order, sign = ({z: f(code, basis.shells[z]) for z in (6, 1)} for f in (atom_order, atom_signs))
    for (R1, R2, R3, i, j), pair in zip(blocks.pairs.tolist(), map(tuple, blocks.pairs.tolist()), strict=True):
        a, b = system.numbers[i], system.numbers[j]
        expected = blocks.block(pair)[0][np.ix_(order[a], order[b])] * sign[a][:, None] * sign[b]
        assert np.array_equal(found.block((R1, R2, R3, i, j))[0], expected)


def test_spinor_blocks_have_up_first():
    blocks = random_blocks(4)[2]
    pair = (0, 0, 0, 0, 1)
    uu, ud, du, dd = blocks.block(pair)
    assert np.array_equal(spinor_blocks(blocks).block(pair)[0], np.block([[uu, ud], [du, dd]]))
    assert np.array_equal(reversed_pairs(blocks.pairs)[blocks.partners], blocks.pairs)


def test_convergence_travels_through_json():
    one = Convergence(False, 40, 2e-3, 1e-6, "change of the density", "run.out")
    stored = json.loads(json.dumps(one.to_source()))
    assert Convergence.of(stored) == one
    assert str(one) == "SCF NOT converged after 40 steps (change of the density 2.0e-03, criterion 1.0e-06)"
    assert str(Convergence(True, 9)) == "SCF converged in 9 steps"
    assert str(Convergence()) == "SCF convergence unknown"
    assert Convergence().to_source() == {"scf": {"converged": None}}


@pytest.mark.parametrize("source", [{}, {"scf": 3}, {"scf": {"converged": "yes"}}, {"scf": {"steps": 4}}])
def test_a_source_that_does_not_tell_is_unknown(source):
    assert Convergence.of(source) == Convergence()


def test_numbers_of_a_damaged_source_are_left_out():
    assert Convergence.of({"scf": {"converged": True, "steps": "x", "more": 1}}) == Convergence(True)
