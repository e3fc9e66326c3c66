"""deeph-inspect: each check passes on DFT data and fails on data broken in the way it is made for; datasets, models, command line."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from inspect_cases import verdicts, with_entries
from openmx_files import unpack_run

from deeph.config import ModelConfig
from deeph.files.duplicates import Signature
from deeph.files.store import write_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes, energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import Magnetism
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import SYMBOLS, System
from deeph.runtime import log
from deeph.runtime.errors import DataError
from deeph.training.checkpoint import VERSION
from preprocess.cli import inspect as cli
from preprocess.inspect import checks, subject
from preprocess.inspect.checkpoint import _settings
from preprocess.inspect.report import Check, Report, to_json
from preprocess.inspect.statistics import Kind, Summary, find_outliers, summarize
from preprocess.inspect.structure import structure_checks, structure_report
from preprocess.inspect.subject import inspect_path


def test_a_dft_run_is_sound(mini_graphene):
    report = structure_report("graphene", "openmx run", mini_graphene)
    assert report.verdict == "ok"
    assert {"units", "Hermitian", "overlap", "electrons", "orbitals", "S symmetry", "H symmetry"} <= set(verdicts(report.checks))
    text = report.to_text()
    assert "1 Hartree = 27.2113845 eV" in text
    assert "C s1p1" in text
    assert "m = -l..l" in text


def half_the_onsite_overlap(data):
    def change(entries):
        for n in np.flatnonzero(is_onsite(data.S.pairs)):
            entries[0, data.S.offsets[n] : data.S.offsets[n + 1]] *= 0.3
        return entries

    return with_entries(data, "S", change)


def rho_of(data):
    return data.extra["density_matrix"].entries


def stronger_overlap(data):
    onsite = np.repeat(is_onsite(data.S.pairs), data.S.shapes.prod(axis=1))
    return with_entries(data, "S", lambda entries: np.where(onsite, entries, 3 * entries))


def without_far_H(data):
    far = np.linalg.norm(pair_vectors(data.system, data.H.pairs), axis=1) > 2.6
    return with_entries(data, "H", lambda entries: np.where(np.repeat(far, data.H.shapes.prod(axis=1)), 0, entries))


def without_one_pair(data):
    keep = np.delete(np.arange(data.S.n_pairs), np.argmax(~is_onsite(data.S.pairs)))
    return replace(data, H=data.H.selected(keep), S=data.S.selected(keep), r=None, extra={})


def scaled(data, factor):
    return replace(data, system=System(data.system.cell * factor, data.system.positions * factor, data.system.numbers))


def nan(data):
    return with_entries(data, "H", lambda entries: np.where(np.arange(entries.shape[1]) == 7, np.nan, entries))


@pytest.mark.parametrize(
    ("name", "verdict", "breaking"),
    [
        ("numbers", "bad", nan),
        ("Hermitian", "bad", without_one_pair),
        ("Hermitian", "bad", lambda data: with_entries(data, "H", lambda e: e + 1e-3 * np.arange(e.shape[1]))),
        ("normalization", "bad", half_the_onsite_overlap),
        ("pattern", "bad", without_far_H),
        ("distances", "warning", lambda data: scaled(data, 1.8897)),
        ("distances", "bad", lambda data: scaled(data, 0.3)),
        ("orbitals", "bad", lambda data: with_entries(data, "S", lambda e: e * (1 + np.arange(e.shape[1]) % 3))),
        ("overlap", "bad", stronger_overlap),
        ("electrons", "bad", lambda data: with_entries(data, "H", lambda e: e / 27.2)),
        ("electrons", "bad", lambda data: replace(data, fermi_energy=data.fermi_energy + 5)),
        ("density", "bad", lambda data: replace(data, extra={"density_matrix": replace(data.S, entries=2 * rho_of(data))})),
        ("density", "note", lambda data: replace(data, n_electrons=None)),
        ("electrons", "note", lambda data: replace(data, n_electrons=None)),
        ("energy zero", "note", lambda data: replace(data, fermi_energy=None)),
        ("units", "note", lambda data: replace(data, source={})),
    ],
)
def test_what_is_broken_is_seen(mini_graphene, name, verdict, breaking):
    assert verdicts(structure_checks(mini_graphene))[name] == "ok"
    assert verdicts(structure_checks(breaking(mini_graphene)))[name] == verdict


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ({"n_electrons": None}, "the number of electrons is unknown"),
        ({"fermi_energy": None}, "the Fermi level is unknown"),
        ({"n_electrons": None, "fermi_energy": None}, "the Fermi level and the number of electrons are unknown"),
    ],
)
def test_what_the_count_of_electrons_lacks_is_named(mini_graphene, unknown, said):
    assert checks.check_electron_count(replace(mini_graphene, **unknown)).text == f"not counted: {said}"


def test_the_energy_zero_is_recognized(mini_graphene):
    assert "as the code gave it" in checks.check_energy_zero(mini_graphene).text
    mu = energy_zero(mini_graphene.H, mini_graphene.S)
    standard = replace(mini_graphene, H=replace(mini_graphene.H, entries=mini_graphene.H.entries - mu * mini_graphene.S.entries))
    assert "standardized" in checks.check_energy_zero(standard).text


def test_large_structures_get_a_bound(mini_graphene, monkeypatch):
    exact = checks.check_overlap(mini_graphene).value
    monkeypatch.setattr(checks, "MAX_DENSE", 3)
    bound = checks.check_overlap(mini_graphene)
    assert "Lanczos" in bound.text
    assert bound.value >= exact - 1e-9


def shaken(data, seed: int, size: float = 1e-5):
    """Nearly the same structure: enough to be another one, too little for the matrices to notice."""
    moved = data.system.positions + np.random.default_rng(seed).normal(scale=size, size=data.system.positions.shape)
    return replace(data, system=replace(data.system, positions=moved), r=None, extra={})


@pytest.fixture
def dataset(mini_graphene, tmp_path):
    """Ten nearly equal structures."""
    for n in range(10):
        write_folder(tmp_path / "data" / f"{n}", shaken(mini_graphene, n))
    return tmp_path / "data"


def test_a_sound_dataset(dataset):
    report = inspect_path(dataset)
    assert report.kind == "10 structures, structure folder, DFT"
    assert {check.verdict for check in report.checks} <= {"ok", "note"}
    assert report.facts["formulas"] == "10 C2"
    table = next(iter(report.tables.values()))
    assert "on site" in table
    norms = report.facts["norms"]
    assert norms["C s - C s at 1.0-1.5 Angstrom"] > norms["C s - C s at 2.0-2.5 Angstrom"] > 0


def test_isolated_atoms_have_no_bond(dataset, mini_graphene):
    """They leave no infinity in the ranges of the others."""
    system = System(20 * np.eye(3), np.zeros((1, 3)), np.array([6]))
    own = [np.flatnonzero(is_onsite(blocks.pairs))[:1] for blocks in (mini_graphene.S, mini_graphene.H)]
    S, H = (blocks.selected(index) for blocks, index in zip((mini_graphene.S, mini_graphene.H), own, strict=True))
    write_folder(dataset / "atom", replace(mini_graphene, system=system, S=S, H=H, r=None, extra={}, n_electrons=4.0))
    facts = inspect_path(dataset).facts
    assert facts["shortest bond (Angstrom)"].startswith("1.42")
    assert not {"inf", "nan"} & set(str(facts["shortest bond (Angstrom)"] + facts["longest pair (Angstrom)"]).replace(",", "").split())


def test_a_long_inspection_is_not_silent(dataset, monkeypatch, capsys):
    def slow(path, *_):
        time.sleep(0.3)
        return Report(str(path), "", {}, [])

    monkeypatch.setattr(log, "SILENCE", 0.05)
    monkeypatch.setattr(subject, "inspect_path", slow)
    with pytest.raises(SystemExit):
        cli.main([str(dataset)])
    assert f"still at {dataset}" in capsys.readouterr().err


def test_outliers_duplicates_and_mixtures(dataset, mini_graphene):
    write_folder(dataset / "3", with_entries(shaken(mini_graphene, 3), "H", lambda e: e / 27.2), overwrite=True)
    write_folder(dataset / "again", shaken(mini_graphene, 5))
    write_folder(dataset / "spinor", shaken(mini_graphene, 20).to_spinor())
    (dataset / "7" / "overlap.h5").write_bytes(b"damaged")
    report = inspect_path(dataset)
    found = {check.name: check for check in report.checks}
    assert found["readable"].verdict == "bad"
    assert found["readable"].text.startswith("1 of 1 looked at, 12 in all; 7:")
    assert found["outliers"].text.startswith("1: 3: ")
    assert "5 and again" in found["duplicates"].text
    assert found["one spin"].text.startswith("none: 10; spinor: 1")
    assert found["electrons"].verdict == "bad"
    assert report.verdict == "bad"
    write_folder(dataset / "again", with_entries(shaken(mini_graphene, 5), "H", lambda e: 1.01 * e), overwrite=True)
    assert "other matrices" in {check.name: check.text for check in inspect_path(dataset).checks}["duplicates"]


@pytest.mark.parametrize("place", [-1, 3])
def test_an_outlier_may_show_in_its_blocks_alone(place):
    def summary(norm):
        return Summary(
            {"mu": 1.0}, {Kind(6, 1, 6, 1, place): (4 * norm**2, 4)}, np.zeros(1), {}, "C2", Signature((), {}, {}, {}), Magnetism({}, None)
        )

    many = {str(n): summary(2.0 + 0.05 * n) for n in range(10)}
    assert find_outliers(many) == {}
    title = "H of C p - C p on site" if place < 0 else "H of the bonds C - C"
    assert find_outliers({**many, "odd": summary(20.0)})["odd"].startswith(title)
    assert find_outliers({"a": summary(1.0), "b": summary(100.0)}) == {}  # too few to tell


def test_what_a_path_is(dataset, mini_graphene, tmp_path):
    assert inspect_path(dataset / "3").kind.startswith("structure folder, DFT")
    write_folder(tmp_path / "predicted", shaken(mini_graphene, 1), predicted=True)
    assert inspect_path(tmp_path / "predicted").kind.startswith("structure folder, prediction")
    write_folder(tmp_path / "positions", replace(mini_graphene, extra={}))
    assert inspect_path(tmp_path / "positions").facts["matrices"] == "S, H, r"
    write_folder(tmp_path / "overlap", replace(mini_graphene, H=None, extra={}, r=None))
    report = inspect_path(tmp_path / "overlap")
    assert report.kind.startswith("structure folder, overlap only")
    assert report.verdict == "note"
    run = unpack_run("mini_te_chain_soc", tmp_path / "run")
    assert inspect_path(run).kind == "openmx run (it holds mini_te_chain_soc.scfout)"
    (run / "mini_te_chain_soc.scfout").write_bytes(b"short")
    assert [check.name for check in inspect_path(run).checks if check.verdict == "bad"] == ["readable"]
    for nothing in (tmp_path / "nowhere", tmp_path / "run" / "mini_te_chain_soc.Band"):
        with pytest.raises(DataError, match="neither a folder nor a model file"):
            inspect_path(nothing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no structure folder"):
        inspect_path(tmp_path / "empty")


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory) -> bytes:
    import torch
    from network_case import TINY, make_model, make_structure

    from deeph.training.checkpoint import save_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, make_model([make_structure(0)], TINY), {"metrics": {"validate_mae_meV": 1.25}, "epoch": 7})
    return path.read_bytes()


def test_a_model_file_without_torch(model_bytes, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(model_bytes)
    code = "import sys; from preprocess.cli.inspect import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, tmp_path, "--json"], capture_output=True, text=True, check=True)
    (report,) = json.loads(done.stdout)
    assert report["kind"] == f"deeph-model, version {VERSION}"
    assert report["verdict"] == "ok"
    assert report["facts"]["elements"] == "C 0 0 1, Si 1 0 2"
    assert report["facts"]["metadata"] == {"metrics": {"validate_mae_meV": 1.25}, "epoch": 7}


def test_damaged_model_files(model_bytes, tmp_path):
    path = tmp_path / "model.safetensors"

    def seen(content: bytes) -> str:
        path.write_bytes(content)
        return next(check.text for check in inspect_path(path).checks if check.verdict == "bad")

    assert "the copy is incomplete" in seen(model_bytes[:-100])
    assert "no safetensors file" in seen(model_bytes[:50])
    assert "no safetensors file" in seen(b"")
    assert "NaN or infinity" in seen(model_bytes[:-8] + np.array([np.nan]).tobytes())
    assert "orbitals is" in seen(model_bytes.replace(b"m = -l..l", b"m = +l..l"))


def test_json_has_no_nan_and_all_numbers():
    report = Report("here", "test", {"table": {"a": np.float64(1.5)}, "n": np.arange(2)}, [Check("one", "ok", "fine", float("inf"))])
    (read,) = json.loads(to_json([report]))
    assert read["facts"] == {"table": {"a": 1.5}, "n": [0, 1]}
    assert read["checks"] == [{"name": "one", "verdict": "ok", "text": "fine", "value": None}]


def test_settings_are_those_of_the_family_on_lines_that_can_be_read():
    settings = _settings(ModelConfig().model_dump(mode="json"))
    assert "irreps" not in settings
    assert "n_layers 3" in settings
    assert "irreps" in _settings(ModelConfig(family="e3").model_dump(mode="json"))
    lines = Report("here", "test", {"short": 1, "settings": settings}, [Check("weights", "ok", "all finite")]).to_text().splitlines()
    assert max(map(len, lines)) <= 140
    assert len(lines) > 4
    assert " ".join(line.strip() for line in lines[2:-1]) == f"settings  {settings}"


def test_exit_codes(dataset, tmp_path):
    def run(*arguments) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "preprocess.cli.inspect", "-q", *arguments]  # a slow machine gives signs of life otherwise
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(dataset, dataset / "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 structures" in done.stdout
    (dataset / "1" / "hamiltonian.h5").write_bytes(b"damaged")
    done = run(dataset / "1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["verdict"] == "bad"
    done = run(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nowhere" in done.stderr


def test_everything_shared_is_sound(shared_data):
    """Each run and folder of other codes, through its reader: nothing is bad."""
    from preprocess.discover import find_runs

    for folder in find_runs([shared_data / "peers"]):
        report = inspect_path(folder)
        assert report.verdict != "bad", report.to_text()


def test_thorough_checks_are_for_a_sample(dataset, monkeypatch):
    monkeypatch.setattr("preprocess.inspect.dataset.THOROUGH", 3)
    found = {check.name: check.text for check in subject.inspect_path(dataset).checks}
    assert found["electrons"].startswith("3 of 3 looked at, 10 in all")
    assert found["Hermitian"].startswith("10 of 10")


def chain_of_two_elements(spin):
    """Random Hermitian matrices with s, p and d shells, in an order of their own, on pairs of several lengths."""
    rng = np.random.default_rng(3)
    system = System(np.diag([9.0, 9.0, 2.6]), np.array([[0, 0, 0], [0.3, 0.2, 1.1]]), np.array([6, 8]))
    basis = Basis({6: (0, 1, 2), 8: (1, 0, 1)}, spin)
    pairs = neighbour_pairs(system, {6: 2.0, 8: 2.0})
    matrices = []
    for with_spin in (False, True):
        components = 2 if with_spin and spin == "collinear" else 1
        dtype = complex if with_spin and spin == "spinor" else float
        blocks = PairBlocks.zeros(pairs, block_shapes(basis, system.numbers, pairs, spin=with_spin), components, dtype)
        entries = rng.normal(size=blocks.entries.shape) + (1j * rng.normal(size=blocks.entries.shape) if dtype is complex else 0)
        matrices.append(replace(blocks, entries=entries).hermitized())
    return Hamiltonian(system, basis, *matrices)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_norms_of_all_shells_are_those_of_their_entries(spin):
    """Root mean squares of H - mu S by shells and distance, entry by entry; both directions of a pair are counted."""
    data = chain_of_two_elements(spin)
    letters = {z: [f"{SYMBOLS[z]} {'spd'[l]}" for l in ls for _ in range(2 * l + 1)] for z, ls in data.basis.shells.items()}
    mu, length = energy_zero(data.H, data.S), np.linalg.norm(pair_vectors(data.system, data.S.pairs), axis=1)
    squares: dict[str, list[float]] = {}
    for n, pair in enumerate(data.S.pairs):
        left, right = (letters[int(data.system.numbers[atom])] for atom in pair[3:])
        place = f"at {int(length[n] / 0.5) * 0.5:.1f}-{int(length[n] / 0.5) * 0.5 + 0.5:.1f} Angstrom" if length[n] else "on site"
        H, S = data.H.take(np.array([n]))[:, 0], data.S.take(np.array([n]))[0, 0]
        H = H - mu * (np.kron(np.eye(2), S) if spin == "spinor" else S)
        for component in H:
            for row, values in enumerate(component):
                for column, value in enumerate(values):
                    name = f"{left[row % len(left)]} - {right[column % len(right)]} {place}"
                    squares.setdefault(name, []).append(abs(value) ** 2)
    found = {kind.name: (total, count) for kind, (total, count) in summarize(data).norms.items()}
    parts = 2 if spin == "spinor" else 1  # the four parts of an entry count as two, like those of two spins
    assert set(found) == set(squares)
    assert {"C d - O p at 1.0-1.5 Angstrom", "O p - O p on site", "C p - C d on site"} <= set(found)
    for name, values in squares.items():
        assert found[name] == (pytest.approx(sum(values)), len(values) // parts), name


def test_norms_do_not_depend_on_how_the_spin_is_written(mini_graphene):
    plain, spinor = (summarize(data).norms for data in (mini_graphene, mini_graphene.to_spinor()))
    for kind, (total, count) in plain.items():
        assert spinor[kind] == (pytest.approx(2 * total), 2 * count)
