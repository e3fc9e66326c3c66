"""Which components of a tensor the symmetry of a structure allows.

A tensor that all operations g of the group keep is its own mean over them, so that a component which is zero in the mean of every tensor is
forbidden. An axis turns with Q (polar), with det(Q) Q (axial), or, of spins without spin-orbit coupling, not at all.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetry_group import symmetry_group
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

Axis = Literal["polar", "axial", "spin"]
Reversal = Literal["even", "odd", "swapped"]
"""What time reversal makes of a tensor: itself, its opposite, or itself with the last two axes exchanged (Onsager)."""
FORBIDDEN = 1e-6
"""Length of what is left of a component in the mean over the group, at most 1; less is none."""
ROUNDING = 1e-8
"""Of the largest component; what is smaller is zero to rounding."""


def forbidden_components(
    hamiltonian: Hamiltonian, kinds: Sequence[Axis], frames: Sequence[FloatArray], reversal: Reversal = "even", *, exchange: int = 0
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
    exchange : {0, 1, -1}
        Whether it is symmetric (1) or antisymmetric (-1) in its last two axes whatever the group is.

    Returns
    -------
    (d, d', ...) bool array
        None is forbidden where the group is not known.
    """
    try:
        group = symmetry_group(hamiltonian)
    except DataError:
        return np.zeros(tuple(len(frame) for frame in frames), bool)
    mean: FloatArray = np.eye(3 ** len(kinds))
    for factor in group.factors:
        turns = [turned_axes(g.Q, kinds, reversal, reverses=g.reversed, spin_orbit=group.spin_orbit) for g in factor]
        total = sum(turns, np.zeros_like(mean))
        mean = np.asarray(total @ mean / len(factor))
    if exchange:
        mean = (mean + exchange * _swapped(mean)) / 2
    left = np.linalg.norm(directions_of(frames) @ mean, axis=1)
    return np.asarray((left < FORBIDDEN).reshape([len(frame) for frame in frames]))


def directions_of(frames: Sequence[FloatArray]) -> FloatArray:
    """(d d' ..., 3^n) the matrix that makes components along frames of Cartesian ones."""
    out: FloatArray = np.eye(1)
    for frame in frames:
        out = np.asarray(np.kron(out, frame), float)
    return out


def turned_axes(Q: FloatArray, kinds: Sequence[Axis], reversal: Reversal, *, reverses: bool, spin_orbit: bool = True) -> FloatArray:
    """(3^n, 3^n) what an operation makes of a tensor: a rotation or reflection Q, with or without time reversal."""
    axial = np.linalg.det(Q) * Q
    turns = {"polar": Q, "axial": axial, "spin": axial if spin_orbit else np.eye(3)}
    out: FloatArray = np.eye(1)
    for kind in kinds:
        out = np.asarray(np.kron(out, turns[kind]), float)
    if not reverses or reversal == "even":
        return out
    return -out if reversal == "odd" else _swapped(out)


def _swapped(turn: FloatArray) -> FloatArray:
    """A matrix of tensors, with the last two axes of what it makes exchanged."""
    return np.asarray(turn.reshape(-1, 3, 3, len(turn)).swapaxes(1, 2).reshape(turn.shape))


def what_is_zero(names: Sequence[str], values: npt.NDArray[np.generic], forbidden: npt.NDArray[np.bool_], unit: str) -> str:
    """A sentence on the components of a result that are no numbers: forbidden ones, and those of the size of rounding; empty without any.

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
    rounding = zero_to_rounding(values) & bool(np.any(values))  # where nothing responds, zero is zero
    told = [_by_symmetry(names, values, forbidden, unit)] if forbidden.any() else []
    if (rounding & ~forbidden).any():
        told.append(f"zero to rounding: {named(names, rounding & ~forbidden)}")
    return "; ".join(told)


def _by_symmetry(names: Sequence[str], values: npt.NDArray[np.generic], forbidden: npt.NDArray[np.bool_], unit: str) -> str:
    """Of the forbidden ones, of which there are some."""
    told, broken = named(names, forbidden), float(_sizes(values)[forbidden].max())
    if zero_to_rounding(values)[forbidden].all():
        return f"zero by symmetry: {told}"
    if forbidden.all():  # nothing to compare rounding with
        return f"zero by symmetry: {told}, every component; {broken:.2g} {unit} at most as computed"
    return f"zero if H kept the symmetry of the structure: {told}; up to {broken:.2g} {unit} as it is"


def named(names: Sequence[str], chosen: npt.NDArray[np.bool_]) -> str:
    """The names of some components, with spaces between them."""
    return " ".join(name for name, one in zip(names, chosen, strict=True) if one)


def zero_to_rounding(values: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """(c,) which components of (..., c) values are of the size of rounding beside the largest one, :data:`ROUNDING`, at all energies."""
    sizes = _sizes(values)
    return np.asarray(sizes <= ROUNDING * sizes.max(initial=0.0))


def _sizes(values: npt.NDArray[np.generic]) -> FloatArray:
    """(c,) the largest magnitude of each component; what is not known counts as zero."""
    values = np.asarray(values)
    return np.asarray(np.nan_to_num(np.abs(values)).reshape(-1, values.shape[-1]).max(axis=0, initial=0.0), float)
