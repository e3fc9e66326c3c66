"""What the H of a structure says about its magnetism: sizes of the parts of the spin, time reversal, moments of the elements."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Spin
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.physics.potential import PAULI
from deeph.physics.spin_parts import PartName, split_spin
from deeph.physics.system import SYMBOLS, FloatArray, IntArray

TIME_ODD = 1e-3
"""eV; a part of H that is odd under time reversal and nowhere larger is noise of the run (OpenMX without magnetism: 1e-7)."""
SPIN_ORBIT, NO_SPIN_ORBIT = 1e-3, 1e-5
"""Largest element of the spin-orbit part of H (eV) that says that there is such coupling, and that there is none; light elements alone may
have one between the two, which is learned."""
OWN = 0.25
"""Atoms with at least this share of the largest moment have a moment of their own; smaller ones are induced, or none."""
MOMENT = 0.02
"""Atoms with smaller moments are not magnetic, Bohr magneton."""
WEAK = 0.01
"""Of the mean moment of an element; in sets of weak magnets smaller moments than :data:`MOMENT` count, down to this."""
NO_MOMENT = 1e-3
"""Bohr magneton; exchange fields are about 0.4 eV for each, so that :data:`TIME_ODD` takes more than this."""

Moments = dict[int, tuple[float, float]]
"""Smallest and largest moment of the atoms of each element, Bohr magneton."""


def largest_parts(H: PairBlocks, spin: Spin) -> dict[PartName, float]:
    """Largest element of each part of :func:`deeph.physics.spin_parts.split_spin`, eV; the parts that this kind of spin has."""
    out: dict[PartName, float] = {}
    for _, members in H.groups():
        for name, part in split_spin(H.take(members), spin).items():
            out[name] = max(out.get(name, 0.0), float(np.abs(part).max(initial=0.0)))
    return out


@dataclass(frozen=True)
class Magnetism:
    """The spin of one structure, in numbers.

    Attributes
    ----------
    parts : dict of str to float
        Largest element of each part of H, eV; see :func:`largest_parts`.
    moments : dict of int to (float, float), or None
        Smallest and largest moment of the atoms of each element, Bohr magneton; None where they are not recorded.
    """

    parts: dict[PartName, float]
    moments: Moments | None

    @classmethod
    def of(cls, data: Hamiltonian) -> "Magnetism":
        """Of a structure with or without H."""
        parts = {} if data.H is None else largest_parts(data.H, data.basis.spin)
        if data.moments is None:
            return cls(parts, None)
        size = np.linalg.norm(data.moments, axis=1)
        of_element = {z: size[data.system.numbers == z] for z in dict.fromkeys(data.system.numbers.tolist())}
        return cls(parts, {z: (float(one.min()), float(one.max())) for z, one in of_element.items()})

    @property
    def time_odd(self) -> float:
        """Largest element of the parts that are odd under time reversal, eV."""
        return max(self.parts.get("A", 0.0), self.parts.get("B0", 0.0))

    @property
    def time_reversal(self) -> bool:
        """Whether H keeps it, up to noise."""
        return self.time_odd <= TIME_ODD

    @property
    def largest_moment(self) -> float:
        """Bohr magneton; 0 where none is recorded."""
        return max((high for _, high in (self.moments or {}).values()), default=0.0)


def has_own(sizes: FloatArray, largest: float) -> npt.NDArray[np.bool_]:
    """Which moments are those of their own atom, by their size beside the largest one of the structure, or of all structures."""
    return np.asarray(sizes >= OWN * largest)


def own_moments(moments: FloatArray, numbers: IntArray, magnetic: Mapping[int, float]) -> FloatArray:
    """The moments of magnetic atoms alone; zero where others induce them, or a run without magnetism leaves them as noise.

    Parameters
    ----------
    moments : (n_atoms, 3) array
        Bohr magneton.
    numbers : (n_atoms,) int array
        Atomic numbers.
    magnetic : mapping of int to float
        The magnetic elements, and the mean moment of their magnetic atoms.
    """
    least = np.array([min(MOMENT, WEAK * magnetic[z]) if z in magnetic else np.inf for z in numbers.tolist()])
    return np.where((np.linalg.norm(moments, axis=1) >= least)[:, None], moments, 0.0)


def moments_text(moments: Moments) -> str:
    """Such as ``Cr 3.41 to 3.56, I 0.10 to 0.18``: the elements that are magnetic, or ``none above 0.02``."""
    magnetic = {z: ends for z, ends in moments.items() if ends[1] >= MOMENT}
    listed = (f"{SYMBOLS[z]} {low:.2f}{f' to {high:.2f}' if high - low >= 0.005 else ''}" for z, (low, high) in magnetic.items())
    return ", ".join(listed) or f"none above {MOMENT}"


def exchange_fields(data: Hamiltonian) -> FloatArray:
    """(n_atoms, 3) b_i = 1/2 tr(sigma H_ii) of the on-site block of each atom, eV; 0 without spin, along z if it is collinear."""
    out = np.zeros((data.system.n_atoms, 3))
    if data.H is None or data.basis.spin == "none":
        return out
    H = data.H if data.basis.spin == "spinor" else data.H.to_spinor()
    own = H.selected(np.flatnonzero(is_onsite(H.pairs)))
    for _, members in own.groups():
        blocks = own.take(members)[0]
        n = blocks.shape[-1] // 2
        spin = np.einsum("asmtm->ast", blocks.reshape(-1, 2, n, 2, n))
        out[own.pairs[members, 3]] = np.einsum("ast,cts->ac", spin, PAULI).real / 2
    return out
