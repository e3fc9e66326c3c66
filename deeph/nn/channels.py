"""How many channels the features have, by their labels: parity, time reversal, and whether they carry a spin vector.

Atom features are tensors (n_atoms, K, n) with K = (l_max+1)^2 components by l and m; the last axis runs over the families, in each over
the components of its spin vector, and over its channels. A feature of *natural* parity transforms like a harmonic, (-1)^l; a *pseudo*
feature with the opposite sign. Odd ones change sign under time reversal, as a magnetic moment does. A spin vector is carried along as it
is: no frame of a bond ever turns it, so that a network without spin-orbit coupling is covariant under O(3) of space and, apart from it,
SU(2) of spin.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple


class Sort(NamedTuple):
    """What linear maps never mix.

    Attributes
    ----------
    odd : bool
        Whether the features change sign under time reversal.
    vector : bool
        Whether they are spin vectors.
    """

    odd: bool = False
    vector: bool = False

    def times(self, other: "Sort") -> "Sort":
        """The label of a product; that of two spin vectors is their scalar product."""
        return Sort(self.odd != other.odd, self.vector != other.vector)


SCALAR, MAGNETIC, EXCHANGE = Sort(), Sort(odd=True), Sort(odd=True, vector=True)
"""Even; odd under time reversal; spin vectors odd under time reversal."""


@dataclass(frozen=True)
class Family:
    """Features with the same labels.

    Attributes
    ----------
    sort : Sort
        Time reversal and spin.
    pseudo : bool
        Whether the parity is -(-1)^l.
    number : int
        Channels per l.
    n_spin : int
        Components of the spin vector; 1 where there is none, or where all spins are collinear.
    """

    sort: Sort
    pseudo: bool
    number: int
    n_spin: int = 1

    @property
    def width(self) -> int:
        """Numbers per component (l, m)."""
        return self.number * self.n_spin


@dataclass(frozen=True)
class Channels:
    """The families of some features: for each sort the natural ones, then the pseudo ones.

    Attributes
    ----------
    families : tuple of Family
        Sort by sort.
    """

    families: tuple[Family, ...]

    @classmethod
    def of(
        cls, natural: int, pseudo: int, magnetic: tuple[int, int] | None = None, exchange: tuple[int, int] | None = None, n_spin: int = 3
    ) -> "Channels":
        """Even features; and odd ones, and spin vectors with ``n_spin`` components, where (natural, pseudo) numbers are given."""
        numbers = [(SCALAR, (natural, pseudo), 1), (MAGNETIC, magnetic, 1), (EXCHANGE, exchange, n_spin)]
        return cls(tuple(Family(sort, bool(p), own[p], s) for sort, own, s in numbers if own is not None for p in (0, 1)))

    @property
    def sorts(self) -> list[Sort]:
        """The sorts that occur."""
        return list(dict.fromkeys(f.sort for f in self.families))

    def of_sort(self, sort: Sort) -> tuple[Family, Family]:
        """Natural and pseudo family of a sort."""
        natural, pseudo = (f for f in self.families if f.sort == sort)
        return natural, pseudo

    @property
    def total(self) -> int:
        """Channels of all families; the components of a spin vector share theirs."""
        return sum(f.number for f in self.families)

    @property
    def widths(self) -> list[int]:
        """Numbers of each family per component (l, m)."""
        return [f.width for f in self.families]

    def start(self, sort: Sort, *, pseudo: bool = False) -> int:
        """Where a family begins in the last axis of atom features."""
        place = next(n for n, f in enumerate(self.families) if f.sort == sort and f.pseudo == pseudo)
        return [0, *accumulate(self.widths)][place]

    def expanded(self) -> list[int]:
        """For each number in the last axis of atom features, its channel counted over all families; spin components share it."""
        out, first = list[int](), 0
        for f in self.families:
            out += list(range(first, first + f.number)) * f.n_spin
            first += f.number
        return out


class SectorRow(NamedTuple):
    """A sector of bond features of one sort.

    Attributes
    ----------
    sort : Sort
        Time reversal and spin.
    m : int
        Charge.
    components : int
        (cos, sin) times the components of the spin vector.
    channels : list of (l, channel)
        Of every feature; channels are counted over all families.
    """

    sort: Sort
    m: int
    components: int
    channels: list[tuple[int, int]]


def sectors(l_max: int, channels: Channels) -> list[SectorRow]:
    """Sigma+, Sigma-, Pi, Delta, ... of each sort.

    Pseudo channels, relabelled (cos, sin) -> (sin, -cos), mix with the natural ones at m > 0; at m = 0 they are Sigma-.
    """
    out, first = [], 0
    for sort in channels.sorts:
        natural, pseudo = channels.of_sort(sort)
        nat = range(first, first + natural.number)
        pse = range(first + natural.number, first + natural.number + pseudo.number)
        first += natural.number + pseudo.number
        s = natural.n_spin
        out += [SectorRow(sort, 0, s, _rows(0, l_max, nat)), SectorRow(sort, 0, s, _rows(0, l_max, pse))]
        out += [SectorRow(sort, m, 2 * s, _rows(m, l_max, nat) + _rows(m, l_max, pse)) for m in range(1, l_max + 1)]
    return out


def _rows(m: int, l_max: int, numbers: Sequence[int]) -> list[tuple[int, int]]:
    return [(l, c) for l in range(m, l_max + 1) for c in numbers]


def sector_sizes(rows: Iterable[SectorRow]) -> list[int]:
    """Channels of each sector."""
    return [len(row.channels) for row in rows]


class Move(NamedTuple):
    """Rows of one m of the two ends of a bond, and where their sum and difference go in the bond features.

    Attributes
    ----------
    part : int
        Family and spin component, see :func:`moves`.
    family : int
        The family alone.
    source : slice
        Of the flattened (K, number) components in the order of the bond frame.
    sector, component : int
        Where they go.
    even : int
        Exchange parity (0 g, 1 u) of what the ends have in common once that of j is multiplied by (-1)^l; the difference has the other one.
    place : slice
        Channels of the sector.
    radial : slice
        Of the flattened (l_max + 1, number) functions of the bond length.
    sign : int
        Of the relabelling (cos, sin) -> (sin, -cos).
    """

    part: int
    family: int
    source: slice
    sector: int
    component: int
    even: int
    place: slice
    radial: slice
    sign: int


def moves(l_max: int, channels: Channels) -> list[Move]:
    """How the components of both ends become bond features; the parts are the families, each spin component by itself."""
    out = list[Move]()
    part = 0
    for index, family in enumerate(channels.families):
        first = channels.sorts.index(family.sort) * (l_max + 2)
        natural = channels.of_sort(family.sort)[0].number
        for spin in range(family.n_spin):
            out += _moves_of(l_max, family, (part, index, spin), first, natural)
            part += 1
    return out


def _moves_of(l_max: int, family: Family, labels: tuple[int, int, int], first: int, natural: int) -> Iterator[Move]:
    part, index, spin = labels
    c, pseudo, start = family.number, int(family.pseudo), 0
    for m in range(l_max + 1):
        rows = l_max + 1 - m
        sector = first + (m + 1 if m else pseudo)
        begin = rows * natural if pseudo and m else 0
        place, radial = slice(begin, begin + rows * c), slice(m * c, (l_max + 1) * c)
        for component in range(2 if m else 1):
            # the mirror across the bond is (-1)^(l+m); a pseudo feature changes sign under it, so its g and u are exchanged
            run = start + rows * ((component ^ pseudo) if m else 0)
            source = slice(run * c, (run + rows) * c)
            sign = -1 if pseudo and component else 1
            yield Move(part, index, source, sector, component * family.n_spin + spin, (pseudo + m) % 2, place, radial, sign)
        start += rows * (2 if m else 1)
