"""The calls of Python users: whatever a physicist has at hand is read, and becomes an overlap."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
import torch
from conftest import ROOT
from facade_case import carbon_file, carbon_model
from openmx_files import unpack_run
from pao_files import write_pao
from scipy.linalg import eigh
from stored_model import unpack

import deeph
from deeph import DeephError, Hamiltonian, System, inference
from postprocess.bands.bands import compute_bands
from postprocess.eigen.solver import compute_levels
from postprocess.lattice.kpath import make_kpath
from postprocess.states.states import States


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


@pytest.fixture(scope="module")
def carbon(tmp_path_factory):
    """A model and the basis file of its data."""
    folder = tmp_path_factory.mktemp("carbon")
    basis = carbon_file(folder)
    return deeph.load_model(carbon_model(folder / "model", basis)), basis


def graphene():
    return ase.build.graphene(vacuum=10)


def test_a_prediction_from_atoms_and_a_basis_file(carbon):
    """The same H from every way to say it, equal to that of the file-to-file prediction."""
    model, basis = carbon
    h = model.predict(graphene(), basis=basis)
    assert (h.predicted, h.n_electrons, h.fermi_energy) == (True, 8, None)
    S = deeph.overlap(graphene(), basis=basis)
    assert np.array_equal(h.S.entries, S.S.entries)
    for again in (
        model.predict(S),
        model.predict(graphene(), overlap=S),
        model.predict(h),
        model.predict(deeph.read(graphene()), None, basis),
    ):
        assert np.array_equal(again.hamiltonian.entries, h.hamiltonian.entries)
    assert np.array_equal(inference.predict(model, S).hamiltonian.entries, h.hamiltonian.entries)


def test_a_prediction_keeps_the_order_of_the_atoms(tmp_path):
    """The overlap comes from a folder, which sorts atoms by element; S and H follow the Atoms that were asked about."""
    path, structures = unpack(tmp_path / "model")
    hbn = replace(structures["hbn"], H=None)
    mixed = hbn.permuted(np.arange(hbn.system.n_atoms)[::-1])
    hbn.save(tmp_path / "overlap")
    model = deeph.load_model(path)
    stored = deeph.read(tmp_path / "overlap")
    assert stored.system.symbols != mixed.system.symbols
    h = model.predict(mixed.system.to_ase(), overlap=tmp_path / "overlap")
    assert h.system.symbols == mixed.system.symbols
    direct = model.predict(mixed)
    assert np.allclose(h.S.on_pattern(mixed.S.pairs, mixed.S.shapes).entries, mixed.S.entries)
    assert np.allclose(h.H.on_pattern(direct.H.pairs, direct.H.shapes).entries, direct.H.entries, atol=1e-5)


def test_a_prediction_with_the_wrong_overlap_is_refused(carbon):
    model, basis = carbon
    S = deeph.overlap(graphene(), basis=basis)
    with pytest.raises(DeephError, match="has no overlap matrix: give basis="):
        model.predict(graphene())
    with pytest.raises(DeephError, match="both overlap and basis"):
        model.predict(graphene(), S, basis)
    with pytest.raises(DeephError, match="given as overlap has no overlap"):
        model.predict(graphene(), graphene())
    moved, wider, other = graphene(), graphene(), graphene()
    moved.positions[1, 2] += 0.1
    wider.set_cell(wider.cell * 1.01)
    other.numbers[0] = 7
    for atoms, words in (
        (moved, "atom 1, C at"),
        (wider, "lattice vectors differ"),
        (other, "atom 0, N at"),
        (graphene() * (2, 1, 1), "differ"),
    ):
        with pytest.raises(DeephError, match=f"another structure: .*{words}"):
            model.predict(atoms, overlap=S)
    with pytest.raises(DeephError, match="no orbitals for N"):
        model.predict(other, basis=basis)
    if not torch.cuda.is_available():
        with pytest.raises(DeephError, match="torch sees no GPU"):
            model.predict(graphene(), basis=basis, device="cuda")


def test_methods_are_the_functions_of_postprocess(mini_graphene, tmp_path):
    bands = mini_graphene.bands("GMKG", points=20)
    reference = compute_bands(mini_graphene, make_kpath(mini_graphene, "GMKG", n_points=20))
    assert np.array_equal(bands.energies, reference.energies)
    assert bands.fermi_energy == mini_graphene.fermi_energy
    assert mini_graphene.bands(reference.path).energies.shape == reference.energies.shape
    assert mini_graphene.bands().path.labels == ("G", "M", "K", "G")
    (tmp_path / "K_PATH").write_text("5 0 0 0 0.5 0 0 G M\n", encoding="utf-8")
    assert mini_graphene.bands(tmp_path / "K_PATH").path.labels == ("G", "M")
    dos = mini_graphene.dos((-3, 3), mesh=(6, 6, 1), projections=["element"])
    assert dos.names == ("total", "C")
    smeared = mini_graphene.dos((-3, 3), mesh=(6, 6, 1), width=0.3)
    assert "0.3 eV" in smeared.method
    assert smeared.counts[0, 0, -1] == pytest.approx(dos.counts[0, 0, -1], rel=0.2)


@pytest.mark.parametrize(("around", "center"), [("fermi", None), (-10.0, -10.0)])
def test_some_bands_nearest_an_energy(mini_graphene, around, center):
    center = mini_graphene.fermi_energy if center is None else center
    some = mini_graphene.bands("GMK", 3, around, points=9)
    every = mini_graphene.bands("GMK", points=9)
    nearest = np.sort(np.take_along_axis(every.energies, np.argsort(np.abs(every.energies - center), axis=2)[..., :3], axis=2), axis=2)
    assert np.allclose(np.sort(some.energies[np.isfinite(some.energies)]), np.sort(nearest.ravel()), atol=1e-9)


def test_eigenvalues_at_any_k(mini_graphene):
    k = np.random.default_rng(0).normal(size=(2, 3, 3))
    found = mini_graphene.eigenvalues(k)
    assert found.shape == (2, 3, 8)
    expected = eigh(mini_graphene.H_bloch.dense(k[1, 2]), mini_graphene.S_bloch.dense(k[1, 2]), eigvals_only=True)
    assert np.allclose(found[1, 2], expected, atol=1e-10)
    assert np.allclose(mini_graphene.eigenvalues("K"), mini_graphene.eigenvalues([1 / 3, 1 / 3, 0]))
    up_and_down = mini_graphene.to_spinor().eigenvalues([0, 0, 0])
    assert np.allclose(up_and_down, np.repeat(mini_graphene.eigenvalues([0, 0, 0]), 2))
    for wrong in ("Q", [0, 0], [[0, 0, np.nan]], [["a", 0, 0]]):
        with pytest.raises(DeephError, match="k"):
            mini_graphene.eigenvalues(wrong)


def test_paths_of_ase_and_what_is_no_path(mini_graphene):
    atoms = mini_graphene.system.to_ase()
    theirs = atoms.cell.bandpath("GMK,KG", npoints=30, pbc=(True, True, False))
    bands = mini_graphene.bands(theirs)
    assert bands.path.labels == ("G", "M", "K", "G")
    assert len(bands.path.k) == 30
    assert np.allclose(bands.path.k[bands.path.bounds[2] - 1], theirs.special_points["K"])
    for call in (
        lambda: mini_graphene.bands([[0, 0, 0]]),
        lambda: mini_graphene.bands(fermi="vbm"),
        lambda: mini_graphene.dos(fermi=np.nan),
    ):
        with pytest.raises(DeephError, match="expected"):
            call()
    assert set(mini_graphene.bands("GM", points=3, projections="element, shell").weights) == {"C", "C s", "C p"}


def test_large_cells_are_told_what_to_do(mini_graphene, monkeypatch):
    monkeypatch.setattr("postprocess.eigen.selection.DENSE_LARGEST", 7)
    with pytest.raises(DeephError, match=r"n_bands=30"):
        mini_graphene.bands("GK")
    with pytest.raises(DeephError, match="too many for dense"):
        mini_graphene.eigenvalues([0, 0, 0])
    assert (np.isfinite(mini_graphene.bands("GK", n_bands=2, points=3).energies).sum(axis=2) == 2).all()
    monkeypatch.setattr("postprocess.eigen.selection.DENSE_LIMIT", 7)
    assert "kernel polynomials" in mini_graphene.dos(width=1.0).method


def test_an_overlap_alone_has_no_spectrum(mini_graphene):
    S = replace(mini_graphene, H=None, extra={})
    for call in (S.bands, S.dos, lambda: S.eigenvalues("K"), lambda: S.with_potential(1.0)):
        with pytest.raises(DeephError, match="only the overlap"):
            call()
    assert S.cut("b", 2).H is None


def test_figures_and_tables_by_their_suffix(mini_graphene, tmp_path):
    bands = mini_graphene.bands("GMK", points=6)
    fat = mini_graphene.bands("GMK", points=6, projections=["shell"])
    dos = mini_graphene.dos((-3, 3), mesh=(6, 6, 1))
    for result in (bands, fat, dos):
        for suffix in ("png", "svg", "csv", "h5"):
            result.save(tmp_path / f"x.{suffix}")
            assert (tmp_path / f"x.{suffix}").stat().st_size > 100
        with pytest.raises(DeephError, match="expected"):
            result.save(tmp_path / "x.docx")
        with pytest.raises(DeephError, match="do not go into a table"):
            result.save(tmp_path / "x.csv", window=(-1, 1))
    svg = [(result.save(tmp_path / "y.svg"), (tmp_path / "y.svg").read_text(encoding="utf-8"))[1] for result in (bands, fat)]
    assert "C p" in svg[1]
    assert "C p" not in svg[0]


def test_saving_is_reading_back(mini_graphene, tmp_path):
    mini_graphene.save(str(tmp_path / "new" / "folder"))
    with pytest.raises(DeephError, match="exists"):
        mini_graphene.save(tmp_path / "new" / "folder")
    replace(mini_graphene, fermi_energy=1.0).save(tmp_path / "new" / "folder", overwrite=True)
    assert deeph.read(tmp_path / "new" / "folder").fermi_energy == 1.0


def test_every_object_says_in_one_line_what_it_is(mini_graphene, carbon, tmp_path):
    h = mini_graphene
    assert repr(h) == "Hamiltonian C2, 8 orbitals, spin none, S + H + r + density_matrix"
    assert repr(replace(h, H=None, r=None, extra={}).to_spinor()) == "Hamiltonian C2, 8 orbitals, spin spinor, S"
    assert repr(carbon[0].predict(graphene(), basis=carbon[1])) == "Hamiltonian C2, 26 orbitals, spin none, S + H, predicted"
    assert repr(h.system) == "System C2, 2 atoms"
    assert repr(h.basis) == "Basis C s1p1, spin none"
    assert repr(deeph.Basis({14: (1, 0, 0, 2)}, "collinear")) == "Basis Si p1s2d1, spin collinear"
    assert repr(h.S) == f"PairBlocks {h.S.n_pairs} pairs, {16 * h.S.n_pairs} float64 entries"
    assert repr(h.r) == f"PairBlocks 3 matrices of {h.S.n_pairs} pairs, {16 * h.S.n_pairs} float64 entries"
    assert repr(carbon[0]).startswith("HamiltonianModel for C s2p2d1, spin none, ")
    assert repr(h.bands("GMKG", points=9)).startswith("Bands C2, G-M-K-G, 9 k-points, 8 bands, E_F ")
    assert repr(h.dos((-3, 3), mesh=(6, 6, 1))).endswith("triangles, 6 x 6 x 1 mesh")
    states = States(h, np.zeros(3), 0, compute_levels(h, np.zeros(3)))
    assert repr(states).startswith("States C2, k = (0, 0, 0), 8 levels from ")
    h.save(tmp_path / "data" / "a")
    assert repr(deeph.open_dataset(tmp_path / "data")) == f"Dataset {tmp_path / 'data'}, 1 structure"
    for each in (h, h.system, h.basis, h.S, carbon[0], states):
        assert "\n" not in repr(each)
        assert len(repr(each)) < 120
