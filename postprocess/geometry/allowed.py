"""Which components of a tensor the symmetry of a structure allows.

A tensor that all operations g of the group keep is its own mean over them, so that a component which is zero in the mean of every tensor is
forbidden. An axis turns with Q (polar), with det(Q) Q (axial), or, of spins without spin-orbit coupling, not at all.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetry import Operation
from deeph.physics.symmetry_group import SymmetryGroup, symmetry_group
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

Axis = Literal["polar", "axial", "spin"]
Reversal = Literal["even", "odd", "swapped"]
"""What time reversal makes of a tensor: itself, its opposite, or itself with the last two axes exchanged (Onsager)."""
FORBIDDEN = 1e-6
"""Length of what is left of a component in the mean over the group, at most 1; less is none."""
ROUNDING = 1e-8
"""Of the largest component; forbidden ones below it are zero to rounding."""


def forbidden_components(
    hamiltonian: Hamiltonian, kinds: Sequence[Axis], frames: Sequence[FloatArray], reversal: Reversal = "even"
) -> npt.NDArray[np.bool_]:
    """Which components of a response are zero in every H that keeps the group of the structure and its moments.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its structure, its moments, and whether spins turn with the lattice count; how far H keeps the group does not.
    kinds : sequence of {"polar", "axial", "spin"}
        What each axis of the tensor is; ``spin`` is an axial one that stays where there is no spin-orbit coupling.
    frames : sequence of (d, 3) arrays
        Cartesian directions, in rows, of the components of each axis.
    reversal : {"even", "odd", "swapped"}
        What time reversal makes of the whole tensor.

    Returns
    -------
    (d, d', ...) bool array
        None is forbidden where the group is not known.
    """
    try:
        group = symmetry_group(hamiltonian)
    except DataError:
        return np.zeros(tuple(len(frame) for frame in frames), bool)
    mean = np.eye(3 ** len(kinds))
    for factor in group.factors:
        mean = np.mean([_turn(operation, group, kinds, reversal) for operation in factor], axis=0) @ mean
    directions = np.eye(1)
    for frame in frames:
        directions = np.kron(directions, frame)
    left = np.linalg.norm(directions @ mean, axis=1)
    return np.asarray((left < FORBIDDEN).reshape([len(frame) for frame in frames]))


def _turn(operation: Operation, group: SymmetryGroup, kinds: Sequence[Axis], reversal: Reversal) -> FloatArray:
    """(3^n, 3^n) what an operation makes of a tensor."""
    axial = np.linalg.det(operation.Q) * operation.Q
    turns = {"polar": operation.Q, "axial": axial, "spin": axial if group.spin_orbit else np.eye(3)}
    out = np.eye(1)
    for kind in kinds:
        out = np.kron(out, turns[kind])
    if not operation.reversed or reversal == "even":
        return out
    if reversal == "odd":
        return -out
    return out.reshape(len(out), -1, 3, 3).swapaxes(-1, -2).reshape(out.shape)


def zero_by_symmetry(names: Sequence[str], values: npt.NDArray[np.generic], forbidden: npt.NDArray[np.bool_], unit: str) -> str:
    """A sentence on the forbidden components of a result; empty if there are none.

    Parameters
    ----------
    names : (c,) sequence of str
        Of the components.
    values : (..., c) array
        Of them, at any number of energies.
    forbidden : (c,) bool array
        See :func:`forbidden_components`.
    unit : str
        Of the values.
    """
    told = [name for name, zero in zip(names, forbidden, strict=True) if zero]
    if not told:
        return ""
    sizes = np.abs(np.asarray(values)).reshape(-1, len(names)).max(axis=0, initial=0.0)
    broken = float(np.nan_to_num(sizes[forbidden]).max())
    if broken <= ROUNDING * float(np.nan_to_num(sizes).max()):
        return f"zero by symmetry: {' '.join(told)}"
    return f"zero if H kept the symmetry of the structure: {' '.join(told)}; up to {broken:.2g} {unit} as it is"
