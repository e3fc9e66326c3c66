"""Which operations of a crystal its tensors of light show: judged by levels and tensors themselves.

An operation takes k to W k and the tensor there, Q the Cartesian matrix of W, to +- Q x Q (x Q) of it: -1 for a tensor of rank three where
the operation is k -> -W' k, a rotation W' with time reversal. No symmetry is used that the structure has but H, S or r lacks, and none of
those with time reversal that make complex conjugates of a tensor.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from postprocess.eigen.band_symmetries import GENERIC, make_mesh
from postprocess.geometry.cell_occupation import LevelEnergies
from postprocess.geometry.symmetries import SAME_ENERGY, WORTHWHILE
from postprocess.lattice.mesh import IDENTITY, Divisions
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.lattice.point_group import lattice_symmetries
from postprocess.states.batches import BatchQuantity, evaluate_batches
from postprocess.states.kjobs import Jobs
from postprocess.states.wedge import Wedge

SAME_TENSOR = 1e-6
"""Of the largest component of a tensor at this k."""


def tensor_wedge(
    hamiltonian: Hamiltonian, quantity: BatchQuantity, tensors: Mapping[str, int], rank: int, divisions: Divisions | None, jobs: Jobs
) -> Wedge:
    """The operations of the lattice that levels and tensors have at two generic k-points.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    quantity : BatchQuantity
        Of k.
    tensors : mapping of str to int
        Its arrays that turn, with the 3^rank components in their last axis; ``watched`` is made of them.
    rank : int
        Of the tensors; all axes are polar.
    divisions : tuple of 3 int, optional
        Of the mesh; where it has few points nothing is tried, for that costs some k-points, too.
    jobs : Jobs
        Processes.
    """
    reciprocal = in_plane_reciprocal(hamiltonian)
    W, alone = lattice_symmetries(reciprocal), replace(jobs, scratch=None)
    if len(make_mesh(hamiltonian, divisions, symmetry=quantity.symmetry).points) <= WORTHWHILE * len(W):
        return Wedge.none()
    W = W[np.argsort(~(W == IDENTITY).all(axis=(1, 2)), kind="stable")]  # the identity first
    halved = quantity.symmetry == "reversal"  # -k has what k has: -W and W are kept together
    W = W[np.linalg.det(W) > 0] if halved else W
    for k in GENERIC:
        energies = evaluate_batches(hamiltonian, W @ k, LevelEnergies(), jobs=alone)["energies"]
        W = W[(np.abs(energies - energies[:, :1]) < SAME_ENERGY).all(axis=(0, 2))]
    alike = np.ones((2, len(W)), bool)  # with either sign
    for k in GENERIC if len(W) > 1 else ():
        kept = alike.any(axis=0)
        W, alike = W[kept], alike[:, kept]
        found, turns = evaluate_batches(hamiltonian, W @ k, quantity, jobs=alone), _turns(W, reciprocal, rank)
        for name in tensors.keys() - {"watched"}:
            values = found[name].reshape(len(found[name]), len(W), -1, 3**rank)
            expected = values[:, :1] @ turns.swapaxes(1, 2)
            tolerance = SAME_TENSOR * np.abs(values[:, 0]).max(initial=0.0)
            alike &= np.stack([(np.abs(values - sign * expected) <= tolerance).all(axis=(0, 2, 3)) for sign in (1, -1)])
    kept = alike.any(axis=0)
    if halved and kept.sum() == 1:
        return Wedge.none()  # the mesh has one of k and -k already
    W, signs = W[kept], np.where(alike[0, kept], 1.0, -1.0)
    if halved:
        W, signs = np.concatenate([W, -W]), np.concatenate([signs, signs * (-1) ** rank])
    return Wedge(W, signs[:, None, None] * _turns(W, reciprocal, rank))


def _turns(W: IntArray, reciprocal: FloatArray, rank: int) -> FloatArray:
    """(n, 3^rank, 3^rank) what operations on fractional k do to Cartesian tensors, without time reversal."""
    Q = reciprocal.T @ W @ np.linalg.inv(reciprocal.T)
    out: FloatArray = np.ones((len(W), 1, 1))
    for _ in range(rank):
        out = np.einsum("nab,ncd->nacbd", out, Q).reshape(len(W), 3 * out.shape[1], -1)
    return out
