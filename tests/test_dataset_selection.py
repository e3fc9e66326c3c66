"""Datasets filtered, merged, without duplicates, split and linked: from Python and from the shell, read by training."""

import json
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_case import make_structure, random_rotation, rotated

from deeph.cli import train
from deeph.files.dataset import open_dataset
from deeph.files.duplicates import Signature, duplicates
from deeph.files.partition import at_random, by_composition
from deeph.files.split_file import read_split
from deeph.files.store import read_poscar, write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs, pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from preprocess.cli import inspect

SHIFT = np.array([0.3, -1.1, 7.0])


def pair(seed: int):
    """Two atoms, C and Si, in the cell of the network tests."""
    return make_structure(seed, np.array([[0, 0, 0], [1.6, 0.3, 0.1]]))


@pytest.fixture
def data(tmp_path):
    """Four structures C2Si2 and two CSi, one of them unconverged."""
    for n in range(4):
        write_folder(tmp_path / "a" / str(n), make_structure(n))
    for n in range(2):
        one = pair(10 + n)
        source = {**one.source, "code": "OpenMX", "scf": {"converged": n == 0}}
        write_folder(tmp_path / "a" / "small" / str(n), replace(one, source=source, fermi_energy=-4.0 + n))
    return open_dataset(tmp_path / "a")


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        (["atoms<=2"], 2),
        (["atoms!=2"], 4),
        (["formula=C2Si3"], 0),
        (["formula=CSi"], 6),
        (["formula=C2Si2"], 4),
        (["formula=Mo*,Si2*"], 4),
        (["elements=C,Si"], 6),
        (["elements>=C", "atoms=4"], 4),
        (["elements<=C,Si,O"], 6),
        (["spin=none"], 6),
        (["spin!=none"], 0),
        (["converged=yes"], 1),
        (["converged=no,unknown"], 5),
        (["code=openmx"], 2),
        (["fermi>-3.5"], 1),
        (["name=1"], 2),
        (["name=small/*"], 2),
        (["orbitals>1", "bonds>0", "max_H<1000"], 6),
        (["max_H>1000"], 0),
    ],
)
def test_conditions(data, conditions, number):
    if number:
        assert len(data.filter(*conditions)) == number
    else:
        with pytest.raises(DataError, match=r"none of 6 structures fulfils"):
            data.filter(*conditions)


def test_a_condition_may_be_a_function(data):
    left = data.filter(lambda s: s.system.n_atoms == 2, lambda s: s.hamiltonian.fermi_energy > -3.5)
    assert left.names == ("small/1",)
    assert left[0].fermi_energy == -3.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("elemnts=C", "did you mean elements?"),
        ("atoms~4", "expected QUANTITY=VALUE"),
        ("atoms<many", "'many' is no number"),
        ("elements=Xx", "'Xx' is no element"),
        ("spin<none", "spin is a word"),
        ("__import__('os')", "expected QUANTITY=VALUE"),
    ],
)
def test_conditions_that_are_none(data, text, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        data.filter(text)


def moved(data, seed):
    """The same structure with its atoms in another order, shifted, turned and mirrored."""
    one = rotated(data, random_rotation(seed, proper=bool(seed % 2)))
    one = replace(one, system=System(one.system.cell, one.system.positions + SHIFT, one.system.numbers))
    return one.permuted(np.random.default_rng(seed).permutation(one.system.n_atoms))


def test_duplicates_are_found_however_they_are_turned():
    structures = {str(n): make_structure(n) for n in range(4)}
    structures |= {f"again {n}": moved(structures[str(n)], n) for n in (1, 2)}
    louder = structures["3"]
    structures["other H"] = replace(louder, H=louder.H.mapped(lambda blocks, _: 1.05 * blocks))
    twice, different = duplicates({name: Signature.of(one) for name, one in structures.items()})
    assert twice == {"again 1": "1", "again 2": "2"}
    assert different == [("3", "other H")]


def found_equal(one, other):
    first, second = Signature.of(one), Signature.of(other)
    return first.same_geometry(second) and first.same_matrices(second)


@pytest.mark.parametrize("seed", range(4))
def test_magnets_are_equal_if_their_moments_turn_with_the_crystal(seed):
    """And not if they turn alone, or some of them: fixed moments on one geometry are how magnetic data are made."""
    rng = np.random.default_rng(seed)
    crystal = make_structure(seed)
    fields = rng.normal(size=(crystal.system.n_atoms, 3))

    def magnet(data, b):
        return data.to_spinor().with_zeeman(b)

    one, turn = magnet(crystal, fields), random_rotation(seed, proper=bool(seed % 2))
    order = rng.permutation(crystal.system.n_atoms)
    assert found_equal(one, magnet(rotated(crystal, turn), np.linalg.det(turn) * fields @ turn.T).permuted(order))
    assert found_equal(one, magnet(crystal, -fields))
    assert not found_equal(one, magnet(crystal, fields @ turn.T))
    assert not found_equal(one, magnet(crystal, fields * np.where(np.arange(len(fields)) == 1, -1, 1)[:, None]))


def test_two_atoms_at_one_place_are_no_fault_of_the_comparison():
    """A known fault: their direction was 0/0, a warning on the screen, and NaN made any magnets equal that differ there alone."""
    system = System(np.diag([8.0, 8.0, 8.0]), np.zeros((2, 3)), np.array([26, 26]))
    pairs = np.array([[0, 0, 0, i, j] for i in (0, 1) for j in (0, 1)])
    S = PairBlocks(pairs, np.ones((4, 2), int), np.array([[1.0, 0.5, 0.5, 1.0]]))
    H = PairBlocks(pairs, 2 * np.ones((4, 2), int), np.zeros((1, 16), complex))
    double = Hamiltonian(system, Basis({26: (0,)}, "spinor"), S, H)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alike, opposite = (double.with_zeeman(np.array([[0, 0, 1.0], [0, 0, z]])) for z in (1, -1))
        assert found_equal(alike, alike)
        assert not found_equal(alike, opposite)


@pytest.mark.parametrize("spin", ["collinear", "spinor"])
def test_a_ferromagnet_is_no_antiferromagnet(spin):
    """Two layers 6 Angstrom apart, which H does not connect: all norms are equal."""
    pairs = np.array([[*R, a, a] for a in (0, 1) for R in ((0, 0, 0), (1, 0, 0), (-1, 0, 0))])
    system = System(np.diag([3.0, 30.0, 30.0]), np.array([[0, 0, 0], [0, 0, 6.0]]), np.array([26, 26]))
    shapes = np.ones((6, 2), int)
    S = PairBlocks(pairs, shapes, np.array([[1.0, 0, 0] * 2]))
    H = PairBlocks(pairs, shapes, np.array([[0.0, -1, -1] * 2] * 2))
    layers = Hamiltonian(system, Basis({26: (0,)}, "collinear"), S, H)
    layers = layers.to_spinor() if spin == "spinor" else layers
    z = np.array([[0, 0, 1.0], [0, 0, 1.0]])
    alike, opposite = layers.with_zeeman(z), layers.with_zeeman(z * [[1], [-1]])
    assert found_equal(alike, layers.with_zeeman(-z))
    assert not found_equal(alike, opposite)


def test_stackings_are_told_apart():
    """Three layers ABA and ABC have the same distances up to 6.7 Angstrom, and H that reaches no farther is the same."""

    def trilayer(*shifts):
        a = 2.46
        cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, 30]])
        plane = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0]])
        fractional = np.concatenate([plane + np.array([n / 3, 2 * n / 3, 3.35 * layer / 30]) for layer, n in enumerate(shifts)])
        system = System(cell, fractional @ cell, np.full(6, 6))
        pairs = neighbour_pairs(system, {6: 3.1})
        t = np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1))
        S = PairBlocks(pairs, np.ones((len(pairs), 2), int), t)
        return Hamiltonian(system, Basis({6: (0,)}), S, replace(S, entries=-3 * S.entries))

    assert found_equal(trilayer(0, 1, 0), trilayer(1, 2, 1))
    assert not found_equal(trilayer(0, 1, 0), trilayer(0, 1, 2))


def test_a_small_displacement_or_another_spin_is_another_structure():
    one = make_structure(0)
    positions = one.system.positions.copy()
    positions[0] += 0.01
    other = replace(one, system=System(one.system.cell, positions, one.system.numbers))
    signatures = {"one": Signature.of(one), "other": Signature.of(other), "spinor": Signature.of(one.to_spinor())}
    assert duplicates(signatures) == ({}, [])


def test_merged_datasets_keep_every_structure(data, tmp_path):
    for n in range(2):
        write_folder(tmp_path / "b" / str(n), make_structure(n))
    both = data.merge(open_dataset(tmp_path / "b"), open_dataset(tmp_path / "a"))
    assert both.names == ("a/0", "a/1", "a/2", "a/3", "a/small/0", "a/small/1", "b/0", "b/1")
    assert both.read("b/1").system.n_atoms == 4
    assert both.deduplicate().names == both.names[:6]
    linked = both.link(tmp_path / "both")
    assert sorted(linked.names) == ["2", "3", "a-0", "a-1", "b-0", "b-1", "small-0", "small-1"]
    assert open_dataset(tmp_path / "both").names == tuple(sorted(linked.names))
    assert (tmp_path / "both" / "b-0").is_symlink()
    assert not (tmp_path / "both" / "b-0").readlink().is_absolute()
    np.testing.assert_array_equal(linked.read("b-1").H.entries, both.read("b/1").H.entries)
    with pytest.raises(DataError, match="exists already and is kept"):
        both.link(tmp_path / "both")


def test_links_in_a_circle_do_not_hang(data):
    (data.path / "small" / "up").symlink_to(data.path)
    assert open_dataset(data.path).names == data.names


NAMES = st.lists(st.sampled_from("ABCDE"), min_size=6, max_size=60)


@given(formulas=NAMES, seed=st.integers(0, 99))
def test_a_random_split_has_every_formula_in_all_parts(formulas, seed):
    named = {str(n): formula for n, formula in enumerate(formulas)}
    parts = at_random(named, (0.6, 0.2, 0.2), seed)
    assert sorted(name for part in parts for name in part) == sorted(named)
    for formula, count in Counter(formulas).items():
        shares = [sum(named[name] == formula for name in part) for part in parts]
        for share, part in zip(shares, parts, strict=True):
            assert abs(share - count * len(part) / len(named)) <= 2.0 + len(set(formulas)) / 2


@given(formulas=NAMES, seed=st.integers(0, 99))
def test_a_split_by_composition_has_every_formula_in_one_part(formulas, seed):
    named = {str(n): formula for n, formula in enumerate(formulas)}
    if len(set(formulas)) < 3:
        with pytest.raises(DataError, match="expected at least one formula each"):
            by_composition(named, (0.6, 0.2, 0.2), seed)
        return
    parts = by_composition(named, (0.6, 0.2, 0.2), seed)
    assert sorted(name for part in parts for name in part) == sorted(named)
    kinds = [{named[name] for name in part} for part in parts]
    assert all(kinds)
    assert sum(map(len, kinds)) == len(set(formulas))
    assert parts == by_composition(named, (0.6, 0.2, 0.2), seed)


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        inspect.main([str(argument) for argument in arguments])
    return end.value.code


def test_from_the_shell_to_training(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder("b/7", moved(data.read("1"), 3))
    write_folder("b/8", make_structure(8))
    options = ["--merge", "--filter", "atoms=4", "--deduplicate", "--split", 0.6, 0.2, 0.2, "--seed", 5, "--out", "both"]
    assert run("a", "b", *options) == 0
    out = capsys.readouterr().out
    assert "2 folders: 8 structures" in out
    assert "6 of 8 structures" in out
    assert "1 left out: b/7 = a/1" in out
    linked = open_dataset("both")
    assert len(linked) == 5
    split = read_split(linked)
    assert [len(part) for part in (split.train, split.validate, split.test)] == [3, 1, 1]
    record = json.loads((tmp_path / "both" / "dataset.json").read_text())
    assert record["command"].startswith("deeph-inspect a b --merge --filter atoms=4")
    (tmp_path / "train.toml").write_text('[data]\npath = "both"\n')
    with pytest.raises(SystemExit) as end:
        train.main(["train.toml", "--check"])
    assert end.value.code == 0, capsys.readouterr()


def test_a_split_alone_is_a_list_of_names(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("a", "--filter", "atoms=4", "--split", 0.5, 0.25, 0.25, "--out", "split.json") == 0
    assert "data.split = 'split.json'" in capsys.readouterr().out
    split = read_split(data, tmp_path / "split.json")
    assert sorted([*split.train, *split.validate, *split.test]) == ["0", "1", "2", "3"]
    assert run("a", "--split", 0.5, 0.25, 0.25, "--out", "split.json") == 1
    assert "exists already and is kept" in capsys.readouterr().err


def test_the_chosen_structures_are_inspected(data, capsys):
    assert run(data.path, "--filter", "formula=CSi", "--filter", "atoms=2") in (0, 1)
    out = capsys.readouterr().out
    assert "2 of 6 structures" in out
    assert "2 structures, structure folder, DFT" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "a", "--filter", "atoms=4"], "--merge makes one dataset"),
        (["a", "--split", 0.5, 0.5, 0], "--split needs --out"),
        (["a", "--out", "x.json"], "such a file holds a split"),
        (["a", "a", "--merge", "--split", 0.5, 0.5, 0, "--out", "x.json"], "need a folder"),
        (["a", "--split", 0.5, 0.1, 0.1, "--out", "x"], "add up to 1"),
        (["a", "--split", 0.5, 0.5, 0, "--seed", -1, "--out", "x"], "--seed -1"),
    ],
)
@pytest.mark.usefixtures("data")
def test_options_that_do_not_go_together(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_four_orientations_of_one_molecule(shared_data):
    """The same molecule turned, each calculated anew by DFT: norms of H agree to 1e-3 eV."""
    found = open_dataset(shared_data / "peers" / "deeph-new" / "H2O-rotated")
    assert len(found) == 4
    assert len(found.deduplicate()) == 1


def test_formulas_of_the_smallest_unit(tmp_path):
    system = make_structure(0).system
    assert (system.formula, system.reduced_formula) == ("Si2C2", "SiC")
    write_folder(tmp_path / "x", make_structure(0))
    assert read_poscar(tmp_path / "x" / "POSCAR").reduced_formula == "SiC"


def test_rare_formulas_are_in_all_parts_in_the_same_proportion():
    """Formulas of one structure each, beside one of many: a tenth of them is for the test, on the average."""
    formulas = {f"many {n}": "MoS2" for n in range(200)} | {f"rare {n}": f"formula {n}" for n in range(20)}
    parts = [at_random(formulas, (0.8, 0.1, 0.1), seed) for seed in range(40)]
    shares = [np.mean([sum(name.startswith("rare") for name in split[p]) / 20 for split in parts]) for p in range(3)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.04)
    many = [sum(name.startswith("many") for name in split[2]) for split in parts]
    assert 16 <= min(many) <= max(many) <= 24
