"""What training asks of a set of structures; ``deeph-train --check``, ``deeph-train`` and ``deeph-inspect`` ask it here."""

from dataclasses import dataclass, field

import numpy as np

from deeph.physics.basis import Basis, Spin
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import MOMENT, NO_MOMENT, NO_SPIN_ORBIT, SPIN_ORBIT, Magnetism, Moments, moments_text
from deeph.physics.soundness import check_apart, check_blocks, check_finite, check_hermitian
from deeph.physics.spin_parts import PartName
from deeph.physics.system import SYMBOLS
from deeph.runtime.errors import DataError

MAX_ASYMMETRY = 1e-3
"""Accepted |M - M^dagger| of H (eV) and S: the network learns one of two partners and takes the other for its adjoint."""
KINDS: dict[Spin, str] = {"none": "without spin", "collinear": "collinear", "spinor": "of spinors (non-collinear or spin-orbit)"}
"""What H is, by the kind of spin."""
WHERE_MOMENTS = (
    "convert the run with deeph-preprocess where the code writes moments or its density matrix (OpenMX and PySCF always; SIESTA with .DM; "
    "ABACUS with out_mul 1; FHI-aims with 'output mulliken'), or write magnetic_moments_muB (three numbers for each atom, Bohr "
    "magneton) into info.json"
)


class MissingError(DataError):
    """What training needs and the data lack, which may be sound and serve other ends."""


class NoMomentsError(MissingError):
    """A magnetic structure without moments."""


def check_trainable(data: Hamiltonian) -> Magnetism:
    """One structure by itself can be learned; returns what its H and moments say about magnetism.

    Raises
    ------
    MissingError
        If it has no H or a predicted one, is an atom alone, or magnetic without moments.
    DataError
        If it has NaN, lacks blocks, has two atoms at one place, or moments that contradict H.
    """
    if data.H is None:
        raise MissingError("no H to learn: hamiltonian.h5 is missing")
    if data.predicted:
        raise MissingError("its H is a prediction (hamiltonian_pred.h5); a model learns from that of DFT, hamiltonian.h5")
    check_finite(data)
    if data.system.n_atoms == 1 and data.S.n_pairs == 1:
        raise MissingError("one atom alone, no pairs: nothing to learn; if it is a crystal, its cell is in other units")
    check_blocks(data)
    check_apart(data)
    check_hermitian(data, MAX_ASYMMETRY)
    magnetism = Magnetism.of(data)
    check_moments(data, magnetism)
    return magnetism


def check_moments(data: Hamiltonian, magnetism: Magnetism) -> None:
    """Moments, from which the network predicts what is odd under time reversal, are there where H has such a part.

    Raises
    ------
    NoMomentsError
        If H breaks time reversal and no moments are recorded.
    DataError
        If they are all zero then, or those of a collinear H are not along z.
    """
    if not magnetism.time_reversal:
        broken = f"H breaks time reversal by up to {magnetism.time_odd:.3g} eV, so the structure is magnetic"
        if magnetism.moments is None:
            raise NoMomentsError(f"{broken}, but has no moments; the network needs the moments as input: {WHERE_MOMENTS}")
        if magnetism.largest_moment < NO_MOMENT:
            size = f"no recorded moment is larger than {magnetism.largest_moment:.2g} Bohr magneton"
            raise DataError(f"{broken}, but {size}: they are those of another run, or the spin layout of H is wrong")
    if data.basis.spin == "collinear" and data.moments is not None:
        aside = float(np.abs(data.moments[:, :2]).max(initial=0.0))
        if aside >= MOMENT:
            raise DataError(f"H is collinear, with spins along z, but a moment has {aside:.3g} Bohr magneton across z")


@dataclass(frozen=True)
class Member:
    """What a training set has to know of a structure once it was looked at: its basis, with the kind of spin, and its magnetism."""

    basis: Basis
    magnetism: Magnetism


@dataclass
class TrainingSet:
    """What structures have in common; they are added one after the other, those to train on first.

    Attributes
    ----------
    basis : Basis
        Of all of them.
    trained : set of int
        Elements that are trained on.
    moments : dict of int to (float, float)
        Smallest and largest moment of each element where they are recorded, Bohr magneton.
    n, n_magnetic : int
        Structures, and those of them whose H breaks time reversal.
    spin_orbit : float
        Largest element of the spin-orbit part of H of all structures, eV.
    with_spin_orbit, without_spin_orbit : set of sets of int
        Elements of the structures of spinors with and without spin-orbit coupling.
    """

    basis: Basis = field(default_factory=lambda: Basis({}, "none"))
    trained: set[int] = field(default_factory=set)
    moments: Moments = field(default_factory=dict)
    n: int = 0
    n_magnetic: int = 0
    spin_orbit: float = 0.0
    with_spin_orbit: set[frozenset[int]] = field(default_factory=set)
    without_spin_orbit: set[frozenset[int]] = field(default_factory=set)

    def add(self, data: Hamiltonian, *, train: bool) -> None:
        """Add a structure to train on, or to validate or test with.

        Raises
        ------
        DataError
            If it cannot be learned, or does not belong to the others.
        """
        self.add_member(Member(data.basis, check_trainable(data)), train=train)

    def add_member(self, member: Member, *, train: bool) -> None:
        """The same of a structure of which no more is left.

        Raises
        ------
        DataError
            If it does not belong to the others.
        """
        self.basis = merge_bases(self.basis, member.basis)
        self.trained |= set(member.basis.shells) if train else set()
        unknown = sorted(SYMBOLS[z] for z in set(member.basis.shells) - self.trained)
        if unknown:
            raise DataError(f"{', '.join(unknown)} occurs in no structure that is trained on")
        self._add_spin_orbit(frozenset(member.basis.shells), member.magnetism.parts.get("B"))
        self.n += 1
        self.n_magnetic += not member.magnetism.time_reversal
        for z, (low, high) in (member.magnetism.moments or {}).items():
            first, last = self.moments.get(z, (low, high))
            self.moments[z] = min(low, first), max(high, last)

    def _add_spin_orbit(self, elements: frozenset[int], size: float | None) -> None:
        """Elements that have spin-orbit coupling (largest element of H in eV) in one structure have it in all, or settings differ."""
        if size is None:
            return
        self.spin_orbit = max(size, self.spin_orbit)
        if NO_SPIN_ORBIT < size < SPIN_ORBIT:
            return
        if size >= SPIN_ORBIT:
            self.with_spin_orbit.add(elements)
            contradicted = any(elements <= others for others in self.without_spin_orbit)
        else:
            self.without_spin_orbit.add(elements)
            contradicted = any(others <= elements for others in self.with_spin_orbit)
        if contradicted:
            raise DataError(
                f"the spin-orbit part of H is {size:.3g} eV at most, but structures before it with the same elements have "
                f"{'none' if size >= SPIN_ORBIT else 'one'}: some runs are without spin-orbit coupling; compute all with the same settings"
            )

    @property
    def parts(self) -> list[PartName]:
        """Those of H that a network has to have features for: spin-free, exchange field, spin-orbit coupling."""
        magnetic: list[PartName] = ["A"] if self.n_magnetic else []
        coupled: list[PartName] = ["B"] if self.spin_orbit > NO_SPIN_ORBIT else []
        return ["A0", *magnetic, *coupled]

    @property
    def spin_text(self) -> str:
        """The kind of spin, spin-orbit coupling, whether time reversal holds, and the moments of the magnetic elements."""
        if self.basis.spin == "none":
            return "none"
        kind = "collinear"
        if self.basis.spin == "spinor":
            kind = f"spinors {'with' if self.spin_orbit > NO_SPIN_ORBIT else 'without'} spin-orbit coupling"
        if not self.n_magnetic:
            return f"{kind}; H keeps time reversal: not magnetic"
        share = "" if self.n_magnetic == self.n else f" in {self.n_magnetic} of {self.n} structures"
        return f"{kind}; H breaks time reversal{share}: moments (Bohr magneton) {moments_text(self.moments)}"


def merge_bases(first: Basis, second: Basis) -> Basis:
    """One basis for both.

    Raises
    ------
    DataError
        If the kind of spin is another, or an element has other shells.
    """
    if not first.shells:
        return second
    if first.spin != second.spin:
        raise DataError(
            f"H is {KINDS[second.spin]}, in the structures before it {KINDS[first.spin]}: these are different matrices, and a model learns "
            f"one kind. Choose it (deeph-inspect --filter spin={first.spin}), or compute all with the same settings; runs without "
            "spin-orbit coupling may also be converted as spinors (deeph-preprocess --spinor)"
        )
    for z, shells in second.shells.items():
        if first.shells.get(z, shells) != shells:
            raise DataError(f"shells {second.to_symbols()}, the structures before it have {first.to_symbols()}")
    return Basis({**first.shells, **second.shells}, first.spin)
