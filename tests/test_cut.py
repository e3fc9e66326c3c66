"""Ribbons and slabs against the formulas of exact models, and against the crystal they are cut from."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
from lattice_models import changed_basis, graphene, hypercubic
from openmx_files import unpack_run
from pao_files import write_pao

import deeph
from deeph import DeephError
from deeph.physics.system import System
from postprocess.lattice.periodic import periodic_directions
from preprocess.orbitals.pao import read_pao
from preprocess.overlap.two_centre import TwoCentre


def zigzag(n, k, first, then):
    """Levels of a chain of n pairs with hoppings ``first`` in a pair and ``then`` between pairs."""
    hops = np.array([first, then] * n)[: 2 * n - 1]
    return np.linalg.eigvalsh(np.diag(hops, 1) + np.diag(hops, -1))


@pytest.mark.parametrize("direction", ["b", 1, (0, 1, 0), (0, -3, 0)])
def test_zigzag_ribbon(direction):
    """Across the ribbon the chain 2 cos(k/2), 1, 2 cos(k/2), ... : flat edge states at zero where 2 cos(k/2) < 1."""
    ribbon = graphene().cut(direction, 10)
    assert periodic_directions(ribbon) == (True, False, False)
    for k in (0.0, 0.2, 0.4, 0.5):
        expected = zigzag(10, k, 2 * np.cos(np.pi * k), 1.0)
        assert np.allclose(ribbon.eigenvalues([k, 0, 0]), expected, rtol=0, atol=1e-12)
    edge = ribbon.eigenvalues([0.45, 0, 0])[9:11]
    assert np.abs(edge).max() < 1e-4
    assert np.allclose(ribbon.eigenvalues([0.5, 0, 0]), [-1] * 9 + [0, 0] + [1] * 9, atol=1e-12)


def test_the_other_edge_is_cut_where_it_is_asked_for():
    """Bearded edges: two bonds of each edge atom are cut instead of one, and the edge states are where zigzag has none."""
    ribbon = graphene().cut("b", 10, at=0.2)
    for k in (0.0, 0.2, 0.45):
        assert np.allclose(ribbon.eigenvalues([k, 0, 0]), zigzag(10, k, 1.0, 2 * np.cos(np.pi * k)), rtol=0, atol=1e-12)
    assert np.abs(ribbon.eigenvalues([0, 0, 0])[9:11]).max() < 2e-3


@pytest.mark.parametrize("n", [5, 6, 7])
def test_armchair_ribbon(n):
    """E = +-sqrt(1 + 4 e cos(k/2) + 4 e^2), e = cos(p pi / (n + 1)): a metal for n = 3 m + 2 (K. Nakada, PRB 54, 17954)."""
    ribbon = graphene().cut((2, -1, 0), n)
    e = np.cos(np.arange(1, n + 1) * np.pi / (n + 1))
    for k in (0.0, 0.1, 0.37):
        positive = np.sqrt(1 + 4 * e * np.cos(np.pi * k) + 4 * e**2)
        expected = np.sort(np.concatenate([-positive, positive]))
        found = ribbon.eigenvalues([k, 0, 0])
        assert np.allclose(found, expected, rtol=0, atol=1e-7)
    gap = np.diff(ribbon.eigenvalues([0, 0, 0]))[n - 1]
    assert (gap < 1e-7) == (n % 3 == 2)


def test_slab_of_a_cubic_crystal():
    """Standing waves: E = -2 cos kx - 2 cos ky - 2 cos(p pi / (n + 1))."""
    slab = hypercubic(3).cut(2, 7)
    assert periodic_directions(slab) == (True, True, False)
    waves = -2 * np.cos(np.arange(1, 8) * np.pi / 8)
    for k in ([0, 0], [0.1, 0.3]):
        plane = -2 * np.cos(2 * np.pi * np.array(k)).sum()
        assert np.allclose(slab.eigenvalues([*k, 0]), plane + waves, rtol=0, atol=1e-12)
    wire = slab.cut("a", 3)
    assert periodic_directions(wire) == (False, True, False)
    expected = np.sort((waves[:, None] - 2 * np.cos(np.arange(1, 4) * np.pi / 4)).ravel()) - 2
    assert np.allclose(wire.eigenvalues([0, 0, 0]), expected, rtol=0, atol=1e-12)
    dot = wire.cut("b", 2)
    assert periodic_directions(dot) == (False, False, False)


@pytest.mark.parametrize(("miller", "reach"), [((1, 1, 1), 3.0), ((1, -1, 1), 3.0), ((-2, -2, -2), 3.0)])
def test_111_slab(miller, reach):
    """Every bond leads to the next plane: at Gamma 2 * 3 cos(p pi / (n + 1))."""
    slab = hypercubic(3).cut(miller, 6)
    assert np.allclose(slab.eigenvalues([0, 0, 0]), -2 * reach * np.cos(np.arange(1, 7) * np.pi / 7), rtol=0, atol=1e-12)
    normal = np.cross(slab.system.cell[0], slab.system.cell[1])
    cosine = normal @ np.array(miller) / np.linalg.norm(normal) / np.linalg.norm(miller)
    assert abs(cosine) == pytest.approx(1)
    assert np.linalg.norm(normal) == pytest.approx(4 * np.sqrt(3))  # the primitive cell of the plane
    assert np.linalg.det(slab.system.cell) > 0


@pytest.mark.parametrize("miller", [(1, 1, 0), (0, 1, 2), (3, 0, -2), (2, 3, -5), (1, -2, 4)])
def test_planes_of_any_indices_have_the_primitive_cell_of_the_plane(miller):
    slab = hypercubic(3).cut(miller, 15)
    plane = [slab.system.cell[a] for a in range(3) if periodic_directions(slab)[a]]
    assert len(plane) == 2
    assert np.allclose(np.array(plane) @ miller, 0)
    assert np.linalg.norm(np.cross(*plane)) == pytest.approx(4 * np.linalg.norm(miller))
    assert slab.n_orbitals == 15


def test_the_ribbon_does_not_depend_on_how_the_crystal_is_stored():
    """Other lattice vectors across, and atoms in other cells."""
    h = graphene()
    expected = [h.cut("b", 8).eigenvalues([k, 0, 0]) for k in (0.1, 0.4)]
    pairs = h.S.pairs.copy()
    pairs[:, 0] -= 5 * pairs[:, 1]  # b' = b + 5 a
    cell = h.system.cell + np.array([[0, 0, 0], 5 * h.system.cell[0], [0, 0, 0]])
    sheared = replace(h, system=replace(h.system, cell=cell), H=replace(h.H, pairs=pairs), S=replace(h.S, pairs=pairs))
    moved_pairs = h.S.pairs.copy()
    moved_pairs[:, :3] += np.outer((h.S.pairs[:, 3] == 1).astype(int) - (h.S.pairs[:, 4] == 1), [2, -3, 0])
    moved = h.system.positions + np.array([[0], [1]]) * ([2, -3, 0] @ h.system.cell)
    system = replace(h.system, positions=moved)
    stored = replace(h, system=system, H=replace(h.H, pairs=moved_pairs), S=replace(h.S, pairs=moved_pairs))
    assert np.ptp(sheared.cut("b", 8).system.positions[:, 0]) < 5  # it stays upright
    for other in (sheared, stored):
        ribbon = other.cut("b", 8)
        assert np.allclose([ribbon.eigenvalues([k, 0, 0]) for k in (0.1, 0.4)], expected, atol=1e-12)


def test_everything_is_cut_alike(tmp_path):
    """S and r of a ribbon are those of its orbitals, H Hermitian; atoms, electrons and spins go on."""
    h = changed_basis(graphene(n_electrons=2.0, fermi_energy=0.2))
    ribbon = h.cut("b", 4)
    assert ribbon.n_electrons == 8
    assert ribbon.fermi_energy is None
    assert ribbon.H.hermiticity_error() < 1e-12
    assert np.allclose(ribbon.eigenvalues([0.3, 0, 0]), graphene().cut("b", 4).eigenvalues([0.3, 0, 0]), atol=1e-10)

    engine = TwoCentre({6: read_pao(write_pao(tmp_path / "C6.0.pao", "C", 4, cutoff=4.0), "s2p2d1")})
    layer = ase.build.graphene(vacuum=8)
    system = System.from_ase(layer)
    S, r = engine.compute(system), engine.compute(system, "position")
    piece = deeph.Hamiltonian(system, engine.basis, S, r=r).cut((2, -1, 0), 5)
    for blocks, operator in ((piece.S, "overlap"), (piece.r, "position")):
        again = engine.compute(piece.system, operator)
        assert again.n_pairs == blocks.n_pairs
        assert np.allclose(again.on_pattern(blocks.pairs, blocks.shapes).entries, blocks.entries, atol=1e-10)


def test_spinor_matrices_and_saved_folders(tmp_path):
    chain = deeph.read(unpack_run("mini_te_chain_soc", tmp_path / "run"))
    axis = int(np.argmax(periodic_directions(chain)))
    dot = chain.cut(axis, 3)
    assert periodic_directions(dot) == (False, False, False)
    levels = dot.eigenvalues([0, 0, 0])
    assert dot.H.hermiticity_error() <= chain.H.hermiticity_error()
    ribbon = graphene().cut("b", 5)
    both = np.repeat(ribbon.eigenvalues([0.2, 0, 0]), 2)
    assert np.allclose(graphene().to_spinor().cut("b", 5).eigenvalues([0.2, 0, 0]), both, atol=1e-12)
    dot.save(tmp_path / "dot")
    again = deeph.read(tmp_path / "dot")
    assert np.allclose(again.eigenvalues([0.1, 0.2, 0.3]), levels, atol=1e-9)
    assert again.source["changes"] == [f"cut to 3 cells along {axis}"]


@pytest.mark.parametrize(
    ("direction", "width", "words"),
    [
        ("c", 3, "nothing to cut"),
        ("b", 0, "positive whole number"),
        ("b", 2.5, "positive whole number"),
        ("d", 3, "expected a lattice vector"),
        (3, 3, "expected a lattice vector"),
        ((0, 0, 0), 3, "Miller indices"),
        ((1.0, 0, 0), 3, "Miller indices"),
        ((0, 1, 1), 3, "nothing to cut"),
    ],
)
def test_what_cannot_be_cut_says_so(direction, width, words):
    h = graphene()
    with pytest.raises(DeephError, match=words):
        replace(h, system=replace(h.system, pbc=(True, True, False))).cut(direction, width)


def test_levels_of_a_real_ribbon_interlace_those_of_graphene(shared_data):
    """Cauchy: the ribbon is a part of n + m cells in a ring, so its j-th level lies between the j-th of the ring and one m cells further.

    Nearly all lie in the projected bands of graphene; the rest are states of the dangling edges.
    """
    h = deeph.read(shared_data / "openmx" / "graphene")
    n, m, own = 14, 6, h.n_orbitals  # orbitals reach less than 6 cells
    ribbon = h.cut("b", n)
    assert ribbon.H.hermiticity_error() <= h.H.hermiticity_error()
    for k in (0.0, 0.2, 0.47):
        levels = ribbon.eigenvalues([k, 0, 0])
        ring = np.sort(h.eigenvalues([[k, q / (n + m), 0] for q in range(n + m)]).ravel())
        assert (ring[: n * own] <= levels + 1e-6).all()
        assert (levels <= ring[m * own :] + 1e-6).all()
        bulk = h.eigenvalues([[k, q, 0] for q in np.linspace(0, 1, 100, endpoint=False)])
        near = levels[(levels > bulk.min() - 1) & (levels < 5)]
        inside = ((near[:, None] >= bulk.min(axis=0) - 1e-3) & (near[:, None] <= bulk.max(axis=0) + 1e-3)).any(axis=1)
        assert inside.mean() > 0.9


@pytest.mark.parametrize("noise", [0.0, 1e-12, -1e-12])
def test_an_atom_on_the_plane_of_the_cut_is_not_moved_by_rounding(noise):
    """Rounding of a file must not turn a zigzag edge into another one."""
    layer = graphene()
    positions = layer.system.positions.copy()
    positions[0] += noise * layer.system.cell[1]
    ribbon = replace(layer, system=System(layer.system.cell, positions, layer.system.numbers)).cut("b", 4, at=0.0)
    assert np.allclose(ribbon.eigenvalues([0.4, 0, 0]), graphene().cut("b", 4).eigenvalues([0.4, 0, 0]), rtol=0, atol=1e-9)
