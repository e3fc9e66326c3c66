"""Overlap-only structure folders, filled block by block."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeph.files.folders import new_folder
from deeph.files.matrix_file import MatrixWriter
from deeph.files.orbitals_file import FILE as ORBITALS
from deeph.files.orbitals_file import write_orbitals
from deeph.files.store import EXTRA_FILES, OVERLAP, POSITION, element_order, write_info, write_poscar
from deeph.physics.basis import Spin
from deeph.physics.blocks import PairBlocks, block_shapes
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import neighbour_pairs
from deeph.physics.system import SYMBOLS, IntArray, System
from preprocess.overlap.two_centre import COMPONENTS, Operator, TwoCentre
from preprocess.structure_files import Structure

FILES: dict[Operator, str] = {
    "overlap": OVERLAP,
    "kinetic": EXTRA_FILES["kinetic"],
    "position": POSITION,
    "gradient": "overlap_gradient.h5",
}


class Matrices(NamedTuple):
    """What is wanted of a structure.

    Attributes
    ----------
    operators : tuple of {"overlap", "kinetic", "position", "gradient"}
        Which matrices; the overlap has to be among them.
    spin : {"none", "collinear", "spinor"}
        Kind of the H that is to be predicted; the overlap has no spin.
    cutoff : float or None
        Blocks of all pairs up to this distance in Angstrom (zero where orbitals do not overlap), instead of those that overlap.
    """

    operators: tuple[Operator, ...] = ("overlap",)
    spin: Spin = "none"
    cutoff: float | None = None


def write_overlap(
    folder: Path,
    structure: Structure,
    engine: TwoCentre,
    wanted: Matrices,
    *,
    n_threads: int = 1,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Compute matrices and write them as a structure folder, with the orbitals; blocks go to the files as they are made.

    Parameters
    ----------
    folder : path
        Must not exist unless ``overwrite``; it appears complete or not at all.
    structure : Structure
        The atoms.
    engine : TwoCentre
        The orbitals of their elements.
    wanted : Matrices
        Which matrices of it.
    n_threads : int
        Number of threads.
    overwrite : bool
        Whether to replace what is there.
    settings : mapping, optional
        Recorded in ``info.json``.

    Returns
    -------
    int
        Number of blocks.

    Raises
    ------
    DataError
        If the folder exists or an element has no orbitals.
    """
    order = element_order(structure.system)
    system = structure.system.permuted(order)
    pairs = pairs_of(system, engine, wanted.cutoff)
    shapes = block_shapes(engine.basis, system.numbers, pairs, spin=False)
    nothing = PairBlocks.zeros(np.zeros((0, 5), np.int64), np.zeros((0, 2), np.int64))
    description = describe(structure._replace(system=system), engine, wanted.spin, nothing, settings)
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_poscar(temporary / "POSCAR", system)
        write_info(temporary, description, order)
        write_orbitals(temporary / ORBITALS, {z: engine.orbitals[z] for z in description.basis.shells})
        for operator in wanted.operators:
            with MatrixWriter(temporary / FILES[operator], pairs, shapes, COMPONENTS[operator], np.float64) as writer:
                engine.fill(system, operator, writer.blocks, n_threads)
    return len(pairs)


def pairs_of(system: System, engine: TwoCentre, cutoff: float | None = None) -> IntArray:
    """(n_pairs, 5) the pairs whose orbitals overlap, or all up to a distance in Angstrom."""
    return engine.pairs(system) if cutoff is None else neighbour_pairs(system, dict.fromkeys(engine.orbitals, cutoff / 2))


def describe(
    structure: Structure,
    engine: TwoCentre,
    spin: Spin,
    S: PairBlocks,
    settings: Mapping[str, Any] | None = None,
) -> Hamiltonian:
    """The overlap of a structure with what is known besides: electrons, orbital radii, where the orbitals come from.

    Parameters
    ----------
    structure : Structure
        The atoms, in the order of the matrices.
    engine : TwoCentre
        Their orbitals.
    spin : {"none", "collinear", "spinor"}
        Of the H that is to be predicted.
    S : PairBlocks
        The overlap.
    settings : mapping, optional
        Recorded in ``source``.
    """
    system = structure.system
    basis = engine.basis.restricted(system.numbers)
    atoms = [engine.orbitals[z].n_electrons for z in system.numbers.tolist()]
    counted = None if None in atoms else float(sum(n for n in atoms if n is not None)) - structure.charge
    source = {
        "code": "two-centre integrals",
        "basis": {SYMBOLS[z]: engine.orbitals[z].source for z in basis.shells},
        "orbital_radii": {SYMBOLS[z]: engine.orbitals[z].radius for z in basis.shells},
        **({} if settings is None else {"settings": settings}),
    }
    electrons = counted if structure.n_electrons is None else structure.n_electrons
    return Hamiltonian(system, replace(basis, spin=spin), S, n_electrons=electrons, source=source)
