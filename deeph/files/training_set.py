"""What training asks of a set of structures; ``deeph-train --check``, ``deeph-train`` and ``deeph-inspect`` ask it here."""

from dataclasses import dataclass, field

from deeph.physics.basis import Basis
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.soundness import check_apart, check_blocks, check_finite, check_hermitian
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError

MAX_ASYMMETRY = 1e-3
"""Accepted |M - M^dagger| of H (eV) and S: the network learns one of two partners and takes the other for its adjoint."""


def check_trainable(data: Hamiltonian) -> None:
    """One structure by itself can be learned.

    Raises
    ------
    DataError
        If it has no H, spin, NaN, lacks blocks, or has two atoms at one place.
    """
    if data.H is None:
        raise DataError("no H to learn: hamiltonian.h5 is missing")
    check_finite(data)
    check_blocks(data)
    check_apart(data)
    check_hermitian(data, MAX_ASYMMETRY)


@dataclass
class TrainingSet:
    """What structures have in common; they are added one after the other, those to train on first.

    Attributes
    ----------
    basis : Basis
        Of all of them.
    trained : set of int
        Elements that are trained on.
    """

    basis: Basis = field(default_factory=lambda: Basis({}, "none"))
    trained: set[int] = field(default_factory=set)

    def add(self, data: Hamiltonian, *, train: bool) -> None:
        """Add a structure to train on, or to validate or test with.

        Raises
        ------
        DataError
            If it cannot be learned, or does not belong to the others.
        """
        check_trainable(data)
        self.add_basis(data.basis, train=train)

    def add_basis(self, basis: Basis, *, train: bool) -> None:
        """The same of a structure of which only the basis is left.

        Raises
        ------
        DataError
            If it does not belong to the others.
        """
        self.basis = merge_bases(self.basis, basis)
        self.trained |= set(basis.shells) if train else set()
        unknown = sorted(SYMBOLS[z] for z in set(basis.shells) - self.trained)
        if unknown:
            raise DataError(f"{', '.join(unknown)} occurs in no structure that is trained on")


def merge_bases(first: Basis, second: Basis) -> Basis:
    """One basis for both.

    Raises
    ------
    DataError
        If an element has other shells.
    """
    for z, shells in second.shells.items():
        if first.shells.get(z, shells) != shells:
            raise DataError(f"shells {second.to_symbols()}, the structures before it have {first.to_symbols()}")
    return Basis({**first.shells, **second.shells}, first.spin)
