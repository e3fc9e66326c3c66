"""Supercells, layers, perturbations, defects and frames: counts, distances, seeds."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.physics.layers import find_layers
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from preprocess.structures.defects import random_sites, with_defects
from preprocess.structures.distances import limits_from, limits_of_radii, shortest_distances, too_close
from preprocess.structures.layers import layer_gaps, slid, vacuum_axes, with_gaps
from preprocess.structures.monolayer import graphene
from preprocess.structures.perturb import Perturbation, draw, perturbed
from preprocess.structures.supercell import lattice_points, supercell
from preprocess.structures.trajectory import parse_slice, read_frames
from preprocess.structures.twist import stack

UNIT = np.eye(2, dtype=np.int64)
GRAPHENE_BOND = 2.46 / np.sqrt(3)
SILICON = System(2.715 * (1 - np.eye(3)), [[0, 0, 0], [1.3575, 1.3575, 1.3575]], [14, 14])
WATER = System(12 * np.eye(3), np.array([[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]]) + 6, [8, 1, 1])


def bilayer(n=1):
    """AB graphene, n x n cells."""
    shifts = np.array([[0, 0], [1 / 3, 1 / 3]])
    return supercell(stack([graphene()] * 2, [UNIT, UNIT], shifts=shifts, vacuum=12.65).system, [n, n, 1])


def mos2_bilayer():
    a, c = 3.16, 12.3
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    z = np.array([3.07, 4.63, 1.51])
    fractional = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0], [2 / 3, 1 / 3, 0]])
    one = fractional @ cell + np.outer(z, [0, 0, 1])
    return System(cell, np.concatenate([one, one + [0, 0, c / 2]]), [42, 16, 16] * 2)  # noqa: RUF005 - an array plus a vector


def distances_from(system, atom, reach):
    pairs = neighbour_pairs(system, {int(z): reach / 2 for z in set(system.numbers)})
    pairs = pairs[~is_onsite(pairs) & (pairs[:, 3] == atom)]
    return np.sort(np.linalg.norm(pair_vectors(system, pairs), axis=1))


@given(st.lists(st.integers(1, 3), min_size=3, max_size=3), st.lists(st.integers(-3, 3), min_size=6, max_size=6))
@settings(deadline=None, max_examples=60)
def test_supercells_have_the_right_volume_and_the_same_surroundings(diagonal, rest):
    lower, upper = np.diag(diagonal), np.eye(3, dtype=int)
    lower[np.tril_indices(3, -1)], upper[np.triu_indices(3, 1)] = rest[:3], rest[3:]
    matrix = lower @ upper
    volume = int(np.prod(diagonal))
    points = lattice_points(matrix)
    assert len(points) == volume
    inside = points @ np.linalg.inv(matrix)
    assert inside.min() > -1e-9
    assert inside.max() < 1 - 1e-9
    system = supercell(SILICON, matrix)
    assert system.n_atoms == 2 * volume
    assert abs(np.linalg.det(system.cell)) == pytest.approx(volume * abs(np.linalg.det(SILICON.cell)))
    for atom in (0, system.n_atoms - 1):
        assert np.allclose(distances_from(system, atom, 4.5), distances_from(SILICON, 0, 4.5), atol=1e-9)


def test_supercells_that_do_not_exist():
    with pytest.raises(UsageError, match=r"determinant 0: expected a positive one$"):
        supercell(SILICON, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    with pytest.raises(UsageError, match="exchange two of its rows"):
        supercell(SILICON, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    with pytest.raises(UsageError, match="expected 3 repetitions or a 3 x 3 matrix"):
        supercell(SILICON, [2, 2])
    slab = System(np.diag([3.0, 3, 20]), np.zeros((1, 3)), [14], (True, True, False))
    assert supercell(slab, [2, 2, 1]).pbc == (True, True, False)
    with pytest.raises(UsageError, match="does not repeat along lattice vector 3"):
        supercell(slab, [1, 1, 2])


@given(st.floats(-30, 30), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_layers_are_found_wherever_the_cell_is_cut(shift, seed):
    """Two layers of MoS2 in a bulk cell, moved through the boundary; the atoms in any order."""
    system = mos2_bilayer()
    normal = System(system.cell, system.positions + np.array([0, 0, shift]), system.numbers)
    wrapped = System(system.cell, (normal.fractional % 1.0) @ system.cell, system.numbers)
    order = np.random.default_rng(seed).permutation(6)
    labels = find_layers(wrapped.permuted(order))[np.argsort(order)]
    assert {frozenset(np.flatnonzero(labels == l).tolist()) for l in set(labels.tolist())} == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    assert layer_gaps(wrapped, find_layers(wrapped)) == pytest.approx([3.03])


def test_layers_are_counted_from_the_bottom_and_planes_by_the_gap():
    system = bilayer(2)
    labels = find_layers(system)
    assert (system.positions[labels == 1, 2].min() - system.positions[labels == 0, 2].max()) == pytest.approx(3.35)
    assert find_layers(mos2_bilayer(), gap=1.0).max() == 5
    assert find_layers(bilayer(), gap=4.0).max() == 0


@given(st.floats(2.9, 4.5))
def test_spacings_are_set_and_the_middle_stays(spacing):
    system = bilayer(2)
    labels = find_layers(system)
    new = with_gaps(system, labels, [spacing])
    assert layer_gaps(new, labels) == pytest.approx([spacing])
    assert new.positions[:, 2].mean() == pytest.approx(system.positions[:, 2].mean())
    assert np.array_equal(new.positions[:, :2], system.positions[:, :2])


def test_spacings_that_do_not_fit():
    system = bilayer()
    with pytest.raises(UsageError, match="2 layer spacings for a structure of 2 layers: expected 1"):
        with_gaps(system, find_layers(system), [3, 3])
    with pytest.raises(UsageError, match=r"only 12\.65 are empty"):
        with_gaps(system, find_layers(system), [15])
    moved = slid(system, find_layers(system), np.array([[0, 0], [0.5, 0.25]])).positions - system.positions
    assert np.allclose(moved[:2], 0)
    assert np.allclose(moved[2:], 0.5 * system.cell[0] + 0.25 * system.cell[1])


def test_vacuum_is_known():
    assert vacuum_axes(bilayer()) == [2]
    assert vacuum_axes(WATER) == [0, 1, 2]
    assert vacuum_axes(SILICON) == vacuum_axes(mos2_bilayer()) == []


@given(st.integers(0, 2**31), st.floats(0.001, 0.1))
@settings(deadline=None, max_examples=30)
def test_strain_is_bounded_and_never_across_vacuum(seed, strain):
    rng = np.random.default_rng(seed)
    for system, directions in ((SILICON, 3), (bilayer(), 2), (WATER, 0)):
        new = perturbed(system, rng, displacement=0.0, strain=strain)
        assert np.allclose(new.fractional, system.fractional, atol=1e-9)
        tensor = np.linalg.solve(system.cell, new.cell) - np.eye(3)
        assert np.allclose(tensor, tensor.T, atol=1e-12)
        assert np.abs(tensor).max() <= strain + 1e-12
        assert np.linalg.matrix_rank(tensor, tol=1e-12) <= directions
        if directions == 2:
            assert np.allclose(new.cell[2], system.cell[2])
        if directions:
            assert np.abs(tensor).max() > 0


def test_displacements_are_gaussian_with_the_width_asked_for():
    system = bilayer(12)
    shifts = perturbed(system, np.random.default_rng(0), displacement=0.05, strain=0.0).positions - system.positions
    assert shifts.std() == pytest.approx(0.05, rel=0.05)
    assert abs(shifts.mean()) < 0.005
    assert (np.abs(shifts) < 0.05).mean() == pytest.approx(0.6827, abs=0.03)


def test_structure_n_is_the_same_however_many_are_made():
    system = bilayer(2)
    limits = limits_from(system)
    make = Perturbation((0.02, 0.05), 0.01, slide=True, spacing=(3.2, 3.5))
    few = [draw(lambda rng: make(system, rng), limits, 3, n).system for n in (2, 0)]
    many = [draw(lambda rng: make(system, rng), limits, 3, n).system for n in range(4)]
    assert np.array_equal(few[0].positions, many[2].positions)
    assert np.array_equal(few[1].cell, many[0].cell)
    assert not np.array_equal(many[0].positions, many[1].positions)
    other = draw(lambda rng: make(system, rng), limits, 4, 2).system
    assert not np.array_equal(other.positions, many[2].positions)


def test_layers_slide_and_space_at_random():
    system = bilayer(3)
    make = Perturbation(slide=True, spacing=(3.2, 3.5))
    made = [make(system, np.random.default_rng(n)) for n in range(200)]
    gaps = np.concatenate([layer_gaps(s, find_layers(s)) for s in made])
    assert 3.2 <= gaps.min() < 3.22
    assert 3.48 < gaps.max() <= 3.5
    slides = np.array([(s.fractional - system.fractional)[-1, :2] for s in made])
    assert np.histogram2d(*slides.T, bins=2, range=[[0, 1], [0, 1]])[0].min() > 30
    lower = np.array([s.fractional[0] - system.fractional[0] for s in made])
    assert np.allclose(lower[:, :2], 0)


def test_close_atoms_are_drawn_again_from_the_next_stream():
    system = bilayer(3)
    limits = limits_from(system)
    assert limits == {(6, 6): pytest.approx(0.85 * GRAPHENE_BOND)}

    def make(rng):
        return perturbed(system, rng, displacement=0.08, strain=0.0)

    drawn = [draw(make, limits, 0, n) for n in range(10)]
    assert max(d.attempts for d in drawn) > 1
    for n, one in enumerate(drawn):
        assert not too_close(one.system, limits)
        for attempt in range(one.attempts):
            again = make(np.random.default_rng([0, n, attempt]))
            assert bool(too_close(again, limits)) == (attempt < one.attempts - 1)
        assert np.array_equal(again.positions, one.system.positions)
    with pytest.raises(DataError, match=r"structure 0: .* each of 100 draws .*C-C at .* closer than 1.207"):
        draw(lambda rng: perturbed(system, rng, displacement=0.5, strain=0.0), limits, 0, 0)


def test_distances_count_images_and_each_pair_of_elements():
    assert shortest_distances(WATER) == {(1, 8): pytest.approx(np.hypot(0.76, 0.59))}
    lonely = System(np.diag([1.0, 8, 8]), np.zeros((1, 3)), [6])
    assert shortest_distances(lonely) == {(6, 6): pytest.approx(1.0)}
    assert "C-C at 1.000 Angstrom, closer than 1.140" in too_close(lonely, limits_of_radii([6]))
    limits = limits_from(WATER)  # H-H is no bond: its limit follows from the radii, not from a distance across the box
    assert limits[1, 1] == pytest.approx(0.85 * 1.3 * 0.62)
    assert limits[1, 8] == pytest.approx(0.85 * np.hypot(0.76, 0.59))
    assert limits[8, 8] < 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"displacement": (0.2, 0.1)}, "displacement 0.2 0.1: expected a range"),
        ({"displacement": (-0.1, 0.1)}, "displacement"),
        ({"displacement": (3.0, 6.0)}, "displacement 6: expected Angstrom"),  # picometres
        ({"spacing": (3.5, 3.2)}, "spacing 3.5 3.2"),
        ({"strain": 2.0}, "such as 0.01 for 1 %"),
    ],
)
def test_perturbations_that_make_no_sense(wrong, message):
    with pytest.raises(UsageError, match=message):
        Perturbation(**wrong)


def test_one_layer_cannot_slide():
    with pytest.raises(UsageError, match="one layer only"):
        Perturbation(slide=True)(SILICON, np.random.default_rng(0))


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_random_defects_keep_their_number_and_distance(seed, n_vacant, n_nitrogen):
    system = bilayer(4)
    counts = [("C", n_vacant), ("C", n_nitrogen)]
    vacant, nitrogen = random_sites(system, np.random.default_rng(seed), counts, 3.0, given=[5])
    sites = [5, *vacant.tolist(), *nitrogen.tolist()]
    assert len(set(sites)) == 1 + n_vacant + n_nitrogen
    marked = System(system.cell, system.positions[sites], np.full(len(sites), 6))
    pairs = neighbour_pairs(marked, {6: 1.499})
    assert is_onsite(pairs).all()
    new = with_defects(system, vacancies=vacant.tolist(), substitutions=dict.fromkeys(nitrogen.tolist(), "N"))
    assert new.n_atoms == system.n_atoms - n_vacant
    assert (new.numbers == 7).sum() == n_nitrogen


def test_defects_of_atoms_outside_the_cell_keep_their_distance():
    system = bilayer(2)
    scattered = System(system.cell, system.positions + np.random.default_rng(0).integers(-4, 5, (16, 3)) @ system.cell, system.numbers)
    for seed in range(20):
        (sites,) = random_sites(scattered, np.random.default_rng(seed), [("C", 2)], 2.5)
        pairs = neighbour_pairs(System(system.cell, system.positions[sites], [6, 6]), {6: 1.24})
        assert is_onsite(pairs).all()


def test_defects_that_cannot_be_made():
    system = bilayer(2)
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="no atom 17: the structure has 16"):
        with_defects(system, vacancies=[16])
    with pytest.raises(UsageError, match="meant twice"):
        with_defects(system, vacancies=[1], substitutions={1: "N"})
    with pytest.raises(UsageError, match="atom 3 is C already"):
        with_defects(system, substitutions={2: "C"})
    with pytest.raises(UsageError, match="no element 'Xy'"):
        with_defects(system, substitutions={2: "Xy"})
    with pytest.raises(UsageError, match="all atoms"):
        with_defects(system, vacancies=range(16))
    with pytest.raises(UsageError, match="1 defects at N, but the structure has 0 of 16 atoms"):
        random_sites(system, rng, [("N", 1)], 3.0)
    with pytest.raises(DataError, match="5 defects 4 Angstrom apart found no place"):
        random_sites(system, rng, [("C", 5)], 4.0)


MD = """\
2
time=   {t:.3f} (fs)  Energy=  -11.0 (Hartree) Temperature= 300.000 (Given Temp. 300) Cell_Vectors=  9.0 0.0 0.0 0.0 9.5 0.0 0.0 0.0 10.0
   C      0.0000   0.0000   {z:.4f}   0.1 0.1 0.1  0.0 0.0 0.0  0.0 0.0 0.0
   O      0.0000   0.0000   1.2000   0.1 0.1 0.1  0.0 0.0 0.0  0.0 0.0 0.0
"""


def frames_of(path, text, cell=None):
    return [(n, round(float(s.positions[0, 2]), 4)) for n, s in read_frames(path, parse_slice(text), cell)]


@pytest.mark.parametrize("name", ["run.md", "run.xyz", "run.traj", "XDATCAR"])
def test_frames_are_numbered_as_in_the_file(tmp_path, name):
    from ase import Atoms
    from ase.io import write

    heights = [0.01 * n for n in range(12)]
    if name == "run.md":
        (tmp_path / name).write_text("".join(MD.format(t=n, z=z) for n, z in enumerate(heights)))
    else:
        frames = [Atoms("CO", [[0, 0, z], [0, 0, 1.2]], cell=[9, 9.5, 10], pbc=True) for z in heights]
        write(tmp_path / name, frames, **({"format": "vasp-xdatcar"} if name == "XDATCAR" else {}))
    path = tmp_path / name
    assert frames_of(path, ":") == [(n, pytest.approx(z, abs=1e-6)) for n, z in enumerate(heights)]
    assert frames_of(path, "2:9:3") == [(n, pytest.approx(heights[n], abs=1e-6)) for n in (2, 5, 8)]
    assert [n for n, _ in frames_of(path, "10:")] == [10, 11]
    _, system = next(read_frames(path, slice(0, 1)))
    assert np.allclose(system.cell, np.diag([9, 9.5, 10]))
    assert system.numbers.tolist() == [6, 8]
    with pytest.raises(DataError, match="has no frame in 12:"):
        frames_of(path, "12:")


def test_frames_without_a_cell_need_one(tmp_path):
    (tmp_path / "run.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.2\n" * 2)
    with pytest.raises(DataError, match="--cell FILE"):
        frames_of(tmp_path / "run.xyz", ":")
    assert len(frames_of(tmp_path / "run.xyz", ":", cell=9 * np.eye(3))) == 2


def test_damaged_trajectories(tmp_path):
    good = "".join(MD.format(t=n, z=0.0) for n in range(3))
    (tmp_path / "cut.md").write_text(good[: good.rindex("   O")])
    with pytest.raises(DataError, match="frame 2 has 1 atoms, expected 2"):
        frames_of(tmp_path / "cut.md", ":")
    assert len(frames_of(tmp_path / "cut.md", ":2")) == 2
    (tmp_path / "other.md").write_text("# Notes\n")
    with pytest.raises(DataError, match=r"is it an OpenMX \.md file"):
        frames_of(tmp_path / "other.md", ":")
    (tmp_path / "wrong.md").write_text(good.replace("9.0 0.0 0.0 0.0 9.5", "9.0 x"))
    with pytest.raises(DataError, match=r"frame 0: .*expected nine Cell_Vectors"):
        frames_of(tmp_path / "wrong.md", ":")
    (tmp_path / "bad.xyz").write_text("2\nProperties=species:S:1:pos:R:3\nC 0 0 0\n")
    with pytest.raises(DataError, match=r"bad.xyz, frame 0: .*is it complete"):
        frames_of(tmp_path / "bad.xyz", ":", np.eye(3))
    with pytest.raises(DataError, match="no trajectory at"):
        frames_of(tmp_path / "missing.xyz", ":")


@pytest.mark.parametrize("text", ["5", "a:b", "-3:", "1:2:0", "1:2:3:4"])
def test_slices_that_are_none(text):
    with pytest.raises(UsageError, match="expected START:STOP:STEP"):
        parse_slice(text)


def test_each_process_of_mpirun_reads_its_own_file(tmp_path, mpirun):
    """ASE would hand what the first process reads to all of them."""
    for n, symbol in enumerate(("C", "Si")):
        Atoms(symbol, cell=np.eye(3) * (3 + n), pbc=True).write(tmp_path / f"run@{n}.vasp", format="vasp")
        Atoms(symbol, cell=np.eye(3) * (3 + n), pbc=True).write(tmp_path / f"run@{n}.xyz", format="extxyz")
    code = (
        "import sys; from mpi4py import MPI; from pathlib import Path; from deeph.physics.system import read_structure;"
        "from preprocess.structures.trajectory import read_frames; n = MPI.COMM_WORLD.rank; file = Path(sys.argv[1]) / f'run@{n}';"
        "one = read_structure(file.with_suffix('.vasp')); _, two = next(read_frames(file.with_suffix('.xyz'), slice(0, 1)));"
        "sys.exit(one.symbols != [['C'], ['Si']][n] or two.symbols != one.symbols)"
    )
    done = subprocess.run([*mpirun, sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
