"""deeph-pyscf as a user calls it: mistakes, resuming after a kill, equal results however it was run."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from scipy.linalg import eigh

from deeph.files.config_file import load_settings
from deeph.files.store import read_folder
from deeph.runtime.errors import DataError, UsageError
from preprocess.discover import Job
from preprocess.pyscf.config import PyscfConfig

pytest.importorskip("pyscf")

from preprocess.pyscf import job as pyscf_job
from preprocess.pyscf.job import Calculation, find_calculations, structure_of

WATER = """
[system]
atoms = [["O", 0, 0, 0.1], ["H", 0.7, 0.1, 0.6], ["H", -0.7, 0, 0.65]]
molecule = true
[method]
kind = "RHF"
basis = "sto-3g"
"""
SET = WATER + "[perturb]\nnumber = 12\ndisplacement = 0.05\nseed = 3\n[output]\nzeroth = true\n"
HI = """
[system]
atoms = [["H", 0, 0, 0], ["I", 0, 0, 1.609]]
molecule = true
[method]
kind = "GKS"
functional = "pbe"
basis = {H = "cc-pvdz", I = "crenbl"}
pseudo = {I = "crenbl"}
spin_orbit = true
"""
LIH = """
[system]
atoms = [["Li", 5, 5, 5], ["H", 5, 5, 6.6]]
cell = [[11, 0, 0], [0, 11, 0], [0, 0, 11]]
[method]
basis = {Li = "gth-szv", H = "6-31g"}
pseudo = {Li = "gth-pbe"}
"""
CHAIN = """
[system]
atoms = [["H", 0, 0, 0], ["H", 0.1, 0, 0.9]]
cell = [[9, 0, 0], [0, 9, 0], [0, 0, 4]]
[method]
kind = "RKS"
basis = "gth-szv"
pseudo = "gth-pbe"
[scf]
cutoff = 30.0
precision = 1e-6
k_mesh = [1, 1, 2]
"""


def command(*arguments):
    return [sys.executable, "-m", "preprocess.cli.pyscf", *map(str, arguments)]


def run(*arguments, cwd):
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, check=False)


def written(tmp_path, text, name="job.toml"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def settings(tmp_path, text, *overrides):
    return load_settings(PyscfConfig, written(tmp_path, text), overrides)


def contents(folder):
    """Every file below a folder, byte by byte."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_set_killed_and_resumed_is_the_one_made_in_one_go(tmp_path):
    """SIGKILL in the middle of -j 2, then again with -j 1: every file has the same bytes, nothing is left over."""
    job = written(tmp_path, SET)
    whole = run(job, "whole", "-j", 2, cwd=tmp_path)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "12 ok, 0 failed, 0 skipped" in whole.stdout
    process = subprocess.Popen(command(job, "parts", "-j", 2), cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "parts").glob("[0-9]*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list((tmp_path / "parts").glob("[0-9]*")))
    assert 3 <= done < 12
    resumed = run(job, "parts", cwd=tmp_path)
    assert f"{12 - done} ok, 0 failed, {done} skipped" in resumed.stdout, resumed.stdout + resumed.stderr
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 12 * 6


def test_structure_n_depends_on_the_seed_and_n_alone(tmp_path):
    config = settings(tmp_path, SET)
    few, other = (settings(tmp_path, SET, change) for change in ("perturb.number=4", "perturb.seed=4"))
    third = [structure_of(c, find_calculations(c, "job", tmp_path)[3]).positions for c in (config, few, other)]
    assert np.array_equal(third[0], third[1])
    assert not np.allclose(third[0], third[2], atol=1e-3)
    positions = np.array([structure_of(config, job).positions for job in find_calculations(config, "job", tmp_path)])
    assert 0.03 < np.std(positions - np.array([a[1:] for a in config.system.atoms])) < 0.08


def test_what_is_written(tmp_path):
    """The molecule where it was, its matrices, and the settings; positions and H0 as asked for."""
    config = settings(tmp_path, SET, "perturb.number=0")
    [job] = find_calculations(config, "water", tmp_path / "out")
    assert job.out.name == "water"
    outcome = Calculation(config)(job)
    assert outcome.status == "ok", outcome
    data = read_folder(job.out, positions=True, extra=True)
    assert np.allclose(data.system.positions, [a[1:] for a in config.system.atoms], atol=1e-12)
    assert data.r is not None
    assert data.source["settings"]["method"]["basis"] == "sto-3g"
    assert "number" not in data.source["settings"]["perturb"]
    assert set(data.extra) == {"H0"}
    assert Calculation(config)(job).status == "skipped"
    plain = settings(tmp_path, WATER, "output.positions=false")
    other = Job(job.run, tmp_path / "plain")
    assert Calculation(plain)(other).status == "ok"
    assert not (other.out / "position_matrix.h5").exists()
    assert not (other.out / "hamiltonian_zeroth.h5").exists()


def test_other_settings_are_not_taken_for_a_resumed_run(tmp_path):
    config = settings(tmp_path, WATER)
    [job] = find_calculations(config, "water", tmp_path / "out")
    Calculation(config)(job)
    before = contents(job.out)
    for change, name in (("method.basis='3-21g'", "method.basis"), ("system.atoms=[['O',0,0,0],['H',0,1,0],['H',1,0,0]]", "the structure")):
        changed = settings(tmp_path, WATER, change)
        outcome = Calculation(changed)(job)
        assert outcome.status == "failed"
        assert name in outcome.reason
        assert "--overwrite" in outcome.reason
    assert contents(job.out) == before
    assert Calculation(changed, overwrite=True)(job).status == "ok"
    assert contents(job.out) != before
    (tmp_path / "thesis").mkdir()
    assert "no structure folder" in Calculation(config, overwrite=True)(Job(job.run, tmp_path / "thesis")).reason


def test_a_run_that_does_not_converge_leaves_nothing(tmp_path):
    job = written(tmp_path, SET)
    done = run(job, "out", "--set", "scf.max_cycle=2", "--set", "perturb.number=2", cwd=tmp_path)
    assert done.returncode == 1
    assert "did not converge in 2 iterations; use a larger scf.max_cycle" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_all_mistakes_of_the_file_at_once(tmp_path):
    text = '[system]\nmolecule = true\n[method]\nbassis = "sto-3g"\nkind = "ROKS"\n[scf]\nk_mesh = [1, 0, 1]\n[perturb]\nnumber = 3\n'
    done = run(written(tmp_path, text), "out", cwd=tmp_path)
    assert done.returncode == 2
    for words in ("6 mistakes", "either structure (a file) or atoms", "the closest known one is 'basis'", "method.kind: got 'ROKS'",
                  "scf.k_mesh: got 0", "all structures would be equal", "method.basis: missing"):  # fmt: skip
        assert words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_all_that_pyscf_does_not_know_at_once(tmp_path):
    text = CHAIN.replace('"H", 0.1', '"W", 0.1').replace('"gth-pbe"', '{W = "gth-nope"}') + "[perturb]\nnumber = 1\nstrain = 0.01\n"
    with pytest.raises(UsageError) as caught:
        find_calculations(settings(tmp_path, text, "method.functional=pbx"), "job", tmp_path)
    for words in (
        "4 mistakes",
        "'pbx' is unknown",
        "no basis 'gth-szv' for W",
        "'gth-nope' for W",
        "'gth-szv' of H holds valence electrons only",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (WATER, ["system.spin=1"], "unpaired electrons need method.kind UHF"),
        (WATER, ["system.charge=1"], "not consistent"),
        (WATER, ["scf.k_mesh=[2,1,1]"], "a molecule has no k points"),
        (WATER, ["scf.integrals=fft"], "is for crystals"),
        (WATER, ["method.spin_orbit=true"], "needs spinors"),
        (WATER, ["system.atoms=[['Q',0,0,0]]"], "unknown element 'Q'"),
        (WATER, ["system.molecule=false"], "need a cell"),
        (WATER, ["system.structure=nowhere.xyz", "system.atoms=none"], "nowhere.xyz"),
        (CHAIN, ["method.kind=UKS", "system.spin=1"], "expected both even or both odd"),
        (CHAIN, ["method.kind=RHF"], r"k_mesh \[1, 1, 2\]: with exact exchange .* \[1, 1, 4\]"),
        (CHAIN, ["method.functional=hse06"], "with exact exchange"),
        (CHAIN, ["method.kind=GKS"], "of a KGKS calculation"),
        (CHAIN, ["method.kind=GKS", "method.functional=pbe0"], "no hybrid functionals for GKS crystals"),
        (CHAIN, ["scf.integrals=multigrid", "method.functional=pbe0"], "multigrid' has no exact exchange"),
        (CHAIN, ["method.basis=cc-pv5z", "scf.cutoff=none"], "functions of H with the exponent 402 need a mesh of .* GiB"),
        (LIH, ["scf.integrals=multigrid"], "'multigrid' needs a GTH pseudopotential for every element"),
        (LIH, ["scf.integrals=fft"], "'fft' needs a GTH pseudopotential for every element"),
        (LIH, ["method.basis=gth-szv"], "'gth-szv' of H holds valence electrons only"),
        (LIH, ["method.pseudo={Li='gth-pbe', H='lanl2dz'}"], "no pseudopotential 'lanl2dz' for H"),
        (LIH, ["method.pseudo={Li='crenbl'}"], "'gth-szv' of Li is made for GTH pseudopotentials, but the core is 'crenbl'"),
        (HI, ["method.pseudo={I='lanl2dz'}"], "'lanl2dz' of I has no spin-orbit part; .*\n.*replaces 46 electrons, .* a core of 36"),
        (HI, ["method.pseudo=gth-pbe"], "'gth-pbe' of I has no spin-orbit part"),
        (
            HI,
            ["system.atoms=[['Br',0,0,0],['I',0,0,2.5]]", "method.basis=crenbl"],
            "Br has no effective core potential, .* spin-orbit part.*\n.*'crenbl' of Br holds valence electrons only",
        ),
        (
            HI,
            ["method.basis={H='sto-3g', I='ccecpccpvdz'}", "method.pseudo=none", "method.spin_orbit=false"],
            "'ccecpccpvdz' of I holds valence electrons only",
        ),
    ],
)
def test_mistakes_are_seen_before_anything_runs(tmp_path, monkeypatch, text, overrides, message):
    monkeypatch.setattr(pyscf_job, "calculate", None)
    with pytest.raises((UsageError, DataError), match=message):
        find_calculations(settings(tmp_path, text, *overrides), "job", tmp_path)


def levels(data):
    """Energies of the states of a molecule, or of a crystal at Gamma, in eV."""
    return eigh(data.H_bloch.dense(np.zeros(3)), data.S_bloch.dense(np.zeros(3)), eigvals_only=True)


@pytest.mark.slow
def test_spin_orbit_splits_the_lone_pair_of_hydrogen_iodide(tmp_path):
    """The pi levels of PBE; the two states of HI+ that photoelectrons show are 0.66 eV apart."""
    for overrides, splitting, tolerance in (([], 0.571, 1e-3), (["method.spin_orbit=false"], 0.0, 1e-6)):
        config = settings(tmp_path, HI, *overrides)
        [job] = find_calculations(config, "hi", tmp_path)
        data, _ = pyscf_job.calculate(config, structure_of(config, job))
        energies, n = levels(data), int(data.n_electrons)
        assert energies[n - 1] - energies[n - 3] == pytest.approx(splitting, abs=tolerance)


def test_gth_beside_all_electrons_in_a_crystal_is_that_of_the_molecule(tmp_path):
    """A wide box at Gamma against integrals without density fitting: the valence levels keep their distance from each other."""
    gaps = []
    for changes in ([], ["system.molecule=true", "system.cell=none"]):
        config = settings(tmp_path, LIH, *changes)
        [job] = find_calculations(config, "lih", tmp_path)
        energies = levels(pyscf_job.calculate(config, structure_of(config, job))[0])
        gaps.append(energies[1] - energies[0])
    assert gaps[0] == pytest.approx(gaps[1], abs=0.03)
    assert gaps[1] > 40  # the 1s electrons of Li are there


def test_printed_settings_can_be_read_again(tmp_path):
    printed = run("--print-config", cwd=tmp_path)
    assert printed.returncode == 0
    text = printed.stdout.replace("# basis =   (required)", 'basis = {O = "sto-3g", H = "3-21g"}')
    config = settings(tmp_path, text, "system.atoms=[['O',0,0,0]]", "system.molecule=true")
    assert config.method.basis == {"O": "sto-3g", "H": "3-21g"}


@pytest.mark.parametrize("name", ["hbn", "hbn_displaced"])
def test_examples(name, tmp_path):
    """The quickstart's structures: the bond of boron nitride, 2 x 2 cells; settings that PySCF accepts."""
    config = load_settings(PyscfConfig, ROOT / "examples" / f"{name}.toml")
    jobs = find_calculations(config, name, tmp_path)
    system = structure_of(config, jobs[0])
    distance = np.linalg.norm(system.positions[:, None] - system.positions, axis=-1)
    assert (len(jobs), system.formula) == ((1, "BN") if name == "hbn" else (10, "B4N4"))
    assert distance[distance > 0].min() == pytest.approx(2.5 / 3**0.5, abs=1e-6 if name == "hbn" else 0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "spin"), [("RKS", 0), ("UKS", 2), ("GKS", 0)])
def test_crystals_of_every_spin(tmp_path, kind, spin):
    """Strained chains; two unpaired electrons in each cell, whatever the number of k points."""
    mesh = "[1,1,4]" if kind == "GKS" else "[1,1,2]"
    changes = [f"method.kind={kind}", f"system.spin={spin}", f"scf.k_mesh={mesh}", "perturb.number=2", "perturb.strain=0.02"]
    config = settings(tmp_path, CHAIN, *changes)
    for job in find_calculations(config, "chain", tmp_path / "out"):
        outcome = Calculation(config)(job)
        assert outcome.status == "ok", outcome
    data = read_folder(tmp_path / "out" / "0001", positions=True)
    assert data.system.cell[2, 2] != pytest.approx(4.0, abs=1e-4)
    assert np.allclose(data.system.cell[:2, :2], np.diag([9.0, 9.0]), atol=0.01)  # vacuum is not strained
    assert (data.moments is None) == (kind == "RKS")
    if spin:
        assert data.moments[:, 2].sum() == pytest.approx(2, abs=1e-6)


def test_structures_of_a_folder_keep_their_names(tmp_path):
    """What deeph-structures writes: one folder a structure, each with a POSCAR."""
    config = settings(tmp_path, SET, "perturb.number=2")
    for job in find_calculations(config, "job", tmp_path / "first"):
        assert Calculation(config)(job).status == "ok"
    again = settings(tmp_path, WATER, "system.structure=first", "system.atoms=none").model_dump()
    config = PyscfConfig.model_validate({**again, "system": {**again["system"], "structure": tmp_path / "first"}})
    jobs = find_calculations(config, "job", tmp_path / "second")
    assert [job.out.name for job in jobs] == ["0000", "0001"]
    outcome = Calculation(config)(jobs[1])
    assert outcome.status == "ok", outcome
    first, second = (read_folder(tmp_path / name / "0001") for name in ("first", "second"))
    assert np.allclose(first.H.entries, second.H.entries, atol=1e-6)
    xyz = tmp_path / "water.xyz"
    xyz.write_text("3\n\nO 0 0 0.1\nH 0.7 0.1 0.6\nH -0.7 0 0.65\n")
    config = PyscfConfig.model_validate({**again, "system": {**again["system"], "structure": xyz}})
    [job] = find_calculations(config, "water", tmp_path / "out")
    assert structure_of(config, job).formula == "H2O"
    assert json.loads(json.dumps(config.model_dump(mode="json")))


@pytest.mark.parametrize(("text", "change"), [(WATER, "method.kind='RKS'"), (CHAIN, "scf.k_mesh=[1,1,2]"), (WATER, "method.kind='UHF'")])
def test_S_and_H0_without_a_run(tmp_path, text, change):
    """The same S and H0 as beside the H of a run, nothing self-consistent, and no H, energy or Fermi level that nobody calculated."""
    full, bare = (settings(tmp_path, text, change, f"output.{key}") for key in ("zeroth=true", "hamiltonian=false"))
    [job] = find_calculations(full, "job", tmp_path / "full")
    other = Job(job.run, tmp_path / "bare")
    assert Calculation(full)(job).status == "ok"
    build = pyscf_job.mean_field

    def not_to_be_run(*arguments):
        mf = build(*arguments)
        mf.kernel = None
        return mf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyscf_job, "mean_field", not_to_be_run)
        outcome = Calculation(bare)(other)
    assert outcome.status == "ok", outcome
    assert "S and H0" in outcome.reason
    one, two = (read_folder(where, extra=True) for where in (job.out, other.out))
    assert two.H is None
    assert two.fermi_energy is None
    assert "total_energy_eV" not in two.source
    assert "scf" not in two.source
    assert two.n_electrons == one.n_electrons
    assert np.abs(two.S.entries - one.S.entries).max() < 1e-12
    assert np.abs(two.extra["H0"].entries - one.extra["H0"].entries).max() < 1e-5
    assert np.abs(one.extra["H0"].entries - one.hamiltonian.entries).max() > 1e-2
    assert Calculation(bare)(other).status == "skipped"
    assert "output.hamiltonian" in Calculation(full)(Job(job.run, other.out)).reason
