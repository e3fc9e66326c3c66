"""Model files: what is saved comes back, and what is not a model is refused with a reason."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_case import SMALL, make_structure

from deeph.config import ModelConfig
from deeph.files.folders import FullDiskError
from deeph.nn.fit import fit_model
from deeph.nn.graph import make_graph
from deeph.nn.model import HamiltonianModel
from deeph.runtime.errors import DataError, ModelError
from deeph.training.checkpoint import load_model, read_metadata, save_model


@pytest.fixture(scope="module")
def model() -> HamiltonianModel:
    import tomllib

    torch.manual_seed(0)
    config = ModelConfig.model_validate(tomllib.loads(SMALL)["model"])
    return fit_model(config, [make_structure(n) for n in range(3)]).double().eval()


@pytest.fixture
def saved(model: HamiltonianModel, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, model, {"metrics": {"validate_mae_meV": 1.25}})
    return path


def change_header(path: Path, **changes: Any) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["deeph"])
    save_file(load_file(path), path, metadata={"deeph": json.dumps({**header, **changes})})


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_round_trip(model: HamiltonianModel, tmp_path: Path, precision: torch.dtype) -> None:
    model = HamiltonianModel.from_description(model.description()).to(precision)
    save_model(tmp_path / "model.safetensors", model, {})
    again = load_model(tmp_path)  # the folder of a run will do
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
        assert tensor.dtype == again.state_dict()[name].dtype, name
    before, after = (m.eval()(make_graph(make_structure(7), m, targets=False)) for m in (model, again))
    for one, other in ((before.offsite, after.offsite), (before.onsite, after.onsite)):
        assert one.keys() == other.keys() == {"A0"}
        for a, b in zip(one["A0"], other["A0"], strict=True):
            assert torch.equal(a[2], b[2])
    assert not again.training


def test_weights_lie_as_those_of_a_new_model(saved: Path) -> None:
    """Some processors round products by the address of their operands; in the file tensors lie at any multiple of their size."""
    assert [name for name, p in load_model(saved).state_dict().items() if p.data_ptr() % 64] == []


def test_metadata(saved: Path) -> None:
    found = read_metadata(saved)
    assert found["metrics"] == {"validate_mae_meV": 1.25}
    assert found["conventions"]["energy"] == "eV"
    assert found["code"].startswith("deeph ")
    assert found["description"]["shells"] == {"H": [0], "C": [0, 1]}
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]  # no temporary file left


def test_damaged_files(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    for name, damaged in (("cut", content[: len(content) // 2]), ("empty", b""), ("text", b"hello world, this is no model")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name} is damaged or no safetensors file"):
            load_model(tmp_path / name)
    with pytest.raises(DataError, match="is missing"):
        load_model(tmp_path / "nothing")


def test_foreign_and_incomplete_files(saved: Path, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(DataError, match="another program"):
        load_model(tmp_path / "foreign")
    tensors = load_file(saved)
    header = {"deeph": json.dumps(read_header(saved))}
    save_file(dict(list(tensors.items())[1:]), tmp_path / "incomplete", metadata=header)
    with pytest.raises(DataError, match="does not describe a complete model"):
        load_model(tmp_path / "incomplete")


def read_header(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["deeph"])


def test_other_kind_version_and_conventions(saved: Path) -> None:
    conventions = read_header(saved)["conventions"]
    change_header(saved, conventions={**conventions, "energy": "Hartree"})
    with pytest.raises(ModelError, match="energy = 'Hartree'; expected 'eV'"):
        load_model(saved)
    change_header(saved, conventions=conventions, version=99)
    with pytest.raises(ModelError, match="format version 99"):
        load_model(saved)
    change_header(saved, version=1, format="deeph-training-state")
    with pytest.raises(DataError, match="expected a 'deeph-model'"):
        load_model(saved)


def test_a_failed_write_leaves_the_old_file(saved: Path, model: HamiltonianModel) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        save_model(saved, model, {"metrics": object()})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved: Path, model: HamiltonianModel, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FullDiskError, match=f"{saved.name} cannot be written: No space left on device"):
        save_model(saved, model, {})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
