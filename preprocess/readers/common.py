"""What the readers of all codes do alike: bring matrices into the project's form, and refuse what cannot be in it.

How they read words and numbers is in :mod:`deeph.files.text`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from deeph.physics.basis import Basis
from deeph.physics.blocks import PairBlocks
from deeph.physics.conventions import Order, atom_order, atom_signs
from deeph.physics.pairs import reversed_pairs
from deeph.physics.system import SYMBOLS, FloatArray, IntArray, System
from deeph.runtime.errors import DataError

T = TypeVar("T")


def finite(values: FloatArray, path: Path, what: str) -> FloatArray:
    """The same numbers, or an error where NaN or infinity is among them."""
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinity among the {what}: the run failed or the file is damaged; repeat the run")
    return values


def one_basis(bases: Iterable[tuple[int, T]]) -> dict[int, T]:
    """The basis of each element, which has to be the same in all respects on all its atoms.

    Parameters
    ----------
    bases : iterable of (atomic number, basis)
        For every atom or species: whatever tells two bases apart (shells, radii, files); its text goes into the message.

    Returns
    -------
    dict of atomic number to basis
        In order of first appearance.

    Raises
    ------
    DataError
        If an element has two different bases, also where only their radii or files differ: a model knows one basis an element.
    """
    found: dict[int, T] = {}
    for z, one in bases:
        if found.setdefault(z, one) != one:
            raise DataError(
                f"{SYMBOLS[z]} has two bases, {found[z]} and {one}: expected one basis an element, with the same shells, radii and files. "
                "Repeat the run with the same orbitals on all atoms of an element"
            )
    return found


def onsite_pairs(n_atoms: int) -> IntArray:
    """(n_atoms, 5) pairs of each atom with itself."""
    out = np.zeros((n_atoms, 5), np.int64)
    out[:, 3] = out[:, 4] = np.arange(n_atoms)
    return out


def closed_pattern(n_atoms: int, *patterns: IntArray) -> IntArray:
    """(n_pairs, 5) all pairs of some lists with their Hermitian partners (-R, j, i) and each atom itself, sorted, each once."""
    pairs = np.concatenate([onsite_pairs(n_atoms), *patterns])
    return np.unique(np.concatenate([pairs, reversed_pairs(pairs)]), axis=0)


def asymmetry(blocks: PairBlocks, what: str, limit: float, unit: float = 1.0) -> float:
    """Largest |M - M^dagger|, in the units of the matrix.

    Parameters
    ----------
    blocks : PairBlocks
        The matrix.
    what : str
        Its name in messages.
    limit : float
        What is accepted, in the unit of the code's file.
    unit : float
        That unit, where the matrix was converted already.

    Raises
    ------
    DataError
        If it is above the limit, a block has no Hermitian partner, or a number is not finite.
    """
    if not np.isfinite(blocks.entries).all():
        raise DataError(f"NaN or infinity in the {what}: the run failed or the file is damaged; repeat the run")
    error = blocks.hermiticity_error()
    if not error <= limit * unit:
        raise DataError(
            f"the {what} differs from its Hermitian conjugate by {error / unit:.1e}, expected below {limit:g}: the file is damaged or of "
            "another structure; copy it again or repeat the run"
        )
    return error


def hermitian(blocks: PairBlocks, what: str, limit: float, unit: float = 1.0) -> tuple[PairBlocks, float]:
    """The Hermitian part of a matrix, and how far the file was from it; parameters and errors as of :func:`asymmetry`."""
    error = asymmetry(blocks, what, limit, unit)
    return blocks.hermitized(), error


def to_project_order(code: Order, blocks: PairBlocks, system: System, basis: Basis, *, spin: bool) -> PairBlocks:
    """Blocks in the orbital order and with the signs of the project.

    Parameters
    ----------
    code : str
        Whose order they are in.
    blocks : PairBlocks
        Of the atoms of ``system``.
    system, basis : System, Basis
        Atoms and their shells.
    spin : bool
        Whether the blocks have the spin of H, and are 2n x 2n for spinors.
    """
    orders = {z: atom_order(code, shells) for z, shells in basis.shells.items()}
    signs = {z: atom_signs(code, shells) for z, shells in basis.shells.items()}
    plain = all((one == 1).all() for one in signs.values())
    return blocks.reordered(system.numbers, orders, basis.spin_factor if spin else 1, None if plain else signs)


def spinor_blocks(parts: PairBlocks) -> PairBlocks:
    """Spinor blocks [[uu, ud], [du, dd]] of the four components uu, ud, du, dd."""

    def join(blocks: FloatArray, _pairs: IntArray) -> FloatArray:
        _, n, rows, columns = blocks.shape
        return blocks.reshape(2, 2, n, rows, columns).transpose(2, 0, 3, 1, 4).reshape(1, n, 2 * rows, 2 * columns)

    return parts.mapped(join)
