"""Z2 by the parities of the filled states at the time-reversal invariant k: L. Fu and C. L. Kane, Phys. Rev. B 76, 045302 (2007).

Shares nothing with the flow of Wannier centres but H(k) and S(k).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetrize import violation
from deeph.physics.symmetry import TOLERANCE, Operation
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.lattice.periodic import periodic_directions
from postprocess.topology.groups import BandGroup, check_gap, k_text
from postprocess.topology.operations import find_operation, representation

MOST_BROKEN = 0.05
"""eV; H made on a grid breaks a symmetry of its structure by up to 0.04 eV, more has another reason."""
CLEAR = 0.8
"""Parity eigenvalues of the filled states are +-1; H made on a grid leaves them a little smaller, below this they mean nothing."""


@dataclass(frozen=True)
class Parities:
    """Parities of the filled states at the time-reversal invariant k.

    Attributes
    ----------
    indices : tuple of int
        nu of a layer; nu0, nu1, nu2, nu3 of a crystal.
    k : (4 or 8, 3) array
        Fractional.
    products : (4 or 8,) int array
        delta = +-1: product over the Kramers pairs.
    odd : (4 or 8,) int array
        States of odd parity.
    gaps : (4 or 8,) array
        From the filled states to the next one there, eV.
    clearest : float
        Smallest magnitude of a parity eigenvalue; 1 for a symmetric H.
    violation : float
        How far H breaks inversion, eV.
    centre : (3,) array
        Of the inversion, fractional. About another one, half a lattice vector away, products at single k may have the other sign; the
        indices are the same.
    """

    indices: tuple[int, ...]
    k: FloatArray
    products: FloatArray
    odd: FloatArray
    gaps: FloatArray
    clearest: float
    violation: float
    centre: FloatArray


def find_inversion(hamiltonian: Hamiltonian) -> Operation:
    """The inversion of a structure.

    Raises
    ------
    DataError
        If it has none.
    """
    found, deviation = find_operation(hamiltonian.system, -np.eye(3))
    if found is None:
        off = f": its best centre leaves an atom {deviation:.3g} Angstrom from the image of another one (expected below {TOLERANCE:g})"
        off *= bool(np.isfinite(deviation))
        raise DataError(
            f"the structure has no inversion symmetry{off}. Parities mean nothing here; Z2 by the flow of Wannier centres needs none"
        )
    return found


def invariant_points(hamiltonian: Hamiltonian) -> FloatArray:
    """(4 or 8, 3) k with k = -k + G, fractional; zero along directions that are not periodic."""
    halves = [(0.0, 0.5) if periodic else (0.0,) for periodic in periodic_directions(hamiltonian)]
    return np.array(list(product(*halves)))


def z2_by_parity(hamiltonian: Hamiltonian, group: BandGroup) -> Parities:
    """Z2 of a layer or a crystal with inversion symmetry.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Spinors with time reversal, which the caller has checked.
    group : BandGroup
        Filled bands.

    Raises
    ------
    DataError
        If there is no inversion, the filled states touch others at one of the points, or have no clear parity there.
    """
    inversion = find_inversion(hamiltonian)
    points = invariant_points(hamiltonian)
    broken = violation(hamiltonian, hamiltonian.hamiltonian, [inversion]).largest
    if broken > MOST_BROKEN:
        raise DataError(
            f"H breaks the inversion of its structure by {1e3 * broken:.3g} meV (expected below {1e3 * MOST_BROKEN:g}, what a grid does): "
            "its states have no clear parities. Z2 by the flow of Wannier centres needs none"
        )
    odd, gaps, clearest = [], [], 1.0
    for k in points:
        h, s = hamiltonian.H_bloch.dense(k, component=group.spin), hamiltonian.S_bloch.dense(k)
        energies, C = solve_states_at_k(h, s, k)
        gaps.append(check_gap(energies[None], k[None], BandGroup(group.first, group.stop)))
        C = C[:, group.first : group.stop]
        P = C.conj().T @ s @ representation(hamiltonian, inversion, k) @ C
        parities = np.linalg.eigvalsh((P + P.conj().T) / 2)
        clearest = min(clearest, float(np.abs(parities).min()))
        odd.append(int((parities < 0).sum()))
        if clearest < CLEAR or odd[-1] % 2:
            raise DataError(
                f"the filled states at k = {k_text(k)} have no clear parities: the smallest is {np.abs(parities).min():.3f} (expected 1), "
                f"{odd[-1]} are odd. H breaks the inversion of its structure by {1e3 * broken:.3g} meV, or it has no time reversal"
            )
    delta = 1 - 2 * (np.array(odd) // 2 % 2)
    return Parities(
        _indices(points, delta), points, delta, np.array(odd), np.array(gaps), clearest, broken, _centre(hamiltonian, inversion)
    )


def _centre(hamiltonian: Hamiltonian, inversion: Operation) -> FloatArray:
    """Halfway from the first atom to its image, fractional, in the cell from 0 to 1."""
    system = hamiltonian.system
    first, image = system.positions[0], system.positions[inversion.image[0]] + inversion.shift[0] @ system.cell
    fractional = np.linalg.solve(system.cell.T, (first + image) / 2)
    return np.asarray(np.round(fractional, 6) % 1.0)


def _indices(points: FloatArray, delta: FloatArray) -> tuple[int, ...]:
    def index(members: FloatArray) -> int:
        return int((1 - np.prod(delta[members])) // 2)

    everywhere = np.ones(len(points), bool)
    if len(points) == 4:
        return (index(everywhere),)
    return (index(everywhere), *(index(points[:, axis] == 0.5) for axis in range(3)))
