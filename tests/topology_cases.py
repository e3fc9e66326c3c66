"""Exact models of topological bands beside Haldane's, as Hamiltonian objects with positions."""

import numpy as np
from tight_binding import HONEYCOMB, NEIGHBOURS, tight_binding

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System

S0, SX, SY, SZ = np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1.0])
SECOND = ((1, 0, 0), (0, 1, 0), (-1, -1, 0))


def kane_mele(mass=0.0, spin_orbit=0.1, rashba=0.0, t=-1.0):
    """Kane and Mele (doi:10.1103/PhysRevLett.95.146802): Haldane's flux of opposite sign for both spins, +-mass on A and B.

    Z2 = 1 for ``|mass|`` < 3 sqrt(3) spin_orbit without Rashba coupling. Both atoms are carbon, so that mass = rashba = 0 has inversion.
    """
    b = (HONEYCOMB[0] + 2 * HONEYCOMB[1]) / 3
    positions = np.array([[0, 0, 5.0], [*b[:2], 5.0]])
    hops = []
    for R, i, j in NEIGHBOURS:
        d = positions[j] + np.array(R) @ HONEYCOMB - positions[i]
        d /= np.linalg.norm(d)
        hops.append((R, i, j, t * S0 + 1j * rashba * (SX * d[1] - SY * d[0])))
    for R in SECOND:
        hops += [(R, 0, 0, 1j * spin_orbit * SZ), (R, 1, 1, -1j * spin_orbit * SZ)]
    onsite = [mass * S0, -mass * S0]
    return tight_binding(HONEYCOMB, positions, onsite, hops, spin="spinor", n_electrons=2.0, fermi_energy=0.0)


def bhz(mass, d=2, spin_orbit=1.0):
    """S and p_z on a square (d = 2) or cubic (d = 3) lattice: (mass - sum (1 - cos k_a)) tau_z + sin k_a tau_x or tau_y with spin.

    Bernevig, Hughes and Zhang (doi:10.1126/science.1133734) in the orbitals of this project: one atom with the shells s and p, of which p_x
    and p_y lie far above. Z2 of d = 2: 1 for 0 < mass < 2 and 2 < mass < 4; of d = 3: (1;000) for 0 < mass < 2, (0;111) for 2 < mass < 4,
    (1;111) for 4 < mass < 6.
    """
    s, p = 0, 2  # s, p_y, p_z, p_x
    sp = np.zeros((4, 4), complex)
    sp[s, p] = 1
    levels = np.zeros(4)
    levels[[s, p]] = 1, -1
    onsite = np.kron(S0, np.diag((mass - d) * levels + np.array([0, 40.0, 0, 40.0])))
    elements = {(0, 0, 0, 0, 0): onsite}
    for a, sigma in zip(range(d), (SX, SY, SZ), strict=False):
        # sin k_a sigma_a x [s><p] + h.c. keeps time reversal and inversion
        hop = np.kron(S0, np.diag(levels)) / 2 + spin_orbit * np.kron(sigma, sp + sp.T) / 2j
        R = [int(b == a) for b in range(3)]
        elements[(*R, 0, 0)] = hop
        elements[(*(-x for x in R), 0, 0)] = hop.conj().T
    pairs = np.array(sorted(elements))
    cell = np.diag([3.0] * d + [20.0] * (3 - d))
    system = System(cell, np.zeros((1, 3)), np.array([1]))
    own = [float(not any(p[:3])) * np.eye(4) for p in pairs.tolist()]
    shapes = np.full((len(pairs), 2), 4)
    S = PairBlocks(pairs, shapes, np.concatenate([o.ravel() for o in own]))
    H = PairBlocks(pairs, 2 * shapes, np.concatenate([elements[tuple(p)].ravel() for p in pairs.tolist()]))
    r = PairBlocks(pairs, shapes, np.zeros((3, S.entries.shape[1])))
    return Hamiltonian(system, Basis({1: (0, 1)}, "spinor"), S, H, r, n_electrons=2.0, fermi_energy=0.0)


def weyl_semimetal(k0=0.2, m=2.0):
    """Sin k1 sigma_x + sin k2 sigma_y + (cos k3 - cos 2 pi k0 + m (2 - cos k1 - cos k2)) sigma_z: two Weyl points at k3 = +-k0."""
    hops = [
        ((1, 0, 0), 0, 0, SX / 2j - m * SZ / 2),
        ((0, 1, 0), 0, 0, SY / 2j - m * SZ / 2),
        ((0, 0, 1), 0, 0, SZ / 2),
    ]
    onsite = [(2 * m - np.cos(2 * np.pi * k0)) * SZ]
    return tight_binding(np.diag([3.0, 3.5, 4.0]), [[0, 0, 0]], onsite, hops, n_orbitals=[2], n_electrons=2.0)


def rice_mele(phase, t=1.0, delta=0.5, stagger=0.5):
    """A dimerized chain with staggered energies at a phase (turns) of the cycle around the gapless point; a = 4 Angstrom."""
    angle = 2 * np.pi * phase
    d, m = delta * np.cos(angle), stagger * np.sin(angle)
    hops = [((0, 0, 0), 0, 1, t + d), ((-1, 0, 0), 0, 1, t - d)]
    return tight_binding(np.diag([4.0, 20.0, 20.0]), [[0, 0, 0], [2.0, 0, 0]], [m, -m], hops, n_electrons=2.0, fermi_energy=0.0)
