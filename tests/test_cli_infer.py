"""``deeph-infer`` from a structure file to H: one command, the same blocks as two, nothing overwritten, nothing silent."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import graphene
from pao_files import write_pao

import deeph
from deeph import inference_cost
from deeph.cli import infer
from deeph.config import ModelConfig
from deeph.files.store import read_folder, write_folder
from deeph.inference import predict
from deeph.nn.fit import fit_model
from deeph.nn.model import WIDE, HamiltonianModel
from deeph.runtime import log
from deeph.training.checkpoint import load_model, save_model
from preprocess.cli import overlap as overlap_command

TINY = ModelConfig(
    node_channels=4, node_pseudo_channels=2, bond_channels=4, bond_pseudo_channels=2, n_layers=1, n_radial=4, radial_hidden=8, rank=2,
    chunk_bonds=100, baseline_degree=2,
)  # fmt: skip


def atoms(seed: int = 0):
    out = graphene(vacuum=6)
    out.pbc = True
    out.rattle(0.05, seed=seed)
    return out


def run(main, *arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def basis(tmp_path_factory) -> str:
    return f"{write_pao(tmp_path_factory.mktemp('pao') / 'C6.0.pao', 'C', 4)}:s2p2d1"


@pytest.fixture(scope="module")
def model(basis, tmp_path_factory) -> Path:
    """Trained on nothing: H is made of S and its Fermi level made up."""
    torch.manual_seed(0)
    S = [deeph.overlap(atoms(seed), basis) for seed in range(2)]
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(path, fit_model(TINY, [replace(s, H=replace(s.S, entries=-7 * s.S.entries), fermi_energy=-3.0) for s in S]), {})
    return path


@pytest.fixture
def vasp(tmp_path) -> Path:
    ase.io.write(tmp_path / "tbg.vasp", atoms(7))
    return tmp_path / "tbg.vasp"


def same(a: Path, b: Path) -> None:
    one, other = read_folder(a), read_folder(b)
    assert np.array_equal(one.S.pairs, other.S.pairs)
    assert np.array_equal(one.S.entries, other.S.entries)
    assert np.array_equal(one.hamiltonian.entries, other.hamiltonian.entries)
    assert (one.n_electrons, one.fermi_guess) == (other.n_electrons, other.fermi_guess)


ONE_ORDER = "--device", "cpu"
"""A GPU adds in any order, so that two predictions differ in the last digit."""


def test_one_command_writes_what_two_do(model, basis, vasp, tmp_path):
    assert run(infer.main, model, vasp, tmp_path / "one", "--basis", basis, *ONE_ORDER) == 0
    assert run(overlap_command.main, vasp, "--basis", basis, tmp_path / "s" / "tbg") == 0
    assert run(infer.main, model, tmp_path / "s", tmp_path / "two", *ONE_ORDER) == 0
    assert {p.name for p in (tmp_path / "one" / "tbg").iterdir()} == {"POSCAR", "info.json", "overlap.h5", "hamiltonian_pred.h5"}
    same(tmp_path / "one" / "tbg", tmp_path / "two" / "tbg")
    info = json.loads((tmp_path / "one" / "tbg" / "info.json").read_text())
    assert (info["fermi_guess_eV"], info["occupation"], info["source"]["code"]) == ([-3.0, 0.0], 8.0, "deeph")


def test_real_twisted_bilayer(shared_data, bilayer36, tmp_path):
    """OpenMX's basis and structure; a model of two bilayers in some seconds."""
    data = [read_folder(bilayer36 / name) for name in ("000", "001")]
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", fit_model(TINY, data), {})
    tbg, pao = shared_data / "openmx" / "tbg28" / "tbg28.dat", shared_data / "openmx" / "PAO" / "C6.0.pao:s2p2d1"
    assert run(infer.main, tmp_path / "model.safetensors", tbg, tmp_path / "one", "--basis", pao, *ONE_ORDER) == 0
    assert run(overlap_command.main, tbg, "--basis", pao, tmp_path / "s" / "tbg28") == 0
    assert run(infer.main, tmp_path / "model.safetensors", tmp_path / "s" / "tbg28", tmp_path / "two", *ONE_ORDER) == 0
    same(tmp_path / "one" / "tbg28", tmp_path / "two" / "tbg28")
    found = read_folder(tmp_path / "one" / "tbg28")
    assert found.n_electrons == 112
    level, spread = found.fermi_guess
    assert [abs(d.fermi_energy - level) <= spread + 1e-9 for d in data] == [True, True]
    assert abs(level - deeph.read(shared_data / "openmx" / "tbg28").fermi_energy) < 0.2


def test_the_error_without_a_basis_says_which_one(model, basis, vasp, tmp_path, capsys):
    assert run(infer.main, model, vasp, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "tbg.vasp holds no overlap" in error
    assert "the model wants C s2p2d1. FILE is one of C6.0.pao:s2p2d1 (OpenMX)" in error
    assert not (tmp_path / "out").exists()


def test_another_basis_is_refused_before_any_work(model, basis, vasp, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("deeph.facade.overlap", lambda *_, **__: pytest.fail("S was computed"))
    assert run(infer.main, model, vasp, tmp_path / "out", "--basis", basis.replace("d1", "")) == 2
    assert "gives C the shells s2p2, but the model was trained with C s2p2d1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_of_files_and_frames(model, basis, tmp_path, capsys):
    """Files, frames, and one with an element that the model does not know, for which the basis has no file."""
    files = tmp_path / "files"
    files.mkdir()
    ase.io.write(files / "a.cif", atoms(1))
    ase.io.write(files / "md.xyz", [atoms(n) for n in range(2, 4)])
    silicon = atoms(4)
    silicon.numbers[:] = 14
    ase.io.write(files / "b.vasp", silicon)
    assert run(infer.main, model, files, tmp_path / "out", "--basis", basis) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "md-0000", "md-0001"]
    error = capsys.readouterr().err
    assert "b.vasp: the model does not know Si; it was trained on C" in error
    assert "1 of 4 structures failed" in error
    assert np.abs(read_folder(tmp_path / "out" / "md-0001").system.positions - atoms(3).positions).max() < 1e-6


@pytest.mark.parametrize("order", ["vasp out --basis", "vasp --basis out", "--basis vasp out", "vasp --overwrite out --basis"])
def test_any_order_of_the_arguments(model, basis, vasp, tmp_path, order):
    words = {"vasp": [vasp], "out": [tmp_path / "out"], "--basis": ["--basis", basis], "--overwrite": ["--overwrite"]}
    if order.startswith("--basis"):
        words["--basis"] = [f"--basis={basis}"]
    assert run(infer.main, model, *(one for word in order.split() for one in words[word])) == 0
    assert (tmp_path / "out" / "tbg" / "hamiltonian_pred.h5").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model", "STRUCTURE is missing"),
        ("model tbg.vasp", "no output folder: expected deeph-infer MODEL STRUCTURE... OUT --basis FILE..."),
        ("model tbg.vasp --chek out", "there is no option --chek, did you mean --check?"),
        ("model tbg.vasp out --threads 0", "--threads 0"),
        ("model tbg.vasp out --cutoff -1", "expected positive numbers"),
    ],
)
def test_mistakes_on_the_command_line(capsys, words, message):
    assert run(infer.main, *words.split()) == 2
    assert message in capsys.readouterr().err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("given", "out", "message"),
    [
        ("data", "data/000", "is a structure folder"),
        ("data", "data", "is the folder of structures"),
        ("data", "data/predicted", "lies in the folder of structures"),
        ("data", "a.vasp", "is the file"),
        ("data other/000", "out", "would both become"),
        ("data/001", "data", "would take its place"),
        ("other/000/POSCAR", "other", "would take its place"),
        ("nothing", "out", "is missing"),
        ("a.vasp", "taken", "is no prediction and is kept"),
    ],
)
def test_places_where_data_would_be_lost_or_mixed(model, basis, tmp_path, capsys, given, out, message):
    data = deeph.overlap(atoms(), basis)
    data = replace(data, H=data.S)
    for name in ("data/000", "data/001", "other/000", "taken/a"):
        write_folder(tmp_path / name, data)
    ase.io.write(tmp_path / "a.vasp", atoms())
    before = snapshot(tmp_path)
    for extra in ([], ["--overwrite"]):
        assert run(infer.main, model, *(tmp_path / g for g in given.split()), tmp_path / out, "--basis", basis, *extra) in (1, 2)
        assert message in capsys.readouterr().err
        assert snapshot(tmp_path) == before


def test_predictions_that_are_there(model, basis, vasp, tmp_path, capsys):
    """Skipped if they are the same; those of another model or structure are an error, until they may be replaced."""
    command = [vasp, tmp_path / "out", "--basis", basis]
    assert run(infer.main, model, *command) == 0
    capsys.readouterr()
    assert run(infer.main, model, *command) == 0
    assert "predicted already, skipped" in capsys.readouterr().err
    other = tmp_path / "other.safetensors"
    save_model(other, load_model(model), {"note": "another file"})
    assert run(infer.main, other, *command) == 1
    assert "was predicted by another model" in capsys.readouterr().err
    ase.io.write(vasp, atoms(8))
    assert run(infer.main, model, *command) == 1
    assert "is the prediction of another structure" in capsys.readouterr().err
    assert run(infer.main, other, *command, "--overwrite") == 0
    assert np.abs(read_folder(tmp_path / "out" / "tbg").system.positions - atoms(8).positions).max() < 1e-6


@pytest.mark.parametrize("extra", [[], ["--overwrite"]])
def test_an_overlap_replaces_no_hamiltonian(basis, vasp, tmp_path, capsys, extra):
    data = deeph.overlap(atoms(), basis)
    write_folder(tmp_path / "dft", replace(data, H=data.S))
    write_folder(tmp_path / "pred", replace(data, H=data.S), predicted=True)
    (tmp_path / "own").mkdir()
    shutil.copy(vasp, tmp_path / "own" / "POSCAR")
    before = snapshot(tmp_path)
    for structure, out, message in (
        (vasp, "dft", "holds hamiltonian.h5"),
        (vasp, "pred", "holds hamiltonian_pred.h5"),
        (tmp_path / "dft" / "POSCAR", "dft", "holds the structure itself"),
        (tmp_path / "own" / "POSCAR", "own", "holds the structure itself"),
    ):
        assert run(overlap_command.main, structure, "--basis", basis, tmp_path / out, *extra) == 1
        assert message in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_check_says_what_it_takes_and_writes_nothing(model, basis, vasp, tmp_path, capsys):
    ase.io.write(tmp_path / "big.vasp", atoms(7) * (5, 5, 1))
    assert run(infer.main, model, tmp_path / "big.vasp", tmp_path / "out", "--basis", basis, "--check") == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert run(infer.main, model, tmp_path / "big.vasp", tmp_path / "out", "--basis", basis) == 0
    made = read_folder(tmp_path / "out" / "big")
    assert f"C50, 50 atoms, 650 orbitals, {(made.S.n_pairs - 50) // 2:,} bonds, {made.S.n_pairs:,} blocks" in text
    size = sum(p.stat().st_size for p in (tmp_path / "out" / "big").glob("*.h5"))
    assert float(re.search(r"files (\d+) MiB", text)[1]) == pytest.approx(size / 2**20, abs=0.6)
    capsys.readouterr()
    assert run(infer.main, model, tmp_path / "out", tmp_path / "again", "--check") == 0  # S is there
    text = capsys.readouterr().out
    assert "network" in text
    assert ": S " not in text


def test_the_time_of_check_is_within_a_factor_of_two(model, basis, tmp_path, monkeypatch):
    """CPU seconds, which other programs do not change; the cell is 7 times the sample."""
    monkeypatch.setattr(inference_cost.time, "perf_counter", time.process_time)
    monkeypatch.setattr(inference_cost, "SAMPLE", 512)
    loaded, system = load_model(model), deeph.System.from_ase(atoms(7) * (9, 9, 1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cost = inference_cost.estimate(loaded, deeph.facade.describe_overlap(system, basis), lambda piece: deeph.overlap(piece, basis))
        start = time.process_time()
        S = deeph.overlap(system, basis)
        first = time.process_time() - start
        predict(loaded, S)
        rest = time.process_time() - start - first
    finally:
        torch.set_num_threads(threads)
    assert cost.n_bonds > 3000
    assert cost.seconds["network"] == pytest.approx(rest, rel=1.0, abs=0.1)
    assert rest < 2 * cost.seconds["network"] + 0.1
    assert first < 2 * cost.seconds["S"] + 0.1


def test_check_refuses_what_a_prediction_would_refuse(model, basis, tmp_path, capsys):
    close = atoms()
    close.positions[1] = close.positions[0] + [0, 0, 1e-4]
    ase.io.write(tmp_path / "close.vasp", close)
    for extra in (["--check"], []):
        assert run(infer.main, model, tmp_path / "close.vasp", tmp_path / "out", "--basis", basis, *extra) == 1
        assert "close.vasp: " in (error := capsys.readouterr().err)
        assert "atoms" in error


def test_check_of_many_structures_measures_some(model, basis, tmp_path, capsys):
    ase.io.write(tmp_path / "md.xyz", [atoms(n) for n in range(23)])
    assert run(infer.main, model, tmp_path / "md.xyz", tmp_path / "out", "--basis", basis, "--check") == 0
    text = capsys.readouterr().out
    assert text.count(" -> ") == 8  # every third
    assert re.search(r"all 23 structures, from 8 of them: about \d+ s, and about \d+ s to start", text)


def test_check_of_an_openmx_input_with_a_folder_of_orbitals(model, shared_data, tmp_path, capsys):
    """The input names the functions to take, also for the piece that is measured."""
    tbg = shared_data / "openmx" / "tbg28" / "tbg28.dat"
    assert run(infer.main, model, tbg, tmp_path / "out", "--basis", shared_data / "openmx" / "PAO", "--check") == 0
    assert "C28, 28 atoms, 364 orbitals, 1,120 bonds, 2,268 blocks" in capsys.readouterr().out


def test_lines_with_the_time_left(model, basis, vasp, tmp_path, monkeypatch, capsys):
    """From the first moment: loading torch takes longer than anybody should wait for a word."""
    monkeypatch.setattr(log, "SILENCE", 0.05)
    onsite = HamiltonianModel.onsite

    def slow(self, numbers, x):
        time.sleep(0.5)
        return onsite(self, numbers, x)

    monkeypatch.setattr(HamiltonianModel, "onsite", slow)
    assert run(infer.main, model, vasp, tmp_path / "out", "--basis", basis) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"reading {model}"
    shares = [int(found[1]) for line in lines if (found := re.match(r"tbg: (\d+)% of the work, about \d+ s left", line))]
    assert shares == sorted(shares)
    assert shares[-1] > 50


def test_the_shares_of_the_work_add_up(model, basis):
    structure, shares = deeph.overlap(atoms() * (3, 3, 1), basis), []
    from deeph.inference import fill
    from deeph.physics.blocks import PairBlocks

    fill(load_model(model), structure, PairBlocks.zeros(structure.S.pairs, structure.S.shapes), shares.append)
    assert len(shares) > 6
    assert sum(shares) == pytest.approx(1)


def test_a_gpu_takes_wide_chunks_and_the_same_result(model, basis, monkeypatch):
    structure, loaded = deeph.overlap(atoms() * (3, 3, 1), basis), load_model(model).double()
    narrow = predict(loaded, structure).hamiltonian.entries
    with monkeypatch.context() as patch:
        patch.setattr(HamiltonianModel, "device", torch.device("cuda"))
        assert loaded.chunks(50_000)[0] == slice(0, WIDE)  # in training as well
    monkeypatch.setattr(HamiltonianModel, "chunks", lambda _, n: [slice(0, n)])
    assert np.abs(predict(loaded, structure).hamiltonian.entries - narrow).max() < 1e-6


@pytest.mark.parametrize("device", ["gpu", "cuda", "cpu:x"])
def test_a_device_that_is_not_there(model, basis, vasp, tmp_path, monkeypatch, capsys, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(infer.main, model, vasp, tmp_path / "out", "--basis", basis, "--device", device) == 2
    assert f"--device {device}" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "gpu", "device"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu")])
def test_the_device(model, basis, vasp, tmp_path, monkeypatch, asked, gpu, device):
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr("deeph.training.checkpoint.load_model", lambda path, name: seen.append(name) or load_model(path, "cpu"))
    assert run(infer.main, model, vasp, tmp_path / "out", "--basis", basis, "--device", asked) == 0
    assert seen == [device]
