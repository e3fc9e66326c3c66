"""Common cells of turned lattices.

In a hexagonal lattice the vector m a1 + n a2 is the complex number a (m + n w) with w = exp(i pi/3), in a square one with w = i.
Lattices that are turned against each other have a common cell of the same symmetry if each has a vector z_i = m_i + n_i w with the same
length a_i |z_i|; layer i is then turned by arg(z_1) - arg(z_i) against layer 1. Two equal layers with (m, n) and (n, m):
cos(angle) = (m^2 + 4 m n + n^2) / (2 (m^2 + m n + n^2)) in the hexagonal lattice, m^2 + m n + n^2 cells in each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from preprocess.structures.monolayer import Kind, Monolayer

EQUAL = 1e-6
"""Strain that is not worth the name: digits of a lattice constant in a file."""
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
        With a number, the smallest cell whose angles differ by no more degrees; otherwise the cell nearest to the angles.
    """

    angles: tuple[float, ...]
    max_atoms: int
    max_strain: float = 0.0
    tolerance: float | None = None


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
    kind = layers[0].kind
    if kind == "oblique" or any(layer.kind != kind for layer in layers):
        kinds = ", ".join(f"{layer.name} {layer.kind}" for layer in layers)
        raise UsageError(f"lattices {kinds}: expected all hexagonal or all square. Others can be stacked with --matrix, layer by layer")
    a = np.array([layer.constant for layer in layers])
    atoms = np.array([len(layer.numbers) for layer in layers])
    strain = max(wish.max_strain, EQUAL)
    longest = np.sqrt(wish.max_atoms / (atoms / a**2).sum()) * (1 + strain) * (1 + 1e-9)
    w = np.exp(1j * np.pi / 3) if kind == "hexagonal" else 1j
    tables = [_lattice_vectors(longest * (1 + 2 * strain) / one, w) for one in a]
    first = tables[0]
    z1 = first[0] + first[1] * w
    sector = np.flatnonzero((first[0] > 0) & (first[1] >= 0) & (abs(z1) * a[0] <= longest))
    best: tuple[tuple[float, ...], list[Vector]] | None = None
    for p in sector:
        found = [_partner(z1[p] * a[0], table, w, one, angle, strain)
                 for table, one, angle in zip(tables[1:], a[1:], np.subtract(wish.angles[1:], wish.angles[0]), strict=True)]  # fmt: skip
        vectors = [(int(first[0, p]), int(first[1, p])), *(vector for vector, _, _ in found if vector)]
        n_atoms = int(sum(n * abs(m + k * w) ** 2 for n, (m, k) in zip(atoms, vectors, strict=False)) + 0.5)
        if len(vectors) < len(layers) or n_atoms > wish.max_atoms:
            continue
        off = round(max((abs(d) for _, d, _ in found), default=0.0), 7)
        within = wish.tolerance is not None and off <= wish.tolerance
        score = (0.0 if within else off, n_atoms, off, max((abs(e) for _, _, e in found), default=0.0))
        if best is None or score < best[0]:
            best = score, vectors
    if best is None or (wish.tolerance is not None and best[0][0] > 0):
        raise UsageError(_nothing_found(layers, wish, best[0] if best else None))
    return best[1]


def _lattice_vectors(radius: float, w: complex) -> IntArray:
    """(2, n) integers of all lattice vectors up to a length (in lattice constants), ascending in length, without zero."""
    n = int(np.ceil(radius / np.imag(w))) + 1
    points = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij")).reshape(2, -1)
    lengths = abs(points[0] + points[1] * w)
    order = np.argsort(lengths, kind="stable")
    inside = order[(lengths[order] > 0.5) & (lengths[order] <= radius)]
    return np.asarray(points[:, inside])


def _partner(z1: complex, table: IntArray, w: complex, constant: float, angle: float, strain: float) -> tuple[Vector | None, float, float]:
    """The vector of a layer with nearly the length of ``z1`` (Angstrom) whose angle comes nearest; its error in degrees, its strain."""
    z = constant * (table[0] + table[1] * w)
    lengths = abs(z)
    low, high = np.searchsorted(lengths, [abs(z1) / (1 + strain) - 1e-9, abs(z1) / (1 - strain) + 1e-9])
    if low == high:
        return None, np.inf, np.inf
    off: FloatArray = (np.degrees(np.angle(z1 / z[low:high])) - angle + 180) % 360 - 180
    strains = abs(z1) / lengths[low:high] - 1
    pick = int(np.lexsort((abs(strains), np.round(abs(off), 7)))[0])
    return (int(table[0, low + pick]), int(table[1, low + pick])), float(off[pick]), float(strains[pick])


def _nothing_found(layers: Sequence[Monolayer], wish: Wish, best: tuple[float, ...] | None) -> str:
    constants = ", ".join(f"{layer.constant:.4f}" for layer in layers)
    text = f"no common cell of lattices {constants} Angstrom within {wish.max_atoms} atoms and {wish.max_strain:.2%} strain"
    if best is None:
        return f"{text}; allow more with --max-atoms or --max-strain"
    return f"{text} within {wish.tolerance:g} degrees; the nearest is {best[0]:.4f} off, allow more with --tolerance or --max-atoms"
