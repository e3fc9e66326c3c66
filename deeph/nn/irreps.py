"""Angular momentum bookkeeping: couplings, and the labels that features and blocks carry in the frame of a bond.

A bond i-j has the symmetry group D_inf,h of a homonuclear diatomic molecule when its ends are exchanged together with their
elements: rotations about the bond (order m), mirrors containing it (+/-), and the exchange of the ends combined with the mirror
across it (g/u). Features on a bond therefore fall into the *sectors* of molecular term symbols,

    Sigma+ (m = 0, even under the mirrors), Sigma- (m = 0, odd), Pi (m = 1), Delta (m = 2), Phi (m = 3), ...

each split into g and u, and a linear map that respects the symmetry is one real matrix per sector and parity, applied alike
to the two components (cos m phi, sin m phi). This is the SO(2) convolution (Passaro & Zitnick, ICML 2023) reduced by the mirror and by the
exchange: exact, a quarter of the work, and H_ji = H_ij^dagger by construction.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from itertools import product
from typing import NamedTuple

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


def inversion_sign(l_max: int) -> IntArray:
    """((l_max+1)^2,) the parity (-1)^l of each component of a feature of natural parity."""
    return np.asarray((-1) ** harmonic_l(l_max))


class Irrep(NamedTuple):
    """An irrep of the symmetry of a bond inside a space of components.

    Attributes
    ----------
    m : int
        Charge: order under rotations about the bond.
    mirror : int
        Sign under the mirror xz if m = 0; 1 for m > 0, where it leaves cos and reverses sin.
    exchange : int
        Sign under the mirror across the bond.
    orders : tuple of int
        Charges of the factors it was coupled from.
    components : (1 or 2, dim) array
        Orthonormal rows, (cos, sin) for m > 0.
    """

    m: int
    mirror: int
    exchange: int
    orders: tuple[int, ...]
    components: FloatArray

    @property
    def sector(self) -> int:
        """0 Sigma+, 1 Sigma-, 1 + m for m > 0."""
        return 1 + self.m if self.m else int(self.mirror < 0)


def shell(l: int) -> list[Irrep]:
    """The real harmonics of a shell, m = -l..l, by |m|."""
    e = np.eye(2 * l + 1)
    return [Irrep(m, 1, (-1) ** (l + m), (m,), e[[l]] if m == 0 else e[[l + m, l - m]]) for m in range(l + 1)]


SPIN = [
    Irrep(0, -1, 1, (0,), np.array([[0.0, 0.0, 1.0]])),
    Irrep(1, 1, -1, (1,), np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])),
]
"""Pauli matrices x, y, z, an axial vector: sigma_z is Sigma-, (cos, sin) of Pi is (sigma_y, -sigma_x)."""


def couple(first: Sequence[Irrep], second: Sequence[Irrep]) -> list[Irrep]:
    """All irreps of the product of two spaces, over the pairs of their components (those of the second one run fastest).

        m + n:   (cc - ss)/sqrt2, (sc + cs)/sqrt2        |m - n|:  (cc + ss)/sqrt2, +-(sc - cs)/sqrt2        m or n = 0: as they are

    A factor Sigma- turns (c, s) into (s, -c). The components together are an orthogonal matrix.
    """
    out, h = [], np.sqrt(0.5)
    for a, b in product(first, second):
        labels = (a.exchange * b.exchange, a.orders + b.orders)

        def both(i: int, j: int, a: Irrep = a, b: Irrep = b) -> FloatArray:
            return np.kron(a.components[i], b.components[j])

        if a.m == 0 and b.m == 0:
            out.append(Irrep(0, a.mirror * b.mirror, *labels, both(0, 0)[None]))
        elif a.m == 0 or b.m == 0:
            c, s = both(0, 0), both(0, 1) if a.m == 0 else both(1, 0)
            out.append(Irrep(a.m + b.m, 1, *labels, np.stack([c, s] if a.mirror * b.mirror == 1 else [s, -c])))
        else:
            cc, cs, sc, ss = both(0, 0), both(0, 1), both(1, 0), both(1, 1)
            even, odd = h * (cc + ss), h * (sc - cs) * (1 if a.m >= b.m else -1)
            out.append(Irrep(a.m + b.m, 1, *labels, h * np.stack([cc - ss, sc + cs])))
            if a.m == b.m:
                out += [Irrep(0, 1, *labels, even[None]), Irrep(0, -1, *labels, odd[None])]
            else:
                out.append(Irrep(abs(a.m - b.m), 1, *labels, np.stack([even, odd])))
    return out


class BlockIrreps:
    """A block between two shells, alone or with the three Pauli matrices, split into irreps of the bond.

    Parameters
    ----------
    l1, l2 : int
        The shells.
    spin : bool
        Whether the block carries a Pauli matrix; its elements are then (m1, m2, a).
    antisymmetric : bool
        Whether H_ij(R) becomes minus the transpose of H_ji(-R), as the parts B0 and B_a of a Hermitian matrix do.

    Attributes
    ----------
    sector : (n,) int array
        Sector of each combination: 0 Sigma+, 1 Sigma-, 1 + m for m > 0.
    slot : (n,) int array
        Running number of the irrep inside the block; the two components of one irrep share it.
    component : (n,) int array
        0 or 1 (cos or sin of the charge).
    orders : (n, 2 or 3) int array
        |m1|, |m2|, and the charge of the Pauli matrix.
    matrix : (n, n) array
        Orthogonal map from elements (row-major) to combinations.
    exchange : (n,) int array
        Sign of each combination under the mirror across the bond.
    transposed : (n,) int array, (n,) array
        Which combination of the block (l2, l1) each one becomes when the ends are exchanged, and its sign:
        H_ij[a m1, b m2] = +-(-1)^(l1+m1+l2+m2) s_a H_ji[b m2, a m1], both in the frame of their own bond direction, with - if
        antisymmetric, and the sign s_a of the mirror across the bond on an axial vector, - of sigma_x and sigma_y.
    """

    def __init__(self, l1: int, l2: int, *, spin: bool = False, antisymmetric: bool = False) -> None:
        irreps = _block(l1, l2, spin=spin)
        self.l1, self.l2, self.spin, self.antisymmetric = l1, l2, spin, antisymmetric
        table = np.array([(one.sector, slot, c, *one.orders) for slot, one in enumerate(irreps) for c in range(len(one.components))])
        self.sector, self.slot, self.component, self.orders = table[:, 0], table[:, 1], table[:, 2], table[:, 3:]
        self.matrix: FloatArray = np.concatenate([irrep.components for irrep in irreps])
        self.exchange = np.concatenate([[irrep.exchange] * len(irrep.components) for irrep in irreps])

    @cached_property
    def transposed(self) -> tuple[IntArray, FloatArray]:
        """See above."""
        rows, columns, n_spin = 2 * self.l1 + 1, 2 * self.l2 + 1, 3 if self.spin else 1
        place = np.arange(rows * columns * n_spin).reshape(columns, rows, n_spin).swapaxes(0, 1).ravel()
        other = np.concatenate([irrep.components for irrep in _block(self.l2, self.l1, spin=self.spin)])
        between = self.matrix @ other[:, place].T
        index = np.abs(between).argmax(axis=1)
        sign = np.round(between[np.arange(len(index)), index]) * self.exchange
        return index, -sign if self.antisymmetric else sign


@cache
def _block(l1: int, l2: int, *, spin: bool) -> list[Irrep]:
    irreps = couple(shell(l1), shell(l2))
    return couple(irreps, SPIN) if spin else irreps
