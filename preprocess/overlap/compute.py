"""Overlaps in memory, for Python and for commands that go on with them."""

from collections.abc import Mapping, Sequence

import numpy as np

from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import NUMBERS, SYMBOLS
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.threads import blas_threads
from preprocess.orbitals.basis_files import read_basis
from preprocess.overlap.job import engine_of
from preprocess.overlap.two_centre import TwoCentre
from preprocess.overlap.write import describe, pairs_of
from preprocess.structure_files import Structure


def compute_overlap(
    structure: Structure,
    basis: Sequence[str] | Mapping[str, str],
    *,
    spin: Spin = "none",
    cutoff: float | None = None,
    n_threads: int = 1,
) -> Hamiltonian:
    """The overlap of one structure, atoms in the order given.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : sequence of str, or mapping of element to str
        See :func:`preprocess.orbitals.basis_files.read_basis`; with a mapping each element has a file of its own.
    spin, cutoff
        As in :class:`preprocess.overlap.write.Matrices`.
    n_threads : int
        Threads that share the blocks.

    Raises
    ------
    DataError
        If an element has no basis, or two, or a file is missing or damaged.
    UsageError
        If the cutoff is not positive, or the mapping names no elements.
    """
    if cutoff is not None and not cutoff > 0:
        raise UsageError(f"cutoff {cutoff:g} Angstrom: expected a positive number")
    engine = _engine(structure, basis)
    pairs = pairs_of(structure.system, engine, cutoff)
    with blas_threads(1):  # the blocks are shared among threads of our own
        S = engine.compute(structure.system, "overlap", pairs, n_threads=n_threads)
    return describe(structure, engine, spin, S)


def _engine(structure: Structure, basis: Sequence[str] | Mapping[str, str]) -> TwoCentre:
    """The tables of the elements of a structure, kept for the next one with the same."""
    elements = tuple(np.unique(structure.system.numbers).tolist())
    if not isinstance(basis, Mapping):
        read_basis(elements, basis, structure.basis_names)  # refuses what the structure does not need
        return engine_of(tuple(basis), tuple(sorted(structure.basis_names.items())), elements)
    if unknown := [name for name in basis if name not in NUMBERS]:
        raise UsageError(f"basis of {unknown[0]!r}: expected chemical symbols such as {SYMBOLS[elements[0]]}")
    if missing := [SYMBOLS[z] for z in elements if SYMBOLS[z] not in basis]:
        raise DataError(f"no basis for {', '.join(missing)}, which the structure holds; it is given for {', '.join(basis)}")
    return TwoCentre({z: read_basis([z], [basis[SYMBOLS[z]]], structure.basis_names)[z] for z in elements})
