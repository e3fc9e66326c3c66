"""Surfaces of layers: the cell of a tip above one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.layers import heights
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError
from postprocess.density.local import Share
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.grid import Grid

Side = Literal["top", "bottom"]


@dataclass(frozen=True)
class Surface:
    """One side of a layer, in a cell whose first vector is the outward normal; heights are counted from the outermost atom.

    Attributes
    ----------
    system : System
        The same atoms, the outermost one at height zero.
    order : (3,) int array
        Which lattice vector of the structure each of the three is.
    """

    system: System
    order: IntArray

    @classmethod
    def of(cls, hamiltonian: Hamiltonian, side: Side = "top") -> "Surface":
        """That of a layer; "top" is the side to which its vacuum vector points.

        Raises
        ------
        DataError
            If the structure is no layer.
        """
        system, periodic = hamiltonian.system, np.array(periodic_directions(hamiltonian))
        if periodic.sum() != 2:
            kind = "periodic in three directions" if periodic.all() else "no layer"
            raise DataError(
                f"{system} is {kind}: a tip needs a surface, a layer or slab with vacuum above it (h.cut makes a slab of a crystal)"
            )
        axis = int(np.flatnonzero(~periodic)[0])
        a, b = (n for n in range(3) if n != axis)
        normal = np.cross(system.cell[a], system.cell[b])
        normal *= np.sign(normal @ system.cell[axis]) / np.linalg.norm(normal)
        above = heights(system, axis)[0]
        period = float(system.cell[axis] @ normal)
        wraps = np.rint((above - above[0] - (system.positions - system.positions[0]) @ normal) / period)  # atoms across the boundary
        positions = system.positions + wraps[:, None] * system.cell[axis]
        if side == "bottom":
            normal = -normal
        outward = positions @ normal
        moved = positions - outward.max() * normal
        first = normal * (4 * float(np.ptp(outward)) + 100.0)  # nothing reaches the next image
        return cls(System(np.array([first, system.cell[a], system.cell[b]]), moved, system.numbers), np.array([axis, a, b]))

    @property
    def normal(self) -> FloatArray:
        """(3,) unit vector."""
        return np.asarray(self.system.cell[0] / np.linalg.norm(self.system.cell[0]))

    @property
    def axes(self) -> FloatArray:
        """(2, 3) x and y of a layer in the xy plane, else its first vector and what is normal to it."""
        normal = self.normal
        if abs(normal[2]) > 1 - 1e-9:
            return np.eye(3)[:2]
        first = self.system.cell[1] / np.linalg.norm(self.system.cell[1])
        return np.array([first, np.cross(normal, first)])

    def reach(self, orbitals: Mapping[int, Orbitals]) -> float:
        """Height where the last orbital ends, Angstrom."""
        cutoffs = np.array([orbitals[z].cutoff for z in self.system.numbers.tolist()])
        return float((self.system.positions @ self.normal + cutoffs).max())

    def grid(self, height: float, step: float, spacing: float) -> Grid:
        """Planes so far apart from a height on, and points in them at most ``spacing`` apart."""
        lateral = Grid.with_spacing(self.system, spacing).shape[1:]
        n = int(np.ceil(np.linalg.norm(self.system.cell[0]) / step))
        cell = self.system.cell.copy()
        cell[0] = self.normal * n * step
        return Grid(replace(self.system, cell=cell, positions=self.system.positions - height * self.normal), (n, *lateral))

    def shares(self, shares: Sequence[Share]) -> list[Share]:
        """States with k in this cell, none across the vacuum."""
        return [replace(share, k=np.concatenate([[0.0], share.k[self.order[1:]]])) for share in shares]
