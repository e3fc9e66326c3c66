"""In which directions a structure conducts, and units per volume, area or length of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import CONDUCTANCE
from deeph.runtime.errors import UsageError
from postprocess.lattice.periodic import periodic_directions

Array = npt.NDArray[Any]
AXES = ("x", "y", "z")
ALONG = 1e-6
"""Deviation of a direction from a Cartesian axis."""
CHARGE = 1.602176634e-19
"""C, exact."""
E2_OVER_HBAR = 2 * np.pi * CONDUCTANCE
"""Siemens."""
METRE = 1e-10
"""Of one Angstrom."""


@dataclass(frozen=True)
class Measure:
    """The directions along which a structure is periodic, and what its cell measures there.

    Attributes
    ----------
    frame : (d, 3) array
        Orthonormal directions in rows; Cartesian axes where they lie along the crystal, layer or chain.
    names : tuple of str
        Of these, such as x, y.
    size : float
        Volume, area or length of the cell, Angstrom^d.
    normal : (1, 3) array or (3, 3) array
        Directions of axial vectors: those of a crystal, the normal of a layer.
    """

    frame: FloatArray
    names: tuple[str, ...]
    size: float
    normal: FloatArray

    @property
    def dimension(self) -> int:
        """Periodic directions."""
        return len(self.frame)

    def per_size(self, angstroms: int) -> float:
        """Factor that makes means over the zone in Angstrom^n those per m^d: of units m^(n - d)."""
        return METRE ** (angstroms - self.dimension) / self.size

    def turned(self, tensor: Array, rank: int) -> Array:
        """The last ``rank`` axes, each x, y, z, along the directions of the frame."""
        out = np.asarray(tensor)
        for axis in range(out.ndim - rank, out.ndim):
            out = np.moveaxis(np.tensordot(self.frame, out, axes=(1, axis)), 0, axis)
        return out

    def components(self, rank: int) -> tuple[str, ...]:
        """Names of the components of a tensor, such as xx, xy, yx, yy, the last one fastest."""
        names = [""]
        for _ in range(rank):
            names = [first + name for first in names for name in self.names]
        return tuple(names)


def measure(hamiltonian: Hamiltonian, *, least: int = 1) -> Measure:
    """Of a structure.

    Raises
    ------
    UsageError
        If it is periodic in fewer than ``least`` directions.
    """
    periodic, cell = np.array(periodic_directions(hamiltonian)), hamiltonian.system.cell
    d = int(periodic.sum())
    if d < least:
        formula = hamiltonian.system.formula
        raise UsageError(f"this response takes {least} or more periodic directions; {formula} has {d}: is it a molecule or a chain?")
    if d == 3:
        return Measure(np.eye(3), AXES, float(abs(np.linalg.det(cell))), np.eye(3))
    if d == 1:
        along = cell[periodic][0]
        size = float(np.linalg.norm(along))
        axis = int(np.argmax(np.abs(along)))
        cartesian = abs(along[axis]) > (1 - ALONG) * size
        frame = np.eye(3)[axis] if cartesian else along / size
        return Measure(frame[None], (AXES[axis] if cartesian else "1",), size, np.zeros((0, 3)))
    normal = np.cross(*cell[periodic])
    size = float(np.linalg.norm(normal))
    axis = int(np.argmax(np.abs(normal)))
    normal *= np.sign(normal[axis]) / size  # the layer is seen from the positive side
    if abs(normal[axis]) > 1 - ALONG:
        others = [(axis + 1) % 3, (axis + 2) % 3]
        return Measure(np.eye(3)[others], tuple(AXES[a] for a in others), size, np.eye(3)[axis][None])
    first = cell[periodic][0] / np.linalg.norm(cell[periodic][0])
    return Measure(np.stack([first, np.cross(normal, first)]), ("1", "2"), size, normal[None])


def unit_of(name: str, power: int) -> str:
    """A unit times a power of m: S/m, S, S m."""
    if power == 0:
        return name
    if power > 0:
        return f"{name} m" + f"^{power}" * (power > 1)
    return f"{name}/m" + f"^{-power}" * (power < -1)
