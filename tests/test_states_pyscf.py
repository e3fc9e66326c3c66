"""States, densities, images of tunnelling microscopes and cube files against PySCF, which evaluates its Gaussians by its own code."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import ROOT
from scipy.linalg import eigh

from deeph.files.orbitals_file import write_orbitals
from deeph.files.store import write_folder
from deeph.physics.conventions import atom_order
from deeph.physics.units import PYSCF
from postprocess.cli import states as states_command
from postprocess.density.local import LevelWindow, local_density, states_in_window
from postprocess.density.stm import Tip, take_image
from postprocess.density.surface import Surface
from postprocess.density.vacuum import Vacuum, density_above
from postprocess.eigen.solver import Eigensolver
from postprocess.states.grid import Grid
from postprocess.states.realspace import compute_density
from postprocess.states.signed import compute_wave_functions
from postprocess.states.states import States
from preprocess.orbitals.gto import read_gto
from preprocess.readers.pyscf import reader as pyscf
from preprocess.readers.pyscf import run as pyscf_run

gto, scf, cells = (pytest.importorskip(f"pyscf.{name}") for name in ("gto", "scf", "pbc.gto"))
RUN = ROOT / "tests" / "data" / "pyscf_hbn"
WATER = "O 0.11 0.24 0.45; H 0.66 0.11 -0.42; H -0.61 -0.06 0.16"
SAME = {"rtol": 1e-8, "atol": 1e-8}


def points_of(grid):
    return np.stack(np.meshgrid(*[np.arange(n) / n for n in grid.shape], indexing="ij"), -1).reshape(-1, 3) @ grid.system.cell


def native(mol, data):
    """Place of each of our orbitals among those of PySCF."""
    starts = mol.aoslice_by_atom()[:, 2]
    return np.concatenate(
        [n + np.array(atom_order("pyscf", data.basis.shells[z])) for n, z in zip(starts, data.system.numbers, strict=True)]
    )


@pytest.mark.parametrize("kind", ["RHF", "UHF", "GHF"])
def test_orbitals_and_density_of_a_molecule(kind):
    """Every molecular orbital with its sign, and the density of the occupied ones from PySCF's own density matrix; up to d shells."""
    from pyscf.dft import numint

    open_shell = kind != "RHF"
    mol = gto.M(atom=WATER, basis="def2-svp", verbose=0, spin=int(open_shell), charge=int(open_shell))
    mf = getattr(scf, kind)(mol).run(conv_tol=1e-11)
    energies, coefficients = mf.eig(mf.get_fock(), mf.get_ovlp())  # of the very matrix that is handed over
    data = pyscf.hamiltonian_from_pyscf(mf)
    orbitals = {z: read_gto("def2-svp", z) for z in (8, 1)}
    grid = Grid.with_spacing(data.system, 1.0)
    boxes = [np.array(n) @ data.system.cell for n in product((-1, 0, 1), repeat=3)]
    ao = [mol.eval_gto("GTOval_sph", (points_of(grid) + box) / PYSCF.bohr) for box in boxes]  # a folder has a box: its images count
    ao = np.sum(ao, axis=0) / PYSCF.bohr**1.5
    k, total = np.zeros(3), np.zeros(grid.shape)
    for spin in range(data.basis.n_spin):
        states = States(data, k, spin, Eigensolver()(data)(k, spin))
        own = (coefficients[spin] if kind == "UHF" else coefficients).reshape(data.basis.spin_factor, -1, len(states.energies))
        expected = np.moveaxis(np.einsum("ri,cim->cmr", ao, own), 1, 0).reshape(len(states.energies), -1, *grid.shape)
        found = compute_wave_functions(states, orbitals, grid)
        assert found.is_real.all() or kind == "GHF"
        for psi, other in zip(found.psi, expected, strict=True):
            factor = np.vdot(other, psi) / np.vdot(other, other)
            assert abs(factor) == pytest.approx(1, abs=1e-8)
            assert np.allclose(psi, factor * other, **SAME)
            assert psi.real.max() >= (1 - 1e-6) * np.abs(psi.real).max()
            assert np.abs(psi.imag).max() < 1e-6 or kind == "GHF"
        filled = states.energies < data.fermi_energy
        total += (2 if kind == "RHF" else 1) * compute_density(states, orbitals, grid)[filled].sum(axis=0)
    density_matrix = mf.make_rdm1(coefficients, mf.get_occ(energies, coefficients))
    if kind == "UHF":
        density_matrix = density_matrix[0] + density_matrix[1]
    elif kind == "GHF":
        n = mol.nao
        density_matrix = (density_matrix[:n, :n] + density_matrix[n:, n:]).real
    assert np.allclose(total.ravel(), numint.eval_rho(mol, ao, density_matrix), rtol=1e-8, atol=1e-7)
    assert total.sum() * grid.volume > 1


@pytest.fixture(scope="module")
def hbn():
    """Boron nitride: H, S, its orbitals, the cell in PySCF, and the matrices of the run at its k in PySCF's order."""
    data = pyscf.read(RUN)
    atoms = [*zip(data.system.symbols, data.system.positions.tolist(), strict=True)]
    cell = cells.M(a=data.system.cell, atom=atoms, unit="A", basis="gth-szv", pseudo="gth-pbe", precision=1e-14, verbose=0)
    return data, {z: read_gto("gth-szv", z) for z in (5, 7)}, cell


def bloch_orbitals(cell, k, points):
    """(n_points, n) sums exp(i k.R) phi(r - R)."""
    from pyscf.pbc.dft import numint

    return numint.eval_ao_kpts(cell, points / PYSCF.bohr, kpts=cell.get_abs_kpts([k]))[0] / PYSCF.bohr**1.5


def density_of_pyscf(data, cell, window, points, divisions=(3, 3, 1)):
    """Sum over the mesh of what levels share in the window, two electrons each: H(k) and S(k) of the file, AOs by PySCF."""
    out, order = np.zeros(len(points)), native(cell, data)
    for k in product(*[np.arange(n) / n for n in divisions]):
        energies, C = eigh(data.H_bloch.dense(np.array(k)), data.S_bloch.dense(np.array(k)))
        psi = bloch_orbitals(cell, k, points)[:, order] @ C
        out += np.abs(psi) ** 2 @ window.weights(energies) * 2 / np.prod(divisions)
    return out


@pytest.mark.parametrize("k", [(0, 0, 0), (0.5, 0, 0), (1 / 3, 1 / 3, 0), (0.21, -0.37, 0)])
def test_bloch_states_of_a_layer(hbn, k):
    """All states at symmetric and general k, with Bloch phases, against sums over cells by PySCF."""
    data, orbitals, cell = hbn
    k, grid = np.array(k), Grid.with_spacing(data.system, 0.5)
    states = States(data, k, 0, Eigensolver()(data)(k, 0))
    found = compute_wave_functions(states, orbitals, grid).psi[:, 0].reshape(len(states.energies), -1)
    expected = (bloch_orbitals(cell, k, points_of(grid))[:, native(cell, data)] @ states.C).T
    for psi, other in zip(found, expected, strict=True):
        factor = np.vdot(other, psi) / np.vdot(other, other)
        assert abs(factor) == pytest.approx(1, abs=1e-9)
        assert np.allclose(psi, factor * other, **SAME)
    if not (2 * k % 1).any():
        assert np.abs(found.imag).max() < 1e-8


def test_local_density_of_a_layer(hbn):
    """The levels of a window over the mesh; the states of PySCF's own untruncated matrices give the same to their truncation."""
    data, orbitals, cell = hbn
    grid, window = Grid.with_spacing(data.system, 0.5), LevelWindow(data.fermi_energy - 6, data.fermi_energy, 0.1)
    shares = states_in_window(data, (3, 3, 1), window)
    density = local_density(shares, orbitals, grid, data)
    assert density.sum() * grid.volume > 1
    assert np.allclose(density.ravel(), density_of_pyscf(data, cell, window, points_of(grid)), **SAME)
    with np.load(RUN / pyscf_run.RUN_FILE) as file:
        H, S, n = file["H"][0], file["S"][0], file["mesh"]
    own = np.zeros(grid.n_points)
    for number, k in enumerate(product(*[np.arange(m) / m for m in n])):
        if not (3 * np.array(k) % 1 > 1e-9).any():
            energies, C = eigh(H[number] * PYSCF.hartree, S[number])
            own += np.abs(bloch_orbitals(cell, k, points_of(grid)) @ C) ** 2 @ window.weights(energies) * 2 / 9
    assert np.abs(density.ravel() - own).max() < 1e-4 * own.max()


@pytest.mark.parametrize("side", ["top", "bottom"])
def test_images_of_a_layer(hbn, side):
    """Constant height on the same points, both sides; at the heights of constant current PySCF finds the density that was asked for."""
    data, orbitals, cell = hbn
    window = LevelWindow(data.fermi_energy - 6, data.fermi_energy, 0.1)
    shares, surface = states_in_window(data, (3, 3, 1), window), Surface.of(data, side)
    outward = 1 if side == "top" else -1
    outer = outward * (outward * data.system.positions[:, 2]).max()
    flat = take_image(shares, orbitals, data, surface, Tip(height=1.6, spacing=0.5))
    n1, n2 = flat.values.shape
    place = np.stack(np.meshgrid(np.arange(n1) / n1, np.arange(n2) / n2, indexing="ij"), -1).reshape(-1, 2) @ data.system.cell[:2]
    at = place + np.array([0, 0, outer + outward * 1.6])
    assert np.allclose(flat.values.ravel(), density_of_pyscf(data, cell, window, at), rtol=1e-8, atol=1e-12)
    assert np.ptp(flat.values) > 0.1 * flat.values.mean()
    if side == "bottom":
        return
    bent = take_image(shares, orbitals, data, surface, Tip("current", 1.6, spacing=0.5))
    at = place + np.array([0, 0, outer]) + bent.values.reshape(-1, 1) * np.array([0, 0, 1])
    assert np.allclose(density_of_pyscf(data, cell, window, at), bent.setting, rtol=1e-3, atol=0)
    vacuum = Vacuum(data.fermi_energy + 5, 1.6)
    started = density_above(shares, orbitals, data, surface, np.array([1.6 + 1e-10]), spacing=0.5, vacuum=vacuum)
    assert np.allclose(started[0], flat.values, rtol=1e-8)


def test_cube_files_of_both(hbn, tmp_path):
    """deeph-states and PySCF's cubegen write the same numbers at the same places, one sign apart."""
    from ase.io.cube import read_cube_data
    from pyscf.tools import cubegen

    data, orbitals, _ = hbn
    middle = data.system.positions.max(axis=0) / 2 + data.system.positions.min(axis=0) / 2
    system = replace(data.system, positions=data.system.positions - middle + data.system.cell.sum(axis=0) / 2)  # where cubegen begins at 0
    data = replace(data, system=system)
    write_folder(tmp_path / "hbn", data)
    write_orbitals(tmp_path / "hbn" / "orbitals.h5", orbitals)
    words = [tmp_path / "hbn", "--k", "G", "--cube", tmp_path / "psi", "--signed", "--spacing", 0.5]
    with pytest.raises(SystemExit) as stop:
        states_command.main([str(w) for w in words])
    assert stop.value.code == 0
    atoms = [*zip(system.symbols, system.positions.tolist(), strict=True)]
    cell = cells.M(a=system.cell, atom=atoms, unit="A", basis="gth-szv", pseudo="gth-pbe", verbose=0)
    _, C = eigh(data.H_bloch.dense(np.zeros(3)).real, data.S_bloch.dense(np.zeros(3)).real)
    own = np.empty_like(C)
    own[native(cell, data)] = C
    for n in range(C.shape[1]):
        values, ours = read_cube_data(str(tmp_path / f"psi_{n + 1}.cube"))
        nx, ny, nz = values.shape
        cubegen.orbital(cell, str(tmp_path / "other.cube"), own[:, n], nx=nx, ny=ny, nz=nz)
        expected, theirs = read_cube_data(str(tmp_path / "other.cube"))
        sign = np.sign((values * expected).sum())
        assert np.abs(values - sign * expected).max() < 1e-5 * np.abs(values).max()
        assert np.allclose(ours.cell, theirs.cell, atol=1e-5)
        assert np.allclose(ours.positions, theirs.positions, atol=1e-5)
