"""Many structures given to one command: folders of files, files of many frames, what they are called, and what cannot be read."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pao_files import write_pao

import deeph
from deeph.files.store import read_folder
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from preprocess.structure_files import StructureFile, find_structures, read_structure_file

WATER = "3\n{}\nO 0 0 {}\nH 0.7 0.1 0.6\nH -0.7 0 0.65\n"
CELL = 'Lattice="9 0 0 0 9 0 0 0 4" pbc="T T T"'


def xyz(path: Path, *heights: float, comment: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(WATER.format(comment, z) for z in heights))
    return path


def poscar(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("C\n1.0\n2 0 0\n0 2 0\n0 0 9\nC\n1\nCartesian\n0 0 0\n")
    return path


def names(*paths: Path) -> list[str]:
    return [one.name for one in find_structures(paths)]


def test_a_folder_of_files_in_natural_order(tmp_path):
    for n in (10, 2, 1):
        xyz(tmp_path / f"mol{n}.xyz", 0.1)
    poscar(tmp_path / "slab.vasp")
    poscar(tmp_path / "POSCAR_7")
    (tmp_path / "notes.txt").write_text("not a structure")
    xyz(tmp_path / ".hidden" / "deep" / "x.xyz", 0.1)
    assert names(tmp_path) == ["POSCAR_7", "mol1", "mol2", "mol10", "slab"]
    assert all(one.read().system.n_atoms in (1, 3) for one in find_structures([tmp_path]))


def test_folders_of_one_file_are_named_after_the_folder(tmp_path):
    poscar(tmp_path / "a" / "POSCAR")
    (tmp_path / "a" / "openmx.dat").write_text("<Atoms.SpeciesAndCoordinates\n")  # its input: the same structure
    xyz(tmp_path / "b" / "c" / "geometry.xyz", 0.1)
    xyz(tmp_path / "d" / "one.xyz", 0.1)
    xyz(tmp_path / "d" / "two.xyz", 0.1)
    assert names(tmp_path) == ["a", "b/c", "d/one", "d/two"]
    assert names(tmp_path / "a", tmp_path / "a" / "POSCAR") == ["a", "a-2"]


def test_names_that_come_again_are_numbered_and_none_is_inside_another(tmp_path):
    xyz(tmp_path / "a.xyz", 0.1)
    xyz(tmp_path / "a" / "b.xyz", 0.1)
    xyz(tmp_path / "a" / "c.xyz", 0.1)
    found = names(tmp_path, tmp_path / "a.xyz")
    assert found == ["a-2", "a/b", "a/c", "a-3"]


def test_a_run_of_a_code_is_one_structure(tmp_path):
    (tmp_path / "met.dat").write_text("<Atoms.SpeciesAndCoordinates\n")
    for name in ("met.xyz", "met.bulk.xyz"):
        xyz(tmp_path / name, 0.1)
    (tmp_path / "other.dat").write_text("1 2 3")
    assert [one.path.name for one in find_structures([tmp_path])] == ["met.dat"]


def test_frames(tmp_path):
    file = xyz(tmp_path / "md.extxyz", 0.1, 0.2, 0.3, comment=CELL)
    found = find_structures([file])
    assert [(one.name, one.frame) for one in found] == [("md-0000", 0), ("md-0001", 1), ("md-0002", 2)]
    assert [one.read().system.positions[0, 2] for one in found] == [0.1, 0.2, 0.3]
    assert names(tmp_path) == [one.name for one in found]
    with pytest.raises(DataError, match=r"md\.extxyz holds 3 structures, expected one; 'deeph-structures frames'"):
        read_structure_file(file)
    with pytest.raises(DataError, match=r"frame 3: there are only 3 frames"):
        StructureFile("", file, 3).read()


def test_a_damaged_frame_does_not_lose_those_before_it(tmp_path):
    file = xyz(tmp_path / "md.xyz", 0.1, 0.2)
    file.write_text(file.read_text() + "3\n\nO 0 0 zero\n")
    found = find_structures([tmp_path])
    assert [one.name for one in found] == ["md-0000", "md-0001", "md-0002"]
    assert found[1].read().system.positions[0, 2] == 0.2
    with pytest.raises(DataError, match=r"md\.xyz, frame 2: could not be read"):
        found[2].read()


def test_atoms_without_lattice_vectors_are_a_molecule(tmp_path):
    system = read_structure_file(xyz(tmp_path / "water.xyz", 0.1)).system
    assert system.pbc == (False, False, False)
    np.testing.assert_allclose(np.diag(system.cell), [11.4, 10.1, 10.55])
    from ase import Atoms

    with pytest.raises(DataError, match="only 2 of three lattice vectors"):
        System.from_ase(Atoms("H", cell=[1, 1, 0]))


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"no structure file in or below .*expected POSCAR, CONTCAR"):
        find_structures([tmp_path])
    with pytest.raises(DataError, match="no structure file at"):
        find_structures([tmp_path / "missing.xyz"])


def run(module: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)


def test_pyscf_takes_a_folder_of_xyz_files(tmp_path):
    """The molecules of the folder and of a file of many frames become structures; the one that cannot be read is a row."""
    pytest.importorskip("pyscf")
    xyz(tmp_path / "set" / "water.xyz", 0.1)
    xyz(tmp_path / "set" / "md.extxyz", 0.1, 0.12)
    (tmp_path / "set" / "bad.xyz").write_text("3\n\nO 0 0 0\n")
    settings = '[system]\nstructure = "set"\nmolecule = true\n[method]\nkind = "RHF"\nbasis = "sto-3g"\n'
    (tmp_path / "job.toml").write_text(settings)
    done = run("preprocess.cli.pyscf", "job.toml", "data", cwd=tmp_path)
    assert done.returncode == 1
    rows = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert rows["bad"].startswith("failed")
    assert "bad.xyz" in rows["bad"]
    assert "3 ok, 1 failed, 0 skipped" in done.stdout
    assert read_folder(tmp_path / "data" / "md-0001").system.positions[0, 2] == pytest.approx(0.12)
    again = run("preprocess.cli.pyscf", "job.toml", "data", cwd=tmp_path)
    assert "0 ok, 1 failed, 3 skipped" in again.stdout


def test_each_structure_of_a_folder_is_varied_with_its_own_random_numbers(tmp_path):
    xyz(tmp_path / "md.xyz", 0.1, 0.1, comment=CELL)
    done = run("preprocess.cli.structures", "perturb", "md.xyz", "out", "-n", 2, "--displacement", 0.02, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "structures.json").read_text())["structures"]
    assert list(record) == ["md-0000-0000", "md-0000-0001", "md-0001-0000", "md-0001-0001"]
    assert record["md-0001-0000"]["frame"] == 1
    positions = [read_structure_file(tmp_path / "out" / name / "POSCAR").system.positions for name in record]
    assert len({x.tobytes() for x in positions}) == 4
    (tmp_path / "md.xyz").write_text((tmp_path / "md.xyz").read_text() + "3\n\nO 0 0\n")
    done = run("preprocess.cli.structures", "supercell", "md.xyz", "big", "--repeat", 1, 1, 2, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 3 structures cannot be read" in done.stderr
    assert not (tmp_path / "big").exists()


@pytest.mark.parametrize("many", ["folder", "frames"])
def test_overlaps_of_molecules(tmp_path, many):
    if many == "folder":
        for n, z in enumerate((0.1, 0.2)):
            xyz(tmp_path / "set" / f"{n}.xyz", z)
    else:
        xyz(tmp_path / "set.xyz", 0.1, 0.2)
    source = "set" if many == "folder" else "set.xyz"
    done = run("preprocess.cli.overlap", source, "--basis", "gto:sto-3g", "out", cwd=tmp_path)
    assert "2 ok, 0 failed" in done.stdout, done.stdout + done.stderr
    folders = ["0", "1"] if many == "folder" else ["set-0000", "set-0001"]
    data = read_folder(tmp_path / "out" / folders[1])
    assert data.system.positions[0, 2] == pytest.approx(0.2)
    assert not data.S.pairs[:, :3].any()  # nothing repeats


def test_molecules_of_a_benchmark(tmp_path, shared_data):
    """Many molecules in one file and as single files are the same structures."""
    stored = np.load(shared_data / "qh9" / "geometries.npz")
    from ase import Atoms
    from ase.io import write

    (tmp_path / "files").mkdir()
    (tmp_path / "frames").mkdir()
    bounds = zip(stored["offset"][:40], stored["offset"][1:41], strict=True)
    atoms = [Atoms(numbers=stored["Z"][a:b], positions=stored["X"][a:b]) for a, b in bounds]
    for n, one in enumerate(atoms):
        write(tmp_path / "files" / f"qh9_{n}.xyz", one)
    write(tmp_path / "frames" / "qh9.xyz", atoms)
    files, frames = find_structures([tmp_path / "files"]), find_structures([tmp_path / "frames"])
    assert [one.name for one in files] == [f"qh9_{n}" for n in range(40)]
    assert [one.name for one in frames] == [f"qh9-{n:04d}" for n in range(40)]
    for one, frame in zip(files, frames, strict=True):
        np.testing.assert_array_equal(one.read().system.positions, frame.read().system.positions)


@pytest.mark.parametrize(("line", "electrons"), [("", 8.0), ("NetCharge 1", 7.0), ("net_charge -0.5", 8.5)])
def test_the_charge_of_an_fdf_input_counts(tmp_path, line, electrons):
    (tmp_path / "water.fdf").write_text(
        f"""{line}
LatticeConstant 10.0 Ang
%block ChemicalSpeciesLabel
1 8 O
2 1 H
%endblock
AtomicCoordinatesFormat Ang
%block AtomicCoordinatesAndAtomicSpecies
0.0 0.0 0.0 1
0.76 0.59 0.0 2
-0.76 0.59 0.0 2
%endblock
"""
    )
    basis = {"O": f"{write_pao(tmp_path / 'O5.0.pao', 'O', 6)}:s1p1", "H": f"{write_pao(tmp_path / 'H5.0.pao', 'H', 1)}:s1"}
    assert deeph.overlap(tmp_path / "water.fdf", basis).n_electrons == electrons
    (tmp_path / "wrong.fdf").write_text("NetCharge one\n" + (tmp_path / "water.fdf").read_text().replace(line, ""))
    with pytest.raises(DataError, match="NetCharge one: expected a number"):
        read_structure_file(tmp_path / "wrong.fdf")
