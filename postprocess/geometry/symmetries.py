"""Which operations of a crystal its levels show in what they have, curvatures for one: judged by the values, as meshes for levels are.

An operation with Q takes k to W k = Q k and turns a tensor axis by axis; with time reversal it takes k to W k = -Q k, and turns an odd
tensor over besides. A curvature, an axial vector that is odd, becomes det(W) W v, or with time reversal the opposite of that. Nothing has
to be known about spins and magnetic order, and no symmetry is used that the structure has but H, S or r lacks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.band_symmetries import GENERIC
from postprocess.geometry.allowed import Axis, Reversal, directions_of, turned_axes
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.lattice.mesh import IDENTITY, Divisions, Symmetry
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.lattice.point_group import lattice_symmetries
from postprocess.states.batches import evaluate_batches
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.wedge import Wedge

SAME_ENERGY = 1e-7
"""eV; levels at equivalent k that agree to so much are equal to rounding."""
WORTHWHILE = 2
"""Points of the mesh for each operation of the lattice, above which they are tried."""
SAME_VALUE = 1e-5
"""Of the largest value of a level at this k."""
Values = Callable[[Geometry], FloatArray]
"""(n_k, c, n) of each level; defined in a module, so that it can be sent to processes."""


def curvatures(g: Geometry) -> FloatArray:
    """(n_k, 3, n) Berry curvature by ``curl``, Angstrom^2."""
    return g.curvature("curl")


@dataclass(frozen=True)
class Tensor:
    """Something that each level has, and how it turns.

    Attributes
    ----------
    values : function
        Its 3^r Cartesian components.
    kinds, frames, reversal
        See :func:`postprocess.geometry.allowed.forbidden_components`; of a layer only the components along the frames count.
    """

    values: Values
    kinds: tuple[Axis, ...]
    frames: tuple[FloatArray, ...]
    reversal: Reversal = "even"


@dataclass(frozen=True)
class OfLevels:
    """Energies, and values of each level, of degenerate ones their mean; a BatchQuantity."""

    symmetry: ClassVar[Symmetry] = "none"
    values: Values
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``energies`` (n_k, n) and ``values`` (n_k, c, n)."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            return {"energies": g.energies, "values": g.mean_of_groups(self.values(g))}

        return compute


def tensor_wedge(
    hamiltonian: Hamiltonian, tensor: Tensor, divisions: Divisions, source: Source | None = None, jobs: Jobs | None = None
) -> Wedge:
    """The operations of the lattice that levels and a tensor of theirs have at two generic k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    tensor : Tensor
        What will be integrated.
    divisions : tuple of 3 int
        Of the mesh; where it has few points nothing is tried, for that costs some k-points, too.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    jobs : Jobs, optional
        Processes.
    """
    reciprocal = in_plane_reciprocal(hamiltonian)
    W = lattice_symmetries(reciprocal)
    if np.prod(divisions) <= WORTHWHILE * len(W):
        return Wedge.none()
    W = W[np.argsort(~(W == IDENTITY).all(axis=(1, 2)), kind="stable")]  # the identity first
    turns = _turns(W, reciprocal, tensor)
    along = directions_of(tensor.frames)
    alike = np.ones((2, len(W)), bool)  # without time reversal, and with it
    for k in GENERIC:
        kept = alike.any(axis=0)
        W, alike, turns = W[kept], alike[:, kept], turns[:, kept]
        quantity = OfLevels(tensor.values, source)
        found = evaluate_batches(hamiltonian, W @ k, quantity, jobs=replace(jobs or Jobs(), scratch=None))
        energies, values = found["energies"], along @ found["values"]
        same = (np.abs(energies - energies[:, :1]) < SAME_ENERGY).all(axis=(0, 2))
        tolerance = SAME_VALUE * np.abs(values[:, 0]).max(initial=0.0)
        expected = np.einsum("ca,twab,sbn->tswcn", along, turns, found["values"][:, 0])
        alike &= same & (np.abs(values - expected) <= tolerance).all(axis=(1, 3, 4))
    kept = alike.any(axis=0)
    return Wedge(W[kept], np.where(alike[0][:, None, None], turns[0], turns[1])[kept])


def _turns(W: IntArray, reciprocal: FloatArray, tensor: Tensor) -> FloatArray:
    """(2, n, 3^r, 3^r) what operations on fractional k do to a tensor, without and with time reversal."""
    cartesian = reciprocal.T @ W @ np.linalg.inv(reciprocal.T)
    plain = [turned_axes(Q, tensor.kinds, tensor.reversal, reverses=False) for Q in cartesian]
    return np.stack([plain, [turned_axes(-Q, tensor.kinds, tensor.reversal, reverses=True) for Q in cartesian]])
