"""Damaged SIESTA runs, basis files, DeePTB and DeepH folders: some hundred mutations a reader end in the project's own errors.

The default run is a small share; ``-m slow`` strikes ten times as often.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import write as write_ase
from fuzz import Case, converted, strike
from openmx_files import unpack_run
from siesta_files import LAYOUTS, model, rows_of, write_bands, write_dm, write_eigenvalues, write_texts
from test_deeptb import frame_data
from test_deeptb import write as write_deeptb
from test_siesta_scf import GOOD, HEAD, LAST, TABLE
from test_siesta_text import ion_text, ion_xml, write_ion_nc

from deeph.files.legacy import write_legacy
from deeph.files.store import write_folder
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from preprocess.orbitals.ion import read_ion
from preprocess.readers import openmx
from preprocess.readers.kmesh import k_mesh
from preprocess.readers.siesta.bands import read_reference
from preprocess.structure_files import read_structure_file
from preprocess.verify import count_electrons, eigenvalues

MESH = ([2, 3, 1], [0.0, 0.5, 0.0])
"""That of the made-up runs."""
FDF = """SystemLabel run
LatticeConstant 1.0 Ang
%block LatticeVectors
 4.1 0.3 0.0
 -0.4 3.9 0.2
 0.1 0.5 4.6
%endblock LatticeVectors
NumberOfAtoms 3
%block ChemicalSpeciesLabel
 1 6 C
 2 1 H
%endblock ChemicalSpeciesLabel
AtomicCoordinatesFormat Ang
%block AtomicCoordinatesAndAtomicSpecies
 0.1 0.2 0.3 1
 4.9 -0.6 1.1 2
 -1.4 2.2 5.2 1
%endblock AtomicCoordinatesAndAtomicSpecies
OccupationFunction FD
BandLinesScale ReciprocalLatticeVectors
%block BandLines
 1 0.0 0.0 0.0
 2 0.5 0.0 0.0
%endblock BandLines
"""
PATH = np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0]])


def sound_model(n_spin: int) -> Hamiltonian:
    """A model that the verification takes for a run: weak overlaps between atoms, and the electrons that lie below its Fermi level."""
    data = model(n_spin)
    S = data.S.mapped(lambda b, p: np.where(is_onsite(p)[:, None, None], np.eye(*b.shape[-2:]), 0.1 * b))
    data = replace(data, S=S, source={"k_grid": MESH[0], "k_shift": MESH[1], "electronic_temperature_K": 300.0})
    return replace(data, n_electrons=count_electrons(data).electrons)


def siesta(layout: str, n_spin: int):
    def build(folder: Path) -> None:
        data = sound_model(n_spin)
        rows = rows_of(data, n_spin)
        LAYOUTS[layout](folder, rows)
        write_texts(folder, rows)
        if rows.D is not None:
            write_dm(folder / "run.DM", rows)
        k, _ = k_mesh(*MESH, fold=False)
        write_eigenvalues(folder, k, eigenvalues(data, k), rows)
        (folder / "run.fdf").write_text(FDF)
        (folder / "job.out").write_text(HEAD + TABLE + LAST + GOOD)
        cartesian = PATH @ (2 * np.pi * np.linalg.inv(data.system.cell / rows.constants.bohr).T)
        length = np.linalg.norm(cartesian - cartesian[0], axis=1)
        write_bands(folder / "run.bands", length[:, None], eigenvalues(data, PATH), lines=True)

    return build


def read_siesta(folder: Path) -> None:
    """The run as the command reads it, then the files that it has no need of."""
    if (folder / "run.fdf").is_file():
        system = read_structure_file(folder / "run.fdf").system
        read_reference(folder / "run.bands", system)
    converted(folder)


def deeptb(*, trajectory: bool):
    def build(folder: Path) -> None:
        data = frame_data()
        data = replace(data, S=data.S.mapped(lambda b, p: np.where(is_onsite(p)[:, None, None], b, 0.1 * b)))
        write_deeptb(folder, [data])
        k = np.array([[0, 0, 0], [0.1, 0.2, 0.3]])
        np.save(folder / "kpoints.npy", k)
        np.save(folder / "eigenvalues.npy", eigenvalues(data, k))
        if trajectory:
            for name in ("cell", "positions", "atomic_numbers"):
                (folder / f"{name}.dat").unlink()
            write_ase(folder / "xdat.traj", [data.system.to_ase()])

    return build


def folder_of(name: str, write):
    def build(folder: Path) -> None:
        run = folder.parent / "openmx"
        run.mkdir()
        data = openmx.read(unpack_run(name, run))
        folder.rmdir()
        write(folder, data)

    return build


def ion_files(folder: Path) -> None:
    (folder / "C.ion").write_text(ion_text())
    (folder / "C.ion.xml").write_text(ion_xml())
    write_ion_nc(folder / "C5.ion.nc", classic=False)
    write_ion_nc(folder / "C3.ion.nc", classic=True)


def read_ions(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        read_ion(path)


N_SPIN = (1, 2, 4, 8, 1, 8, 2)
CASES = {
    **{f"siesta {layout}, nspin {n}": Case(siesta(layout, n), read_siesta) for layout, n in zip(LAYOUTS, N_SPIN, strict=True)},
    "ion": Case(ion_files, read_ions),
    "deeptb": Case(deeptb(trajectory=False), converted),
    "deeptb trajectory": Case(deeptb(trajectory=True), converted),
    "deeph": Case(folder_of("mini_graphene", write_folder), converted),
    "deeph spinor": Case(folder_of("mini_te_chain_soc", write_folder), converted),
    "legacy": Case(folder_of("mini_graphene", write_legacy), converted),
    "legacy spinor": Case(folder_of("mini_te_chain_soc", write_legacy), converted),
}


@pytest.mark.parametrize("name", CASES)
def test_damaged_files_end_in_clear_errors(tmp_path, name):
    wrong = strike(CASES[name], tmp_path, seed=1, count=20)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_more_damaged_files(tmp_path, name):
    wrong = strike(CASES[name], tmp_path, seed=2, count=250)
    assert not wrong, "\n\n".join(wrong)
