"""Eigenstates in files and in space, density matrix and Mulliken charges against OpenMX."""

import re
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from band_cases import random_model

from deeph.files.orbitals_file import read_orbitals, write_orbitals
from deeph.files.store import write_folder
from deeph.physics.orbitals import Orbitals, RadialFunction
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.mesh import IDENTITY, reduced_mesh
from postprocess.output.state_files import read_states, write_states
from postprocess.states import realspace
from postprocess.states.charges import compute_density_matrix, density_mesh, mulliken_charges
from postprocess.states.grid import Grid
from postprocess.states.grid import evaluate as evaluate_orbitals
from postprocess.states.integrate import evaluate
from postprocess.states.occupation import Occupation, fill_levels
from postprocess.states.orbital_groups import make_projections, usable_symmetry
from postprocess.states.projectors import make_projectors
from postprocess.states.realspace import check_size, compute_density, states_at_a_time, write_cube
from postprocess.states.spectrum import LevelsAndWeights, compute_spectrum
from postprocess.states.states import States

K = np.array([[0.0, 0, 0], [0.13, -0.27, 0]])


@pytest.mark.parametrize(("case", "mesh", "shift"), [("mos2", (9, 9, 1), 0), ("si2", (6, 6, 6), 0.5), ("fe_bcc_spin", (8, 8, 8), 0.5)])
def test_density_matrix_and_populations_are_those_of_openmx(shared_data, case, mesh, shift):
    """On OpenMX's own mesh (shifted by half a step for even divisions) at its 300 K."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    folder = shared_data / "openmx" / case
    data = openmx.read(folder)
    density, fermi = compute_density_matrix(data, density_mesh(data, mesh, tuple(shift * (n > 1) for n in mesh)))
    assert np.abs(density.entries - data.extra["density_matrix"].entries).max() < 2e-5
    charges = mulliken_charges(data, density)
    text = (folder / f"{case}.out").read_text()
    part = text[text.index("Mulliken populations") :]
    rows = re.findall(r"^\s+\d+\s+[A-Z][a-z]?\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+(-?[\d.]+)\s*$", part, re.MULTILINE)
    expected = np.array(rows[: data.system.n_atoms], float)
    assert np.abs(charges[:, 0] - expected[:, 2]).max() < 1e-5
    assert np.abs(charges[:, 3] - expected[:, 3]).max() < 1e-5
    if case == "fe_bcc_spin":  # a metal: the level is sharp
        assert fermi == pytest.approx(data.fermi_energy, abs=1e-4)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_density_matrix_counts_electrons_and_energy(spin):
    """Tr rho S is the number of electrons, Tr rho H the sum of the occupied levels, whatever the spin."""
    data = hermitian(random_model(5, spin=spin))
    k = reduced_mesh((3, 3, 1), (0, 0, 0), IDENTITY[None]).points
    density, fermi = compute_density_matrix(data, density_mesh(data, (3, 3, 1)), temperature=3000)
    factor = 2 if spin == "none" else 1
    assert mulliken_charges(data, density)[:, 0].sum() == pytest.approx(6)
    energies = np.stack([[Eigensolver()(data)(x, s).energies for x in k] for s in range(data.basis.n_spin)])
    occupation = fill_levels(energies, 6 * len(k) / factor, 3000)
    assert occupation.fermi_energy == pytest.approx(fermi)
    band_energy = factor * (occupation(energies) * energies).sum() / len(k)
    assert factor * np.vdot(density.entries, data.H.entries).real == pytest.approx(band_energy)


def test_moments_follow_the_spinors():
    """A spin-polarized collinear model as spinors, turned by 90 degrees about y: m_z becomes m_x."""
    collinear = random_model(6, spin="collinear")
    along_z = mulliken_charges(collinear, compute_density_matrix(collinear, density_mesh(collinear, (2, 2, 1)))[0])
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)

    def turned(blocks, _pairs):
        c, n, rows, columns = blocks.shape
        split = blocks.reshape(c, n, 2, rows // 2, 2, columns // 2)
        return np.einsum("st,cntaub,vu->cnsavb", turn, split, turn).reshape(blocks.shape)

    spinor = collinear.to_spinor()
    spinor = replace(spinor, H=spinor.H.mapped(turned))
    along_x = mulliken_charges(spinor, compute_density_matrix(spinor, density_mesh(spinor, (2, 2, 1)))[0])
    assert np.abs(along_z[:, 3]).max() > 0.05
    assert np.allclose(along_x[:, [0, 1, 2, 3]], along_z[:, [0, 3, 1, 2]], atol=1e-8)


def test_moments_are_the_spins_of_the_occupied_states():
    data = hermitian(random_model(8, spin="spinor"))
    k = reduced_mesh((3, 2, 1), (0, 0, 0), IDENTITY[None]).points
    density, fermi = compute_density_matrix(data, density_mesh(data, (3, 2, 1)), temperature=2000)
    spectrum = compute_spectrum(data, k, projectors=make_projectors(data, ["spin"]))
    f = Occupation(fermi, 2000)(spectrum.energies)
    expected = [(f * spectrum.weights[name]).sum() / len(k) for name in ("sx", "sy", "sz")]
    assert np.abs(expected).min() > 1e-3
    assert mulliken_charges(data, density)[:, 1:].sum(axis=0) == pytest.approx(expected, abs=1e-9)


def test_density_matrix_of_complex_hoppings_takes_k_and_minus_k():
    """A magnetic flux through the cell, without spinors: the states of -k are not those of k."""
    model = random_model(3)
    phases = 1j * np.random.default_rng(0).normal(size=model.H.entries.shape)
    data = hermitian(replace(model, H=replace(model.H, entries=model.H.entries * np.exp(phases)).hermitized()))
    k = reduced_mesh((3, 3, 1), (0, 0, 0), IDENTITY[None]).points
    density, fermi = compute_density_matrix(data, density_mesh(data, (3, 3, 1)))
    spectrum = compute_spectrum(data, k, projectors=make_projectors(data, ["atom"]))
    f = 2 * Occupation(fermi, 300)(spectrum.energies)
    expected = [(f * weight).sum() / len(k) for weight in spectrum.weights.values()]
    assert mulliken_charges(data, density)[:, 0] == pytest.approx(expected, abs=1e-9)
    assert usable_symmetry(data, make_projections(data, ["atom"])) == "none"


def test_without_magnetism_no_atom_has_a_moment():
    """Spin-orbit coupling that time reversal keeps, without inversion: S joins up on one atom to down on another."""
    data = hermitian(random_model(8, spin="spinor"))

    def even(blocks, _pairs):
        c, n, rows, columns = blocks.shape
        split = blocks.reshape(c, n, 2, rows // 2, 2, columns // 2)
        reversed_time = split[:, :, ::-1, :, ::-1].conj() * np.array([[1, -1], [-1, 1]])[:, None, :, None]
        return (split + reversed_time).reshape(blocks.shape) / 2

    data = replace(data, H=data.H.mapped(even))
    charges = mulliken_charges(data, compute_density_matrix(data, density_mesh(data, (3, 3, 1)))[0])
    assert np.abs(charges[:, 1:]).max() < 1e-9


@pytest.mark.parametrize("temperature", [0.0, 1.0, 300.0, 1e4, 1e6])
@pytest.mark.parametrize("n_levels", [1e-3, 1.0, 3.9])
def test_levels_are_filled_at_any_temperature(temperature, n_levels):
    energies = np.array([-1.0, 0.0, 1.0, 2.0])
    assert fill_levels(energies, n_levels, temperature)(energies).sum() == pytest.approx(n_levels)


def test_what_cannot_be_filled():
    mesh = density_mesh(random_model(), (2, 1, 1))
    with pytest.raises(DataError, match="occupation"):
        compute_density_matrix(replace(random_model(), n_electrons=None), mesh)
    with pytest.raises(DataError, match="occupied levels"):
        compute_density_matrix(replace(random_model(), n_electrons=100.0), mesh)
    with pytest.raises(UsageError, match="temperature"):
        compute_density_matrix(random_model(), mesh, temperature=-1)


def test_a_window_selects_states_in_small_cells(folder):
    result = command("graphene", "--k", "G", "K", "--window", -10, 2, "--out", "window.h5", cwd=folder)
    assert result.returncode == 0, result.stderr
    found = read_states(folder / "window.h5")
    (folder / "window.h5").unlink()
    energies = found["energies"] - found["fermi_energy"]
    assert 0 < np.isfinite(energies).sum() < 16
    assert np.nanmin(energies) >= -10
    assert np.nanmax(energies) <= 2
    assert result.stdout.startswith("solver: dense matrices (LAPACK), 8 orbitals, largest residual ")


def test_how_many_states_are_listed(folder, monkeypatch, capsys):
    from postprocess.cli import states

    monkeypatch.setattr(states, "LISTED", 3)
    with pytest.raises(SystemExit):
        states.main([str(folder / "graphene"), "--k", "G"])
    text = capsys.readouterr().out
    assert "k = G (0, 0, 0): the 3 of 8 states nearest E_F" in text
    assert text.count("  band ") == 3


def test_orbitals_are_looked_for_first(folder):
    """Before states are computed: no file, another element."""
    result = command("graphene", "--cube", "x", cwd=folder)
    assert result.returncode == 1
    assert "graphene/orbitals.h5: there is no such file. --cube needs the radial functions" in result.stderr
    r = np.linspace(0, 3, 20)
    write_orbitals(folder / "b.h5", {5: Orbitals(5, (RadialFunction(0, r, r),), "B-test")})
    result = command("graphene", "--cube", "x", "--orbitals", "b.h5", cwd=folder)
    (folder / "b.h5").unlink()
    assert result.returncode == 1
    assert "the file of orbitals holds B, but no C" in result.stderr
    assert not result.stdout


def test_states_that_a_file_cannot_hold_are_not_in_the_way(tmp_path):
    write_folder(tmp_path / "data", random_model(2, spin="collinear"))
    result = command("data", "--out", "wavefunction_ao.h5", cwd=tmp_path)
    assert result.returncode == 2
    assert "two channels" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def solved(data, solver=None, vectors="complex128"):
    data = hermitian(data)
    results, place = evaluate(data, K, LevelsAndWeights(keep=vectors), solver=solver)
    return data, results.arranged(place)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("vectors", ["complex64", "complex128"])
def test_states_in_a_file_solve_the_equation(tmp_path, spin, vectors):
    data, results = solved(random_model(1, spin=spin), vectors=vectors)
    write_states(tmp_path / "s.h5", data, K, results, fermi_energy=0.5)
    found = read_states(tmp_path / "s.h5")
    assert found["vectors"].dtype == vectors
    assert found["fermi_energy"] == 0.5
    assert found["charges"].dtype == ("float32" if vectors == "complex64" else "float64")
    assert np.allclose(found["charges"].sum(axis=-1), 1, atol=1e-5 if vectors == "complex64" else 1e-12)
    for s, n in np.ndindex(found["energies"].shape[:2]):
        H, S, C = data.H_bloch.dense(K[n], component=s), data.S_bloch.dense(K[n]), found["vectors"][s, n].T
        assert np.abs(H @ C - S @ C * found["energies"][s, n]).max() < (1e-5 if vectors == "complex64" else 1e-10)


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_the_deeph_layout(tmp_path, spin):
    """(n_k, n_bands, n_spinor, n_orbitals), all up orbitals before all down ones."""
    data, results = solved(random_model(2, spin=spin))
    file = tmp_path / "wavefunction_ao.h5"
    write_states(file, data, K, results, fermi_energy=0.0)
    found = read_states(file)
    factor, n = data.basis.spin_factor, data.H_bloch.n_orbitals
    assert found["eigenvectors"].shape == (2, n, factor, n // factor)
    assert found["eigenvalues"].shape == (2, n)
    S = replace(data, H=None, basis=replace(data.basis, spin="none")).S_bloch.dense(K[1])
    C = found["eigenvectors"][1]
    assert np.allclose(np.einsum("bsi,ij,csj->bc", C.conj(), S, C), np.eye(n), atol=1e-10)
    with h5py.File(file) as opened:
        assert set(opened) == {"efermi", "kpts", "eigenvalues", "eigenvectors"}


def test_files_that_cannot_be(tmp_path):
    data, results = solved(random_model(2, spin="collinear"))
    with pytest.raises(UsageError, match="two channels"):
        write_states(tmp_path / "wavefunction_ao.h5", data, K, results)
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.h5").write_bytes(b"nothing")
    for read in (read_states, read_orbitals):
        with pytest.raises(DataError, match=r"x\.h5"):
            read(tmp_path / "x.h5")


def test_orbitals_are_read_back(tmp_path):
    r = np.linspace(0, 3, 50)
    one = Orbitals(6, (RadialFunction(0, r, np.exp(-r)), RadialFunction(1, r[:40], r[:40])), "C-test", n_electrons=4.0)
    write_orbitals(tmp_path / "orbitals.h5", {6: one})
    back = read_orbitals(tmp_path / "orbitals.h5")[6]
    assert (back.ls, back.source, back.n_electrons, back.pair_radius, back.cutoff) == ((0, 1), "C-test", 4.0, None, one.cutoff)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(one.shells, back.shells, strict=True))
    assert evaluate_orbitals(one, np.array([[0, 0, 1.0], [0, 0, 5.0]])).shape == (4, 2)
    assert np.allclose(evaluate_orbitals(one, np.array([[0, 0, 5.0]])), 0)


@pytest.mark.parametrize(("case", "basis"), [("graphene", ["C6.0.pao:s2p2d1"]), ("mos2_soc", ["Mo7.0.pao:s3p2d2", "S7.0.pao:s2p2d1"])])
def test_norm_of_densities_on_a_grid(shared_data, tmp_path, case, basis):
    """The grid sees the overlap: the integral of |psi|^2 is C^dagger S C = 1 with OpenMX's own S, and the sum of pairs is orthogonal."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    from preprocess.orbitals.basis_files import read_basis

    data = hermitian(openmx.read(shared_data / "openmx" / case))
    write_orbitals(tmp_path / "o.h5", read_basis(data.system.numbers.tolist(), [str(shared_data / "openmx" / "PAO" / b) for b in basis]))
    k = np.array([1 / 3, 1 / 3, 0])
    n = int(data.n_electrons) // (1 if case == "mos2_soc" else 2)
    levels = Eigensolver(bands=(n - 1, n))(data)(k)
    states = States(data, k, 0, levels)
    grid = Grid.with_spacing(data.system, 0.2)
    density = compute_density(states, read_orbitals(tmp_path / "o.h5"), grid)
    assert np.abs(density.sum(axis=(1, 2, 3)) * grid.volume - 1).max() < 1e-4
    wrong = States(data, k + 0.05, 0, levels)  # phases of another k
    assert np.abs(compute_density(wrong, read_orbitals(tmp_path / "o.h5"), grid).sum(axis=(1, 2, 3)) * grid.volume - 1).max() > 1e-3
    write_cube(tmp_path / "x.cube", grid, density[0], "test")
    from ase.io.cube import read_cube

    with (tmp_path / "x.cube").open() as file:
        back = read_cube(file)
    assert np.allclose(back["atoms"].positions, data.system.positions, atol=1e-4)
    assert back["data"].shape == grid.shape
    assert np.allclose(back["data"] / 0.529177210544**3, density[0], rtol=1e-6, atol=0)
    with pytest.raises(DataError, match="same basis"):
        compute_density(states, {z: Orbitals(z, o.shells[:1], "x") for z, o in read_orbitals(tmp_path / "o.h5").items()}, grid)


def spinor_case(folder, tmp_path):
    """Four states of MoS2 with spin-orbit around the Fermi level, at a k where spins mix, and the orbitals on a grid."""
    openmx = pytest.importorskip("preprocess.readers.openmx")
    from preprocess.orbitals.basis_files import read_basis

    data = hermitian(openmx.read(folder / "openmx" / "mos2_soc"))
    files = [str(folder / "openmx" / "PAO" / name) for name in ("Mo7.0.pao:s3p2d2", "S7.0.pao:s2p2d1")]
    write_orbitals(tmp_path / "o.h5", read_basis(data.system.numbers.tolist(), files))
    k, n = np.array([0.21, 0.13, 0]), int(data.n_electrons)
    levels = Eigensolver(bands=(n - 2, n + 1))(data)(k)
    return States(data, k, 0, levels), read_orbitals(tmp_path / "o.h5")


def test_density_of_spinors_is_the_sum_of_both_spins(shared_data, tmp_path, monkeypatch):
    """Parts with one spin integrate to its Mulliken population; slices of planes change nothing and keep to their memory."""
    states, orbitals = spinor_case(shared_data, tmp_path)
    grid = Grid.with_spacing(states.hamiltonian.system, 0.25)
    whole = compute_density(states, orbitals, grid)
    parts = [
        replace(states, levels=replace(states.levels, vectors=states.C * (states.spin_of_orbital == spin)[:, None])) for spin in range(2)
    ]
    up, down = (compute_density(part, orbitals, grid) for part in parts)
    assert np.allclose(up + down, whole, atol=1e-12)
    for density, spin in ((up, 0), (down, 1)):
        populations = states.populations[states.spin_of_orbital == spin].sum(axis=0)
        assert np.ptp(populations) > 0.8
        assert density.sum(axis=(1, 2, 3)) * grid.volume == pytest.approx(populations, abs=2e-4)
    sizes, psi = [], realspace.psi_on_planes

    def watched(*arguments):
        sizes.append(psi(*arguments))
        return sizes[-1]

    most = 7 * 2 * 64 * grid.shape[1] * grid.shape[2]  # of 64 states, which are more than the orbitals of an atom reach
    many = replace(states, levels=replace(states.levels, vectors=np.tile(states.C, 16)))
    monkeypatch.setattr(realspace, "AT_ONCE", most)
    monkeypatch.setattr(realspace, "psi_on_planes", watched)
    assert np.allclose(compute_density(many, orbitals, grid), np.tile(whole, (16, 1, 1, 1)), atol=1e-13)
    assert most / 10 < max(one.size for one in sizes) <= most
    sizes.clear()
    monkeypatch.setattr(realspace, "AT_ONCE", 20000)
    assert np.allclose(compute_density(states, orbitals, grid), whole, atol=1e-13)
    assert len(sizes) == grid.shape[0]  # one plane is too much already for the orbitals of an atom


def test_density_does_not_depend_on_the_axis_of_spin(monkeypatch):
    """A state times any spinor has the density of the state: |psi|^2 (|a|^2 + |b|^2), without terms that mix spins."""
    data = hermitian(random_model(3))
    spinor = data.to_spinor()
    r = np.linspace(0, 2.5, 60)
    s, p = (RadialFunction(l, r, r**l * (2.5 - r) ** 2) for l in range(2))
    orbitals = {6: Orbitals(6, (s, p), "x"), 7: Orbitals(7, (s, s), "x")}
    levels = Eigensolver()(data)(K[1])
    states = States(data, K[1], 0, levels)
    grid = Grid(data.system, (5, 6, 17))
    a, b = 0.6, 0.8j
    n = data.basis.n_orbitals(data.system.numbers)
    rows = np.split(levels.vectors, np.cumsum(n)[:-1])
    C = np.concatenate([part for row in rows for part in (a * row, b * row)])
    turned = replace(states, hamiltonian=spinor, levels=replace(levels, vectors=C))
    assert np.allclose(compute_density(turned, orbitals, grid), compute_density(states, orbitals, grid), atol=1e-12)
    short = {z: Orbitals(z, tuple(replace(shell, r=shell.r / 5) for shell in o.shells), "x") for z, o in orbitals.items()}
    monkeypatch.setattr(realspace, "AT_ONCE", 4 * 6 * 17 * len(states.energies))  # four planes of psi, or two of a spinor
    assert [realspace.planes_at_once(one, short, grid) for one in (states, turned)] == [4, 2]


def test_limits_of_grids(monkeypatch):
    """At the limits all is done, one point or byte beyond is refused, and the advice that is given can be followed."""
    system = random_model(0).system
    grid = Grid(system, (10, 20, 30))
    monkeypatch.setattr(realspace, "LARGEST_GRID", 6000)
    monkeypatch.setattr(realspace, "LARGEST_FILES", 13 * 6000 * 5)
    check_size(grid, 5)
    assert states_at_a_time(grid) == 1
    assert states_at_a_time(Grid(system, (10, 10, 30))) == 2
    for wrong, n in ((Grid(system, (10, 20, 31)), 1), (grid, 6)):
        with pytest.raises(UsageError, match=r"cube files of 10 x 20 x 3[01] points take \d+\.\d\d GiB on disk .* GiB of memory") as error:
            check_size(wrong, n)
        spacing = float(re.search(r"--spacing ([\d.]+)", str(error.value))[1])
        check_size(Grid.with_spacing(system, spacing), n)
        with pytest.raises(UsageError):
            check_size(Grid.with_spacing(system, 0.75 * spacing), n)
        assert ("at most 5 states" in str(error.value)) == (n == 6)


@pytest.mark.parametrize(("options", "message"), [(["--spacing", 0.01], "8 cube files"), (["--spacing", 0.005, "--n-bands", 3], "3 cube")])
def test_cube_files_that_are_too_large_are_refused_first(folder, options, message):
    """By default all 8 states; nothing is solved or written."""
    r = np.linspace(0, 3, 20)
    shells = (RadialFunction(0, r, r), RadialFunction(1, r, r))
    write_orbitals(folder / "c.h5", {6: Orbitals(6, shells, "C-test")})
    result = command("graphene", "--cube", "x", "--orbitals", "c.h5", *options, cwd=folder)
    (folder / "c.h5").unlink()
    assert result.returncode == 2
    assert message in result.stderr
    assert "the limits are 4 GiB for all files and 134217728 points for one. Choose --spacing 0." in result.stderr
    assert not result.stdout
    assert not list(folder.glob("*.cube"))


def test_all_states_are_written_whatever_fits_at_a_time(folder, monkeypatch):
    """Batches of states, each with its own energy and density."""
    from ase.io.cube import read_cube

    from postprocess.cli import states

    r = np.linspace(0, 3, 20)
    shells = (RadialFunction(0, r, 3 - r), RadialFunction(1, r, r * (3 - r)))
    write_orbitals(folder / "c.h5", {6: Orbitals(6, shells, "C-test")})
    found = []
    for largest, name in ((2**27, "a"), (3 * 5 * 5 * 34, "b")):
        monkeypatch.setattr(realspace, "LARGEST_GRID", largest)
        words = [folder / "graphene", "--k", "K", "--cube", folder / name, "--orbitals", folder / "c.h5", "--spacing", 0.6]
        with pytest.raises(SystemExit) as stop:
            states.main([str(w) for w in words])
        assert stop.value.code == 0
        files = [folder / f"{name}_{n}.cube" for n in range(1, 9)]
        found.append([(file.read_text().splitlines()[0], read_cube(file.open())["data"]) for file in files])
        for file in files:
            file.unlink()
    (folder / "c.h5").unlink()
    for (head, data), (other, values) in zip(*found, strict=True):
        assert head == other
        assert np.array_equal(data, values)
    assert len({head for head, _ in found[0]}) == 8


def command(*arguments, cwd):
    words = [sys.executable, "-m", "postprocess.cli.states", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mini_graphene):
    out = tmp_path_factory.mktemp("states")
    write_folder(out / "graphene", mini_graphene)
    return out


def test_command(folder):
    result = command("graphene", "--k", "K", "1/2,0,0", "--n-bands", 2, "--out", "s.h5", "--precision", "float32", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "k = K (0.333333, 0.333333, 0)" in result.stdout
    assert "C1 0.5" in result.stdout
    assert read_states(folder / "s.h5")["vectors"].shape == (1, 2, 2, 8)
    result = command("graphene", "--charges", "--mesh", 6, 6, 1, "--shift", 0.5, 0.5, 0, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "1 C      4.000000" in result.stdout
    wrong = (["--k", "Q"], ["--out", "s.txt"], ["--charges", "--mesh", 0, 1, 1], ["-j", 0], ["--window", 1, 0], ["--cube", "no/x"])
    for options in (*wrong, ["--window", 0, 1, "--n-bands", 2], ["--window", 500, 600, "--out", "w.h5"]):
        result = command("graphene", *options, cwd=folder)
        assert result.returncode in (1, 2)
        assert "Traceback" not in result.stderr
        assert "deeph-states:" in result.stderr
        assert not result.stdout
    assert sorted(p.name for p in folder.iterdir()) == ["graphene", "s.h5"]
