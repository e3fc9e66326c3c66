"""Which parts of H = A0 + i B0 + sum_a (A_a + i B_a) sigma_a a model predicts, and how each of them transforms.

Without magnetism A0 and, with spin-orbit coupling, B_a; both are even under time reversal. Magnetism adds A_a and, where exact exchange
or the like makes it, B0, which are odd. Without spin-orbit coupling A_a is a vector of spin space alone: collinear spins are the case
where it has one component.
"""

from collections.abc import Iterable
from typing import NamedTuple

from deeph.nn.channels import EXCHANGE, MAGNETIC, SCALAR, Sort
from deeph.physics.basis import Spin
from deeph.physics.spin_parts import PARTS, PartName


class SpinPart(NamedTuple):
    """One part of H in a model.

    Attributes
    ----------
    name : str
        A0, B0, A or B.
    n_spin : int
        Components a; 1 for those without a Pauli matrix, and for A of collinear spins.
    sources : tuple of (Sort, bool)
        The features it is read off, and whether the Pauli matrix is coupled to the orbitals in the frame of the bond (True), or the
        features are spin vectors, or there is none (False).
    """

    name: PartName
    n_spin: int
    sources: tuple[tuple[Sort, bool], ...]

    @property
    def odd(self) -> bool:
        """Under time reversal."""
        return self.name in ("B0", "A")

    @property
    def antisymmetric(self) -> bool:
        """Under exchange of the ends and transposition."""
        return self.name in ("B0", "B")

    @property
    def coupled(self) -> bool:
        """Whether its coefficients couple the Pauli matrix to the orbitals; those of A do not: it is nearly a vector of spin space."""
        return self.name == "B"

    @property
    def copies(self) -> int:
        """How often the coefficients of a table occur: once, or for each component of the spin vector."""
        return 1 if self.coupled else self.n_spin


def spin_parts(spin: Spin, names: Iterable[PartName]) -> tuple[SpinPart, ...]:
    """The parts of a model for data in which the given parts are not zero."""
    orbit = spin == "spinor" and "B" in names
    found = []
    for name in PARTS:
        if name != "A0" and name not in names:
            continue
        if name == "A0":
            found.append(SpinPart(name, 1, ((SCALAR, False),)))
        elif name == "B0":
            found.append(SpinPart(name, 1, ((MAGNETIC, False),)))
        elif name == "B":
            found.append(SpinPart(name, 3, ((SCALAR, True),)))
        else:
            general = ((MAGNETIC, True),) if orbit else ()
            found.append(SpinPart(name, 3 if spin == "spinor" else 1, ((EXCHANGE, False), *general)))
    return tuple(found)
