"""Two descriptions of one structure agree; errors come out with the size that was put in."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from deeph.files.store import read_folder
from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.system import System
from deeph.runtime.errors import DataError
from postprocess.bands.bands import compute_bands
from postprocess.compare.bands import compare_bands
from postprocess.compare.like import compute_bands_like
from postprocess.compare.matrices import compare_hamiltonians
from postprocess.lattice.kpath import make_kpath

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
