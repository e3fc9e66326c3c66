"""``deeph-infer --moments`` and ``predict(moments=...)``: what reaches the network, what the prediction records, what is refused.

The network stands aside: its class says that carbon is magnetic, and H is made of S and of an exchange field along the moments.
"""

import json
from dataclasses import replace
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from facade_case import carbon_file, carbon_model, extended_hueckel

import deeph
from deeph import facade, inference
from deeph.cli import infer
from deeph.files.store import read_folder, read_info, write_folder
from deeph.nn.model import HamiltonianModel
from deeph.runtime.errors import DataError, UsageError
from deeph.training import checkpoint

SIZE = 1.5


class Magnet(HamiltonianModel):
    """Carbon has moments."""

    magnetic = property(lambda _: {6: SIZE})


@pytest.fixture(scope="module")
def carbon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carbon")
    basis = carbon_file(folder)
    return carbon_model(folder / "model", basis), basis


@pytest.fixture
def magnet(carbon, monkeypatch):
    """The folder of a model that is read as a magnetic one; what it is asked to predict is kept."""
    given = []

    def load(path, device="cpu"):
        model = real(path, device)
        model.__class__ = Magnet
        return model

    def polarized(model, structure):
        given.append(structure)
        source = {**structure.source, "model": dict(model.origin)}
        h = replace(extended_hueckel(structure), predicted=True).to_spinor()
        return replace(h.with_zeeman(-20 * structure.moments), moments=structure.moments, source=source)

    def into_folder(model, structure, folder, *, overwrite=False, **_):
        write_folder(folder, polarized(model, structure), overwrite=overwrite)
        return structure.S.n_pairs

    real = checkpoint.load_model
    monkeypatch.setattr(checkpoint, "load_model", load)
    monkeypatch.setattr(inference, "predict_folder", into_folder)
    monkeypatch.setattr(inference, "predict", polarized)
    return carbon[0], carbon[1], given


@pytest.fixture
def sheet(tmp_path) -> Path:
    ase.io.write(tmp_path / "sheet.vasp", ase.build.graphene(vacuum=8))
    return tmp_path / "sheet.vasp"


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        infer.main([str(a) for a in arguments])
    return ended.value.code


def rows(folder: Path, text: str) -> Path:
    (folder / "moments.txt").write_text(text)
    return folder / "moments.txt"


def test_a_file_of_moments_reaches_the_network_and_the_prediction(magnet, sheet, tmp_path, capsys):
    model, basis, given = magnet
    file = rows(tmp_path, "1 0 2 0\n2 0 1 0 1.4\n")
    assert run(model, sheet, tmp_path / "out", "--basis", basis, "--moments", file) == 0
    expected = np.array([[0, SIZE, 0], [0, 1.4, 0]])
    assert given[0].moments == pytest.approx(expected)
    info = read_info(tmp_path / "out" / "sheet")
    assert np.array(info["magnetic_moments_muB"]) == pytest.approx(expected)
    assert info["source"]["moments"] == "input of the network"
    error = capsys.readouterr().err
    assert "C2, 2 atoms: magnetic moments of 2 C (1.400 to 1.500 Bohr magneton)" in error
    assert "C2: Mulliken moments of H on a" in error
    assert "turned" not in error


def test_the_same_prediction_is_skipped_and_one_for_other_moments_refused(magnet, sheet, tmp_path, capsys):
    model, basis, given = magnet
    command = (model, sheet, tmp_path / "out", "--basis", basis, "--moments")
    for text in ("C 0 0 1", f"1 0 0 3\n2 0 0 1 {SIZE}"):
        assert run(*command, rows(tmp_path, text)) == 0
    assert len(given) == 1
    assert "predicted already, skipped" in capsys.readouterr().err
    assert run(*command, rows(tmp_path, "C 0 1 0")) == 1
    assert "was predicted for other magnetic moments" in capsys.readouterr().err
    assert run(*command, tmp_path / "moments.txt", "--overwrite") == 0
    assert np.array(read_info(tmp_path / "out" / "sheet")["magnetic_moments_muB"])[0] == pytest.approx([0, SIZE, 0])


def test_moments_of_a_structure_folder_and_a_file_instead(magnet, tmp_path, capsys):
    model, basis, given = magnet
    atoms = ase.build.graphene(vacuum=8)
    stored = np.array([[0.0, 0, 1.4], [0, 0, -1.4]])
    write_folder(tmp_path / "s" / "sheet", replace(deeph.overlap(atoms, basis), moments=stored))
    assert run(model, tmp_path / "s", tmp_path / "one") == 0
    assert run(model, tmp_path / "s", tmp_path / "two", "--moments", rows(tmp_path, "2 1 0 0")) == 0
    assert given[0].moments == pytest.approx(stored)
    assert given[1].moments == pytest.approx(np.array([[0, 0, 0], [SIZE, 0, 0]]))
    assert "magnetic moments of 1 C (1.500 Bohr magneton); non-magnetic: 1 C" in capsys.readouterr().err


def test_no_moments_are_a_warning(magnet, sheet, tmp_path, capsys):
    model, basis, given = magnet
    assert run(model, sheet, tmp_path / "out", "--basis", basis) == 0
    assert not given[0].moments.any()
    assert "no atom is given a magnetic moment" in capsys.readouterr().err


def test_moments_turned_by_the_model_are_a_warning(magnet, sheet, tmp_path, capsys):
    """Opposite moments that the folder of the prediction says were parallel."""
    model, basis, _given = magnet
    assert run(model, sheet, tmp_path / "out", "--basis", basis, "--moments", rows(tmp_path, "C 0 0 1")) == 0
    info = read_info(tmp_path / "out" / "sheet")
    info["magnetic_moments_muB"][1] = [0, 0, -SIZE]
    (tmp_path / "out" / "sheet" / "info.json").write_text(json.dumps(info))
    capsys.readouterr()
    facade.check_moments(tmp_path / "out" / "sheet")
    assert "turned by more than 10 degrees" in capsys.readouterr().err


def test_several_structures_take_moments_of_elements(magnet, sheet, tmp_path, capsys):
    model, basis, given = magnet
    ase.io.write(tmp_path / "other.vasp", ase.build.graphene(a=2.5, vacuum=8))
    command = (model, sheet, tmp_path / "other.vasp", tmp_path / "out", "--basis", basis, "--moments")
    assert run(*command, rows(tmp_path, "C 0 0 1\n2 0 0 -1")) == 2
    error = capsys.readouterr().err
    assert "moments.txt, line 2 is of an atom of one structure, but 2 are given" in error
    assert not given
    assert run(*command, rows(tmp_path, "C 0 0 1")) == 0
    assert [structure.moments[1].tolist() for structure in given] == [[0, 0, SIZE]] * 2


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("C 0 0 1\n3 0 0 1", 1, "line 2: atom 3 of C2, 2 atoms"),
        ("Fe 0 0 1", 1, "line 1: there is no Fe in C2, 2 atoms"),
        ("C 0 0 0", 1, "line 1: the direction 0 0 0"),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_mistakes_are_said_before_any_work(magnet, sheet, tmp_path, capsys, text, code, words, check, monkeypatch):
    monkeypatch.setattr(facade, "overlap", lambda *_, **__: pytest.fail("S was computed"))
    model, basis, given = magnet
    assert run(model, sheet, tmp_path / "out", "--basis", basis, "--moments", rows(tmp_path, text), *check) == code
    assert words in capsys.readouterr().err
    assert not given


def test_a_model_that_is_not_magnetic_refuses_moments(carbon, sheet, tmp_path, capsys):
    model, basis = carbon
    assert run(model, sheet, tmp_path / "out", "--basis", basis, "--moments", rows(tmp_path, "C 0 0 1")) == 2
    assert "is not magnetic" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="not magnetic"):
        deeph.load_model(model).predict(ase.build.graphene(vacuum=8), basis=basis, moments={"C": (0, 0, 1)})


def test_a_model_that_is_not_magnetic_warns_of_moments_in_a_folder(carbon, tmp_path, capsys):
    model, basis = carbon
    S = deeph.overlap(ase.build.graphene(vacuum=8), basis)
    write_folder(tmp_path / "s" / "sheet", replace(S, moments=np.array([[0, 0, 0.5], [0, 0, 0]])))
    assert run(model, tmp_path / "s", tmp_path / "out") == 0
    assert capsys.readouterr().err.count("has magnetic moments up to 0.50 Bohr magneton, but the model is not magnetic") == 1


def test_check_of_a_folder_with_moments(magnet, tmp_path, capsys):
    """Time and memory are measured with a piece of the structure, which has fewer atoms than there are moments."""
    model, basis, _given = magnet
    atoms = ase.build.graphene(vacuum=8).repeat((30, 30, 1))
    S = deeph.overlap(atoms, basis)
    write_folder(tmp_path / "s" / "sheet", replace(S, moments=np.ones((1800, 3))))
    assert run(model, tmp_path / "s" / "sheet", tmp_path / "out", "--check") == 0
    assert "C1800, 1800 atoms" in capsys.readouterr().out


def test_predictions_in_python(magnet, tmp_path):
    model, basis, given = magnet
    model, atoms = checkpoint.load_model(model), ase.build.graphene(vacuum=8)
    h = model.predict(atoms, basis=basis, moments={"C": (1, 0, 0)})
    assert h.moments == pytest.approx(np.array([[SIZE, 0, 0]] * 2))
    assert h.mulliken((6, 6, 1)).changed(h.moments).tolist() == []
    model.predict(atoms, basis=basis, moments=rows(tmp_path, "1 0 0 1"))
    model.predict(atoms, basis=basis, moments=str(tmp_path / "moments.txt"))
    model.predict(atoms, basis=basis, moments=[[0, 0, SIZE], [0, 0, 0]])
    for structure in given[1:]:
        assert structure.moments == pytest.approx(np.array([[0, 0, SIZE], [0, 0, 0]]))
    with pytest.raises(DataError, match="atom 3"):
        model.predict(atoms, basis=basis, moments=rows(tmp_path, "3 0 0 1"))


@pytest.mark.parametrize("initial", [[1.4, -1.4], [[0, 0, 1.4], [0, 0, -1.4]]])
def test_initial_moments_of_ase(magnet, tmp_path, initial):
    """Of Atoms as scalars or vectors, with S computed or given, in whatever order its atoms are."""
    path, basis, given = magnet
    model, atoms = checkpoint.load_model(path), ase.build.graphene(vacuum=8)
    plain = deeph.overlap(atoms, basis=basis)
    assert plain.moments is None
    atoms.set_initial_magnetic_moments(initial)
    expected = np.array([[0, 0, 1.4], [0, 0, -1.4]])
    assert deeph.overlap(atoms, basis=basis).moments == pytest.approx(expected)
    model.predict(atoms, basis=basis)
    model.predict(atoms, overlap=plain.permuted(np.array([1, 0])))
    model.predict(deeph.read(deeph.overlap(atoms, basis=basis)))
    for structure in given:
        assert structure.moments == pytest.approx(expected)
    model.predict(atoms, basis=basis, moments={"C": (0, 0, 1)})
    assert given[-1].moments[1] == pytest.approx([0, 0, SIZE])
    deeph.overlap(atoms, basis=basis).save(tmp_path / "s")
    assert read_folder(tmp_path / "s").moments == pytest.approx(expected)
