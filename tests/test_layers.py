"""The direction of the imports, and that nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
import time
import tomllib

import pytest
from conftest import ROOT

HEAVY = ("torch", "h5py", "scipy", "matplotlib", "ase", "pyscf", "pydantic", "e3nn", "torch_geometric", "mpi4py")
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


POSTPROCESS = [
    ("lattice",),
    ("eigen",),
    ("states",),
    ("bands", "density", "geometry"),
    ("topology", "response", "contours"),
    ("large",),
    ("compare", "output", "export"),
    ("cli",),
]
"""Rooms of postprocess; each imports only from those before it."""
ABOVE = {
    name: [f"postprocess.{other}" for level in POSTPROCESS[n:] for other in level if other != name]
    for n, level in enumerate(POSTPROCESS)
    for name in level
}


def imports(path):
    """Every module a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "." * node.level, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def forbidden(package, names):
    """``file:line imports name`` for each import of one of the names in a module or below a package."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in [(ROOT / package).with_suffix(".py"), *sorted((ROOT / package).rglob("*.py"))]
        if path.is_file()
        for module, line in imports(path)
        if any(module == name or module.startswith(name + ".") for name in names)
    ]


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("preprocess", ["postprocess", "deeph.nn", "deeph.training", "torch"]),
        ("postprocess", ["preprocess", "deeph.nn", "deeph.training"]),
        ("deeph", ["preprocess", "postprocess"]),
        ("deeph/runtime", ["deeph.facade", "deeph.physics", "deeph.files", "deeph.nn", "deeph.training", "deeph.cli"]),
        ("deeph/physics", ["deeph.facade", "deeph.files", "deeph.nn", "deeph.training", "deeph.cli", "torch"]),
        ("deeph/files", ["deeph.facade", "deeph.nn", "deeph.training", "deeph.cli", "torch"]),
        ("deeph/nn", ["deeph.facade", "deeph.training", "deeph.cli"]),
        ("deeph/training", ["deeph.facade", "deeph.cli"]),
        *((f"postprocess/{name}", above) for name, above in ABOVE.items()),
    ],
)
def test_layers(package, names):
    assert not [line for line in forbidden(package, names) if not _is_thin_method(line)]


DOORS = {
    "deeph/facade": ("preprocess", "postprocess"),
    "deeph/physics/hamiltonian.py": ("deeph.facade",),
    "deeph/physics/pictures.py": ("deeph.facade",),
    "deeph/physics/responses.py": ("deeph.facade",),
    "deeph/nn/model.py": ("deeph.facade",),
    "deeph/nn/ensemble.py": ("deeph.facade",),
}
"""What a file, or the files of a package, may import inside calls, or for the type checker alone, though it lies above it."""


def _is_thin_method(line):
    """Results have plot() and save(), which import output inside the call; the facade reaches everything so, and objects the facade."""
    place, _, module = line.partition(" imports ")
    name, _, number = place.partition(":")
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    inside = lines[int(number) - 1].startswith("        ")
    doors = next((door for place, door in DOORS.items() if name == place or name.startswith(place + "/")), ())
    drawn = ("bands", "density", "geometry", "response", "contours", "large")
    if inside and module.startswith("postprocess.output") and name.split("/")[1] in drawn:
        return True
    return any(module.split(".")[: len(door.split("."))] == door.split(".") for door in doors) and not _runs_at_import(
        ROOT / name, int(number)
    )


def _runs_at_import(path, line):
    """Whether a line of a file is executed when it is imported: neither inside a function nor for the type checker alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        hidden = isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        if hidden and node.lineno < line <= node.end_lineno:
            return False
    return True


def circles(package):
    """Circles among the files of a package, by all imports but those of thin methods."""
    graph = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {module for module, line in imports(path) if not _is_thin_method(f"{path.relative_to(ROOT)}:{line} imports {module}")}
    graph = {name: {m for m in modules if m in graph and m != name} for name, modules in graph.items()}
    while leaves := [name for name, modules in graph.items() if not modules]:
        for name in leaves:
            del graph[name]
        graph = {name: modules.difference(leaves) for name, modules in graph.items()}
    return graph


@pytest.mark.parametrize("package", ["deeph", "preprocess", "postprocess"])
def test_no_file_imports_itself_through_others(package):
    assert not circles(package)


PREPROCESS = [
    "orbitals",
    "readers",
    "structure_files",
    "structures",
    "verify",
    "discover",
    "pipeline",
    "parallel",
    "overlap",
    "pyscf",
    "inspect",
    "cli",
]


@pytest.mark.parametrize("room", PREPROCESS)
def test_preprocess_imports_run_one_way(room):
    """Each room knows only those before it, and every room has its place."""
    later = PREPROCESS[PREPROCESS.index(room) + 1 :]
    assert not forbidden(f"preprocess/{room}", [f"preprocess.{name}" for name in later])
    assert {p.stem for p in (ROOT / "preprocess").iterdir() if not p.name.startswith("_") and p.suffix != ".typed"} <= set(PREPROCESS)


def test_the_layer_test_sees_imports_inside_functions():
    assert forbidden("preprocess", ["tqdm"])
    assert forbidden("deeph", ["deeph.physics.system"])
    assert forbidden("preprocess/verify", ["deeph.physics"])


def test_only_the_facade_reaches_up_and_only_inside_calls():
    assert forbidden("deeph/facade", ["preprocess"])
    assert all(_is_thin_method(line) for line in forbidden("deeph/facade", ["preprocess", "postprocess"]))
    lines = (ROOT / "deeph" / "facade" / "reading.py").read_text(encoding="utf-8").splitlines()
    first = next(n for n, text in enumerate(lines, 1) if text.startswith("from deeph"))
    assert not _is_thin_method(f"deeph/facade/reading.py:{first} imports preprocess.discover")
    assert not _is_thin_method("deeph/inference.py:1 imports deeph.facade")


def test_the_core_loads_no_torch():
    files = [p for part in ("runtime", "physics", "files") for p in (ROOT / "deeph" / part).glob("*.py")]
    modules = sorted(f"deeph.{p.parent.name}.{p.stem}" for p in files if p.stem != "__init__")
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_import_deeph_is_light():
    code = f"import sys; before = set(sys.modules); import deeph; print([m for m in {HEAVY} + ('numpy',) if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_the_facade_offers_what_it_lists():
    import deeph

    for name in dir(deeph):
        assert getattr(deeph, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        deeph.nonsense  # noqa: B018 - the attribute is looked up


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_instant_and_says_what_the_command_does(command):
    """No heavy module is loaded; 0.5 s on an idle machine, four times that in the best of three here."""
    module, function = COMMANDS[command].split(":")
    code = f"""
import sys, {module} as module
sys.argv = ['{command}', '--help']
try: module.{function}()
finally: sys.stderr.write(' '.join(sys.modules))"""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
    assert out.returncode == 0
    assert out.stdout.startswith(f"usage: {command}")
    assert not set(HEAVY) & set(out.stderr.split())
    assert min(seconds) < 2.0
