"""Whether the bands of two structures, or of a structure and a band file, can be compared at all: looked at before anything is computed."""

from collections import Counter
from itertools import product

import numpy as np

from deeph.files.band_files import BandFile
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.compare.match import TOLERANCE, match_atoms
from postprocess.lattice.periodic import Flags, periodic_directions


def check_comparable(reference: Hamiltonian, other: Hamiltonian, names: tuple[str, str]) -> None:
    """Refuse structures whose bands have nothing to do with each other; warn if the atoms lie elsewhere.

    Parameters
    ----------
    reference, other : Hamiltonian
        The order of the atoms, the orientation, and the height of empty space may differ.
    names : (str, str)
        For messages.

    Raises
    ------
    DataError
        If the composition, the spin, the number of orbitals, or the cell differ.
    """
    first, second = names
    elements = [Counter(h.system.symbols) for h in (reference, other)]
    if elements[0] != elements[1]:
        raise DataError(f"{first} is {reference.system.formula} and {second} is {other.system.formula}: their bands cannot be compared")
    spins = [h.basis.spin for h in (reference, other)]
    if spins[0] != spins[1]:
        raise DataError(f"{first} has spin '{spins[0]}' and {second} '{spins[1]}': their bands cannot be compared")
    sizes = [h.n_orbitals for h in (reference, other)]
    if sizes[0] != sizes[1]:
        raise DataError(f"{first} has {sizes[0]} orbitals and {second} {sizes[1]}: their bands cannot be compared")
    _check_cells(reference.system.cell, other.system.cell, periodic_directions(reference), names)
    if any(periodic_directions(reference)):
        _warn_of_moved_atoms(reference.system, other.system, names)


def check_band_file(file: BandFile, hamiltonian: Hamiltonian, name: str) -> None:
    """Refuse a band file of another cell, spin, or number of bands.

    Parameters
    ----------
    file : BandFile
        See :mod:`deeph.files.band_files`.
    hamiltonian : Hamiltonian
        What is to be compared with it.
    name : str
        Of the Hamiltonian, for messages.

    Raises
    ------
    DataError
        If they do not fit.
    """
    n_spin, _, n_bands = file.energies.shape
    spin = hamiltonian.basis.spin
    if n_spin != hamiltonian.basis.n_spin or file.spinor not in (None, spin == "spinor"):
        channels = "spinors" if file.spinor else f"{n_spin} spin channel{'s' * (n_spin > 1)}"
        raise DataError(f"{file.name} holds bands of {channels}, but {name} has spin '{spin}': they cannot be compared")
    few = n_bands < hamiltonian.n_orbitals and file.spinor is None  # OpenMX prints all bands: fewer are those without spinors
    if n_bands > hamiltonian.n_orbitals or few:
        raise DataError(
            f"{file.name} holds {n_bands} bands, but {name} has {hamiltonian.n_orbitals} (spin '{spin}'): another basis, or another spin"
        )
    if file.cell is not None:
        _check_cells(file.cell, hamiltonian.system.cell, periodic_directions(hamiltonian), (file.name, name))


def _check_cells(cell: FloatArray, other: FloatArray, periodic: Flags, names: tuple[str, str]) -> None:
    """Equal lengths of the periodic lattice vectors and of their sums: then all angles are equal, too, and the same k means the same."""
    vectors = np.array([n for n in product((0, 1), repeat=3) if not any(np.array(n)[~np.array(periodic)])])
    lengths = [np.linalg.norm(vectors @ c, axis=1) for c in (cell, other)]
    worst = int(np.argmax(np.abs(lengths[0] - lengths[1])))
    if abs(lengths[0][worst] - lengths[1][worst]) > TOLERANCE:
        n = " ".join(map(str, vectors[worst]))
        raise DataError(
            f"the cells differ: the lattice vector ({n}) is {lengths[0][worst]:.4f} Angstrom long in {names[0]} and "
            f"{lengths[1][worst]:.4f} in {names[1]}; expected the same cell, vectors in the same order"
        )


def _warn_of_moved_atoms(reference: System, other: System, names: tuple[str, str]) -> None:
    if np.abs(reference.cell - other.cell).max() > TOLERANCE:
        logger.warning("%s and %s are oriented otherwise, or have another height of empty space: their bands are compared", *names)
        return
    try:
        match_atoms(reference, other)
    except DataError as error:
        logger.warning("%s and %s are not the same structure, their bands are compared nevertheless: %s", *names, error)
