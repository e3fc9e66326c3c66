"""Chern numbers by link variables: T. Fukui, Y. Hatsugai and H. Suzuki, J. Phys. Soc. Jpn. 74, 1674 (2005), doi:10.1143/JPSJ.74.1674.

C = (1/2 pi) * integral of Omega.n d^2k over a closed surface, with Omega = curl A, A = i <u|grad u>; the Hall conductivity of a filled
layer is -C e^2/h. Each plaquette of the mesh gives the sum of the phases of the eigenvalues of its Wilson loop: they are small where
the mesh is fine, whatever the number of bands, and their sum over a closed surface is a whole number of 2 pi to rounding.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.lattice.periodic import layer_normal
from postprocess.states.kjobs import Jobs
from postprocess.topology.groups import AtPoints, BandGroup, states_of
from postprocess.topology.links import CoarseMeshError, ComplexArray, PeriodicParts, check_links, unitary

LARGEST = 0.75
"""Of half a turn: a plaquette with a larger flux may have lost a whole turn."""


@dataclass(frozen=True)
class Plane:
    """A closed plane of the Brillouin zone, k = origin + x first + y second with x, y from 0 to 1.

    Attributes
    ----------
    origin : (3,) array
        Fractional.
    first, second : (3,) arrays
        Reciprocal lattice vectors (whole numbers); the normal is along first x second.
    """

    origin: FloatArray
    first: FloatArray
    second: FloatArray

    def mesh(self, divisions: tuple[int, int]) -> FloatArray:
        """(n1 + 1, n2 + 1, 3) k-points, the last ones those of the first but for a reciprocal lattice vector."""
        x, y = (np.linspace(0, 1, n + 1) for n in divisions)
        return np.asarray(self.origin + x[:, None, None] * self.first + y[:, None] * self.second)


def lattice_plane(hamiltonian: Hamiltonian, axis: int, offset: float = 0.0) -> Plane:
    """The plane of k with the fractional component ``offset`` along one axis.

    Its normal points along that lattice vector, for a layer to the side from which Hall conductivities see it, too
    (:func:`postprocess.lattice.periodic.layer_normal`).
    """
    first, second = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
    normal = layer_normal(hamiltonian)
    up = hamiltonian.system.cell[axis] if normal is None else normal
    reciprocal = hamiltonian.system.reciprocal
    if np.cross(first @ reciprocal, second @ reciprocal) @ up < 0:
        first, second = second, first
    return Plane(offset * np.eye(3)[axis], first, second)


@dataclass(frozen=True)
class ChernNumber:
    """A Chern number and what it rests on.

    Attributes
    ----------
    number : int
        C.
    group : BandGroup
        Of these bands.
    flux : (n1, n2) array
        Integral of Omega.n over each plaquette, in turns (2 pi).
    divisions : (int, int)
        Of the mesh.
    smallest : float
        Singular value of the links.
    gap : float
        Smallest distance from other bands at the same k on this mesh, eV.
    position : str
        Where the position matrix comes from.
    """

    number: int
    group: BandGroup
    flux: FloatArray
    divisions: tuple[int, int]
    smallest: float
    gap: float
    position: str


def chern_number(
    hamiltonian: Hamiltonian, group: BandGroup, plane: Plane, divisions: tuple[int, int], *, jobs: Jobs | None = None
) -> ChernNumber:
    """The Chern number of a group of bands on a plane.

    Raises
    ------
    DataError
        If the group is not separate from other bands, or the mesh too coarse.
    """
    mesh = plane.mesh(divisions)
    parts = PeriodicParts(hamiltonian)
    flux, smallest, gap = surface_flux(parts, states_of(hamiltonian, group, mesh, jobs), divisions)
    return ChernNumber(round(flux.sum()), group, flux, divisions, smallest, gap, parts.position)


def surface_flux(parts: PeriodicParts, states: AtPoints, divisions: tuple[int, int]) -> tuple[FloatArray, float, float]:
    """(n1, n2) flux of Omega through the plaquettes of a surface in turns, the smallest singular value of its links, and the gap.

    Parameters
    ----------
    parts : PeriodicParts
        Of the basis.
    states : AtPoints
        At the (n1 + 1) x (n2 + 1) corners, row by row; the normal is along d k/d x times d k/d y.
    divisions : (int, int)
        n1, n2.
    """
    n1, n2 = divisions
    place = np.arange((n1 + 1) * (n2 + 1)).reshape(n1 + 1, n2 + 1)
    smallest = 1.0

    def links(start: IntArray, end: IntArray) -> ComplexArray:
        nonlocal smallest
        out = []
        for a, b in zip(start.ravel().tolist(), end.ravel().tolist(), strict=True):
            U, value = unitary(parts.link(states.k[a], states.C[a], states.k[b], states.C[b]))
            smallest = min(smallest, value)
            out.append(U)
        return np.array(out).reshape(*start.shape, *out[0].shape)

    right, up = links(place[:-1], place[1:]), links(place[:, :-1], place[:, 1:])
    check_links(smallest, "somewhere on the surface")
    loops = right[:, :-1] @ up[1:] @ np.conj(np.swapaxes(right[:, 1:], -1, -2)) @ np.conj(np.swapaxes(up[:-1], -1, -2))
    phases = -np.angle(np.linalg.eigvals(loops)) / (2 * np.pi)
    largest = 2 * float(np.abs(phases).max(initial=0.0))
    if largest > LARGEST:
        raise CoarseMeshError(
            f"the k mesh is too coarse: a plaquette of the {n1} x {n2} mesh holds a flux of {largest:.2f} of half a turn, which has to "
            f"stay below {LARGEST:g}. Take more k-points (--mesh); a gap that nearly closes (here {1e3 * states.gap:.3g} meV) needs many"
        )
    return np.asarray(phases.sum(axis=-1)), smallest, states.gap
