"""Settings: mistakes are reported all at once, and what is printed can be read again."""

import subprocess
import sys
from pathlib import Path

import pytest

from deeph.config import LossConfig, ModelConfig, TrainConfig
from deeph.files.config_file import load_config, to_toml
from deeph.runtime.errors import UsageError

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.toml"))

MISTAKEN = """
[data]
path = "here"
[model]
n_layers = "three"
node_chanels = 64
[train]
epochs = 0
onsite_weight = 2.0
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "deeph.cli.train", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(MISTAKEN)
    result = run(tmp_path / "bad.toml")
    assert result.returncode == 2
    assert "4 mistakes" in result.stderr
    for text in (
        "model.n_layers: got 'three', expected a valid integer",
        "model.node_chanels: unknown key; the closest known one is 'node_channels'",
        "train.epochs: got 0, expected greater than or equal to 1",
        "train.onsite_weight: unknown key here; it belongs in [loss]",
    ):
        assert text in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\npath = ", "not a TOML file: Invalid value (at end"),
        ("", "data: missing; expected a table [data] with 'path'"),
        ("[data]\n", "data.path: missing; expected Folder of structure folders"),
        ("[data]\npath='x'\n[trian]\na=1", "trian: unknown section; the closest known one is 'train'"),
        ("train = 3\n[data]\npath='x'", "train: got 3"),
        ("[data]\npath='x'\nfractions=[0.5, 0.6, 0.1]", "add up to 1"),
        ("[data]\npath='x'\nsplit='s.json'\nfractions=[0.8, 0.1, 0.1]", "exclude each other"),
        ("[data]\npath='x'\n[train]\nlearning_rate=1e-7", "min_learning_rate 1e-06 is above learning_rate"),
        ("[data]\npath='x'\n[train]\nlearning_rate=nan", "finite number"),
        ("[data]\npath='x'\n[train]\nprecision='float16'", "got 'float16', expected 'float32' or 'float64'"),
        ("[data]\npath='x'\n[model]\nl_max='big'", "model.l_max: got 'big', expected 'auto' or a valid integer"),
        ("[data]\npath='x'\n[model]\nmagnetic_elements=['Cr', 'Xx']", "model.magnetic_elements: no chemical element: 'Xx'"),
        ("[data]\npath='x'\n[model]\nmagnetic_elements='Cr'", "model.magnetic_elements: got 'Cr', expected 'auto'"),
        ("[data]\npath='x'\n[model]\nmagnetic_elements=[]", "model.magnetic_elements: got"),
        ("[data]\npath='x'\n[loss]\nmae_weight=0\nrmse_weight=0", "both 0"),
    ],
)
def test_messages(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "c.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.n_radial=1", "got 1, expected greater than or equal to 2"),
        ("model.l_max=0", "got 0, expected 'auto' or greater than or equal to 2"),
        ("model.l_max=1", "got 1, expected 'auto' or greater than or equal to 2"),
        ("model.baseline_degree=101", "got 101, expected less than or equal to 100"),
        ("data.seed=-1", "got -1, expected greater than or equal to 0"),
        ("train.seed=-1", "got -1, expected greater than or equal to 0"),
        ("train.threads=100000", "got 100000, expected less than or equal to 1024"),
        ("train.betas=[1.5]", "got [1.5], expected two numbers from 0 to below 1"),
        ("train.betas=[0.9]", "got [0.9], expected two numbers from 0 to below 1"),
        ("train.betas=[0.9, 0.99, 0.999]", "got [0.9, 0.99, 0.999], expected two numbers from 0 to below 1"),
        ("train.betas=[0.9, 1.5]", "got 1.5 in [0.9, 1.5], expected two numbers from 0 to below 1"),
        ("train.betas=0.9", "got 0.9, expected two numbers from 0 to below 1"),
        ("data.fractions=[0.8, 0.2]", "got [0.8, 0.2], expected three numbers from 0"),
    ],
)
def test_values_that_crash_later_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    (tmp_path / "c.toml").write_text("[data]\npath='x'\n")
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "c.toml", [setting])
    assert f"{setting.partition('=')[0]}: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "meant"), [("epochs=4", "train.epochs"), ("epcohs=4", "train.epochs"), ("seed=1", "data.seed or train.seed")]
)
def test_a_key_without_its_table(setting: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"--set {setting}: expected section\.key=value, did you mean {meant}\?"):
        load_config(None, ["data.path=data", setting])


def test_what_a_file_sets_is_left_out_from_the_command_line(tmp_path: Path) -> None:
    """The settings that the refusal names are those that undo it."""
    path = tmp_path / "train.toml"
    path.write_text("[data]\npath = 'data'\n[model]\nnode_channels = 8\nn_layers = 2\npotential = true\n")
    with pytest.raises(UsageError, match="undone by") as raised:
        load_config(path, ["model.family=slater-koster"])
    undone = str(raised.value).partition("undone by ")[2].replace("--set ", "").split()
    assert undone == ["model.node_channels=auto", "model.n_layers=3", "model.potential=false"]
    assert load_config(path, ["model.family=slater-koster", *undone]).model.family == "slater-koster"


def test_missing_file_and_missing_argument(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    result = run()
    assert result.returncode == 2
    assert "--print-config" in result.stderr


def test_overrides_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.toml").write_text('[data]\npath = "set"\nsplit = "s.json"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config(
        "sub/c.toml",
        ["train.epochs=7", "train.grad_clip=none", "model.l_max=auto", "train.betas=[0.8, 0.9]", 'model.magnetic_elements=["Cr", "I"]'],
    )
    assert config.model.magnetic_elements == ("Cr", "I")
    assert config.data.path == tmp_path / "sub" / "set"
    assert (config.train.epochs, config.train.grad_clip, config.model.l_max, config.train.betas) == (7, None, "auto", (0.8, 0.9))
    assert load_config("sub/c.toml", ["data.path=other"]).data.path == tmp_path / "other"
    with pytest.raises(UsageError, match=r"2 mistakes(.|\n)*--set epochs=1(.|\n)*train\.seed: got 1\.5"):
        load_config("sub/c.toml", ["epochs=1", "train.seed=1.5"])


def test_printed_configuration_is_read_back_unchanged(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[data]\npath = "a \\"b\\" ü"\n[train]\ngrad_clip = "none"\nmax_minutes = 2.5\n')
    config = load_config(tmp_path / "c.toml")
    (tmp_path / "again.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "again.toml") == config


def test_printed_defaults_need_only_the_data() -> None:
    text = run("--print-config").stdout
    assert "# Peak learning rate." in text
    assert "learning_rate = 0.005" in text
    for setting in ('size = "small"', 'node_odd_channels = "auto"', "spin_weight = 0.25", 'magnetic_elements = "auto"'):
        assert setting in text
    assert "# path =" in text


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_example_configuration_loads(path: Path) -> None:
    load_config(path, ["data.path=anywhere"])


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pydantic', 'h5py', 'numpy'}"
    code = f"import sys, deeph.cli.train as t; t.parser().format_help(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_choice_is_the_word_for_nothing() -> None:
    """The word none in a settings file is no value; a choice of that name could not be written there."""
    for section in (ModelConfig, LossConfig, TrainConfig):
        for name, field in section.model_fields.items():
            assert "none" not in str(field.annotation), f"{section.__name__}.{name}"
