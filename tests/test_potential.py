"""Potentials and magnetic fields: exact where the answer is known, refused where they are none."""

from dataclasses import replace

import numpy as np
import pytest
from lattice_models import changed_basis, graphene, hypercubic
from openmx_files import unpack_run

import deeph
from deeph import DeephError
from deeph.physics.basis import Basis

K = [[0.0, 0, 0], [0.31, 0.12, 0], [1 / 3, 1 / 3, 0]]


def collinear(data, splitting=0.3):
    """Up and down with a rigid exchange splitting."""
    H = replace(data.H, entries=np.concatenate([data.H.entries, data.H.entries + splitting * data.S.entries]))
    return replace(data, basis=Basis(data.basis.shells, "collinear"), H=H, extra={})


@pytest.fixture(scope="module")
def spinor(tmp_path_factory):
    return deeph.read(unpack_run("mini_te_chain_soc", tmp_path_factory.mktemp("te") / "run"))


@pytest.mark.parametrize("kind", ["none", "collinear", "spinor", "other basis"])
def test_a_uniform_potential_shifts_every_level(kind, mini_graphene, spinor):
    h = {"none": mini_graphene, "collinear": collinear(mini_graphene), "spinor": spinor, "other basis": changed_basis(graphene())}[kind]
    for potential in (0.7, np.full(h.system.n_atoms, 0.7), lambda r: np.full(len(r), 0.7)):
        shifted = h.with_potential(potential)
        assert np.allclose(shifted.eigenvalues(K), h.eigenvalues(K) + 0.7, rtol=0, atol=1e-9)
        if h.fermi_energy is not None:
            assert shifted.fermi_energy == pytest.approx(h.fermi_energy + 0.7)


def test_a_sublattice_potential_opens_twice_itself():
    """Graphene with one orthogonal orbital: E = +-sqrt(D^2 + |f|^2), at K exactly +-D."""
    h = graphene(t=2.7, fermi_energy=0.0)
    gapped = h.with_potential([0.1, -0.1])
    assert np.allclose(gapped.eigenvalues("K"), [-0.1, 0.1], rtol=0, atol=1e-12)
    assert np.allclose(gapped.eigenvalues(K), np.hypot(h.eigenvalues(K), 0.1) * [-1, 1], rtol=0, atol=1e-12)
    assert gapped.fermi_energy is None
    predicted = replace(h, fermi_energy=None, fermi_guess=(0.5, 0.01))
    assert predicted.with_potential([0.3, 0.1]).fermi_guess == pytest.approx((0.7, 0.11))
    assert np.allclose(h.eigenvalues("K"), 0, atol=1e-12)  # which was not changed


def test_functions_see_cartesian_positions_and_stay_hermitian(mini_graphene):
    G = mini_graphene.system.reciprocal[0]
    wave = mini_graphene.with_potential(lambda r: 0.2 * np.cos(r @ G))
    values = 0.2 * np.cos(mini_graphene.system.positions @ G)
    assert np.array_equal(wave.H.entries, mini_graphene.with_potential(values).H.entries)
    assert wave.H.hermiticity_error() <= mini_graphene.H.hermiticity_error() + 1e-12
    pair = (0, 0, 0, 0, 1)
    expected = mini_graphene.H.block(pair) + values.mean() * mini_graphene.S.block(pair)
    assert np.allclose(wave.H.block(pair), expected, atol=1e-14)


def test_what_belongs_to_the_old_h_is_forgotten_and_the_change_recorded(mini_graphene):
    full = replace(mini_graphene, moments=np.zeros((2, 3)), extra={"density_matrix": mini_graphene.S, "kinetic": mini_graphene.S})
    changed = full.with_potential([0.5, 0]).with_potential(1.0)
    assert changed.moments is None
    assert set(changed.extra) == {"kinetic"}
    assert changed.source["changes"] == ["scalar potential from 0 to 0.5 eV", "scalar potential from 1 to 1 eV"]
    assert changed.source["code"] == full.source["code"]


def test_a_function_that_is_no_potential_of_the_crystal_is_refused():
    """Linear along a periodic direction, or across a layer that is stored on both sides of the boundary of the cell."""
    h = graphene()
    with pytest.raises(DeephError, match="not periodic: at atom"):
        h.with_potential(lambda r: 0.1 * r[:, 0])
    field = h.with_potential(lambda r: 0.1 * r[:, 2])  # across vacuum it is one
    assert np.allclose(field.eigenvalues(K), h.eigenvalues(K) + 0.5)
    assert h.with_potential(0.1 * h.system.positions[:, 0]) is not None  # values at the atoms mean themselves
    positions = h.system.positions.copy()
    positions[1, 2] += 20.0
    pairs = h.H.pairs.copy()
    pairs[:, 2] += (pairs[:, 3] == 1).astype(int) - (pairs[:, 4] == 1)
    H, S = (replace(blocks, pairs=pairs) for blocks in (h.H, h.S))
    wrapped = replace(h, system=replace(h.system, positions=positions), H=H, S=S)
    assert np.allclose(wrapped.eigenvalues(K), h.eigenvalues(K))
    with pytest.raises(DeephError, match="not periodic"):
        wrapped.with_potential(lambda r: 0.1 * r[:, 2])


@pytest.mark.parametrize(
    ("potential", "words"),
    [
        ([1, 2, 3], "expected one number"),
        (np.nan, "NaN"),
        ("strong", "no array of real numbers"),
        ([1j, 0], "complex"),
        (lambda _: 1.0, "a value for each position"),
        (lambda r: r, "expected one number"),
        (lambda r: r[0, 5], "all positions at once"),
    ],
)
def test_what_is_no_potential_says_so(potential, words):
    with pytest.raises(DeephError, match=words):
        graphene().with_potential(potential)


@pytest.mark.parametrize("b", [[0, 0, 0.2], [0.2, 0, 0], [0, -0.2, 0], [0.12, 0.16, 0]])
def test_a_zeeman_field_splits_by_twice_itself_in_any_direction(mini_graphene, b):
    h = mini_graphene.to_spinor()
    expected = np.sort(np.concatenate([mini_graphene.eigenvalues(K) - 0.2, mini_graphene.eigenvalues(K) + 0.2], axis=-1), axis=-1)
    split = h.with_zeeman(b)
    assert np.allclose(split.eigenvalues(K), expected, rtol=0, atol=1e-9)
    assert split.H.hermiticity_error() < 1e-8
    assert split.fermi_energy is None


def test_zeeman_of_collinear_spins_is_along_z(mini_graphene):
    h = collinear(mini_graphene)
    up, down = h.with_zeeman(0.1).eigenvalues(K) - h.eigenvalues(K)
    assert np.allclose(up, 0.1, rtol=0, atol=1e-9)
    assert np.allclose(down, -0.1, rtol=0, atol=1e-9)
    both = np.sort(np.concatenate(h.with_zeeman(0.1).eigenvalues(K), axis=-1), axis=-1)
    assert np.allclose(h.to_spinor().with_zeeman([0, 0, 0.1]).eigenvalues(K), both, rtol=0, atol=1e-9)  # the same sign
    with pytest.raises(DeephError, match="along z"):
        h.with_zeeman([0.1, 0, 0])
    with pytest.raises(DeephError, match=r"to_spinor\(\)"):
        mini_graphene.with_zeeman(0.1)


def test_an_exchange_field_that_alternates_gaps_each_spin():
    h = graphene().to_spinor()
    staggered = h.with_zeeman([[0.3, 0, 0], [-0.3, 0, 0]])
    assert np.allclose(staggered.eigenvalues("K"), [-0.3, -0.3, 0.3, 0.3], rtol=0, atol=1e-12)
    cosine = h.with_zeeman(lambda r: np.where(r[:, 1:2] % 2.13 > 0.5, -0.3, 0.3) * [1, 0, 0])
    assert np.allclose(cosine.H.entries, staggered.H.entries)
    with pytest.raises(DeephError, match="expected a number, a vector"):
        h.with_zeeman([[0.3, 0, 0]] * 3)


def test_a_field_breaks_the_kramers_pairs_of_spin_orbit_coupling(shared_data):
    mos2 = deeph.read(shared_data / "openmx" / "mos2_soc")
    kramers = mos2.eigenvalues([0, 0, 0])
    assert np.allclose(kramers[::2], kramers[1::2], atol=1e-5)
    up, down = (mos2.with_zeeman([0, 0, b]) for b in (0.05, -0.05))
    assert (np.diff(up.eigenvalues([0, 0, 0]))[::2] > 1e-3).all()
    k = np.array([0.13, 0.27, 0.0])
    assert np.allclose(up.eigenvalues(k), down.eigenvalues(-k), atol=1e-5)  # time reversal


def test_a_displacement_field_gaps_bilayer_graphene(shared_data):
    """0.1 V between the planes; the gap is at most that, and smaller at K than beside it (E. McCann, PRB 74, 161403)."""
    h = deeph.read(shared_data / "openmx" / "bilayer_ab")
    z = h.system.positions[:, 2]
    gapped = h.with_potential(lambda r: 0.1 * (r[:, 2] - z.min()) / np.ptp(z))
    assert h.bands("MKG", points=60).gap.width < 1e-3
    assert 0.03 < gapped.bands("MKG", points=60).gap.width < 0.1
    assert np.diff(gapped.eigenvalues("K"))[7] == pytest.approx(0.1, abs=0.01)  # the orbitals at K live in one plane each


def test_a_potential_of_a_chain_of_atoms_folds_nothing():
    h = hypercubic(1).with_potential(lambda r: np.cos(np.pi * r[:, 0]) ** 2)
    assert np.allclose(h.eigenvalues([0.2, 0, 0]), 1 - 2 * np.cos(0.4 * np.pi))
