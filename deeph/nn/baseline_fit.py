"""Fit of the baseline and its scales: normal equations and sums, added up structure by structure.

The structures are gone through several times, one in memory at a time. For each function f of the bond length the sum

    sum_bonds (c - f)^2 / (sigma^2 + (TRUST A)^2)  +  integral dr (f'' / (BEND A))^2  +  |series|^2 / (REACH A)^2

is minimized, where A^2 is the mean of c^2 over the bonds. The second term decides where there are no data, as between the shells of
perfect crystals: there the smoothest function is taken, in essence a cubic spline (C. H. Reinsch, Numer. Math. 10, 177 (1967)). Where
there are data it is far weaker than the first one. sigma is what the round before has left, so that small values at large r count as
much as large ones of near neighbours.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from deeph.nn.baseline import EDGE, FLOOR, KNOTS, NOTHING, Baseline, Coefficients, PairBaseline
from deeph.nn.radial import smooth_cutoff
from deeph.nn.tables import AtomTable, PairTable

ROUNDS = 3
TRUST = 0.01  # of A: what two centres cannot describe at the least; weights stay finite where a few data are met exactly
START = 0.1  # of A: sigma of the first round
BEND = 1.0  # of A, 1/Angstrom^2: curvature to be expected
REACH = 100.0  # of A: largest coefficient to be expected
POINTS = 100  # of the quadrature, exact up to this degree


def fit_baseline(baseline: Baseline, data: Iterable[Coefficients]) -> None:
    """Fit everything to the coefficients of some structures.

    Parameters
    ----------
    baseline : Baseline
        Gets its series, means, scales and units.
    data : iterable of Coefficients
        One structure after the other; it is iterated several times.
    """
    baseline.unit_offsite.fill_(_fit_pairs(baseline, data))
    baseline.unit_onsite.fill_(_fit_atoms(baseline, data))


def _fit_pairs(baseline: Baseline, data: Iterable[Coefficients]) -> float:
    """Fit the pairs of elements; returns the root mean square of what is left, eV."""
    pairs = {kind: PairFit(baseline.pair(kind), table, alike=kind[0] == kind[1]) for kind, table in baseline.pair_tables.items()}
    for kind, r, c in _bonds(data):
        pairs[kind].add_sizes(r, c)
    for pair in pairs.values():
        pair.begin()
    for _ in range(ROUNDS):
        for kind, r, c in _bonds(data):
            pairs[kind].add_equations(r, c)
        for pair in pairs.values():
            pair.solve()
        for kind, r, c in _bonds(data):
            pairs[kind].add_rest(r, c)
        for pair in pairs.values():
            pair.set_scale()
    return _root_mean([pair.rest for pair in pairs.values()])


def _fit_atoms(baseline: Baseline, data: Iterable[Coefficients]) -> float:
    """Fit the on-site blocks of the elements; returns the root mean square of what is left, eV."""
    atoms = {z: AtomFit(baseline.atom_mean(z), baseline.atom_scale(z), table) for z, table in baseline.atom_tables.items()}
    for z, c in _sites(data):
        atoms[z].add_values(c)
    for atom in atoms.values():
        atom.set_mean()
    for z, c in _sites(data):
        atoms[z].add_squares(c)
    for atom in atoms.values():
        atom.set_scale()
    return _root_mean([atom.rest for atom in atoms.values()])


def _sites(data: Iterable[Coefficients]) -> Iterator[tuple[int, Tensor]]:
    """Element and coefficients of its atoms, structure by structure."""
    for _, by_atom in data:
        yield from by_atom.items()


def _bonds(data: Iterable[Coefficients]) -> Iterator[tuple[tuple[int, int], Tensor, Tensor]]:
    """Pair of elements, bond lengths and coefficients, structure by structure."""
    for by_pair, _ in data:
        for kind, (r, c) in by_pair.items():
            yield kind, r, c


def _root_mean(rest: list[tuple[float, int]]) -> float:
    """Root mean square from sums of squares and their counts, eV."""
    return float((sum(square for square, _ in rest) / max(1, sum(count for _, count in rest))) ** 0.5) + FLOOR


class PairFit:
    """Sums over the bonds of one pair of elements.

    Parameters
    ----------
    pair : PairBaseline
        Gets its series and its scale.
    table : PairTable
        Layout of the coefficients.
    alike : bool
        Whether the two elements are one.

    Attributes
    ----------
    rest : (float, int)
        Sum of the squares, eV^2, and number of coefficients that the series leaves.
    """

    def __init__(self, pair: PairBaseline, table: PairTable, *, alike: bool) -> None:
        self.pair, self.table, self.alike = pair, table, alike
        self.shortest, self.rest = float("inf"), (0.0, 0)
        self._power_sum, self._n_bonds = torch.zeros(len(pair.sigma_plus), dtype=torch.float64), 0
        self._weighted = False

    def _both_ways(self, r: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Between equal elements the bond is as good a sample seen from the other end."""
        if not self.alike:
            return r, c
        return torch.cat([r, r]), torch.cat([c, c[:, self.table.exchanged] * torch.as_tensor(self.table.exchange_sign)])

    def add_sizes(self, r: Tensor, c: Tensor) -> None:
        """First pass: the shortest bond, and how large the coefficients are."""
        self.shortest = min(self.shortest, float(r.min()))
        r, c = self._both_ways(r, c)
        self._power_sum += c[:, self.pair.sigma_plus].square().sum(0)
        self._n_bonds += len(r)

    def begin(self) -> None:
        """Lay out the functions between the shortest bond and the cutoff."""
        self.pair.shortest.fill_(min(self.shortest, float(self.pair.cutoff) - EDGE))
        n, k = self.pair.degree + 1, len(self.pair.sigma_plus)
        self._A, self._b = torch.zeros(k, n, n, dtype=torch.float64), torch.zeros(k, n, dtype=torch.float64)
        self._size = self._power_sum / max(1, self._n_bonds) + FLOOR**2  # A^2
        self._penalty = bending(self.pair) / BEND**2 + torch.eye(n, dtype=torch.float64) / REACH**2
        self._clear_scale()

    def _clear_scale(self) -> None:
        self._power = torch.zeros(KNOTS, self.pair.log_scale.shape[1], dtype=torch.float64)
        self._fall, self._count = torch.zeros(KNOTS, dtype=torch.float64), torch.zeros(KNOTS, dtype=torch.float64)
        self.rest = (0.0, 0)

    def add_equations(self, r: Tensor, c: Tensor) -> None:
        """Add the normal equations of the weighted least squares of one structure."""
        r, c = self._both_ways(r, c)
        F, c = self.pair.functions(r), c[:, self.pair.sigma_plus]
        square = self.pair.scale(r)[:, self.pair.sigma_plus].square() + TRUST**2 * self._size
        weight = 1 / (square if self._weighted else START**2 * self._size.expand_as(c))
        self._A += torch.einsum("np,nk,nq->kpq", F, weight, F)
        self._b += torch.einsum("np,nk,nk->kp", F, weight, c)

    def solve(self) -> None:
        """The series; pairs that do not occur keep zeros."""
        if self._n_bonds:
            penalty = self._penalty / self._size[:, None, None]
            self.pair.series.copy_(torch.linalg.solve(self._A + penalty, self._b).T)
        self._A, self._b, self._weighted = torch.zeros_like(self._A), torch.zeros_like(self._b), True
        self._clear_scale()

    def add_rest(self, r: Tensor, c: Tensor) -> None:
        """Add what the series leaves around each knot."""
        r, c = self._both_ways(r, c)
        square = (c - self.pair.two_centre(r)).square()
        key = self.pair.key
        power = torch.zeros(len(r), self._power.shape[1], dtype=r.dtype).index_add_(1, key, square) / torch.bincount(key)
        w = self.pair.kernel(r, 0.5).exp()
        self._power += w.T @ power
        self._count += w.sum(0)
        self._fall += w.T @ smooth_cutoff(r, self.pair.cutoff, EDGE).square()
        self.rest = (self.rest[0] + float(square.sum()), self.rest[1] + square.numel())

    def set_scale(self) -> None:
        """Root mean square of the rest around each knot; knots without data take it from the nearest one that has.

        Of elements that never meet nothing is known, and nothing predicted: zero, not an untrained network times 1 eV.
        """
        if not self._n_bonds:
            self.pair.log_scale.fill_(NOTHING)
            return
        known = torch.nonzero((self._count > 1.0) & (self._fall > 1e-4 * self._count))[:, 0]
        if not len(known):
            known = torch.tensor([int(self._count.argmax())])
        log = 0.5 * torch.log(self._power[known] / self._fall[known, None].clamp(min=1e-12) + FLOOR**2)
        self.pair.log_scale.copy_(log[(torch.arange(KNOTS)[:, None] - known).abs().argmin(1)])


def bending(pair: PairBaseline) -> Tensor:
    """(degree + 1, degree + 1) integrals of T_p'' T_q'' over r from the shortest bond to the cutoff, Angstrom^-3."""
    x, w = np.polynomial.legendre.leggauss(POINTS)
    half = (float(pair.cutoff) - float(pair.shortest)) / 2
    second = np.polynomial.chebyshev.chebder(np.eye(pair.degree + 1), 2) if pair.degree > 1 else np.zeros((1, pair.degree + 1))
    curvature = np.polynomial.chebyshev.chebvander(x, len(second) - 1) @ second / half**2
    return torch.as_tensor(curvature.T @ (half * w[:, None] * curvature))


class AtomFit:
    """Sums over the atoms of one element: isotropic mean, and one scale per shell pair and L.

    Parameters
    ----------
    mean, scale : (size,) tensors
        Are set.
    table : AtomTable
        Layout of the coefficients.

    Attributes
    ----------
    rest : (float, int)
        Sum of the squares, eV^2, and number of coefficients that the mean leaves.
    """

    def __init__(self, mean: Tensor, scale: Tensor, table: AtomTable) -> None:
        self.mean, self.scale, self.table = mean, scale, table
        self._sum, self._square, self._count = torch.zeros_like(mean), torch.zeros_like(mean), 0
        self.rest = (0.0, 0)

    def add_values(self, c: Tensor) -> None:
        """First pass: sums of the coefficients."""
        self._sum += c.sum(0)
        self._count += len(c)

    def set_mean(self) -> None:
        """Set the mean of the coefficients that a sphere may have."""
        for _, _, L, start in self.table.paths:
            if L == 0 and self._count:
                self.mean[start] = self._sum[start] / self._count

    def add_squares(self, c: Tensor) -> None:
        """Last pass: squares of what the mean leaves."""
        self._square += (c - self.mean).square().sum(0)

    def set_scale(self) -> None:
        """Root mean square of the rest of each shell pair and L."""
        for _, _, L, start in self.table.paths:
            rows = slice(start, start + 2 * L + 1)
            self.scale[rows] = torch.sqrt(self._square[rows].mean() / max(1, self._count) + FLOOR**2)
        self.rest = (float(self._square.sum()), self._count * len(self._square))
