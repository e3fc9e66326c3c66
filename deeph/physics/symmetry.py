"""Operations of a space group, and what they do to atoms, pairs of atoms, orbitals, spins and Bloch states.

An operation g: x -> Q x + t takes the orbitals of atom i in cell R to those of atom ``image[i]`` in cell ``R @ lattice + shift[i]``, turned
by D, the rotation of its shells, times the SU(2) matrix of the spin. A matrix that g leaves as it is has

    M(R', i', j') = D_i M(R, i, j) D_j^dagger,      with M* instead of M where g comes with time reversal (an antiunitary operation).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from deeph.physics.basis import Basis
from deeph.physics.blocks import Array
from deeph.physics.rotations import atom_rotation, spin_rotation
from deeph.physics.system import FloatArray, IntArray, System

TOLERANCE = 1e-3
"""How far an atom may lie from the image of another one, Angstrom."""
TIME_REVERSAL = np.array([[0, -1], [1, 0]], complex)
"""-i sigma_y: time reversal of a spinor is this matrix times the complex conjugate."""


@dataclass(frozen=True)
class Operation:
    """x -> Q x + t, which takes atom i to atom ``image[i]`` of another cell, with or without time reversal.

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
    spin : (2, 2) array
        What it does to a spinor, the factor of time reversal included; of two matrices that differ in sign, either.
    reversed : bool
        Whether it comes with time reversal: antiunitary, complex conjugation first. Collinear up and down are exchanged.
    """

    Q: FloatArray
    lattice: IntArray
    image: IntArray
    shift: IntArray
    deviation: float
    spin: Array = field(default_factory=lambda: np.eye(2))
    reversed: bool = False

    @property
    def name(self) -> str:
        """Such as ``C3``, ``mirror``, ``inversion``, ``S6``, ``translation`` or ``identity``; ``C2 T`` with time reversal."""
        proper = np.linalg.det(self.Q) > 0
        turn = np.degrees(np.arccos(np.clip((np.trace(self.Q) * (1 if proper else -1) - 1) / 2, -1, 1)))
        order = 1 if turn < 1 else round(360 / turn)
        if proper:
            name = f"C{order}" if order > 1 else "translation" if self._moves else "identity"
        else:
            name = {1: "inversion", 2: "mirror", 3: "S6", 6: "S3"}.get(order, f"S{order}")
        return name if not self.reversed else "time reversal" if name == "identity" else f"{name} T"

    @property
    def _moves(self) -> bool:
        return bool((self.image != np.arange(len(self.image))).any() or np.ptp(self.shift, axis=0).any())

    def pairs(self, pairs: IntArray) -> IntArray:
        """(n, 5) where the pairs (R, i, j) go."""
        i, j = pairs[:, 3], pairs[:, 4]
        R = pairs[:, :3] @ self.lattice + self.shift[j] - self.shift[i]
        return np.column_stack([R, self.image[i], self.image[j]])

    def k(self, k: FloatArray) -> FloatArray:
        """(..., 3) fractional wave vectors at which Bloch states of k arrive; time reversal turns them around."""
        turned = np.asarray(k, float) @ np.rint(np.linalg.inv(self.lattice)).T
        return np.asarray(-turned if self.reversed else turned)

    def orbitals(self, basis: Basis, *, spin: bool) -> dict[int, Array]:
        """D of the atoms of each element, (n_orbitals, n_orbitals), with both spins of a spinor if ``spin``."""
        factor = self.spin if spin and basis.spin == "spinor" else np.eye(1)
        return {z: np.kron(factor, atom_rotation(shells, self.Q)) for z, shells in basis.shells.items()}

    def with_spin(self, *, turns: bool, time_reversal: bool) -> "Operation":
        """The same with what it does to spins: they turn with the lattice (spin-orbit coupling) or stay, and are reversed or not."""
        spin = spin_rotation(self.Q) if turns else np.eye(2)
        return replace(self, spin=spin @ TIME_REVERSAL if time_reversal else spin, reversed=time_reversal)


def turned_blocks(values: Array, operation: Operation, left: Array, right: Array, *, collinear: bool, vector: bool) -> Array:
    """What an operation makes of blocks between the orbitals of two elements, D_i M D_j^dagger.

    Parameters
    ----------
    values : (n_components, n, rows, columns) array
        Blocks between atoms of two elements.
    operation : Operation
        See the head of the module.
    left, right : (rows, rows) and (columns, columns) arrays
        D of the two elements, see :meth:`Operation.orbitals`.
    collinear : bool
        Whether the components are spin up and down, which time reversal exchanges.
    vector : bool
        Whether the three components turn as a vector (position matrices, each relative to the middle of its pair).
    """
    if operation.reversed:
        values = (values[::-1] if collinear else values).conj()
    if vector:
        values = np.einsum("ab,bnij->anij", operation.Q, values)
    components, n, rows, columns = values.shape
    half = (values.reshape(-1, columns) @ right.conj().T).reshape(components, n, rows, columns).swapaxes(-1, -2)
    return np.asarray((half.reshape(-1, rows) @ left.T).reshape(components, n, columns, rows).swapaxes(-1, -2))


def bloch_operator(operation: Operation, basis: Basis, numbers: IntArray, k: FloatArray, *, spin: bool = True) -> sparse.csr_array:
    """The matrix of an operation between the Bloch sums of the orbitals at k and at k' = ``operation.k(k)``, lattice gauge.

    Coefficients C at k become M C at k', or M C* with time reversal; likewise H(k') = M H(k) M^dagger, or M H(k)* M^dagger, of every matrix
    that keeps the symmetry, and S. At a k with k' = k up to a reciprocal vector C^dagger S M C are the characters of states. Collinear
    H: up at k goes to down at k' where ``operation.reversed``.

    Parameters
    ----------
    operation : Operation
        Such as one of :func:`deeph.physics.symmetry_group.symmetry_group`.
    basis : Basis
        Shells and spin.
    numbers : (n_atoms,) int array
        Atomic numbers.
    k : (3,) array
        Fractional.
    spin : bool
        Whether the orbitals of a spinor count twice, as in H(k); without, M is that of the overlap alone.

    Returns
    -------
    (n_orbitals, n_orbitals) csr_array
        Unitary, M = exp(-2 pi i k'.shift_j) D_j at (image of j, j).
    """
    D = operation.orbitals(basis, spin=spin)
    width = np.array([len(D[int(z)]) for z in numbers])
    start = np.concatenate([[0], np.cumsum(width)])
    phase = np.exp(-2j * np.pi * (operation.shift @ operation.k(k)))
    blocks, rows, columns = [], [], []
    for z in np.unique(numbers):
        atoms, n = np.flatnonzero(numbers == z), len(D[int(z)])
        grid = np.broadcast_to(np.arange(n), (len(atoms), n, n))
        blocks.append((phase[atoms, None, None] * D[int(z)]).ravel())
        rows.append((start[operation.image[atoms], None, None] + grid.swapaxes(1, 2)).ravel())
        columns.append((start[atoms, None, None] + grid).ravel())
    entries = (np.concatenate(blocks), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(int(start[-1]), int(start[-1])))


def find_operations(system: System, tolerance: float = TOLERANCE) -> list[Operation]:
    """All operations of the space group of a structure, up to lattice vectors, the identity first.

    They are spglib's (A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024)), with their images of the
    atoms. The Q are those of the symmetric cell (:func:`symmetric_cell`) and form a group to rounding.

    Parameters
    ----------
    system : System
        All three directions count as periodic.
    tolerance : float
        Angstrom.

    Returns
    -------
    list of Operation
        The identity alone where no symmetry can be determined, because atoms lie on top of each other.
    """
    import spglib

    cell = (system.cell.tolist(), system.fractional.tolist(), system.numbers.tolist())
    try:
        found = spglib.get_symmetry(cell, symprec=tolerance)
    except spglib.SpglibError:
        found = None
    n, unit = system.n_atoms, np.eye(3, dtype=np.int64)
    identity = Operation(np.eye(3), unit, np.arange(n), np.zeros((n, 3), np.int64), 0.0)
    listed = [] if found is None else list(zip(found["rotations"].astype(np.int64), found["translations"], strict=True))
    images = _Images(system)
    out = [identity, *(images.operation(W, w) for W, w in listed if not _is_identity(W, w))]
    out = [operation for operation in out if operation.deviation <= 2 * tolerance]
    ideal = symmetric_cell(system.cell, np.array([operation.lattice for operation in out]))
    return [replace(operation, Q=_orthogonal(np.linalg.solve(ideal, operation.lattice @ ideal).T)) for operation in out]


def _is_identity(rotation: IntArray, translation: FloatArray) -> bool:
    return np.array_equal(rotation, np.eye(3)) and np.abs(translation - np.rint(translation)).max() < 1e-6


def symmetric_cell(cell: FloatArray, lattice: IntArray) -> FloatArray:
    """(3, 3) the vectors nearest to those of a cell whose scalar products (n, 3, 3) operations on cells, R @ W, keep to rounding."""
    root = np.linalg.cholesky((lattice @ (cell @ cell.T) @ lattice.swapaxes(1, 2)).mean(axis=0))
    return np.asarray(root @ _orthogonal(root.T @ cell))


def symmetric_system(system: System, operations: Sequence[Operation]) -> System:
    """The structure with a symmetry to rounding that it has to within a tolerance; each atom at the mean of its images, the frame kept."""
    fractional, mean = system.fractional, np.zeros_like(system.fractional)
    for operation in operations:
        arrived = fractional @ operation.lattice - operation.shift
        arrived += (fractional[operation.image] - arrived).mean(axis=0)  # the best translation
        mean[operation.image] += arrived / len(operations)
    cell = symmetric_cell(system.cell, np.array([operation.lattice for operation in operations]))
    return replace(system, cell=cell, positions=mean @ cell)


class _Images:
    """Where the atoms of one structure go."""

    def __init__(self, system: System) -> None:
        from scipy.spatial import cKDTree

        self._system, self._lengths = system, np.linalg.norm(system.cell, axis=1)
        self._kinds = [np.flatnonzero(system.numbers == z) for z in np.unique(system.numbers)]
        self._trees = [cKDTree(self._wrapped(system.fractional[atoms]), boxsize=self._lengths) for atoms in self._kinds]

    def _wrapped(self, fractional: FloatArray) -> FloatArray:
        inside = fractional - np.floor(fractional)
        return np.asarray(np.where(inside < 1.0, inside, 0.0) * self._lengths)

    def operation(self, rotation: IntArray, translation: FloatArray) -> Operation:
        """The operation f -> rotation f + translation of fractional columns, with the atom and the cell at which each atom arrives."""
        fractional = self._system.fractional
        moved = fractional @ rotation.T + translation
        image = np.empty(len(moved), np.int64)
        for atoms, tree in zip(self._kinds, self._trees, strict=True):
            image[atoms] = atoms[tree.query(self._wrapped(moved[atoms]))[1]]
        shift = np.rint(moved - fractional[image]).astype(np.int64)
        distance = np.linalg.norm((moved - fractional[image] - shift) @ self._system.cell, axis=1)
        once = len(np.unique(image)) == len(image)
        return Operation(np.eye(3), rotation.T.copy(), image, shift, float(distance.max(initial=0.0)) if once else np.inf)


def _orthogonal(matrix: npt.NDArray[np.floating]) -> FloatArray:
    """The nearest orthogonal matrix."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v)
