"""Occupations at zero temperature that do not jump: averaged over the cell of the mesh that a k-point stands for.

At a Fermi surface the occupation of a cell is 0 or 1 by whether its point lies inside, which makes integrals of metals jump from mesh to
mesh. With the velocity at the point, E is linear in the cell, and the filled part of it is that of a distribution of energies with the
variance v.M.v, M the second moment of the cell: a smearing without a parameter, which vanishes as cells become small (the widths are those
of J. R. Yates, X. Wang, D. Vanderbilt and I. Souza, doi:10.1103/PhysRevB.75.195121). One width holds for all levels
at a k, the mean of those that cross the Fermi level somewhere: two levels that nearly touch, with large and opposite curvatures, are filled
alike. Where no level crosses it, in insulators, there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import find_positions
from postprocess.lattice.mesh import Symmetry
from postprocess.states.kjobs import Result

Moment = tuple[tuple[float, float, float], ...]
"""(3, 3) second moment of a cell, mean of dk dk^T, 1/Angstrom^2."""


@dataclass(frozen=True)
class CellOccupation:
    """Filled part of each level in the cell around each k.

    Attributes
    ----------
    moment : Moment
        Of the cell.
    edges : tuple of tuples of (float, float)
        Lowest and highest energy of each level, of each spin channel, eV.
    """

    moment: Moment
    edges: tuple[tuple[tuple[float, float], ...], ...]

    def __call__(self, g: Geometry, fermi_levels: FloatArray) -> FloatArray:
        """(n_k, n, m) for m Fermi levels, 0 to 1; the width at a k is one for all levels."""
        from scipy.special import erfc

        V = g.velocity * (g.groups[:, None, :, None] == g.groups[:, None, None, :])
        variance = np.einsum("kanm,kanm->kn", np.einsum("ab,kbnm->kanm", np.array(self.moment), V), V.conj()).real
        low, high = np.array(self.edges[g.channel]).T[:, :, None]
        cut = (low < fermi_levels) & (fermi_levels < high)
        width = np.sqrt(2 * variance @ (cut / np.maximum(cut.sum(axis=0), 1)))[:, None]
        distance = g.mean_of_groups(g.energies)[:, :, None] - fermi_levels
        return np.asarray(np.where(width > 0, erfc(distance / np.where(width > 0, width, 1.0)) / 2, distance < 0))


@dataclass(frozen=True)
class LevelEnergies:
    """Energies of all levels; a BatchQuantity."""

    symmetry: ClassVar[Symmetry] = "all"

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``energies`` (n_k, n) eV."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, "atoms"))

        def compute(k: FloatArray, spin: int) -> Result:
            return {"energies": Geometry(basis, k, spin=spin).energies}

        return compute
