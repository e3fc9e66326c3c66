"""deeph-structures as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeph.files.store import read_poscar
from deeph.physics.layers import find_layers
from preprocess.cli.structures import main
from preprocess.structures.distances import shortest_distances
from preprocess.structures.layers import layer_gaps


def structures(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preprocess.cli.structures", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def made(*arguments: object, cwd: Path) -> str:
    done = structures(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """AB graphene, its 3 x 3 cell, and settings of an OpenMX run."""
    folder = tmp_path_factory.mktemp("structures")
    made("twist", "ab", "--angle", 0, "--registry", "AB", "--vacuum", 12.65, cwd=folder)
    made("supercell", "ab/POSCAR", "ab33", "--repeat", 3, 3, 1, cwd=folder)
    (folder / "openmx.toml").write_text(made("settings", "openmx", cwd=folder))
    return folder


def test_a_training_set_is_one_command_away_from_a_job_array(place):
    options = ["--displacement", 0.03, 0.05, "--slide", "--spacing", 3.2, 3.5, "--seed", 7, "--inputs", "openmx.toml"]
    text = made("perturb", "ab33/POSCAR", "train", "-n", 5, *options, cwd=place)
    assert "train: 5 structures" in text
    names = [f"{n:04d}" for n in range(5)]
    assert sorted(p.name for p in (place / "train").iterdir()) == [*names, "jobs.txt", "structures.json", "submit.sh"]
    assert (place / "train" / "jobs.txt").read_text().split() == names
    for name in names:
        system = read_poscar(place / "train" / name / "POSCAR")
        assert system.n_atoms == 36
        assert shortest_distances(system)[6, 6] > 0.85 * 2.46 / np.sqrt(3)
        assert 3.0 < layer_gaps(system, find_layers(system))[0] < 3.5
        assert (place / "train" / name / "openmx.dat").is_file()
    record = json.loads((place / "train" / "structures.json").read_text())
    assert record["command"].startswith("deeph-structures perturb ab33/POSCAR train -n 5 --displacement 0.03 0.05")
    assert record["parameters"]["seed"] == 7
    assert record["settings"]["run"]["code"] == "openmx"
    assert record["structures"]["0003"]["attempts"] >= 1


def test_structure_n_does_not_depend_on_how_many(place):
    options = ["--displacement", 0.03, 0.05, "--slide", "--spacing", 3.2, 3.5, "--seed", 7]
    made("perturb", "ab33/POSCAR", "eight", "-n", 8, *options, cwd=place)
    made("perturb", "ab33/POSCAR", "later", "-n", 2, "--first", 6, *options, cwd=place)
    made("perturb", "ab33/POSCAR", "three", "-n", 3, *options, cwd=place)
    for name in ("0000", "0001", "0002"):
        assert (place / "three" / name / "POSCAR").read_text() == (place / "eight" / name / "POSCAR").read_text()
    for name in ("0006", "0007"):
        assert (place / "later" / name / "POSCAR").read_text() == (place / "eight" / name / "POSCAR").read_text()
    assert (place / "eight" / "0000" / "POSCAR").read_text() != (place / "eight" / "0001" / "POSCAR").read_text()


def test_the_job_script_runs_one_folder(place):
    settings = (place / "openmx.toml").read_text() + 'command = "cat openmx.dat | wc -l > lines.txt"\n'
    (place / "count.toml").write_text(settings)
    made("perturb", "ab/POSCAR", "my jobs", "-n", 3, "--displacement", 0.02, "--inputs", "count.toml", cwd=place)
    script = place / "my jobs" / "submit.sh"
    assert "#SBATCH --array=1-3" in script.read_text().splitlines()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    subprocess.run([script, "2"], check=True, env=environment)
    subprocess.run([script], check=True, env=environment | {"SLURM_ARRAY_TASK_ID": "3", "SLURM_SUBMIT_DIR": str(script.parent)})
    assert [p.parent.name for p in sorted((place / "my jobs").rglob("lines.txt"))] == ["0001", "0002"]
    assert subprocess.run([script, "4"], check=False, env=environment, capture_output=True).returncode != 0


def test_twisted_cells_and_what_is_reported(place):
    text = made("twist", "tbg", "--mn", 1, 2, "--vacuum", 12.65, cwd=place)
    assert "28 atoms, cell 6.5085 x 6.5085 x 16.0000 Angstrom" in text
    assert "turned by 21.786789 degrees, strain +0.0000 to +0.0000 %" in text
    record = json.loads((place / "tbg" / "structures.json").read_text())["structures"]["."]
    assert record["angles"] == [0.0, pytest.approx(21.78678930)]
    made("twist", "trilayer", "--layers", "graphene", "graphene", "graphene", "--angle", 0, 21.8, 0, "--max-atoms", 42, cwd=place)
    assert read_poscar(place / "trilayer" / "POSCAR").n_atoms == 42
    made("twist", "hetero", "--layers", "graphene", "graphene:2.5", "--angle", 20, "--tolerance", 2, "--max-strain", 0.02, cwd=place)
    strains = json.loads((place / "hetero" / "structures.json").read_text())["structures"]["."]["strains"]
    assert strains[0] == [0.0, 0.0]
    assert 0 < abs(strains[1][0]) <= 0.02
    made("twist", "moved", "--mn", 1, 2, "--shift", 2, 0.1, 0.2, cwd=place)
    shift = read_poscar(place / "moved" / "POSCAR").positions[14:, :2].mean(0) - read_poscar(place / "tbg" / "POSCAR").positions[
        14:, :2
    ].mean(0)
    assert np.linalg.norm(shift) > 0.1
    made("twist", "rows", "--matrix", 2, 0, 0, 3, "--matrix", 2, 0, 0, 3, cwd=place)
    assert read_poscar(place / "rows" / "POSCAR").n_atoms == 24


def test_defects(place):
    made("defects", "ab33/POSCAR", "nitrogen", "-n", 4, "--substitute", "C", "N", 2, "--vacancies", "C", 1, cwd=place)
    record = json.loads((place / "nitrogen" / "structures.json").read_text())["structures"]
    for name in ("0000", "0001", "0002", "0003"):
        system = read_poscar(place / "nitrogen" / name / "POSCAR")
        assert (system.n_atoms, (system.numbers == 7).sum()) == (35, 2)
        assert len(record[name]["vacancies"]) == 1
        assert set(record[name]["substitutions"].values()) == {"N"}
    made("defects", "ab33/POSCAR", "one", "--remove", 3, "--replace", 4, "B", cwd=place)
    system = read_poscar(place / "one" / "POSCAR")
    assert (system.n_atoms, (system.numbers == 5).sum()) == (35, 1)
    original = read_poscar(place / "ab33" / "POSCAR")
    assert np.allclose(system.positions[system.numbers == 5], original.positions[3])
    assert not np.isclose(system.positions, original.positions[2]).all(1).any()


def test_frames_of_a_run_with_close_ones_left_out(place):
    frames = [f'2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\nC 0 0 0\nO 0 0 {z}\n' for z in (1.2, 1.1, 0.6, 1.3, 1.2)]
    (place / "run.xyz").write_text("".join(frames))
    text = made("frames", "run.xyz", "hot", "--frames", "1:", cwd=place)
    assert "frame 2 is left out: C-O at 0.600 Angstrom" in text
    assert sorted(p.name for p in (place / "hot").iterdir()) == ["0001", "0003", "0004", "structures.json"]
    assert read_poscar(place / "hot" / "0003" / "POSCAR").positions[1, 2] == pytest.approx(1.3)


def test_inputs_for_structures_that_are_there(place):
    made("perturb", "ab/POSCAR", "bare", "-n", 2, "--displacement", 0.02, cwd=place)
    made("inputs", "bare", "ab33/POSCAR", "ready", "--inputs", "openmx.toml", cwd=place)
    assert (place / "ready" / "jobs.txt").read_text().split() == ["0000", "0001", "ab33"]
    made("supercell", "ready/0001/openmx.dat", "back", "--repeat", 1, 1, 1, cwd=place)
    assert np.allclose(
        read_poscar(place / "back" / "POSCAR").positions, read_poscar(place / "bare" / "0001" / "POSCAR").positions, atol=1e-9
    )


def test_folders_hold_structures_in_any_format(place):
    """As for deeph-overlap: one structure a folder, of a name that tells what it is."""
    system = read_poscar(place / "ab" / "POSCAR")
    for name in ("one", "two"):
        (place / "mixed" / name).mkdir(parents=True)
    system.to_ase().write(place / "mixed" / "one" / "graphene.cif")
    (place / "mixed" / "two" / "POSCAR").write_text((place / "ab" / "POSCAR").read_text())
    made("inputs", "mixed", "formats", "--inputs", "openmx.toml", cwd=place)
    assert sorted(p.name for p in (place / "formats").iterdir() if p.is_dir()) == ["one", "two"]
    assert read_poscar(place / "formats" / "one" / "POSCAR").n_atoms == system.n_atoms


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["twist", "ab", "--mn", 1, 2], 1, "ab exists already"),
        (["twist", "x", "--mn", 2, 4], 2, "1 2 is the same in a smaller cell"),
        (["twist", "x", "--mn", 1, 2, "--layers", "graphene", "graphene:2.5"], 2, "layer 2 would be strained by -1.600 to -1.600 %"),
        (["twist", "x", "--angle", 1, "--max-atoms", 100, "--tolerance", 0.1], 2, "the nearest is 1.0000 off"),
        (["twist", "x", "--angle", 1, 2, 3], 2, "3 angles for 2 layers"),
        (["twist", "x", "--mn", 1, 2, "--spacing", 1.0], 1, "C-C at 1.000 Angstrom, closer than 1.140"),
        (["twist", "x", "--mn", 1, 2, "--registry", "AX"], 2, "--registry AX"),
        (["twist", "x", "--mn", 1, 2, "--shift", 3, 0, 0], 2, "expected a layer from 1 to 2"),
        (["twist", "x", "--matrix", 1, 0, 0, 1], 2, "--matrix is given 1 times for 2 layers"),
        (["twist", "x"], 2, "--mn --angle --atoms --matrix"),
        (["perturb", "ab/POSCAR", "x", "-n", 3], 2, "nothing to perturb"),
        (["perturb", "ab/POSCAR", "x", "-n", 0, "--strain", 0.01], 2, "at least one structure"),
        (["perturb", "ab33/POSCAR", "x", "-n", 1, "--displacement", 0.5], 1, "in each of 100 draws"),
        (["perturb", "ab33/POSCAR", "x", "-n", 1, "--strain", 0.01, "--min-distance", 1.5], 2, "between 0 and 1"),
        (["perturb", "nothing", "x", "-n", 1, "--strain", 0.01], 1, "no structure file at nothing"),
        (["supercell", "ab/POSCAR", "x", "--matrix", 1, 0, 0, 0, 1, 0, 1, 1, 0], 2, "determinant 0"),
        (["defects", "ab/POSCAR", "x", "-n", 3], 2, "no random defects are asked for"),
        (["defects", "ab/POSCAR", "x", "--remove", 7], 2, "no atom 7: the structure has 4"),
        (["defects", "ab/POSCAR", "x", "--remove", 0], 2, "'0': expected the number of an atom, counted from 1"),
        (["defects", "ab/POSCAR", "x", "--replace", "one", "B"], 2, "'one': expected the number of an atom, counted from 1"),
        (["defects", "ab/POSCAR", "x", "--vacancies", "C", "two"], 2, "expected a number of atoms"),
        (["frames", "ab/POSCAR", "x", "--frames", "3"], 2, "START:STOP:STEP"),
        (["inputs", "ab", "x", "--inputs", "missing.toml"], 2, "missing.toml cannot be read"),
        (["twist", "x", "--angle", 1.05, "--max-atoms", 3000], 2, "--max-atoms 10444"),
        (["twist", "x", "--atoms", 30], 2, "no turned cell has 30 atoms"),
        (["cells", "--max-atoms", 0], 2, "expected a number of atoms"),
        (["cells", "--angles", 0.1, 0.2], 2, "no common cell between 0.1 and 0.2 degrees"),
        (["settings", "vasp"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(place, monkeypatch, capsys, arguments, code, words):
    before = sorted(place.iterdir())
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == code
    assert words in capsys.readouterr().err
    assert sorted(place.iterdir()) == before


def test_errors_end_the_command_without_a_traceback(place):
    done = structures("twist", "x", "--mn", 2, 4, cwd=place)
    assert done.returncode == 2
    assert done.stderr == "deeph-structures: indices 2 4 have a common divisor: 1 2 is the same in a smaller cell\n"
    assert done.stdout == ""


def test_the_table_of_cells(capsys):
    with pytest.raises(SystemExit) as end:
        main(["cells", "--angles", "1", "1.1"])
    assert end.value.code == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["angle", "atoms"]
    assert [row.split()[:3] for row in rows] == [["1.050121", "11908", "0.0000"], ["1.084549", "11164", "0.0000"]]
