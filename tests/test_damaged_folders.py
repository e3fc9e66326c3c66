"""What people really hand in: damaged or contradictory folders end with a message, exit code 1, and nothing written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from deeph.files.legacy import write_legacy
from deeph.files.store import read_folder, read_poscar, write_folder
from deeph.runtime.errors import DataError


@pytest.fixture
def sound(mini_graphene, tmp_path) -> Path:
    write_folder(tmp_path / "runs" / "one", mini_graphene)
    return tmp_path / "runs" / "one"


def truncate(folder: Path) -> None:
    path = folder / "hamiltonian.h5"
    path.write_bytes(path.read_bytes()[:5000])


def change_info(folder: Path, **changes: object) -> None:
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps({**info, **changes}))


def scale_H(folder: Path) -> None:
    with h5py.File(folder / "hamiltonian.h5", "r+") as file:
        file["entries"][:] = file["entries"][:] / 27.2113845


def wrong_elements(folder: Path) -> None:
    lines = (folder / "POSCAR").read_text().splitlines()
    lines[5:7] = ["C N", "1 1"]
    (folder / "POSCAR").write_text("\n".join(lines) + "\n")


def shifted_atom(folder: Path) -> None:
    lines = (folder / "POSCAR").read_text().splitlines()
    x, y, z = map(float, lines[9].split())
    lines[9] = f"{x} {y + 0.3} {z}"
    (folder / "POSCAR").write_text("\n".join(lines) + "\n")


def swap_p(folder: Path) -> None:
    """H and S of another project, whose p orbitals are x, y, z."""
    for name in ("hamiltonian.h5", "overlap.h5"):
        with h5py.File(folder / name, "r+") as file:
            blocks = file["entries"][:].reshape(-1, 4, 4)
            order = np.array([0, 3, 1, 2])
            file["entries"][:] = blocks[:, order][:, :, order].ravel()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, ["hamiltonian.h5", "not a complete matrix file"]),
        (lambda folder: (folder / "overlap.h5").unlink(), ["overlap.h5 is missing"]),
        (wrong_elements, ["no orbitals known for N"]),
        (shifted_atom, ["positions", "do not fit the matrices"]),
        (swap_p, ["order or signs of the orbitals"]),
        (lambda folder: change_info(folder, spin="spinor"), ["spin 'spinor'", "asks for"]),
        (lambda folder: change_info(folder, spin="collinear"), ["1 matrices", "spin 'collinear' asks for 2"]),
        (lambda folder: change_info(folder, elements_orbital_map={"C": [0, 0, 1]}), ["asks for"]),
        (lambda folder: change_info(folder, elements_orbital_map={"C": "sp"}), ["info.json"]),
        (lambda folder: (folder / "info.json").write_text("{"), ["info.json", "JSON"]),
        (scale_H, ["electrons", "energies"]),
        (lambda folder: change_info(folder, fermi_energy_eV=-0.23), ["electrons", "Fermi level"]),
    ],
    ids=["truncated", "no overlap", "elements", "positions", "orbitals", "spinor", "collinear", "basis", "map", "json", "Hartree", "Fermi"],
)
def test_one_message_and_nothing_written(sound, tmp_path, damage, words):
    damage(sound)
    command = [sys.executable, "-m", "preprocess.cli.preprocess", "runs", "data"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "unexpected" not in done.stdout
    assert done.stdout.startswith("failed")
    assert all(word in done.stdout for word in words), done.stdout
    assert not (tmp_path / "data").exists()


def test_legacy_folder_without_overlap(mini_graphene, tmp_path):
    write_legacy(tmp_path / "runs" / "one", mini_graphene)
    (tmp_path / "runs" / "one" / "overlaps.h5").unlink()
    shutil.copytree(tmp_path / "runs" / "one", tmp_path / "runs" / "two")
    command = [sys.executable, "-m", "preprocess.cli.preprocess", "runs", "data", "-j", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.count("overlaps.h5 is missing") == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (5, b"\xff\xfe C", "not a VASP 5 POSCAR"),
        (6, b"99999999999999999999", "not a VASP 5 POSCAR"),
        (6, b"9999999999", "2 positions of 1 elements, expected 9999999999"),
        (6, b"-2", "expected -2"),
        (6, b"1 1", "2 positions of 1 elements, expected 2"),
    ],
)
def test_damaged_poscar(tmp_path, mini_graphene, line, text, words):
    write_folder(tmp_path / "one", mini_graphene)
    path = tmp_path / "one" / "POSCAR"
    lines = path.read_bytes().splitlines()
    lines[line] = text
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DataError, match=words):
        read_poscar(path)


@pytest.mark.parametrize("l", [float("inf"), 1.5, "1", None, 99999999999999999999, 21, -1])
def test_shells_that_are_none(tmp_path, mini_graphene, l):
    write_folder(tmp_path / "one", mini_graphene)
    change_info(tmp_path / "one", elements_orbital_map={"C": [0, l]})
    with pytest.raises(DataError, match="shells"):
        read_folder(tmp_path / "one")
