"""FHI-aims: symmetry of a real run, round trips of made-up ones, clear errors."""

from dataclasses import replace

import numpy as np
import pytest
from aims_files import HARTREE, POSITIONS, Run, add_eigenvalues, random_hamiltonian, write_bands, write_log, write_run
from harmonics import rotation_of_atom, rotation_to_z
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deeph.physics import conventions
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.pairs import find_pairs, is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, DeephError
from preprocess.readers import aims, detect
from preprocess.readers.aims import output as aims_output
from preprocess.readers.aims.images import home_cells
from preprocess.verify import check_bands, eigenvalues, verify


@pytest.fixture(scope="module")
def mos2(shared_data):
    return aims.read(shared_data / "peers" / "fhi-aims" / "MoS2-collinear")


def rotated_by_120_degrees(data, centre):
    """Largest change of S and H under the threefold rotation about the z axis through an atom."""
    c, s = -0.5, 0.75**0.5
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    system, pairs = data.system, data.S.pairs
    origin = system.positions[centre]
    home = (((system.positions - origin) @ turn.T + origin) - system.positions) @ np.linalg.inv(system.cell)
    cell = system.cell @ turn.T @ np.linalg.inv(system.cell)
    assert np.allclose(home, np.rint(home), atol=1e-6)
    target = pairs.copy()
    target[:, :3] = np.rint(pairs[:, :3] @ cell + home[pairs[:, 4]] - home[pairs[:, 3]])
    place = find_pairs(pairs, target)
    assert (place >= 0).all()
    D = {z: rotation_of_atom(turn, shells) for z, shells in data.basis.shells.items()}
    worst = []
    for blocks in (data.S, data.H):
        moved = blocks.mapped(
            lambda b, p: np.stack(
                [D[int(system.numbers[i])] @ b[:, n] @ D[int(system.numbers[j])].T for n, (i, j) in enumerate(p[:, 3:])], 1
            )
        )
        worst.append(np.abs(moved.entries - blocks.selected(place).entries).max())
    return worst


def test_mos2_is_a_hermitian_insulator_without_moment(mos2):
    assert mos2.basis.to_symbols() == {"S": [0, 0, 0, 0, 1, 1, 1, 2, 3], "Mo": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3]}
    assert mos2.basis.spin == "collinear"
    assert mos2.source["radial_functions"]["S"][2] == "ionic 3s"
    assert mos2.fermi_energy is None
    assert mos2.n_electrons == 42 + 2 * 16
    assert "S >= " in verify(mos2, "basic")
    assert np.abs(mos2.H.entries[0] - mos2.H.entries[1]).max() < 1e-4  # started with moments, ended without
    k = np.stack(np.meshgrid(*[np.arange(6) / 6] * 2, [0.0], indexing="ij"), -1).reshape(-1, 3)
    energies = eigenvalues(mos2, k)
    gap = energies[:, :, 37].min() - energies[:, :, 36].max()
    assert 0.5 < gap < 2.0
    assert "74 electrons" in verify(replace(mos2, fermi_energy=-5.6), "basic")  # in the gap, on the mesh of the run


def test_mos2_blocks_reach_as_far_as_the_orbitals(mos2):
    """The species cut their functions off at 3.5 + 1.5 Angstrom; cells of FHI-aims' own central cell would give 26 Angstrom."""
    assert np.linalg.norm(pair_vectors(mos2.system, mos2.S.pairs), axis=1).max() < 10.0


def test_mos2_has_its_threefold_axis(mos2):
    S, H = rotated_by_120_degrees(mos2, centre=1)
    assert S < 2e-4
    assert H < 5e-3  # noise of the 'light' grids; a wrong sign gives 50


def test_the_threefold_axis_sees_wrong_signs(shared_data, monkeypatch):
    monkeypatch.setattr(conventions, "shell_signs", lambda _order, l: np.ones(2 * l + 1, np.int64))
    S, H = rotated_by_120_degrees(aims.read(shared_data / "peers" / "fhi-aims" / "MoS2-collinear"), centre=1)
    assert S > 0.1
    assert H > 10


def off_axis_overlap(data):
    """Largest overlap of functions with different m along their bond; two-centre integrals have none."""
    m = {z: np.concatenate([np.arange(-l, l + 1) for l in shells]) for z, shells in data.basis.shells.items()}
    worst = 0.0
    for n, vector in enumerate(pair_vectors(data.system, data.S.pairs)):
        if np.linalg.norm(vector) < 0.1:
            continue
        first, second = (int(z) for z in data.system.numbers[data.S.pairs[n, 3:]])
        turn = rotation_to_z(vector)
        left, right = (rotation_of_atom(turn, data.basis.shells[z]) for z in (first, second))
        S = left @ data.S.take(np.array([n]))[0, 0] @ right.T
        worst = max(worst, np.abs(S[m[first][:, None] != m[second]]).max())
    return worst


SIGNS = {
    "none": lambda m: np.ones(len(m), np.int64),
    "condon-shortley": lambda m: np.where(m % 2, -1, 1),
    "negative m": lambda m: np.where((m < 0) & (m % 2 == 1), -1, 1),
    "m = 3 missed": lambda m: np.where(m == 1, -1, 1),
}
"""Wrong ones; the last differs in one f function only, and the last two agree with the threefold axis."""


def test_mos2_overlaps_are_two_centre_integrals(mos2):
    assert off_axis_overlap(mos2) < 2e-4


@pytest.mark.parametrize("signs", SIGNS)
def test_two_centre_integrals_see_wrong_signs(shared_data, monkeypatch, signs):
    monkeypatch.setattr(conventions, "shell_signs", lambda _order, l: SIGNS[signs](np.arange(-l, l + 1)))
    assert off_axis_overlap(aims.read(shared_data / "peers" / "fhi-aims" / "MoS2-collinear")) > 0.05


def test_mos2_states_are_degenerate_where_symmetry_asks_for_it(mos2):
    stars = eigenvalues(mos2, np.array([[0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 0], [-1 / 3, 2 / 3, 0]]))[0, :, :37]
    assert np.ptp(stars[:3], axis=0).max() < 1e-3
    assert np.abs(stars[3] - stars[4]).max() < 1e-8


@pytest.mark.parametrize("spin", ["none", "collinear"])
@pytest.mark.parametrize("hdf5", [False, True])
def test_made_up_runs_come_back(tmp_path, spin, hdf5):
    data = random_hamiltonian(spin)
    write_run(tmp_path / "run", Run(data, hdf5=hdf5, control=["charge 1."]))
    assert detect(tmp_path / "run").read is aims.read
    back = aims.read(tmp_path / "run")
    assert back.basis == data.basis
    assert np.allclose(back.system.positions, POSITIONS, atol=1e-14)
    assert back.n_electrons == 16 + 42 + 16 - 1
    for mine, theirs in ((back.S, data.S), (back.H, data.H)):
        assert mine.n_pairs == theirs.n_pairs
        assert np.allclose(mine.on_pattern(theirs.pairs, theirs.shapes).entries, theirs.entries, rtol=0, atol=1e-13)
    assert back.H.hermiticity_error() == 0
    assert back.source["asymmetry"]["H_eV"] < 1e-12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["120", "60", "fcc", "any"]), special=st.booleans(), radius=st.floats(1.5, 5.0))
def test_images_do_not_depend_on_where_the_code_puts_the_atoms(seed, kind, special, radius):
    """In skewed cells, too, and with atoms half-way between images."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(2.5, 8)
    corner = {"120": -0.5, "60": 0.5}.get(kind, 0)
    cell = a * np.array([[1, 0, 0], [corner, 0.75**0.5, 0], [0, 0, rng.uniform(1, 4)]])
    if kind in ("fcc", "any"):
        cell = a / 2 * (np.ones((3, 3)) - np.eye(3)) if kind == "fcc" else a * (np.eye(3) + rng.normal(0, 0.15, (3, 3)))
    fractional = rng.choice([0, 1 / 3, 2 / 3, 0.5, 0.25, 0.75], (4, 3)) if special else rng.uniform(-1, 2, (4, 3))
    system = System(cell, fractional @ cell, np.full(4, 6))
    pairs = neighbour_pairs(system, {6: radius})
    distance = np.linalg.norm(pair_vectors(system, pairs), axis=1)
    assume(distance[~is_onsite(pairs)].min(initial=9.0) > 0.5)
    shapes = block_shapes(Basis({6: (0, 1)}), system.numbers, pairs, spin=False)
    S = PairBlocks(pairs, shapes, (rng.normal(size=(len(pairs), 16)) * np.exp(-distance)[:, None]).reshape(1, -1)).hermitized()
    shifts = rng.integers(-2, 3, (4, 3))
    moved = S.pairs.copy()
    moved[:, :3] -= shifts[moved[:, 4]] - shifts[moved[:, 3]]
    found = home_cells(system, replace(S, pairs=moved))
    moved[:, :3] += found[moved[:, 4]] - found[moved[:, 3]]
    assert np.array_equal(moved, S.pairs)


def test_atoms_of_another_structure_are_noticed(tmp_path):
    data = random_hamiltonian("none")
    moved = replace(data.system, positions=data.system.positions[[2, 1, 0]] + np.array([[0.0], [4.0], [0.0]]))
    write_run(tmp_path / "run", Run(replace(data, system=moved)))
    with pytest.raises(DataError, match=r"there is a nearer image: cell or positions are not those of the matrices"):
        aims.read(tmp_path / "run")


def test_fermi_level_moments_mesh_and_bands(tmp_path):
    data = random_hamiltonian("collinear")
    folder = write_run(tmp_path / "run", Run(data, control=["occupation_type fermi 0.02"]))
    k = np.array([[0, 0, 0], [0.1, 0.2, 0.3], [0.5, 0, 0], [0.25, 0.25, 0]])
    energies = eigenvalues(data, k)
    fermi = float(np.median(energies))
    write_log(folder, fermi, [0.5, -1.25, 0.5])
    write_bands(folder, k, energies[..., :-3], fermi)  # FHI-aims prints the states it solved for, not as many as there are orbitals
    back = aims.read(folder)
    assert back.fermi_energy == pytest.approx(fermi, abs=1e-8)
    assert np.array_equal(back.moments, [[0, 0, 0.5], [0, 0, -1.25], [0, 0, 0.5]])
    assert back.source["k_grid"] == [2, 2, 1]
    assert back.source["electronic_temperature_K"] == pytest.approx(232.1, abs=0.1)
    edit(folder / "control.in", "fermi 0.02", "gaussian 0.03")
    assert aims.read(folder).source["smearing_width_eV"] == 0.03
    edit(folder / "control.in", "gaussian", "methfessel-paxton")
    assert "k_grid" not in aims.read(folder).source
    reference = aims_output.read_bands(folder, back.system)
    assert np.array_equal(reference.k, k)
    assert "to" in check_bands(back, reference)
    (folder / "aims.out").unlink()
    assert aims.read(folder).fermi_energy is None
    with pytest.raises(DataError, match=r"no aims\.out with one Fermi level"):
        aims_output.read_bands(folder, back.system)


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_eigenvalues_in_the_output(tmp_path, spin):
    data = random_hamiltonian(spin)
    folder = write_run(tmp_path / "run", Run(data))
    with pytest.raises(DataError, match=r"neither band1001\.out nor an aims\.out"):
        aims_output.read_bands(folder, data.system)
    k = np.array([[0, 0, 0], [0.25, 0.5, 0]])
    energies = eigenvalues(data, k)[..., :-2]
    write_log(folder, 0.0)
    add_eigenvalues(folder, k, energies)
    reference = aims_output.read_bands(folder, data.system)
    assert np.array_equal(reference.k, k)
    assert np.allclose(reference.energies, energies, rtol=0, atol=1e-5)
    assert "aims.out" in check_bands(aims.read(folder), reference)
    write_log(folder, 0.0)
    add_eigenvalues(folder, k[:1], energies[:, :1], name_k=False)
    assert np.array_equal(aims_output.read_bands(folder, data.system).k, [[0, 0, 0]])
    edit(folder / "aims.out", f"{energies[0, 0, -1]:.5f}\n", "\n")
    add_eigenvalues(folder, k[:1], energies[:, :1] + 2, name_k=False)  # earlier steps are not looked at
    if spin == "collinear":
        with pytest.raises(DataError, match="different numbers of states"):
            aims_output.read_bands(folder, data.system)


def test_bands_of_another_run_are_noticed(tmp_path):
    data = random_hamiltonian("none")
    folder = write_run(tmp_path / "run", Run(data))
    k = np.array([[0, 0, 0], [0.1, 0.2, 0.3], [0.5, 0, 0]])
    write_log(folder, 0.0)
    write_bands(folder, k, eigenvalues(data, k) + 0.01, 0.0)
    with pytest.raises(DataError, match="differ"):
        check_bands(data, aims_output.read_bands(folder, data.system))


def test_scalar_bands_are_taken_after_a_run_with_spin_orbit(tmp_path, caplog):
    data = random_hamiltonian("none")
    folder = write_run(tmp_path / "run", Run(data, control=["include_spin_orbit"]))
    k = np.array([[0, 0, 0], [0.1, 0.2, 0.3], [0.5, 0, 0]])
    write_log(folder, 0.0)
    write_bands(folder, k, eigenvalues(data, k), 0.0, suffix=".no_soc")
    write_bands(folder, k, np.repeat(eigenvalues(data, k), 2, axis=-1), 0.0)
    check_bands(aims.read(folder), aims_output.read_bands(folder, data.system))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut(path, fraction):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: int(len(lines) * fraction)]))


DAMAGE = {
    "no geometry": (lambda f: (f / "geometry.in").unlink(), r"geometry\.in cannot be read"),
    "no control": (lambda f: (f / "control.in").unlink(), r"control\.in cannot be read"),
    "no basis": (lambda f: (f / "basis-indices.out").unlink(), r"basis-indices\.out cannot be read"),
    "no overlap": (lambda f: (f / "rs_overlap.out").unlink(), r"rs_overlap\.out cannot be read"),
    "no H": (lambda f: (f / "rs_hamiltonian.out").unlink(), r"expected rs_hamiltonian\.out.*found none"),
    "half of H": (lambda f: (f / "rs_hamiltonian.out").rename(f / "rs_hamiltonian_up.out"), r"found rs_hamiltonian_up\.out"),
    "two runs": (lambda f: (f / "rs_hamiltonian.h5").touch(), r"of one run; found"),
    "other spin": (lambda f: edit(f / "control.in", "spin none", "spin collinear"), r"control\.in asks for spin collinear"),
    "cut H": (lambda f: cut(f / "rs_hamiltonian.out", 0.9), r"rs_hamiltonian\.out holds \d+ numbers, expected"),
    "cut S": (lambda f: cut(f / "rs_overlap.out", 0.5), r"rs_overlap\.out holds"),
    "cut index": (lambda f: cut(f / "rs_indices.out", 0.9), r"rs_indices\.out: \d+ numbers after line \d+ \(column_index"),
    "cut head": (lambda f: cut(f / "rs_indices.out", 0.01), r"rs_indices\.out is truncated"),
    "words in index": (lambda f: edit(f / "rs_indices.out", "999999999", "*********"), r"rs_indices\.out after line 4: expected integers"),
    "other index": (lambda f: edit(f / "rs_indices.out", "_hamiltonian\n         1", "_hamiltonian\n         9"), "another layout"),
    "nan": (
        lambda f: edit(f / "rs_hamiltonian.out", (f / "rs_hamiltonian.out").read_text().split("\n")[4], "NaN"),
        "line 5: 'NaN'",
    ),
    "stars": (lambda f: edit(f / "rs_overlap.out", (f / "rs_overlap.out").read_text().split("\n")[4], "*****"), "one number a line"),
    "not S": (lambda f: edit(f / "rs_overlap.out", " 1.0000", " 3.0000"), "overlap of a function of atom 1 with itself is off 1"),
    "molecule": (lambda f: edit(f / "geometry.in", "lattice_vector", "#"), "2 lattice vectors; expected 3"),
    "words in geometry": (
        lambda f: edit(f / "geometry.in", "lattice_vector", "lattice_vector x"),
        r"geometry\.in line 2: .* not understood",
    ),
    "ghost": (lambda f: edit(f / "geometry.in", "atom ", "empty "), r"line 5: 'empty' is not supported"),
    "unknown species": (lambda f: edit(f / "geometry.in", "heavy", "Mo"), r"line 6: control\.in has no species 'Mo'"),
    "nameless species": (lambda f: edit(f / "control.in", "nucleus 42", ""), "'heavy' has no 'nucleus'"),
    "relaxation": (lambda f: edit(f / "control.in", "xc pbe", "relax_geometry bfgs 1e-2"), "moves the atoms"),
    "cut basis": (lambda f: cut(f / "basis-indices.out", 0.5), "expected the functions of the atoms 1 to 3"),
    "order of m": (lambda f: edit(f / "basis-indices.out", "  1   4   1  -1", "  1   4   1   0"), r"order m = -1\.\.1"),
    "two bases": (lambda f: edit(f / "basis-indices.out", "atomic     3", "hydro      3"), "one basis an element"),
    "interrupted": (lambda f: (f / "aims.out").write_text("| Chemical potential (Fermi level): 1.0 eV\n"), "interrupted or failed"),
    "other output": (lambda f: (f / "aims.out").write_text("Have a nice day.\n"), "no line"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_runs_are_refused(tmp_path, case):
    folder = write_run(tmp_path / "run", Run(random_hamiltonian("none")))
    spoil, message = DAMAGE[case]
    spoil(folder)
    with pytest.raises(DeephError, match=message):
        aims.read(folder)


def test_values_of_another_run_are_refused(tmp_path):
    """Elements that Hermiticity makes equal are both stored where row and column are the same orbital."""
    data = random_hamiltonian("none")
    folder = write_run(tmp_path / "run", Run(data))
    values = np.loadtxt(folder / "rs_hamiltonian.out")
    np.savetxt(folder / "rs_hamiltonian.out", np.random.default_rng(3).permutation(values))
    with pytest.raises(DataError, match="Hermiticity makes equal differ"):
        aims.read(folder)


def test_exponents_of_three_digits(tmp_path):
    data = random_hamiltonian("none")
    tiny = replace(data, H=replace(data.H, entries=np.where(np.abs(data.H.entries) < 1, data.H.entries * 1e-120, data.H.entries)))
    folder = write_run(tmp_path / "run", Run(tiny))
    assert any("-12" in line and "E" not in line for line in (folder / "rs_hamiltonian.out").read_text().splitlines())
    back = aims.read(folder)
    assert np.allclose(back.H.on_pattern(tiny.H.pairs, tiny.H.shapes).entries, tiny.H.entries, rtol=0, atol=1e-13 * HARTREE)
