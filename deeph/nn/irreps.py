"""Angular momentum bookkeeping: couplings, and the labels that features and blocks carry in the frame of a bond.

A bond i-j has the symmetry group D_inf,h of a homonuclear diatomic molecule when its ends are exchanged together with their
elements: rotations about the bond (order m), mirrors containing it (+/-), and the exchange of the ends combined with the mirror
across it (g/u). Features on a bond therefore fall into the *sectors* of molecular term symbols,

    Sigma+ (m = 0, even under the mirrors), Sigma- (m = 0, odd), Pi (m = 1), Delta (m = 2), Phi (m = 3), ...

each split into g and u, and a linear map that respects the symmetry is one real matrix per sector and parity, applied alike
to the two components (cos m phi, sin m phi). This is the SO(2) convolution (Passaro & Zitnick, ICML 2023) reduced by the mirror and by the
exchange: exact, a quarter of the work, and H_ji = H_ij^dagger by construction.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> FloatArray:
    """(2 l1+1, 2 l2+1, 2 l3+1) real coupling, orthonormal over (m1, m2): sum C C = delta_m3m3'.

    Components are in the order m = -l..l of real harmonics (e3nn's tables, whose axes y, z, x are our x, y, z).
    """
    import torch
    from e3nn.o3 import wigner_3j

    table: FloatArray = wigner_3j(l1, l2, l3, dtype=torch.float64).numpy() * np.sqrt(2 * l3 + 1)
    return table


def couplings_fingerprint(l_max: int = 4) -> str:
    """Hash of the coupling tables' phases: a checkpoint refuses to run with other phases than it was trained with."""
    import hashlib

    text = "".join(
        ",".join(f"{x:.4f}" for x in np.round(clebsch_gordan(a, b, c).ravel(), 4) + 0.0)
        for a in range(3)
        for b in range(a, 3)
        for c in range(b - a, min(a + b, l_max) + 1)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def harmonic_l(l_max: int) -> IntArray:
    """((l_max+1)^2,) the l of each component of a feature ordered by l, then m = -l..l."""
    return np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)


@cache
def bond_rows(l_max: int) -> IntArray:
    """((l_max+1)^2,) components in the order of the bond frame.

    First m = 0 for l = 0..l_max; then for each m > 0 the cos components (+m) for l = m..l_max, then the sin components (-m).
    """
    order = [l * l + l for l in range(l_max + 1)]
    for m in range(1, l_max + 1):
        order += [l * l + l + m for l in range(m, l_max + 1)] + [l * l + l - m for l in range(m, l_max + 1)]
    return np.array(order)


@cache
def exchange_sign(l_max: int) -> FloatArray:
    """((l_max+1)^2,) effect (-1)^(l+m) of the mirror across the bond on natural-parity components, in bond order."""
    l = harmonic_l(l_max)
    m = np.arange(len(l)) - l * l - l
    sign = (-1.0) ** (l + m)
    return np.asarray(sign[bond_rows(l_max)])


def sector_sizes(l_max: int, natural: int, pseudo: int) -> list[int]:
    """Channels of each sector (Sigma+, Sigma-, Pi, Delta, ...) for features with so many channels per l.

    Pseudo channels have parity -(-1)^l; relabelled (cos, sin) -> (sin, -cos) they mix with the natural ones at m > 0.
    """
    return [(l_max + 1) * natural, (l_max + 1) * pseudo, *((l_max + 1 - m) * (natural + pseudo) for m in range(1, l_max + 1))]


class BlockIrreps:
    """A block between two shells, split into irreps of the bond.

    In the bond frame the element (m1, m2) of a block (l1, l2) has charges |m1| + |m2| and ||m1| - |m2||. The orthonormal combinations are

        |m1|+|m2|:   (cc - ss)/sqrt2, (sc + cs)/sqrt2        | |m1|-|m2| |:  (cc + ss)/sqrt2, +-(sc - cs)/sqrt2

    (c, s: the cos, sin orbital of each shell), and elements with m1 = 0 or m2 = 0 are irreps by themselves.

    Attributes
    ----------
    sector : (n,) int array
        Sector of each combination: 0 Sigma+, 1 Sigma-, 1 + m for m > 0.
    slot : (n,) int array
        Running number of the irrep inside the block; the two components of one irrep share it.
    component : (n,) int array
        0 or 1 (cos or sin of the charge).
    m1, m2 : (n,) int arrays
        Orders |m1|, |m2|.
    first, second : (n,) int arrays
        The elements (row-major) that are combined.
    weights : (n, 2) array
        Their coefficients; the map is orthogonal.
    """

    def __init__(self, l1: int, l2: int) -> None:
        rows: list[tuple[int, ...]] = []
        weights: list[tuple[float, float]] = []
        h = 1 / np.sqrt(2)

        def at(m1: int, m2: int) -> int:
            return (l1 + m1) * (2 * l2 + 1) + l2 + m2

        def add(sector: int, component: int, a: int, b: int, elements: tuple[int, int], weight: tuple[float, float]) -> None:
            rows.append((sector, slot, component, a, b, *elements))
            weights.append(weight)

        slot = 0
        for a in range(l1 + 1):
            for b in range(l2 + 1):
                cc, cs, sc, ss = at(a, b), at(a, -b), at(-a, b), at(-a, -b)
                if a == 0 and b == 0:
                    add(0, 0, a, b, (cc, cc), (1.0, 0.0))
                    slot += 1
                elif a == 0 or b == 0:
                    add(1 + a + b, 0, a, b, (cc, cc), (1.0, 0.0))
                    other = cs if a == 0 else sc
                    add(1 + a + b, 1, a, b, (other, other), (1.0, 0.0))
                    slot += 1
                else:
                    add(1 + a + b, 0, a, b, (cc, ss), (h, -h))
                    add(1 + a + b, 1, a, b, (sc, cs), (h, h))
                    slot += 1
                    sign = 1.0 if a >= b else -1.0
                    add(0 if a == b else 1 + abs(a - b), 0, a, b, (cc, ss), (h, h))
                    slot += a == b
                    add(1 if a == b else 1 + abs(a - b), int(a != b), a, b, (sc, cs), (sign * h, -sign * h))
                    slot += 1
        table = np.array(rows)
        self.sector, self.slot, self.component, self.m1, self.m2, self.first, self.second = table.T
        self.weights = np.array(weights)
        self.l1, self.l2 = l1, l2

    @property
    def transposed(self) -> tuple[IntArray, FloatArray]:
        """Which combination of the block (l2, l1) each combination of (l1, l2) becomes under exchange of the ends, and its sign.

        H_ij[a m1, b m2] = (-1)^(l1+m1+l2+m2) H_ji[b m2, a m1], both in the frame of their own bond direction.
        """
        other = BlockIrreps(self.l2, self.l1)
        size = (2 * self.l1 + 1) * (2 * self.l2 + 1)
        # the exchange acts on elements as a signed permutation; express it between the two sets of combinations
        m1, m2 = np.divmod(np.arange(size), 2 * self.l2 + 1)
        m1, m2 = m1 - self.l1, m2 - self.l2
        sign = (-1.0) ** (self.l1 + m1 + self.l2 + m2)
        place = (self.l2 + m2) * (2 * self.l1 + 1) + self.l1 + m1
        exchange = np.zeros((size, size))
        exchange[np.arange(size), place] = sign
        between = self.matrix() @ exchange @ other.matrix().T
        index = np.abs(between).argmax(axis=1)
        return index, np.round(between[np.arange(size), index])

    def matrix(self) -> FloatArray:
        """(n, n) orthogonal matrix from elements (row-major) to combinations."""
        n = len(self.slot)
        out = np.zeros((n, n))
        np.add.at(out, (np.arange(n), self.first), self.weights[:, 0])
        np.add.at(out, (np.arange(n), self.second), self.weights[:, 1])
        return out
