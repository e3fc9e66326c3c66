"""Velocities, connections, curvatures, metric, moments and spins of Bloch states: exact models, and orbitals whose integrals are known."""

from dataclasses import replace

import numpy as np
import pytest
from band_cases import random_model
from tight_binding import HONEYCOMB, changed_basis, enlarged, haldane, moved_origin, tight_binding, with_spinors

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.positions import centred_positions
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import compute_levels
from postprocess.geometry.geometry import AllLevels, Geometry
from postprocess.geometry.positions import find_positions
from postprocess.states.projectors import SpinComponents
from postprocess.states.states import States

RNG = np.random.default_rng(7)
K = RNG.uniform(-1, 1, (5, 3)) * [1, 1, 0]


def four_bands(seed=3):
    """Two points with two orbitals each and complex hoppings of both spins: nothing is degenerate, time reversal is broken."""
    rng = np.random.default_rng(seed)

    def matrix():
        return rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))

    onsite = [(m + m.conj().T) / 2 for m in (matrix(), matrix())]
    hops = [(R, i, j, 0.3 * matrix()) for R, i, j in [((0, 0, 0), 0, 1), ((1, 0, 0), 0, 1), ((0, 1, 0), 0, 0), ((0, 0, 1), 1, 0)]]
    cell = [[3.0, 0, 0.2], [0.5, 2.8, 0], [0, 0.3, 3.3]]
    return tight_binding(cell, [[0, 0, 0], [1.1, 0.7, 0.9]], onsite, hops, n_orbitals=[2, 2], spin="spinor")


class Gaussians:
    """s Gaussians on points of a lattice, whose overlaps, positions and <phi| e^{-ib.r} |phi> are known; H is random."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.cell = np.array([[2.6, 0.1, 0.0], [0.4, 2.8, 0.2], [0.0, -0.3, 2.7]])
        self.atoms = np.array([[0.1, 0.2, 0.0], [1.2, 1.1, 0.9], [0.4, 1.9, 1.7]])
        self.width = np.array([0.5, 0.8, 0.65])  # exponents, 1/Angstrom^2
        n = range(-3, 4)
        self.R = np.array([(a, b, c) for a in n for b in n for c in n])
        pairs = np.array([(*R, i, j) for R in self.R for i in range(3) for j in range(3)])
        S, centre = self.overlaps(pairs)
        kept = S > 1e-12
        pairs, S, centre = pairs[kept], S[kept], centre[kept]
        shapes = np.ones((len(pairs), 2), int)
        t = (rng.normal(size=len(pairs)) + 1j * rng.normal(size=len(pairs))) * S + 2.0 * (pairs[:, 3] == 1) * (S == 1)
        H = PairBlocks(pairs, shapes, t).hermitized()
        model = tight_binding(self.cell, self.atoms, [0, 0, 0], [])
        r = PairBlocks(pairs, shapes, (centre * S[:, None]).T)
        self.data = Hamiltonian(model.system, model.basis, PairBlocks(pairs, shapes, S), H, r)
        self.pairs = pairs

    def overlaps(self, pairs):
        """<phi_i, 0 | phi_j, R> and the centre of the product."""
        a, b = self.width[pairs[:, 3]], self.width[pairs[:, 4]]
        left, right = self.atoms[pairs[:, 3]], self.atoms[pairs[:, 4]] + pairs[:, :3] @ self.cell
        d2 = ((left - right) ** 2).sum(axis=1)
        S = (4 * a * b / (a + b) ** 2) ** 0.75 * np.exp(-a * b / (a + b) * d2)
        return S, (a[:, None] * left + b[:, None] * right) / (a + b)[:, None]

    def link(self, k, b):
        """(3, 3) <u_i, k | u_j, k + b>, Cartesian and exact."""
        S, centre = self.overlaps(self.pairs)
        width = self.width[self.pairs[:, 3]] + self.width[self.pairs[:, 4]]
        phase = np.exp(1j * (self.pairs[:, :3] @ self.cell) @ (k + b) - 1j * centre @ b - b @ b / (4 * width))
        out = np.zeros((3, 3), complex)
        np.add.at(out, (self.pairs[:, 3], self.pairs[:, 4]), S * phase)
        return out

    def flux(self, k, a, b, levels, step=2e-3):
        """Curvature of a group by the phase around a small square."""
        ea, eb = step * np.eye(3)[a], step * np.eye(3)[b]
        corners = [k + (-ea - eb) / 2, k + (ea - eb) / 2, k + (ea + eb) / 2, k + (-ea + eb) / 2]
        C = Geometry(self.data, np.array(corners) @ self.cell.T / (2 * np.pi)).C[:, :, levels]
        product = np.eye(len(levels))
        for n in range(4):
            m = (n + 1) % 4
            product = product @ (C[n].conj().T @ self.link(corners[n], corners[m] - corners[n]) @ C[m])
        return -np.angle(np.linalg.det(product)) / step**2


@pytest.mark.parametrize("levels", [[0], [0, 1]])
def test_curl_is_the_curvature_of_functions_in_space(levels):
    """Against links between orbitals whose integrals with e^{-ib.r} are exact; the Kubo sum is something else."""
    case = Gaussians()
    k = np.array([0.31, -0.22, 0.17])
    g = Geometry(case.data, k @ case.cell.T / (2 * np.pi))
    expected = np.array([case.flux(k, a, b, levels) for a, b in ((1, 2), (2, 0), (0, 1))])
    curl, kubo = (np.einsum("ann->a", g.curvature_matrix(levels, method)[0]).real for method in ("curl", "kubo"))
    assert np.allclose(curl, expected, atol=2e-5 * np.abs(expected).max())
    assert np.abs(kubo - expected).max() > 0.02 * np.abs(expected).max()
    assert np.allclose(Geometry(moved_origin(case.data), g.k).curvature(), g.curvature(), atol=1e-10)


@pytest.mark.parametrize("change", [changed_basis, moved_origin, lambda h: moved_origin(changed_basis(h, 5)), hermitian])
@pytest.mark.parametrize("model", [lambda: haldane(0.2), four_bands], ids=["haldane", "spinors"])
def test_nothing_depends_on_the_basis_or_the_origin(change, model):
    before, after = Geometry(model(), K), Geometry(change(model()), K)
    for method in ("curl", "kubo"):
        assert np.allclose(before.curvature(method), after.curvature(method), atol=1e-8)
    assert np.allclose(before.metric(), after.metric(), atol=1e-8)
    assert np.allclose(before.orbital_moment(), after.orbital_moment(), atol=1e-8)
    assert np.allclose(np.abs(before.velocity), np.abs(after.velocity), atol=1e-8)
    if before.basis.hamiltonian.basis.spin == "spinor":
        assert np.allclose(before.spin_texture(), after.spin_texture(), atol=1e-8)


def test_a_supercell_has_the_levels_of_the_primitive_cell_with_their_curvature():
    data = changed_basis(haldane(0.2))
    small, large = Geometry(data, K), Geometry(enlarged(data, (2, 3, 1)), K * [2, 3, 1])
    for n in range(len(K)):
        place = [int(np.argmin(np.abs(large.energies[n] - e))) for e in small.energies[n]]
        assert np.allclose(large.energies[n, place], small.energies[n], atol=1e-10)
        assert np.allclose(large.curvature()[n][:, place], small.curvature()[n], atol=1e-8)
        assert np.allclose(large.orbital_moment()[n][:, place], small.orbital_moment()[n], atol=1e-8)


def test_gapped_graphene_has_the_curvature_and_moment_of_the_closed_formula():
    """Omega = -+ (v^2 D/4)/(D^2/4 + v^2 q^2)^(3/2) at the valleys, m = (e/hbar) E_c Omega_c anywhere."""
    gap, v = 0.4, np.sqrt(3) / 2 * 2.46  # eV; eV Angstrom
    data = changed_basis(haldane(gap / 2, t2=0.0))
    valley = np.array([1 / 3, 1 / 3, 0])
    reciprocal = 2 * np.pi * np.linalg.inv(HONEYCOMB).T
    q = 5e-3 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) @ np.linalg.inv(reciprocal)
    g, other = Geometry(data, valley + q), Geometry(data, -valley - q)
    z, zo = g.curvature()[:, 2], other.curvature()[:, 2]
    assert abs(z[0, 0]) == pytest.approx(2 * v**2 / gap**2, rel=1e-10)
    assert abs(z[1:, 0]).mean() == pytest.approx(v**2 * gap / 4 / (gap**2 / 4 + v**2 * 25e-6) ** 1.5, rel=1e-4)
    assert np.allclose(z[:, 0], -z[:, 1], atol=1e-9)
    assert np.allclose(z, -zo, atol=1e-9)
    anywhere = Geometry(data, K)
    expected = anywhere.energies[:, 1] * anywhere.curvature()[:, 2, 1] / (HBAR2_OVER_MASS / 2)
    assert np.allclose(anywhere.orbital_moment()[:, 2], expected[:, None], rtol=1e-10)


@pytest.mark.parametrize("model", [lambda: changed_basis(haldane(0.2)), four_bands, lambda: Gaussians(1).data])
def test_velocities_are_the_slopes_of_the_bands(model):
    data, step = model(), 1e-4
    k = RNG.uniform(-1, 1, (3, 3))
    g = Geometry(data, k)
    for a in range(3):
        d = step * data.system.cell[:, a] / (2 * np.pi)
        slope = (Geometry(data, k + d).energies - Geometry(data, k - d).energies) / (2 * step)
        assert np.allclose(np.einsum("knn->kn", g.velocity[:, a]), slope, atol=1e-5)


@pytest.mark.parametrize("model", [lambda: changed_basis(haldane(0.2)), four_bands, lambda: Gaussians(1).data])
def test_kubo_sums_of_all_levels_cancel(model):
    g = Geometry(model(), K)
    assert np.abs(g.curvature("kubo").sum(axis=-1)).max() < 1e-10 * np.abs(g.curvature("kubo")).max()


def test_curl_and_kubo_agree_where_the_basis_holds_r():
    for model in (haldane(0.2), changed_basis(haldane(0.2)), four_bands(), changed_basis(four_bands())):
        g = Geometry(model, K)
        assert np.allclose(g.curvature("curl"), g.curvature("kubo"), atol=1e-10)


def test_time_reversal_gives_the_opposite_sign():
    here, there = Geometry(haldane(0.2, phi=0.7), K), Geometry(haldane(0.2, phi=-0.7), -K)
    assert np.allclose(here.energies, there.energies, atol=1e-12)
    assert np.allclose(here.curvature(), -there.curvature(), atol=1e-10)
    assert np.allclose(here.orbital_moment(), -there.orbital_moment(), atol=1e-10)
    assert np.allclose(here.metric(), there.metric(), atol=1e-10)


def test_degenerate_levels_are_matrices():
    """Two equal copies: the curvature of the pair is the same whichever states are chosen, turns with them, and is shared among levels."""
    single, double = Geometry(haldane(0.2), K), Geometry(changed_basis(with_spinors(haldane(0.2))), K)
    z = single.curvature()[:, 2]
    assert np.allclose(double.curvature()[:, 2], np.repeat(z, 2, axis=1), atol=1e-8)
    U = np.linalg.qr(RNG.normal(size=(2, 2)) + 1j * RNG.normal(size=(2, 2)))[0]
    C = double.C.copy()
    C[..., :2] = C[..., :2] @ U
    turned = Geometry(double.basis, K, AllLevels(double.energies, C))
    pair, same = double.curvature_matrix([0, 1]), turned.curvature_matrix([0, 1])
    assert np.allclose(same, U.conj().T @ pair @ U, atol=1e-8)
    assert np.allclose(np.einsum("knn->k", pair[:, 2]), 2 * z[:, 0], atol=1e-8)
    assert np.allclose(np.einsum("kabnn->kab", double.metric_matrix([0, 1])), 2 * single.metric()[..., 0], atol=1e-8)
    assert np.allclose(np.einsum("kann->ka", double.orbital_moment_matrix([0, 1])), 2 * single.orbital_moment()[..., 0], atol=1e-8)
    assert np.allclose(turned.connection, turned.connection.conj().swapaxes(-1, -2), atol=1e-10)
    assert (double.groups == [0, 0, 1, 1]).all()
    assert np.allclose(double.separation([0, 1]), single.energies[:, 1] - single.energies[:, 0])


def test_a_group_of_bands_has_the_sum_of_its_levels():
    """Kubo terms within the group cancel."""
    g = Geometry(four_bands(), K)
    for method in ("curl", "kubo"):
        trace = np.einsum("kann->ka", g.curvature_matrix([0, 1, 2], method))
        assert np.allclose(trace, g.curvature(method)[..., :3].sum(axis=-1), atol=1e-10)
    with pytest.raises(UsageError, match="from 0 to 7"):
        g.curvature_matrix([0, 8])


def test_spins_are_those_of_fat_bands():
    data = random_model(2, spin="spinor")
    g = Geometry(data, K)
    for n, k in enumerate(K):
        expected = SpinComponents()(States(data, k, 0, compute_levels(data, k)))
        assert np.allclose(g.spin_texture()[n], list(expected.values()), atol=1e-8)
    up = Geometry(random_model(2, spin="collinear"), K, spin=1)
    assert (up.spin_texture()[:, 2] == -1).all()
    with pytest.raises(UsageError, match="no spin"):
        Geometry(haldane(), K).spin_texture()


def test_every_result_says_where_positions_come_from():
    data = changed_basis(haldane(0.2))
    bare = replace(data, r=None)
    assert find_positions(data).source == "position matrix of the data"
    assert "approximated by (tau_i + tau_j)/2 S_ij; the data hold no" in repr(Geometry(bare, K))
    assert find_positions(data, "atoms").source == "approximated by (tau_i + tau_j)/2 S_ij"
    with pytest.raises(DataError, match="deeph-preprocess --positions"):
        find_positions(bare, "matrix")
    with pytest.raises(UsageError, match="matrix, atoms"):
        find_positions(data, "diagonal")
    data = Gaussians().data
    centred = replace(data, r=centred_positions(data.r, data.S, data.system.cell))  # not from the lattice origin
    with pytest.raises(DataError, match="relative to the lattice origin"):
        find_positions(centred)


def test_positions_survive_an_h_that_is_not_quite_hermitian():
    """A prediction in single precision keeps its r, also where blocks lack their partner."""
    data = changed_basis(haldane(0.2))
    noisy = replace(data, H=replace(data.H, entries=data.H.entries + 1e-5 * RNG.normal(size=data.H.entries.shape)))
    assert hermitian(noisy).r is not None
    assert np.allclose(Geometry(noisy, K).curvature(), Geometry(data, K).curvature(), rtol=1e-2, atol=1e-2)
    kept = np.delete(np.arange(data.S.n_pairs), int(np.argmax(data.S.pairs[:, 0] > 0)))
    part = replace(data, **{name: getattr(data, name).selected(kept) for name in ("S", "H", "r")})
    assert np.allclose(Geometry(part, K).curvature(), Geometry(data, K).curvature(), atol=1e-8)
