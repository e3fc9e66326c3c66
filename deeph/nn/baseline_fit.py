"""Fit of the baseline and its scales: normal equations and sums, added up structure by structure.

The structures are gone through several times, one in memory at a time. For each function f of the bond length the sum

    sum_bonds (c - f)^2 / (sigma^2 + (TRUST A)^2)  +  integral dr (f'' / (BEND A))^2  +  |series|^2 / (REACH A)^2

is minimized, where A^2 is the mean of c^2 over the bonds. The second term decides where there are no data, as between the shells of
perfect crystals: there the smoothest function is taken, in essence a cubic spline (C. H. Reinsch, Numer. Math. 10, 177 (1967)). Where
there are data it is far weaker than the first one. sigma is what the round before has left, so that small values at large r count as
much as large ones of near neighbours.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from deeph.nn.baseline import EDGE, FLOOR, KNOTS, NOTHING, AtomSample, Baseline, BondSample, Coefficients, PairBaseline
from deeph.nn.radial import smooth_cutoff
from deeph.nn.tables import PairTable
from deeph.physics.spin_parts import PartName

ROUNDS = 3
TRUST = 0.01  # of A: what two centres cannot describe at the least; weights stay finite where a few data are met exactly
START = 0.1  # of A: sigma of the first round
BEND = 1.0  # of A, 1/Angstrom^2: curvature to be expected
REACH = 100.0  # of A: largest coefficient to be expected
POINTS = 100  # of the quadrature, exact up to this degree


def fit_baselines(baselines: Mapping[PartName, Baseline], data: Iterable[Mapping[PartName, Coefficients]]) -> None:
    """Fit everything to the coefficients of some structures.

    Parameters
    ----------
    baselines : mapping of str to Baseline
        One for each part of H; get their series, means, scales and units.
    data : iterable of mappings of str to Coefficients
        The parts of one structure after the other; it is iterated several times.
    """
    _fit_pairs(baselines, data)
    _fit_atoms(baselines, data)


def _fit_pairs(baselines: Mapping[PartName, Baseline], data: Iterable[Mapping[PartName, Coefficients]]) -> None:
    """Fit the pairs of elements; the unit is the root mean square of what is left, eV."""
    fits = {
        (part, kind): PairFit(baseline.pair(kind), table, alike=kind[0] == kind[1], floor=baseline.floor)
        for part, baseline in baselines.items()
        for kind, table in baseline.pair_tables.items()
    }
    for fit, sample in _bonds(fits, data):
        fit.add_sizes(sample)
    for fit in fits.values():
        fit.begin()
    for _ in range(ROUNDS):
        for fit, sample in _bonds(fits, data):
            fit.add_equations(sample)
        for fit in fits.values():
            fit.solve()
        for fit, sample in _bonds(fits, data):
            fit.add_rest(sample)
        for fit in fits.values():
            fit.set_scale()
    for part, baseline in baselines.items():
        baseline.unit_offsite.fill_(_root_mean([fit.rest for (own, _), fit in fits.items() if own == part], baseline.floor))


def _bonds(
    fits: Mapping[tuple[PartName, tuple[int, int]], "PairFit"], data: Iterable[Mapping[PartName, Coefficients]]
) -> Iterator[tuple["PairFit", BondSample]]:
    for structure in data:
        for part, coefficients in structure.items():
            for kind, sample in coefficients.pairs.items():
                yield fits[part, kind], sample


def _fit_atoms(baselines: Mapping[PartName, Baseline], data: Iterable[Mapping[PartName, Coefficients]]) -> None:
    """Fit the on-site blocks of the elements; the unit is the root mean square of what is left, eV."""
    fits = {(part, z): AtomFit(baseline, z) for part, baseline in baselines.items() for z in baseline.atom_tables}

    def sites() -> Iterator[tuple[AtomFit, AtomSample]]:
        for structure in data:
            for part, coefficients in structure.items():
                for z, sample in coefficients.atoms.items():
                    yield fits[part, z], sample

    for fit, sample in sites():
        fit.add_values(sample)
    for fit in fits.values():
        fit.set_mean()
    for fit, sample in sites():
        fit.add_squares(sample)
    for fit in fits.values():
        fit.set_scale()
    for part, baseline in baselines.items():
        baseline.unit_onsite.fill_(_root_mean([fit.rest for (own, _), fit in fits.items() if own == part], baseline.floor))


def _root_mean(rest: list[tuple[float, int]], floor: float) -> float:
    """Root mean square from sums of squares and their counts, eV."""
    return float((sum(square for square, _ in rest) / max(1, sum(count for _, count in rest))) ** 0.5) + floor


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
    floor : float
        Scales below it are noise, eV.

    Attributes
    ----------
    rest : (float, int)
        Sum of the squares, eV^2, and number of coefficients that the series leaves.
    """

    def __init__(self, pair: PairBaseline, table: PairTable, *, alike: bool, floor: float) -> None:
        self.pair, self.table, self.alike, self.floor = pair, table, alike, floor
        self.shortest, self.rest = float("inf"), (0.0, 0)
        self._power_sum, self._n_bonds = torch.zeros(len(pair.sigma_plus), dtype=torch.float64), 0
        self._weighted = False

    def _both_ways(self, sample: BondSample) -> BondSample:
        """Between equal elements the bond is as good a sample seen from the other end."""
        if not self.alike:
            return sample
        r, m, c = sample
        there = c[..., self.table.exchanged] * torch.as_tensor(self.table.exchange_sign)
        return BondSample(torch.cat([r, r]), torch.cat([m, m.flip(1)]), torch.cat([c, there]))

    def add_sizes(self, sample: BondSample) -> None:
        """First pass: the shortest bond, and how large the coefficients are."""
        self.shortest = min(self.shortest, float(sample.r.min()))
        c = self._both_ways(sample).coefficients
        self._power_sum += c[..., self.pair.sigma_plus].square().sum((0, 1))
        self._n_bonds += c.shape[0] * c.shape[1]

    def begin(self) -> None:
        """Lay out the functions between the shortest bond and the cutoff."""
        self.pair.shortest.fill_(min(self.shortest, float(self.pair.cutoff) - EDGE))
        n, k = self.pair.series.shape
        self._A, self._b = torch.zeros(k, n, n, dtype=torch.float64), torch.zeros(k, n, dtype=torch.float64)
        self._size = self._power_sum / max(1, self._n_bonds) + self.floor**2  # A^2
        curvature = bending(self.pair)
        both = torch.block_diag(curvature, curvature) if self.pair.magnetic else curvature
        self._penalty = both / BEND**2 + torch.eye(n, dtype=torch.float64) / REACH**2
        self._clear_scale()

    def _clear_scale(self) -> None:
        self._power = torch.zeros(KNOTS, self.pair.log_scale.shape[1], dtype=torch.float64)
        self._fall, self._count = torch.zeros(KNOTS, dtype=torch.float64), torch.zeros(KNOTS, dtype=torch.float64)
        self.rest = (0.0, 0)

    def add_equations(self, sample: BondSample) -> None:
        """Add the normal equations of the weighted least squares of one structure."""
        if not len(self.pair.sigma_plus):
            return
        r, moments, c = self._both_ways(sample)
        F, c = self.pair.design(r, moments), c[..., self.pair.sigma_plus]
        square = self.pair.scale(r)[:, self.pair.sigma_plus].square() + TRUST**2 * self._size
        weight = 1 / (square if self._weighted else START**2 * self._size.expand_as(square))
        self._A += torch.einsum("nsp,nk,nsq->kpq", F, weight, F)
        self._b += torch.einsum("nsp,nk,nsk->kp", F, weight, c)

    def solve(self) -> None:
        """The series; pairs that do not occur keep zeros."""
        if self._n_bonds and len(self.pair.sigma_plus):
            penalty = self._penalty / self._size[:, None, None]
            self.pair.series.copy_(torch.linalg.solve(self._A + penalty, self._b).T)
        self._A, self._b, self._weighted = torch.zeros_like(self._A), torch.zeros_like(self._b), True
        self._clear_scale()

    def add_rest(self, sample: BondSample) -> None:
        """Add what the series leaves around each knot."""
        r, moments, c = self._both_ways(sample)
        square = (c - self.pair.two_centre(r, moments)).square()
        key = self.pair.key
        power = torch.zeros(len(r), self._power.shape[1], dtype=r.dtype).index_add_(1, key, square.mean(1)) / torch.bincount(key)
        w = self.pair.kernel(r, 0.5).exp()
        self._power += w.T @ power
        self._count += w.sum(0)
        self._fall += w.T @ smooth_cutoff(r, self.pair.cutoff, EDGE).square()
        self.rest = (self.rest[0] + float(square.sum()), self.rest[1] + square.numel())

    def set_scale(self) -> None:
        """Root mean square of the rest around each knot; knots without data take it from the nearest one that has.

        Of elements that never meet nothing is known, and nothing predicted: zero, not an untrained network times 1 eV. What is zero by
        structure stays zero: a local potential has no orbital Sigma-, for one.
        """
        if not self._n_bonds:
            self.pair.log_scale.fill_(NOTHING)
            return
        known = torch.nonzero((self._count > 1.0) & (self._fall > 1e-4 * self._count))[:, 0]
        if not len(known):
            known = torch.tensor([int(self._count.argmax())])
        square = self._power[known] / self._fall[known, None].clamp(min=1e-12)
        log = 0.5 * torch.log(square + self.floor**2)
        if self.floor < FLOOR:
            log[:, (square < self.floor**2).all(0)] = NOTHING
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
    baseline : Baseline
        Its mean and scale of the element are set.
    z : int
        The element.

    Attributes
    ----------
    rest : (float, int)
        Sum of the squares, eV^2, and number of coefficients that the mean leaves.
    """

    def __init__(self, baseline: Baseline, z: int) -> None:
        self.baseline, self.z, self.table = baseline, z, baseline.atom_tables[z]
        self.mean, self.scale = baseline.atom_mean(z), baseline.atom_scale(z)
        self._sum, self._square = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        self._norm, self._count, self.rest = 0.0, 0, (0.0, 0)

    def add_values(self, sample: AtomSample) -> None:
        """First pass: sums of the coefficients, of the exchange field along the moments."""
        moments, c = sample
        if self.baseline.part.name == "A":
            self._sum += torch.einsum("ns,nsk->k", moments, c)
            self._norm += float(moments.square().sum())
        else:
            self._sum += c.sum((0, 1))
            self._norm += c.shape[0]
        self._count += c.shape[0] * c.shape[1]

    def set_mean(self) -> None:
        """Set the mean of the coefficients that a sphere may have: xi L.S of the spin-orbit part, none of B0, no pseudoscalar."""
        shells = self.table.shells
        for a, b, _, L, start in self.table.paths:
            scalar = L == 0 and (shells[a] + shells[b]) % 2 == 0
            if scalar and self._norm and self.baseline.part.name != "B0":
                self.mean[start] = self._sum[start] / self._norm

    def add_squares(self, sample: AtomSample) -> None:
        """Last pass: squares of what the mean leaves."""
        self._square += (sample.coefficients - self.baseline.onsite(self.z, sample.moments)).square().sum((0, 1))

    def set_scale(self) -> None:
        """Root mean square of the rest of each shell pair and L; zero of what is zero by structure."""
        floor = self.baseline.floor
        for *_, L, start in self.table.paths:
            rows = slice(start, start + 2 * L + 1)
            square = self._square[rows].mean() / max(1, self._count)
            nothing = floor < FLOOR and square < floor**2
            self.scale[rows] = 0.0 if nothing else torch.sqrt(square + floor**2)
        self.rest = (float(self._square.sum()), self._count * len(self._square))
