"""What the pages say can be typed: commands, options and links exist."""

import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT
from facade_case import carbon_file, carbon_model, extended_hueckel

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TYPED = [ROOT / "README.md", ROOT / "docs" / "api.md"]
"""Pages whose Python is run."""
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def typed(page):
    """(command, options) of each line of a page that starts with one of our commands, also after ``&&``."""
    for line in page.read_text(encoding="utf-8").splitlines():
        for part in line.split("&&"):
            words = re.sub(r"^(\s*)deeph ", r"\1deeph-", part.split("#")[0]).split()  # deeph NAME is deeph-NAME
            if words and words[0].startswith("deeph-") and line.startswith("    "):
                yield words[0], {word.split("=")[0] for word in words[1:] if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}


def help_of(command, *subcommand):
    """What a command, or one of the commands below it, prints for ``--help``."""
    module, function = COMMANDS[command].split(":")
    code = f"import sys, {module} as module; sys.argv = {[command, *subcommand, '--help']}; module.{function}()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def helps():
    """The ``--help`` text of every command, with those of the commands below it."""
    out = {command: help_of(command) for command in COMMANDS}
    for command, text in out.items():
        below = re.findall(r"^    ([a-z]+)  ", text, re.MULTILINE) if "COMMAND ..." in text else []
        out[command] = "\n".join([text, *(help_of(command, name) for name in below)])
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_and_options_exist(page, helps):
    for command, options in typed(page):
        assert command in helps, f"{page.name}: {command}"
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", helps[command]))
        assert options <= known, f"{page.name}: {command} {options - known}"


def test_commands_are_found_at_all():
    assert {command for command, _ in typed(ROOT / "README.md")} == set(COMMANDS) - {"deeph"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_say_what_they_need(script, tmp_path):
    """No arguments: how to call it; a missing folder: one line."""
    usage = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    arguments = re.search(rf"python {script.name} (.*)", usage.stderr)[1].split()
    missing = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (usage.returncode, missing.returncode) == (1, 1)
    assert missing.stderr.count("\n") == 1
    assert "expected a structure folder" in missing.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what the pages talk about: a model, its basis file, an ensemble, graphene with H and predicted, its structure file."""
    import ase.build

    import deeph
    from deeph.nn.calibration import ONSITE, Calibration
    from deeph.nn.ensemble import Ensemble
    from deeph.training.checkpoint import save_ensemble

    folder = tmp_path_factory.mktemp("desk")
    basis = carbon_file(folder)
    carbon_model(folder / "model", basis)
    sheet = ase.build.graphene(vacuum=10)
    extended_hueckel(deeph.overlap(sheet, basis=basis)).save(folder / "runs" / "graphene")
    sheet.write(folder / "runs" / "graphene.vasp", format="vasp")
    members = [deeph.load_model(carbon_model(folder / f"model_{seed}", basis, seed)) for seed in range(2)]
    of_blocks = {(6, 6, n): (1.0, 0.0, 0.0) for n in (ONSITE, *range(20))}
    ensemble = Ensemble(members, Calibration(of_blocks))
    save_ensemble(folder / "ensemble.safetensors", ensemble, {})
    ensemble.predict(folder / "runs" / "graphene").save(folder / "with_errors" / "graphene")
    return folder


@pytest.mark.parametrize("page", TYPED, ids=lambda p: p.name)
def test_python_of_the_pages_runs(page, desk, monkeypatch):
    """The blocks of a page one after the other, in one namespace."""
    monkeypatch.chdir(desk)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names = {}
    for n, code in enumerate(blocks, 1):
        exec(compile(code, f"{page.name}, block {n}", "exec"), names)  # noqa: S102 - our own page
