"""Commensurate stacks: counts, angles, lattices and registries, against formulas, brute force and two cells made elsewhere."""

import re
from dataclasses import replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError
from preprocess.readers.openmx.input import read_structure as read_openmx
from preprocess.structures.cells import cell_of, commensurate_cells
from preprocess.structures.commensurate import Wish
from preprocess.structures.monolayer import from_system, graphene, read_monolayer
from preprocess.structures.twist import stack, twisted

BOND = 2.46 / np.sqrt(3)
INDICES = st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda mn: gcd(*mn) == 1)
DEGREE = np.pi / 180


def neighbours(system, reach):
    """Vectors to all neighbours and the atoms they start from."""
    pairs = neighbour_pairs(system, {int(z): reach / 2 for z in set(system.numbers)})
    pairs = pairs[~is_onsite(pairs)]
    return pairs[:, 3], pair_vectors(system, pairs)


def boron_nitride(constant=2.504):
    return replace(graphene(constant), name="h-BN", numbers=np.array([5, 7]))


@given(INDICES)
@settings(deadline=None, max_examples=30)
def test_every_atom_has_three_neighbours_turned_by_the_exact_angle(mn):
    m, n = mn
    result = twisted([graphene(), graphene()], indices=mn)
    norm = m * m + m * n + n * n
    assert result.system.n_atoms == 4 * norm
    angle = np.degrees(np.arccos((m * m + 4 * m * n + n * n) / (2 * norm)))
    assert abs(abs(result.angles[1]) - angle) < 1e-6
    assert abs(result.strains).max() < 1e-12
    assert np.allclose(np.linalg.norm(result.system.cell[:2], axis=1), 2.46 * np.sqrt(norm), atol=1e-9)
    assert result.system.cell[0, 1] == 0
    assert -1e-8 < result.system.fractional.min() <= result.system.fractional.max() < 1 - 1e-9
    first, bonds = neighbours(result.system, 1.6)
    assert np.array_equal(np.bincount(first), np.full(result.system.n_atoms, 3))  # no bond is cut where the cell repeats
    assert np.allclose(np.linalg.norm(bonds, axis=1), BOND, atol=1e-9)
    directions = np.degrees(np.arctan2(bonds[:, 1], bonds[:, 0]))
    turns = [directions[result.layer[first] == layer] % 60 for layer in (0, 1)]
    difference = (turns[1][0] - turns[0][0] - result.angles[1] + 30) % 60 - 30
    assert abs(difference) < 1e-6


@given(INDICES, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=20)
def test_the_cell_is_a_lattice_vector_of_every_layer(mn, x, y):
    """Moving the stack by a vector of the common cell, expressed in the turned lattice of each layer, is a whole number of its cells."""
    layers = [graphene(), graphene()]
    result = twisted(layers, indices=mn, shifts=np.array([[0, 0], [x, y]]))
    for number, layer in enumerate(layers):
        own = result.system.positions[result.layer == number][:, :2]
        points = (own - own[0]) @ np.linalg.inv(turned_vectors(result, number, layer))
        distance = np.abs(points[:, None] - np.array([[0, 0], [1 / 3, 1 / 3], [-1 / 3, -1 / 3]]))
        assert np.abs(distance - np.rint(distance)).max(-1).min(1).max() < 1e-7
        cell = result.system.cell[:2, :2] @ np.linalg.inv(turned_vectors(result, number, layer))
        assert np.abs(cell - np.rint(cell)).max() < 1e-8


def turned_vectors(result, number, layer):
    """Lattice vectors of a layer as they lie in the stack, from the reported angles alone."""
    first = -np.arctan2(*(result.matrices[0][0] @ layer.vectors)[::-1])
    turn = first + result.angles[number] * DEGREE
    return layer.vectors @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


@given(st.floats(0.5, 59.5), st.integers(4, 1500))
@settings(deadline=None, max_examples=15)
def test_the_nearest_angle_is_the_nearest(angle, max_atoms):
    def value(m, n):
        return m + n * np.exp(1j * np.pi / 3)

    vectors = [(m, n) for m in range(-25, 26) for n in range(-25, 26) if 0 < 4 * (m * m + m * n + n * n) <= max_atoms]
    norms: dict[int, list[complex]] = {}
    for m, n in vectors:
        norms.setdefault(m * m + m * n + n * n, []).append(value(m, n))
    possible = [np.degrees(np.angle(p / q)) for group in norms.values() for p in group for q in group]
    best = min(abs((x - angle + 180) % 360 - 180) for x in possible)
    if best > min(0.1, 0.1 * angle, 0.1 * (60 - angle)):
        with pytest.raises(UsageError, match=rf"the nearest is {best:.4f} off"):
            twisted([graphene(), graphene()], wish=Wish((0, angle), max_atoms))
        return
    result = twisted([graphene(), graphene()], wish=Wish((0, angle), max_atoms))
    assert result.system.n_atoms <= max_atoms
    assert abs(abs(result.angles[1] - angle) - best) < 1e-5


def test_the_magic_angle_is_found():
    result = twisted([graphene(), graphene()], wish=Wish((0, 1.05), 12000))
    assert result.system.n_atoms == 11908
    assert result.angles[1] == pytest.approx(1.0501209, abs=1e-6)
    smaller = twisted([graphene(), graphene()], wish=Wish((0, 1.05), 11164))
    assert smaller.system.n_atoms == 11164
    assert smaller.angles[1] == pytest.approx(1.0845491, abs=1e-6)


def test_an_angle_that_is_not_there_is_an_error():
    """Never an untwisted cell for a small angle; the message has the smallest cell that is near enough."""
    two = [graphene(), graphene()]
    with pytest.raises(UsageError, match=r"1\.0500 off. The smallest cell that near has 10444 atoms: --max-atoms 10444"):
        twisted(two, wish=Wish((0, 1.05), 3000))
    assert abs(twisted(two, wish=Wish((0, 1.05), 10444)).angles[1] - 1.05) < 0.1
    with pytest.raises(UsageError, match="none up to 50000 atoms does"):
        twisted(two, wish=Wish((0, 0.05), 12000))
    with pytest.raises(UsageError, match=r"turned by 0, 60\.03 degrees"):  # nearly the symmetry of the lattice
        twisted(two, wish=Wish((0, 60.03), 5000))
    assert twisted(two, wish=Wish((0, 0.0), 5000)).system.n_atoms == 4


@given(st.integers(4, 900))
@settings(deadline=None, max_examples=20)
def test_the_table_lists_every_angle_with_its_smallest_cell(max_atoms):
    """Against all pairs of lattice vectors of one length."""
    w = np.exp(1j * np.pi / 3)
    vectors = [(m, n) for m in range(-16, 17) for n in range(-16, 17) if 0 < 4 * (m * m + m * n + n * n) <= max_atoms]
    smallest: dict[float, int] = {}
    for m, n in vectors:
        for k, l in vectors:
            if m * m + m * n + n * n == k * k + k * l + l * l:
                angle = round(float(np.degrees(np.angle((m + n * w) / (k + l * w)))) % 60, 5) % 60
                smallest[angle] = min(smallest.get(angle, max_atoms), 4 * (m * m + m * n + n * n))
    cells = commensurate_cells([graphene(), graphene()], max_atoms)
    assert {round(cell.angle, 5): cell.n_atoms for cell in cells} == smallest
    for cell in cells[:: max(len(cells) // 5, 1)]:
        made = twisted([graphene(), graphene()], vectors=cell.vectors)
        assert (made.system.n_atoms, made.angles[1]) == (cell.n_atoms, pytest.approx(cell.angle, abs=1e-6))
        assert abs(made.strains).max() < 1e-12


def test_a_cell_by_its_number_of_atoms():
    two = [graphene(), graphene()]
    assert cell_of(two, 11164).angle == pytest.approx(1.0845491, abs=1e-6)
    with pytest.raises(UsageError, match=r"no turned cell has 30 atoms; the nearest have 28 \(21\.7868 degrees\); 52"):
        cell_of(two, 30)
    trilayer = twisted([graphene()] * 3, vectors=cell_of([graphene()] * 3, 42).vectors)
    assert trilayer.angles == pytest.approx([0, 21.7867893, 0], abs=1e-6)
    strained = commensurate_cells([graphene(), boron_nitride()], 400, 0.02)
    assert strained[0].strain == pytest.approx(2.46 / 2.504 - 1)
    assert all(abs(cell.strain) <= 0.02 for cell in strained)
    square = replace(graphene(), vectors=2.46 * np.eye(2), kind="square")
    assert [round(c.angle, 3) for c in commensurate_cells([square, square], 20)] == [0, 36.87, 53.13]
    with pytest.raises(UsageError, match="two lattices in turn"):
        commensurate_cells([graphene(), graphene(), boron_nitride()], 100)


def test_a_tolerance_takes_the_smallest_cell():
    result = twisted([graphene(), graphene()], wish=Wish((0, 13.0), 5000, tolerance=0.3))
    assert result.system.n_atoms == 76
    assert result.angles[1] == pytest.approx(13.1736, abs=1e-4)


@given(st.floats(2.3, 2.7), st.floats(5, 25))
@settings(deadline=None, max_examples=15)
def test_layers_of_other_materials_are_strained_as_reported(constant, angle):
    result = twisted([graphene(), boron_nitride(constant)], wish=Wish((0, angle), 2000, 0.03, 5.0), spacing=3.3)
    assert abs(result.strains[0]).max() < 1e-12
    assert abs(result.strains[1]).max() <= 0.03 + 1e-9
    assert abs(result.angles[1] - angle) <= 5
    assert result.system.n_atoms <= 2000
    first, bonds = neighbours(result.system, 1.9)
    lengths = np.linalg.norm(bonds, axis=1)
    below = result.layer[first] == 0
    assert np.allclose(lengths[below], BOND, atol=1e-9)
    assert np.allclose(lengths[~below], constant / np.sqrt(3) * (1 + result.strains[1, 0]), atol=1e-9)
    assert np.isclose(result.strains[1, 0], result.strains[1, 1])
    assert np.array_equal(np.bincount(first), np.full(result.system.n_atoms, 3))


def test_the_limit_counts_the_atoms_of_strained_layers():
    """33 : 32 cells in a row fit within 0.05 percent, and have 2 (33^2 + 32^2) = 4226 atoms."""
    layers = [graphene(2.46), boron_nitride(2.46 * 33 / 32 * 1.0002)]
    assert twisted(layers, wish=Wish((0, 0), 4226, 0.0005)).system.n_atoms == 4226
    with pytest.raises(UsageError, match="within 4225 atoms"):
        twisted(layers, wish=Wish((0, 0), 4225, 0.0005, 0.01))


def test_alternating_trilayer_and_other_angles():
    three = [graphene()] * 3
    result = twisted(three, wish=Wish((0, 9.43, 0), 2000))
    assert result.angles == pytest.approx([0, 9.43, 0], abs=0.01)
    assert result.system.n_atoms == 222
    lower, upper = (result.system.positions[result.layer == l] for l in (0, 2))
    assert np.allclose(lower[:, :2], upper[:, :2])
    assert np.allclose(upper[:, 2] - lower[:, 2], 6.7)
    stairs = twisted(three, wish=Wish((0, 3, 6), 3000, 0.003, 0.1))
    assert stairs.angles == pytest.approx([0, 3, 6], abs=0.1)
    assert abs(stairs.strains).max() <= 0.003


def test_sixty_degrees_and_square_lattices():
    assert twisted([boron_nitride(), boron_nitride()], wish=Wish((0, 60), 10)).angles[1] == pytest.approx(60)
    assert twisted([boron_nitride(), boron_nitride()], wish=Wish((0, 60), 10)).system.n_atoms == 4
    half_turn = twisted([boron_nitride(), boron_nitride()], wish=Wish((0, 180), 10))
    assert half_turn.angles.tolist() == [0.0, pytest.approx(180)]
    square = from_system(System(np.diag([4.0, 4.0, 20.0]), [[0, 0, 5.0]], [26]), "square")
    result = twisted([square, square], indices=(1, 2), spacing=3.0)
    assert result.system.n_atoms == 10
    assert result.angles[1] == pytest.approx(36.8699, abs=1e-4)


def test_registry_and_centre():
    def above(shift):
        positions = twisted([graphene()] * 2, wish=Wish((0, 0), 4), shifts=np.array([[0, 0], shift])).system.fractional[:, :2]
        difference = positions[:2, None] - positions[None, 2:]
        return int((np.abs(difference - np.rint(difference)).max(-1) < 1e-9).sum())

    assert above([0, 0]) == 2
    assert above([1 / 3, 1 / 3]) == above([2 / 3, 2 / 3]) == 1
    assert above([0.1, 0.2]) == 0
    hexagon = twisted([graphene().centred("hexagon")] * 2, indices=(2, 3))
    distances = np.linalg.norm(around_the_axis(hexagon), axis=1)
    assert np.allclose(np.sort(distances)[:12], BOND)
    atom = twisted([graphene().centred("atom")] * 2, indices=(2, 3))
    assert np.sort(np.linalg.norm(around_the_axis(atom), axis=1))[:3] == pytest.approx([0, 0, BOND], abs=1e-9)


def around_the_axis(result):
    """In-plane positions in the cells around the axis."""
    images = np.stack(np.meshgrid([-1, 0], [-1, 0]), -1).reshape(-1, 2) @ result.system.cell[:2, :2]
    return (result.system.positions[:, None, :2] + images).reshape(-1, 2)


@pytest.mark.parametrize("change", ["sixty", "through the top", "turned", "upside down"])
def test_a_layer_is_the_same_however_its_file_describes_it(change):
    a = 3.16
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0.4, 0.1, 18]])
    positions = np.array([[0, 0, 9.0], [0, a / np.sqrt(3), 10.56], [0, a / np.sqrt(3), 7.44]])
    system = System(cell, positions, [42, 16, 16])
    if change == "sixty":
        system = System(np.array([cell[0], cell[0] + cell[1], cell[2]]), positions, system.numbers)
    elif change == "through the top":
        lifted = System(cell, positions + np.array([0, 0, 9.0]), system.numbers)
        system = System(cell, (lifted.fractional % 1.0) @ cell, system.numbers)
    elif change == "turned":
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        system = System(cell @ turn, positions @ turn, system.numbers)
    else:
        system = System(cell * [1, 1, -1], positions * [1, 1, -1], system.numbers)
    reference = stack([from_system(System(cell, positions, [42, 16, 16]), "a")], [np.eye(2, dtype=int)], shifts=np.zeros((1, 2)))
    layer = from_system(system, "b")
    assert layer.kind == "hexagonal"
    result = stack([layer], [np.eye(2, dtype=int)], shifts=np.zeros((1, 2)))
    assert np.allclose(result.system.cell, reference.system.cell)
    ours, theirs = (np.linalg.norm(neighbours(one.system, 5.0)[1], axis=1) for one in (result, reference))
    assert np.allclose(np.sort(ours), np.sort(theirs), atol=1e-9)


@pytest.mark.parametrize("change", ["none", "exchanged", "reversed", "downwards", "sixty", "tilted"])
def test_above_stays_above_in_a_cell_of_either_hand(change):
    """A Janus layer, Se below Mo below S, in cells whose vectors are exchanged or point the other way."""
    a = 3.25
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 18.0]])
    system = System(cell, np.array([[0, 0, 9.0], [0, a / np.sqrt(3), 10.5], [0, a / np.sqrt(3), 7.3]]), np.array([42, 16, 34]))
    turn = np.eye(3)
    if change == "tilted":
        turn, _ = np.linalg.qr(np.array([[1, 0.2, 0.3], [0, 1, 0.4], [0.1, 0, 1.0]]))
        turn *= np.sign(np.diag(turn))
    cells = {"exchanged": cell[[1, 0, 2]], "reversed": cell * [[1], [-1], [1]], "downwards": cell * [[1], [1], [-1]],
             "sixty": np.array([cell[0] + cell[1], cell[0], cell[2]])}  # fmt: skip
    layer = from_system(System(cells.get(change, cell) @ turn, system.positions @ turn, system.numbers), change)
    assert layer.kind == "hexagonal"
    assert layer.numbers[np.argsort(layer.heights)].tolist() == [34, 42, 16]
    assert np.linalg.det(layer.vectors) > 0
    assert abs(layer.vectors[1] @ layer.vectors[0] - a * a / 2) < 1e-9
    result = twisted([layer, layer], indices=(1, 2), spacing=3.0).system
    _, vectors = neighbours(result, 2.9)
    reference = twisted([from_system(system, "given")] * 2, indices=(1, 2), spacing=3.0).system
    assert np.allclose(np.sort(vectors[:, 2]), np.sort(neighbours(reference, 2.9)[1][:, 2]), atol=1e-6)


def test_thick_layers_keep_the_distance_of_their_facing_planes():
    a = 3.16
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 18]])
    layer = from_system(System(cell, [[0, 0, 9.0], [0, a / np.sqrt(3), 10.56], [0, a / np.sqrt(3), 7.44]], [42, 16, 16]), "MoS2")
    result = twisted([layer, layer], indices=(1, 2), spacing=2.96, vacuum=12.0)
    z = result.system.positions[:, 2]
    assert z[result.layer == 1].min() - z[result.layer == 0].max() == pytest.approx(2.96)
    assert z.min() == pytest.approx(6.0)
    assert result.system.cell[2, 2] - z.max() == pytest.approx(6.0)


def test_matrices_stack_any_lattices():
    rectangle = from_system(System(np.diag([3.0, 4.0, 20.0]), [[0, 0, 5.0]], [26]), "rectangle")
    assert rectangle.kind == "oblique"
    stretched = replace(rectangle, vectors=np.array([[3.0 / 1.01, 0], [0, 4.0]]))
    result = stack([rectangle, stretched], [np.array([[2, 0], [0, 1]])] * 2, shifts=np.zeros((2, 2)), spacing=3.0)
    assert result.system.n_atoms == 4
    assert result.strains[1] == pytest.approx([0, 0.01])
    with pytest.raises(UsageError, match="rectangle oblique: expected all hexagonal"):
        twisted([rectangle, rectangle], wish=Wish((0, 5), 100))
    with pytest.raises(UsageError, match=r"would be strained by -25.0% to \+0.0%"):
        stack([rectangle, rectangle], [np.array([[3, 0], [0, 1]]), np.array([[4, 0], [0, 1]])], shifts=np.zeros((2, 2)))


def test_what_is_impossible_is_said():
    two = [graphene(), graphene()]
    with pytest.raises(UsageError, match="1 2 is the same in a smaller cell"):
        twisted(two, indices=(3, 6))
    with pytest.raises(UsageError, match="none negative"):
        twisted(two, indices=(-1, 2))
    with pytest.raises(UsageError, match="expected 1 lengths above 0"):
        twisted(two, indices=(1, 2), spacing=[3.0, 3.0])
    with pytest.raises(UsageError, match=r"2.4600, 2.5040 .*none up to 50000 atoms does; allow more with --max-strain or --tolerance"):
        twisted([graphene(), boron_nitride()], wish=Wish((0, 5), 100))
    with pytest.raises(UsageError, match=r"the nearest is 5\.0000 off"):
        twisted(two, wish=Wish((0, 5), 100, tolerance=0.1))
    with pytest.raises(UsageError, match=r"such as graphene:2\.46"):
        read_monolayer("graphene:x")
    with pytest.raises(DataError, match="no layer 'graphite'"):
        read_monolayer("graphite")
    bilayer = twisted(two, indices=(1, 2)).system
    with pytest.raises(DataError, match="2 layers along its third lattice vector"):
        from_system(bilayer, "bilayer")


def test_the_28_atom_cell_computed_with_openmx(shared_data: Path):
    reference, _, _ = read_openmx(shared_data / "openmx" / "tbg28" / "tbg28.dat")
    ours = twisted([graphene(), graphene()], indices=(1, 2), vacuum=12.65).system
    assert np.allclose(ours.cell, reference.cell, atol=1e-9)
    distances = [np.sort(np.linalg.norm(neighbours(system, 8.0)[1], axis=1)) for system in (ours, reference)]
    assert len(distances[0]) == len(distances[1])
    assert np.abs(distances[0] - distances[1]).max() < 1e-9


def test_the_11164_atom_cell_made_elsewhere(shared_data: Path):
    """Same cell; each layer coincides up to the eight digits of the file, but for two atoms it has 0.008 Angstrom beside their sites."""
    reference, _, _ = read_openmx(shared_data / "structures" / "MATBG.dat")
    ours = twisted([graphene(), graphene()], indices=(30, 31), vacuum=26.65)
    assert ours.system.n_atoms == reference.n_atoms == 11164
    assert np.abs(ours.system.cell - reference.cell).max() < 1e-7
    assert ours.angles[1] == pytest.approx(1.08455, abs=1e-5)
    z = reference.positions[:, 2]
    for layer, height in enumerate((z.min(), z.max())):
        own = ours.system.fractional[ours.layer == layer][:, :2]
        theirs = reference.fractional[abs(z - height) < 1e-3][:, :2]
        errors = min((misfit(own, theirs, theirs[k] - own[0]) for k in range(1000, 1020)), key=np.median) * ours.system.cell[0, 0]
        assert np.sort(errors)[-3] < 2e-6
        assert errors.max() < 0.01
        assert (errors > 1e-3).sum() == (2, 0)[layer]


def test_python_of_the_page_runs():
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "structures.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code.group(1), "structures.md", "exec"), names)  # noqa: S102 - our own page
    assert (names["result"].system.n_atoms, names["training"].n_atoms) == (76, 304)


def misfit(points, others, shift):
    """Distance (fractional) of each of the others from the nearest shifted point."""
    return cKDTree((points + shift) % 1.0 % 1.0, boxsize=1.0).query(others % 1.0 % 1.0)[0]
