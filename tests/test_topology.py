"""Topological invariants of exact models, in any basis and from any origin, by routes that share nothing but H(k)."""

from dataclasses import replace

import numpy as np
import pytest
from tight_binding import changed_basis, haldane, moved_origin, tight_binding, with_spinors
from topology_cases import S0, bhz, kane_mele, rice_mele, weyl_semimetal

from deeph.runtime.errors import DataError, UsageError
from postprocess.geometry.hall import hall_conductivity
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.adaptive import Refinement
from postprocess.states.fermi import find_fermi_level
from postprocess.topology.chern import chern_number, lattice_plane, surface_flux
from postprocess.topology.groups import BandGroup, energies_at, filled_groups, named_group, states_of
from postprocess.topology.links import CoarseMeshError, PeriodicParts
from postprocess.topology.mirror import mirror_chern_number
from postprocess.topology.parity import z2_by_parity
from postprocess.topology.polarisation import born_charges, followed, ion_charges, parse_charges, polarisation
from postprocess.topology.spin_orbit import find_transition
from postprocess.topology.weyl import find_weyl_points
from postprocess.topology.wilson import Lines
from postprocess.topology.z2 import z2_by_flow

E = np.eye(3)
LOWEST = BandGroup(0, 1)
PAIR = BandGroup(0, 2, filled=True)


def chern(data, n=12, k3=0.0):
    return chern_number(data, LOWEST, lattice_plane(data, 2, k3), (n, n))


@pytest.mark.parametrize("phi", [-1.5, -0.6, 0.6, 1.5])
@pytest.mark.parametrize("share", [-1.3, -0.8, 0.1, 0.8, 1.3])
def test_haldane_phase_diagram(phi, share):
    """Which phase is decided by the mass alone, for any description of the model; the sign is that of the integrated curvature."""
    data = haldane(share * 0.3 * np.sqrt(3) * np.sin(phi), phi)
    expected = int(np.sign(np.sin(phi))) if abs(share) < 1 else 0
    for form in (data, moved_origin(changed_basis(data))):
        found = chern(form)
        assert found.number == expected
        assert found.flux.sum() == pytest.approx(expected, abs=1e-8)
        assert found.smallest > 0.7


def test_flux_is_that_of_the_kubo_curvature():
    """Plaquettes against the curvature at their middles from a code that knows no links."""
    data, n = haldane(0.1, 0.8), 200
    parts = PeriodicParts(data)
    area = (2 * np.pi) ** 2 / abs(np.linalg.det(data.system.cell[:2, :2])) / n**2
    for k in np.array([[0.07, 0.1, 0], [0.33, 0.34, 0], [0.65, 0.67, 0], [0.8, 0.1, 0]]):
        corners = k + np.array([[[x, y, 0] for y in (-0.5, 0.5)] for x in (-0.5, 0.5)]) / n
        flux, _, _ = surface_flux(parts, states_of(data, LOWEST, corners), (1, 1))
        assert flux.sum() * 2 * np.pi == pytest.approx(kubo(data, k) * area, rel=5e-3)


def kubo(data, k):
    """Omega_z of the lowest band, -2 Im sum v_x v_y / (E - E')^2, in the atomic gauge, where velocities are dH/dk."""
    step, B = 1e-5, data.system.reciprocal

    def h(q):
        return data.H_bloch.dense(k + q @ np.linalg.inv(B), gauge="atomic")

    e, c = np.linalg.eigh(h(np.zeros(3)))
    vx, vy = (c.conj().T @ (h(step * E[a]) - h(-step * E[a])) @ c / (2 * step) for a in (0, 1))
    return sum(-2 * (vx[0, m] * vy[m, 0] / (e[0] - e[m]) ** 2).imag for m in range(1, len(e)))


def test_flux_in_another_basis_of_the_same_atom():
    """Plaquette by plaquette, where the new orbitals keep their centres; two orbitals on one point."""
    data = weyl_semimetal()
    other = moved_origin(changed_basis(data))
    for k3, number in ((0.0, 0), (0.5, 1)):
        one, two = chern(data, 12, k3), chern(other, 12, k3)
        assert abs(one.number) == number
        assert np.abs(one.flux - two.flux).max() < 1e-8


def test_flux_in_combinations_of_several_atoms_converges_to_the_same():
    """Links are exact to first order in the step: combinations of orbitals of different atoms change them by less on finer meshes."""
    data = haldane(0.1, 0.8)
    other = moved_origin(changed_basis(data))
    change = [np.abs(chern(data, n).flux - chern(other, n).flux).max() * n**2 for n in (12, 24)]
    assert change[1] < change[0] / 2


def test_centres_move_with_the_origin():
    data, shift = haldane(0.2, 0.8), np.array([0.13, 0.29, 0.41])
    t = np.array([0.1, 0.3])
    one, two = (Lines(d, LOWEST, 0 * E[0], E[0], E[1], n_points=30).flow(t).centres for d in (data, moved_origin(data, shift)))
    moved = shift @ np.linalg.inv(data.system.cell)
    assert np.abs((two - one - moved[0] + 0.5) % 1 - 0.5).max() < 1e-10


def test_chern_number_is_the_winding_of_the_centres():
    data = haldane(0.1, np.pi / 2)
    x = Lines(data, LOWEST, 0 * E[0], E[0], E[1], n_points=30).flow(np.linspace(0, 1, 31)).centres[:, 0]
    assert round(np.unwrap(x, period=1)[-1] - x[0]) == -chern(data).number != 0


def test_left_handed_cell_has_the_same_normal():
    """The Chern number refers to the third lattice vector, whatever the order of the first two."""
    data = haldane(0.1, np.pi / 2)
    swapped = replace(data.system, cell=data.system.cell[[1, 0, 2]])

    def relabelled(blocks):
        return replace(blocks, pairs=blocks.pairs[:, [1, 0, 2, 3, 4]])

    other = replace(data, system=swapped, H=relabelled(data.H), S=relabelled(data.S), r=relabelled(data.r))
    assert chern(other).number == chern(data).number != 0


@pytest.mark.parametrize("new", [[[1, 0, 0], [0, 1, 0], [0, 0, -1]], [[0, 1, 0], [1, 0, 0], [0, 0, -1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]])
def test_chern_and_hall_conductivity_of_a_layer_agree_however_its_cell_is_chosen(new):
    """A layer is seen from the same side by both, also where the lattice vector across it points down."""
    data, new = haldane(0.1, np.pi / 2), np.array(new)

    def relabelled(blocks):
        R = np.rint(blocks.pairs[:, :3] @ np.linalg.inv(new)).astype(int)
        return replace(blocks, pairs=np.column_stack([R, blocks.pairs[:, 3:]]))

    system = replace(data.system, cell=new @ data.system.cell)
    other = replace(data, system=system, H=relabelled(data.H), S=relabelled(data.S), r=relabelled(data.r))
    periodic = np.array(periodic_directions(other))
    mesh = np.where(periodic, 12, 1).tolist()
    found = chern_number(other, LOWEST, lattice_plane(other, int(np.flatnonzero(~periodic)[0])), (12, 12))
    sigma = hall_conductivity(other, find_fermi_level(other, 0.0), tuple(mesh), refinement=Refinement(0))
    assert round(sigma.chern) == found.number == chern(data).number != 0


CRITICAL = 3 * np.sqrt(3) * 0.1


@pytest.mark.parametrize(("mass", "rashba"), [(0, 0), (0.9 * CRITICAL, 0), (-1.1 * CRITICAL, 0), (0.1, 0.05), (0.8, 0.05), (0, 0.05)])
def test_kane_mele(mass, rashba):
    data = kane_mele(mass, rashba=rashba)
    expected = int(abs(mass) < CRITICAL)
    for form in (data, moved_origin(changed_basis(data))):
        assert z2_by_flow(form, PAIR, 60).indices == (expected,)
    if mass == rashba == 0:
        assert z2_by_parity(data, PAIR).indices == (1,)
    else:
        with pytest.raises(DataError, match=r"H breaks the inversion of its structure by .* meV"):
            z2_by_parity(data, PAIR)


@pytest.mark.parametrize(("mass", "expected"), [(-0.7, 0), (0.7, 1), (2.6, 1), (4.4, 0)])
def test_bhz_by_both_routes(mass, expected):
    data = bhz(mass)
    assert z2_by_parity(data, PAIR).indices == (expected,)
    assert z2_by_flow(data, PAIR, 16).indices == (expected,)
    assert z2_by_flow(moved_origin(changed_basis(data)), PAIR, 16).indices == (expected,)


@pytest.mark.parametrize(
    ("mass", "expected"), [(-1, (0, 0, 0, 0)), (1, (1, 0, 0, 0)), (3, (0, 1, 1, 1)), (5, (1, 1, 1, 1)), (7, (0, 0, 0, 0))]
)
def test_strong_and_weak_insulators(mass, expected):
    data = bhz(mass, d=3)
    assert z2_by_parity(data, PAIR).indices == expected
    assert z2_by_flow(data, PAIR, 8, n_lines=5).indices == expected


@pytest.mark.parametrize(("mass", "expected"), [(0.0, 1), (0.3, 1), (0.8, 0)])
def test_mirror_chern_number_of_a_flat_layer(mass, expected):
    """Up and down spin are the mirror eigenvalues of Kane and Mele's layer without Rashba coupling."""
    found = mirror_chern_number(kane_mele(mass), PAIR, 2, 0.0, (16, 16))
    assert abs(found.number) == expected
    assert found.plus.number == -found.minus.number
    assert found.clearest > 1 - 1e-10
    with pytest.raises(DataError, match="no eigenstates of the mirror"):
        mirror_chern_number(kane_mele(mass, rashba=0.4), PAIR, 2, 0.0, (16, 16))


def test_a_glide_plane_has_no_mirror_chern_number():
    """Two atoms that a reflection exchanges with half of the cell."""
    cell = np.diag([4.0, 3.0, 6.0])
    hops = [(R, 0, 1, 0.3 * S0) for R in ((0, 0, 0), (-1, 0, 0))] + [((0, 1, 0), 0, 0, 0.1 * S0), ((0, 1, 0), 1, 1, 0.1 * S0)]
    positions = [[0.0, 0.0, 2.5], [2.0, 0.0, 3.5]]
    data = tight_binding(cell, positions, [0.1 * S0, 0.1 * S0], hops, spin="spinor", n_electrons=2.0, fermi_energy=0.0)
    with pytest.raises(DataError, match="half of the lattice vector 1 0 0: a glide plane"):
        mirror_chern_number(data, PAIR, 2, 0.0, (4, 4))


def test_weyl_points():
    data = moved_origin(changed_basis(weyl_semimetal(k0=0.2)))
    found = sorted(find_weyl_points(data, 1, (6, 6, 6)), key=lambda point: point.k[2])
    assert np.allclose([p.k[2] for p in found], [0.2, 0.8], atol=1e-7)
    assert np.abs(np.mod([p.k[:2] for p in found] + np.array(0.5), 1) - 0.5).max() < 1e-7
    charges = [p.charge for p in found]
    assert sorted(charges) == [-1, 1]
    inside, outside = (chern(weyl_semimetal(k0=0.2), 12, k3).number for k3 in (0.0, 0.5))
    assert charges[0] == outside - inside  # flux that leaves the point at k3 = 0.2 enters the planes above it
    assert all(abs(p.energy) < 1e-7 for p in found)


def test_weyl_points_below_the_last_band_are_refused():
    with pytest.raises(UsageError, match="bands 2 and 3: this structure has bands 1 to 2"):
        find_weyl_points(weyl_semimetal(), 2, (4, 4, 4))


def test_gapped_crystal_has_no_weyl_points():
    assert find_weyl_points(weyl_semimetal(k0=0.2, m=0.0), 1, (4, 4, 4))
    assert not find_weyl_points(bhz(1.0, d=3), 2, (4, 4, 4))


def test_rice_mele_pumps_one_electron_of_each_spin():
    path = []
    for phase in np.linspace(0, 1, 17):
        data = rice_mele(phase)
        path.append(polarisation(data, [LOWEST], ion_charges(data, {}), n_along=24, n_across=1))
    change = [p.fractions[0] for p in followed(path)]
    assert abs(change[-1] - change[0]) == pytest.approx(2, abs=1e-8)
    other = [polarisation(moved_origin(rice_mele(x)), [LOWEST], np.ones(2), n_along=24, n_across=1).fractions[0] for x in (0.1, 0.2)]
    same = [polarisation(rice_mele(x), [LOWEST], np.ones(2), n_along=24, n_across=1).fractions[0] for x in (0.1, 0.2)]
    for a, b in zip(other, same, strict=True):  # neutral: the origin does not matter
        assert (a - b + 0.5) % 1 - 0.5 == pytest.approx(0, abs=1e-8)


def test_polarisation_of_a_path_with_too_large_steps_is_refused():
    path = [polarisation(rice_mele(x), [LOWEST], np.ones(2), n_along=24, n_across=1) for x in (0.0, 0.3)]
    with pytest.raises(DataError, match="branch cannot be followed"):
        followed(path)


def test_branches_of_even_ions_differ_by_two_electrons():
    """Bands hold both spins: a step of half an electron is a quarter of what branches differ by."""
    path = [polarisation(rice_mele(x), [LOWEST], np.array([2.0, 0.0]), n_along=24, n_across=1) for x in np.linspace(0, 1, 7)]
    assert {one.quantum for one in path} == {2}
    p = np.array([one.fractions[0] for one in followed(path)])
    assert abs(p[-1] - p[0]) == pytest.approx(2, abs=1e-8)
    assert 0.3 < np.abs(np.diff(p)).max() < 0.6
    assert polarisation(rice_mele(0.1), [LOWEST], np.ones(2), n_along=24, n_across=1).quantum == 1


def test_polarisation_of_some_of_the_electrons_is_refused():
    """It would depend on the origin."""
    with pytest.raises(DataError, match="the bands hold 2 electrons and the ions 3 e"):
        polarisation(rice_mele(0.1), [LOWEST], np.array([1.0, 2.0]), n_along=24, n_across=1)


def test_polarisation_and_chern_number_exclude_each_other():
    with pytest.raises(CoarseMeshError, match="Chern number"):
        polarisation(haldane(0.0, np.pi / 2), [LOWEST], np.ones(2), n_along=12, n_across=24)


def ionic_chain(u=0.0, which=0):
    """Two atoms with bonds that depend on their distance, one of them moved along the chain."""
    x = np.array([0.0, 1.9])
    x[which] += u
    bonds = [1.5 * np.exp(-(d - 2.0)) for d in (x[1] - x[0], 4 - x[1] + x[0])]
    hops = [((0, 0, 0), 0, 1, bonds[0]), ((-1, 0, 0), 0, 1, bonds[1])]
    return tight_binding(np.diag([4.0, 20, 20]), [[x[0], 0, 0], [x[1], 0, 0]], [0.7, -0.7], hops, n_electrons=2.0, fermi_energy=0.0)


def test_born_charges():
    def pair(*move):
        data = ionic_chain(*move)
        return data, polarisation(data, [LOWEST], np.ones(2), n_along=60, n_across=1)

    found = born_charges(pair(), [pair(0.01, 0), pair(-0.01, 0), pair(0.01, 1), pair(-0.01, 1)])
    assert found[0][0, 0] == pytest.approx(-found[1][0, 0], abs=1e-6)  # all atoms moved alike change nothing
    assert abs(found[0][0, 0]) > 0.1
    assert np.isnan(found[0][:, 1:]).all()
    with pytest.raises(DataError, match="0 atoms are moved"):
        born_charges(pair(), [pair()])


def test_transition_with_the_strength_of_spin_orbit_coupling():
    """Kane and Mele's gap closes where the scaled coupling is mass / 3 sqrt(3)."""
    data = kane_mele(0.2)

    def index(scaled):
        found = z2_by_flow(scaled, BandGroup(0, 2), 40, n_lines=5)
        return found.indices, next(iter(found.planes.values())).flow.gap

    found = find_transition(data, index, n_steps=4, precision=0.02)
    assert found.low < 0.2 / CRITICAL < found.high
    assert found.high - found.low < 0.2
    assert (found.below, found.above) == ((0,), (1,))
    assert found.gap < 0.15
    assert find_transition(kane_mele(0.8), index, n_steps=2) is None


def test_metal_is_refused_with_where_and_how_much():
    data = haldane(0.1, 0.3, t2=0.5)
    with pytest.raises(DataError, match=r"this is a metal: band 1 reaches .* eV at k = \(.*they overlap by .*--bands 1-1"):
        chern_number(data, replace(LOWEST, filled=True), lattice_plane(data, 2), (12, 12))
    assert abs(chern(data).number) == 1  # the band alone is apart from the other one


def test_odd_number_of_electrons_is_refused():
    data = replace(haldane(), n_electrons=1.0)
    with pytest.raises(DataError, match=r"1 electrons per cell fill 0.5 bands"):
        filled_groups(data, np.zeros((1, 3)), energies_at(data, np.zeros((1, 3))))


def test_touching_bands_are_refused():
    with pytest.raises(DataError, match="bands 1 and 2 touch"):
        chern(haldane(0.0, 0.0), 12)


def test_coarse_meshes_are_refused():
    with pytest.raises(CoarseMeshError, match="singular value of 0"):
        chern(haldane(0.1, np.pi / 2), 3)
    with pytest.raises(CoarseMeshError, match="k mesh is too coarse"):
        chern(haldane(0.99 * 0.3 * np.sqrt(3), np.pi / 2), 12)


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_z2_without_spin_orbit_is_refused(spin):
    data = haldane()
    if spin == "collinear":
        data = replace(data, basis=replace(data.basis, spin="collinear"), H=replace(data.H, entries=np.tile(data.H.entries, (2, 1))))
    with pytest.raises(DataError, match=f"spin '{spin}', without spin-orbit coupling"):
        z2_by_flow(data, PAIR, 12)


def test_z2_of_a_magnet_is_refused():
    with pytest.raises(DataError, match=r"H is magnetic: .*meV"):
        z2_by_flow(with_spinors(haldane(), up=0.1, down=-0.1), PAIR, 12)


def test_structure_without_inversion_is_refused_by_the_parity_route():
    """Three equal atoms on a line, the middle one 0.01 Angstrom from the middle of the others."""
    hops = [((0, 0, 0), 0, 1, 1.0), ((0, 0, 0), 1, 2, 1.0), ((1, 0, 0), 2, 0, 1.0), ((0, 1, 0), 0, 0, 0.2)]
    positions = [[0, 0, 0], [1.0, 0, 0], [2.02, 0, 0]]
    data = tight_binding(np.diag([3.2, 3.0, 20.0]), positions, [0, 0, 0], hops, spin="spinor")
    with pytest.raises(DataError, match=r"no inversion symmetry: its best centre leaves an atom 0.0\d+ Angstrom from the image"):
        z2_by_parity(data, PAIR)


def test_numbers_of_bands_and_ions_are_checked():
    data = haldane()
    with pytest.raises(UsageError, match="bands 2 to 3: expected two numbers from 1 to 2"):
        named_group(data, 2, 3)
    with pytest.raises(UsageError, match="--ions Xx=3"):
        parse_charges(["Xx=3"])
    with pytest.raises(UsageError, match="ions of 6 e in all and 2 electrons"):
        ion_charges(data, {"H": 3.0})


def test_every_result_says_where_positions_come_from():
    data = haldane()
    assert "position matrix" in chern(data).position
    assert "approximated" in chern(replace(data, r=None)).position
    same = PeriodicParts(replace(data, r=None)).overlap(0 * E[0], 0.1 * E[0])
    assert np.allclose(same, PeriodicParts(data).overlap(0 * E[0], 0.1 * E[0]))  # exact for diagonal positions
