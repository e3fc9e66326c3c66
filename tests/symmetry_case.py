"""Structures with random matrices that have no symmetry, and representations of space groups made without the package."""

from dataclasses import replace

import numpy as np
import spglib
from harmonics import rotation_of_atom
from scipy.linalg import block_diag, expm
from scipy.spatial.transform import Rotation

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.covariance import time_reversed
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite, neighbour_pairs, pair_vectors
from deeph.physics.potential import PAULI
from deeph.physics.system import System

FCC = np.array([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0.0]])
HEXAGON = np.array([[3.2, 0, 0], [-1.6, 1.6 * 3**0.5, 0], [0, 0, 12.0]])
RUTILE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.31, 0.31, 0], [-0.31, -0.31, 0], [0.81, 0.19, 0.5], [0.19, 0.81, 0.5]]
FOURFOLD = [[0, 0, 0], [0.3, 0.1, 0.2], [-0.1, 0.3, 0.2], [-0.3, -0.1, 0.2], [0.1, -0.3, 0.2]]
STRUCTURES = {
    "zincblende": (FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [31, 33]),
    "tellurium": (HEXAGON * [[1], [1], [0.4]], [[0.27, 0, 1 / 3], [0, 0.27, 2 / 3], [-0.27, -0.27, 0]], [14] * 3),
    "fourfold axis": (np.diag([4.0, 4.0, 3.5]), FOURFOLD, [27, *[9] * 4]),
    "diamond": (FCC, [[0.125, 0.125, 0.125], [-0.125, -0.125, 0.875]], [14, 14]),
    "MoS2": (HEXAGON, [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.63], [2 / 3, 1 / 3, 0.37]], [42, 16, 16]),
    "hcp": (HEXAGON * [[1], [1], [0.43]], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], [27, 27]),
    "rutile": (np.diag([4.8, 4.8, 3.3]), RUTILE, [25, 25, 9, 9, 9, 9]),
    "two cells": (np.diag([2, 1, 1]) @ FCC, [[0, 0, 0], [0.5, 0, 0]], [29, 29]),
}
SHELLS = {31: (0, 1), 33: (1, 2), 14: (0, 1), 42: (0, 2), 16: (0, 1), 27: (0, 2), 25: (0, 2), 9: (1,), 29: (0, 1, 3)}


def random_structure(name, spin="none", *, seed=0, reversal=False, **options):
    """Hermitian random H, S = 1 + small and r on all pairs up to 4 Angstrom; ``reversal``: H keeps time reversal."""
    rng = np.random.default_rng(seed)
    cell, fractional, numbers = STRUCTURES[name]
    system = System(cell, np.array(fractional) @ cell, np.array(numbers))
    basis = Basis({z: SHELLS[z] for z in dict.fromkeys(numbers)}, spin)
    pairs = neighbour_pairs(system, dict.fromkeys(numbers, 2.0))
    decay = np.exp(-np.linalg.norm(pair_vectors(system, pairs), axis=1))

    def noise(components, *, of_spin):
        shapes = block_shapes(basis, system.numbers, pairs, spin=of_spin)
        blocks = PairBlocks.zeros(pairs, shapes, components)
        entries = rng.normal(size=blocks.entries.shape)
        if of_spin and spin == "spinor":
            entries = entries + 1j * rng.normal(size=blocks.entries.shape)
        return replace(blocks, entries=entries * np.repeat(decay, shapes.prod(axis=1))).hermitized()

    S = noise(1, of_spin=False)
    S = replace(S, entries=0.02 * S.entries)
    for (rows, columns), members in S.groups():
        own = members[is_onsite(pairs[members])]
        if len(own):
            S.put(own, S.take(own) + np.eye(rows, columns))
    H, r = noise(basis.n_spin, of_spin=True), noise(3, of_spin=False)
    if reversal:
        H = replace(H, entries=(H.entries + time_reversed(H).entries) / 2)
    return Hamiltonian(system, basis, S, H, replace(r, entries=r.entries + middle(system, S) * S.entries), **options)


def middle(system, blocks):
    """(3, n_entries) the middle of the pair of each entry."""
    i, j = blocks.pairs[:, 3], blocks.pairs[:, 4]
    centres = (system.positions[i] + system.positions[j] + blocks.pairs[:, :3] @ system.cell) / 2
    return np.repeat(centres.T, blocks.shapes.prod(axis=1), axis=1)


def spin_matrix(Q):
    """exp(-i angle n.sigma / 2) of the proper part of Q."""
    vector = Rotation.from_matrix(Q * np.sign(np.linalg.det(Q))).as_rotvec()
    return expm(-0.5j * np.einsum("c,cst->st", vector, PAULI))


def space_group(system):
    """(Q, image) of all operations, from spglib alone, images by brute force."""
    found = spglib.get_symmetry((system.cell, system.fractional, system.numbers), symprec=1e-3)
    for W, w in zip(found["rotations"], found["translations"], strict=True):
        away = (system.fractional @ W.T + w)[:, None] - system.fractional[None]
        image = np.linalg.norm((away - np.rint(away)) @ system.cell, axis=-1).argmin(axis=1)
        yield system.cell.T @ W @ np.linalg.inv(system.cell.T), image


def magnetic_group(data, *, spin_orbit):
    """(Q, image, reversed) of the operations that keep the moments; without moments time reversal is a symmetry by itself."""
    m = np.zeros((data.system.n_atoms, 3)) if data.moments is None else data.moments
    for Q, image in space_group(data.system):
        turned = m @ (np.linalg.det(Q) * Q if spin_orbit else np.eye(3)).T
        for reverse in (False, True):
            if np.abs((-turned if reverse else turned) - m[image]).max() < 0.05:
                yield Q, image, reverse


def representation(data, Q, image, reverse, *, spin_orbit, spin):
    """Permutation times rotation of all orbitals, as in the atomic gauge, which needs no lattice vectors."""
    atoms = [rotation_of_atom(Q, data.basis.shells[z]) for z in data.system.numbers.tolist()]
    if spin:
        U = (spin_matrix(Q) if spin_orbit else np.eye(2)) @ (-1j * PAULI[1] if reverse else np.eye(2))
        atoms = [np.kron(U, D) for D in atoms]
    start = np.cumsum([0, *map(len, atoms)])
    to = np.concatenate([np.arange(start[a], start[a + 1]) for a in image])
    out = np.zeros((start[-1], start[-1]), complex)
    out[to] = block_diag(*atoms)
    return out


def asymmetry(data, k, *, spin_orbit=False):
    """Largest violation of H, and of S, at a fractional k and its images under all operations."""
    worst = np.zeros(2)
    collinear, n = data.basis.spin == "collinear", data.basis.n_spin
    for Q, image, reverse in magnetic_group(data, spin_orbit=spin_orbit):
        there = np.linalg.solve(data.system.reciprocal.T, Q @ (k @ data.system.reciprocal)) * (-1 if reverse else 1)
        for m, (bloch, count) in enumerate(((data.H_bloch, n), (data.S_bloch, 1))):
            D = representation(data, Q, image, reverse, spin_orbit=spin_orbit, spin=data.basis.spin == "spinor")
            for c in range(count):
                before = bloch.dense(k, component=count - 1 - c if collinear and reverse else c, gauge="atomic")
                after = bloch.dense(there, component=c, gauge="atomic")
                expected = D @ (before.conj() if reverse else before) @ D.conj().T
                worst[m] = max(worst[m], np.abs(expected - after).max())
    return worst


def turned_crystal(data, Q):
    """The whole structure turned by a proper rotation."""
    spinor = data.basis.spin == "spinor"
    D = {z: rotation_of_atom(Q, shells) for z, shells in data.basis.shells.items()}
    numbers = data.system.numbers

    def turn(blocks, factor):
        out = PairBlocks.zeros(blocks.pairs, blocks.shapes, blocks.n_components, np.result_type(blocks.entries, factor))
        for n, (_, _, _, i, j) in enumerate(blocks.pairs.tolist()):
            left, right = np.kron(factor, D[numbers[i]]), np.kron(factor, D[numbers[j]])
            out.put(np.array([n]), (left @ blocks.take(np.array([n]))[:, 0] @ right.conj().T)[:, None])
        return out

    r = turn(data.r, np.eye(1))
    return replace(
        data,
        system=replace(data.system, cell=data.system.cell @ Q.T, positions=data.system.positions @ Q.T),
        H=turn(data.H, spin_matrix(Q) if spinor else np.eye(1)),
        S=turn(data.S, np.eye(1)),
        r=replace(r, entries=Q @ r.entries),
        moments=data.moments @ Q.T if data.moments is not None and spinor else data.moments,
    )
