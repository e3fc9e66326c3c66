"""The symmetry operations of a crystal: rotations and reflections, with a translation, that map the atoms onto themselves."""

import numpy as np
import numpy.typing as npt

from deeph.physics.covariance import Operation
from deeph.physics.system import FloatArray, IntArray, System

TOLERANCE = 1e-3
"""How far an atom may lie from the image of another one, Angstrom."""


def find_operations(system: System, tolerance: float = TOLERANCE) -> list[Operation]:
    """One operation for each rotation or reflection of the crystal, and one pure translation if there is any.

    They are spglib's (A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024)), with their images of the
    atoms.

    Parameters
    ----------
    system : System
        All three directions count as periodic.
    tolerance : float
        Angstrom.

    Returns
    -------
    list of Operation
        Without the identity; empty where no symmetry can be determined, because atoms lie on top of each other.
    """
    import spglib

    cell = (system.cell.tolist(), system.fractional.tolist(), system.numbers.tolist())
    try:
        found = spglib.get_symmetry(cell, symprec=tolerance)
    except spglib.SpglibError:
        found = None
    if found is None:
        return []
    chosen: dict[bytes, tuple[IntArray, FloatArray]] = {}
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        identity = np.array_equal(rotation, np.eye(3)) and np.abs(translation - np.rint(translation)).max() < 1e-6
        if not identity:
            chosen.setdefault(rotation.tobytes(), (rotation.astype(np.int64), translation))
    operations = (_operation(system, rotation, translation) for rotation, translation in chosen.values())
    return [operation for operation in operations if operation.deviation <= 2 * tolerance]


def _operation(system: System, rotation: IntArray, translation: FloatArray) -> Operation:
    """The operation f -> rotation f + translation of fractional columns, with the atom and the cell at which each atom arrives."""
    moved = system.fractional @ rotation.T + translation
    image, shift = np.empty(system.n_atoms, np.int64), np.empty((system.n_atoms, 3), np.int64)
    deviation = 0.0
    for z in np.unique(system.numbers):
        atoms = np.flatnonzero(system.numbers == z)
        difference = moved[atoms, None] - system.fractional[atoms]
        cells = np.rint(difference)
        distance = np.linalg.norm((difference - cells) @ system.cell, axis=-1)
        nearest = distance.argmin(axis=1)
        image[atoms] = atoms[nearest]
        shift[atoms] = cells[np.arange(len(atoms)), nearest]
        deviation = max(deviation, float(distance.min(axis=1).max()))
    Q = _orthogonal(np.linalg.solve(system.cell, rotation.T @ system.cell).T)
    return Operation(Q, rotation.T.copy(), image, shift, deviation)


def _orthogonal(matrix: npt.NDArray[np.floating]) -> FloatArray:
    """The nearest orthogonal matrix."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v)
