"""Structure folders: exact round trips, and a readable error for every kind of damage."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from band_cases import random_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deeph
from deeph.files.matrix_file import MatrixWriter, drop_pages, read_matrix, write_matrix
from deeph.files.store import find_folders, write_poscar
from deeph.physics.blocks import PairBlocks
from deeph.physics.patterns import spin_free_overlap
from deeph.physics.system import ELECTRONEGATIVE, SYMBOLS, System
from deeph.runtime.errors import DataError

MATRICES = ["overlap.h5", "hamiltonian.h5"]


def sample(spin="none"):
    """Atoms already grouped by element, as a POSCAR wants them."""
    data = replace(random_model(8, spin=spin).permuted(np.array([0, 2, 1])), fermi_energy=-1.5, source={"code": "test"})
    return replace(data, r=replace(data.S, entries=np.stack([n * data.S.entries[0] for n in (1, 2, 3)])))


@pytest.fixture
def folder(tmp_path):
    deeph.write_folder(tmp_path / "run", sample())
    return tmp_path / "run"


@pytest.mark.parametrize("words", ["H2O", "MoS2", "BN", "GaAs", "CrI3", "C2", "Bi2Se3", "NaCl", "SiO2", "NH3", "CH4", "SrTiO3", "HF"])
def test_formulas_are_in_the_usual_order(words):
    """Whatever the order of the atoms."""
    numbers = Atoms(words).numbers
    for order in (numbers, numbers[::-1]):
        system = System(np.eye(3), np.zeros((len(order), 3)), order)
        assert str(system) == f"{words}, {len(order)} atoms"
    assert str(System(np.eye(3), np.zeros((1, 3)), np.array([26]))) == "Fe, 1 atom"
    assert sorted(ELECTRONEGATIVE) == sorted(SYMBOLS[1:])


def test_a_run_is_told_from_a_structure_folder(tmp_path):
    (tmp_path / "te.scfout").write_text("")
    with pytest.raises(DataError, match=r"is not a structure folder: .*; deeph-preprocess converts runs of DFT codes and legacy folders"):
        deeph.read_folder(tmp_path)


@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_round_trip_is_exact(tmp_path, spin, predicted):
    data = sample(spin)
    order = deeph.write_folder(tmp_path / "a", data, predicted=predicted)
    back = deeph.read_folder(tmp_path / "a", positions=True)
    assert order.tolist() == [0, 1, 2]
    assert (tmp_path / "a" / ("hamiltonian_pred.h5" if predicted else "hamiltonian.h5")).is_file()
    for name in ("H", "S", "r"):
        for part in ("pairs", "shapes", "entries"):
            assert np.array_equal(getattr(getattr(back, name), part), getattr(getattr(data, name), part)), (name, part)
    for name in ("cell", "positions", "numbers"):
        assert np.array_equal(getattr(back.system, name), getattr(data.system, name))
    assert (back.basis, back.fermi_energy, back.n_electrons, back.source) == (data.basis, -1.5, 6.0, {"code": "test"})


def test_where_to_look_for_a_fermi_level_is_no_fermi_level(tmp_path):
    data = replace(sample(), fermi_energy=None, fermi_guess=(-3.5, 0.25), predicted=True)
    deeph.write_folder(tmp_path / "x", data)
    again = deeph.read_folder(tmp_path / "x")
    assert again.fermi_guess == (-3.5, 0.25)
    assert again.fermi_energy is None


def test_mixed_elements_are_grouped_and_the_order_is_kept(tmp_path):
    data = random_model(8)  # C N C
    order = deeph.write_folder(tmp_path / "a", data)
    back = deeph.read_folder(tmp_path / "a")
    assert order.tolist() == [0, 2, 1]
    assert json.loads((tmp_path / "a" / "info.json").read_text())["original_atom_index"] == [0, 2, 1]
    assert np.array_equal(back.permuted(np.argsort(order)).H.block((0, 0, 0, 1, 2)), data.H.block((0, 0, 0, 1, 2)))


def test_h_and_s_on_different_patterns_are_brought_together(folder):
    data = deeph.read_folder(folder)
    write_matrix(folder / "overlap.h5", data.S.selected(np.flatnonzero((data.S.pairs != data.S.pairs[4]).any(1))))
    back = deeph.read_folder(folder)
    assert np.array_equal(back.S.pairs, back.H.pairs)
    key = tuple(data.S.pairs[4].tolist())
    assert not back.S.block(key).any()
    assert np.array_equal(back.H.block(key), data.H.block(key))


def test_overlap_written_with_spin_is_understood(tmp_path):
    data = sample("spinor")
    deeph.write_folder(tmp_path / "a", data)
    write_matrix(tmp_path / "a" / "overlap.h5", data.S.to_spinor())
    assert np.array_equal(deeph.read_folder(tmp_path / "a").S.entries, data.S.entries)


def test_overlap_only(folder):
    (folder / "hamiltonian.h5").unlink()
    data = deeph.read_folder(folder)
    assert data.H is None
    with pytest.raises(DataError, match="overlap"):
        data.H_bloch  # noqa: B018 - the property raises
    with pytest.raises(DataError, match=r"hamiltonian\.h5 is missing"):
        deeph.read_folder(folder, predicted=False)


def test_nothing_is_overwritten_and_nothing_is_left_half_written(folder, monkeypatch):
    with pytest.raises(DataError, match="exists already"):
        deeph.write_folder(folder, sample())
    before = sorted(p.name for p in folder.parent.rglob("*"))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("deeph.files.store.write_matrix", fail)
    for target in (folder, folder.with_name("new")):
        with pytest.raises(OSError, match="disk full"):
            deeph.write_folder(target, sample(), overwrite=True)
    assert sorted(p.name for p in folder.parent.rglob("*")) == before
    monkeypatch.undo()
    assert deeph.read_folder(folder).H is not None


def test_a_matrix_gets_its_name_only_when_complete(tmp_path):
    data = sample()

    def write_half():
        with MatrixWriter(tmp_path / "h.h5", data.H.pairs, data.H.shapes, 1, np.float64) as writer:
            writer.blocks.entries[:, :10] = data.H.entries[:, :10]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["POSCAR", "info.json", *MATRICES])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 0.999))
def test_truncated_files(folder, name, fraction):
    """Cut anywhere: an error that names the folder. Text is cut before its last line, without which it may still be complete."""
    content = (folder / name).read_bytes()
    if not name.endswith(".h5"):
        fraction = min(fraction, content.rindex(b"\n", 0, -1) / len(content))
    damaged = folder.with_name("damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(folder, damaged)
    (damaged / name).write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match="damaged"):
        deeph.read_folder(damaged)


def edit(path, name, change):
    """Replace one data set of a matrix file."""
    with h5py.File(path, "r+") as file:
        values = change(file[name][:])
        del file[name]
        file[name] = values


def put(index, value):
    def change(values):
        values[index] = value
        return values

    return change


DAMAGE = {
    "nan": ("entries", put(-1, np.nan), "NaN or infinite value in block"),
    "infinity": ("entries", put(0, np.inf), "NaN or infinite value in block"),
    "too few entries": ("entries", lambda v: v[:-1], "do not belong together"),
    "boundaries": ("chunk_boundaries", put(3, 5), "running sum"),
    "boundaries too short": ("chunk_boundaries", lambda v: v[:-1], "disagree"),
    "negative atom": ("atom_pairs", put((0, 3), -1), "atom indices"),
    "atom too large": ("atom_pairs", put((0, 4), 3), "atom indices"),
    "double pair": ("atom_pairs", lambda v: np.concatenate([v[:1], v[:-1]]), "occurs twice"),
    "four columns": ("atom_pairs", lambda v: v[:, :4], "disagree"),
    "empty pairs": ("atom_pairs", lambda v: v[:0], "disagree"),
    "scalar": ("entries", lambda _: 3.0, r"\.h5"),
    "text": ("entries", lambda _: "hello", r"\.h5"),
    "float pairs": ("atom_pairs", lambda v: v + 0.5, "integers"),
    "three-dimensional": ("entries", lambda v: v.reshape(1, 1, -1), r"\.h5"),
}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_matrices(folder, matrix, kind):
    name, change, message = DAMAGE[kind]
    edit(folder / matrix, name, change)
    with pytest.raises(DataError, match=message) as caught:
        deeph.read_folder(folder)
    assert matrix in str(caught.value)


def test_missing_data_set_and_missing_file(folder):
    with h5py.File(folder / "hamiltonian.h5", "r+") as file:
        del file["chunk_shapes"]
    with pytest.raises(DataError, match=r"hamiltonian\.h5 is not a complete matrix file"):
        deeph.read_folder(folder)
    (folder / "overlap.h5").unlink()
    with pytest.raises(DataError, match=r"overlap\.h5 is missing"):
        deeph.read_folder(folder)


INFO = {
    "not json": ("{", "not readable JSON"),
    "a list": ("[1]", "elements_orbital_map"),
    "no basis": ('{"spinful": false}', "elements_orbital_map"),
    "unknown element": ('{"elements_orbital_map": {"Qq": [0]}}', "Qq"),
    "negative l": ('{"elements_orbital_map": {"C": [-1], "N": [0]}}', "shells"),
    "text shells": ('{"elements_orbital_map": {"C": "sp", "N": [0]}}', "info.json"),
    "no shells of N": ('{"elements_orbital_map": {"C": [0, 1]}}', "N"),
    "other shells": ('{"elements_orbital_map": {"C": [0, 1, 1], "N": [0, 0]}}', "asks for"),
    "spin": ('{"elements_orbital_map": {"C": [0, 1], "N": [0, 0]}, "spin": "up"}', "spin"),
    "guess": ('{"elements_orbital_map": {"C": [0, 1], "N": [0, 0]}, "fermi_guess_eV": [1.0]}', "a level and its spread"),
    "negative spread": ('{"elements_orbital_map": {"C": [0, 1], "N": [0, 0]}, "fermi_guess_eV": [1, -1]}', "a level and its spread"),
    "fermi": ('{"elements_orbital_map": {"C": [0, 1], "N": [0, 0]}, "fermi_energy_eV": "low"}', "fermi_energy_eV"),
    "split": ('{"elements_orbital_map": {"C": [0, 1], "N": [0, 0]}, "split_hkb": true}', "split_hkb"),
}


@pytest.mark.parametrize("kind", INFO)
def test_damaged_info(folder, kind):
    text, message = INFO[kind]
    (folder / "info.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        deeph.read_folder(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(("line", "text"), [(1, "one"), (2, "1 2"), (2, "nan 0 0"), (5, "C Qq"), (6, "2"), (6, "2 x"), (8, "0 0 inf")])
def test_damaged_poscar(folder, line, text):
    lines = (folder / "POSCAR").read_text().splitlines()
    lines[line] = text
    (folder / "POSCAR").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        deeph.read_folder(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", ["Direct", "Cartesian"])
def test_poscar_with_scale(folder, kind):
    """Lengths, and Cartesian positions, times the scale."""
    system = deeph.read_folder(folder).system
    positions = system.fractional if kind == "Direct" else system.positions / 2
    rows = [" ".join(map(str, row)) for row in (*(system.cell / 2), *positions)]
    (folder / "POSCAR").write_text("\n".join(["x", "2.0", *rows[:3], "C N", "2 1", kind, *rows[3:]]))
    again = deeph.read_folder(folder).system
    assert np.allclose(again.cell, system.cell, atol=1e-13)
    assert np.allclose(again.positions, system.positions, atol=1e-13)


def test_find_folders(folder, tmp_path):
    assert find_folders(folder) == find_folders(tmp_path) == [folder]
    with pytest.raises(DataError, match="is not a folder"):
        find_folders(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no structure folder"):
        find_folders(tmp_path / "empty")


def test_real_data(bilayer36):
    """Unpacked training structures: both directions of every pair, Hermitian, 13 orbitals an atom."""
    assert len(find_folders(bilayer36)) == 3
    data = deeph.read_folder(bilayer36 / "001")
    assert (data.system.formula, data.basis.to_symbols()) == ("C36", {"C": [0, 0, 1, 1, 2]})
    assert data.H.hermiticity_error() < 1e-12
    assert data.S.hermiticity_error() < 1e-12


def test_read_matrix_of_something_else(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"not HDF5 at all")
    with pytest.raises(DataError, match=r"x\.h5"):
        read_matrix(tmp_path / "x.h5", 1)


def test_large_matrices_stay_in_their_file(tmp_path, monkeypatch):
    """The same numbers, wherever they lie; compressed ones and cut-off files are not mapped."""
    blocks = sample().S
    write_matrix(tmp_path / "m.h5", blocks)
    monkeypatch.setattr("deeph.files.matrix_file.MAPPED", 0)
    mapped = read_matrix(tmp_path / "m.h5", 3)
    assert isinstance(mapped.entries.base, np.memmap) or isinstance(mapped.entries, np.memmap)
    assert np.array_equal(mapped.entries, blocks.entries)
    drop_pages(mapped)
    assert np.array_equal(mapped.entries, blocks.entries)
    drop_pages(blocks)  # in memory: nothing to do
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["entries"]
        file.create_dataset("entries", data=blocks.entries[0], compression="gzip")
    assert np.array_equal(read_matrix(tmp_path / "m.h5", 3).entries, blocks.entries)
    write_matrix(tmp_path / "m.h5", blocks)
    size = (tmp_path / "m.h5").stat().st_size
    with (tmp_path / "m.h5").open("rb+") as file:
        file.truncate(size - 8)
    with pytest.raises(DataError, match=r"m\.h5"):
        read_matrix(tmp_path / "m.h5", 3)


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="the system does not tell how much of a file is in memory")
def test_pages_of_large_matrices_are_dropped(tmp_path, monkeypatch):
    def resident():
        parts = Path("/proc/self/smaps").read_text(encoding="utf-8").split("large.h5")
        return sum(int(part.split("Rss:")[1].split()[0]) for part in parts[1:])

    pairs = np.array([[0, 0, 0, 0, 0]])
    write_matrix(tmp_path / "large.h5", PairBlocks(pairs, np.array([[1000, 1000]]), np.ones((1, 10**6))))
    monkeypatch.setattr("deeph.files.matrix_file.MAPPED", 0)
    blocks = read_matrix(tmp_path / "large.h5", 1)
    assert resident() > 7000  # kB
    drop_pages(blocks)
    assert resident() < 100
    assert blocks.entries.sum() == 1e6


@pytest.mark.parametrize(("rest", "accepted"), [(0.9e-8, True), (1.1e-8, False)])
@pytest.mark.parametrize("kind", ["spin", "imaginary"])
def test_an_overlap_may_depend_on_spin_by_rounding_alone(rest, accepted, kind):
    data = sample("spinor")
    S = data.S.to_spinor()
    entries = S.entries.astype(complex)
    entries[0, int(np.argmax(S.entries[0] != 0))] += rest * (1 if kind == "spin" else 1j)
    S = replace(S, entries=entries)
    if accepted:
        assert np.abs(spin_free_overlap(data.system, data.basis, S).entries - data.S.entries).max() <= 1e-8
    else:
        with pytest.raises(DataError, match=r"parts of 1\.1e-08 that are not real"):
            spin_free_overlap(data.system, data.basis, S)


@pytest.mark.parametrize("name", ["moire.vasp", "POSCAR", "POSCAR.moire", "POSCAR_relaxed"])
def test_structure_files_of_vasp_by_their_names(tmp_path, name):
    """Neither a suffix alone nor the beginning alone is needed; ASE does not know all of these names."""
    system = System(np.diag([3.0, 4, 5]), np.array([[0.1, 0.2, 0.3]]), np.array([6]))
    write_poscar(tmp_path / name, system)
    found = deeph.read(tmp_path / name)
    assert np.allclose(found.positions, system.positions)
