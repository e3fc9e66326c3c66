"""Whatever says what a structure is, as a structure or a Hamiltonian."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from preprocess.structure_files import Structure

Source = Any
"""Whatever :func:`read` takes."""
BOX = 20.0
"""Angstrom of empty space along missing lattice vectors."""


def read(x: Source) -> Hamiltonian | System:
    """Read a structure, with its Hamiltonian where there is one.

    Parameters
    ----------
    x : path, ase.Atoms, System or Hamiltonian
        A structure folder (DeepH format, current or legacy) or the folder of a finished DFT run (OpenMX, ABACUS, SIESTA, FHI-aims, PySCF,
        DeePTB) gives a Hamiltonian. A structure file (POSCAR, cif, xyz, ..., input of OpenMX, ABACUS or SIESTA) or ``ase.Atoms`` gives a
        System; lattice vectors that ``ase.Atoms`` lack are put across empty space. What is a System or Hamiltonian already is returned.

    Returns
    -------
    Hamiltonian or System
        Energies in eV, lengths in Angstrom, atoms in the order of the files.

    Raises
    ------
    DataError
        If there is nothing, or something is damaged.
    UsageError
        If x is something else.

    Notes
    -----
    Position matrices, and what error bars of levels are made of, are read where a structure folder has them (matrices of 128 MiB or more
    stay in their file until they are used); other further matrices: :func:`deeph.read_folder`.
    """
    if isinstance(x, Hamiltonian):
        return x
    if isinstance(x, str | Path) and Path(x).expanduser().is_dir():
        return _read_run(Path(x).expanduser())
    return to_structure(x).system


def _read_run(folder: Path) -> Hamiltonian:
    """A structure folder or a DFT run."""
    from deeph.files.store import is_structure_folder, read_folder
    from preprocess.readers import candidates, detect, what_is_missing

    if is_structure_folder(folder):
        return read_folder(folder, positions=True, modes=True)
    if not candidates(folder):
        missing = what_is_missing(folder, [path.name for path in folder.iterdir()])
        raise DataError(
            f"{folder} holds {missing or 'no structure folder (POSCAR, info.json, overlap.h5) and no output of a DFT code'}; a structure "
            "alone is read from its file, such as POSCAR"
        )
    return detect(folder).read(folder)


def to_structure(x: Source) -> "Structure":
    """The atoms of x, with what an input file says of their basis and electrons."""
    from preprocess.structure_files import Structure, read_structure_file

    if isinstance(x, str | Path):
        path = Path(x).expanduser()
        if path.is_dir():
            data = _read_run(path)
            return Structure(data.system, n_electrons=data.n_electrons, moments=data.moments)
        if not path.exists():
            raise DataError(f"there is no {path}; expected a structure folder, the folder of a DFT run, or a structure file")
        try:
            return read_structure_file(path)
        except DataError as error:
            raise DataError(f"{error}; a DFT run is read by its folder, {path.parent}") from error
    if isinstance(x, Structure):
        return x
    if isinstance(x, Hamiltonian):
        return Structure(x.system, n_electrons=x.n_electrons, moments=x.moments)
    if isinstance(x, System):
        return Structure(x)
    if all(hasattr(x, name) for name in ("cell", "pbc", "get_positions", "get_atomic_numbers")):
        return Structure(_from_ase(x), moments=_moments_of_ase(x))
    hint = "; pymatgen structures: x.to_ase_atoms()" if hasattr(x, "to_ase_atoms") else ""
    raise UsageError(f"{type(x).__name__} is no structure: expected a path, ase.Atoms, a System or a Hamiltonian{hint}")


def _moments_of_ase(atoms: Any) -> FloatArray | None:
    """Initial magnetic moments in Bohr magneton, numbers along z; None if all are zero."""
    if not hasattr(atoms, "get_initial_magnetic_moments"):
        return None
    moments = np.array(atoms.get_initial_magnetic_moments(), float)
    if moments.ndim == 1:
        moments = moments[:, None] * np.array([0.0, 0.0, 1.0])
    return moments if moments.any() else None


def _from_ase(atoms: Any) -> System:
    """Missing lattice vectors of directions that are not periodic become normal to the others, as long as the atoms and empty space."""
    from ase.geometry import complete_cell

    cell = np.array(atoms.cell, float)
    missing = ~cell.any(axis=1)
    if not missing.any():
        return System.from_ase(atoms)
    if np.asarray(atoms.pbc)[missing].any():
        raise DataError(f"the lattice vector {int(np.argmax(missing))} of these ase.Atoms is zero but periodic (pbc); give it, or set pbc")
    normal = complete_cell(cell)[missing]
    cell[missing] = normal * (np.ptp(atoms.get_positions() @ normal.T, axis=0) + BOX)[:, None]
    pbc = np.asarray(atoms.pbc, bool).tolist()
    return System(cell, atoms.get_positions(), atoms.get_atomic_numbers(), (pbc[0], pbc[1], pbc[2]))
