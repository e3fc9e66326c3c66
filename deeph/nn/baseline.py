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
FLOOR = 1e-5  # eV: scales below this are noise of the DFT grid
KNOTS = 32  # of the scale as a function of r
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
        self.register_buffer("log_scale", torch.zeros(KNOTS, int(table.key.max()) + 1, dtype=torch.float64))
        self.register_buffer("shortest", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("cutoff", torch.tensor(cutoff, dtype=torch.float64))

    def _reduced(self, r: Tensor) -> Tensor:
        """Bond length mapped to [-1, 1] between the shortest bond of the data and the cutoff."""
        s, c = self.shortest, self.cutoff
        return 2 * (torch.minimum(torch.maximum(r.double(), s), c) - s) / (c - s) - 1

    def functions(self, r: Tensor) -> Tensor:
        """(n, degree + 1) Chebyshev polynomials times the cutoff."""
        x = self._reduced(r)
        T = torch.cos(torch.arange(self.degree + 1, device=x.device) * torch.arccos(x.clamp(-1, 1))[:, None])
        return T * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]

    def _kernel(self, r: Tensor, width: float) -> Tensor:
        """(n, KNOTS) Gaussians around even knots, ``width`` in units of their distance."""
        knots = torch.linspace(-1, 1, KNOTS, dtype=torch.float64, device=r.device)
        return torch.exp(-0.5 * ((self._reduced(r)[:, None] - knots) * (KNOTS - 1) / (2 * width)) ** 2)

    def two_centre(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) Slater-Koster coefficients, float64."""
        out = self.series.new_zeros(len(r), self.size)
        out[:, self.sigma_plus] = self.functions(r) @ self.series
        return out

    def scale(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) sigma in eV, float64: a smooth mean of log sigma at the knots, times the cutoff."""
        w = self._kernel(r, 1.0)
        log = (w / w.sum(1, keepdim=True)) @ self.log_scale
        return log.exp()[:, self.key.to(r.device)] * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]

    def fit(self, r: Tensor, c: Tensor) -> None:
        """Fit the series and the scale to (n,) bond lengths and (n, size) coefficients.

        After a first round each bond is weighed by 1/sigma^2, so that small values at large r count as much as large ones of near
        neighbours.
        """
        self.shortest.fill_(min(float(r.min()), float(self.cutoff) - EDGE))
        F = self.functions(r)
        weight = torch.ones(len(r), len(self.sigma_plus), dtype=r.dtype)
        for _ in range(3):
            A = torch.einsum("np,nk,nq->kpq", F, weight, F)
            b = torch.einsum("np,nk,nk->kp", F, weight, c[:, self.sigma_plus])
            ridge = 1e-9 * A.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(F.shape[1], dtype=r.dtype)
            self.series.copy_(torch.linalg.solve(A + ridge, b).T)
            self._fit_scale(r, (c - self.two_centre(r)).square())
            weight = self.scale(r)[:, self.sigma_plus].clamp(min=FLOOR) ** -2

    def _fit_scale(self, r: Tensor, square: Tensor) -> None:
        """Root mean square of the rest around each knot; knots without data take it from the nearest one that has."""
        power = torch.zeros(len(r), self.log_scale.shape[1], dtype=r.dtype).index_add_(1, self.key, square) / torch.bincount(self.key)
        w = self._kernel(r, 0.5)
        count = w.sum(0)
        fall = w.T @ smooth_cutoff(r, self.cutoff, EDGE).square()
        known = torch.nonzero((count > 1.0) & (fall > 1e-4 * count))[:, 0]
        if not len(known):
            known = torch.tensor([int(count.argmax())])
        log = 0.5 * torch.log((w.T @ power)[known] / fall[known, None].clamp(min=1e-12) + FLOOR**2)
        self.log_scale.copy_(log[(torch.arange(KNOTS)[:, None] - known).abs().argmin(1)])


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
        """Fit one pair of elements; returns what is left (flat)."""
        pair, table = self.pair(kind), self.pair_tables[kind]
        if not samples:
            return torch.zeros(0, dtype=torch.float64)
        r, c = torch.cat([s[0] for s in samples]), torch.cat([s[1] for s in samples])
        if kind[0] == kind[1]:  # seen from the other end the bond is as good a sample
            r, c = torch.cat([r, r]), torch.cat([c, c[:, table.exchanged] * torch.as_tensor(table.exchange_sign)])
        pair.fit(r, c)
        return (c - pair.two_centre(r)).flatten()

    def _fit_atom(self, z: int, table: AtomTable, c: Tensor) -> Tensor:
        """Isotropic mean, and one scale per shell pair and L; returns the rest (flat)."""
        mean, scale = self.atom_mean(z), self.atom_scale(z)
        for _, _, L, start in table.paths:
            if L == 0:
                mean[start] = c[:, start].mean()
            rows = slice(start, start + 2 * L + 1)
            scale[rows] = torch.sqrt((c[:, rows] - mean[rows]).square().mean() + FLOOR**2)
        return (c - mean).flatten()
