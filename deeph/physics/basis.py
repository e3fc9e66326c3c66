"""The localized basis: which shells each element carries, and how spin enters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import index
from typing import Literal

import numpy as np
import numpy.typing as npt

from deeph.physics.system import NUMBERS, SYMBOLS
from deeph.runtime.errors import DataError

IntArray = npt.NDArray[np.int64]
Spin = Literal["none", "collinear", "spinor"]
"""``none``: one real H. ``collinear``: two real H, up and down. ``spinor``: one complex H, blocks [[uu, ud], [du, dd]]."""


LETTERS = "spdfghiklmnoqrtuvwxyz"
"""Of angular momenta, from 0."""
MAX_L = 20
"""Largest angular momentum; no basis comes near it, a damaged file does."""


@dataclass(frozen=True)
class Basis:
    """Shells per element and the kind of spin.

    Attributes
    ----------
    shells : mapping of atomic number to tuple of int
        Angular momentum of each radial shell, e.g. ``{6: (0, 0, 1, 1, 2)}`` for C6.0-s2p2d1.
    spin : {"none", "collinear", "spinor"}
        How H depends on spin. The overlap never does.
    """

    shells: Mapping[int, tuple[int, ...]]
    spin: Spin = "none"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "shells", {int(z): tuple(index(l) for l in ls) for z, ls in self.shells.items()})
        except TypeError as error:
            raise DataError(f"shells {dict(self.shells)}: expected lists of whole numbers") from error
        if self.spin not in ("none", "collinear", "spinor"):
            raise DataError(f"spin {self.spin!r}: expected none, collinear or spinor")
        for z, ls in self.shells.items():
            if not ls or min(ls) < 0 or max(ls) > MAX_L:
                raise DataError(f"{SYMBOLS[z]}: shells {ls}, expected at least one, and l from 0 to {MAX_L}")

    def __repr__(self) -> str:
        elements = (f"{SYMBOLS[z]} {shells_text(ls)}" for z, ls in self.shells.items())
        return f"Basis {', '.join(elements)}, spin {self.spin}"

    @classmethod
    def from_symbols(cls, shells: Mapping[str, Sequence[int]], spin: Spin = "none") -> "Basis":
        """Build from ``{"C": [0, 0, 1, 1, 2]}``."""
        unknown = [s for s in shells if s not in NUMBERS]
        if unknown:
            raise DataError(f"unknown element {unknown[0]!r} in the orbital map")
        return cls({NUMBERS[s]: tuple(ls) for s, ls in shells.items()}, spin)

    def to_symbols(self) -> dict[str, list[int]]:
        """The shells as ``{"C": [0, 0, 1, 1, 2]}``."""
        return {SYMBOLS[z]: list(ls) for z, ls in self.shells.items()}

    @property
    def spin_factor(self) -> int:
        """Size of a block of H relative to a block of S: 2 for spinors, else 1."""
        return 2 if self.spin == "spinor" else 1

    @property
    def n_spin(self) -> int:
        """Number of spin channels that are diagonalized separately."""
        return 2 if self.spin == "collinear" else 1

    def n_orbitals(self, numbers: IntArray) -> IntArray:
        """(n_atoms,) spatial orbitals of each atom.

        Raises
        ------
        DataError
            If an element has no shells in this basis.
        """
        table = np.full(len(SYMBOLS), -1)
        for z, ls in self.shells.items():
            table[z] = sum(2 * l + 1 for l in ls)
        counts = table[numbers]
        if (counts < 0).any():
            missing = SYMBOLS[int(numbers[np.argmax(counts < 0)])]
            raise DataError(f"no orbitals known for {missing}; the basis holds {', '.join(self.to_symbols())}")
        return counts

    def restricted(self, numbers: IntArray) -> "Basis":
        """Only the elements that occur, in order of first appearance; an error if one of them has no shells."""
        self.n_orbitals(numbers)
        return Basis({z: self.shells[z] for z in dict.fromkeys(int(n) for n in numbers)}, self.spin)


def shells_text(shells: Sequence[int]) -> str:
    """``s2p2d1`` for the shells 0, 0, 1, 1, 2, in their order."""
    return "".join(f"{LETTERS[l]}{len(list(same))}" for l, same in groupby(shells))
