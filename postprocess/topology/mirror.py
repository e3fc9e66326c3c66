"""Mirror Chern numbers: J. C. Y. Teo, L. Fu and C. L. Kane, Phys. Rev. B 78, 045426 (2008), doi:10.1103/PhysRevB.78.045426.

On a plane of k that a mirror keeps, the filled states are eigenstates of the mirror, +-i with spin-orbit coupling, and each half has a
Chern number C+, C-. Their sum is the Chern number of the plane, the mirror Chern number is (C+ - C-)/2; its sign depends on the sign of
the mirror, which no one has fixed.
"""

from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetrize import violation
from deeph.physics.symmetry import TOLERANCE, Operation
from deeph.runtime.errors import DataError
from postprocess.states.kjobs import Jobs
from postprocess.topology.chern import ChernNumber, lattice_plane, surface_flux
from postprocess.topology.groups import BandGroup, k_text, states_of
from postprocess.topology.links import ComplexArray, PeriodicParts
from postprocess.topology.operations import find_operation, representation
from postprocess.topology.parity import CLEAR


@dataclass(frozen=True)
class MirrorChern:
    """A mirror Chern number.

    Attributes
    ----------
    plus, minus : ChernNumber
        Of the filled states with mirror eigenvalue +i and -i (+1 and -1 without spin-orbit coupling).
    clearest : float
        Smallest magnitude of a mirror eigenvalue; 1 for a symmetric H.
    violation : float
        How far H breaks the mirror, eV.
    """

    plus: ChernNumber
    minus: ChernNumber
    clearest: float
    violation: float

    @property
    def number(self) -> float:
        """(C+ - C-)/2: a whole number where the sum of both is 0, as with time reversal."""
        return (self.plus.number - self.minus.number) / 2


def find_mirror(hamiltonian: Hamiltonian, axis: int) -> Operation:
    """The mirror whose normal is along a lattice vector.

    Raises
    ------
    DataError
        If the structure has none, or only one that comes with half a translation in the plane: a glide, whose eigenvalues depend on k.
    """
    normal = hamiltonian.system.cell[axis] / np.linalg.norm(hamiltonian.system.cell[axis])
    found, deviation = find_operation(hamiltonian.system, np.eye(3) - 2 * np.outer(normal, normal))
    if found is None:
        off = "keeps neither lattice nor atoms" if np.isinf(deviation) else f"leaves an atom {deviation:.3g} Angstrom from an image"
        raise DataError(
            f"the structure has no mirror normal to its lattice vector {axis + 1}: the reflection {off} (expected below {TOLERANCE:g} "
            "Angstrom)"
        )
    twice = found.shift @ found.lattice + found.shift[found.image]
    if np.abs(twice).max():
        raise DataError(
            f"the reflection normal to lattice vector {axis + 1} takes the atoms to each other only with half of the lattice vector "
            f"{' '.join(map(str, twice[0].tolist()))}: a glide plane, whose eigenvalues depend on k, and there is no mirror Chern number"
        )
    return found


def mirror_chern_number(
    hamiltonian: Hamiltonian, group: BandGroup, axis: int, offset: float, divisions: tuple[int, int], *, jobs: Jobs | None = None
) -> MirrorChern:
    """The mirror Chern number of the plane k_axis = offset, 0 or 1/2.

    Raises
    ------
    DataError
        If there is no such mirror, the states are no eigenstates of it, or as for :func:`postprocess.topology.chern.chern_number`.
    """
    mirror = find_mirror(hamiltonian, axis)
    broken = violation(hamiltonian, hamiltonian.hamiltonian, [mirror]).largest
    states = states_of(hamiltonian, group, lattice_plane(hamiltonian, axis, offset).mesh(divisions), jobs)
    halves: dict[int, tuple[ComplexArray, ComplexArray]] = {}
    clearest, number = 1.0, -1
    for k, C in zip(states.k, states.C, strict=True):
        if id(C) in halves:  # the same states at k + G: one choice among degenerate ones for both
            continue
        S = hamiltonian.S_bloch.dense(k)
        M = C.conj().T @ S @ representation(hamiltonian, mirror, k) @ C
        if hamiltonian.basis.spin == "spinor":
            M = -1j * M
        values, V = np.linalg.eigh((M + M.conj().T) / 2)
        clearest = min(clearest, float(np.abs(values).min()))
        number = int((values > 0).sum()) if number < 0 else number
        if clearest < CLEAR or (values > 0).sum() != number:
            raise DataError(
                f"the states at k = {k_text(k)} are no eigenstates of the mirror: {np.abs(values).min():.3f} (expected 1), "
                f"{(values > 0).sum()} of them positive (elsewhere {number}). H breaks its mirror by {1e3 * broken:.3g} meV"
            )
        halves[id(C)] = C @ V[:, values > 0], C @ V[:, values < 0]
    parts = PeriodicParts(hamiltonian)

    def chern(which: int) -> ChernNumber:
        half = replace(states, C=[halves[id(C)][which] for C in states.C])
        if not half.C[0].shape[1]:
            return ChernNumber(0, group, np.zeros(divisions), divisions, 1.0, states.gap, parts.position)
        flux, smallest, gap = surface_flux(parts, half, divisions)
        return ChernNumber(round(flux.sum()), group, flux, divisions, smallest, gap, parts.position)

    return MirrorChern(chern(0), chern(1), clearest, broken)
