"""Packed blocks of one sparse matrix: pairs, shapes, and all entries in one flat array.

A block (R, i, j) is <phi_i, 0 | M | phi_j, R>; rows are the orbitals of atom i, columns those of atom j. Memory is O(N)
numpy arrays; operations gather all blocks of one shape at a time and never loop over blocks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Basis
from deeph.physics.pairs import find_pairs, reversed_pairs
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PairBlocks:
    """Blocks of one or several matrices on a common pattern.

    Attributes
    ----------
    pairs : (n_pairs, 5) int array
        R1 R2 R3 i j, atoms counted from 0; no duplicates.
    shapes : (n_pairs, 2) int array
        Rows and columns of each block.
    entries : (n_components, n_entries) array
        Blocks row-major, one after the other. H has one component, or two for collinear spin; r has three.
    """

    pairs: IntArray
    shapes: IntArray
    entries: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", np.ascontiguousarray(self.pairs, dtype=np.int64).reshape(-1, 5))
        object.__setattr__(self, "shapes", np.ascontiguousarray(self.shapes, dtype=np.int64).reshape(-1, 2))
        object.__setattr__(self, "entries", np.atleast_2d(self.entries))
        expected = int(self.shapes.prod(axis=1).sum())
        if len(self.pairs) != len(self.shapes) or self.entries.shape[1] != expected:
            raise DataError(
                f"{len(self.pairs)} pairs, {len(self.shapes)} block shapes and {self.entries.shape[1]} entries do not belong "
                f"together (the shapes ask for {expected} entries)"
            )

    def __repr__(self) -> str:
        matrices = f"{self.n_components} matrices of " if self.n_components > 1 else ""
        return f"PairBlocks {matrices}{self.n_pairs} pairs, {self.entries.shape[1]} {self.entries.dtype} entries"

    @classmethod
    def zeros(cls, pairs: IntArray, shapes: IntArray, n_components: int = 1, dtype: npt.DTypeLike = np.float64) -> "PairBlocks":
        """All-zero blocks to be filled with :meth:`put`."""
        return cls(pairs, shapes, np.zeros((n_components, int(np.prod(shapes, axis=1).sum())), dtype))

    @property
    def n_pairs(self) -> int:
        """Number of blocks."""
        return len(self.pairs)

    @property
    def n_components(self) -> int:
        """Number of matrices on this pattern."""
        return len(self.entries)

    @cached_property
    def offsets(self) -> IntArray:
        """(n_pairs + 1,) start of each block in ``entries``."""
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))])

    def groups(self) -> Iterator[tuple[tuple[int, int], IntArray]]:
        """Yield ``(rows, columns)`` and the pairs with blocks of that shape."""
        code = self.shapes[:, 0] * (self.shapes[:, 1].max(initial=0) + 1) + self.shapes[:, 1]
        for value in np.unique(code):
            index = np.flatnonzero(code == value)
            yield (int(self.shapes[index[0], 0]), int(self.shapes[index[0], 1])), index

    def _slots(self, index: IntArray) -> Array | slice:
        """Where in ``entries`` the blocks of some equally shaped pairs lie."""
        size = int(self.shapes[index[0]].prod())
        if len(index) == int(index[-1] - index[0]) + 1 and (np.diff(index) == 1).all():
            return slice(int(self.offsets[index[0]]), int(self.offsets[index[0]]) + size * len(index))
        return np.asarray((self.offsets[index][:, None] + np.arange(size)).ravel())

    def take(self, index: IntArray) -> Array:
        """(n_components, n, rows, columns) blocks of some equally shaped pairs."""
        rows, columns = (int(n) for n in self.shapes[index[0]])
        return np.asarray(self.entries[:, self._slots(index)].reshape(self.n_components, len(index), rows, columns))

    def put(self, index: IntArray, blocks: Array) -> None:
        """Overwrite the blocks of some equally shaped pairs; ``blocks`` as returned by :meth:`take`."""
        self.entries[:, self._slots(index)] = np.reshape(blocks, (self.n_components, -1))

    def block(self, pair: tuple[int, int, int, int, int]) -> Array:
        """(n_components, rows, columns) of one pair.

        Raises
        ------
        DataError
            If the pattern has no such block.
        """
        place = find_pairs(self.pairs, np.array([pair]))
        if place[0] < 0:
            raise DataError(f"the pattern holds no block for R = {pair[:3]}, atoms {pair[3]} and {pair[4]}")
        return np.asarray(self.take(place)[:, 0])

    def mapped(self, function: Callable[[Array, IntArray], Array]) -> "PairBlocks":
        """Apply ``function(blocks (components, n, rows, columns), pairs (n, 5))`` to all blocks of each shape."""
        index, blocks, shapes = [], [], self.shapes.copy()
        for _, members in self.groups():
            new = function(self.take(members), self.pairs[members])
            shapes[members] = new.shape[-2:]
            index.append(members)
            blocks.append(new)
        if not blocks:
            return self
        out = PairBlocks.zeros(self.pairs, shapes, blocks[0].shape[0], np.result_type(*blocks))
        for members, new in zip(index, blocks, strict=True):
            out.put(members, new)
        return out

    def selected(self, index: IntArray) -> "PairBlocks":
        """The blocks of some pairs, in the order given."""
        sizes = self.shapes[index].prod(axis=1)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        slots = np.repeat(self.offsets[index] - starts[:-1], sizes) + np.arange(starts[-1])
        return PairBlocks(self.pairs[index], self.shapes[index], self.entries[:, slots])

    def on_pattern(self, pairs: IntArray, shapes: IntArray) -> "PairBlocks":
        """The same matrix on another pattern: missing blocks become zero, blocks outside it are dropped."""
        place = find_pairs(self.pairs, pairs)
        out = PairBlocks.zeros(pairs, shapes, self.n_components, self.entries.dtype)
        known = np.flatnonzero(place >= 0)
        if (out.shapes[known] != self.shapes[place[known]]).any():
            raise DataError("blocks of the same atom pair have different shapes in two matrices of one structure")
        source = self.selected(place[known])
        sizes = source.shapes.prod(axis=1)
        slots = np.repeat(out.offsets[known] - source.offsets[:-1], sizes) + np.arange(source.offsets[-1])
        out.entries[:, slots] = source.entries
        return out

    @cached_property
    def partners(self) -> IntArray:
        """(n_pairs,) position of (-R, j, i) for each (R, i, j), -1 where it is missing."""
        return find_pairs(self.pairs, reversed_pairs(self.pairs))

    def adjoint(self) -> "PairBlocks":
        """The Hermitian conjugate on the same pattern, block(R,i,j) = block(-R,j,i)^dagger; partners must exist."""
        if (self.partners < 0).any():
            R = self.pairs[int(np.argmax(self.partners < 0))]
            raise DataError(f"block R = {R[:3].tolist()}, i = {R[3]}, j = {R[4]} has no Hermitian partner (-R, j, i)")
        swapped = self.mapped(lambda blocks, _: blocks.conj().swapaxes(-1, -2))
        return replace(swapped.selected(self.partners), pairs=self.pairs)

    def closed(self) -> "PairBlocks":
        """The same blocks, and the conjugate of each one whose partner (-R, j, i) is missing in its place."""
        missing = np.flatnonzero(self.partners < 0)
        if not len(missing):
            return self
        extra = self.selected(missing).mapped(lambda blocks, _: blocks.conj().swapaxes(-1, -2))
        return PairBlocks(
            np.concatenate([self.pairs, reversed_pairs(extra.pairs)]),
            np.concatenate([self.shapes, extra.shapes]),
            np.concatenate([self.entries, extra.entries], axis=1),
        )

    def hermitized(self) -> "PairBlocks":
        """The Hermitian part (M + M^dagger)/2; a missing partner counts as the conjugate of the present one."""
        full = self.closed()
        return replace(full, entries=(full.entries + full.adjoint().entries) / 2)

    def hermiticity_error(self) -> float:
        """Largest absolute value in M - M^dagger; infinite if a partner is missing."""
        if (self.partners < 0).any():
            return float("inf")
        return float(np.abs(self.entries - self.adjoint().entries).max(initial=0.0))

    def permuted(self, order: IntArray) -> "PairBlocks":
        """Relabel the atoms so that ``new atom a = old atom order[a]``; the sequence of blocks is kept."""
        place = np.argsort(order)
        pairs = self.pairs.copy()
        pairs[:, 3:] = place[self.pairs[:, 3:]]
        return replace(self, pairs=pairs)

    def reordered(
        self, numbers: IntArray, orders: dict[int, IntArray], spin_factor: int = 1, signs: dict[int, IntArray] | None = None
    ) -> "PairBlocks":
        """Permute the orbitals of every atom, the same in each spin, and give them signs.

        Parameters
        ----------
        numbers : (n_atoms,) int array
            Element of each atom.
        orders : dict of atomic number to int array
            ``new orbital a = old orbital order[a]``.
        spin_factor : int
            2 if the blocks are spinor blocks.
        signs : dict of atomic number to int array, optional
            +1 or -1: ``new orbital a = signs[a] * old orbital order[a]``.
        """
        width = max(len(o) for o in orders.values()) * spin_factor
        table, sign = np.zeros((max(orders) + 1, width), np.int64), np.ones((max(orders) + 1, width))
        for z, order in orders.items():
            full = np.concatenate([order + s * len(order) for s in range(spin_factor)])
            table[z, : len(full)] = full
            if signs is not None:
                sign[z, : len(full)] = np.tile(signs[z], spin_factor)

        def apply(blocks: Array, pairs: IntArray) -> Array:
            rows, columns = blocks.shape[-2:]
            row = table[numbers[pairs[:, 3]], :rows, None]
            column = table[numbers[pairs[:, 4]], None, :columns]
            moved = blocks[:, np.arange(len(pairs))[:, None, None], row, column]
            if signs is not None:
                moved = moved * sign[numbers[pairs[:, 3]], :rows, None] * sign[numbers[pairs[:, 4]], None, :columns]
            return np.asarray(moved)

        return self.mapped(apply)

    def to_spinor(self) -> "PairBlocks":
        """A spin-independent or collinear matrix as spinor blocks [[up, 0], [0, down]]."""

        def expand(blocks: Array, _pairs: IntArray) -> Array:
            _, n, rows, columns = blocks.shape
            out = np.zeros((1, n, 2, rows, 2, columns), blocks.dtype)
            out[0, :, 0, :, 0], out[0, :, 1, :, 1] = blocks[0], blocks[-1]
            return out.reshape(1, n, 2 * rows, 2 * columns)

        return self.mapped(expand)


def block_shapes(basis: Basis, numbers: IntArray, pairs: IntArray, *, spin: bool) -> IntArray:
    """(n_pairs, 2) block shapes that a basis asks for; ``spin`` for H, not for S."""
    n = basis.n_orbitals(numbers) * (basis.spin_factor if spin else 1)
    return np.stack([n[pairs[:, 3]], n[pairs[:, 4]]], axis=1)


def energy_zero(H: PairBlocks, S: PairBlocks) -> float:
    """Mu = <H, S>/<S, S> over all stored entries: H and H - mu S describe the same physics with another energy zero.

    Parameters
    ----------
    H, S : PairBlocks
        On the same pattern; spinor or collinear H against a spin-free S.

    Returns
    -------
    float
        mu in eV.
    """
    if (H.shapes != S.shapes).any():
        S = S.to_spinor()
    norm = float(np.vdot(S.entries, S.entries).real) * H.n_components
    return float(sum(np.vdot(S.entries[0], h).real for h in H.entries) / norm)
