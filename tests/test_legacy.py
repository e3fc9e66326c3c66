"""The legacy folder: equal to the current format on real data, exact round trips, clear errors."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from openmx_files import unpack_run

from deeph.files.legacy import read_legacy, write_legacy
from deeph.files.store import read_folder, write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from preprocess.readers import openmx


@pytest.fixture(scope="module", params=["mini_graphene", "mini_te_chain_soc"])
def data(request, tmp_path_factory) -> Hamiltonian:
    return openmx.read(unpack_run(request.param, tmp_path_factory.mktemp("legacy")))


def same(one: PairBlocks, other: PairBlocks) -> bool:
    return one.n_pairs == other.n_pairs and np.array_equal(one.on_pattern(other.pairs, other.shapes).entries, other.entries)


def test_both_formats_of_one_run_are_equal(shared_data):
    legacy, new = read_legacy(shared_data / "peers/deeph-legacy/MoTe2"), read_folder(shared_data / "peers/deeph-new/MoTe2")
    assert same(legacy.S, new.S)
    assert same(legacy.H, new.H)
    assert np.array_equal(legacy.system.cell, new.system.cell)
    assert np.array_equal(legacy.system.positions, new.system.positions)
    assert legacy.fermi_energy == new.fermi_energy


def test_written_as_the_original(shared_data, tmp_path):
    original = shared_data / "peers/deeph-legacy/MoTe2"
    write_legacy(tmp_path / "out", read_legacy(original))
    for name in ("overlaps.h5", "hamiltonians.h5"):
        with h5py.File(original / name) as old, h5py.File(tmp_path / "out" / name) as new:
            assert list(old) == list(new)
            assert all(np.array_equal(old[key][()], new[key][()]) for key in old)
    for name in ("lat.dat", "rlat.dat", "site_positions.dat", "element.dat", "orbital_types.dat"):
        assert np.allclose(np.loadtxt(original / name), np.loadtxt(tmp_path / "out" / name), rtol=0, atol=1e-14)


def test_round_trip_is_exact(data, tmp_path):
    write_legacy(tmp_path / "out", data)
    back = read_legacy(tmp_path / "out")
    assert same(back.S, data.S)
    assert same(back.H, data.H)
    assert same(back.r, data.r)
    assert np.array_equal(back.system.positions, data.system.positions)
    assert np.array_equal(back.system.cell, data.system.cell)
    assert (back.basis, back.fermi_energy, back.n_electrons, back.source) == (data.basis, data.fermi_energy, data.n_electrons, data.source)


def test_overlap_only_and_more_blocks_in_h(data, tmp_path):
    write_legacy(tmp_path / "overlap", replace(data, H=None, r=None))
    assert read_legacy(tmp_path / "overlap").H is None
    write_legacy(tmp_path / "some", data)
    with h5py.File(tmp_path / "some" / "overlaps.h5", "a") as file:
        key = next(key for key in file if not file[key][()].diagonal().any() or json.loads(key)[0])
        del file[key]
    back = read_legacy(tmp_path / "some")
    assert back.S.n_pairs == data.S.n_pairs
    assert not same(back.S, data.S)
    assert same(back.H, data.H)


def test_collinear_has_no_place(data, tmp_path):
    both = replace(data.S, entries=np.concatenate([data.S.entries, data.S.entries]))
    collinear = replace(data, H=both, r=None, extra={}, basis=Basis(data.basis.shells, "collinear"))
    with pytest.raises(DataError, match="collinear"):
        write_legacy(tmp_path / "out", collinear)
    assert not list(tmp_path.iterdir())


def spoil(folder: Path, case: str) -> None:
    with h5py.File(folder / "hamiltonians.h5", "a") as file:
        key = next(iter(file))
        if case == "nan":
            file[key][0, 0] = np.nan
        if case == "shape":
            del file[key]
            file[key] = np.zeros((2, 7))
        if case == "name":
            file["block 1"] = np.zeros((2, 2))
        if case == "group":
            file.create_group("[9, 0, 0, 1, 1]")
        if case == "atom":
            file["[0, 0, 0, 1, 99]"] = np.zeros((2, 2))
    if case == "bytes":
        (folder / "overlaps.h5").write_bytes((folder / "overlaps.h5").read_bytes()[:200])
    if case == "direction":
        with h5py.File(folder / "positions.h5", "a") as file:
            del file[next(iter(file))]
    texts = {"lat": ("lat.dat", "1 2 3"), "shells": ("orbital_types.dat", "0 1\n0 1\n0 1\n"), "words": ("orbital_types.dat", "s p\n")}
    texts |= {"info": ("info.json", "{}"), "json": ("info.json", "{")}
    if case in texts:
        (folder / texts[case][0]).write_text(texts[case][1])
    if case == "missing":
        (folder / "element.dat").unlink()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nan", r"hamiltonians.h5: block .* not finite"), ("shape", "not of the shape"), ("name", "not a legacy matrix file"),
        ("group", "not a legacy matrix file"), ("atom", "atom indices outside"), ("bytes", "overlaps.h5 is not a legacy"),
        ("direction", "directions"), ("lat", "lat.dat.*cell .1, 3."), ("shells", "3 lines"), ("words", "angular momenta"),
        ("info", "isspinful"), ("json", "info.json"), ("missing", "expected lat.dat"),
    ],
)  # fmt: skip
def test_damaged_folders_are_refused(data, tmp_path, case, message):
    write_legacy(tmp_path / "out", data)
    spoil(tmp_path / "out", case)
    with pytest.raises(DataError, match=message):
        read_legacy(tmp_path / "out")


def test_one_element_with_two_bases_is_refused(data, tmp_path):
    write_legacy(tmp_path / "out", data)
    for name, more in (("element.dat", f"{data.system.numbers[0]}\n"), ("orbital_types.dat", "0 0 1\n")):
        (tmp_path / "out" / name).write_text((tmp_path / "out" / name).read_text() + more)
    np.savetxt(tmp_path / "out" / "site_positions.dat", np.zeros((3, data.system.n_atoms + 1)))
    with pytest.raises(DataError, match=r"line \d: .* with shells \(0, 0, 1\), but"):
        read_legacy(tmp_path / "out")


def test_nothing_is_overwritten_or_left_half_written(data, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists already"):
        write_legacy(tmp_path / "out", data)
    broken = replace(data, source={"file": object()})
    with pytest.raises(TypeError):
        write_legacy(tmp_path / "new", broken)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_prediction_is_read_as_one(data, tmp_path):
    """It keeps its name in both formats; the Fermi level beside it is not that of its H."""
    write_legacy(tmp_path / "legacy", replace(data, predicted=True))
    assert (tmp_path / "legacy" / "hamiltonians_pred.h5").is_file()
    assert not (tmp_path / "legacy" / "hamiltonians.h5").exists()
    back = read_legacy(tmp_path / "legacy")
    assert same(back.H, data.H)
    assert (back.predicted, back.fermi_energy) == (True, None)
    (tmp_path / "legacy" / "hamiltonians_pred.h5").rename(tmp_path / "legacy" / "hamiltonians.h5")
    back = read_legacy(tmp_path / "legacy")
    assert (back.predicted, back.fermi_energy) == (False, data.fermi_energy)


@pytest.mark.parametrize(("write", "format_"), [(write_legacy, "deeph"), (write_folder, "legacy")])
def test_a_prediction_is_converted_as_one(data, tmp_path, write, format_):
    write(tmp_path / "runs" / "one", replace(data, predicted=True, fermi_energy=None))
    command = [sys.executable, "-m", "preprocess.cli.preprocess", "runs", "data", "--format", format_]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "H is a prediction" in done.stdout
    names = {p.name for p in (tmp_path / "data" / "one").iterdir()}
    assert ("hamiltonian_pred.h5" if format_ == "deeph" else "hamiltonians_pred.h5") in names
    assert not {"hamiltonian.h5", "hamiltonians.h5"} & names
    back = (read_folder if format_ == "deeph" else read_legacy)(tmp_path / "data" / "one")
    assert back.predicted
    assert same(back.H, data.H)
