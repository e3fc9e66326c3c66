"""Predictions of other programs: DeepH-pack's hamiltonians_pred.h5 and DeePTB's predicted_*.h5, Hermitian or not."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from test_deeptb import frame_data, write

import deeph
from deeph.files.legacy import write_legacy
from deeph.files.matrix_file import write_matrix
from deeph.files.store import PREDICTED, read_folder, read_info, write_folder
from deeph.runtime.errors import DataError
from preprocess.cli.preprocess import main
from preprocess.readers import deeptb, detect

DEEPTB = {"S": "predicted_overlaps.h5", "H": "predicted_hamiltonians.h5"}


def noisy(h, size=1e-3, seed=0):
    """H as a network in single precision gives it: each block for itself."""
    rng = np.random.default_rng(seed)
    entries = h.H.entries + size * rng.uniform(-1, 1, h.H.entries.shape)
    return replace(h, H=replace(h.H, entries=entries.astype(np.float32)), r=None, extra={}, predicted=True, fermi_energy=None)


def convert(capsys, *words):
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return done.value.code, " ".join(capsys.readouterr().out.split())


def deviation(h):
    return h.H.hermiticity_error()


@pytest.fixture(params=["legacy", "deeptb", "deeph"])
def prediction(request, tmp_path, mini_graphene):
    """(folder, what is in it): the same H in three formats."""
    h, folder = noisy(mini_graphene), tmp_path / "runs" / "C2"
    folder.parent.mkdir()
    if request.param == "legacy":
        write_legacy(folder, h)
        assert (folder / "hamiltonians_pred.h5").is_file()
    elif request.param == "deeptb":
        write(folder, [h], names=DEEPTB)
    else:
        write_folder(folder, h)
        assert (folder / PREDICTED).is_file()
    return folder, h


def test_not_hermitian_is_refused_and_on_request_made_so(prediction, tmp_path, capsys):
    folder, h = prediction
    code, table = convert(capsys, folder.parent, tmp_path / "data")
    assert code == 1
    assert f"the predicted H differs from its Hermitian conjugate by up to {deviation(h):.1e} eV" in table
    assert "--hermitian-part takes (H + H^dagger)/2" in table
    assert not (tmp_path / "data" / "C2").exists()
    code, table = convert(capsys, folder.parent, tmp_path / "data", "--hermitian-part")
    assert code == 0
    assert f"the Hermitian part of an H that differs from its Hermitian conjugate by up to {deviation(h):.1e} eV" in table
    back = read_folder(tmp_path / "data" / "C2")
    assert back.predicted
    assert deviation(back) == 0
    assert back.source["hermitian_part_of_H"] == pytest.approx(deviation(h), rel=1e-6)
    expected = replace(h, H=h.H.hermitized())
    for k in ([0, 0, 0], [0.1, 0.3, 0]):
        assert np.abs(back.eigenvalues(k) - expected.eigenvalues(k)).max() < 1e-5  # single precision


def test_hermitian_predictions_need_no_request(tmp_path, mini_graphene, capsys):
    h = replace(noisy(mini_graphene, 0.0), H=mini_graphene.H.hermitized())
    write_legacy(tmp_path / "runs" / "C2", h)
    code, table = convert(capsys, tmp_path / "runs", tmp_path / "data")
    assert code == 0
    assert "Hermitian part" not in table
    assert "hermitian_part_of_H" not in read_info(tmp_path / "data" / "C2")["source"]


def test_dft_data_are_never_mended(tmp_path, mini_graphene, capsys):
    """A DFT H that is not Hermitian is a damaged file, whatever is asked for."""
    write_legacy(tmp_path / "runs" / "C2", replace(noisy(mini_graphene), predicted=False))
    code, table = convert(capsys, tmp_path / "runs", tmp_path / "data", "--hermitian-part")
    assert code == 1
    assert "H differs from its Hermitian conjugate" in table


def test_one_of_two_partners_stands_for_both(tmp_path, mini_graphene, capsys):
    """Networks that predict one of each two blocks: the other one is its conjugate, not the zero of a block that S has."""
    h = replace(mini_graphene, H=mini_graphene.H.hermitized(), r=None, extra={}, predicted=True, fermi_energy=None)
    write_legacy(tmp_path / "runs" / "C2", h)
    with h5py.File(tmp_path / "runs" / "C2" / "hamiltonians_pred.h5", "r+") as file:
        lonely = [name for name in file if name.startswith("[1, ")]
        for name in lonely:
            del file[name]
    code, _ = convert(capsys, tmp_path / "runs", tmp_path / "data")
    assert code == 0
    assert lonely
    for folder in (deeph.read(tmp_path / "runs" / "C2"), read_folder(tmp_path / "data" / "C2")):
        assert np.array_equal(folder.H.on_pattern(h.H.pairs, h.H.shapes).entries, h.H.entries)
    write_folder(tmp_path / "current", h)
    half = h.H.selected(np.flatnonzero(h.H.pairs[:, 0] < 1))
    write_matrix(tmp_path / "current" / PREDICTED, half)
    current = read_folder(tmp_path / "current")
    assert np.array_equal(current.H.on_pattern(h.H.pairs, h.H.shapes).entries, h.H.entries)


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_deeptb_predictions(tmp_path, spin):
    """All of DeePTB's predicted files, text or structure.json beside them; DFT files of the same folder win."""
    data = frame_data(spin=spin)
    folder = write(tmp_path / "text", [data], names=DEEPTB)
    assert detect(folder).detect(folder) == "it holds basis.dat and predicted_overlaps.h5; H is a prediction"
    back = deeptb.read(folder)
    assert back.predicted
    assert np.array_equal(back.H.on_pattern(data.H.pairs, data.H.shapes).entries, data.H.entries)
    assert np.array_equal(back.S.on_pattern(data.S.pairs, data.S.shapes).entries, data.S.entries)
    write(tmp_path / "both", [data])
    write(tmp_path / "both", [replace(data, H=replace(data.H, entries=2 * data.H.entries))], names=DEEPTB)
    both = deeptb.read(tmp_path / "both")
    assert not both.predicted
    assert np.array_equal(both.H.on_pattern(data.H.pairs, data.H.shapes).entries, data.H.entries)


def test_deeptb_structure_file(tmp_path):
    data = frame_data()
    folder = write(tmp_path / "a", [data], names=DEEPTB)
    basis = {}
    for z, shells in data.basis.shells.items():
        symbol = data.system.symbols[data.system.numbers.tolist().index(z)]
        basis[symbol] = [f"{list(shells[:n]).count(l) + 1}{'spdfg'[l]}" for n, l in enumerate(shells)]
    structure = {
        "cell": data.system.cell.tolist(), "pbc": [True] * 3, "nsites": data.system.n_atoms, "symbols": list(data.system.symbols),
        "positions": data.system.positions.tolist(),
    }  # fmt: skip
    for name in ("cell", "position", "atomic_number", "pbc", "basis"):
        (folder / f"{name}.dat").unlink(missing_ok=True)
    (folder / "structure.json").write_text(json.dumps({"basis_info": {"basis": basis}, "structure": structure, "meta": {}}))
    back = deeph.read(folder)
    assert back.predicted
    assert back.basis == data.basis
    assert np.array_equal(back.system.positions, data.system.positions)
    assert np.array_equal(back.H.on_pattern(data.H.pairs, data.H.shapes).entries, data.H.entries)
    for damage, message in (
        ("{", "is not readable JSON with the section 'structure'"),
        (json.dumps({"structure": {"symbols": ["Xx"]}}), "structure holds no symbols, cell, positions and pbc"),
        (json.dumps({"basis_info": {"basis": 3}, "structure": structure}), "expected lists such as"),
    ):
        (folder / "structure.json").write_text(damage)
        with pytest.raises(DataError, match=message):
            deeptb.read(folder)


def test_deeptb_without_overlaps(tmp_path):
    """Orthogonal tight-binding models of DeePTB have none: the message says what is missing."""
    folder = write(tmp_path / "a", [frame_data()], names={"H": "predicted_hamiltonians.h5"})
    with pytest.raises(DataError, match=r"no overlaps\.h5 \(predicted_overlaps\.h5\)"):
        deeptb.read(folder)


def test_a_legacy_run_of_others_as_a_prediction(shared_data, tmp_path, capsys):
    """MoTe2 of DeepH-dock, its H rounded and shaken as a prediction in single precision."""
    h = deeph.read(shared_data / "peers" / "deeph-legacy" / "MoTe2")
    write_legacy(tmp_path / "runs" / "MoTe2", noisy(h, 1e-4))
    code, table = convert(capsys, tmp_path / "runs", tmp_path / "data", "--hermitian-part")
    assert code == 0
    assert "the Hermitian part of an H that differs from its Hermitian conjugate by up to 2.0e-04 eV" in table
    back = read_folder(tmp_path / "data" / "MoTe2")
    mean = np.abs(back.H.on_pattern(h.H.pairs, h.H.shapes).entries - h.H.entries).max()
    assert mean < 1.5e-4
