"""What is known before training: a Slater-Koster baseline and the scale of what is left.

    H_ij = B_ij(r) + sigma_ij(r) h_ij          off-site, coefficients in the bond frame
    H_ii = mean + sigma h_ii                   on-site, coefficients of (shells, L)

B is the two-centre part: for every pair of elements and shells and every |m| a Chebyshev series in the bond length, fitted by
ridge least squares (J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), with the integrals as free functions). sigma is the
root mean square of the rest, a smooth function of r. Both vanish at the cutoff with two continuous derivatives.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.radial import smooth_cutoff
from deeph.nn.tables import AtomTable, PairTable

EDGE = 1.0  # Angstrom before the cutoff over which everything is taken to zero
FLOOR = 1e-4  # eV: scales below this are noise of the DFT grid
Coefficients = tuple[dict[tuple[int, int], tuple[Tensor, Tensor]], dict[int, Tensor]]
"""Off-site: per pair of elements (bond lengths, coefficients); on-site: per element coefficients. All float64."""


class PairBaseline(nn.Module):
    """Radial functions of one pair of elements.

    Parameters
    ----------
    table : PairTable
        Layout of the coefficients.
    cutoff : float
        Angstrom.
    degree : int
        Of the Chebyshev series.
    """

    series: Tensor
    log_scale: Tensor
    shortest: Tensor
    cutoff: Tensor

    def __init__(self, table: PairTable, cutoff: float, degree: int) -> None:
        super().__init__()
        self.degree = degree
        self.sigma_plus = np.flatnonzero(table.sector == 0)  # the coefficients with a two-centre part
        self.key = torch.as_tensor(table.key)
        self.size = table.size
        self.register_buffer("series", torch.zeros(degree + 1, len(self.sigma_plus), dtype=torch.float64))
        self.register_buffer("log_scale", torch.zeros(3, int(table.key.max()) + 1, dtype=torch.float64))
        self.register_buffer("shortest", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("cutoff", torch.tensor(cutoff, dtype=torch.float64))

    def reduced(self, r: Tensor) -> Tensor:
        """Bond length mapped to [-1, 1] between the shortest bond of the data and the cutoff."""
        s, c = self.shortest, self.cutoff
        return 2 * (torch.minimum(torch.maximum(r.double(), s), c) - s) / (c - s) - 1

    def functions(self, r: Tensor) -> Tensor:
        """(n, degree + 1) Chebyshev polynomials times the cutoff."""
        x = self.reduced(r)
        T = torch.cos(torch.arange(self.degree + 1, device=x.device) * torch.arccos(x.clamp(-1, 1))[:, None])
        return T * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]

    def two_centre(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) Slater-Koster coefficients, float64."""
        out = self.series.new_zeros(len(r), self.size)
        out[:, self.sigma_plus] = self.functions(r) @ self.series
        return out

    def scale(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) sigma in eV, float64."""
        x = self.reduced(r)
        log = torch.stack([torch.ones_like(x), x, x * x], 1) @ self.log_scale
        return log.exp()[:, self.key.to(r.device)] * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]


class Baseline(nn.Module):
    """Baseline and scales of all elements and pairs of a model.

    Parameters
    ----------
    pair_tables, atom_tables : dicts
        Layouts; pairs (zi, zj) with zi <= zj.
    cutoffs : dict of (zi, zj) to float
        Angstrom.
    degree : int
        Of the Chebyshev series.
    """

    def __init__(
        self,
        pair_tables: dict[tuple[int, int], PairTable],
        atom_tables: dict[int, AtomTable],
        cutoffs: dict[tuple[int, int], float],
        degree: int,
    ) -> None:
        super().__init__()
        self.pair_tables, self.atom_tables = pair_tables, atom_tables
        self.pairs = nn.ModuleDict({f"{i}_{j}": PairBaseline(t, cutoffs[i, j], degree) for (i, j), t in pair_tables.items()})
        for z, table in atom_tables.items():
            self.register_buffer(f"mean_{z}", torch.zeros(table.size, dtype=torch.float64))
            self.register_buffer(f"scale_{z}", torch.ones(table.size, dtype=torch.float64))

        self.register_buffer("unit_offsite", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("unit_onsite", torch.tensor(1.0, dtype=torch.float64))

    unit_offsite: Tensor
    unit_onsite: Tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Baseline":
        """Follow the network to another device, but stay in double precision: H itself is made here."""
        return super()._apply(lambda t: t.to(fn(t).device), recurse)  # type: ignore[no-any-return]

    def pair(self, kind: tuple[int, int]) -> PairBaseline:
        """Radial functions of a pair of elements."""
        module = self.pairs[f"{kind[0]}_{kind[1]}"]
        if not isinstance(module, PairBaseline):
            raise TypeError(module)
        return module

    def atom_mean(self, z: int) -> Tensor:
        """(size,) on-site mean of an element."""
        return self.get_buffer(f"mean_{z}")

    def atom_scale(self, z: int) -> Tensor:
        """(size,) on-site scale of an element."""
        return self.get_buffer(f"scale_{z}")

    def fit(self, data: Iterable[Coefficients]) -> None:
        """Fit everything to the coefficients of some structures."""
        structures = list(data)
        rest = [self._fit_pair(kind, [s[0][kind] for s in structures if kind in s[0]]) for kind in self.pair_tables]
        self.unit_offsite.copy_(torch.cat(rest).square().mean().sqrt() + FLOOR)
        rest = [self._fit_atom(z, table, torch.cat([s[1][z] for s in structures if z in s[1]])) for z, table in self.atom_tables.items()]
        self.unit_onsite.copy_(torch.cat(rest).square().mean().sqrt() + FLOOR)

    def _fit_pair(self, kind: tuple[int, int], samples: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Normal equations over both orientations of each bond, then the scale of the residual, which is returned (flat)."""
        pair, table = self.pair(kind), self.pair_tables[kind]
        if not samples:
            return torch.zeros(0, dtype=torch.float64)
        r, c = torch.cat([s[0] for s in samples]), torch.cat([s[1] for s in samples])
        if kind[0] == kind[1]:  # seen from the other end the bond is as good a sample
            r, c = torch.cat([r, r]), torch.cat([c, c[:, table.exchanged] * torch.as_tensor(table.exchange_sign)])
        pair.shortest.fill_(min(float(r.min()), float(pair.cutoff) - EDGE))
        F = pair.functions(r)
        ridge = 1e-8 * len(r) * torch.eye(F.shape[1], dtype=F.dtype)
        pair.series.copy_(torch.linalg.solve(F.T @ F + ridge, F.T @ c[:, pair.sigma_plus]))
        rest = c - pair.two_centre(r)
        power = torch.zeros(len(r), pair.log_scale.shape[1], dtype=r.dtype).index_add_(1, pair.key, rest.square())
        power = power / torch.bincount(pair.key)
        edges = torch.quantile(r[:: max(1, len(r) // 100_000)], torch.linspace(0, 1, 13, dtype=r.dtype))
        bins = torch.bucketize(r, edges[1:-1])
        x = pair.reduced(r)
        rows, logs, weights = [], [], []
        for b in range(12):
            inside = bins == b
            if int(inside.sum()) < 2:
                continue
            fall = smooth_cutoff(r[inside], pair.cutoff, EDGE).square().mean()
            if fall < 1e-4:
                continue
            rows.append(x[inside].mean())
            logs.append(0.5 * torch.log(power[inside].mean(0) / fall + FLOOR**2))
            weights.append(inside.sum().sqrt())
        if len(rows) < 3:
            pair.log_scale[0] = 0.5 * torch.log(power.mean(0) + FLOOR**2)
            return rest.flatten()
        X, w = torch.stack(rows), torch.stack(weights)[:, None]
        A = torch.stack([torch.ones_like(X), X, X * X], 1)
        pair.log_scale.copy_(torch.linalg.lstsq(A * w, torch.stack(logs) * w).solution)
        return rest.flatten()

    def _fit_atom(self, z: int, table: AtomTable, c: Tensor) -> Tensor:
        """Isotropic mean, and one scale per shell pair and L; returns the rest (flat)."""
        mean, scale = self.atom_mean(z), self.atom_scale(z)
        for _, _, L, start in table.paths:
            if L == 0:
                mean[start] = c[:, start].mean()
            rows = slice(start, start + 2 * L + 1)
            scale[rows] = torch.sqrt((c[:, rows] - mean[rows]).square().mean() + FLOOR**2)
        return (c - mean).flatten()
