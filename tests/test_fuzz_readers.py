"""Damaged files of every code: some hundred mutations a reader end in the project's own errors, without a traceback, a hang or a flood.

The default run is a small share; ``-m slow`` strikes ten times as often.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from abacus_files import BOHR, SHELLS, Layout, made_up, orb_text, stru_text
from abacus_files import write_run as write_abacus
from aims_files import Run, add_eigenvalues, random_hamiltonian, write_bands, write_log
from aims_files import write_run as write_aims
from fuzz import Case, converted, strike
from openmx_files import unpack_run
from scipy.special import erfc

from deeph.physics.pairs import is_onsite
from preprocess.orbitals.orb import read_orb
from preprocess.orbitals.pao import read_pao
from preprocess.structure_files import read_structure_file
from preprocess.verify import eigenvalues

DATA = Path(__file__).parent / "data"


def openmx(name: str):
    def build(folder: Path) -> None:
        unpack_run(name, folder)
        rows = [f"   SCF= {n:3d}  NormRD=  {0.5**n:.12f}  Uele= {-4.0 - 0.5**n:.12f}" for n in range(1, 60)]
        (folder / f"{name}.out").write_text("\n".join(["  SCF history at MD= 1", *rows, "  Computational Time (second)", ""]))

    return build


K = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]])
"""The 2x2x1 mesh of the made-up runs."""


def abacus(spin: str, naming: str):
    def build(folder: Path) -> None:
        data = made_up(spin)
        out = write_abacus(folder, data, Layout(naming, width=40, version="3.10.0" if naming == "old" else "3.11.0"))
        log = out / "running_scf.log"
        log.write_text(" ELEC=   9\n Density error is 1e-9\n charge density convergence is achieved\n" + log.read_text())
        energies = eigenvalues(data, K)
        electrons = (energies < data.fermi_energy).sum() / len(K) * (2 if spin == "none" else 1)
        (folder / "INPUT").write_text((folder / "INPUT").read_text() + f"scf_thr 1e-8\nnelec {electrons}\nnupdown 0\n")
        moments = "".join(f"Total Magnetism on atom:  Mo   ({x}, 0, 2.5e-1)\n" for x in (0.5, -1, 2))
        (out / "mulliken.txt").write_text(moments if spin == "spinor" else "")
        name, write = ("istate.info", istate) if naming == "old" else ("eig_occ.txt", eig_occ)
        (out / name).write_text(write(energies, data.system.cell))

    return build


def istate(energies: np.ndarray, _cell: np.ndarray) -> str:
    """Eigenvalues as ABACUS 3.10 prints them."""
    lines = []
    for n, k in enumerate(K):
        lines += [f"BAND   Energy(ev)   Occupation   Kpoint = {n + 1}   ({k[0]} {k[1]} {k[2]})"]
        lines += [f"  {b + 1} " + " ".join(f"{e:.9f} 0.5" for e in energies[:, n, b]) for b in range(energies.shape[2])]
    return "\n".join(lines) + "\n"


def eig_occ(energies: np.ndarray, cell: np.ndarray) -> str:
    """The same as later versions do, k in units of 2 pi / lattice constant."""
    lines = ["1 # ionic step"]
    for s, channel in enumerate(energies, start=1):
        for n, k in enumerate(K @ np.linalg.inv(cell).T * 3.7 * BOHR):
            lines += [f" spin={s} k-point={n + 1}/{len(K)} cartesian= {k[0]:.12f} {k[1]:.12f} {k[2]:.12f}"]
            lines += [f" {b + 1} {e:.9f} 1.0" for b, e in enumerate(channel[n])]
    return "\n".join(lines) + "\n"


def aims(*, hdf5: bool):
    def build(folder: Path) -> None:
        data = random_hamiltonian("collinear")
        weak = np.where(np.repeat(is_onsite(data.S.pairs), data.S.shapes.prod(axis=1)), 1.0, 0.3)  # couples m along bonds less
        data = replace(data, S=replace(data.S, entries=data.S.entries * weak))
        energies = eigenvalues(data, K)
        electrons = erfc((energies - 0.3) / 0.01).sum() / 2 / len(K)
        control = [f"charge {data.system.numbers.sum() - electrons:.12f}", "occupation_type gaussian 0.01"]
        write_aims(folder, Run(data, hdf5=hdf5, control=control))
        write_log(folder, 0.3, [0.5] * data.system.n_atoms)
        if hdf5:
            write_bands(folder, K, energies, 0.3)
        else:
            add_eigenvalues(folder, K, energies)
        log = folder / "aims.out"
        step = "  Begin self-consistency iteration #   7\n  | Change of charge density      :  0.9587E-07\n"
        step += "  Self-consistency cycle converged.\n"
        log.write_text(step + log.read_text())

    return build


def pyscf(folder: Path) -> None:
    shutil.copytree(DATA / "pyscf_hbn", folder, dirs_exist_ok=True)


def pao(folder: Path) -> None:
    """A small file in OpenMX's layout: two functions each of l = 0 and 1."""
    x = np.linspace(-6.0, np.log(5.0), 150)
    r = np.exp(x)
    lines = ["AtomSpecies 6", "radial.cutoff.pao 5.0", "valence.electron 4.0", "PAO.Mul 2"]
    for l in (0, 1):
        functions = np.array([r**l * np.exp(-a * r**2) * (1 - (r / 5) ** 2) ** 2 for a in (0.5, 0.9)])
        functions /= np.sqrt(np.trapezoid(functions**2 * r**3, x, axis=1))[:, None]
        rows = [" ".join(f"{value:.15f}" for value in row) for row in np.stack([x, r, *functions], axis=1)]
        lines += [f"<pseudo.atomic.orbitals.L={l}", *rows, f"pseudo.atomic.orbitals.L={l}>"]
    (folder / "C5.0.pao").write_text("\n".join(lines) + "\n")


DAT = """Atoms.Number 2
Species.Number 1
<Definition.of.Atomic.Species
 C C6.0-s2p2d1 C_PBE13
Definition.of.Atomic.Species>
Atoms.SpeciesAndCoordinates.Unit FRAC
<Atoms.SpeciesAndCoordinates
 1 C 0.0 0.0 0.5 2.0 2.0
 2 C 0.3333 0.6667 0.5 2.0 2.0
Atoms.SpeciesAndCoordinates>
Atoms.UnitVectors.Unit Ang
<Atoms.UnitVectors
 2.46 0.0 0.0
 -1.23 2.13 0.0
 0.0 0.0 10.0
Atoms.UnitVectors>
scf.system.charge 0.01
"""


def stru(folder: Path) -> None:
    (folder / "STRU").write_text(stru_text(made_up().system))
    (folder / "INPUT").write_text("INPUT_PARAMETERS\nlatname none\n")


def read_all(function):
    """Apply a reader of one file to what the folder holds; a file that is gone is no matter."""
    return lambda folder: [function(path) for path in sorted(folder.iterdir()) if path.name != "INPUT"]


CASES = {
    "openmx": Case(openmx("mini_graphene"), converted),
    "openmx spinor": Case(openmx("mini_te_chain_soc"), converted),
    "abacus": Case(abacus("collinear", "old"), converted),
    "abacus spinor, new names": Case(abacus("spinor", "new"), converted),
    "aims": Case(aims(hdf5=False), converted),
    "aims hdf5": Case(aims(hdf5=True), converted),
    "pyscf": Case(pyscf, converted),
    "orb": Case(lambda folder: (folder / "Mo.orb").write_text(orb_text(42, SHELLS[42])), read_all(read_orb)),
    "pao": Case(pao, read_all(lambda path: read_pao(path, "s2p1"))),
    "openmx input": Case(lambda folder: (folder / "a.dat").write_text(DAT), read_all(read_structure_file)),
    "STRU": Case(stru, read_all(read_structure_file)),
}


@pytest.mark.parametrize("name", CASES)
def test_damaged_files_end_in_clear_errors(tmp_path, name):
    wrong = strike(CASES[name], tmp_path, seed=1, count=25)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_more_damaged_files(tmp_path, name):
    wrong = strike(CASES[name], tmp_path, seed=2, count=250)
    assert not wrong, "\n\n".join(wrong)
