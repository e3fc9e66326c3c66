"""Layers of a structure and the vacuum around it, found along the normal of the planes that two lattice vectors span."""

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray, System

LAYER_GAP = 2.2
"""Atomic planes further apart than this (Angstrom) belong to two layers: between Mo-S or the planes of Bi2Se3 (1.6 to 1.9) and their
van der Waals gaps (2.5 to 3.4)."""
VACUUM = 6.0
"""Empty space, in Angstrom, that separates periodic images where nothing else is known."""


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


def empty_space(system: System) -> FloatArray:
    """(3,) the thickest empty slab between the lattice planes that each two lattice vectors span, Angstrom."""
    return np.array([heights(system, axis)[1] for axis in range(3)])


def across_vacuum(system: System) -> npt.NDArray[np.bool_]:
    """(3,) along which lattice vectors the structure is cut by so much empty space that nothing is likely to repeat."""
    return np.asarray(empty_space(system) >= VACUUM)


def find_layers(system: System, gap: float = LAYER_GAP, axis: int = 2) -> IntArray:
    """The layer of every atom, counted from the bottom.

    Parameters
    ----------
    system : System
        The structure; the bottom is above the widest gap.
    gap : float
        Atomic planes further apart than this are two layers, Angstrom.
    axis : int
        The lattice vector along which it is stacked, 0 to 2.

    Returns
    -------
    (n_atoms,) int array
        0 to n_layers - 1.
    """
    h, _ = heights(system, axis)
    order = np.argsort(h, kind="stable")
    labels = np.empty(len(h), np.int64)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(h[order]) > gap)])
    return labels
