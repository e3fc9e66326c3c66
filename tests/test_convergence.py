"""Whether a run converged: read from the output of each code, stored, shown, and refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from abacus_files import Layout, log_text, made_up
from abacus_files import write_run as write_abacus
from aims_files import Run, random_hamiltonian, write_log
from aims_files import write_run as write_aims
from openmx_files import unpack_run

from deeph.files.store import read_info
from deeph.runtime.errors import DataError
from preprocess.readers import abacus, aims, openmx
from preprocess.readers.base import Convergence
from preprocess.readers.openmx.scf import read_convergence
from preprocess.readers.pyscf import hamiltonian_from_pyscf

END_OF_OUT = "               Computational Time (second)                 \n"
END_OF_STD = "The calculation was normally finished.\n"
BAND_ENERGY = "change of the band energy (Hartree)"


def history(*energies: float, norm: float = 1e-4) -> str:
    """What OpenMX writes into the .out file, whose NormRD stays above the criterion in sound runs, too."""
    rows = [f"   SCF= {n:3d}  NormRD=  {norm:.12f}  Uele= {energy:.12f}" for n, energy in enumerate(energies, start=1)]
    return "\n".join(["      SCF history at MD= 1", *rows, END_OF_OUT])


@pytest.fixture
def graphene(tmp_path) -> Path:
    return unpack_run("mini_graphene", tmp_path / "runs" / "graphene")


def test_openmx_compares_the_band_energy(graphene):
    out = graphene / "mini_graphene.out"
    assert Convergence.of(openmx.read(graphene).source) == Convergence()
    out.write_text(history(-4.0, -4.8, -4.8 + 5e-9))
    found = Convergence.of(openmx.read(graphene).source)
    assert found == Convergence(True, 3, pytest.approx(5e-9), 1e-8, BAND_ENERGY, "mini_graphene.out")
    out.write_text(history(-4.0, -4.8, -4.8 + 5e-9, -4.7))
    assert str(Convergence.of(openmx.read(graphene).source)) == (
        f"SCF NOT converged after 4 steps ({BAND_ENERGY} 1.0e-01, criterion 1.0e-08)"
    )
    out.write_text(history(-4.8, -4.8) + history(-4.8))  # the last step of a run that moves atoms
    assert Convergence.of(openmx.read(graphene).source) == Convergence(False, 1, None, 1e-8, BAND_ENERGY, "mini_graphene.out")
    out.write_text(history(-4.0).replace("-4.0", "****"))
    out.write_text(out.read_text() + out.read_text().replace("1 ", "2 ", 1).replace("SCF=   1", "SCF=   2"))
    with pytest.raises(DataError, match=r"mini_graphene\.out: the history .* is not understood"):
        openmx.read(graphene)
    out.write_text(END_OF_OUT)
    assert Convergence.of(openmx.read(graphene).source).converged is None


def test_openmx_printed_output_serves_too(graphene):
    scfout, std = graphene / "mini_graphene.scfout", graphene / "job.std"
    step = "******************* MD= 1  SCF={n:2d} *******************\n<DFT>  Uele   =  -4.8  dUele     =   {d:.12f}\n"
    std.write_text(step.format(n=1, d=0.3) + step.format(n=12, d=2e-9) + END_OF_STD)
    assert read_convergence(scfout, "scf.criterion 1.0d-8") == Convergence(True, 12, 2e-9, 1e-8, BAND_ENERGY, "job.std")
    assert read_convergence(scfout, "SCF.Criterion 1.0d-9").converged is False
    assert read_convergence(scfout, "").criterion == 1e-6  # OpenMX's default
    shutil.copy(std, graphene / "other.std")
    assert read_convergence(scfout, "") == Convergence()


def test_a_cut_openmx_output_is_refused(graphene):
    """Also where the other file is complete: the two are of one run only if nothing was interrupted."""
    out, std = graphene / "mini_graphene.out", graphene / "mini_graphene.std"
    whole = history(-4.8, -4.8)
    std.write_text(f"SCF= 2\n<DFT>  Uele   =  -4.8  dUele     =   1e-9\n{END_OF_STD}")
    for text in ("This calculation was performed by OpenMX Ver. 3.8.5\n", whole.removesuffix(END_OF_OUT), ""):
        out.write_text(text)
        with pytest.raises(DataError, match=r"mini_graphene\.out has no end \('Computational Time"):
            openmx.read(graphene)
    out.unlink()
    assert Convergence.of(openmx.read(graphene).source).converged
    std.write_text(std.read_text().removesuffix(END_OF_STD))
    with pytest.raises(DataError, match=r"mini_graphene\.std has no end"):
        openmx.read(graphene)


OLD = [" LCAO ALGORITHM --------------- ION=   1  ELEC=  27-----", " Density error is 9.18782609481e-09"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*OLD, " charge density convergence is achieved"], Convergence(True, 27, 9.18782609481e-9)),
        ([*OLD, " !! convergence has not been achieved @_@"], Convergence(False, 27, 9.18782609481e-9)),
        ([*OLD, " convergence has NOT been achieved!"], Convergence(False, 27, 9.18782609481e-9)),
        ([" #ION MOVE# 1 #ELEC ITER# 50", " Electron density deviation 3d-4", " !!SCF IS NOT CONVERGED!!"], Convergence(False, 50, 3e-4)),
        ([" #SCF IS CONVERGED#"], Convergence(True)),
        ([" charge density convergence is achieved", " convergence has not been achieved"], Convergence(False)),
        ([], Convergence()),
    ],
)
def test_abacus_verdicts(tmp_path, lines, expected):
    data = made_up()
    out = write_abacus(tmp_path, data)
    (tmp_path / "INPUT").write_text((tmp_path / "INPUT").read_text() + "SCF_THR 1.d-7\n")
    (out / "running_scf.log").write_text("\n".join([*lines, log_text(data, 1, "3.10.0")]))
    if expected.converged is not None:
        expected = expected._replace(criterion=1e-7, quantity="density error", file="running_scf.log")
    assert Convergence.of(abacus.read(tmp_path).source) == expected
    (tmp_path / "INPUT").write_text("INPUT_PARAMETERS\ncalculation nscf\n")
    assert Convergence.of(abacus.read(tmp_path).source) == Convergence()  # nothing to converge


@pytest.mark.parametrize("lines", [90, 9, 1])
def test_an_abacus_log_without_end_is_refused(tmp_path, lines):
    data = made_up()
    log = write_abacus(tmp_path, data) / "running_scf.log"
    log.write_text("\n".join([*log.read_text().splitlines()[:lines][:-2], ""]))
    with pytest.raises(DataError, match=r"running_scf\.log has no end"):
        abacus.read(tmp_path)


AIMS_STEP = [
    "          Begin self-consistency iteration #   41",
    "  | Change of charge/spin density :  0.9587E-04  0.2E-04",
    "  Self-consistency cycle not yet converged - restarting mixer to attempt better convergence.",
]


@pytest.mark.parametrize(
    ("verdict", "ends", "converged"),
    [
        ("  Self-consistency cycle converged.", True, True),
        ("  Self-consistency cycle not converged.", True, False),
        ("  WARNING! SELF-CONSISTENCY CYCLE DID NOT CONVERGE", True, False),
        ("  *** scf_solver: SCF cycle not converged.", False, False),
        ("  CP-self-consistency cycle converged.", True, None),
        ("", True, None),
    ],
)
def test_aims_verdicts(tmp_path, verdict, ends, converged):
    folder = write_aims(tmp_path / "run", Run(random_hamiltonian("none"), control=("SC_accuracy_rho 1.d-5",)))
    assert Convergence.of(aims.read(folder).source) == Convergence()
    write_log(folder, -5.0)
    text = (folder / "aims.out").read_text()
    lines = [*AIMS_STEP, *text.splitlines()[:-1], verdict, *(["          Have a nice day."] if ends else [])]
    (folder / "aims.out").write_text("\n".join(lines) + "\n")
    found = Convergence.of(aims.read(folder).source)
    if converged is None:
        assert found == Convergence()
    else:
        assert found == Convergence(converged, 41, 0.9587e-4, 1e-5, "change of the charge density", "aims.out")


def test_pyscf_keeps_its_flag():
    pytest.importorskip("pyscf")
    from pyscf import dft, gto

    mf = dft.RKS(gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0), xc="lda")
    mf.conv_tol = 1e-7
    mf.kernel()
    found = Convergence.of(hamiltonian_from_pyscf(mf).source)
    assert found.converged
    assert found.criterion == 1e-7
    mf.converged = False
    with pytest.raises(DataError, match="not converged"):
        hamiltonian_from_pyscf(mf)


def command(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"preprocess.cli.{name}", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, check=False)


def test_an_unconverged_run_is_refused_unless_allowed(graphene, tmp_path):
    (graphene / "mini_graphene.out").write_text(history(*[-4.8 + 0.1 * (n % 2) for n in range(200)]))
    unpack_run("mini_te_chain_soc", tmp_path / "runs" / "te")
    for options in ((), ("--verify", "off"), ("--verify", "bands")):
        done = command("preprocess", "runs", "data", "--overwrite", *options, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (1, "")
        text = " ".join(done.stdout.split())
        assert "SCF NOT converged after 200 steps (change of the band energy (Hartree) 1.0e-01, criterion 1.0e-08)" in text
        assert "says mini_graphene.out" in text
        assert "SCF convergence unknown" in text  # the other run, without any output
        assert "1 ok, 1 failed" in text
        assert not (tmp_path / "data" / "graphene").exists()
    done = command("preprocess", "runs/graphene", "data", "--allow-unconverged", cwd=tmp_path)
    assert done.returncode == 0
    assert "SCF NOT converged" in done.stdout
    assert read_info(tmp_path / "data" / "graphene")["source"]["scf"] == {
        "converged": False, "steps": 200, "residual": pytest.approx(0.1), "criterion": 1e-8, "quantity": BAND_ENERGY,
        "file": "mini_graphene.out",
    }  # fmt: skip
    again = command("preprocess", "data/graphene", "other", cwd=tmp_path)  # the folder still says so
    assert again.returncode == 1
    shown = json.loads(command("inspect", "data/graphene", "--json", cwd=tmp_path).stdout)[0]
    assert shown["facts"]["SCF"].startswith("NOT converged after 200 steps")
    assert [check["verdict"] for check in shown["checks"] if check["name"] == "SCF"] == ["bad"]


def test_a_converged_run_says_so(graphene, tmp_path):
    (graphene / "mini_graphene.out").write_text(history(-4.7, -4.8, -4.8))
    done = command("preprocess", "runs", "data", cwd=tmp_path)
    assert done.returncode == 0
    assert "SCF converged in 3 steps" in done.stdout
    assert "SCF converged in 3 steps" in " ".join(command("inspect", "data/graphene", cwd=tmp_path).stdout.split())


def test_real_runs_converged(shared_data):
    for folder in sorted(p for p in (shared_data / "openmx").iterdir() if list(p.glob("*.scfout"))):
        found = Convergence.of(openmx.read(folder).source)
        assert found.converged, f"{folder.name}: {found}"
        assert found.residual is not None
        assert found.criterion is not None
        assert found.residual < found.criterion
        printed = read_convergence(folder / "nothing.scfout", (folder / f"{folder.name}.dat").read_text())  # from the .std
        assert (printed.converged, printed.steps, printed.criterion) == (True, found.steps, found.criterion)
        assert printed.residual == pytest.approx(found.residual, abs=2e-12)
    mos2 = abacus.read(shared_data / "peers" / "abacus" / "MoS2").source
    assert Convergence.of(mos2) == Convergence(True, 27, 9.18782609481e-09, 1e-8, "density error", "running_scf.log")


def test_a_layout_without_log_is_unknown(tmp_path):
    write_abacus(tmp_path, made_up(), Layout(log=False))
    assert Convergence.of(abacus.read(tmp_path).source) == Convergence()
