"""Which operations of a crystal its levels and tensors at k show: judged by the values themselves, as meshes for levels are.

An operation with Q takes k to W k = Q k and turns a tensor axis by axis; with time reversal it takes k to W k = -Q k, and turns an odd
tensor over besides; operations that make complex conjugates of a tensor are not used. A curvature, an axial vector that is odd, becomes
det(W) W v, or with time reversal the opposite of that. Nothing has to be known about spins and magnetic order, and no symmetry is used
that the structure has but H, S or r lacks.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.band_symmetries import GENERIC
from postprocess.geometry.allowed import Axis, Reversal, directions_of, turned_axes
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.cell_occupation import LevelEnergies
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.lattice.mesh import IDENTITY, Symmetry
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.lattice.point_group import lattice_symmetries
from postprocess.states.batches import BatchQuantity, evaluate_batches
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.wedge import Wedge

SAME_ENERGY = 1e-7
"""eV; levels at equivalent k that agree to so much are equal to rounding."""
WORTHWHILE = 2
"""Points of the mesh for each operation of the lattice, above which they are tried."""
OF_LEVELS = 1e-5
"""Of the largest value of a level at this k: near degeneracies of single levels magnify rounding."""
ROUNDING = 1e-9
"""Of the matrices that turn tensors."""
Values = Callable[[Geometry], FloatArray]
"""(n_k, c, n) of each level; defined in a module, so that it can be sent to processes."""


def curvatures(g: Geometry) -> FloatArray:
    """(n_k, 3, n) Berry curvature by ``curl``, Angstrom^2."""
    return g.curvature("curl")


@dataclass(frozen=True)
class Turning:
    """How a tensor turns with the crystal.

    Attributes
    ----------
    kinds, frames, reversal
        See :func:`postprocess.geometry.allowed.forbidden_components`; of a layer only the components along the frames count.
    tolerance : float
        Of the largest component at a k-point.
    """

    kinds: tuple[Axis, ...]
    frames: tuple[FloatArray, ...]
    reversal: Reversal = "even"
    tolerance: float = 1e-6

    def matrices(self, W: IntArray, reciprocal: FloatArray) -> FloatArray:
        """(2, n, 3^r, 3^r) what operations on fractional k do to it, without and with time reversal."""
        cartesian = reciprocal.T @ W @ np.linalg.inv(reciprocal.T)
        plain = [turned_axes(Q, self.kinds, self.reversal, reverses=False) for Q in cartesian]
        return np.stack([plain, [turned_axes(-Q, self.kinds, self.reversal, reverses=True) for Q in cartesian]])


@dataclass(frozen=True)
class OfLevels:
    """Values of each level, of degenerate ones their mean; a BatchQuantity."""

    symmetry: ClassVar[Symmetry] = "none"
    values: Values
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``values`` (n_k, n, c)."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            return {"values": g.mean_of_groups(self.values(g)).swapaxes(1, 2)}

        return compute


def tensor_wedge(
    hamiltonian: Hamiltonian, quantity: BatchQuantity, names: Collection[str], turning: Turning, n_points: int, jobs: Jobs | None = None
) -> Wedge:
    """The operations of the lattice that levels and tensors have at two generic k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    quantity : BatchQuantity
        Of k.
    names : collection of str
        Its arrays of tensors, with the 3^r Cartesian components, or those of several tensors, in their last axis.
    turning : Turning
        How they turn.
    n_points : int
        Of the mesh; where it has few points nothing is tried, for that costs some k-points, too.
    jobs : Jobs, optional
        Processes.
    """
    reciprocal = in_plane_reciprocal(hamiltonian)
    W, alone = lattice_symmetries(reciprocal), replace(jobs or Jobs(), scratch=None)
    if n_points <= WORTHWHILE * len(W):
        return Wedge.none()
    W = W[np.argsort(~(W == IDENTITY).all(axis=(1, 2)), kind="stable")]  # the identity first
    halved = quantity.symmetry == "reversal"  # -k has what k has: -W and W are kept together
    W = W[np.linalg.det(W) > 0] if halved else W
    for k in GENERIC:
        energies = evaluate_batches(hamiltonian, W @ k, LevelEnergies(), jobs=alone)["energies"]
        W = W[(np.abs(energies - energies[:, :1]) < SAME_ENERGY).all(axis=(0, 2))]
    turns, along = turning.matrices(W, reciprocal), directions_of(turning.frames)
    alike = np.ones((2, len(W)), bool)  # without time reversal, and with it
    for k in GENERIC if len(W) > 1 else ():
        kept = alike.any(axis=0)
        W, alike, turns = W[kept], alike[:, kept], turns[:, kept]
        found = evaluate_batches(hamiltonian, W @ k, quantity, jobs=alone)
        for name in names:
            values = found[name].reshape(len(found[name]), len(W), -1, along.shape[1])
            tolerance = turning.tolerance * np.abs(values[:, 0] @ along.T).max(initial=0.0)
            off = [np.abs((values - values[:, :1] @ turn.swapaxes(1, 2)) @ along.T) for turn in turns]
            alike &= np.stack([(one <= tolerance).all(axis=(0, 2, 3)) for one in off])
    differ = (np.abs(along @ (turns[0] - turns[1])) > ROUNDING).any(axis=(1, 2))
    if (alike.all(axis=0) & differ).any():
        return Wedge.none()  # nothing to tell by, such as transitions that are all far from the photon energies
    kept = alike.any(axis=0)
    if halved and kept.sum() == 1:
        return Wedge.none()  # the mesh has one of k and -k already
    W, turn = W[kept], np.where(alike[0][:, None, None], turns[0], turns[1])[kept]
    return Wedge(np.concatenate([W, -W]), np.concatenate([turn, turn])) if halved else Wedge(W, turn)
