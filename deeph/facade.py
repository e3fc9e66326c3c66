"""What Python users and the methods of the central objects call: reading anything, overlaps, predictions, spectra.

The only file of the core that knows preprocess and postprocess, and only inside its functions: ``import deeph`` stays instant, and the
core works without them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import System
from deeph.runtime.errors import DataError, UsageError

if TYPE_CHECKING:
    from preprocess.structure_files import Structure, StructureFile

Source = Any
"""Whatever :func:`read` takes."""
BasisFiles = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""Basis files: one for each element, in any order, or by chemical symbol."""
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
    Position matrices and other further matrices of structure folders: :func:`deeph.read_folder`.
    """
    if isinstance(x, Hamiltonian):
        return x
    if isinstance(x, str | Path) and Path(x).is_dir():
        return _read_run(Path(x))
    return _structure(x).system


def overlap(
    x: Source, basis: BasisFiles, *, spin: Spin = "none", cutoff: float | None = None, threads: int = 1, unused: bool = False
) -> Hamiltonian:
    """The overlap matrix of a structure from basis files alone, without a DFT run.

    Parameters
    ----------
    x : path, ase.Atoms, System or Hamiltonian
        The structure, see :func:`read`.
    basis : str, path, sequence or mapping of them
        Basis files as ``deeph-overlap --basis`` takes them, such as ``"C6.0.pao:s2p2d1"`` (OpenMX), ``"C_gga_8au_100Ry_2s2p1d.orb"``
        (ABACUS), ``"C.ion.xml"`` (SIESTA), ``"gto:cc-pvdz"`` (PySCF): one for each element, or ``{"Mo": ..., "S": ...}``.
    spin : {"none", "collinear", "spinor"}
        Of the H that is to be predicted; the overlap has none.
    cutoff : float, optional
        Blocks of all pairs up to this distance in Angstrom, instead of those that overlap.
    threads : int
        Threads that share the blocks.
    unused : bool
        Leave out orbitals of elements that x lacks, instead of refusing them.

    Returns
    -------
    Hamiltonian
        With S, atoms in the order of x, and the electrons of the neutral atoms where the basis files tell; its H is None.

    Raises
    ------
    DataError
        If the structure or a basis file is missing or damaged, or an element has no basis or two.
    """
    from deeph.runtime.log import telling
    from preprocess.overlap.compute import compute_overlap

    structure = _structure(x)
    with telling(f"still at the overlap of {structure.system}"):
        return compute_overlap(structure, _files(basis), spin=spin, cutoff=cutoff, n_threads=threads, unused=unused)


def describe_overlap(x: Source, basis: BasisFiles) -> Hamiltonian:
    """What :func:`overlap` would give, without any block of S: system, shells, electrons, orbital radii; in no time."""
    from preprocess.overlap.compute import describe_overlap

    return describe_overlap(_structure(x), _files(basis))


def find_structures(paths: Sequence[Path]) -> "list[StructureFile]":
    """All structures in files and folders, with a name for each; ``read()`` of one is something that :func:`overlap` takes."""
    from preprocess.structure_files import find_structures

    return find_structures(paths)


def _files(basis: BasisFiles) -> tuple[str, ...] | dict[str, str]:
    if isinstance(basis, Mapping):
        return {element: str(file) for element, file in basis.items()}
    return (str(basis),) if isinstance(basis, str | Path) else tuple(str(file) for file in basis)


def _read_run(folder: Path) -> Hamiltonian:
    """A structure folder or a DFT run."""
    from deeph.files.store import is_structure_folder, read_folder
    from preprocess.readers import candidates, detect, what_is_missing

    if is_structure_folder(folder):
        return read_folder(folder)
    if not candidates(folder):
        missing = what_is_missing(folder, [path.name for path in folder.iterdir()])
        raise DataError(
            f"{folder} holds {missing or 'no structure folder (POSCAR, info.json, overlap.h5) and no output of a DFT code'}; a structure "
            "alone is read from its file, such as POSCAR"
        )
    return detect(folder).read(folder)


def _structure(x: Source) -> "Structure":
    """The atoms of x, with what an input file says of their basis and electrons."""
    from preprocess.structure_files import Structure, read_structure_file

    if isinstance(x, str | Path):
        path = Path(x)
        if path.is_dir():
            data = _read_run(path)
            return Structure(data.system, n_electrons=data.n_electrons)
        if not path.exists():
            raise DataError(f"there is no {path}; expected a structure folder, the folder of a DFT run, or a structure file")
        try:
            return read_structure_file(path)
        except DataError as error:
            raise DataError(f"{error}; a DFT run is read by its folder, {path.parent}") from error
    if isinstance(x, Structure):
        return x
    if isinstance(x, Hamiltonian):
        return Structure(x.system, n_electrons=x.n_electrons)
    if isinstance(x, System):
        return Structure(x)
    if all(hasattr(x, name) for name in ("cell", "pbc", "get_positions", "get_atomic_numbers")):
        return Structure(_from_ase(x))
    hint = "; pymatgen structures: x.to_ase_atoms()" if hasattr(x, "to_ase_atoms") else ""
    raise UsageError(f"{type(x).__name__} is no structure: expected a path, ase.Atoms, a System or a Hamiltonian{hint}")


def _from_ase(atoms: Any) -> System:
    """Missing lattice vectors of directions that are not periodic become normal to the others, as long as the atoms and empty space."""
    import numpy as np
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
