"""All common cells of two lattices in turn: the table behind ``deeph-structures cells`` and ``twist --atoms``."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeph.physics.system import IntArray
from deeph.runtime.errors import UsageError
from preprocess.structures.commensurate import EQUAL, PERIOD, Vector, common_kind, count_atoms, lattice_vectors, turn_of
from preprocess.structures.monolayer import Kind, Monolayer


class Cell(NamedTuple):
    """A common cell of a stack whose odd and even layers are turned against each other.

    Attributes
    ----------
    angle : float
        Of the even layers, from 0 up to the angle after which the lattice looks the same (60 or 90), degrees.
    n_atoms : int
        In all layers.
    strain : float
        Of the even layers.
    vectors : list of (m, n)
        Of each layer.
    """

    angle: float
    n_atoms: int
    strain: float
    vectors: list[Vector]


def commensurate_cells(layers: Sequence[Monolayer], max_atoms: int, max_strain: float = 0.0) -> list[Cell]:
    """The smallest cell of each angle, ascending in the angle.

    Parameters
    ----------
    layers : sequence of Monolayer
        The first, third, ... have one lattice, the second, fourth, ... one, perhaps another; all hexagonal or all square.
    max_atoms : int
        Largest cell.
    max_strain : float
        Largest strain of the even layers.

    Raises
    ------
    UsageError
        If there are not two layers or more of such lattices.
    """
    kind = common_kind(layers)
    if len(layers) < 2 or any(abs(layer.constant / layers[n % 2].constant - 1) > EQUAL for n, layer in enumerate(layers)):
        raise UsageError("cells are listed for two lattices in turn: two layers, or more that repeat their lattices")
    w, strain = turn_of(kind), max(max_strain, EQUAL)
    density = sum(len(layer.numbers) / layer.constant**2 for layer in layers)
    longest = np.sqrt(max_atoms / density) * (1 + strain)
    first, second = (_sector(lattice_vectors(longest * (1 + strain) / layer.constant, w)) for layer in layers[:2])
    z1, z2 = (layer.constant * (v[0] + v[1] * w) for layer, v in zip(layers[:2], (first, second), strict=True))
    best: dict[float, Cell] = {}
    for p in range(len(z1)):
        low, high = np.searchsorted(abs(z2), [abs(z1[p]) / (1 + strain) - 1e-9, abs(z1[p]) / (1 - strain) + 1e-9])
        for q in range(low, high):
            cell = _cell(layers, kind, (first[:, p], second[:, q]), complex(z1[p]), complex(z2[q]))
            key = round(cell.angle, 6)
            if cell.n_atoms <= max_atoms and (
                key not in best or (cell.n_atoms, abs(cell.strain)) < (best[key].n_atoms, abs(best[key].strain))
            ):
                best[key] = cell
    return sorted(best.values())


def cell_of(layers: Sequence[Monolayer], n_atoms: int, max_strain: float = 0.0) -> Cell:
    """The cell with a number of atoms and, of several, the smallest angle above zero.

    Raises
    ------
    UsageError
        If there is none.
    """
    if n_atoms < 1:
        raise UsageError(f"a cell of {n_atoms} atoms: expected at least one")
    cells = [cell for cell in commensurate_cells(layers, n_atoms + max(n_atoms // 2, 100), max_strain) if cell.angle > EQUAL]
    fitting = [cell for cell in cells if cell.n_atoms == n_atoms]
    if fitting:
        return fitting[0]
    near = sorted({cell.n_atoms for cell in cells}, key=lambda n: abs(n - n_atoms))[:4]
    listed = "; ".join(f"{n} ({min(c.angle for c in cells if c.n_atoms == n):.4f} degrees)" for n in sorted(near))
    raise UsageError(f"no turned cell has {n_atoms} atoms" + (f"; the nearest have {listed}" if near else "; allow more with --max-strain"))


def table(cells: Sequence[Cell]) -> str:
    """The cells in columns: angle, atoms, strain, indices of the first two layers."""
    rows = [f"{'angle':>12}{'atoms':>9}{'strain (%)':>12}   (m, n) of the first and of the second layer"]
    rows += [
        f"{cell.angle:12.6f}{cell.n_atoms:9d}{round(100 * cell.strain, 4) + 0.0:12.4f}   {' '.join(str(v) for v in cell.vectors[:2])}"
        for cell in cells
    ]
    return "\n".join(rows) + "\n"


def _cell(layers: Sequence[Monolayer], kind: Kind, vectors: tuple[IntArray, IntArray], z1: complex, z2: complex) -> Cell:
    """The cell of two vectors, the second turned by the symmetry of its lattice until the angle is the smallest that is not negative."""
    angle = float(np.degrees(np.angle(z1 / z2)))
    turns = int(np.floor(angle / PERIOD[kind] + 1e-9))
    one, other = ((int(v[0]), int(v[1])) for v in vectors)
    for _ in range(turns % round(360 / PERIOD[kind])):
        m, n = other
        other = (-n, m + n) if kind == "hexagonal" else (-n, m)
    chosen = [(one, other)[layer % 2] for layer in range(len(layers))]
    angle = max(angle - turns * PERIOD[kind], 0.0)
    return Cell(angle, count_atoms(layers, chosen, kind), abs(z1) / abs(z2) - 1, chosen)


def _sector(vectors: IntArray) -> IntArray:
    """One vector of those that the symmetry of the lattice turns into each other."""
    return np.asarray(vectors[:, (vectors[0] > 0) & (vectors[1] >= 0)])
