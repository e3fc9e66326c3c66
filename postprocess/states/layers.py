"""The layers of a slab, from the heights of its atoms."""

import numpy as np

from deeph.physics.system import IntArray, System
from deeph.runtime.errors import UsageError
from postprocess.lattice.periodic import periodic_directions

LAYER_GAP = 2.0
"""Angstrom without an atom between two layers; a sheet of bonded atoms (MoS2: 1.6) is one layer, van der Waals gaps are about 3."""


def find_layers(system: System) -> IntArray:
    """Layer of each atom along the direction with vacuum.

    Returns
    -------
    (n_atoms,) int array
        Counted from 0, the first one is where the lattice vector with vacuum begins to cross the slab.

    Raises
    ------
    UsageError
        If not exactly one direction has vacuum.
    """
    periodic = periodic_directions(system)
    axes = [axis for axis in range(3) if not periodic[axis]]
    if len(axes) != 1:
        raise UsageError(
            f"layers are found along the one direction with vacuum, but {len(axes)} directions have it; give the layers as groups of atoms"
        )
    axis = axes[0]
    height = 2 * np.pi / np.linalg.norm(system.reciprocal[axis])  # of the cell, normal to the layers
    z = system.fractional[:, axis] % 1.0
    order = np.argsort(z, kind="stable")
    gaps = np.diff(np.append(z[order], z[order[0]] + 1.0)) * height
    order = np.roll(order, -1 - int(np.argmax(gaps)))  # start above the vacuum
    steps = np.diff(z[order]) % 1.0 * height
    layer = np.empty(system.n_atoms, np.int64)
    layer[order] = np.concatenate([[0], np.cumsum(steps > LAYER_GAP)])
    return layer
