"""Layers of a stacked crystal, found along the normal of the plane of the first two lattice vectors."""

from collections.abc import Sequence

import numpy as np

from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import UsageError

LAYER_GAP = 2.2
"""Atomic planes further apart than this (Angstrom) belong to two layers: between Mo-S or the planes of Bi2Se3 (1.6 to 1.9) and their
van der Waals gaps (2.5 to 3.4)."""
VACUUM = 6.0
"""An empty slab thicker than this (Angstrom) is vacuum: nothing repeats across it."""


def spacing_of_planes(system: System, axis: int) -> float:
    """Distance of the lattice planes spanned by the other two lattice vectors, Angstrom."""
    return float(2 * np.pi / np.linalg.norm(system.reciprocal[axis]))


def heights(system: System, axis: int = 2) -> tuple[FloatArray, float]:
    """Where the atoms are along the normal of the other two lattice vectors, cut open at the widest gap.

    Returns
    -------
    heights : (n_atoms,) array
        Angstrom above the atom that follows the widest gap; towards the lattice vector ``axis``.
    gap : float
        The widest gap, Angstrom.
    """
    period = spacing_of_planes(system, axis)
    h = system.fractional[:, axis] % 1.0 * period
    ordered = np.sort(h)
    gaps = np.append(ordered[1:], ordered[0] + period) - ordered
    widest = int(np.argmax(np.round(gaps, 6)))  # equal gaps of a bulk crystal: always the first
    start = ordered[(widest + 1) % len(ordered)]
    above = (h - start) % period
    return np.where(above > period - 1e-9, 0.0, above), float(gaps[widest])


def vacuum_axes(system: System) -> list[int]:
    """The lattice vectors (0 to 2) along which the structure is surrounded by vacuum, or is not periodic."""
    return [axis for axis in range(3) if not system.pbc[axis] or heights(system, axis)[1] > VACUUM]


def find_layers(system: System, gap: float = LAYER_GAP) -> IntArray:
    """The layer of every atom, counted from the bottom.

    Parameters
    ----------
    system : System
        Stacked along the third lattice vector; the bottom is above the widest gap.
    gap : float
        Atomic planes further apart than this are two layers, Angstrom.

    Returns
    -------
    (n_atoms,) int array
        0 to n_layers - 1.
    """
    h, _ = heights(system)
    order = np.argsort(h, kind="stable")
    labels = np.empty(len(h), np.int64)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(h[order]) > gap)])
    return labels


def layer_gaps(system: System, labels: IntArray) -> FloatArray:
    """(n_layers - 1,) distances between the facing atomic planes of neighbouring layers, Angstrom."""
    h, _ = heights(system)
    n = int(labels.max()) + 1
    top = np.array([h[labels == l].max() for l in range(n)])
    bottom = np.array([h[labels == l].min() for l in range(n)])
    return np.asarray(bottom[1:] - top[:-1])


def with_gaps(system: System, labels: IntArray, gaps: Sequence[float] | FloatArray) -> System:
    """Move the layers along the normal until their facing planes are so far apart; the cell stays, the middle of the stack, too.

    Parameters
    ----------
    system : System
        The structure.
    labels : (n_atoms,) int array
        Layer of each atom.
    gaps : (n_layers - 1,) floats
        New distances, Angstrom.

    Raises
    ------
    UsageError
        If the number of gaps is wrong or the stack no longer fits into its cell.
    """
    old = layer_gaps(system, labels)
    if len(gaps) != len(old):
        raise UsageError(f"{len(gaps)} layer spacings for a structure of {len(old) + 1} layers: expected {len(old)}")
    _, empty = heights(system)
    move = np.concatenate([[0.0], np.cumsum(np.asarray(gaps) - old)])
    if empty - move[-1] < min(LAYER_GAP, empty):
        raise UsageError(
            f"the layers would need {move[-1]:.2f} Angstrom more than now, but only {empty:.2f} are empty in the cell: use a higher cell "
            "or smaller spacings"
        )
    move -= move[-1] / 2
    normal = system.reciprocal[2] / np.linalg.norm(system.reciprocal[2])
    return System(system.cell, system.positions + move[labels][:, None] * normal, system.numbers, system.pbc)


def slid(system: System, labels: IntArray, shifts: FloatArray) -> System:
    """Slide the layers in their plane.

    Parameters
    ----------
    system : System
        The structure.
    labels : (n_atoms,) int array
        Layer of each atom.
    shifts : (n_layers, 2) array
        In units of the first two lattice vectors.
    """
    return System(system.cell, system.positions + (shifts @ system.cell[:2])[labels], system.numbers, system.pbc)
