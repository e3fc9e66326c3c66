"""The symmetry of a structure with its spins: which operations, with or without time reversal, its Hamiltonian should keep.

Spin-orbit coupling ties spins to the lattice: a moment m at atom i must arrive as det(Q) Q m at its image, or as the opposite of that with
time reversal. Without it spins stay as they are, and time reversal turns the moments around (it exchanges up and down of collinear spins).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, NO_SPIN_ORBIT, TIME_ODD, Magnetism, exchange_fields
from deeph.physics.symmetry import TOLERANCE, Operation, find_operations, symmetric_system
from deeph.physics.system import FloatArray, System
from deeph.runtime.errors import DataError

SAME_FIELD = 0.1
"""Where moments are not recorded, or too small: accepted change of the exchange fields of the atoms, relative to the largest one."""


@dataclass(frozen=True, repr=False)
class SymmetryGroup:
    """A magnetic space group, up to lattice vectors, as products of one operation of each factor.

    Attributes
    ----------
    factors : tuple of tuples of Operation
        Each begins with the identity. Translations of a smaller cell, then time reversal where it is a symmetry by itself, then one
        operation for each rotation or reflection; of factors that are trivial only the last one is there.
    spin_orbit : bool
        Whether spins turn with the lattice.
    system : System
        The structure with the symmetry of its atoms to rounding: what the rotations of the operations refer to.
    """

    factors: tuple[tuple[Operation, ...], ...]
    spin_orbit: bool
    system: System

    @property
    def operations(self) -> tuple[Operation, ...]:
        """One for each rotation or reflection, and each with time reversal if that is no symmetry by itself; the identity first."""
        return self.factors[-1]

    @cached_property
    def generators(self) -> tuple[Operation, ...]:
        """The operations of all factors, without identities: what is kept by them is kept by all."""
        return tuple(operation for factor in self.factors for operation in factor[1:])

    @property
    def order(self) -> int:
        """Number of operations up to lattice vectors, time reversal counted."""
        return int(np.prod([len(factor) for factor in self.factors]))

    @property
    def deviation(self) -> float:
        """Largest distance of an image from its atom, Angstrom."""
        return max(operation.deviation for factor in self.factors for operation in factor)

    def __repr__(self) -> str:
        return f"SymmetryGroup {self}"

    def __str__(self) -> str:
        """Such as ``48 operations (C2, C3, inversion)``."""
        names = sorted({operation.name for operation in self.generators})
        return f"{self.order} operations ({', '.join(names)})" if names else "none but the identity"


def symmetry_group(data: Hamiltonian, tolerance: float = TOLERANCE) -> SymmetryGroup:
    """The operations that keep the atoms and, where H has spin, the magnetic order and time reversal as H has it.

    Parameters
    ----------
    data : Hamiltonian
        With or without H; without one, it is the space group of its atoms. The magnetic order is that of the recorded moments, or of the
        exchange fields in H where no moment is recorded.
    tolerance : float
        How far an atom may lie from the image of another one, Angstrom.

    Raises
    ------
    DataError
        If the operations found are no group, or H is complex though it has no spin: its magnetic flux is not known.
    """
    spin_orbit, moments, accepted = _spins(data)
    kept = []
    space = find_operations(data.system, tolerance)
    for operation in space:
        turn = np.linalg.det(operation.Q) * operation.Q if spin_orbit else np.eye(3)
        arrived = np.zeros((0, 3)) if moments is None else moments @ turn.T
        target = np.zeros((0, 3)) if moments is None else moments[operation.image]
        for reverse in (False, True):
            if (reverse and moments is None) or np.abs(target + arrived if reverse else target - arrived).max(initial=0.0) > accepted:
                continue
            kept.append(operation.with_spin(turns=spin_orbit, time_reversal=reverse))
    return SymmetryGroup(_factors(kept, tolerance), spin_orbit, symmetric_system(data.system, space))


def _spins(data: Hamiltonian) -> tuple[bool, FloatArray | None, float]:
    """Whether spins turn with the lattice, an axial vector at each atom (None: there is no spin), and by how much it may differ."""
    if data.H is None:
        return False, None, 0.0
    magnetism = Magnetism.of(data)
    nothing = np.zeros((data.system.n_atoms, 3))
    if data.basis.spin == "none":
        if np.iscomplexobj(data.H.entries) and np.abs(data.H.entries.imag).max(initial=0.0) > TIME_ODD:
            raise DataError(
                "H has no spin but is complex (a magnetic flux, as in Haldane's model): which operations of the structure keep the flux is "
                "not recorded, so that there is no symmetry to demand"
            )
        return False, nothing if np.iscomplexobj(data.H.entries) else None, 0.0
    spin_orbit = magnetism.parts.get("B", 0.0) > NO_SPIN_ORBIT
    if magnetism.time_reversal:
        return spin_orbit, nothing, 0.0
    if data.moments is not None and magnetism.largest_moment > 2 * MOMENT:
        order, accepted = data.moments, MOMENT
    else:
        order = -exchange_fields(data)
        accepted = SAME_FIELD * float(np.linalg.norm(order, axis=1).max())
    return spin_orbit, order if data.basis.spin == "spinor" else order * [0, 0, 1], accepted


def _factors(kept: Sequence[Operation], tolerance: float) -> tuple[tuple[Operation, ...], ...]:
    """The group as a product of the translations, of time reversal, and of what is left."""
    identity = np.eye(3)
    translations = [g for g in kept if not g.reversed and np.array_equal(g.lattice, identity)]
    reversal = [kept[0].with_spin(turns=False, time_reversal=True)] if any(g.name == "time reversal" for g in kept) else []
    chosen: dict[tuple[bytes, bool], Operation] = {}
    counts: dict[tuple[bytes, bool], int] = {}
    for g in kept:
        key = (g.lattice.tobytes(), g.reversed)
        counts[key] = counts.get(key, 0) + 1
        if not (reversal and g.reversed):
            chosen.setdefault(key, g)
    rest = list(chosen.values())
    there = {(g.lattice.tobytes(), g.reversed) for g in rest}
    products = ((np.ascontiguousarray(h.lattice @ g.lattice).tobytes(), h.reversed != g.reversed) for g in rest for h in rest)
    if set(counts.values()) != {len(translations)} or not all(product in there for product in products):
        raise DataError(
            f"the {len(kept)} operations that map the atoms to {tolerance:g} Angstrom onto each other, and keep the moments, are no group: "
            "the structure has its symmetry only nearly; ask with another tolerance"
        )
    below = (tuple(translations), (kept[0], *reversal))
    return (*(factor for factor in below if len(factor) > 1), tuple(rest))
