"""Layers of a stacked crystal, moved along the normal of the plane of the first two lattice vectors, and slid in it."""

from collections.abc import Sequence

import numpy as np

from deeph.physics.layers import LAYER_GAP, across_vacuum, heights
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import UsageError


def vacuum_axes(system: System) -> list[int]:
    """The lattice vectors (0 to 2) along which the structure is surrounded by vacuum, or is not periodic."""
    return np.flatnonzero(across_vacuum(system) | ~np.array(system.pbc)).tolist()


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
