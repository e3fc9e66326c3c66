"""What is refused or warned of before anything is trained: in one go, the cause before what follows from it, and without loading torch."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from given_case import make_given_model, make_known
from network_case import make_structure as make_pair
from spin_case import make_spin_structure
from training_case import SMALL, make_case, make_structure

from deeph.cli import train as train_command
from deeph.files.config_file import load_config
from deeph.files.dataset import open_dataset
from deeph.files.split_file import read_split
from deeph.files.store import write_folder
from deeph.inference_jobs import Inputs
from deeph.inference_structures import Job
from deeph.nn.families import check_family
from deeph.nn.graph import check_compatible
from deeph.physics.basis import Basis
from deeph.runtime.errors import DataError, ModelError, UsageError
from deeph.training.check import check_data
from deeph.training.data import open_split
from preprocess.inspect.structure import structure_checks
from preprocess.inspect.subject import inspect_path


def run(*arguments: object) -> int:
    """Exit code of deeph-train."""
    with pytest.raises(SystemExit) as ended:
        train_command.main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def with_split(folder: Path, n: int = 8) -> Path:
    """A dataset with a split file and the configuration that trains on it."""
    config = make_case(folder, n, SMALL.replace("fractions = [0.5, 0.25, 0.25]\n", ""))
    names = [f"{k:03d}" for k in range(n)]
    (folder / "data" / "split.json").write_text(json.dumps({"train": names[:-2], "validate": names[-2:-1], "test": names[-1:]}))
    return config


def test_a_folder_without_info_is_named_with_all_other_mistakes(tmp_path: Path) -> None:
    config = load_config(with_split(tmp_path))
    (tmp_path / "data" / "002" / "info.json").unlink()
    (tmp_path / "data" / "005" / "hamiltonian.h5").unlink()
    with pytest.raises(DataError, match=r"2 of 8(.|\n)*data/002 is not a structure folder: it has no info\.json(.|\n)*005") as caught:
        check_data(config)
    assert "split.json names" not in str(caught.value)
    bad = {check.name: check for check in inspect_path(tmp_path / "data").checks}["training set"]
    assert (bad.verdict, "002 is not a structure folder: it has no info.json" in bad.text) == ("bad", True)


def test_a_folder_without_info_that_a_random_split_leaves_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(make_case(tmp_path))
    (tmp_path / "data" / "notes").mkdir()
    with caplog.at_level(logging.WARNING):
        check_data(config)
        assert "left out" not in caplog.text
        (tmp_path / "data" / "002" / "info.json").unlink()
        assert "structures  " in check_data(config)
    told = f"1 folders in {tmp_path / 'data'} lack POSCAR or info.json and are left out: 002"
    assert told in caplog.text
    caplog.clear()
    (tmp_path / "data" / "005" / "hamiltonian.h5").unlink()
    with pytest.raises(DataError, match="1 of 7 structures cannot be used"):
        check_data(config)
    assert told in caplog.text


def test_a_list_of_names_says_that_it_goes_on(tmp_path: Path) -> None:
    make_case(tmp_path, 3)
    data = open_dataset(tmp_path / "data")
    (data.path / "split.json").write_text(json.dumps({"train": ["000", *(f"n{k}" for k in range(24))]}))
    with pytest.raises(DataError, match=r"names 24 folders that are not in .*: n0, n1, n2, n3, n4, \.\.\.$"):
        read_split(data)


def test_one_structure_is_no_dataset(tmp_path: Path) -> None:
    """Also where it is a link to a structure of another dataset, whose split was taken."""
    with_split(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    (small / "000").symlink_to("../data/000")
    wanted = rf"data\.path: {small / '000'} is one structure; expected the folder that holds all of them, such as {small} "
    with pytest.raises(UsageError, match=wanted):
        open_split(load_config(None, [f"data.path={small / '000'}"]))
    with pytest.raises(UsageError, match=wanted):
        open_split(load_config(None, [f"data.path={small / '000'}", "data.fractions=[0.8, 0.1, 0.1]"]))
    _, split = open_split(load_config(None, [f"data.path={small / '000'}", "data.fractions=[1.0, 0.0, 0.0]"]))
    assert (split.train, split.validate) == (("000",), ())
    assert (open_dataset(small / "000").path, open_dataset(tmp_path / "data" / "000").names) == (small, ("000",))
    with pytest.raises(DataError, match=r"more structures than 000, all that was given; expected the folder of all of them, .*data$"):
        read_split(open_dataset(tmp_path / "data" / "000"))


def test_elements_and_basis_come_before_H0() -> None:
    """H0 of a structure that the model cannot know would be made for nothing."""
    model, plain = make_given_model(), make_pair(4)
    with pytest.raises(ModelError, match="has no H0"):
        check_compatible(plain, model)
    carbon, silicon = plain.basis.shells[6], plain.basis.shells[14]
    other = replace(plain, basis=Basis({6: carbon[::-1], 14: silicon}, "none"))
    with pytest.raises(ModelError, match="in this structure, but the model was trained with"):
        check_compatible(other, model)
    numbers = np.where(plain.system.numbers == 6, 7, plain.system.numbers)
    alien = replace(plain, system=replace(plain.system, numbers=numbers), basis=Basis({7: carbon, 14: silicon}, "none"))
    with pytest.raises(ModelError, match="the model does not know N; it was trained on"):
        check_compatible(alien, model)

    class File:
        def read(self):
            return alien

    with pytest.raises(DataError, match="the model does not know N; it was trained on"):
        Inputs(model).describe(Job(Path("alien.vasp"), Path("out"), File()))


@pytest.mark.parametrize("kind", ["none", "magnetic"])
def test_magnetic_elements_without_moments_are_refused(tmp_path: Path, kind: str) -> None:
    for n in range(4):
        write_folder(tmp_path / "data" / f"{n}", make_structure(n) if kind == "none" else make_spin_structure(kind, n))
    settings = [f"data.path={tmp_path / 'data'}", "data.fractions=[0.5, 0.25, 0.25]"]
    words = "no H there is magnetic" if kind == "none" else r"its largest moments \(Bohr magneton\) are C 2, Si 0\.1"
    with pytest.raises(UsageError, match=f"model.magnetic_elements: Fe has no magnetic moment in the training set; {words}"):
        check_data(load_config(None, [*settings, 'model.magnetic_elements=["Fe"]']))
    check_data(load_config(None, settings if kind == "none" else [*settings, 'model.magnetic_elements=["C"]']))


@pytest.mark.parametrize("moments", [True, False])
def test_e3_refuses_magnets_before_it_asks_for_irreps_or_moments(tmp_path: Path, moments: bool) -> None:
    for n in range(4):
        data = make_spin_structure("magnetic", n)
        write_folder(tmp_path / "data" / f"{n}", data if moments else replace(data, moments=None))
    settings = [f"data.path={tmp_path / 'data'}", "data.fractions=[0.5, 0.25, 0.25]", "model.family=e3", "model.irreps=4x0e+2x1o+2x2e"]
    with pytest.raises(ModelError, match="'e3' learns no magnetic H") as caught:
        check_data(load_config(None, settings))
    assert "irreps" not in str(caught.value)
    check_family(load_config(None, settings).model, magnetic=False)


def test_the_defaults_need_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_split(tmp_path)
    assert run("--set", f"data.path={tmp_path / 'data'}", "--check") == 0
    assert "6 to train on, 1 to validate with, 1 kept for tests" in capsys.readouterr().out
    assert run("--set", f"data.path={tmp_path / 'data'}", "--print-config") == 0
    assert f'path = "{tmp_path / "data"}"' in capsys.readouterr().out
    assert run("--set", "train.epochs=5", "--check") == 2
    assert "data: missing; expected a table [data] with 'path'" in capsys.readouterr().err
    assert run("--check") == 2
    assert "no configuration file given" in capsys.readouterr().err


@pytest.mark.parametrize("factor", [27.2114, 1 / 27.2114, 13.6057, 2.0])
def test_a_structure_in_other_units_is_told(tmp_path: Path, factor: float, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(make_case(tmp_path))
    with caplog.at_level(logging.WARNING):
        check_data(config)
        assert "unlike" not in caplog.text
        data = make_structure(3)
        write_folder(tmp_path / "data" / "003", replace(data, H=replace(data.H, entries=factor * data.H.entries)), overwrite=True)
        check_data(config)
    assert "1 of 8 structures are unlike the others" in caplog.text
    assert "003: H of C on site is" in caplog.text


@pytest.mark.parametrize("kind", ["spin-orbit", "collinear"])
def test_sizes_with_spin_are_those_of_all_components(kind: str) -> None:
    from deeph.files.outliers import Sizes

    data = make_spin_structure(kind, 0)
    one, both = Sizes.of(data), Sizes.of(data if kind == "spin-orbit" else data.to_spinor())
    assert one.onsite.keys() == {"C", "Si"}
    assert one.bonds.keys() == {"C-C", "C-Si", "Si-Si"}
    for name, size in one.onsite.items():  # the spinor form has two blocks of zeros more
        assert both.onsite[name] == pytest.approx(size / (1 if kind == "spin-orbit" else 2**0.5))


WITHOUT_TORCH = "import sys; from deeph.cli.{0} import main\ntry: main(sys.argv[1:])\nexcept SystemExit: sys.exit('torch' in sys.modules)"


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("train", "--set data.path=nowhere", "nowhere is not a folder"),
        ("train", "--set data.path=data --check", "holds no split.json"),
        ("train", "--set data.path=empty --check", "/empty: expected POSCAR, info.json"),
        ("train", "--set data.path=data --set data.split=no.json --check", "no.json is no file"),
        ("train", "--set data.path=data/000 --check", "is one structure"),
        ("train", "--set data.path=data --set data.fractions=[0.5,0.5,0] --out taken", "taken holds a run already"),
        ("train", "--set data.path=data --set data.fractions=[0.5,0.5,0] --out taken --check", "taken holds a run already"),
        ("train", "--set data.path=data --set data.fractions=[0.5,0.5,0] --out model --resume", "model holds no saved state"),
        ("train", "--set data.path=data --set data.fractions=[0.5,0.5,0] --set train.band_structures=['9']", "does not hold"),
        ("ensemble", "model", "an ensemble of 1"),
        ("ensemble", "model taken/../model/model.safetensors", "named twice: taken/../model/model.safetensors"),
        ("ensemble", "model nowhere", "nowhere is missing"),
        ("ensemble", "model other --out taken/resume.safetensors", "is kept"),
        ("ensemble", "model other", "no model/config.toml"),
        ("ensemble", "model other --data nowhere", "nowhere is not a folder"),
        ("infer", "data data out", "model.safetensors is missing"),
        ("infer", "model nowhere out", "nowhere is missing; expected a structure file"),
        ("infer", "model data/000 data/001", "is a structure folder; OUT gets one folder"),
    ],
)
def test_paths_are_looked_at_before_torch_is_loaded(tmp_path: Path, command: str, words: str, message: str) -> None:
    make_case(tmp_path, 2)
    (tmp_path / "empty" / "within").mkdir(parents=True)
    for name in ("model/model.safetensors", "other/model.safetensors", "taken/resume.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"none")
    call = [sys.executable, "-c", WITHOUT_TORCH.format(command), *words.split()]
    ended = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert message in ended.stderr
    assert ended.returncode == 0, "torch was loaded"


def test_a_prediction_is_not_said_to_be_training_data(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", make_structure(0), predicted=True)
    found = {check.name: check for check in inspect_path(tmp_path / "one").checks}["training"]
    assert found.verdict == "note"
    assert "cannot be trained on: its H is a prediction (hamiltonian_pred.h5)" in found.text
    assert {c.name: c.text for c in structure_checks(make_structure(0), thorough=False)}["training"] == "can be trained on"


def test_predictions_are_no_training_set(tmp_path: Path) -> None:
    """Each is read, and none counts as a member of what can be trained on."""
    for n in range(3):
        write_folder(tmp_path / "data" / f"{n}", replace(make_known(n), extra={}), predicted=True)
    found = {check.name: check for check in inspect_path(tmp_path / "data").checks}
    assert found["training"].text.startswith("3 of 3")
    assert "spin" not in found
