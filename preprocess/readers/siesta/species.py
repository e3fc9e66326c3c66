"""Elements against species: ``.XV`` tells the elements, ``.ORB_INDX`` and the matrices only the species of each atom."""

import re
from collections.abc import Mapping, Sequence

from deeph.physics.system import NUMBERS, SYMBOLS, IntArray
from deeph.runtime.errors import DataError
from preprocess.readers.siesta.files import AtomOrbitals, Geometry

Elements = Mapping[int, int]
"""Atomic number of each species."""


def check_species(listed: Geometry, orbitals: Sequence[AtomOrbitals], in_matrices: IntArray | None, inputs: Sequence[Elements]) -> None:
    """Elements and species of the atoms are those of their orbitals and matrices.

    Parameters
    ----------
    listed : Geometry
        From ``.XV`` or ``.STRUCT_OUT``.
    orbitals : list of AtomOrbitals
        Of each atom.
    in_matrices : (n_atoms,) int array or None
        Species of each atom in the file of the matrices.
    inputs : list of Elements
        Of the fdf inputs in the folder. Where none tells, a label that starts with the symbol of an element does.

    Raises
    ------
    DataError
        If they contradict each other.
    """
    for n, (z, species, one) in enumerate(zip(listed.numbers.tolist(), listed.species.tolist(), orbitals, strict=True)):
        other = one.species if in_matrices is None or one.species != species else int(in_matrices[n])
        if other != species:
            raise DataError(
                f"atom {n + 1} is of species {species} in .XV or .STRUCT_OUT, but of species {other} in .ORB_INDX or the matrices: the "
                "files are of different runs, or atoms were exchanged in one of them"
            )
        known = {found[species] for found in inputs if species in found} or _element(one.label)
        if known and z not in known:
            expected = " or ".join(SYMBOLS[x] if 0 < x < len(SYMBOLS) else f"number {x}" for x in sorted(known))
            raise DataError(
                f"atom {n + 1} is {SYMBOLS[z]} in .XV or .STRUCT_OUT, but its species {species}, '{one.label}', is {expected} by the input "
                "or by its label: the files are of different runs. Where only the label misleads, copy the fdf input into the folder"
            )


def _element(label: str) -> set[int]:
    """The element whose symbol a label starts with, such as Fe_up or C1; empty for other words."""
    match = re.match(r"([A-Z][a-z]?)(?![a-z])", label)
    return {NUMBERS[match[1]]} - {0} if match and match[1] in NUMBERS else set()
