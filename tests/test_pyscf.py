"""The PySCF reader against PySCF's own eigenvalues and integrals."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from harmonics import rotation_of_atom, rotation_to_z
from hypothesis import given, settings
from hypothesis import strategies as st

import deeph
from deeph.physics.pairs import find_pairs
from deeph.physics.units import PYSCF
from deeph.runtime.errors import DataError
from preprocess.readers import detect
from preprocess.readers.pyscf import reader as pyscf
from preprocess.readers.pyscf import run as pyscf_run
from preprocess.readers.pyscf.kmesh import aliased_pairs, blocks_from_mesh, mesh_points, smallest_mesh
from preprocess.verify import eigenvalues, verify

RUN = ROOT / "tests" / "data" / "pyscf_hbn"
"""One displaced cell of boron nitride as in examples/hbn_displaced.toml: 2 atoms, 3 x 3 k points."""


@pytest.fixture(scope="module")
def hbn():
    return pyscf.read(RUN)


def rewritten(tmp_path, **changes):
    """The run with other arrays."""
    with np.load(RUN / pyscf_run.RUN_FILE) as file:
        np.savez(tmp_path / pyscf_run.RUN_FILE, **({name: file[name] for name in file.files} | changes))
    return tmp_path


def test_bands_are_those_of_the_self_consistent_run(hbn):
    reference = detect(RUN).bands(RUN, hbn.system)
    error = eigenvalues(hbn, reference.k) - reference.energies
    assert reference.energies.shape == (1, 9, 8)
    assert np.abs(error).max() < 1e-4
    assert "bands" in verify(hbn, "bands", reference)


def test_content(hbn):
    assert hbn.system.formula == "BN"
    assert hbn.basis.to_symbols() == {"B": [0, 1], "N": [0, 1]}
    assert hbn.n_electrons == 8
    assert hbn.H.hermiticity_error() < 1e-14
    assert hbn.source["k_grid"] == [3, 3, 1]
    assert hbn.source["largest_dropped_H_eV"] < 1e-4
    assert np.allclose(np.diag(hbn.S.block((0, 0, 0, 0, 0))[0]), 1, atol=1e-7)


def test_constants_are_those_of_pyscf(hbn):
    """The cell comes back in the Angstrom it was given in."""
    nist = pytest.importorskip("pyscf.data.nist")
    assert (PYSCF.hartree, PYSCF.bohr) == (nist.HARTREE2EV, nist.BOHR)
    assert np.allclose(np.linalg.norm(hbn.system.cell, axis=1), [2.5, 2.5, 12.0], atol=1e-12)


def test_command_line(tmp_path):
    command = [sys.executable, "-m", "preprocess.cli.preprocess", RUN.parent / RUN.name, tmp_path / "out", "--verify", "bands"]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert "1 ok, 0 failed" in out.stdout
    assert deeph.read_folder(tmp_path / "out" / RUN.name).source["code"] == "PySCF"


@pytest.mark.parametrize("basis", ["gth-dzvp", "gth-szv"])
def test_matrices_rotate_with_the_structure(basis):
    """S and the kinetic energy of a rotated crystal are the rotated ones: d and p shells, two contractions."""
    rotation = rotation_to_z(np.array([0.3, -1.0, 0.7]))
    cells = [np.diag([7.0, 8.0, 9.0]), np.diag([7.0, 8.0, 9.0]) @ rotation.T]
    positions = [np.array([[0, 0, 0], [0.9, 0.7, 0.5]]), np.array([[0, 0, 0], [0.9, 0.7, 0.5]]) @ rotation.T]
    first, second = (kinetic(c, p, basis) for c, p in zip(cells, positions, strict=True))
    D = [rotation_of_atom(rotation, first.basis.shells[z]) for z in first.system.numbers]
    for name in ("S", "H"):
        before, after = getattr(first, name), getattr(second, name)
        assert np.array_equal(before.pairs, after.pairs)
        scale = np.abs(before.entries).max()
        for R1, R2, R3, i, j in before.pairs.tolist():
            a, b = before.block((R1, R2, R3, i, j))[0], after.block((R1, R2, R3, i, j))[0]
            assert np.allclose(D[i] @ a @ D[j].T, b, atol=1e-6 * scale)
    onsite = [b.block((0, 0, 0, 0, 1))[0] for b in (first.S, second.S)]
    assert not np.allclose(D[0][:, ::-1] @ onsite[0] @ D[1].T, onsite[1], atol=1e-2)  # another order is noticed


def kinetic(cell, positions, basis):
    """S and T of C-N as if T were a converged H; no self-consistent run is needed to test orbital orders."""
    gto = pytest.importorskip("pyscf.pbc.gto")
    atoms = list(zip("CN", positions.tolist(), strict=True))
    mol = gto.M(a=cell, atom=atoms, unit="A", basis=basis, pseudo="gth-pbe", spin=1, precision=1e-10, verbose=0)
    shells, exponents = pyscf_run.basis_of(mol)
    exponents = dict.fromkeys(exponents, 2.0)  # short pattern: integrals are compared block by block
    mesh = np.array([4, 4, 4])
    k = mol.get_abs_kpts(mesh_points(mesh))
    S, T = (np.array(mol.pbc_intor(name, kpts=k))[None] for name in ("int1e_ovlp", "int1e_kin"))
    info = {"shells": shells, "exponents": exponents, "spin": "none", "periodic": True, "fermi_energy": 0.0, "n_electrons": 9}
    info |= {"version": "", "method": "", "basis": basis, "total_energy": 0.0}
    geometry = (mol.lattice_vectors(), mol.atom_coords(), np.array([6, 7]))
    cells = np.unique(pyscf_run.pairs_in_range(*geometry, info)[:, :3], axis=0)
    r = np.zeros((3, len(cells), *T.shape[-2:]))
    arrays = (*geometry, mesh, T, S, T[:0], cells, r, np.zeros((0, 3)), np.zeros((1, 3)), np.zeros((1, 1, T.shape[-1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyscf, "MAX_DROPPED", np.inf)
        return pyscf.to_hamiltonian(pyscf_run.Run(json.dumps(info), *arrays))


def test_overlap_blocks_are_the_integrals_of_a_molecule(hbn):
    """Blocks between atom 0 and images of atom 1 against PySCF's molecular integrals, which know no lattice: sign of R and order."""
    gto = pytest.importorskip("pyscf.gto")
    order = [0, 2, 3, 1]  # s; x y z -> y z x
    for R in ((0, 0, 0), (1, 0, 0), (-1, -1, 0), (0, 2, 0)):
        image = hbn.system.positions[1] + np.array(R) @ hbn.system.cell
        atoms = [("B", hbn.system.positions[0].tolist()), ("N", image.tolist())]
        integrals = gto.M(atom=atoms, unit="A", basis="gth-szv", pseudo="gth-pbe", verbose=0).intor("int1e_ovlp")[:4, 4:]
        assert np.allclose(hbn.S.block((*R, 0, 1))[0], integrals[np.ix_(order, order)], atol=1e-6)
        assert not np.allclose(hbn.S.block((*R, 0, 1))[0], integrals, atol=1e-3)
        assert not any(R) or not np.allclose(hbn.S.block((*(-n for n in R), 0, 1))[0], integrals[np.ix_(order, order)], atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.2, 1.0))
def test_smallest_mesh_tells_all_pairs_apart(seed, scale):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2, 6, 3)) + rng.normal(scale=0.3, size=(3, 3))
    info = {"exponents": {"B": 1 / scale, "N": 2.0}, "periodic": True}
    pairs = pyscf_run.pairs_in_range(cell / PYSCF.bohr, rng.uniform(0, 1, (2, 3)) @ cell / PYSCF.bohr, np.array([5, 7]), info)
    mesh = smallest_mesh(pairs)
    assert not len(aliased_pairs(pairs, mesh)[0])
    assert len({(*(R % mesh).tolist(), i, j) for *R, i, j in [(*row[:3], row[3], row[4]) for row in pairs]}) == len(pairs)
    if mesh.max() > 1:
        assert len(aliased_pairs(pairs, np.maximum(mesh - 1, 1))[0])


def test_blocks_come_back_from_their_own_mesh(hbn):
    mesh = smallest_mesh(hbn.H.pairs)
    matrices = hbn.H_bloch.dense(mesh_points(mesh))[None]
    blocks, dropped = blocks_from_mesh(hbn.system, hbn.basis, matrices, mesh, hbn.H.pairs)
    assert np.allclose(blocks.entries, hbn.H.entries, atol=1e-12)
    assert dropped < 1e-12


def test_a_mesh_too_small_for_the_range_is_refused(hbn, tmp_path):
    mesh = np.array([4, 4, 1])
    matrices = {name: getattr(hbn, f"{name}_bloch").dense(mesh_points(mesh))[None] for name in "HS"}
    with pytest.raises(DataError, match="4x4x1 k mesh is too small") as caught:
        pyscf.read(rewritten(tmp_path, mesh=mesh, **matrices))
    assert "expected at least 9x9x1" in str(caught.value) or "expected at least 10x10x1" in str(caught.value)
    assert pyscf_run.RUN_FILE in str(caught.value)


def test_h_that_does_not_decay_is_refused(tmp_path):
    run = pyscf.load_run(RUN / pyscf_run.RUN_FILE)
    H = run.H + 0.1 * (np.arange(run.H.shape[1]) == 0)[None, :, None, None] * run.S
    with pytest.raises(DataError, match="beyond the range"):
        pyscf.read(rewritten(tmp_path, H=H))


def test_complex_real_space_is_refused(tmp_path):
    run = pyscf.load_run(RUN / pyscf_run.RUN_FILE)
    with pytest.raises(DataError, match="imaginary part"):
        pyscf.read(rewritten(tmp_path, H=run.H * np.exp(0.1j)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"H": np.zeros((1, 3, 8, 8))}, "do not fit"),
        ({"r": np.zeros((3, 1, 8, 8))}, "do not fit"),
        ({"cells": np.ones((73, 3), int)}, "lack cells"),
        ({"info": np.array("{")}, "not a complete run file"),
        ({"info": np.array('{"format_version": 9}')}, "format version 9"),
        ({"info": np.array("[]")}, "not a complete run file"),
        ({"info": np.array('{"format_version": 2}')}, "not a complete run file"),
        ({"numbers": np.array([5, 8])}, "O"),
        ({"cell": np.full((3, 3), np.nan)}, "NaN"),
        ({"H": np.array({})}, "not a complete run file"),
    ],
)
def test_damaged_content(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        pyscf.read(rewritten(tmp_path, **changes))
    assert pyscf_run.RUN_FILE in str(caught.value)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
def test_truncated_run_file(tmp_path, fraction):
    content = (RUN / pyscf_run.RUN_FILE).read_bytes()
    (tmp_path / pyscf_run.RUN_FILE).write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match="not a complete run file"):
        pyscf.read(tmp_path)


# ---------------------------------------------------------------- with PySCF running


def hydrogen(spin=0, **options):
    """A chain of H2 molecules, or of H atoms, 4 Angstrom apart."""
    gto = pytest.importorskip("pyscf.pbc.gto")
    atoms = "H 0 0 0" if spin else "H 0 0 0; H 0 0 0.9"
    options = {"atom": atoms, "basis": "gth-szv", "pseudo": "gth-pbe", "ke_cutoff": 30.0, "precision": 1e-6} | options
    return gto.M(a=np.diag([9.0, 9.0, 4.0]), unit="A", spin=spin, verbose=0, **options)


@pytest.mark.parametrize("method", ["KRKS", "KUKS"])
def test_live_calculation(tmp_path, method):
    """From the mean-field object and through the run file: the same Hamiltonian, the eigenvalues of PySCF, both spins."""
    cell = hydrogen(spin=0 if method == "KRKS" else 2)  # PySCF counts the unpaired electrons of all k points together
    from pyscf.pbc import dft

    mf = getattr(dft, method)(cell, cell.make_kpts([1, 1, 2]), xc="lda,vwn").multigrid_numint().run(conv_tol=1e-10)
    direct = pyscf.hamiltonian_from_pyscf(mf)
    pyscf_run.save_run(mf, tmp_path)
    stored = pyscf.read(tmp_path)
    assert np.array_equal(direct.H.entries, stored.H.entries)
    assert direct.basis.spin == ("none" if method == "KRKS" else "collinear")
    reference = pyscf.read_bands(tmp_path, stored.system)
    assert np.allclose(reference.energies.reshape(-1), np.array(mf.mo_energy).reshape(-1) * PYSCF.hartree)
    assert np.abs(eigenvalues(stored, reference.k) - reference.energies).max() < 1e-3
    assert "electrons" in verify(stored, "bands", reference)
    assert find_pairs(stored.H.pairs, np.array([[0, 0, 1, 0, 0]]))[0] >= 0


def test_hartree_fock_needs_its_own_mesh():
    cell = hydrogen()
    from pyscf.pbc import scf

    mf = scf.KRHF(cell, cell.make_kpts([1, 1, 6])).density_fit().run(conv_tol=1e-10)
    with pytest.raises(DataError, match="exact exchange"):
        pyscf.hamiltonian_from_pyscf(mf, mesh=(1, 1, 5))
    data = pyscf.hamiltonian_from_pyscf(mf)
    error = eigenvalues(data, np.array(cell.get_scaled_kpts(mf.kpts)))[0] - np.array(mf.mo_energy) * PYSCF.hartree
    assert np.abs(error).max() < 1e-3


def symmetric_run():
    """A calculation on the irreducible k points, as PySCF makes it for cells with symmetry."""
    from pyscf.pbc import dft

    cell = hydrogen(space_group_symmetry=True)
    return dft.KRKS(cell, cell.make_kpts([1, 1, 2], space_group_symmetry=True, time_reversal_symmetry=True))


def test_unusable_calculations_are_refused():
    cell = hydrogen()
    from pyscf.pbc import dft

    with pytest.raises(DataError, match="not converged"):
        pyscf.hamiltonian_from_pyscf(dft.KRKS(cell, cell.make_kpts([1, 1, 2])))
    with pytest.raises(DataError, match="Cartesian"):
        pyscf.hamiltonian_from_pyscf(dft.KRKS(hydrogen(cart=True)))
    with pytest.raises(DataError, match="plain k points"):
        pyscf.hamiltonian_from_pyscf(symmetric_run())
    with pytest.raises(DataError, match="calculation of PySCF"):
        pyscf.hamiltonian_from_pyscf(cell)
    with pytest.raises(DataError, match="H has two bases"):
        pyscf_run.basis_of(hydrogen(atom="H1 0 0 0; H2 0 0 1", basis={"H1": "gth-szv", "H2": "gth-dzvp"}))
