"""How the blocks of a pair of elements, and of one element, are laid out as irreducible coefficients."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deeph.nn.irreps import BlockIrreps, FloatArray, IntArray, clebsch_gordan


def shell_starts(shells: Sequence[int]) -> list[int]:
    """First orbital of each shell."""
    return [sum(2 * l + 1 for l in shells[:a]) for a in range(len(shells))]


def _starts(shells_i: Sequence[int], shells_j: Sequence[int]) -> dict[tuple[int, int], int]:
    """First coefficient of each shell pair (a, b)."""
    out, count = {}, 0
    for a, la in enumerate(shells_i):
        for b, lb in enumerate(shells_j):
            out[a, b] = count
            count += (2 * la + 1) * (2 * lb + 1)
    return out


class PairTable:
    """Off-site blocks of a pair of elements as coefficients of bond irreps, shell pair by shell pair.

    Parameters
    ----------
    shells_i, shells_j : sequence of int
        Angular momenta of the shells of both elements.

    Attributes
    ----------
    size : int
        Number of coefficients, n_i n_j.
    shell_pair : (size, 2) int array
        Shells a of i and b of j of each coefficient.
    sector, key : (size,) int arrays
        Sector of each coefficient, and a running number of (a, b, |m1|, |m2|), the unit of standardization.
    start : dict of (a, b) to int
        First coefficient of each shell pair.
    exchanged, exchange_sign : (size,) arrays
        Which coefficient of the table (j, i) each one becomes when the ends are exchanged, and its sign.
    """

    def __init__(self, shells_i: Sequence[int], shells_j: Sequence[int]) -> None:
        starts_i, starts_j = shell_starts(shells_i), shell_starts(shells_j)
        self.n_i, self.n_j = sum(2 * l + 1 for l in shells_i), sum(2 * l + 1 for l in shells_j)
        self.size = self.n_i * self.n_j
        first, second, weights, pairs, sectors, keys, index, sign = [], [], [], [], [], [], [], []
        self.start = _starts(shells_i, shells_j)
        exchanged_start = _starts(shells_j, shells_i)
        for a, la in enumerate(shells_i):
            for b, lb in enumerate(shells_j):
                block = BlockIrreps(la, lb)
                element = ((starts_i[a] + np.arange(2 * la + 1))[:, None] * self.n_j + starts_j[b] + np.arange(2 * lb + 1)).ravel()
                first.append(element[block.first])
                second.append(element[block.second])
                weights.append(block.weights)
                pairs.append(np.tile([a, b], (len(block.slot), 1)))
                sectors.append(block.sector)
                keys.append(np.stack([np.full_like(block.m1, a), np.full_like(block.m1, b), block.m1, block.m2], 1))
                other, s = block.transposed
                index.append(exchanged_start[b, a] + other)
                sign.append(s)
        self.shell_pair, self.sector = np.concatenate(pairs), np.concatenate(sectors)
        self.key = np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].reshape(-1)
        self.exchanged, self.exchange_sign = np.concatenate(index), np.concatenate(sign)
        self._first, self._second, self._weights = (np.concatenate(x) for x in (first, second, weights))
        self._inverse = self._invert()

    def _invert(self) -> tuple[IntArray, FloatArray]:
        """Each element is a combination of at most two coefficients: their numbers and weights."""
        coefficient = np.concatenate([np.arange(self.size)] * 2)
        element, weight = np.concatenate([self._first, self._second]), np.concatenate([self._weights[:, 0], self._weights[:, 1]])
        keep = weight != 0
        coefficient, element, weight = coefficient[keep], element[keep], weight[keep]
        order = np.argsort(element, kind="stable")
        coefficient, element, weight = coefficient[order], element[order], weight[order]
        place = np.arange(len(element)) - np.searchsorted(element, element)
        index, values = np.zeros((2, self.size), np.int64), np.zeros((2, self.size))
        index[place, element], values[place, element] = coefficient, weight
        return index, values

    def to_coefficients(self, blocks: Tensor) -> Tensor:
        """(n, n_i, n_j) blocks in the bond frame -> (n, size)."""
        flat = blocks.flatten(1)
        w = torch.as_tensor(self._weights, dtype=flat.dtype, device=flat.device)
        return torch.addcmul(flat[:, self._first] * w[:, 0], flat[:, self._second], w[:, 1])

    def to_blocks(self, coefficients: Tensor) -> Tensor:
        """(n, size) -> (n, n_i, n_j) blocks in the bond frame."""
        index, values = self._inverse
        w = torch.as_tensor(values, dtype=coefficients.dtype, device=coefficients.device)
        flat = torch.addcmul(coefficients[:, index[0]] * w[0], coefficients[:, index[1]], w[1])
        return flat.view(-1, self.n_i, self.n_j)


class AtomTable:
    """On-site blocks of an element as coefficients of (shell a, shell b, L, M).

    Attributes
    ----------
    size : int
        Number of coefficients, n_orb^2.
    paths : list of (a, b, L, start)
        Shell pair, total angular momentum, and first coefficient.
    matrix : (size, size) tensor, float64
        Orthogonal map from block elements (row-major) to coefficients.
    symmetrizer : (size, size) tensor, float64
        Projector on coefficients of symmetric blocks.
    """

    def __init__(self, shells: Sequence[int]) -> None:
        starts = shell_starts(shells)
        n = sum(2 * l + 1 for l in shells)
        self.n, self.size, self.paths = n, n * n, []
        matrix = np.zeros((n * n, n, n))
        start = 0
        for a, la in enumerate(shells):
            for b, lb in enumerate(shells):
                for L in range(abs(la - lb), la + lb + 1):
                    rows = slice(start, start + 2 * L + 1)
                    matrix[rows, starts[a] : starts[a] + 2 * la + 1, starts[b] : starts[b] + 2 * lb + 1] = np.moveaxis(
                        clebsch_gordan(la, lb, L), 2, 0
                    )
                    self.paths.append((a, b, L, start))
                    start += 2 * L + 1
        transposed = matrix.swapaxes(1, 2).reshape(self.size, self.size)
        flat = matrix.reshape(self.size, self.size)
        self.matrix = torch.as_tensor(flat)
        self.symmetrizer = torch.as_tensor((np.eye(self.size) + flat @ transposed.T) / 2)

    def to_coefficients(self, blocks: Tensor) -> Tensor:
        """(n, n_orb, n_orb) blocks in the global frame -> (n, size)."""
        return torch.matmul(blocks.flatten(1), self.matrix.to(blocks).T)

    def to_blocks(self, coefficients: Tensor) -> Tensor:
        """(n, size) -> (n, n_orb, n_orb) blocks in the global frame."""
        return (coefficients @ self.matrix.to(coefficients)).view(-1, self.n, self.n)
