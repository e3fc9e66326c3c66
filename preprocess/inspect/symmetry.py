"""The symmetry operations of a crystal: rotations and reflections, with a translation, that map the atoms onto themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from deeph.physics.system import FloatArray, IntArray, System

TOLERANCE = 1e-3
"""How far an atom may lie from the image of another one, Angstrom."""


@dataclass(frozen=True)
class Operation:
    """x -> Q x + t, which takes atom i to atom ``image[i]`` of another cell.

    Attributes
    ----------
    Q : (3, 3) array
        Orthogonal, acting on Cartesian column vectors.
    lattice : (3, 3) int array
        What Q does to cells: R goes to R @ lattice.
    image : (n_atoms,) int array
        Atom at which atom i arrives.
    shift : (n_atoms, 3) int array
        Cell in which it arrives.
    deviation : float
        Largest distance of an image from its atom, Angstrom.
    """

    Q: FloatArray
    lattice: IntArray
    image: IntArray
    shift: IntArray
    deviation: float

    @property
    def name(self) -> str:
        """Such as ``C3``, ``mirror``, ``inversion``, ``S6`` or ``translation``."""
        proper = np.linalg.det(self.Q) > 0
        turn = np.degrees(np.arccos(np.clip((np.trace(self.Q) * (1 if proper else -1) - 1) / 2, -1, 1)))
        order = 1 if turn < 1 else round(360 / turn)
        if proper:
            return f"C{order}" if order > 1 else "translation"
        return {1: "inversion", 2: "mirror", 3: "S6", 6: "S3"}.get(order, f"S{order}")

    def pairs(self, pairs: IntArray) -> IntArray:
        """(n, 5) where the pairs (R, i, j) go."""
        i, j = pairs[:, 3], pairs[:, 4]
        R = pairs[:, :3] @ self.lattice + self.shift[j] - self.shift[i]
        return np.column_stack([R, self.image[i], self.image[j]])


def find_operations(system: System, tolerance: float = TOLERANCE) -> list[Operation]:
    """One operation for each rotation or reflection of the lattice that has one, and one pure translation if there is any.

    Parameters
    ----------
    system : System
        All three directions count as periodic.
    tolerance : float
        Angstrom.

    Returns
    -------
    list of Operation
        Without the identity.
    """
    kinds, counts = np.unique(system.numbers, return_counts=True)
    rare = np.flatnonzero(system.numbers == kinds[counts.argmin()])
    places = system.fractional % 1.0 % 1.0  # twice, because -1e-17 % 1 is 1
    atoms = {int(z): np.flatnonzero(system.numbers == z) for z in kinds}
    trees = {z: (members, cKDTree(places[members], boxsize=1.0)) for z, members in atoms.items()}
    found = []
    for lattice in _lattice_rotations(system.cell, tolerance):
        Q = _orthogonal((np.linalg.inv(system.cell) @ (lattice @ system.cell)).T)
        turned = system.positions @ Q.T
        for target in rare:
            if np.array_equal(lattice, np.eye(3)) and target == rare[0]:
                continue  # the identity
            operation = _operation(system, trees, Q, lattice, turned + system.positions[target] - turned[rare[0]], tolerance)
            if operation is not None:
                found.append(operation)
                break
    return found


def _lattice_rotations(cell: FloatArray, tolerance: float) -> Iterator[IntArray]:
    """Integer matrices M for which the rows of M A have the lengths and angles of those of A."""
    metric = cell @ cell.T
    lengths = np.sqrt(np.diag(metric))
    reach = np.ceil((lengths.max() + tolerance) * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    R = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1).reshape(-1, 3)
    norm = np.linalg.norm(R @ cell, axis=1)
    first, second, third = (R[np.abs(norm - length) < tolerance] for length in lengths)
    allowed = tolerance * lengths.max()
    for a in first:
        for b in second[np.abs(second @ metric @ a - metric[0, 1]) < allowed]:
            fits = (np.abs(third @ metric @ a - metric[0, 2]) < allowed) & (np.abs(third @ metric @ b - metric[1, 2]) < allowed)
            yield from (np.stack([a, b, c]) for c in third[fits])


def _orthogonal(matrix: FloatArray) -> FloatArray:
    """The nearest orthogonal matrix."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v)


def _operation(
    system: System, trees: dict[int, tuple[IntArray, cKDTree]], Q: FloatArray, lattice: IntArray, moved: FloatArray, tolerance: float
) -> Operation | None:
    """The operation that takes the atoms to some positions, or None if they are not all occupied by atoms of their element."""
    inverse = np.linalg.inv(system.cell)
    image = np.empty(system.n_atoms, np.int64)
    shift = np.empty((system.n_atoms, 3), np.int64)
    deviation = 0.0
    for z, (atoms, tree) in trees.items():
        mine = np.flatnonzero(system.numbers == z)
        for part in (mine[:2], mine[2:]):  # most candidates fail at the first atoms
            _, near = tree.query((moved[part] @ inverse) % 1.0 % 1.0)
            image[part] = atoms[near]
            difference = moved[part] - system.positions[image[part]]
            shift[part] = np.rint(difference @ inverse)
            error = np.linalg.norm(difference - shift[part] @ system.cell, axis=1).max(initial=0.0)
            if error > tolerance:
                return None
            deviation = max(deviation, float(error))
    if len(np.unique(image)) != system.n_atoms:
        return None
    return Operation(Q, lattice, image, shift, deviation)
