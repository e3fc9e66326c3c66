"""How the blocks of a pair of elements, and of one element, are laid out as irreducible coefficients."""

from collections.abc import Sequence
from functools import cache, cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeph.nn.irreps import BlockIrreps, FloatArray, IntArray, clebsch_gordan


def shell_starts(shells: Sequence[int]) -> list[int]:
    """First orbital of each shell."""
    return [sum(2 * l + 1 for l in shells[:a]) for a in range(len(shells))]


def _starts(shells_i: Sequence[int], shells_j: Sequence[int], n_spin: int) -> dict[tuple[int, int], int]:
    """First coefficient of each shell pair (a, b)."""
    out, count = {}, 0
    for a, la in enumerate(shells_i):
        for b, lb in enumerate(shells_j):
            out[a, b] = count
            count += (2 * la + 1) * (2 * lb + 1) * n_spin
    return out


class SparseMap:
    """A matrix with few entries in each row, applied to the last axis of tensors.

    Parameters
    ----------
    matrix : (rows, columns) entries as three arrays
        Row, column and value of each entry.
    n_rows : int
        Number of rows.
    """

    def __init__(self, row: IntArray, column: IntArray, value: FloatArray, n_rows: int) -> None:
        order = np.argsort(row, kind="stable")
        row, column, value = row[order], column[order], value[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        self.columns = np.zeros((int(place.max(initial=0)) + 1, n_rows), np.int64)
        self.values = np.zeros(self.columns.shape)
        self.columns[place, row], self.values[place, row] = column, value

    def __call__(self, x: Tensor) -> Tensor:
        """(n, columns) -> (n, rows)."""
        w = torch.as_tensor(self.values, dtype=x.dtype, device=x.device)
        columns = torch.as_tensor(self.columns, device=x.device)
        out = x.index_select(1, columns[0]) * w[0]
        for where, values in zip(columns[1:], w[1:], strict=True):
            out = torch.addcmul(out, x.index_select(1, where), values)
        return out


class _Orthogonal(torch.autograd.Function):
    """An orthogonal map; its gradient goes the way back."""

    @staticmethod
    def forward(ctx: Any, there: SparseMap, back: SparseMap, x: Tensor) -> Tensor:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.back(grad[0])


class PairTable:
    """Off-site blocks of a pair of elements as coefficients of bond irreps, shell pair by shell pair.

    Parameters
    ----------
    shells_i, shells_j : sequence of int
        Angular momenta of the shells of both elements.
    spin : bool
        Whether the blocks carry a Pauli matrix that is coupled to the orbitals.
    antisymmetric : bool
        See :class:`deeph.nn.irreps.BlockIrreps`.

    Attributes
    ----------
    size : int
        Number of coefficients, n_i n_j, or 3 n_i n_j with spin.
    shell_pair : (size, 2) int array
        Shells a of i and b of j of each coefficient.
    sector, key : (size,) int arrays
        Sector of each coefficient, and a running number of (a, b, |m1|, |m2|, charge of the Pauli matrix), the unit of standardization.
    start : dict of (a, b) to int
        First coefficient of each shell pair.
    exchanged, exchange_sign : (size,) arrays
        Which coefficient of the table (j, i) each one becomes when the ends are exchanged, and its sign.
    """

    def __init__(self, shells_i: Sequence[int], shells_j: Sequence[int], *, spin: bool = False, antisymmetric: bool = False) -> None:
        starts_i, starts_j = shell_starts(shells_i), shell_starts(shells_j)
        self.n_i, self.n_j, self.n_spin = sum(2 * l + 1 for l in shells_i), sum(2 * l + 1 for l in shells_j), 3 if spin else 1
        self.size = self.n_i * self.n_j * self.n_spin
        self.start = _starts(shells_i, shells_j, self.n_spin)
        exchanged_start = _starts(shells_j, shells_i, self.n_spin)
        entries, pairs, sectors, keys, index, sign = [], [], [], [], [], []
        self.blocks: dict[tuple[int, int], BlockIrreps] = {}
        for (a, la), (b, lb) in product(enumerate(shells_i), enumerate(shells_j)):
            block = self.blocks.setdefault((la, lb), BlockIrreps(la, lb, spin=spin, antisymmetric=antisymmetric))
            rows, columns = starts_i[a] + np.arange(2 * la + 1), starts_j[b] + np.arange(2 * lb + 1)
            orbitals = rows[:, None] * self.n_j + columns  # elements lie as (spin, row, column)
            element = (orbitals[..., None] + np.arange(self.n_spin) * self.n_i * self.n_j).ravel()
            row, column = np.nonzero(np.abs(block.matrix) > 1e-12)
            entries.append((self.start[a, b] + row, element[column], block.matrix[row, column]))
            pairs.append(np.tile([a, b], (len(block.slot), 1)))
            sectors.append(block.sector)
            keys.append(np.concatenate([np.tile([a, b], (len(block.slot), 1)), block.orders], axis=1))
            other, s = block.transposed
            index.append(exchanged_start[b, a] + other)
            sign.append(s)
        self.shell_pair, self.sector = np.concatenate(pairs), np.concatenate(sectors)
        self.key = np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].reshape(-1)
        self.exchanged, self.exchange_sign = np.concatenate(index), np.concatenate(sign)
        coefficient, element, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        self._into, self._back = (SparseMap(r, c, value, self.size) for r, c in ((coefficient, element), (element, coefficient)))

    def to_coefficients(self, blocks: Tensor) -> Tensor:
        """(n, n_spin, n_i, n_j) blocks in the bond frame -> (n, size)."""
        out: Tensor = _Orthogonal.apply(self._into, self._back, blocks.flatten(1))
        return out

    def to_blocks(self, coefficients: Tensor) -> Tensor:
        """(n, size) -> (n, n_spin, n_i, n_j) blocks in the bond frame."""
        blocks: Tensor = _Orthogonal.apply(self._back, self._into, coefficients)
        return blocks.view(-1, self.n_spin, self.n_i, self.n_j)


class AtomTable:
    """On-site blocks of an element as coefficients of (shell a, shell b, L12, L, M).

    The orbitals are coupled to L12; with spin L12 and the Pauli matrix, an axial vector, are coupled to L.

    Parameters
    ----------
    shells : sequence of int
        Angular momenta of the shells.
    spin, antisymmetric : bool
        As for :class:`PairTable`.

    Attributes
    ----------
    size : int
        Number of coefficients, n_orb^2, or 3 n_orb^2 with spin.
    paths : list of (a, b, L12, L, start)
        Shell pair, total angular momenta, and first coefficient.
    """

    def __init__(self, shells: Sequence[int], *, spin: bool = False, antisymmetric: bool = False) -> None:
        self.shells, self.starts = tuple(shells), shell_starts(shells)
        self.n, self.n_spin = sum(2 * l + 1 for l in shells), 3 if spin else 1
        self.size = self.n * self.n * self.n_spin
        self.paths: list[tuple[int, int, int, int, int]] = []
        self._shell_pairs: list[tuple[int, int, slice]] = []
        start = 0
        for (a, la), (b, lb) in product(enumerate(shells), enumerate(shells)):
            first = start
            for L12 in range(abs(la - lb), la + lb + 1):
                for L in range(abs(L12 - 1), L12 + 2) if spin else (L12,):
                    self.paths.append((a, b, L12, L, start))
                    start += 2 * L + 1
            self._shell_pairs.append((a, b, slice(first, start)))
        self._sign = -1.0 if antisymmetric else 1.0

    @cached_property
    def shell_pair(self) -> IntArray:
        """(size, 2) shells a and b of each coefficient."""
        return np.concatenate([np.tile([a, b], (rows.stop - rows.start, 1)) for a, b, rows in self._shell_pairs])

    @cached_property
    def _transposed(self) -> tuple[IntArray, FloatArray]:
        """Where the transposed block has each coefficient, and its sign there."""
        begin = {path[:4]: path[4] for path in self.paths}
        index, sign = np.zeros(self.size, np.int64), np.zeros(self.size)
        for a, b, L12, L, start in self.paths:
            rows = np.arange(2 * L + 1)
            index[start + rows] = begin[b, a, L12, L] + rows
            sign[start + rows] = self._sign * (-1.0) ** (self.shells[a] + self.shells[b] - L12)
        return index, sign

    def symmetrized(self, coefficients: Tensor) -> Tensor:
        """(n, size) -> the part that belongs to symmetric (or antisymmetric) blocks."""
        index, sign = self._transposed
        sign_ = torch.as_tensor(sign, dtype=coefficients.dtype, device=coefficients.device)
        return (coefficients + coefficients[:, index] * sign_) / 2

    def _orbitals(self, a: int) -> slice:
        return slice(self.starts[a], self.starts[a] + 2 * self.shells[a] + 1)

    def _coupling(self, a: int, b: int, like: Tensor) -> Tensor:
        return torch.as_tensor(onsite_coupling(self.shells[a], self.shells[b], spin=self.n_spin == 3), dtype=like.dtype, device=like.device)

    def to_coefficients(self, blocks: Tensor) -> Tensor:
        """(n, n_spin, n_orb, n_orb) blocks in the global frame -> (n, size)."""
        parts = [
            blocks[:, :, self._orbitals(a), self._orbitals(b)].flatten(1) @ self._coupling(a, b, blocks).T for a, b, _ in self._shell_pairs
        ]
        return torch.cat(parts, 1)

    def to_blocks(self, coefficients: Tensor) -> Tensor:
        """(n, size) -> (n, n_spin, n_orb, n_orb) blocks in the global frame."""
        out = coefficients.new_empty(len(coefficients), self.n_spin, self.n, self.n)
        for a, b, rows in self._shell_pairs:
            place = out[:, :, self._orbitals(a), self._orbitals(b)]
            place.copy_((coefficients[:, rows] @ self._coupling(a, b, coefficients)).view_as(place))
        return out


@cache
def onsite_coupling(la: int, lb: int, *, spin: bool) -> FloatArray:
    """(size, size) orthogonal map from the elements ([spin,] m_a, m_b) of a block to its coefficients (L12, L, M)."""
    rows = []
    for L12 in range(abs(la - lb), la + lb + 1):
        orbital = clebsch_gordan(la, lb, L12)  # (m_a, m_b, M12)
        if not spin:
            rows.append(np.moveaxis(orbital, 2, 0).reshape(2 * L12 + 1, -1))
            continue
        for L in range(abs(L12 - 1), L12 + 2):
            axes = clebsch_gordan(L12, 1, L)[:, [2, 0, 1]]  # the components y, z, x of a harmonic as x, y, z
            rows.append(np.einsum("abM,MsL->Lsab", orbital, axes).reshape(2 * L + 1, -1))
    return np.concatenate(rows)
