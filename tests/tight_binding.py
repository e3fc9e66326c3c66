"""Exact models as real Hamiltonian objects with positions, and changes of their description that leave all physics unchanged."""

from dataclasses import replace

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System

HONEYCOMB = np.array([[2.46, 0, 0], [-1.23, 1.23 * np.sqrt(3), 0], [0, 0, 20.0]])
NEIGHBOURS = [((0, 0, 0), 0, 1), ((0, -1, 0), 0, 1), ((-1, -1, 0), 0, 1)]
"""The bonds from A at (0, 0) to the three B around it; B is at (1/3, 2/3) of the cell."""


def tight_binding(cell, positions, onsite, hops, *, n_orbitals=None, spin="none", **options):
    """A model of s orbitals on points, S = 1, positions diagonal.

    ``onsite``: a number or matrix for each point. ``hops`` = [((R1, R2, R3), i, j, t)] is <i, 0 | H | j, R>, to which the conjugate is
    added (never list both, and no hop of a point onto itself with R = 0). t is a number, which stands for t times 1, or a matrix of all
    orbitals of the two points; those of spinors come with spin up first, then those with spin down. ``n_orbitals``: spatial orbitals of
    each point.
    """
    n = np.ones(len(positions), int) if n_orbitals is None else np.array(n_orbitals)
    factor = 2 if spin == "spinor" else 1
    elements = {(0, 0, 0, i, i): full_matrix(onsite[i], factor * n[i], factor * n[i]) for i in range(len(n))}
    for R, i, j, t in hops:
        hop = full_matrix(t, factor * n[i], factor * n[j])
        for pair, block in (((*R, i, j), hop), ((*(-x for x in R), j, i), hop.conj().T)):
            elements[pair] = elements.get(pair, 0.0) + block
    pairs = np.array(sorted(elements))
    system = System(np.array(cell, float), np.array(positions, float), n)  # the element counts the orbitals
    basis = Basis({int(z): (0,) * int(z) for z in n}, spin)
    shapes = block_shapes(basis, n, pairs, spin=False)
    own = [np.eye(*shape) * (i == j and not any(R)) for shape, (*R, i, j) in zip(shapes, pairs.tolist(), strict=True)]
    S = PairBlocks(pairs, shapes, np.concatenate([block.ravel() for block in own]))
    r = np.concatenate([block.ravel()[None] * system.positions[i][:, None] for block, i in zip(own, pairs[:, 3], strict=True)], axis=1)
    entries = np.concatenate([np.ravel(elements[pair]) for pair in map(tuple, pairs.tolist())])
    if spin != "spinor" and not np.any(entries.imag):
        entries = entries.real
    return Hamiltonian(system, basis, S, PairBlocks(pairs, factor * shapes, entries), replace(S, entries=r), **options)


def full_matrix(value, rows, columns):
    """A number times 1, or the matrix that was given."""
    value = np.asarray(value, complex)
    return value * np.eye(rows, columns) if value.ndim == 0 else value.reshape(rows, columns)


def haldane(mass=0.0, phi=np.pi / 2, t=-1.0, t2=0.1, **options):
    """Haldane's model (doi:10.1103/PhysRevLett.61.2015): +mass on A, -mass on B, t2 exp(+-i phi) to second neighbours; without spin.

    One of its two bands is filled: E_F = 0 at phi = pi / 2. The gap closes at ``|mass|`` = 3 sqrt(3) ``|t2 sin phi|``; below, the Chern
    number is +-1, with the sign of sin phi. t2 = 0: gapped graphene.
    """
    flux = t2 * np.exp(1j * phi)
    hops = [(R, i, j, t) for R, i, j in NEIGHBOURS]
    for R in ((1, 0, 0), (0, 1, 0), (-1, -1, 0)):
        hops += [(R, 0, 0, flux), (R, 1, 1, np.conj(flux))]
    options = {"fermi_energy": 0.0, "n_electrons": 2.0} | options  # each level of a model without spin holds two
    b = (HONEYCOMB[0] + 2 * HONEYCOMB[1]) / 3
    return tight_binding(HONEYCOMB, [[0, 0, 5.0], [*b[:2], 5.0]], [mass, -mass], hops, **options)


def with_spinors(data, up=0.0, down=0.0):
    """The same for both spins, as spinors; the levels of each are moved by so many eV."""
    doubled = data.to_spinor()
    zeeman = np.diag([up, down])

    def moved(blocks, pairs):
        own = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
        shift = np.kron(zeeman, np.eye(blocks.shape[-2] // 2, blocks.shape[-1] // 2))
        return blocks + own[:, None, None] * shift

    return replace(doubled, H=doubled.H.mapped(moved))  # S = 1


def cell_matrices(blocks, n_atoms):
    """Lattice vectors R (m, 3) and matrices of all orbitals of a cell (n_components, m, n, n) of packed blocks."""
    R, which = np.unique(blocks.pairs[:, :3], axis=0, return_inverse=True)
    width = np.zeros(n_atoms, int)
    width[blocks.pairs[:, 3]] = blocks.shapes[:, 0]
    start = np.concatenate([[0], np.cumsum(width)])
    out = np.zeros((blocks.n_components, len(R), start[-1], start[-1]), blocks.entries.dtype)
    for p, (i, j) in enumerate(blocks.pairs[:, 3:].tolist()):
        out[:, which.ravel()[p], start[i] : start[i + 1], start[j] : start[j + 1]] = blocks.take(np.array([p]))[:, 0]
    return R, out


def from_cell_matrices(R, matrices, system, basis, *, spin):
    """Packed blocks of all pairs of atoms from matrices of all orbitals of a cell."""
    n = system.n_atoms
    pairs = np.concatenate([np.repeat(R, n * n, axis=0), np.tile(np.stack(np.divmod(np.arange(n * n), n), -1), (len(R), 1))], axis=1)
    shapes = block_shapes(basis, system.numbers, pairs, spin=spin)
    start = np.concatenate([[0], np.cumsum(basis.n_orbitals(system.numbers) * (basis.spin_factor if spin else 1))])
    blocks = [matrices[:, p // n**2, start[i] : start[i + 1], start[j] : start[j + 1]] for p, (i, j) in enumerate(pairs[:, 3:].tolist())]
    entries = np.concatenate([block.reshape(len(matrices), -1) for block in blocks], axis=1)
    return PairBlocks(pairs, shapes, entries)


def changed_basis(data, seed=0, size=0.3):
    """The same physics in random combinations of all orbitals of a cell, also of different atoms: H -> X^T H X, S and r alike."""
    rng = np.random.default_rng(seed)
    n = data.basis.n_orbitals(data.system.numbers)
    X = np.eye(n.sum()) + size * rng.normal(size=(n.sum(), n.sum()))
    atom = np.repeat(np.arange(len(n)), n * data.basis.spin_factor)
    place = np.argsort(np.concatenate([np.flatnonzero(of_spin) for of_spin in _spin_rows(data, atom)]), kind="stable")

    def turned(blocks, *, spin):
        R, matrices = cell_matrices(blocks, data.system.n_atoms)
        full = X
        if spin and data.basis.spin == "spinor":
            full = np.kron(np.eye(2), X)[np.ix_(place, place)]
        return from_cell_matrices(R, full.T @ matrices @ full, data.system, data.basis, spin=spin)

    return replace(data, H=turned(data.H, spin=True), S=turned(data.S, spin=False), r=turned(data.r, spin=False))


def _spin_rows(data, atom):
    """Which rows of H(k) are spin up, and which are spin down; all of them without spinors."""
    if data.basis.spin != "spinor":
        return [np.ones(len(atom), bool)]
    n = data.basis.n_orbitals(data.system.numbers)
    down = np.concatenate([np.repeat([False, True], m) for m in n])
    return [~down, down]


def moved_origin(data, shift=(0.13, 0.29, 0.41)):
    """The same crystal with all atoms moved, Angstrom: r -> r + shift S."""
    moved = replace(data.r, entries=data.r.entries + np.array(shift)[:, None] * data.S.entries)
    system = replace(data.system, positions=data.system.positions + np.array(shift))
    return replace(data, system=system, r=moved)


def enlarged(data, repeat):
    """The same crystal with ``repeat`` cells along each lattice vector, position matrices included."""
    repeat = np.array(repeat)
    T = np.stack(np.meshgrid(*[np.arange(n) for n in repeat], indexing="ij"), -1).reshape(-1, 3)
    n, system = data.system.n_atoms, data.system
    positions = (system.positions[None] + (T @ system.cell)[:, None]).reshape(-1, 3)
    big = System(system.cell * repeat[:, None], positions, np.tile(system.numbers, len(T)))
    target = T[:, None] + data.S.pairs[None, :, :3]  # cell of atom j as seen from the cell T of atom i
    number = np.ravel_multi_index(tuple(np.moveaxis(np.mod(target, repeat), -1, 0)), tuple(repeat))
    i = np.arange(len(T))[:, None] * n + data.S.pairs[None, :, 3]
    pairs = np.concatenate([np.floor_divide(target, repeat), i[..., None], (number * n + data.S.pairs[:, 4])[..., None]], axis=-1)
    pairs = pairs.reshape(-1, 5)

    def repeated(blocks, entries=None):
        return PairBlocks(pairs, np.tile(blocks.shapes, (len(T), 1)), np.tile(blocks.entries, len(T)) if entries is None else entries)

    r = None
    if data.r is not None:
        r = repeated(data.r, np.concatenate([data.r.entries + t[:, None] * data.S.entries for t in T @ system.cell], axis=1))
    electrons = None if data.n_electrons is None else data.n_electrons * len(T)
    return replace(data, system=big, S=repeated(data.S), H=repeated(data.H), r=r, n_electrons=electrons)
