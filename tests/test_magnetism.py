"""Which structures with spin can be trained on together, and what the commands say about their magnetism."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from training_case import SMALL, make_structure

from deeph.cli import train as command
from deeph.files.dataset import open_dataset
from deeph.files.store import read_folder, write_folder
from deeph.files.training_set import MissingError, TrainingSet, check_trainable
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism, largest_parts
from deeph.physics.pairs import is_onsite
from deeph.physics.spin_parts import join_spin, split_spin
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.inspect.spin_checks import check_moments, check_time_reversal
from preprocess.inspect.subject import inspect_path

Z = np.array([0, 0, 1.0])


def plain(seed=0):
    """H of spinors without magnetism."""
    return make_structure(seed).to_spinor()


def magnet(seed=0, spin="spinor", moments=(2.0, 1.8, 0.1)):
    """With exchange fields along the moments; the minus is that of the electron's energy."""
    data = make_structure(seed)
    data = data.to_spinor() if spin == "spinor" else replace(data, basis=replace(data.basis, spin="collinear"), H=doubled(data.H))
    m = np.outer(moments, Z)
    return replace(data.with_zeeman(-0.4 * m), moments=m)


def doubled(H):
    return replace(H, entries=np.concatenate([H.entries, H.entries]))


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_largest_parts_are_those_of_the_whole_matrix(spin):
    H = random_model(1, spin=spin, numbers=(6, 6, 7)).H
    found = largest_parts(H, spin)
    for _, members in H.groups():
        for name, part in split_spin(H.take(members), spin).items():
            assert np.abs(part).max() <= found[name]
    assert set(found) == {"none": {"A0"}, "collinear": {"A0", "A"}, "spinor": {"A0", "B0", "A", "B"}}[spin]
    assert found["A0"] > 0.5


@pytest.mark.parametrize("spin", ["collinear", "spinor"])
def test_structures_with_spin_can_be_learned(spin):
    """A known refusal: 'the network learns spin-free Hamiltonians only'."""
    found = TrainingSet()
    for seed in range(3):
        found.add(magnet(seed, spin), train=True)
    assert found.basis.spin == spin
    assert found.n_magnetic == found.n == 3
    assert found.moments == {6: (pytest.approx(1.8), pytest.approx(2.0)), 1: (pytest.approx(0.1), pytest.approx(0.1))}
    kind = "spinors without spin-orbit coupling" if spin == "spinor" else "collinear"
    assert found.spin_text == f"{kind}; H breaks time reversal: moments (Bohr magneton) C 1.80 to 2.00, H 0.10"


@pytest.mark.parametrize(
    ("first", "second", "seen"),
    [
        (make_structure(0), plain(1), "H is of spinors .*, in the structures before it without spin"),
        (plain(0), make_structure(1), "H is without spin, in the structures before it of spinors"),
        (make_structure(0), magnet(1, "collinear"), "H is collinear, in the structures before it without spin"),
        (magnet(0, "collinear"), magnet(1), "H is of spinors .*, in the structures before it collinear"),
    ],
)
def test_kinds_of_spin_are_not_mixed(first, second, seen):
    found = TrainingSet()
    found.add(first, train=True)
    with pytest.raises(DataError, match=seen):
        found.add(second, train=True)


def test_spin_orbit_coupling_is_in_all_structures_or_in_none():
    """Spinors without it have the same kind of H: its size tells. An element that has no coupling may be alone in a structure."""

    def coupled(data):
        entries = data.H.entries + 0.01 * with_angular_momentum(data)
        return replace(data, H=replace(data.H, entries=entries))

    for first, second, seen in (
        (coupled(plain(0)), plain(1), "0 eV at most.* have one"),
        (plain(0), coupled(plain(1)), "0.01 eV.* have none"),
    ):
        found = TrainingSet()
        found.add(first, train=True)
        with pytest.raises(DataError, match=f"{seen}: some runs are without spin-orbit coupling"):
            found.add(second, train=True)
    found = TrainingSet()
    found.add(coupled(plain(0)), train=True)
    found.add(coupled(plain(1)), train=True)
    hydrogen = pair_of_hydrogen()
    found.add(hydrogen, train=True)
    assert largest_parts(hydrogen.H, "spinor")["B"] == 0


def with_angular_momentum(data):
    """L_z sigma_z of the p shells of carbon (orbitals y, z, x), as the entries of H."""
    out = PairBlocks.zeros(data.H.pairs, data.H.shapes, 1, complex)
    for n in np.flatnonzero(is_onsite(data.H.pairs) & (data.H.shapes[:, 0] == 8)):
        block = np.zeros((8, 8), complex)
        for spin, sign in ((0, 1), (4, -1)):
            block[spin + 1, spin + 3], block[spin + 3, spin + 1] = 1j * sign, -1j * sign
        out.put(np.array([n]), block)
    return out.entries


def pair_of_hydrogen():
    pairs = np.array([[0, 0, 0, i, j] for i in (0, 1) for j in (0, 1)])
    system = System(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 0.8]]), np.array([1, 1]))
    S = PairBlocks(pairs, np.ones((4, 2), int), np.array([[1.0, 0.6, 0.6, 1.0]]))
    return Hamiltonian(system, Basis({1: (0,)}), S, replace(S, entries=-9 * S.entries)).to_spinor()


def test_magnetic_and_other_structures_are_trained_together():
    """If H tells that the others are not, or their moments are zero."""
    found = TrainingSet()
    for data in (magnet(0), plain(1), replace(plain(2), moments=np.zeros((3, 3)))):
        found.add(data, train=True)
    assert "in 1 of 3 structures" in found.spin_text
    alone = TrainingSet()
    alone.add(plain(1), train=True)
    assert alone.spin_text == "spinors without spin-orbit coupling; H keeps time reversal: not magnetic"


@pytest.mark.parametrize("spin", ["collinear", "spinor"])
def test_what_is_magnetic_needs_its_moments(spin):
    data = magnet(0, spin)
    with pytest.raises(MissingError, match=r"up to 0\.8 eV.*the network needs the moments as input.*magnetic_moments_muB"):
        check_trainable(replace(data, moments=None))
    with pytest.raises(DataError, match="no recorded moment is larger than 0 Bohr magneton"):
        check_trainable(replace(data, moments=np.zeros((3, 3))))
    broken = data.moments.copy()
    broken[1, 2] = np.nan
    with pytest.raises(DataError, match=r"moment of atom 2 \(C\) is NaN"):
        check_trainable(replace(data, moments=broken))
    weak = replace(plain() if spin == "spinor" else magnet(0, spin, (0, 0, 0)), moments=None)
    check_trainable(replace(weak, H=weak.with_zeeman(0.0009).H))  # less than 1 meV
    with pytest.raises(MissingError):
        check_trainable(replace(weak, H=weak.with_zeeman(0.0011).H))


def test_collinear_moments_are_along_z():
    data = magnet(0, "collinear")
    with pytest.raises(DataError, match="2 Bohr magneton across z"):
        check_trainable(replace(data, moments=data.moments[:, [2, 1, 0]]))


def test_orbital_currents_alone_break_time_reversal():
    """B0, the imaginary spin-free part: a magnetic field on the orbits, of which no exchange field tells."""
    data = plain()
    H = data.H.entries + 0.01j * np.random.default_rng(0).normal(size=data.H.entries.shape)
    current = replace(data, H=replace(data.H, entries=H).hermitized())

    def only(blocks, _pairs):
        parts = split_spin(blocks, "spinor")
        return join_spin({"A0": parts["A0"], "B0": parts["B0"]}, "spinor")

    keep = current.H.mapped(only)
    found = Magnetism.of(replace(data, H=keep))
    assert found.parts["A"] < 1e-12
    assert found.parts["B0"] > 0.001
    assert not found.time_reversal
    with pytest.raises(MissingError, match="needs the moments"):
        check_trainable(replace(data, H=keep))


@pytest.fixture
def data(tmp_path):
    """Four magnets and a split; train.toml trains on them."""
    for n in range(4):
        write_folder(tmp_path / "data" / f"{n}", magnet(n))
    (tmp_path / "data" / "split.json").write_text(json.dumps({"train": ["0", "1", "2"], "validate": ["3"]}))
    (tmp_path / "small.toml").write_text(SMALL.replace("fractions = [0.5, 0.25, 0.25]", ""))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("change", "reason", "verdict"),
    [
        (lambda data: replace(data, moments=None), "H breaks time reversal .* needs the moments", "note"),
        (lambda data: replace(data, moments=0 * data.moments), "H breaks time reversal .* no recorded moment", "bad"),
        (lambda _: make_structure(2), "H is without spin, in the structures before it of spinors", "bad"),
    ],
)
def test_training_and_inspection_refuse_the_same(data, change, reason, verdict, capsys):
    """An unknown moment is no fault of the data, which serve for bands; a wrong one is."""
    found = {check.name: check for check in inspect_path(data).checks}
    assert found["training"].verdict == found["training set"].verdict == "ok"
    assert (
        found["spin"].text == "spinors without spin-orbit coupling; H breaks time reversal: moments (Bohr magneton) C 1.80 to 2.00, H 0.10"
    )
    write_folder(data / "2", change(read_folder(data / "2")), overwrite=True)
    with pytest.raises(SystemExit) as ended:
        command.main([str(data.parent / "small.toml"), "--check"])
    assert ended.value.code == 1
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(f"1 of 4 structures cannot be used: 2: {reason}", message), message
    found = {check.name: check for check in inspect_path(data).checks}
    seen = found["training set" if "without spin" in reason else "training"]
    assert seen.verdict == verdict
    assert re.search(reason, seen.text), seen.text


def test_structures_are_chosen_by_their_moment(data):
    write_folder(data / "4", plain(4))
    write_folder(data / "5", magnet(5, moments=(0.3, 0, 0)))
    dataset = open_dataset(data)
    assert dataset.filter("moment>1").names == ("0", "1", "2", "3")
    assert dataset.filter("moment<=0.3").names == ("5",)


def test_moments_are_along_the_exchange_fields():
    good = magnet(0)
    assert check_moments(good).verdict == "ok"
    for wrong in (-good.moments, good.moments[:, [2, 1, 0]]):
        found = check_moments(replace(good, moments=wrong))
        assert found.verdict == "warning"
        assert "atom 1 (C)" in found.text
    induced = good.moments.copy()
    induced[2] *= -1  # hydrogen's is a twentieth of carbon's
    assert check_moments(replace(good, moments=induced)).verdict == "ok"
    assert check_moments(plain()).verdict == "ok"


def test_moments_of_another_run_are_seen():
    found = check_time_reversal(replace(plain(), moments=magnet().moments))
    assert found.verdict == "warning"
    assert "those of another run" in found.text


@pytest.mark.parametrize(
    ("case", "sizes", "moments"),
    [
        ("mos2_soc", "spin-free 66.6, spin-orbit 0.814", "none above 0.02"),
        ("fe_bcc_spin", "spin-free 58.2, exchange 1.28", "Fe 2.16"),
        ("o2_nc", "spin-free 35, exchange 0.797", "O 1.00"),
    ],
)
def test_what_inspection_says_of_dft_runs(shared_data, case, sizes, moments):
    """Sizes of the parts, which elements are magnetic; with spin-orbit coupling alone time reversal holds."""
    report = inspect_path(shared_data / "openmx" / case)
    assert report.facts["parts of H"] == f"largest element (eV): {sizes}"
    assert report.facts["moments"].startswith(f"{moments}; total (")
    found = {check.name: check for check in report.checks}
    assert found["training"].verdict == found["time reversal"].verdict == found["moments"].verdict == "ok"
    assert ("not magnetic" in found["time reversal"].text) == (case == "mos2_soc")


def test_a_real_magnetic_set(shared_data, tmp_path):
    """CrI3: moments of Cr and of I, all within half a degree of the exchange fields of Cr."""
    files = [shared_data / "cri3_nc" / f"{n:03d}.npz" for n in (0, 29)]
    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, *files], check=True)
    report = inspect_path(tmp_path)
    found = {check.name: check for check in report.checks}
    assert (
        found["spin"].text
        == "spinors with spin-orbit coupling; H breaks time reversal: moments (Bohr magneton) Cr 3.47 to 3.52, I 0.07 to 0.14"
    )
    assert found["moments"].value < 0.5
    without = replace(read_folder(tmp_path / "000"), moments=None)
    with pytest.raises(MissingError, match="needs the moments"):
        check_trainable(without)
