"""The layers of a slab, from the heights of its atoms."""

from deeph.physics import layers
from deeph.physics.system import IntArray, System
from deeph.runtime.errors import UsageError
from postprocess.lattice.periodic import periodic_directions


def find_layers(system: System) -> IntArray:
    """Layer of each atom along the direction with vacuum.

    See :func:`deeph.physics.layers.find_layers`.

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
    return layers.find_layers(system, axis=axes[0])
