"""Common cells of turned lattices.

In a hexagonal lattice the vector m a1 + n a2 is the complex number a (m + n w) with w = exp(i pi/3), in a square one with w = i.
Lattices that are turned against each other have a common cell of the same symmetry if each has a vector z_i = m_i + n_i w with the same
length a_i |z_i|; layer i is then turned by arg(z_1) - arg(z_i) against layer 1. Two equal layers with (m, n) and (n, m):
cos(angle) = (m^2 + 4 m n + n^2) / (2 (m^2 + m n + n^2)) in the hexagonal lattice, m^2 + m n + n^2 cells in each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from preprocess.structures.monolayer import Kind, Monolayer

PERIOD: dict[Kind, float] = {"hexagonal": 60.0, "square": 90.0}
"""Angle after which a lattice looks the same, degrees."""
EQUAL = 1e-6
"""Strain that is not worth the name: digits of a lattice constant in a file."""
NEAR = 0.1
"""How far the nearest cell may be off: this part of the angle, and no more than so many degrees."""
SEARCHED = 50_000
"""Up to this number of atoms, or four times the allowed one, a cell is looked for that would have been near enough."""
Vector = tuple[int, int]


@dataclass(frozen=True)
class Wish:
    """What a common cell should be like.

    Attributes
    ----------
    angles : tuple of float
        Of each layer, degrees; only differences to the first one matter.
    max_atoms : int
        Largest cell.
    max_strain : float
        Largest strain of any layer; the first one is not strained.
    tolerance : float or None
        With a number, the smallest cell whose angles differ by no more degrees; otherwise the cell nearest to the angles, none of which
        may be off by more than a tenth of itself (from the nearest angle of symmetry) or 0.1 degrees.
    """

    angles: tuple[float, ...]
    max_atoms: int
    max_strain: float = 0.0
    tolerance: float | None = None

    def accepted(self, kind: Kind) -> FloatArray:
        """(n_layers - 1,) largest accepted deviation of the angle of each layer above the first, degrees."""
        turns = np.subtract(self.angles[1:], self.angles[0])
        if self.tolerance is not None:
            return np.full(len(turns), self.tolerance)
        period = PERIOD[kind]
        return np.minimum(NEAR, NEAR * np.abs(turns - period * np.rint(turns / period))) + EQUAL


def cell_matrix(kind: Kind, vector: Vector) -> IntArray:
    """(2, 2) integer matrix of the cell spanned by a vector and the same turned by 60 (hexagonal) or 90 degrees (square)."""
    m, n = vector
    return np.array([[m, n], [-n, m + n if kind == "hexagonal" else m]])


def from_indices(vector: Vector, n_layers: int) -> list[Vector]:
    """(m, n) for the first layer, (n, m) for the second, and so on in turn.

    Raises
    ------
    UsageError
        If one of the indices is negative, or a smaller cell has the same angle.
    """
    m, n = vector
    if min(m, n) < 0 or max(m, n) == 0:
        raise UsageError(f"indices {m} {n}: expected two numbers, none negative and not both 0, such as 1 2 for 21.79 degrees")
    if gcd(m, n) > 1:
        raise UsageError(f"indices {m} {n} have a common divisor: {m // gcd(m, n)} {n // gcd(m, n)} is the same in a smaller cell")
    return [(m, n) if layer % 2 == 0 else (n, m) for layer in range(n_layers)]


def nearest(layers: Sequence[Monolayer], wish: Wish) -> list[Vector]:
    """The lattice vector of each layer that spans the best common cell.

    Raises
    ------
    UsageError
        If the lattices are not all hexagonal or all square, or no cell fulfils the wish.
    """
    kind = common_kind(layers)
    found = _search(layers, wish, kind)
    if found is None or (found[0] > wish.accepted(kind)).any():
        raise UsageError(_nothing_near(layers, wish, kind, found))
    return found[1]


def common_kind(layers: Sequence[Monolayer]) -> Kind:
    """The kind of lattice of all layers.

    Raises
    ------
    UsageError
        If they are not all hexagonal or all square.
    """
    kind = layers[0].kind
    if kind == "oblique" or any(layer.kind != kind for layer in layers):
        kinds = ", ".join(f"{layer.name} {layer.kind}" for layer in layers)
        raise UsageError(f"lattices {kinds}: expected all hexagonal or all square. Others can be stacked with --matrix, layer by layer")
    return kind


def _search(layers: Sequence[Monolayer], wish: Wish, kind: Kind) -> tuple[FloatArray, list[Vector]] | None:
    """How far each layer above the first is off (degrees), and the vectors, for the best cell within the atoms and the strain."""
    a = np.array([layer.constant for layer in layers])
    atoms = np.array([len(layer.numbers) for layer in layers])
    strain = max(wish.max_strain, EQUAL)
    longest = np.sqrt(wish.max_atoms / (atoms / a**2).sum()) * (1 + strain) * (1 + 1e-9)
    w = turn_of(kind)
    tables = [lattice_vectors(longest * (1 + 2 * strain) / one, w) for one in a]
    first = tables[0]
    z1 = first[0] + first[1] * w
    sector = np.flatnonzero((first[0] > 0) & (first[1] >= 0) & (abs(z1) * a[0] <= longest))
    partners = [one * (table[0] + table[1] * w) for one, table in zip(a[1:], tables[1:], strict=True)]
    lengths = [abs(z) for z in partners]
    accepted = wish.accepted(kind)
    best: tuple[tuple[float, ...], FloatArray, list[Vector]] | None = None
    for p in sector:
        found = [_partner(z1[p] * a[0], z, length, angle, strain)
                 for z, length, angle in zip(partners, lengths, np.subtract(wish.angles[1:], wish.angles[0]), strict=True)]  # fmt: skip
        picks = [tuple(table[:, n].tolist()) for table, (n, _, _) in zip(tables[1:], found, strict=True) if n is not None]
        vectors = [tuple(first[:, p].tolist()), *picks]
        n_atoms = int(sum(n * abs(m + k * w) ** 2 for n, (m, k) in zip(atoms, vectors, strict=False)) + 0.5)
        if len(vectors) < len(layers) or n_atoms > wish.max_atoms:
            continue
        off: FloatArray = np.array([round(abs(d), 7) for _, d, _ in found], np.float64)
        worst = float(off.max(initial=0.0))
        within = wish.tolerance is not None and bool((off <= accepted).all())
        score = (0.0 if within else worst, n_atoms, worst, max((abs(e) for _, _, e in found), default=0.0))
        if best is None or score < best[0]:
            best = score, off, vectors
    return None if best is None else best[1:]


def turn_of(kind: Kind) -> complex:
    """The second lattice vector in units of the first, as a complex number."""
    return complex(np.exp(1j * np.pi / 3)) if kind == "hexagonal" else 1j


def lattice_vectors(radius: float, w: complex) -> IntArray:
    """(2, n) integers of all lattice vectors up to a length (in lattice constants), ascending in length, without zero."""
    n = int(np.ceil(radius / np.imag(w))) + 1
    points = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij")).reshape(2, -1)
    lengths = abs(points[0] + points[1] * w)
    order = np.argsort(lengths, kind="stable")
    inside = order[(lengths[order] > 0.5) & (lengths[order] <= radius)]
    return np.asarray(points[:, inside])


def _partner(
    z1: complex, z: npt.NDArray[np.complex128], lengths: FloatArray, angle: float, strain: float
) -> tuple[int | None, float, float]:
    """Which of the vectors z (Angstrom, by ascending length) has nearly the length of ``z1`` and the nearest angle.

    Returns
    -------
    int or None, float, float
        Its place, its error in degrees, its strain.
    """
    low, high = np.searchsorted(lengths, [abs(z1) / (1 + strain) - 1e-9, abs(z1) / (1 - strain) + 1e-9])
    if low == high:
        return None, np.inf, np.inf
    off: FloatArray = (np.degrees(np.angle(z1 / z[low:high])) - angle + 180) % 360 - 180
    strains = abs(z1) / lengths[low:high] - 1
    pick = int(np.lexsort((abs(strains), np.round(abs(off), 7)))[0])
    return int(low) + pick, float(off[pick]), float(strains[pick])


def _nothing_near(layers: Sequence[Monolayer], wish: Wish, kind: Kind, best: tuple[FloatArray, list[Vector]] | None) -> str:
    """Why there is no cell, and the smallest one near the angles that more atoms would allow."""
    constants = ", ".join(f"{layer.constant:.4f}" for layer in layers)
    angles = ", ".join(f"{angle:g}" for angle in wish.angles)
    limits = f"within {wish.max_atoms} atoms and {wish.max_strain:.2%} strain"
    off = ", ".join(f"{x:.4f}" for x in wish.accepted(kind))
    text = f"no common cell of lattices {constants} Angstrom turned by {angles} degrees {limits} comes nearer than {off} degrees"
    if best is not None:
        text += f"; the nearest is {best[0].max():.4f} off"
    near = replace(wish, max_atoms=max(SEARCHED, 4 * wish.max_atoms), tolerance=float(wish.accepted(kind).min()))
    found = _search(layers, near, kind)
    if found is None or (found[0] > near.accepted(kind)).any():
        return f"{text}, and none up to {near.max_atoms} atoms does; allow more with --max-strain or --tolerance"
    n_atoms = count_atoms(layers, found[1], kind)
    return f"{text}. The smallest cell that near has {n_atoms} atoms: --max-atoms {n_atoms}, or a larger --tolerance"


def count_atoms(layers: Sequence[Monolayer], vectors: Sequence[Vector], kind: Kind) -> int:
    """Number of atoms in the common cell that a vector of each layer spans."""
    w = turn_of(kind)
    return round(sum(len(layer.numbers) * abs(m + n * w) ** 2 for layer, (m, n) in zip(layers, vectors, strict=True)))
