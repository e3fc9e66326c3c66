"""Every script in benchmarks/ finds what it imports, and starts."""

import importlib.util
import sys

import numpy as np
import pytest
from conftest import ROOT

from deeph.files.store import write_folder

SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request, monkeypatch):
    """The module, imported from its file under a name of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    name = f"benchmark_{request.param.stem}"
    spec = importlib.util.spec_from_file_location(name, request.param)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


def test_kernel_polynomials(mini_graphene, tmp_path, monkeypatch, capsys):
    """All of benchmarks/kpm.py on a small cell."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    write_folder(tmp_path / "graphene", mini_graphene)
    table = tmp_path / "local.csv"
    words = [tmp_path / "graphene", "--moments", 20, "--vectors", 2, "--atoms", 1, 2, "--out", table]
    monkeypatch.setattr(sys, "argv", ["kpm.py", *map(str, words)])
    importlib.import_module("kpm").main()
    assert "20 moments of 2 random vectors" in capsys.readouterr().out
    density = np.loadtxt(table, delimiter=",")
    assert abs(np.trapezoid(density[:, 1], density[:, 0]) - 1) < 1e-2  # one p_z orbital


def test_starts(script, monkeypatch, capsys):
    if not hasattr(script, "main"):  # what two scripts share
        return
    monkeypatch.setattr(sys, "argv", [script.__file__, "--help"])
    with pytest.raises(SystemExit) as stop:
        script.main()
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out
