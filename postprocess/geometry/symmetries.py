"""Which operations of a crystal its Berry curvatures show: judged by the curvatures themselves, as meshes for levels are by the levels.

An operation takes k to W k and an axial vector v, which time reversal turns over, to det(W) W v, or with time reversal to the opposite of
that (k -> -Q k comes with -det(Q) Q = -det(W) W for Q = -W). Nothing has to be known about spins and magnetic order, and no symmetry is
used that the structure has but H, S or r lacks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.band_symmetries import GENERIC
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
SAME_CURVATURE = 1e-5
"""Of the largest curvature of a level at this k."""


@dataclass(frozen=True)
class LevelCurvature:
    """Energies and curvature of each level; a BatchQuantity."""

    symmetry: ClassVar[Symmetry] = "none"
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``energies`` (n_k, n) and ``curvature`` (n_k, 3, n)."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            return {"energies": g.energies, "curvature": g.curvature()}

        return compute


def curvature_wedge(
    hamiltonian: Hamiltonian, along: FloatArray, divisions: Divisions, source: Source | None = None, jobs: Jobs | None = None
) -> Wedge:
    """The operations of the lattice that levels and their curvatures have at two generic k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    along : (m, 3) array
        Directions of the components that count: all three of a crystal, the normal of a layer.
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
    alike = np.ones((2, len(W)), bool)  # with either sign
    for k in GENERIC:
        kept = alike.any(axis=0)
        W, alike = W[kept], alike[:, kept]
        turn = _axial_turns(W, reciprocal)
        found = evaluate_batches(hamiltonian, W @ k, LevelCurvature(source), jobs=replace(jobs or Jobs(), scratch=None))
        energies, curvature = found["energies"], along @ found["curvature"]
        same = (np.abs(energies - energies[:, :1]) < SAME_ENERGY).all(axis=(0, 2))
        tolerance = SAME_CURVATURE * np.abs(curvature[:, 0]).max(initial=0.0)
        expected = np.einsum("ca,wab,sbn->swcn", along, turn, found["curvature"][:, 0])
        alike &= same & np.stack([(np.abs(curvature - sign * expected) <= tolerance).all(axis=(0, 2, 3)) for sign in (1, -1)])
    kept = alike.any(axis=0)
    signs = np.where(alike[0], 1.0, -1.0)
    return Wedge(W[kept], (signs[:, None, None] * _axial_turns(W, reciprocal))[kept])


def _axial_turns(W: IntArray, reciprocal: FloatArray) -> FloatArray:
    """(n, 3, 3) what operations on fractional k do to Cartesian axial vectors, without time reversal."""
    Q = reciprocal.T @ W @ np.linalg.inv(reciprocal.T)
    return np.asarray(np.linalg.det(Q)[:, None, None] * Q)
