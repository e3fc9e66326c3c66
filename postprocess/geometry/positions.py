"""Where positions come from: the matrix that came with the data, or a named approximation."""

from dataclasses import dataclass
from typing import Literal, get_args

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.positions import centred_positions, positions_on_atoms
from deeph.runtime.errors import DataError, UsageError

Source = Literal["matrix", "atoms"]
SOURCES: tuple[str, ...] = get_args(Source)
MATRIX = "position matrix of the data"
ATOMS = "approximated by (tau_i + tau_j)/2 S_ij"
NOISE = 1e-3
"""Angstrom; position matrices whose two halves differ by more do not belong to this structure or this overlap."""


@dataclass(frozen=True)
class Positions:
    """Position matrices and where they come from.

    Attributes
    ----------
    W : PairBlocks
        <phi_i, 0 | r - R/2 | phi_j, R> in Angstrom, Hermitian, see :mod:`deeph.physics.positions`.
    source : str
        In words; every result says it.
    """

    W: PairBlocks
    source: str


def find_positions(hamiltonian: Hamiltonian, wanted: Source | None = None) -> Positions:
    """The positions of a structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Read with its position matrices, if there are any; Hermitian, see :func:`postprocess.eigen.hermitian.hermitian`.
    wanted : {"matrix", "atoms"}, optional
        The matrix of the data, or (tau_i + tau_j)/2 S; by default the matrix if there is one.

    Raises
    ------
    DataError
        If the matrix is wanted and there is none, or it is not that of this structure.
    UsageError
        If something else is wanted.
    """
    if wanted is not None and wanted not in SOURCES:
        raise UsageError(f"positions {wanted!r}: expected one of {', '.join(SOURCES)}")
    S, system = hamiltonian.S, hamiltonian.system
    if wanted == "atoms" or (wanted is None and hamiltonian.r is None):
        missing = "" if hamiltonian.r is not None else "; the data hold no position matrix"
        return Positions(positions_on_atoms(S, system.positions), ATOMS + missing)
    if hamiltonian.r is None:
        raise DataError(
            "the data hold no position matrix: convert the run with 'deeph-preprocess --positions', or make one from the basis files with "
            "'deeph-overlap --positions'; or take the approximation (tau_i + tau_j)/2 S (positions 'atoms')"
        )
    W = centred_positions(hamiltonian.r, S, system.cell)
    error = W.hermiticity_error()
    if error > NOISE:
        raise DataError(
            f"<phi_i|r|phi_j> and <phi_j|r|phi_i> of the position matrix differ by up to {error:.3g} Angstrom; expected matrices relative "
            "to the lattice origin, of this structure and its overlap. Were the atoms moved or the matrix written for another structure?"
        )
    return Positions(W.hermitized(), MATRIX)
