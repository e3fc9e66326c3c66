"""What is periodic, and that the direction of the vacuum vector changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model, supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_models import graphene, one_orbital_model

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import compute_bands
from postprocess.bands.crossings import find_crossings
from postprocess.bands.extrema import true_edge
from postprocess.bands.gap import BandEdge
from postprocess.bands.unfold import make_unfolding
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.solver import compute_energies
from postprocess.lattice.directions import named_directions
from postprocess.lattice.kpath import make_kpath
from postprocess.lattice.mesh import mesh_divisions
from postprocess.lattice.periodic import equivalent, in_plane_reciprocal, periodic_directions, winding_directions
from postprocess.lattice.special_points import special_points
from postprocess.states.fermi import find_fermi_level

TILT = np.array([[0, 0, 0], [0, 0, 0], [3.1, -7.4, 0]])
TILTED_CHAIN = np.array([[0, 0, 0], [2.9, 0, 0], [-4.2, 1.3, 0]])


def tilted(data, tilt=TILT):
    """The same slab or chain in a cell whose vacuum vectors have another direction; no block reaches across them."""
    assert not data.S.pairs[:, [axis for axis in range(3) if tilt[axis].any()]].any()
    return replace(data, system=System(data.system.cell + tilt, data.system.positions, data.system.numbers))


@pytest.fixture(params=["graphene", "mos2", "model", "chain"])
def slab(request):
    """A structure and itself with other vacuum vectors."""
    if request.param == "chain":
        hops = [((0, 0, 0), 0, 1, -1.5), ((1, 0, 0), 1, 0, -1.0)]
        data = one_orbital_model(np.diag([3.0, 20, 20]), [[0, 0, 0], [1.3, 0, 0]], hops, fermi_energy=1.2)
        return data, tilted(data, TILTED_CHAIN)
    if request.param == "model":
        return graphene(2.7, fermi_energy=0.5), tilted(graphene(2.7, fermi_energy=0.5))
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(request.getfixturevalue("shared_data") / "openmx" / request.param)
    return data, tilted(data)


def test_a_tilted_vacuum_vector_changes_no_path(slab):
    a, b = (make_kpath(data) for data in slab)
    assert a.labels == b.labels
    assert b.k == pytest.approx(a.k)
    assert b.distances == pytest.approx(a.distances)


def test_a_tilted_vacuum_vector_changes_no_mesh(slab):
    a, b = slab
    assert mesh_divisions(b) == mesh_divisions(a)
    assert mesh_divisions(b, 7.3) == mesh_divisions(a, 7.3)
    if a.H_bloch.n_orbitals < 3:
        meshes = [make_mesh(data) for data in slab]
        assert len(meshes[0].points) == len(meshes[1].points)  # the same symmetries


def test_a_tilted_vacuum_vector_changes_no_velocity(slab):
    """Where the bands cross a level along the path."""
    level = slab[0].fermi_energy - (2.0 if slab[0].system.n_atoms == 3 else 0.0)  # MoS2: in its valence bands
    found = []
    for data in slab:
        bands = compute_bands(data, make_kpath(data, n_points=40), fermi=level)
        found.append([(c.band, *np.round(c.k, 4) + 0.0, c.velocity) for c in find_crossings(data, bands)])
    assert len(found[0]) > 0
    assert np.array(found[1]) == pytest.approx(np.array(found[0]), rel=1e-6)


def test_a_tilted_vacuum_vector_changes_no_mass(slab):
    """The edge is found from beside it; k stays in the plane."""
    edges = []
    for data in slab:
        k = 0.97 * make_kpath(data, n_points=10).k[-1] + 0.02 * np.array(periodic_directions(data))
        edges.append(true_edge(data, BandEdge(0.0, 0, 0, k), highest=False))
    a, b = edges
    assert b.k == pytest.approx(a.k, abs=1e-6)
    assert b.energy == pytest.approx(a.energy, abs=1e-9)
    assert b.masses == pytest.approx(np.array(a.masses), rel=1e-4)
    assert b.axes == pytest.approx(np.array(a.axes), abs=1e-6)
    for name, u in named_directions(slab[0]).items():
        assert named_directions(slab[1])[name] == pytest.approx(u, abs=1e-9)


def test_the_speed_is_the_slope_along_the_path():
    """Against differences of levels over distances: both wrong in the same way would not agree with the straight cell above."""
    data = tilted(graphene(2.7))
    path = make_kpath(data, "GMKG", n_points=600)
    steps = np.diff(path.k, axis=0) @ in_plane_reciprocal(data)
    inside = np.delete(np.arange(len(steps)), path.bounds[1:-1] - 1)
    assert np.linalg.norm(steps, axis=1)[inside] == pytest.approx(np.diff(path.distances)[inside])
    assert np.abs(steps @ np.cross(*data.system.cell[:2])).max() < 1e-9  # in the plane


def test_unfolding_knows_the_matrix_for_a_tilted_vacuum_vector():
    small = random_model(5)
    big = tilted(supercell(small, (3, 2, 1)))
    with pytest.raises(UsageError, match=r"--unfold=([-\d,]+)$") as caught:
        make_unfolding(big.system, small.system.cell)
    assert make_unfolding(big.system, np.array(str(caught.value).rpartition("=")[2].split(","), float).reshape(3, 3)).n_cells == 6


@settings(deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20), st.permutations([0, 1, 2]), st.integers(1, 3))
def test_in_plane_reciprocal(x, y, axes, dimension):
    """k.a stays 2 pi k, the vectors of periodic directions lie in the span of the lattice vectors, those of the others normal to it."""
    cell = np.array([[2.5, 0.3, 0], [-1.2, 3.1, 0.4], [x, y, 25.0]])
    if dimension == 1:
        cell[1] *= 9
    if dimension == 3:
        cell[2] = 0.5, 0.4, 4.0
    cell = cell[list(axes)]
    system = System(cell, np.zeros((1, 3)), np.array([6]))
    periodic = np.array(periodic_directions(system))
    B = in_plane_reciprocal(system)
    if dimension > 1:
        assert periodic.sum() == dimension
    assert cell[periodic] @ B.T == pytest.approx(2 * np.pi * np.eye(3)[periodic], abs=1e-6)
    assert np.linalg.matrix_rank(np.vstack([cell[periodic], B[periodic]]), tol=1e-6) == periodic.sum()
    assert cell[periodic] @ B[~periodic].T == pytest.approx(0, abs=1e-6)


def chain_of_atoms(a, t):
    return one_orbital_model(np.diag([a, 20.0, 20.0]), [[0.1, 0, 0]], [((1, 0, 0), 0, 0, t)], n_electrons=1.0, fermi_energy=0.0)


def test_a_chain_with_distant_atoms_is_periodic_everywhere_if_its_bands_disperse():
    data = chain_of_atoms(7.0, -0.5)
    assert periodic_directions(data.system) == (False, False, False)  # all that the lattice alone can tell
    assert periodic_directions(data) == (True, False, False)
    assert special_points(data)[0].lattice == "1D chain"
    assert make_kpath(data).labels == ("G", "X")
    assert mesh_divisions(data)[0] > 1
    assert find_fermi_level(data, "count").energy == pytest.approx(0, abs=0.1)  # half filled; -1 at Gamma alone
    found = true_edge(data, BandEdge(-1.0, 0, 0, np.array([0.05, 0, 0])), highest=False)
    assert np.abs(found.k).max() < 1e-4
    assert len(found.masses) == 1


def test_tails_across_empty_space_make_no_crystal():
    data = chain_of_atoms(7.0, -0.01)
    assert periodic_directions(data) == (False, False, False)
    assert mesh_divisions(data) == (1, 1, 1)
    assert special_points(data)[0].lattice == "molecule"
    near = chain_of_atoms(4.0, -0.01)  # as weak, but no empty space
    assert periodic_directions(near) == (True, False, False)
    overlap = replace(chain_of_atoms(7.0, -0.5), H=None)
    assert periodic_directions(overlap) == (False, False, False)
    S = PairBlocks(overlap.S.pairs, overlap.S.shapes, np.where(overlap.S.entries == 0, 0.05, overlap.S.entries))
    assert periodic_directions(replace(overlap, S=S)) == (True, False, False)


def test_no_block_no_dispersion():
    """Layers 5 Angstrom apart, too near for the rule of empty space, whose blocks end within the layer."""
    flat = graphene(2.7)
    cell = flat.system.cell * np.array([[1], [1], [0.25]])
    data = replace(flat, system=System(cell, flat.system.positions, flat.system.numbers))
    assert periodic_directions(data.system) == (True, True, True)
    assert periodic_directions(data) == (True, True, False)
    assert mesh_divisions(data)[2] == 1
    assert make_kpath(data).labels == ("G", "M", "K", "G")


def moved(data, cells):
    """The same crystal, its atoms given in other cells: R of a block refers to the positions as they are."""
    cells = np.asarray(cells)
    shift = np.zeros((len(data.S.pairs), 5), np.int64)
    shift[:, :3] = cells[data.S.pairs[:, 3]] - cells[data.S.pairs[:, 4]]
    pairs = data.S.pairs + shift

    def on(blocks):
        return PairBlocks(pairs, blocks.shapes, blocks.entries)

    system = System(data.system.cell, data.system.positions + cells @ data.system.cell, data.system.numbers)
    return Hamiltonian(system, data.basis, on(data.S), on(data.H), n_electrons=data.n_electrons, fermi_energy=data.fermi_energy)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=3, max_size=3))
def test_the_cells_of_the_atoms_do_not_matter(cells):
    data = random_model(1)
    other = moved(data, cells)
    k = np.array([[0.1, 0.2, 0.3]])
    assert compute_energies(other, k) == pytest.approx(compute_energies(data, k))
    assert periodic_directions(other) == (True, True, False)
    assert mesh_divisions(other) == mesh_divisions(data)


def test_clusters_wind_only_where_a_walk_closes():
    molecule = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 1], [-1, 0, 0, 1, 0]])  # across the boundary, no crystal
    assert winding_directions(molecule, 3).tolist() == [False] * 3
    crystal = np.vstack([molecule, [[0, 1, 0, 1, 0], [0, -1, 0, 0, 1]]])  # back by another way: a chain along a + b
    assert winding_directions(crystal, 3).tolist() == [True, True, False]
    assert winding_directions(np.array([[0, 0, 2, 2, 2], [1, 0, 0, 0, 1]]), 3).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("h2o", (False, False, False)),
        ("o2_nc", (False, False, False)),
        ("mini_te_chain_soc", (True, False, False)),
        ("graphene", (True, True, False)),
        ("bilayer_ab", (True, True, False)),
        ("mos2", (True, True, False)),
        ("tbg28", (True, True, False)),
        ("si2_frac_wrap", (True, True, True)),
        ("bi2se3_soc", (True, True, True)),
    ],
)
def test_dft_data(shared_data, case, expected):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / case)
    assert periodic_directions(data) == periodic_directions(data.system) == expected
    assert tuple(n > 1 for n in mesh_divisions(data)) == expected


@pytest.mark.parametrize("case", ["h2o", "mini_te_chain_soc", "mos2", "gaas", "tbg28"])
def test_vacuum_is_the_same_where_structures_are_made(shared_data, case):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    from preprocess.structures.layers import vacuum_axes

    system = openmx.read(shared_data / "openmx" / case).system
    for height in (0.7, 1.0, 1.3):
        other = System(system.cell * np.array([[1], [1], [height]]), system.positions, system.numbers)
        assert vacuum_axes(other) == [axis for axis in range(3) if not periodic_directions(other)[axis]]


def test_water_across_the_boundary_stays_a_molecule(shared_data):
    openmx = pytest.importorskip("preprocess.readers.openmx")
    data = openmx.read(shared_data / "openmx" / "h2o")
    assert periodic_directions(moved(data, [[0, 0, 0], [1, 0, 0], [0, -1, 2]])) == (False, False, False)


def test_equivalent_k():
    K, other = np.array([1 / 3, 1 / 3, 0]), np.array([-2 / 3, 4 / 3, 0])
    assert equivalent(K, other)
    assert not equivalent(K, -K)
    assert equivalent(K, -K, time_reversal=True)
    assert equivalent(K, [2 / 3, 2 / 3, 0], time_reversal=True)
    assert not equivalent(K, [1 / 3, 2 / 3, 0], time_reversal=True)
    assert not equivalent(K, [1 / 3, 1 / 3, 0.2])
    assert equivalent(K, [1 / 3, 1 / 3, 0.2], periodic=(True, True, False))
    assert equivalent(np.array([K, -K, [0.1, 0, 0]]), K).tolist() == [True, False, False]
    assert not equivalent([0.2, 0.1, 0], [-0.2, 0.1, 0], time_reversal=True)  # every component with one sign


def test_default_mesh_holds_every_special_point_of_a_hexagonal_plane():
    """M as (1/2, 0), (0, 1/2) and (1/2, 1/2): both axes are multiples of six."""
    data = graphene(0.5)
    a, b, c = mesh_divisions(data)
    assert a == b
    assert a % 6 == 0
    assert c == 1
