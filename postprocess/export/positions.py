"""The position matrix of an export: that of the structure, or the named approximation where there is none."""

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.positions import positions_from_origin
from postprocess.geometry.positions import find_positions


def position_blocks(h: Hamiltonian) -> tuple[PairBlocks, str]:
    """<i, 0 | r | j, R> in Angstrom from the lattice origin, three components, and in words where it comes from.

    Raises
    ------
    DataError
        As :func:`postprocess.geometry.positions.find_positions`.
    """
    found = find_positions(h)
    return positions_from_origin(found.W, h.S, h.system.cell), f"r: {found.source}"
