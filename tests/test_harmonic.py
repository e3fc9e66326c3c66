"""Second harmonic: pieces of a crystal in a field, without k, without derivatives; symmetry; no basis matters."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from symmetry_case import random_structure
from test_response import FERMI, general_crystal, light
from tight_binding import cell_matrices, changed_basis, from_cell_matrices, haldane, moved_origin, tight_binding, with_spinors

from postprocess.response.harmonic import Harmonic, second_harmonic
from postprocess.response.light import Broadening
from postprocess.states.adaptive import Refinement, integrate_adaptively
from postprocess.states.fermi import FermiLevel


def crooked_chain(*, moments=True):
    """Four orbitals on two points off the axis, complex hops, no symmetry; the two lower bands are filled.

    ``moments``: positions between the orbitals of a cell as well, whose components do not commute.
    """
    rng = np.random.default_rng(5)

    def hop(size):
        return size * (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)))

    hops = [((1, 0, 0), 0, 0, hop(0.15)), ((1, 0, 0), 1, 0, hop(0.3)), ((0, 0, 0), 0, 1, hop(0.5))]
    data = tight_binding(np.diag([2.0, 20, 20]), [[0, 10, 10], [0.7, 10.9, 9.6]], [np.diag([-3.0, 3.0]), np.diag([-2.4, 2.3])], hops,
                         n_orbitals=[2, 2], fermi_energy=0.0)  # fmt: skip
    if not moments:
        return data
    data = changed_basis(data, size=0.0)  # all on one pattern of pairs
    R, r = cell_matrices(data.r, 2)
    noise = 0.3 * rng.normal(size=(3, 4, 4))
    r[:, np.flatnonzero(~R.any(axis=1))[0]] += noise + noise.swapaxes(1, 2)
    return replace(data, r=from_cell_matrices(R, r, data.system, data.basis, spin=False))


def piece(data, n_cells):
    """H, S (n, n) and x, y, z (3, n, n) of so many cells of a chain, cut out."""
    length = data.system.cell[0, 0]
    out = []
    for blocks in (data.hamiltonian, data.S, data.r):
        R, M = cell_matrices(blocks, data.system.n_atoms)
        m = M.shape[-1]
        full = np.zeros((len(M), n_cells, m, n_cells, m), complex)
        for matrix, step in zip(M.swapaxes(0, 1), R[:, 0], strict=True):
            for cell in range(max(0, -step), min(n_cells, n_cells - step)):
                full[:, cell, :, cell + step] = matrix
        out.append(full.reshape(len(M), n_cells * m, -1))
    H, S, r = out[0][0], out[1][0], out[2]
    r[0] += np.repeat(np.arange(n_cells) * length, m)[:, None] * S
    return H, S, r


def hyperpolarizability(H, S, r, n_filled, frequency):
    """-Tr r_a rho of second order, from the equation of motion in the states of the whole piece: (3, 3, 3), e = 1."""
    E, C = eigh(H, S)
    x = C.conj().T @ r @ C
    f = (np.arange(len(E)) < n_filled).astype(float)
    step = E[:, None] - E[None]
    X = x * (f[:, None] - f) / (step - frequency)
    rho = np.array([[x[c] @ X[b] - X[b] @ x[c] for c in range(3)] for b in range(3)]) / (2 * frequency - step)
    out = -np.einsum("amn,bcnm->abc", x, rho)
    return (out + out.swapaxes(1, 2)) / 2


def per_cell(function, data, n_cells=20):
    """What one more cell adds in the middle of a long piece."""
    long, short = (function(*piece(data, n), 2 * n) for n in (n_cells + 1, n_cells))
    return long - short


def in_the_zone(data, settings, n_k=100, fermi=FERMI):
    """(m, 3, 3, 3) of a chain in all three directions, Angstrom^4/eV^2."""
    quantity = Harmonic(settings.conditions(data, fermi))
    found = integrate_adaptively(data, quantity, (n_k, 1, 1), watched="watched", refinement=Refinement(rounds=0))
    return found.value["tensor"][0].reshape(-1, 3, 3, 3)


@pytest.mark.parametrize("change", [lambda data: data, lambda data: moved_origin(changed_basis(data))])
def test_second_harmonic_of_a_chain_is_that_of_a_long_piece(change):
    """In a basis that is not orthogonal, without time reversal, with positions that do not commute, below and above the gap."""
    data = change(crooked_chain())
    settings = light(1, 0.0, 6.0, 4, width=0.6, shape="lorentzian")
    for w, found in zip(settings.photons.energies, in_the_zone(data, settings), strict=True):
        expected = per_cell(lambda *matrices, w=w: hyperpolarizability(*matrices, w + 0.6j), data)
        assert np.abs(expected).max() > 0.05
        assert np.abs(found - expected).max() < 1e-10


def test_static_limit_is_the_second_derivative_of_the_polarization():
    """Of a long piece in a constant field, whose states are those of H + e E.r: no perturbation theory."""
    data, step = crooked_chain(), 4e-3

    def dipole(H, S, r, n_filled, field):
        C = eigh(H + np.tensordot(field, r, 1), S)[1][:, :n_filled]
        return -np.einsum("pn,apq,qn->a", C.conj(), r, C).real

    def bent(direction):
        """d^2 P / dE^2 along a direction, by the formula of fourth order."""
        along = np.array(direction, float)
        P = [per_cell(lambda *matrices, s=s: dipole(*matrices, s * step * along), data, 14) for s in (-2, -1, 0, 1, 2)]
        return (-P[0] + 16 * P[1] - 30 * P[2] + 16 * P[3] - P[4]) / (12 * step**2)

    found = in_the_zone(data, light(1, 0.0, 1.0, 2, width=1e-4, shape="lorentzian"))[0]
    assert np.abs(found.imag).max() < 1e-12
    for b, c in ((0, 0), (1, 1), (0, 1), (0, 2)):
        both = np.eye(3)[b] + np.eye(3)[c]
        expected = bent(both) / 8 if b == c else (bent(both) - bent(np.eye(3)[b]) - bent(np.eye(3)[c])) / 4
        assert found.real[:, b, c] == pytest.approx(expected, abs=2e-6)
    assert np.abs(found).max() > 0.05


def three_levels(splitting=0.0):
    """Three orbitals, hops between one of them and the two others only: the levels are -E, 0, E; the lowest band is filled."""
    rng = np.random.default_rng(2)
    hops = [((0, 0, 0), 0, 1, 1.9), ((0, 0, 0), 0, 2, 1.1j), ((1, 0, 0), 0, 1, 0.4 + 0.2j), ((1, 0, 0), 0, 2, 0.3)]
    data = tight_binding(np.diag([2.0, 20, 20]), [[0, 10, 10], [0.7, 10.9, 9.6], [1.2, 9.5, 10.4]], [0.0, splitting, splitting], hops,
                         fermi_energy=-0.8)  # fmt: skip
    data = changed_basis(data, size=0.0)
    R, r = cell_matrices(data.r, 3)
    noise = 0.3 * rng.normal(size=(3, 3, 3))
    r[:, np.flatnonzero(~R.any(axis=1))[0]] += noise + noise.swapaxes(1, 2)
    return replace(data, r=from_cell_matrices(R, r, data.system, data.basis, spin=False))


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_a_level_in_the_middle_of_two_others(shape):
    """Both photons of a harmonic then find a transition at the same energy; it is where two poles that nearly meet go to."""
    fermi = FermiLevel(-0.8, -0.8, -0.8, "given")
    settings = light(1, 0.0, 3.0, 4, width=0.4, shape=shape)
    exact, near = (in_the_zone(three_levels(x), settings, fermi=fermi) for x in (0.0, 1e-4))
    assert np.abs(exact - near).max() < 1e-3 * np.abs(exact).max()
    if shape == "lorentzian":
        for w, found in zip(settings.photons.energies, exact, strict=True):
            one = per_cell(lambda *matrices, w=w: hyperpolarizability(*matrices[:3], matrices[3] // 2, w + 0.4j), three_levels())
            assert np.abs(found - one).max() < 1e-9


@pytest.mark.parametrize("shape", ["gaussian", "lorentzian"])
def test_slope_of_a_pole(shape):
    broadening, x = Broadening(0.3, shape), np.linspace(-2, 2, 9)
    slope = (broadening.pole(x + 1e-5) - broadening.pole(x - 1e-5)) / 2e-5
    assert np.allclose(broadening.pole_slope(x), slope, atol=1e-8)


def test_no_basis_and_no_origin_changes_the_second_harmonic():
    data, settings = general_crystal(), light(2, 0, 9, 10)
    here, there = second_harmonic(data, FERMI, settings), second_harmonic(moved_origin(changed_basis(data)), FERMI, settings)
    assert here.unit == "pm/V"
    assert np.abs(here.values - there.values).max() < 1e-8 * np.abs(here.values).max()
    assert np.allclose(here.values, here.values.swapaxes(2, 3), rtol=0, atol=1e-12 * np.abs(here.values).max())


def test_second_harmonic_of_layers():
    """Inversion: none. Spinors: the same. The threefold axis: xxx = -xyy = -yxy = -yyx. Time reversal: half of the zone."""
    mesh, size = (12, 12, 1), {}
    settings = light(mesh, 0.0, 8, 9)
    for mass in (0.0, 0.3):
        size[mass] = second_harmonic(changed_basis(haldane(mass, t2=0.0, t=-2.7)), FERMI, settings)
    found = size[0.3].values
    largest = np.abs(found).max()
    assert size[0.3].unit == "pm^2/V"
    assert size[0.3].integral.n_k < (12 * 12 + 6 * 6) / 2 + 10
    assert np.abs(size[0.0].values).max() < 1e-9 * largest
    spinors = second_harmonic(with_spinors(haldane(0.3, t2=0.0, t=-2.7)), FERMI, settings).values
    assert np.abs(spinors - found).max() < 1e-9 * largest
    x = np.argmax(np.abs(np.einsum("maaa->ma", found)).max(axis=0))  # the direction without a mirror across it
    y = 1 - x
    for other in (found[:, x, y, y], found[:, y, x, y], found[:, y, y, x]):
        assert np.abs(found[:, x, x, x] + other).max() < 1e-8 * largest
    assert np.abs(found[:, y, y, y]).max() < 1e-8 * largest


def test_zinc_blende_has_one_component():
    data = random_structure("zincblende").symmetrized()
    middle = float(np.mean(np.sort(data.eigenvalues([0.1, 0.2, 0.3]).ravel())[3:5]))
    fermi = FermiLevel(middle, middle, middle, "given")
    found = second_harmonic(data, fermi, light(2, 0, 6, 7, width=0.5)).values
    allowed = np.array([[[len({a, b, c}) == 3 for c in range(3)] for b in range(3)] for a in range(3)])
    one = found[:, allowed]
    assert np.abs(one).max() > 0
    assert np.abs(found[:, ~allowed]).max() < 1e-6 * np.abs(one).max()
    assert np.abs(one - one[:, :1]).max() < 1e-6 * np.abs(one).max()


def test_a_metal_is_told(caplog):
    fermi = FermiLevel(-2.5, -2.5, -2.5, "given")
    second_harmonic(general_crystal(), fermi, light(3, 1, 2, 2))
    assert "levels cross the Fermi level" in caplog.text
    caplog.clear()
    second_harmonic(general_crystal(), FERMI, light(3, 1, 2, 2))
    assert not caplog.text
