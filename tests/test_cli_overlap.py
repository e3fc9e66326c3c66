"""The command deeph-overlap: every kind of structure and basis file, and what it says of wrong ones."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from ase import Atoms

import deeph
from deeph.files.matrix_file import read_matrix
from deeph.runtime import log
from preprocess.cli.overlap import main
from preprocess.orbitals.basis_files import read_basis
from preprocess.orbitals.orb import read_orb
from preprocess.overlap import job
from preprocess.overlap.two_centre import TwoCentre
from preprocess.overlap.write import Matrices
from preprocess.pipeline import Outcome
from preprocess.readers import abacus, openmx, siesta
from preprocess.structure_files import read_structure_file


def overlap(*arguments, code=0):
    """Run the command; its output, or its message if it fails."""
    command = [sys.executable, "-m", "preprocess.cli.overlap", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture
def pao(shared_data):
    return shared_data / "openmx" / "PAO" / "C6.0.pao"


def test_a_large_structure_is_not_silent(tmp_path, monkeypatch, capsys):
    def slow(self, job):
        time.sleep(0.3)
        return Outcome(job, "ok", "", 0.3)

    monkeypatch.setattr(log, "SILENCE", 0.05)
    monkeypatch.setattr(job.OverlapJob, "compute", slow)
    (tmp_path / "large.vasp").touch()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "large.vasp"), "--basis", "C6.0.pao:s1", str(tmp_path / "out")])
    assert "still at the matrices of" in capsys.readouterr().err


def test_openmx_input_names_its_basis(shared_data, pao, tmp_path):
    """The folder equals the run's own, on OpenMX's pattern, with the electrons of the input."""
    run = shared_data / "openmx" / "tbg28"
    assert "28 atoms, 2268 blocks (C6.0-s2p2d1)" in overlap(run / "tbg28.dat", "--basis", pao.parent, tmp_path / "s", "--positions")
    made, data = deeph.read_folder(tmp_path / "s", positions=True), openmx.read(run)
    own = made.S.on_pattern(data.S.pairs, data.S.shapes)
    assert np.abs(own.entries - data.S.entries).max() < 1e-5
    assert np.abs(made.r.on_pattern(data.S.pairs, data.S.shapes).entries - data.r.entries).max() < 1e-4
    assert made.n_electrons == 112
    assert made.source["basis"] == {"C": "C6.0-s2p2d1"}
    assert made.source["orbital_radii"] == data.source["orbital_radii"]


def test_poscar_folder_and_all_matrices(shared_data, pao, tmp_path):
    """A folder of structures; threads, further matrices and a longer range."""
    system = openmx.read(shared_data / "openmx" / "graphene").system
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        system.to_ase().write(tmp_path / "set" / name / "POSCAR", format="vasp")
    options = ["--kinetic", "--gradient", "--spin", "spinor", "--threads", 2, "--cutoff", 8]
    overlap(tmp_path / "set", tmp_path / "out", "--basis", f"{pao}:s1p1", *options)
    for name in ("a", "b"):
        made = deeph.read_folder(tmp_path / "out" / name, extra=True)
        assert (made.basis.shells, made.basis.spin) == ({6: (0, 1)}, "spinor")
        gradient = read_matrix(tmp_path / "out" / name / "overlap_gradient.h5", 2)
        assert gradient.n_components == 3
        assert np.array_equal(gradient.pairs, made.S.pairs)
        assert made.extra["kinetic"].hermiticity_error() < 1e-8
        assert made.n_electrons == 8  # from the .pao file
        far = np.linalg.norm(deeph.physics.pairs.pair_vectors(made.system, made.S.pairs), axis=1)
        assert 7.5 < far.max() <= 8
        assert not made.S.selected(np.flatnonzero(far > 6.36)).entries.any()


def test_abacus_orbitals(shared_data):
    """S, kinetic energy and r of the .orb file are ABACUS's own."""
    folder = shared_data / "peers" / "abacus" / "Si-integrals"
    data = abacus.read(folder)
    engine = TwoCentre({14: read_orb(folder / "Si_gga_8au_60Ry_2s2p1d.orb")})
    assert np.abs(engine.compute(data.system, "overlap", data.S.pairs).entries - data.S.entries).max() < 1e-7
    # of 36 eV and 1.3 Angstrom; ABACUS ends its own k integration earlier
    assert np.abs(engine.compute(data.system, "kinetic", data.S.pairs).entries - data.extra["kinetic"].entries).max() < 2e-4
    assert np.abs(engine.compute(data.system, "position", data.S.pairs).entries - data.r.entries).max() < 5e-5
    assert np.allclose(read_structure_file(folder / "STRU").system.positions, data.system.positions, atol=1e-6)


@pytest.mark.parametrize("name", ["Si.ion.xml", "Si.ion.nc"])
def test_siesta_orbitals(shared_data, name):
    """S of the .ion file is SIESTA's own, which stores single precision."""
    folder = shared_data / "peers" / "siesta" / "Si"
    data = siesta.read(folder)
    engine = TwoCentre(read_basis(data.system.numbers.tolist(), [str(folder / name)]))
    assert engine.basis.shells == data.basis.shells
    assert np.abs(engine.compute(data.system, "overlap", data.S.pairs).entries - data.S.entries).max() < 2e-6


def test_gaussians(tmp_path):
    """A structure without DFT files: water from an xyz file with its cell."""
    pytest.importorskip("pyscf")
    (tmp_path / "w.xyz").write_text(
        '3\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T" Properties=species:S:1:pos:R:3\nO 0 0 0\nH 0 0.75 0.58\nH 0 -0.75 0.58\n'
    )
    overlap(tmp_path / "w.xyz", "--basis", "gto:sto-3g", tmp_path / "s")
    made = deeph.read_folder(tmp_path / "s")
    assert made.basis.to_symbols() == {"O": [0, 0, 1], "H": [0]}
    assert np.allclose(np.diag(made.S.block((0, 0, 0, 0, 0))[0]), 1, atol=1e-8)


def test_messages(shared_data, pao, tmp_path):
    dat, out = shared_data / "openmx" / "mos2" / "mos2.dat", tmp_path / "s"
    graphene = shared_data / "openmx" / "graphene" / "graphene.dat"
    assert "no output folder" in overlap(graphene, "--basis", pao, code=2)
    assert "no structure file" in overlap(tmp_path / "absent", "--basis", pao, out, code=1)
    assert "orbitals of C, but the structure holds Mo, S" in overlap(dat, "--basis", f"{pao}:s1", out, code=1)
    assert "no orbitals for S" in overlap(dat, "--basis", pao.parent / "Mo7.0.pao", out, code=1)
    assert "no such file" in overlap(graphene, "--basis", tmp_path / "X.orb", out, code=1)
    assert "two bases for C" in overlap(graphene, "--basis", f"{pao}:s1", f"{pao}:s2", out, code=1)
    assert "positive" in overlap(graphene, "--basis", pao, out, "--cutoff", -1, code=2)
    (tmp_path / "POSCAR").write_text("nonsense\n")
    assert "could not be read as a structure" in overlap(tmp_path / "POSCAR", "--basis", pao, out, code=1)
    (tmp_path / "bad.dat").write_text(graphene.read_text().replace("Atoms.UnitVectors.Unit", "Atoms.UnitVectors.Unit furlong #"))
    assert "not understood" in overlap(tmp_path / "bad.dat", "--basis", pao, out, code=1)
    shutil.copy(pao, tmp_path / "C.pao")
    lone = tmp_path / "c.vasp"
    openmx.read(shared_data / "openmx" / "graphene").system.to_ase().write(lone, format="vasp")
    assert "such as C.pao:s2p2d1" in overlap(lone, "--basis", tmp_path / "C.pao", out, code=1)
    assert "names the basis" in overlap(lone, "--basis", pao.parent, out, code=1)
    assert "PySCF has no basis" in overlap(lone, "--basis", "gto:nonsense", out, code=1)
    assert not out.exists()
    out.mkdir()
    (out / "precious").write_text("data")
    assert "exists already" in overlap(graphene, "--basis", pao, out, code=1)
    assert (out / "precious").exists()


def test_info_is_complete_json(shared_data, pao, tmp_path):
    overlap(shared_data / "openmx" / "graphene" / "graphene.dat", "--basis", pao, tmp_path / "s")
    info = json.loads((tmp_path / "s" / "info.json").read_text())
    assert info["orbits_quantity"] == 26
    assert info["spinful"] is False
    assert info["fermi_energy_eV"] is None


@pytest.fixture
def stacks(tmp_path):
    """Structures of one and of two elements."""
    graphene = [[0, 0, 5], [0, 1.42, 5]]
    cell = [[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 12]]
    for n, symbols in enumerate(("CC", "SMo", "CC", "MoS", "SS")):
        (tmp_path / "set" / f"{n}").mkdir(parents=True)
        Atoms(symbols, graphene, cell=cell).write(tmp_path / "set" / f"{n}" / "POSCAR", format="vasp")
    return tmp_path / "set"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_process_two_workers_and_mpirun_write_the_same_bytes(stacks, pao, tmp_path, mpirun):
    """And each structure of the set is what it is alone; a row is written for each, and calling again skips them."""
    basis = ["--basis", *(str(pao.parent / name) for name in ("C6.0.pao:s2p2d1", "Mo7.0.pao:s3p2d2", "S7.0.pao:s2p2d1"))]
    options = [*basis, "--positions", "--kinetic"]
    table = overlap(stacks, tmp_path / "one", *options)
    overlap(stacks, tmp_path / "two", *options, "-j", 2)
    command = [*mpirun, sys.executable, "-m", "preprocess.cli.overlap", str(stacks), str(tmp_path / "mpi"), *options]
    shared = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shared.returncode == 0, shared.stderr
    overlap(stacks / "3" / "POSCAR", tmp_path / "alone", "--basis", *basis[2:], "--positions", "--kinetic")
    one, two, mpi = (contents(tmp_path / name) for name in ("one", "two", "mpi"))
    assert len(one) == 5 * 6
    assert one == two == mpi
    assert contents(tmp_path / "alone") == contents(tmp_path / "one" / "3")
    assert [line.split()[:2] for line in table.splitlines()[:-1]] == [["ok", str(n)] for n in range(5)]
    shutil.rmtree(tmp_path / "one" / "2")
    assert "1 ok, 0 failed, 4 skipped" in overlap(stacks, tmp_path / "one", *options)
    assert contents(tmp_path / "one") == two


def test_what_is_there_is_kept_only_if_it_is_the_same(stacks, pao, tmp_path):
    alone = stacks / "0" / "POSCAR"
    out = tmp_path / "s"
    overlap(alone, out, "--basis", f"{pao}:s1p1")
    assert "is there already" in overlap(alone, out, "--basis", f"{pao}:s1p1")
    message = overlap(alone, out, "--basis", f"{pao}:s2p1", "--positions", code=1)
    assert "with other settings (overlap.basis, overlap.operators)" in message
    overlap(alone, out, "--basis", f"{pao}:s2p1", "--positions", "--overwrite")
    assert deeph.read_folder(out, positions=True).r is not None
    alone.write_text(alone.read_text().replace("12.0", "13.0"))
    assert "(the structure)" in overlap(alone, out, "--basis", f"{pao}:s2p1", "--positions", code=1)


def test_a_full_disk_leaves_nothing(stacks, pao, tmp_path):
    command = f"ulimit -f 20; exec {sys.executable} -m preprocess.cli.overlap {stacks} {tmp_path}/out --basis {pao}:s3p3d2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stdout, done.stdout + done.stderr
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_the_tables_of_a_basis_are_made_once(stacks, pao, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(job, "TwoCentre", lambda orbitals: made.append(tuple(orbitals)) or TwoCentre(orbitals))
    job.engine_of.cache_clear()
    work = job.OverlapJob(tuple(str(pao.parent / name) for name in ("C6.0.pao:s1", "Mo7.0.pao:s1", "S7.0.pao:s1")), Matrices())
    outcomes = [work(one) for one in job.find_overlaps(stacks, tmp_path / "out")]
    assert [outcome.status for outcome in outcomes] == ["ok"] * 5, outcomes
    assert made == [(6,), (16, 42), (16,)]
