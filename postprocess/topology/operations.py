"""One operation of the group of a structure, for parities and mirror eigenvalues of its states."""

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.symmetry import TOLERANCE, Operation, bloch_operator, find_operations
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError
from postprocess.topology.links import ComplexArray

NEAR = 0.05
"""Angstrom; operations broken by less are named in the refusal."""
SAME = 1e-2
"""Largest deviation of Q, which is that of the symmetric cell, from what is asked for."""


def find_operation(system: System, Q: FloatArray, tolerance: float = TOLERANCE) -> tuple[Operation | None, float]:
    """The operation x -> Q x + t that maps the atoms onto themselves best, with its spin rotation, for the translation t that does.

    Returns
    -------
    operation : Operation or None
        None if some atom lies farther than the tolerance from an image, or Q does not keep the lattice.
    deviation : float
        The largest distance of an atom from its image, Angstrom; infinite if it is large.
    """
    for accepted in (tolerance, NEAR):
        found = [g for g in find_operations(system, accepted) if np.abs(g.Q - Q).max() < SAME]
        if found:
            best = min(found, key=lambda g: g.deviation)
            kept = best.with_spin(turns=True, time_reversal=False) if accepted == tolerance else None
            return kept, best.deviation
    return None, np.inf


def representation(hamiltonian: Hamiltonian, operation: Operation, k: FloatArray) -> ComplexArray:
    """(n, n) matrix of an operation between the Bloch sums at a k (fractional) that it keeps, see :func:`bloch_operator`.

    Raises
    ------
    DataError
        If it takes k to another one.
    """
    arrives = operation.k(k)
    if np.abs(arrives - k - np.rint(arrives - k)).max() > 1e-6:
        raise DataError(f"{operation.name} takes k = {np.round(k, 4).tolist()} to another one, {np.round(arrives, 4).tolist()}")
    return np.asarray(bloch_operator(operation, hamiltonian.basis, hamiltonian.system.numbers, k).toarray(), complex)
