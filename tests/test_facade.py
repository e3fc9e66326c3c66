"""The calls of Python users: whatever a physicist has at hand is read, and becomes an overlap."""

import ase.build
import numpy as np
import pytest
from conftest import ROOT
from openmx_files import unpack_run
from pao_files import write_pao

import deeph
from deeph import DeephError, Hamiltonian, System


@pytest.fixture(scope="module")
def pao(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basis")
    return {"C": f"{write_pao(folder / 'C6.0.pao', 'C', 4)}:s2p2d1", "H": f"{write_pao(folder / 'H6.0.pao', 'H', 1)}:s2p1"}


def test_runs_and_structure_folders_are_hamiltonians(tmp_path, mini_graphene):
    run = unpack_run("mini_graphene", tmp_path / "run")
    data = deeph.read(str(run))
    assert np.array_equal(data.hamiltonian.entries, mini_graphene.H.entries)
    deeph.write_folder(tmp_path / "folder", data)
    again = deeph.read(tmp_path / "folder")
    assert np.array_equal(again.hamiltonian.entries, data.H.entries)
    assert deeph.read(again) is again


def test_the_legacy_format_is_read(tmp_path, mini_graphene):
    from deeph.files.legacy import write_legacy

    write_legacy(tmp_path / "legacy", mini_graphene)
    H = deeph.read(tmp_path / "legacy").hamiltonian.on_pattern(mini_graphene.H.pairs, mini_graphene.H.shapes)
    assert np.allclose(H.entries, mini_graphene.H.entries, atol=1e-9)


@pytest.mark.parametrize("name", ["POSCAR", "graphene.cif", "graphene.xyz"])
def test_structure_files_are_systems(tmp_path, name):
    atoms = ase.build.graphene(vacuum=5)
    atoms.pbc = True
    atoms.write(tmp_path / name, format={"POSCAR": "vasp", "graphene.cif": "cif", "graphene.xyz": "extxyz"}[name])
    system = deeph.read(tmp_path / name)
    assert isinstance(system, System)
    assert system.formula == "C2"
    assert np.allclose(system.cell.diagonal(), atoms.cell[:].diagonal())


def test_atoms_keep_their_positions_and_missing_vectors_cross_empty_space():
    """ASE's layers and molecules have no third lattice vector, or none at all."""
    for atoms in (ase.build.graphene(), ase.build.molecule("H2O"), ase.build.nanotube(4, 0, vacuum=None)):
        system = deeph.read(atoms)
        given = np.asarray(atoms.cell).any(axis=1)
        assert np.array_equal(system.positions, atoms.positions)
        assert np.allclose(system.cell[given], np.asarray(atoms.cell)[given])
        assert (np.linalg.norm(system.cell[~given], axis=1) >= 20).all()
        assert system.pbc == tuple(atoms.pbc)
    atoms.pbc = True
    with pytest.raises(DeephError, match="zero but periodic"):
        deeph.read(atoms)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("absent", "there is no absent"),
        (3, "int is no structure"),
        (None, "NoneType is no structure"),
        (str(ROOT / "docs"), "POSCAR, info.json"),
    ],
)
def test_what_cannot_be_read_says_what_could(x, words):
    with pytest.raises(DeephError, match=words):
        deeph.read(x)


def test_a_run_that_crashed_is_named(tmp_path):
    (tmp_path / "md.dat").write_text("<Atoms.SpeciesAndCoordinates\n", encoding="utf-8")
    with pytest.raises(DeephError, match=r"no \.scfout"):
        deeph.read(tmp_path)


def test_pymatgen_structures_are_told_the_way():
    class Structure:
        def to_ase_atoms(self):
            return ase.build.graphene()

    with pytest.raises(DeephError, match=r"to_ase_atoms\(\)"):
        deeph.read(Structure())


def test_overlap_of_anything(tmp_path, pao):
    """A file, Atoms, a System and a Hamiltonian give the same S, atoms in the order given."""
    atoms = ase.build.molecule("C2H4", vacuum=6)  # C C H H H H
    atoms = atoms[[2, 0, 3, 1, 4, 5]]
    atoms.write(tmp_path / "c2h4.xyz", format="extxyz")
    S = deeph.overlap(atoms, basis=pao)
    assert isinstance(S, Hamiltonian)
    assert S.H is None
    assert S.n_electrons == 12
    assert S.system.symbols == ["H", "C", "H", "C", "H", "H"]
    for x in (tmp_path / "c2h4.xyz", deeph.read(atoms), S):
        again = deeph.overlap(x, basis=list(pao.values()))
        assert np.array_equal(again.S.pairs, S.S.pairs)
        assert np.allclose(again.S.entries, S.S.entries, atol=1e-7)
    assert np.linalg.eigvalsh(S.S_bloch.dense([0, 0, 0])).min() > 0


def test_one_file_is_enough_for_one_element_and_a_wrong_one_is_refused(pao):
    graphene = ase.build.graphene()
    assert deeph.overlap(graphene, basis=pao["C"]).n_orbitals == 26
    with pytest.raises(DeephError, match="no orbitals for H"):
        deeph.overlap(ase.build.molecule("CH4"), basis=pao["C"])
    with pytest.raises(DeephError, match="no basis for C"):
        deeph.overlap(graphene, basis={"H": pao["H"]})
    with pytest.raises(DeephError, match="orbitals of H, but the structure holds C"):
        deeph.overlap(graphene, basis=[pao["C"], pao["H"]])
    with pytest.raises(DeephError, match="orbitals of H"):
        deeph.overlap(graphene, basis={"C": pao["H"]})


def test_overlap_is_that_of_openmx(shared_data):
    run = shared_data / "openmx" / "bilayer_ab"
    data = deeph.read(run)
    S = deeph.overlap(data.system.to_ase(), basis=f"{shared_data}/openmx/PAO/C6.0.pao:s2p2d1")
    assert np.abs(S.S.on_pattern(data.S.pairs, data.S.shapes).entries - data.S.entries).max() < 2e-5
