"""Two descriptions of one structure agree; errors come out with the size that was put in."""

import re
from dataclasses import replace

import numpy as np
import pytest
from band_cases import HEXAGONAL, SLAB_POSITIONS, random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_models import one_orbital_model

from deeph.files.store import read_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from postprocess.bands.bands import compute_bands
from postprocess.compare.bands import DEPENDENT, compare_bands
from postprocess.compare.comparable import check_comparable
from postprocess.compare.like import OVERLAP_WEIGHT, OverlapWeight, compute_bands_like
from postprocess.compare.matrices import compare_hamiltonians
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver, compute_energies, compute_levels
from postprocess.lattice.kpath import make_kpath
from postprocess.states.states import States

SPINS = ("none", "collinear", "spinor")


def overlap_like_h(data):
    return data.S.to_spinor() if data.basis.spin == "spinor" else data.S


def with_h(data, entries):
    return replace(data, H=replace(data.H, entries=entries))


def elsewhere(data, order, cells):
    """The same matrices with permuted atoms that were moved by whole lattice vectors."""
    moved = System(data.system.cell, data.system.positions + cells @ data.system.cell, data.system.numbers)

    def relabel(blocks):
        pairs = blocks.pairs.copy()
        pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
        return replace(blocks, pairs=pairs)

    return Hamiltonian(moved, data.basis, relabel(data.S), relabel(data.H)).permuted(order)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(SPINS),
    st.permutations([0, 1, 2]),
    st.lists(st.integers(-2, 2), min_size=9, max_size=9),
)
def test_other_atom_order_and_other_cells_are_the_same_hamiltonian(seed, spin, order, cells):
    data = random_model(seed, spin=spin)
    other = elsewhere(data, np.array(order), np.array(cells).reshape(3, 3))
    result = compare_hamiltonians(data, other)
    assert result.raw.max < 1e-9
    assert result.overlap_difference < 1e-12
    assert result.only_reference[0] == result.only_other[0] == 0


def test_molecules_are_the_same_in_any_box():
    data = random_model(3, cell=20 * np.eye(3))
    other = replace(data, system=replace(data.system, cell=np.diag([21.0, 22.0, 25.0])))
    assert not data.S.pairs[:, :3].any()
    assert compare_hamiltonians(data, other).raw.max == 0
    moved = replace(other, system=replace(other.system, positions=other.system.positions + 0.1))
    with pytest.raises(DataError, match="no counterpart"):
        compare_hamiltonians(data, moved)


def test_wrong_atom_order_would_be_seen():
    """With the labels exchanged but the positions kept, the same comparison is not zero."""
    data = random_model(1, numbers=(6, 6, 6))
    order = np.array([1, 0, 2])
    assert compare_hamiltonians(data, replace(data.permuted(order), system=data.system)).raw.max > 10


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(SPINS), st.floats(-5, 5))
def test_energy_zero_is_projected_out(seed, spin, mu):
    data = random_model(seed, spin=spin)
    result = compare_hamiltonians(data, with_h(data, data.H.entries + mu * overlap_like_h(data).entries))
    assert result.energy_zero == pytest.approx(1e3 * mu, abs=1e-8)
    assert result.projected.max < 1e-8
    assert result.raw.max == pytest.approx(1e3 * abs(mu) * np.abs(data.S.entries).max(), abs=1e-8)


@pytest.mark.parametrize("spin", SPINS)
def test_parts_add_up(spin):
    data = random_model(2, spin=spin)
    rng = np.random.default_rng(0)
    noise = PairBlocks(data.H.pairs, data.H.shapes, rng.normal(scale=1e-3, size=data.H.entries.shape)).hermitized()
    result = compare_hamiltonians(data, with_h(data, data.H.entries + noise.entries))
    clean = 1e3 * noise.entries - result.energy_zero * overlap_like_h(data).entries
    assert result.projected.mae == pytest.approx(np.abs(clean).mean())
    assert result.projected.rmse == pytest.approx(np.sqrt((np.abs(clean) ** 2).mean()))
    for table in (result.by_site, result.by_elements, result.by_shells):
        n = np.array([errors.n for errors in table.values()])
        assert n.sum() == result.projected.n
        assert n @ [errors.mae for errors in table.values()] / n.sum() == pytest.approx(result.projected.mae)
        assert n @ [errors.rmse**2 for errors in table.values()] / n.sum() == pytest.approx(result.projected.rmse**2)
        assert max(errors.max for errors in table.values()) == pytest.approx(result.projected.max)
    assert set(result.by_elements) == {"C-C", "C-N", "N-N"}
    assert sum(e.n for e in result.by_distance.values()) == result.by_site["off-site"].n


def test_an_error_is_booked_where_it_was_made():
    """Carbon p with nitrogen s2, 2-3 Angstrom apart: that row and no other."""
    data = random_model(3)
    entries = data.H.entries.copy()
    H = replace(data.H, entries=entries)
    numbers = data.system.numbers[H.pairs[:, 3:]]
    distance = np.linalg.norm(
        data.system.positions[H.pairs[:, 4]] + H.pairs[:, :3] @ data.system.cell - data.system.positions[H.pairs[:, 3]], axis=1
    )
    n = int(np.flatnonzero((numbers == (6, 7)).all(axis=1) & (distance > 2) & (distance < 3))[0])
    for pair, transpose in ((n, False), (int(H.partners[n]), True)):
        block = np.zeros((4, 2))
        block[2, 1] = 0.5
        entries[0, H.offsets[pair] : H.offsets[pair + 1]] += (block.T if transpose else block).ravel()
    result = compare_hamiltonians(data, replace(data, H=H))
    hit = lambda table: {name for name, errors in table.items() if errors.max > 100}  # noqa: E731 - one line says it
    assert hit(result.by_shells) == {"C p1-N s2"}
    assert hit(result.by_elements) == {"C-N"}
    assert hit(result.by_site) == {"off-site"}
    assert hit(result.by_distance) == {"2-3"}
    assert result.raw.max == pytest.approx(500)


def test_different_patterns_are_compared_on_the_union():
    data = random_model(4)
    far = np.flatnonzero(~is_onsite(data.S.pairs))[:4]
    far = np.union1d(far, data.S.partners[far])
    keep = np.setdiff1d(np.arange(data.S.n_pairs), far)
    fewer = replace(data, H=data.H.selected(keep), S=data.S.selected(keep))
    result = compare_hamiltonians(data, fewer)
    largest = 1e3 * np.abs(data.H.selected(far).entries).max()
    assert result.only_reference == (len(far), pytest.approx(largest))
    assert result.only_other == (0, 0.0)
    assert result.raw.max == pytest.approx(largest)
    assert compare_hamiltonians(fewer, data).only_other == (len(far), pytest.approx(largest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: replace(d, system=System(d.system.cell * 1.01, d.system.positions, d.system.numbers)), "lattice vectors differ"),
        (lambda d: replace(d, system=System(d.system.cell, d.system.positions + 0.1, d.system.numbers)), "no counterpart"),
        (lambda d: random_model(0, positions=d.system.positions[:2], numbers=(6, 7)), "3 and 2 atoms"),
        (lambda _: random_model(0, numbers=(7, 6, 6)), "different elements"),
        (lambda _: random_model(0, spin="collinear"), "different bases"),
        (lambda d: replace(d, H=None), "only the overlap"),
    ],
)
def test_refusals(change, message):
    data = random_model(0)
    with pytest.raises(DataError, match=message):
        compare_hamiltonians(data, change(data))


def test_other_shells_are_refused():
    data = random_model(0, numbers=(6, 6, 6))
    other = replace(data, basis=Basis({6: (1, 0)}))
    with pytest.raises(DataError, match="different bases"):
        compare_hamiltonians(data, other)


def test_MoTe2_before_and_after_a_shift_of_the_energy_zero(shared_data):
    """The published pair of folders differs by 13.088161748833 eV times S, and by the height of the empty space."""
    peers = shared_data / "peers"
    shifted, plain = read_folder(peers / "deeph-bands" / "MoTe2"), read_folder(peers / "deeph-new" / "MoTe2")
    assert not plain.S.pairs[:, 2].any()  # no block crosses the vacuum
    result = compare_hamiltonians(replace(plain, system=replace(plain.system, cell=shifted.system.cell)), shifted)
    assert result.energy_zero == pytest.approx(13088.161748833, abs=1e-6)
    assert result.raw.max > 1e4
    assert result.projected.max < 1e-7
    with pytest.raises(DataError, match="lattice vectors"):
        compare_hamiltonians(plain, shifted)


def test_band_errors():
    data = random_model(5)
    path = make_kpath(data.system, "GMKG", n_points=30)
    reference = compute_bands(data, path)
    shifted = compute_bands(with_h(data, data.H.entries + 0.3 * data.S.entries), path)
    aligned, absolute = compare_bands(reference, shifted), compare_bands(reference, shifted, align=False)
    assert aligned.all_bands.max < 1e-7
    assert absolute.all_bands.mae == pytest.approx(300)
    assert absolute.shift == pytest.approx(300)
    assert absolute.alignment.startswith("none")
    spoiled = reference.energies.copy()
    spoiled[0, 3, 2] += 0.004  # three bands lie below the Fermi level: this one is the valence band
    result = compare_bands(reference, replace(reference, energies=spoiled))
    assert (result.valence.max, result.conduction.max) == (pytest.approx(4), 0)
    assert result.all_bands.n == reference.energies.size
    unknown = compare_bands(replace(reference, fermi_energy=None), reference)
    assert unknown.valence is None
    assert unknown.near_fermi is None
    with pytest.raises(DataError, match="same k-points"):
        compare_bands(reference, compute_bands(data, make_kpath(data.system, "GK", n_points=30)))


def noisy(data, scale, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=scale, size=data.H.entries.shape)
    if np.iscomplexobj(data.H.entries):
        noise = noise + 1j * rng.normal(scale=scale, size=noise.shape)
    return replace(data, H=replace(data.H, entries=data.H.entries + noise).hermitized(), fermi_energy=None)


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("wanted", [{"n_bands": 5}, {"low": -0.6, "high": 0.9}])
@pytest.mark.parametrize("name", ["dense", "superlu"])
def test_a_part_of_the_bands_has_the_errors_of_the_same_bands_among_all(spin, wanted, name):
    """Levels nearest the Fermi level, or in a window, belong to other bands at other k: the numbers tell which."""
    data = replace(random_model(6, spin=spin), fermi_energy=0.1)
    path = make_kpath(data.system, "GMKG", n_points=12)
    solver = Eigensolver(**wanted, center=0.1, options=SolverOptions(name=name))
    part = compute_bands(data, path, solver=solver)
    other = compute_bands_like(part, noisy(data, 0.15), solver=solver)
    result = compare_bands(part, other)
    E, E_other = (compute_energies(d, path.k) for d in (data, noisy(data, 0.15)))
    pairs = []
    for s, k in np.ndindex(E.shape[:2]):
        chosen = [solver.select(e[s, k])[1] for e in (E, E_other)]
        both = np.intersect1d(*chosen)
        pairs.append((E_other - E)[s, k, both])
    difference = 1e3 * np.abs(np.concatenate(pairs))
    total = sum(len(solver.select(e)[1]) for e in E.reshape(-1, E.shape[2]))
    assert result.all_bands.n == len(difference)
    assert result.all_bands.mae == pytest.approx(difference.mean(), abs=1e-5)
    assert result.all_bands.max == pytest.approx(difference.max(), abs=1e-5)
    assert result.only_reference == total - len(difference)
    assert result.only_reference + result.only_other > 0  # the noise moves some across the end of the window


def test_a_window_moves_with_the_energy_zero():
    """Both have a stored level: the same levels are found although all energies are 7 eV higher."""
    data = replace(random_model(6), fermi_energy=0.1)
    moved = with_h(replace(data, fermi_energy=7.1), data.H.entries + 7 * data.S.entries)
    path = make_kpath(data.system, "GMKG", n_points=12)
    for solver in (Eigensolver(low=-0.6, high=0.9), Eigensolver(n_bands=3, center=0.1)):
        part = compute_bands(data, path, solver=solver)
        result = compare_bands(part, compute_bands_like(part, moved, solver=solver))
        assert (result.only_reference, result.only_other) == (0, 0)
        assert result.all_bands.max < 1e-6


def test_levels_without_numbers_and_without_a_common_band_are_refused():
    data = replace(random_model(6), fermi_energy=0.1)
    path = make_kpath(data.system, "GMKG", n_points=12)
    bands = compute_bands(data, path)
    with pytest.raises(DataError, match="leave out --no-verify"):
        compare_bands(bands, replace(bands, counted=False))
    ends = (replace(bands, energies=bands.energies[..., part], first_band=first) for part, first in ((slice(3), 0), (slice(7, None), 7)))
    with pytest.raises(DataError, match=r"no band is known on both sides: bands 1 to 3 .* and 8 to 10"):
        compare_bands(*ends)


def test_errors_near_the_fermi_level_and_of_the_edges():
    """Put in by hand: one number for each row."""
    data = random_model(5)
    path = make_kpath(data.system, "GMKG", n_points=30)
    bands = compute_bands(data, path, fermi=0.0)
    energies = np.tile(np.array([-9.0, -4, -1, 1.5, 3, 9]), (1, 30, 1)) + 0.1 * np.cos(np.arange(30))[:, None]
    change = 1e-3 * np.array([1.0, 2, 3, -4, 5, 6])
    reference, other = replace(bands, energies=energies), replace(bands, energies=energies + change)
    result = compare_bands(reference, other)
    assert (result.near_fermi.n, result.near_fermi.mae) == (60, pytest.approx(3.5))
    assert (result.occupied.n, result.occupied.mae) == (90, pytest.approx(2))
    assert (result.valence.mae, result.conduction.mae) == (pytest.approx(3), pytest.approx(4))
    assert [level.error for level in (result.edges.valence, result.edges.conduction, result.edges.gap)] == pytest.approx([3, -4, -7])
    assert result.edges.gap.reference == pytest.approx((1.5 + 0.1 * np.cos(np.arange(30)).min()) - (-1 + 0.1))
    higher = compare_bands(reference, replace(other, energies=other.energies + 2, fermi_energy=2.0)).edges  # from its own Fermi level
    assert [level.error for level in (higher.valence, higher.conduction, higher.gap)] == pytest.approx([3, -4, -7])
    assert higher.valence.other == pytest.approx(result.edges.valence.other + 2)
    assert compare_bands(reference, other, window=(-5, 0)).near_fermi.mae == pytest.approx(2.5)
    assert compare_bands(replace(reference, fermi_energy=-1.0), other).edges is None  # a band crosses this level
    cut = energies.copy()
    cut[0, 4, 3] = np.nan
    assert compare_bands(reference, replace(other, energies=cut)).edges is None  # the next edge may lie there
    one = replace(reference, energies=np.stack([energies[0], energies[0] + 20]))  # a channel without an electron
    assert compare_bands(one, replace(one, energies=one.energies + change)).edges.valence.error == pytest.approx(3)


def test_nearly_dependent_levels_have_a_line_of_their_own():
    """Two copies of nearly one orbital: the noise of H appears in their difference 1/(c^dagger S c) times as large, and nowhere else."""
    data = random_model(1, positions=SLAB_POSITIONS * np.array([1, 1, 1.0]), numbers=(6, 6, 6))
    S = data.S.entries.copy()
    for n in np.flatnonzero(is_onsite(data.S.pairs)):
        block = np.eye(4)
        block[0, 1] = block[1, 0] = 0.985  # s and a p orbital, as if they were one
        S[0, data.S.offsets[n] : data.S.offsets[n + 1]] = block.ravel()
    S *= np.where(np.repeat(is_onsite(data.S.pairs), np.prod(data.S.shapes, axis=1)), 1.0, 0.05)
    data = replace(data, S=replace(data.S, entries=S), fermi_energy=0.0)
    path = make_kpath(data.system, "GMKG", n_points=8)
    reference = compute_bands(data, path, projectors=(OverlapWeight(),))
    result = compare_bands(reference, compute_bands_like(reference, noisy(data, 1e-3)))
    weight = reference.weights[OVERLAP_WEIGHT]
    assert result.nearly_dependent.n == (weight < DEPENDENT).sum() > 0
    assert result.all_bands.n == (weight >= DEPENDENT).sum() > 0
    assert result.nearly_dependent.mae > 10 * result.all_bands.mae
    assert result.lowest_dependent == pytest.approx(reference.energies[weight < DEPENDENT].min())
    unknown = compare_bands(replace(reference, weights={}), compute_bands_like(reference, noisy(data, 1e-3)))
    assert unknown.nearly_dependent is None
    assert unknown.all_bands.n == weight.size
    of_other = compute_bands_like(reference, noisy(data, 1e-3))
    of_other = replace(of_other, weights={OVERLAP_WEIGHT: np.ones(weight.shape)})
    assert compare_bands(reference, of_other).nearly_dependent == result.nearly_dependent  # the reference's come first
    file = compute_bands_like(replace(reference, weights={}), noisy(data, 1e-3), projectors=(OverlapWeight(),))
    assert compare_bands(replace(reference, weights={}), file).nearly_dependent is not None  # the other's states tell, for want of others


def test_overlap_weight_is_the_quotient_of_two_norms():
    data = random_model(3, spin="spinor")
    k = np.array([0.1, 0.2, 0])
    states = States(data, k, 0, compute_levels(data, k))
    expected = np.einsum("nm,nm->m", states.C.conj(), states.SC).real / np.einsum("nm,nm->m", states.C.conj(), states.C).real
    assert OverlapWeight()(states)[OVERLAP_WEIGHT] == pytest.approx(expected)


HALF = np.radians(61)
SHEAR = np.linalg.inv(HEXAGONAL) @ np.array(
    [[2.5 * np.sin(HALF), -2.5 * np.cos(HALF), 0], [-2.5 * np.sin(HALF), -2.5 * np.cos(HALF), 0], [0, 0, 20.0]]
)
"""From 120 to 122 degrees, with vectors of the same lengths."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: replace(d, system=System(d.system.cell * [[1.01], [1], [1]], d.system.positions, d.system.numbers)), "cells differ"),
        (lambda d: replace(d, system=System(d.system.cell @ SHEAR, d.system.positions, d.system.numbers)), r"vector \(1 1 0\) is"),
        (lambda d: random_model(0, positions=d.system.positions[:2], numbers=(6, 7)), "A is CNC|A is C2N and B is CN"),
        (lambda _: random_model(0, numbers=(7, 7, 6)), "bands cannot be compared"),
        (lambda _: random_model(0, spin="collinear"), "spin 'none' and B 'collinear'"),
        (lambda _: random_model(0, spin="spinor"), "spin 'none' and B 'spinor'"),
    ],
)
def test_what_has_no_bands_in_common(change, message):
    data = random_model(0)
    with pytest.raises(DataError, match=message):
        check_comparable(data, change(data), ("A", "B"))


def test_another_basis_has_no_bands_in_common():
    data = random_model(0, numbers=(7, 7, 7))

    def first_orbitals(blocks):
        return PairBlocks(blocks.pairs, np.ones_like(blocks.shapes), blocks.entries[:, ::4])

    small = Hamiltonian(data.system, Basis({7: (0,)}), first_orbitals(data.S), first_orbitals(data.H))
    with pytest.raises(DataError, match="A has 6 orbitals and B 3"):
        check_comparable(data, small, ("A", "B"))


def test_bands_of_moved_atoms_and_higher_cells_are_compared_with_a_warning(caplog):
    data = random_model(0)
    check_comparable(data, data.permuted(np.array([2, 0, 1])), ("A", "B"))
    assert not caplog.text
    positions = data.system.positions + np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0]])
    moved = replace(data, system=System(data.system.cell, positions, data.system.numbers))
    check_comparable(data, moved, ("A", "B"))
    assert "not the same structure" in caplog.text
    caplog.clear()
    higher = System(data.system.cell * [[1], [1], [1.5]], data.system.positions, data.system.numbers)
    check_comparable(data, replace(data, system=higher), ("A", "B"))
    assert "another height of empty space" in caplog.text


def test_fermi_levels_of_different_origin_are_not_set_equal():
    """A DFT level high in the gap against one from filling levels: the bands are the same, so must be the comparison."""
    data = random_model(5)
    path = make_kpath(data.system, "GMKG", n_points=30)
    reference = compute_bands(replace(data, fermi_energy=0.123), path, title="DFT")
    other = compute_bands_like(reference, data)
    assert other.fermi_origin == "taken from DFT"
    assert compare_bands(reference, other).all_bands.max == 0
    assert compare_bands(reference, compute_bands(data, path)).all_bands.max > 10
    moved = with_h(replace(data, fermi_energy=1.123), data.H.entries + data.S.entries)
    assert compare_bands(reference, compute_bands_like(reference, moved)).all_bands.max < 1e-7


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        ([[0, 0, 2.0], [1.5, 0, 1.5]], "atom 2 \\(H\\) by 45.0"),
        ([[0, 0, 2.0], [0, 0, 0.1]], "less than half"),
        ([[0, 0.1, 1.9], [0, 0, 2.1]], None),
    ],
)
def test_two_magnetic_states_are_noticed(moments, said, caplog):
    """Their H differ for another reason than the error of a model."""
    model = one_orbital_model(np.diag([3.0, 20, 20]), [[0, 0, 0], [1.4, 0, 0]], [((0, 0, 0), 0, 1, -1.0)])
    up = replace(model, moments=np.array([[0, 0, 2.0], [0, 0, 2.0]]))
    compare_hamiltonians(up, replace(up, moments=np.array(moments)))
    assert bool(caplog.messages) == (said is not None)
    if said:
        assert re.search(said, caplog.text)
