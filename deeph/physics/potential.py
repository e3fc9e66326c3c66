"""Potentials and magnetic fields on top of H, as ``<phi_i| V |phi_j> = 1/2 (V_i + V_j) S_ij`` with V at the atoms.

This is exact for a constant V, Hermitian, and right to first order in the change of V across two atoms, where the centre of the product of
their orbitals lies half way between them; dipoles within an atom (s with p of one atom) are left out. It is how potentials enter
density-functional tight binding: M. Elstner et al., Phys. Rev. B 58, 7260 (1998), doi:10.1103/PhysRevB.58.7260; for spins C. Koehler
et al., J. Phys. Chem. A 111, 5622 (2007), doi:10.1021/jp068802p.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError

Field = float | Sequence[Any] | npt.NDArray[Any] | Callable[[FloatArray], Any]
"""A number (for a magnetic field: its z component), a vector, a value for each atom, or a function of positions (n, 3) in Angstrom."""
STRONG_S, STRONG_H = 1e-3, 1e-2
"""Elements of S, and of H in eV, from which on two images of an atom feel each other."""
SAME = 1e-6
"""eV; values at two images of an atom that differ by less are equal."""
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def potential_at_atoms(potential: Field, system: System, connecting: IntArray) -> FloatArray:
    """(n_atoms,) a scalar potential at the atoms, eV; a function has to be the same at the images that ``connecting`` pairs lead to."""
    values = _sample(potential, system)
    if values.ndim == 0:
        values = np.full(system.n_atoms, float(values))
    if values.shape != (system.n_atoms,):
        raise UsageError(f"potential of shape {values.shape}: expected one number (eV) for each of the {system.n_atoms} atoms")
    _check_periodic(potential, values, system, connecting)
    return values


def field_at_atoms(field: Field, system: System, connecting: IntArray) -> FloatArray:
    """(n_atoms, 3) a magnetic field at the atoms, eV; a number is the z component; ``connecting`` as for a potential."""
    values = _sample(field, system)
    if values.ndim == 0:
        values = np.array([0.0, 0.0, float(values)])
    if values.shape not in ((3,), (system.n_atoms, 3)):
        raise UsageError(f"field of shape {values.shape}: expected a number, a vector, or one for each of the {system.n_atoms} atoms (eV)")
    _check_periodic(field, values, system, connecting)
    return np.broadcast_to(values, (system.n_atoms, 3))


def _sample(field: Field, system: System) -> FloatArray:
    """The values of a field as it was given."""
    try:
        given = np.asarray(field(system.positions.copy()) if callable(field) else field)
        values = given.real.astype(float)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the potential or field is no array of real numbers (eV): {error}") from error
    if np.iscomplexobj(given) or not np.isfinite(values).all():
        raise UsageError("the potential or field holds complex, NaN or infinite numbers")
    if callable(field) and values.shape[:1] != (system.n_atoms,):
        raise UsageError(f"the function gives {values.shape} for positions {system.positions.shape}: expected a value for each position")
    return values


def _check_periodic(field: Field, values: FloatArray, system: System, connecting: IntArray) -> None:
    """A function that differs at images of an atom is no potential of the crystal: a linear one along a periodic direction."""
    images = np.unique(connecting[:, [0, 1, 2, 4]], axis=0)
    if not callable(field) or not len(images):
        return
    atom = images[:, 3]
    there = np.array(field(system.positions[atom] + images[:, :3] @ system.cell), float)
    difference = np.abs(there - values[atom]).reshape(len(atom), -1).max(axis=1)
    worst = int(np.argmax(difference))
    if difference[worst] > SAME:
        raise DataError(
            f"the potential or field is not periodic: at atom {atom[worst]} and its image R = {images[worst, :3].tolist()}, which H and S "
            f"connect, it differs by {difference[worst]:.3g} eV. If only its values at the atoms of the cell are meant, give these: "
            "f(h.system.positions)"
        )


def connecting_pairs(S: PairBlocks, H: PairBlocks) -> IntArray:
    """(n, 5) the pairs of atoms in different cells that feel each other."""
    across = np.flatnonzero(S.pairs[:, :3].any(axis=1))
    strong = np.zeros(len(across), bool)
    for blocks, limit in ((S, STRONG_S), (H, STRONG_H)):
        part = blocks.selected(across)
        for component in part.entries if len(across) else ():
            strong |= np.maximum.reduceat(np.abs(component), part.offsets[:-1]) > limit
    return S.pairs[across[strong]]


def add_potential(H: PairBlocks, S: PairBlocks, potential: FloatArray) -> PairBlocks:
    """H + 1/2 (V_i + V_j) S, the same for both spins; V (n_atoms,) in eV."""
    if (H.shapes != S.shapes).any():
        S = S.to_spinor()
    mean = (potential[S.pairs[:, 3]] + potential[S.pairs[:, 4]]) / 2
    return replace(H, entries=H.entries + np.repeat(mean, S.shapes.prod(axis=1)) * S.entries)


def add_field(H: PairBlocks, S: PairBlocks, field: FloatArray) -> PairBlocks:
    """H + 1/2 (b_i + b_j) . sigma S; b (n_atoms, 3) in eV. Two components of H are collinear spins, which take b along z alone."""
    if H.n_components == 2:
        if field[:, :2].any():
            raise UsageError("a collinear H takes fields along z only; h.to_spinor() takes any")
        up = (field[S.pairs[:, 3], 2] + field[S.pairs[:, 4], 2]) / 2
        change = np.repeat(up, S.shapes.prod(axis=1)) * S.entries[0]
        return replace(H, entries=H.entries + np.stack([change, -change]))
    matrix = np.einsum("ac,cst->ast", field, PAULI)

    def expand(blocks: Array, pairs: IntArray) -> Array:
        _, n, rows, columns = blocks.shape
        mean = (matrix[pairs[:, 3]] + matrix[pairs[:, 4]]) / 2
        return np.asarray(np.einsum("nst,nab->nsatb", mean, blocks[0]).reshape(1, n, 2 * rows, 2 * columns))

    return replace(H, entries=H.entries + S.mapped(expand).entries)
