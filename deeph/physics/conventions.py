"""Order, sign and spin layout of the orbitals in every code: this file and nothing else knows them.

The project's own convention is the one of the current DeepH format: within a shell m = -l..l, real spherical harmonics
without the Condon-Shortley sign (p: y, z, x; d: xy, yz, z2, xz, x2-y2), shells in the order of the basis, spin-major
spinor blocks [[uu, ud], [du, dd]]. Every other order is a signed permutation inside a shell.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError

Order = Literal["deeph", "openmx", "legacy", "pyscf", "abacus", "siesta", "aims", "wannier90"]
IntArray = npt.NDArray[np.int64]

CONVENTIONS = {
    "energy": "eV",
    "length": "Angstrom",
    "block": "block(R,i,j) = <phi_i, 0 | H | phi_j, R>",
    "orbitals": "shells in basis order, m = -l..l, real harmonics without Condon-Shortley sign",
    "spin": "spin-major [[uu, ud], [du, dd]]",
}
"""What every number of this project is relative to; written into model files and compared when they are read."""

# position of m = -l..l in OpenMX's list of a shell (p: x y z; d: z2 x2-y2 xy xz yz; f: m = 0 +1 -1 +2 -2 +3 -3);
# the legacy DeepH folder inherited OpenMX's order.
_OPENMX_SHELL: dict[int, tuple[int, ...]] = {
    0: (0,),
    1: (1, 2, 0),
    2: (2, 4, 0, 3, 1),
    3: (6, 4, 2, 0, 1, 3, 5),
}


def shell_order(order: Order, l: int) -> IntArray:
    """Where the project's orbitals m = -l..l stand in a shell of another code.

    Parameters
    ----------
    order : str
        The other code's convention, one of :data:`Order`.
    l : int
        Angular momentum.

    Returns
    -------
    (2l+1,) int array
        ``ours = signs * theirs[index]``, see :func:`shell_signs`.

    Raises
    ------
    DataError
        If the order of such a shell is not known.
    """
    if order in ("deeph", "siesta", "aims") or (order == "pyscf" and l != 1):
        return np.arange(2 * l + 1)
    if order in ("abacus", "wannier90"):  # m = 0, +1, -1, +2, -2, ...
        return np.array([*range(2 * l, 0, -2), 0, *range(1, 2 * l, 2)])
    if order == "pyscf":  # its only exception: p is x, y, z
        return np.array([1, 2, 0])
    if l in _OPENMX_SHELL:
        return np.array(_OPENMX_SHELL[l])
    if order == "legacy":  # beyond f the legacy rule is 0, +1, -1, +2, -2, ...
        return np.array([*range(2 * l, 0, -2), 0, *range(1, 2 * l, 2)])
    raise DataError(f"the order of the m components of a shell with l = {l} is not known for {order}; expected l <= 3")


def shell_signs(order: Order, l: int) -> IntArray:
    """(2l+1,) signs with which another code's real harmonics enter ours, m = -l..l: ``ours = signs * theirs[index]``."""
    m = np.arange(-l, l + 1)
    if order in ("abacus", "siesta"):  # both keep the Condon-Shortley factor (-1)^m
        return np.where(m % 2, -1, 1)
    if order == "aims":
        return np.where((m > 0) & (m % 2 == 1), -1, 1)
    return np.ones(2 * l + 1, np.int64)


def atom_order(order: Order, shells: Sequence[int]) -> IntArray:
    """Where the project's orbitals of an atom stand in another code's list.

    Parameters
    ----------
    order : str
        The other code's convention, one of :data:`Order`.
    shells : sequence of int
        Angular momentum of each radial shell, in basis order.

    Returns
    -------
    (n_orbitals,) int array
        ``ours = signs * theirs[index]``; where no code-specific signs occur, the inverse is ``theirs = ours[argsort(index)]``.
    """
    index, start = [], 0
    for l in shells:
        index.append(start + shell_order(order, l))
        start += 2 * l + 1
    return np.concatenate(index) if index else np.zeros(0, np.int64)


def atom_signs(order: Order, shells: Sequence[int]) -> IntArray:
    """(n_orbitals,) signs of the project's orbitals of an atom relative to another code's, see :func:`atom_order`."""
    return np.concatenate([np.zeros(0, np.int64), *(shell_signs(order, l) for l in shells)])


SpinLayout = Literal["atoms", "blocks", "interleaved"]
"""Where the two spins of a spinor stand in the list of all orbitals. ``atoms``: those of an atom up, then down, then the next atom (the
project's own); ``blocks``: all up, then all down; ``interleaved``: up and down of each orbital side by side."""


class Target(NamedTuple):
    """What the matrices of another program are relative to; energies are in eV, lengths in Angstrom where it is not said otherwise.

    In all of them H(R) = <i, 0 | H | j, R>, as here.

    Attributes
    ----------
    order : str
        Of the orbitals in a shell, and their signs.
    spin : str
        Layout of spinors.
    sorted_shells : bool
        Whether the shells of an atom are sorted by l: 2s2p1d cannot say another sequence.
    """

    order: Order
    spin: SpinLayout
    sorted_shells: bool = False


TARGETS: dict[str, Target] = {
    "wannier90": Target("wannier90", "blocks"),
    "wanniertools": Target("wannier90", "blocks"),
    "wannierberri": Target("wannier90", "blocks"),
    "pythtb": Target("wannier90", "blocks"),
    "kwant": Target("deeph", "atoms"),
    "sisl": Target("siesta", "interleaved"),
    "hoptb": Target("legacy", "blocks"),
    "deeptb": Target("deeph", "atoms", sorted_shells=True),
    "hamgnn": Target("openmx", "atoms", sorted_shells=True),
    "petsc": Target("deeph", "atoms"),
}
"""Programs and formats that :mod:`postprocess.export` writes."""


def target_order(target: Target, shells: Sequence[int]) -> tuple[IntArray, IntArray]:
    """How the orbitals of an atom come into the order of another program.

    Parameters
    ----------
    target : Target
        The program.
    shells : sequence of int
        Angular momentum of each radial shell, in basis order.

    Returns
    -------
    index, signs : (n_orbitals,) int arrays
        ``theirs = signs * ours[index]``.
    """
    width = np.array([2 * l + 1 for l in shells])
    start = np.cumsum(width) - width
    sequence = np.argsort(np.array(shells), kind="stable") if target.sorted_shells else np.arange(len(shells))
    index, signs = [], []
    for shell in sequence.tolist():
        inverse = np.argsort(shell_order(target.order, shells[shell]))
        index.append(start[shell] + inverse)
        signs.append(shell_signs(target.order, shells[shell])[inverse])
    return np.concatenate(index), np.concatenate(signs)
