"""Second harmonic: pieces of a crystal in a field, without k, without derivatives; symmetry; no basis matters."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from test_response import FERMI, general_crystal, light
from tight_binding import cell_matrices, changed_basis, from_cell_matrices, haldane, moved_origin, tight_binding, with_spinors

from postprocess.response.harmonic import Harmonic, second_harmonic
from postprocess.response.light import Broadening
from postprocess.states.adaptive import Refinement, integrate_adaptively


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


def in_the_zone(data, settings, n_k=100):
    """(m, 3, 3, 3) of a chain in all three directions, Angstrom^4/eV^2."""
    quantity = Harmonic(settings.conditions(data, FERMI))
    found = integrate_adaptively(data, quantity, (n_k, 1, 1), watched="watched", refinement=Refinement(rounds=0))
    return found.value["tensor"][0].reshape(-1, 3, 3, 3)


@pytest.mark.parametrize("change", [lambda data: data, lambda data: moved_origin(changed_basis(data))])
def test_second_harmonic_of_a_chain_is_that_of_a_long_piece(change):
    """In a basis that is not orthogonal, without time reversal, with positions that do not commute, above and below the gap."""
    data = change(crooked_chain())
    settings = light(1, 0.0, 6.0, 5, width=0.6, shape="lorentzian")
    found = in_the_zone(data, settings)
    for w, tensor in zip(settings.photons.energies, found, strict=True):
        expected = per_cell(lambda *matrices, w=w: hyperpolarizability(*matrices, w + 0.6j), data)
        print(w, np.abs(tensor - expected).max() , np.abs(expected).max())
