"""Single faults put into the code at random, and the share that the tests notice.

A sample of faults (a sign, a factor, an index, a comparison, a condition) is drawn with a seed, at most two a file, in a copy of the
repository. Each is tried against the test files that name its module, then against those of its package, then against all; the first
failure ends it. Results are written line by line and an interrupted run goes on.

    python benchmarks/mutations.py COPY results.jsonl --number 100 --seed 1 [--part 0/2]

``COPY`` is a clean clone or worktree of the repository, which is changed and restored file by file.
"""

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = ("deeph", "preprocess", "postprocess")
SWAPPED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*"}
COMPARED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is"}


Fault = tuple[int, int, int, int, str, str]
"""Line, column, end line, end column, new text, kind."""


def faults(path: Path) -> list[Fault]:
    """Every fault that can be made in a file; types and words to the user are left out."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    skipped = {id(inner) for node in ast.walk(tree) for part in _unimportant(node) for inner in ast.walk(part)}
    numbers = {id(inner) for node in ast.walk(tree) for inner in _factors_and_indices(node)}
    out = []
    for node in ast.walk(tree):
        found = None if id(node) in skipped else _fault(source, node, is_number=id(node) in numbers)
        if found is not None:
            out.append((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, *found))
    return out


def _unimportant(node: ast.AST) -> list[ast.AST]:
    """Parts whose change no test should notice: annotations, and what only makes a message."""
    if isinstance(node, ast.FunctionDef):
        return [a.annotation for a in [*node.args.args, *node.args.kwonlyargs] if a.annotation] + ([node.returns] if node.returns else [])
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    message = isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.Call) and "logger" in ast.dump(node.func))
    return [node] if message else []


def _factors_and_indices(node: ast.AST) -> list[ast.AST]:
    """Numbers that multiply something or count places, unlike tolerances."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div | ast.Pow | ast.Add | ast.Sub):
        return [node.left, node.right]
    return list(ast.walk(node.slice)) if isinstance(node, ast.Subscript) else []


def _fault(source: str, node: ast.AST, *, is_number: bool) -> tuple[str, str] | None:  # noqa: PLR0911 - one kind a line
    """The new text of a node and the kind of the fault."""

    def part(inner: ast.AST) -> str:
        return ast.get_source_segment(source, inner) or ""

    match node:
        case ast.BinOp() if type(node.op) in SWAPPED and not isinstance(node.left, ast.Constant | ast.JoinedStr):
            return f"({part(node.left)}) {SWAPPED[type(node.op)]} ({part(node.right)})", "operator"
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            return f"({part(node.left)}) {COMPARED[type(op)]} ({part(node.comparators[0])})", "comparison"
        case ast.BoolOp():
            word = " or " if isinstance(node.op, ast.And) else " and "
            return word.join(f"({part(v)})" for v in node.values), "condition"
        case ast.UnaryOp(op=ast.USub()):
            return part(node.operand), "sign"
        case ast.UnaryOp(op=ast.Not()):
            return part(node.operand), "condition"
        case ast.Constant(value=value) if is_number and type(value) in (int, float):
            return repr(value + 1 if isinstance(value, int) else 2 * value), "number"
    return None


def make(path: Path, fault: Fault) -> str:
    """The file with the fault in it."""
    line, column, end_line, end_column, text, _ = fault
    lines = path.read_bytes().splitlines(keepends=True)
    before = b"".join(lines[: line - 1]) + lines[line - 1][:column]
    after = lines[end_line - 1][end_column:] + b"".join(lines[end_line:])
    return (before + b"(" + text.encode() + b")" + after).decode()


def sample(root: Path, number: int, seed: int) -> list[tuple[str, Fault]]:
    """A sample of faults, at most two a file, files in proportion to their lines."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    files = sorted(p for package in PACKAGES for p in (root / package).rglob("*.py"))
    files = [p for p in files if faults(p)]
    weights = [len(p.read_text(encoding="utf-8").splitlines()) for p in files]
    chosen: dict[Path, int] = {}
    out = []
    while len(out) < number:
        path = rng.choices(files, weights)[0]
        if chosen.get(path, 0) < 2:
            fault = rng.choice(faults(path))
            if (name := str(path.relative_to(root)), fault) not in out:
                compile(make(path, fault), name, "exec")
                chosen[path] = chosen.get(path, 0) + 1
                out.append((name, fault))
    return out


def stages(root: Path, name: str) -> list[list[str]]:
    """Test files that name the module, those that name its package, all others."""
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    room = module.rpartition(".")[0]
    tests = sorted((root / "tests").glob("test_*.py"))
    text = {t: t.read_text(encoding="utf-8") for t in tests}
    first = [t for t in tests if module in text[t]]
    second = [t for t in tests if t not in first and room in text[t]]
    third = [t for t in tests if t not in first and t not in second]
    return [[str(t) for t in part] for part in (first, second, third) if part]


def verdict(root: Path, name: str, seconds: float, n_stages: int, marked: str) -> str:
    """The first test that fails, "time" if they take too long, or "survived"."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for files in stages(root, name)[:n_stages]:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-m", marked, *files]
        try:
            done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return "time"
        if done.returncode not in (0, 5):
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return failed[0].split(" - ")[0] if failed else f"exit {done.returncode}"
    return "survived"


def main() -> None:
    """Try the sample and report the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("copy", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="0/1", help="this of several processes, each with a copy of its own: 0/2, 1/2")
    parser.add_argument("--seconds", type=float, default=900, help="for one stage of tests")
    parser.add_argument("--stages", type=int, default=3, help="2: leave out the tests that name neither the module nor its package")
    parser.add_argument("--marked", default="", help='tests to run, as pytest\'s -m: "not slow"')
    args = parser.parse_args()
    number, of = map(int, args.part.split("/"))
    root = args.copy.resolve()
    known = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.is_file() else []
    done = {(r["file"], tuple(r["fault"])) for r in known}
    for name, fault in sample(root, args.number, args.seed)[number::of]:
        if (name, fault) in done:
            continue
        path, start = root / name, time.perf_counter()
        original = path.read_bytes()
        try:
            path.write_text(make(path, fault), encoding="utf-8")
            result = verdict(root, name, args.seconds, args.stages, args.marked)
        finally:
            path.write_bytes(original)
        record = {"file": name, "fault": fault, "verdict": result, "seconds": round(time.perf_counter() - start)}
        with args.results.open("a") as file:
            file.write(json.dumps(record) + "\n")
        known.append(record)
        caught = sum(r["verdict"] != "survived" for r in known)
        print(f"{caught} of {len(known)} caught; {name}:{fault[0]} {fault[5]} -> {fault[4][:60]!r}: {result}", flush=True)


if __name__ == "__main__":
    main()
