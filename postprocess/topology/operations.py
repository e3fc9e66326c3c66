"""Symmetry operations on Bloch states: where an operation is found, and its matrix between the orbitals at a k that it keeps."""

import numpy as np

from deeph.physics.covariance import Operation, turned
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import find_pairs
from deeph.physics.rotations import atom_rotation, spin_rotation
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError
from postprocess.topology.links import ComplexArray

TOLERANCE = 1e-3
"""How far an atom may lie from the image of another one, Angstrom."""


def find_operation(system: System, Q: FloatArray, tolerance: float = TOLERANCE) -> tuple[Operation | None, float]:
    """The operation x -> Q x + t that maps the atoms onto themselves best, for the translation t that does.

    Returns
    -------
    operation : Operation or None
        None if some atom lies farther than the tolerance from an image, or Q does not keep the lattice.
    deviation : float
        The largest distance of an atom from its image, Angstrom; infinite if the lattice is not kept.
    """
    turned_cell = system.cell @ np.asarray(Q).T @ np.linalg.inv(system.cell)
    lattice = np.rint(turned_cell).astype(int)
    if np.abs((turned_cell - lattice) @ system.cell).max() > tolerance:
        return None, np.inf
    kinds, counts = np.unique(system.numbers, return_counts=True)
    rare = np.flatnonzero(system.numbers == kinds[counts.argmin()])
    moved = system.fractional @ lattice
    best = min((_onto(system, moved, system.fractional[a] - moved[rare[0]]) for a in rare), key=lambda found: found[2])
    image, shift, deviation = best
    if deviation > tolerance:
        return None, deviation
    return Operation(np.asarray(Q, float), lattice, image, shift, deviation), deviation


def _onto(system: System, moved: FloatArray, translation: FloatArray) -> tuple[IntArray, IntArray, float]:
    """For each moved atom the nearest one of its element, the cell of that, and the largest distance after the best translation."""
    difference = (moved + translation)[:, None] - system.fractional
    cells = np.rint(difference)
    vectors = (difference - cells) @ system.cell
    distance = np.where(system.numbers[:, None] == system.numbers, np.linalg.norm(vectors, axis=-1), np.inf)
    image = distance.argmin(axis=1)
    own = np.arange(system.n_atoms)
    if len(set(image.tolist())) < system.n_atoms:
        return image, cells[own, image].astype(int), np.inf
    off = vectors[own, image] - vectors[own, image].mean(axis=0)  # the translation that fits all atoms best
    return image, cells[own, image].astype(int), float(np.linalg.norm(off, axis=1).max())


def representation(hamiltonian: Hamiltonian, operation: Operation, k: FloatArray) -> ComplexArray:
    """D with (operation) phi_jk = sum_i phi_ik D_ij between the orbitals of H(k), lattice gauge.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Structure and basis.
    operation : Operation
        Of its structure.
    k : (3,) array
        Fractional; the operation takes it to itself but for a reciprocal lattice vector.

    Raises
    ------
    DataError
        If it does not.
    """
    system, basis = hamiltonian.system, hamiltonian.basis
    arrives = np.linalg.solve(operation.lattice, np.asarray(k, float))  # k.R = k'.(R @ lattice)
    if np.abs(arrives - k - np.rint(arrives - k)).max() > 1e-6:
        raise DataError(f"{operation.name} takes k = {np.round(k, 4).tolist()} to another one, {np.round(arrives, 4).tolist()}")
    U = spin_rotation(operation.Q) if basis.spin == "spinor" else np.eye(1)
    size = basis.n_orbitals(system.numbers) * len(U)
    start = np.concatenate([[0], np.cumsum(size)])
    out = np.zeros((start[-1], start[-1]), complex)
    for atom, (image, shift) in enumerate(zip(operation.image.tolist(), operation.shift, strict=True)):
        own = np.kron(U, atom_rotation(basis.shells[int(system.numbers[atom])], operation.Q))
        phase = np.exp(-2j * np.pi * (arrives @ shift))
        out[start[image] : start[image + 1], start[atom] : start[atom + 1]] = phase * own
    return out


def violation(hamiltonian: Hamiltonian, operation: Operation) -> float:
    """Largest element of H - D H D^dagger, eV: how far H breaks a symmetry of its structure."""
    H = hamiltonian.hamiltonian
    image = turned(hamiltonian, H, operation)
    place = find_pairs(image.pairs, H.pairs)
    both = np.flatnonzero(place >= 0)
    return float(np.abs(H.selected(both).entries - image.selected(place[both]).entries).max(initial=0.0))
