"""Stacks of layers that are turned, slid and strained into one common cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import UsageError
from preprocess.structures.commensurate import Vector, Wish, cell_matrix, from_indices, nearest
from preprocess.structures.monolayer import Monolayer
from preprocess.structures.supercell import lattice_points

MAX_STRAIN = 0.2
"""Beyond this a layer is not strained but another lattice: the matrices do not belong together."""


@dataclass(frozen=True)
class Stack:
    """A stack and how it came about.

    Attributes
    ----------
    system : System
        First lattice vector along x, layers normal to z, in the middle of the cell; layer after layer from the bottom.
    layer : (n_atoms,) int array
        Layer of each atom.
    matrices : tuple of (2, 2) int arrays
        The cell in units of the lattice vectors of each layer.
    angles : (n_layers,) array
        By how much each layer is turned against the first one, counter-clockwise seen from above, degrees.
    strains : (n_layers, 2) array
        Smallest and largest principal strain of each layer.
    """

    system: System
    layer: IntArray
    matrices: tuple[IntArray, ...]
    angles: FloatArray
    strains: FloatArray

    def summary(self) -> dict[str, Any]:
        """Atoms, cell, exact angles and strains, for people and for JSON."""
        lengths = np.linalg.norm(self.system.cell, axis=1)
        return {
            "atoms": self.system.n_atoms,
            "cell_lengths": [round(float(x), 6) for x in lengths],
            "angles": [round(float(x), 8) for x in self.angles],
            "strains": [[round(float(x), 10) + 0.0 for x in pair] for pair in self.strains],
            "matrices": [m.tolist() for m in self.matrices],
        }


def stack(
    layers: Sequence[Monolayer],
    matrices: Sequence[IntArray],
    *,
    shifts: FloatArray,
    spacing: float | Sequence[float] = 3.35,
    vacuum: float = 15.0,
) -> Stack:
    """Stack layers in the common cell that their matrices span.

    Parameters
    ----------
    layers : sequence of Monolayer
        From the bottom. The first one keeps its lattice; the others are strained to fit it.
    matrices : sequence of (2, 2) int arrays
        Common cell in units of the lattice vectors of each layer.
    shifts : (n_layers, 2) array
        Moves each layer, in units of its own lattice vectors.
    spacing : float or (n_layers - 1) floats
        Distance between the facing atomic planes of neighbouring layers, Angstrom.
    vacuum : float
        Empty height of the cell, Angstrom.

    Raises
    ------
    UsageError
        If the matrices do not describe nearly the same cell.
    """
    gaps = np.broadcast_to(np.asarray(spacing, np.float64), len(layers) - 1) if np.ndim(spacing) == 0 else np.asarray(spacing)
    if len(gaps) != len(layers) - 1 or (gaps <= 0).any() or vacuum <= 0:
        raise UsageError(f"spacing {spacing} and vacuum {vacuum:g} for {len(layers)} layers: expected {len(layers) - 1} lengths above 0")
    target = matrices[0] @ layers[0].vectors
    x = target[0] / np.linalg.norm(target[0])
    target = target @ np.array([[x[0], -x[1]], [x[1], x[0]]])
    target[0, 1] = 0.0  # not a rounding error
    turns, strains = zip(*(_turn_and_strain(l, M, target) for l, M in zip(layers, matrices, strict=True)), strict=True)
    height, z = 0.0, []
    for n, layer in enumerate(layers):
        z.append(height)
        height += float(np.ptp(layer.heights)) + (float(gaps[n]) if n < len(gaps) else 0.0)
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = target, height + vacuum
    positions, numbers, labels = [], [], []
    for n, (layer, M, shift) in enumerate(zip(layers, matrices, shifts, strict=True)):
        points = lattice_points(M)
        fractional = (layer.fractional[:, None] + shift + points).reshape(-1, 2) @ np.linalg.inv(M)
        fractional -= np.floor(fractional + 1e-9)
        up = np.repeat(layer.heights, len(points)) + z[n] + vacuum / 2
        positions.append(np.column_stack([fractional @ target, up]))
        numbers.append(np.repeat(layer.numbers, len(points)))
        labels.append(np.full(len(up), n))
    system = System(cell, np.concatenate(positions), np.concatenate(numbers))
    angles = (np.array(turns) - turns[0] + 180) % 360 - 180
    angles[angles < 1e-9 - 180] += 360  # half a turn is +180 degrees, whatever the rounding
    return Stack(system, np.concatenate(labels), tuple(matrices), angles, np.array(strains))


def twisted(
    layers: Sequence[Monolayer],
    *,
    indices: tuple[int, int] | None = None,
    wish: Wish | None = None,
    vectors: Sequence[Vector] | None = None,
    shifts: FloatArray | None = None,
    spacing: float | Sequence[float] = 3.35,
    vacuum: float = 15.0,
) -> Stack:
    """Stack hexagonal or square layers, turned by commensurate angles.

    Parameters
    ----------
    layers : sequence of Monolayer
        From the bottom, all hexagonal or all square.
    indices : (m, n), optional
        The first layer has (m, n), the second (n, m), in turn; for layers of one lattice constant.
    wish : Wish, optional
        Angles and limits instead of indices.
    vectors : sequence of (m, n), optional
        A vector of each layer instead, see :func:`preprocess.structures.cells.cell_of`.
    shifts, spacing, vacuum
        See :func:`stack`.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    if indices is not None:
        if any(l.kind == "oblique" or l.kind != layers[0].kind or abs(l.constant / layers[0].constant - 1) > MAX_STRAIN for l in layers):
            raise UsageError(
                "two indices describe layers with nearly the same hexagonal or square lattice; give angles, or a matrix for each layer"
            )
        vectors = from_indices(indices, len(layers))
    elif wish is not None:
        vectors = nearest(layers, wish)
    elif vectors is None:
        raise UsageError("neither indices (m, n) nor angles are given")
    matrices = [cell_matrix(layer.kind, vector) for layer, vector in zip(layers, vectors, strict=True)]
    return stack(layers, matrices, shifts=np.zeros((len(layers), 2)) if shifts is None else shifts, spacing=spacing, vacuum=vacuum)


def _turn_and_strain(layer: Monolayer, matrix: IntArray, target: FloatArray) -> tuple[float, tuple[float, float]]:
    """Angle (degrees) and principal strains of the linear map from the cell of the free layer to the common cell."""
    u, s, v = np.linalg.svd(np.linalg.solve((matrix @ layer.vectors), target))
    turn = u @ v
    if np.linalg.det(turn) < 0 or abs(s - 1).max() > MAX_STRAIN:
        raise UsageError(
            f"{layer.name} with matrix {matrix.tolist()} would be strained by {s.min() - 1:+.1%} to {s.max() - 1:+.1%}: "
            "the matrices do not describe nearly the same cell"
        )
    return float(np.degrees(np.arctan2(turn[0, 1], turn[0, 0]))), (float(s.min() - 1), float(s.max() - 1))
