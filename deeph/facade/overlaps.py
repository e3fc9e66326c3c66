"""Overlaps of structures from basis files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deeph.facade.reading import Source, to_structure
from deeph.physics.basis import Spin
from deeph.physics.hamiltonian import Hamiltonian

if TYPE_CHECKING:
    from preprocess.structure_files import StructureFile

BasisFiles = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""Basis files: one for each element, in any order, or by chemical symbol."""


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
        With S, atoms in the order of x, and the electrons of the neutral atoms where the basis files tell; its H is None. Its moments are
        those of x, of ``ase.Atoms`` the initial ones.

    Raises
    ------
    DataError
        If the structure or a basis file is missing or damaged, or an element has no basis or two.
    """
    from deeph.runtime.log import telling
    from preprocess.overlap.compute import compute_overlap

    structure = to_structure(x)
    with telling(f"still at the overlap of {structure.system}"):
        found = compute_overlap(structure, _files(basis), spin=spin, cutoff=cutoff, n_threads=threads, unused=unused)
    return replace(found, moments=structure.moments)


def describe_overlap(x: Source, basis: BasisFiles) -> Hamiltonian:
    """What :func:`overlap` would give, without any block of S: system, shells, electrons, orbital radii; in no time."""
    from preprocess.overlap.compute import describe_overlap

    return describe_overlap(to_structure(x), _files(basis))


def find_structures(paths: Sequence[Path]) -> "list[StructureFile]":
    """All structures in files and folders, with a name for each; ``read()`` of one is something that :func:`overlap` takes."""
    from preprocess.structure_files import find_structures

    return find_structures(paths)


def _files(basis: BasisFiles) -> tuple[str, ...] | dict[str, str]:
    if isinstance(basis, Mapping):
        return {element: str(Path(file).expanduser()) for element, file in basis.items()}
    return tuple(str(Path(file).expanduser()) for file in ([basis] if isinstance(basis, str | Path) else basis))
