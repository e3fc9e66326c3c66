"""Every kind of PySCF calculation against PySCF's own eigenvalues, integrals and populations."""

import numpy as np
import pytest
from harmonics import rotation_of_atom, rotation_to_z
from scipy.linalg import eigh

from deeph.files.store import read_folder, write_folder
from deeph.physics.conventions import atom_order
from deeph.physics.pairs import is_onsite, neighbour_pairs
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError
from preprocess.readers import detect
from preprocess.readers.pyscf import reader as pyscf
from preprocess.readers.pyscf import run as pyscf_run
from preprocess.verify import eigenvalues, verify

WATER = "O 0.11 0.24 0.45; H 0.66 0.11 -0.42; H -0.61 -0.06 0.16"
gto, dft, scf = (pytest.importorskip(f"pyscf.{name}") for name in ("gto", "dft", "scf"))


def molecule(atom=WATER, basis="sto-3g", **options):
    return gto.M(atom=atom, basis=basis, verbose=0, **options)


def converged(kind, mol, xc="pbe", **options):
    mf = getattr(dft, kind)(mol, xc=xc) if kind.endswith("KS") else getattr(scf, kind)(mol)
    for name, value in options.items():
        setattr(mf, name, value)
    return mf.run(conv_tol=1e-11)


def assert_bands(data, mf, accuracy=1e-4):
    """The eigenvalues at the k points of the run are PySCF's, in eV."""
    run = pyscf_run.collect_run(mf)
    reference = pyscf.bands_of(run)
    assert np.allclose(np.sort(np.ravel(mf.mo_energy)) * PYSCF.hartree, np.sort(reference.energies.ravel()), atol=1e-12)
    assert np.abs(eigenvalues(data, reference.k) - reference.energies).max() < accuracy
    verify(data, "bands", reference)


@pytest.mark.parametrize(
    ("kind", "xc", "spin"),
    [
        ("RHF", "", "none"), ("RKS", "pbe", "none"), ("RKS", "hse06", "none"), ("RKS", "pbe0", "none"),
        ("UHF", "", "collinear"), ("UKS", "b3lyp", "collinear"), ("GHF", "", "spinor"), ("GKS", "lda,vwn", "spinor"),
    ],
)  # fmt: skip
def test_molecule(tmp_path, kind, xc, spin):
    """Water, ionized where spin is open: levels, electrons, round trip through a structure folder."""
    open_shell = spin != "none"
    mol = molecule(spin=1, charge=1) if open_shell else molecule()
    mf = converged(kind, mol, xc)
    data = pyscf.hamiltonian_from_pyscf(mf, zeroth=True)
    assert data.basis.spin == spin
    assert_bands(data, mf)
    assert data.H.n_pairs == data.system.n_atoms**2
    assert not data.H.pairs[:, :3].any()
    assert data.n_electrons == mol.nelectron
    assert data.source["total_energy_eV"] == pytest.approx(mf.e_tot * PYSCF.hartree)
    assert np.allclose(data.system.positions, mol.atom_coords() * PYSCF.bohr, atol=1e-12)  # neither moved nor turned
    write_folder(tmp_path / "folder", data)
    back = read_folder(tmp_path / "folder", positions=True, extra=True)
    for before, after in ((data.H, back.H), (data.S, back.S), (data.r, back.r), (data.extra["H0"], back.extra["H0"])):
        assert np.array_equal(before.entries, after.entries)
    assert np.array_equal(back.moments, data.moments) if open_shell else back.moments is None


def test_images_of_a_molecule_do_not_interact():
    """The structure folder knows no missing directions: read as a crystal, no pair leaves the box."""
    data = pyscf.hamiltonian_from_pyscf(converged("RHF", molecule()))
    radii = {z: data.source["orbital_radii"][s] for z, s in zip(data.system.numbers.tolist(), data.system.symbols, strict=True)}
    crystal = type(data.system)(data.system.cell, data.system.positions, data.system.numbers)
    assert np.array_equal(np.unique(neighbour_pairs(crystal, radii), axis=0), np.unique(data.H.pairs, axis=0))


def test_triplet_oxygen_has_two_unpaired_electrons():
    mol = molecule("O 0 0 0; O 0.2 0.5 1.1", spin=2)
    data = pyscf.hamiltonian_from_pyscf(converged("UHF", mol))
    assert np.allclose(data.moments, [[0, 0, 1], [0, 0, 1]], atol=1e-6)
    assert data.source["moments"] == "Mulliken"


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.3, -0.5, 0.8)])
def test_spinors_turn_with_their_moment(axis):
    """A collinear density turned as a spinor: same levels, moment along the axis; a complex H for every axis with a y component."""
    mol = molecule("O 0 0 0; H 0.3 0.5 0.77", spin=1)
    up = converged("UHF", mol)
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    theta, phi = np.arccos(z), np.arctan2(y, x)
    U = np.array([[np.cos(theta / 2), -np.exp(-1j * phi) * np.sin(theta / 2)], [np.exp(1j * phi) * np.sin(theta / 2), np.cos(theta / 2)]])
    start = sum(np.kron(np.outer(U[:, s], U[:, s].conj()), D) for s, D in enumerate(up.make_rdm1()))
    mf = scf.GHF(mol)
    mf.kernel(dm0=start)
    mf.conv_tol = 1e-11
    mf.kernel(dm0=mf.make_rdm1())
    assert mf.e_tot == pytest.approx(up.e_tot, abs=1e-8)
    data = pyscf.hamiltonian_from_pyscf(mf)
    assert_bands(data, mf)
    assert np.allclose(data.moments.sum(0), np.array([x, y, z]) * up.spin_square()[0] ** 0.5 / 0.75**0.5, atol=0.02)
    moments = pyscf.hamiltonian_from_pyscf(up).moments
    assert np.allclose(data.moments, moments[:, 2:] * np.array([x, y, z]), atol=1e-5)
    uu, ud, du, dd = (data.H.block((0, 0, 0, 0, 1))[0][i : i + 5, j : j + 1] for i in (0, 5) for j in (0, 1))
    field = np.array([ud + du, 1j * (ud - du), uu - dd])[:, 0, 0]  # exchange splitting of the O 1s - H 1s block
    assert np.allclose(field / np.linalg.norm(field) * np.sign(field.real @ [x, y, z]), [x, y, z], atol=1e-4)


def test_spin_orbit_of_an_effective_core(tmp_path):
    """GKS with the spin-orbit part of an effective core potential: complex blocks, p levels of iodine split as PySCF says."""
    mol = molecule("H 0 0 0; I 0.3 0.4 1.5", basis={"H": "sto-3g", "I": "crenbl"}, ecp={"I": "crenbl"})
    mf = converged("GKS", mol, "lda,vwn", with_soc=True)
    data = pyscf.hamiltonian_from_pyscf(mf)
    assert np.abs(data.H.entries.imag).max() > 0.05
    assert_bands(data, mf)
    without = converged("GKS", mol, "lda,vwn")
    assert np.abs(np.array(mf.mo_energy) - without.mo_energy).max() * PYSCF.hartree > 0.1


def test_positions_and_overlap_are_the_integrals_of_pyscf():
    """All shells up to h; one of them wrongly ordered would be off by more than 0.01 Angstrom."""
    shells = [[l, [0.9 + 0.1 * l, 1.0]] for l in range(6)]
    mol = molecule("N 0.1 0.2 0.3; C 0.9 -0.4 1.1", basis={"N": shells, "C": shells[:3]}, spin=1)
    mf = converged("UHF", mol, max_cycle=500, level_shift=0.5)
    data = pyscf.hamiltonian_from_pyscf(mf)
    numbers = data.system.numbers.tolist()
    order = [atom_order("pyscf", data.basis.shells[z]) for z in numbers]
    start = mol.aoslice_by_atom()[:, 2]
    r, S = mol.intor("int1e_r") * PYSCF.bohr, mol.intor("int1e_ovlp")
    for i in (0, 1):
        for j in (0, 1):
            where = np.ix_(start[i] + order[i], start[j] + order[j])
            assert np.allclose(data.r.block((0, 0, 0, i, j)), [x[where] for x in r], atol=1e-12)
            assert np.allclose(data.S.block((0, 0, 0, i, j))[0], S[where], atol=1e-12)


def test_water_turned_by_any_rotation():
    rotation = rotation_to_z(np.array([0.3, -1.0, 0.7]))
    atoms = [a.split() for a in WATER.split(";")]
    turned = [(a[0], (rotation @ np.array(a[1:], float)).tolist()) for a in atoms]
    first, second = (pyscf.hamiltonian_from_pyscf(converged("RHF", molecule(a, "cc-pvdz")), zeroth=True) for a in (WATER, turned))
    D = [rotation_of_atom(rotation, first.basis.shells[z]) for z in first.system.numbers.tolist()]
    for before, after in ((first.H, second.H), (first.S, second.S), (first.extra["H0"], second.extra["H0"])):
        for _, _, _, i, j in before.pairs.tolist():
            assert np.allclose(D[i] @ before.block((0, 0, 0, i, j))[0] @ D[j].T, after.block((0, 0, 0, i, j))[0], atol=1e-5)
    for _, _, _, i, j in first.r.pairs.tolist():
        expected = np.einsum("xy,yab->xab", rotation, D[i] @ first.r.block((0, 0, 0, i, j)) @ D[j].T)
        assert np.allclose(expected, second.r.block((0, 0, 0, i, j)), atol=1e-10)


@pytest.mark.parametrize("kind", ["RKS", "UKS", "GKS"])
def test_zeroth_hamiltonian_is_that_of_the_atoms(kind):
    """H0 of two atoms far apart is H of each atom: He is spherical and closed, so its own density is the superposition."""
    mf = converged(kind, molecule("He 0 0 0; He 0 0 9", basis="6-31g"), "pbe")
    data = pyscf.hamiltonian_from_pyscf(mf, zeroth=True)
    # the atomic densities are those of Hartree-Fock: close to, not equal to those of PBE
    assert np.abs(data.extra["H0"].entries - data.H.entries).max() < 0.3
    hf = pyscf.hamiltonian_from_pyscf(converged(kind[0] + "HF", mf.mol), zeroth=True)
    assert np.abs(hf.extra["H0"].entries - hf.H.entries).max() < 1e-4
    assert is_onsite(data.H.pairs).sum() == 2


def test_restricted_open_shells_are_explained():
    mol = molecule("O 0 0 0; H 0.3 0.5 0.77", spin=1)
    for kind in ("ROHF", "ROKS"):
        with pytest.raises(DataError, match="use the unrestricted method"):
            pyscf.hamiltonian_from_pyscf(converged(kind, mol))


def test_a_dependent_basis_is_explained():
    mol = molecule("He 0 0 0; He 0 0 0.4", basis=[[0, [1.0, 1.0]], [0, [1.0000001, 1.0]]])
    mf = scf.addons.remove_linear_dep(scf.RHF(mol)).run()
    with pytest.raises(DataError, match="linearly dependent"):
        pyscf.hamiltonian_from_pyscf(mf)


@pytest.mark.parametrize("change", ["ddCOSMO", "x2c", "density_fit", "newton"])
def test_extensions_of_pyscf_are_in_the_fock_matrix(change):
    """A solvent, scalar relativity, fitted integrals, another solver: the levels are still those of the run."""
    mf = dft.RKS(molecule(), xc="pbe")
    mf = getattr(mf, change)().run(conv_tol=1e-11)
    assert_bands(pyscf.hamiltonian_from_pyscf(mf), mf)


def test_symmetry_does_not_turn_the_molecule():
    mf = converged("RHF", molecule(symmetry=True))
    assert_bands(pyscf.hamiltonian_from_pyscf(mf), mf)


# ---------------------------------------------------------------- periodic


def chain(atom="H 0 0 0; H 0.1 0 0.9", height=4.0, width=9.0, **options):
    cells = pytest.importorskip("pyscf.pbc.gto")
    options = {"basis": "gth-szv", "pseudo": "gth-pbe", "ke_cutoff": 30.0, "precision": 1e-8} | options
    return cells.M(a=np.diag([width, width, height]), atom=atom, unit="A", verbose=0, **options)


@pytest.mark.parametrize(("kind", "xc"), [("KRHF", None), ("KRKS", "hse06"), ("KUKS", "pbe0"), ("KGHF", None), ("KGKS", "lda,vwn")])
def test_crystal(kind, xc):
    from pyscf.pbc import dft as kdft
    from pyscf.pbc import scf as kscf

    cell = chain()
    k = cell.make_kpts([1, 1, 4])
    mf = (getattr(kdft, kind)(cell, k, xc=xc) if xc else getattr(kscf, kind)(cell, k)).run(conv_tol=1e-10)
    data = pyscf.hamiltonian_from_pyscf(mf, zeroth=True)
    assert_bands(data, mf, 1e-3)
    off = ~is_onsite(data.H.pairs)
    assert off.any()
    size = np.abs(data.H.entries).max()
    assert np.abs(data.extra["H0"].entries - data.H.entries).max() < 0.5 * size


@pytest.mark.parametrize("kind", ["RHF", "RKS", "UKS", "GHF"])
def test_gamma_point(kind):
    """A cell wide enough at Gamma alone: the levels are PySCF's; with smaller cells H at other k is asked for."""
    from pyscf.pbc import dft as kdft
    from pyscf.pbc import scf as kscf

    cell = chain(width=9.0, height=9.0)
    mf = (getattr(kdft, kind)(cell, xc="pbe").multigrid_numint() if "KS" in kind else getattr(kscf, kind)(cell)).run(conv_tol=1e-10)
    data = pyscf.hamiltonian_from_pyscf(mf, zeroth=True)
    assert_bands(data, mf)
    assert data.source["k_grid"] == [1, 1, 1]


def test_gamma_point_of_a_small_cell():
    from pyscf.pbc import dft as kdft

    cell = chain()
    data = pyscf.hamiltonian_from_pyscf(mf := kdft.RKS(cell, xc="pbe").run(conv_tol=1e-10))
    assert data.source["mesh"][2] > 1
    assert_bands(data, mf, 1e-3)
    with pytest.raises(DataError, match="use KRKS"):
        pyscf.hamiltonian_from_pyscf(kdft.RKS(cell, xc="pbe").multigrid_numint().run(conv_tol=1e-10))


def test_positions_of_a_crystal_are_those_of_a_cluster():
    """<0, 0| r |1, R> from the molecular integrals of the two atoms where they are, which know no lattice."""
    from pyscf.pbc import dft as kdft

    cell = chain("Li 0.2 0.3 0.1; H 0.4 0.1 1.9", basis="gth-szv", height=4.0, width=14.0)
    mf = kdft.KRKS(cell, cell.make_kpts([1, 1, 2]), xc="lda,vwn").multigrid_numint().run(conv_tol=1e-8)
    data = pyscf.hamiltonian_from_pyscf(mf)
    order = {3: atom_order("pyscf", data.basis.shells[3]), 1: atom_order("pyscf", data.basis.shells[1])}
    for R in ((0, 0, 0), (0, 0, 1), (0, 0, -2)):
        away = data.system.positions[1] + np.array(R) @ data.system.cell
        atoms = [("Li", data.system.positions[0].tolist()), ("H", away.tolist())]
        pair = gto.M(atom=atoms, unit="A", basis="gth-szv", pseudo="gth-pbe", verbose=0)
        n = len(order[3])
        expected = pair.intor("int1e_r")[:, :n, n:][:, order[3]][:, :, order[1]] * PYSCF.bohr
        assert np.allclose(data.r.block((*R, 0, 1)), expected, atol=1e-10)
        opposite = data.r.block((*(-x for x in R), 1, 0)).swapaxes(1, 2)
        shift = (np.array(R) @ data.system.cell)[:, None, None] * data.S.block((*R, 0, 1))
        assert np.allclose(opposite, expected - shift, atol=1e-5)


def test_smeared_occupations_give_level_and_temperature():
    from pyscf.pbc import dft as kdft
    from pyscf.pbc.scf.addons import smearing_

    cell = chain("H 0 0 0; H 0 0 1.6", height=3.2)
    mf = kdft.KRKS(cell, cell.make_kpts([1, 1, 4]), xc="lda,vwn").multigrid_numint()
    mf = smearing_(mf, sigma=0.02, method="fermi").run(conv_tol=1e-9)
    data = pyscf.hamiltonian_from_pyscf(mf)
    assert data.source["electronic_temperature_K"] == pytest.approx(0.02 * 315775.02, rel=1e-5)
    assert "2 electrons to" in verify(data, "basic")


def test_the_eigenvalues_see_a_wrong_matrix():
    """The comparison is not empty: another energy zero, or p in the wrong order, is refused."""
    mf = converged("RHF", molecule())
    run = pyscf_run.collect_run(mf)
    shifted = pyscf.to_hamiltonian(run._replace(H=run.H + 1e-3 * run.S))
    with pytest.raises(DataError, match="differ"):
        verify(shifted, "bands", pyscf.bands_of(run))
    swapped = run.H.copy()
    swapped[..., [2, 3], :] = run.H[..., [3, 2], :]
    with pytest.raises(DataError):
        verify(pyscf.to_hamiltonian(run._replace(H=swapped)), "bands", pyscf.bands_of(run))


# ---------------------------------------------------------------- the sample of another project


def test_water_of_the_peers_is_reproduced(shared_data):
    """B3LYP in cc-pVDZ at the positions of its POSCAR, found by trying functionals; S and H up to the constants of that conversion."""
    theirs = read_folder(shared_data / "peers" / "pyscf" / "H2O-converted")
    atoms = list(zip(theirs.system.symbols, theirs.system.positions.tolist(), strict=True))
    mf = dft.RKS(gto.M(atom=atoms, basis="cc-pvdz", verbose=0), xc="b3lyp").run(conv_tol=1e-11)
    ours = pyscf.hamiltonian_from_pyscf(mf)
    H, S = (theirs.H_bloch.dense(np.zeros(3)).real, theirs.S_bloch.dense(np.zeros(3)).real)
    assert np.abs(eigh(H, S, eigvals_only=True) - np.array(mf.mo_energy) * PYSCF.hartree).max() < 1e-4
    assert np.abs(ours.S.on_pattern(theirs.S.pairs, theirs.S.shapes).entries - theirs.S.entries).max() < 1e-12
    assert np.abs(ours.H.on_pattern(theirs.H.pairs, theirs.H.shapes).entries - theirs.H.entries).max() < 1e-4
    assert theirs.basis.shells == ours.basis.shells


def test_rotated_water_of_the_peers_is_covariant(shared_data):
    """Four orientations of one molecule: read, turned into each other with our order of the orbitals, equal to the noise of that data."""
    from scipy.spatial.transform import Rotation

    folders = [shared_data / "peers" / "deeph-new" / "H2O-rotated" / str(n) for n in range(4)]
    first, *others = (detect(folder).read(folder) for folder in folders)
    for other in others:
        arms, turned = (d.system.positions[1:] - d.system.positions[0] for d in (first, other))
        rotation = Rotation.align_vectors([*turned, np.cross(*turned)], [*arms, np.cross(*arms)])[0].as_matrix()
        D = [rotation_of_atom(rotation, first.basis.shells[z]) for z in first.system.numbers.tolist()]
        for before, after, tolerance in ((first.S, other.S, 1e-5), (first.H, other.H, 1e-3)):
            for pair in before.pairs.tolist():
                assert np.allclose(D[pair[3]] @ before.block(pair)[0] @ D[pair[4]].T, after.block(pair)[0], atol=tolerance)


@pytest.mark.parametrize("kind", ["UHF", "GHF"])
def test_run_file_of_a_molecule(tmp_path, kind):
    """Through the run file and deeph-preprocess's reader: the same as from the object."""
    mf = converged(kind, molecule(spin=1, charge=1))
    pyscf_run.save_run(mf, tmp_path, zeroth=True)
    direct, stored = pyscf.hamiltonian_from_pyscf(mf, zeroth=True), detect(tmp_path).read(tmp_path)
    for one, two in ((direct.H, stored.H), (direct.r, stored.r), (direct.extra["H0"], stored.extra["H0"])):
        assert np.array_equal(one.entries, two.entries)
    assert np.array_equal(direct.moments, stored.moments)
    assert stored.system.pbc == (False, False, False)
    verify(stored, "bands", detect(tmp_path).bands(tmp_path, stored.system))
