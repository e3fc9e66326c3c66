"""What is known before training: a Slater-Koster baseline and the scale of what is left.

    H_ij = B_ij(r) + sigma_ij(r) h_ij          off-site, coefficients in the bond frame
    H_ii = mean + sigma h_ii                   on-site, coefficients of (shells, L)

for each part of H by itself. B is the two-centre part: for every pair of elements and shells and every irrep Sigma+ of the bond a
Chebyshev series in the bond length, fitted by smoothed least squares (J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), with the
integrals as free functions). Of the spin-orbit part these irreps are the l.s couplings of two atoms, and its on-site mean is xi L.S. The
exchange field A_a has the two moments as factors: A_ij = m_i f(r) + m_j g(r), and m_i times a mean on-site. sigma is the
root mean square of the rest, a smooth function of r. Both vanish at the cutoff with two continuous derivatives. Below the shortest bond
of the data B goes on along its tangent, and sigma goes over into its value there.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deeph.nn.radial import smooth_cutoff
from deeph.nn.spin import SpinPart
from deeph.nn.tables import AtomTable, PairTable

EDGE = 1.0  # Angstrom before the cutoff over which everything is taken to zero
FLOOR = 1e-5  # eV: scales below this are noise of the DFT grid
SPIN_FLOOR = 1e-7  # eV: the same of the parts with spin; what is smaller everywhere is zero by structure
KNOTS = 32  # of the scale as a function of r
NOTHING = -1e4  # logarithm of a scale that is zero


class BondSample(NamedTuple):
    """Some bonds between two elements: lengths (n,), moments of both ends (n, 2, n_spin), coefficients (n, copies, size); float64."""

    r: Tensor
    moments: Tensor
    coefficients: Tensor


class AtomSample(NamedTuple):
    """Some atoms of an element: moments (n, n_spin), coefficients (n, copies, size); float64."""

    moments: Tensor
    coefficients: Tensor


class Coefficients(NamedTuple):
    """Coefficients of one part of H of one structure, by pairs of elements and by elements."""

    pairs: dict[tuple[int, int], BondSample]
    atoms: dict[int, AtomSample]


class PairBaseline(nn.Module):
    """Radial functions of one pair of elements, for one part of H.

    Parameters
    ----------
    part : SpinPart
        Of H.
    table : PairTable
        Layout of the coefficients.
    cutoff : float
        Angstrom.
    degree : int
        Of the Chebyshev series.
    flat : bool
        Constant below the shortest bond, as in the first version of model files, whose series have no reliable tangent there.
    """

    series: Tensor
    log_scale: Tensor
    shortest: Tensor
    cutoff: Tensor

    def __init__(self, part: SpinPart, table: PairTable, cutoff: float, degree: int, *, flat: bool = False) -> None:
        super().__init__()
        self.degree, self.flat, self.copies = degree, flat, part.copies
        self.magnetic = part.name == "A"
        known = not part.odd or self.magnetic  # nothing odd under time reversal follows from two places alone
        self.sigma_plus = np.flatnonzero(table.sector == 0) if known else np.zeros(0, np.int64)
        self.key = torch.as_tensor(table.key)
        self.size = table.size
        n_functions = (degree + 1) * (2 if self.magnetic else 1)
        self.register_buffer("series", torch.zeros(n_functions, len(self.sigma_plus), dtype=torch.float64))
        self.register_buffer("log_scale", torch.zeros(KNOTS, int(table.key.max()) + 1, dtype=torch.float64))
        self.register_buffer("shortest", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("cutoff", torch.tensor(cutoff, dtype=torch.float64))

    def _reduced(self, r: Tensor) -> Tensor:
        """Bond length mapped to [-1, 1] between the shortest bond of the data and the cutoff; shorter ones lie below -1."""
        s, c = self.shortest, self.cutoff
        r = torch.maximum(r.double(), s) if self.flat else r.double()
        return 2 * (torch.minimum(r, c) - s) / (c - s) - 1

    def functions(self, r: Tensor) -> Tensor:
        """(n, degree + 1) Chebyshev polynomials, below -1 their tangents, times the cutoff."""
        x = self._reduced(r)[:, None]
        n, inside = torch.arange(self.degree + 1, device=x.device), x.clamp(min=-1)
        tangent = (-1.0) ** (n + 1) * n**2
        T = torch.cos(n * torch.arccos(inside.clamp(max=1))) + (x - inside) * tangent
        return T * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]

    def kernel(self, r: Tensor, width: float) -> Tensor:
        """(n, KNOTS) logarithms of Gaussians around even knots, ``width`` in units of their distance."""
        knots = torch.linspace(-1, 1, KNOTS, dtype=torch.float64, device=r.device)
        return -0.5 * ((self._reduced(r)[:, None] - knots) * (KNOTS - 1) / (2 * width)) ** 2

    def design(self, r: Tensor, moments: Tensor) -> Tensor:
        """(n, copies, n_functions) functions that the series multiply: of the length, and for the exchange field times each moment.

        Parameters
        ----------
        r : (n,) tensor
            Bond lengths.
        moments : (n, 2, n_spin) tensor
            Of both ends, in units of the mean of their element.
        """
        F = self.functions(r)[:, None]
        if not self.magnetic:
            return F
        first, second = moments.to(F).unbind(1)
        return torch.cat([first[..., None] * F, second[..., None] * F], -1)

    def two_centre(self, r: Tensor, moments: Tensor) -> Tensor:
        """(n, copies, size) Slater-Koster coefficients, float64; parameters as for :meth:`design`."""
        out = self.series.new_zeros(len(r), self.copies, self.size)
        if len(self.sigma_plus):
            out[..., self.sigma_plus] = self.design(r, moments) @ self.series
        return out

    def scale(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) sigma in eV, float64, with the cutoff."""
        return self.level(r) * smooth_cutoff(r.double(), self.cutoff, EDGE)[:, None]

    def level(self, r: Tensor) -> Tensor:
        """(n,) bond lengths -> (n, size) sigma without the cutoff: a smooth mean of log sigma at the knots."""
        log = torch.softmax(self.kernel(r, 1.0), 1) @ self.log_scale
        return log.exp()[:, self.key.to(r.device)]


class Baseline(nn.Module):
    """Baseline and scales of all elements and pairs of a model, for one part of H.

    Parameters
    ----------
    part : SpinPart
        Of H.
    pair_tables, atom_tables : dicts
        Layouts; pairs (zi, zj) with zi <= zj.
    cutoffs : dict of (zi, zj) to float
        Angstrom.
    degree : int
        Of the Chebyshev series.
    flat : bool
        See :class:`PairBaseline`.
    """

    def __init__(
        self,
        part: SpinPart,
        pair_tables: dict[tuple[int, int], PairTable],
        atom_tables: dict[int, AtomTable],
        cutoffs: dict[tuple[int, int], float],
        degree: int,
        *,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.part, self.pair_tables, self.atom_tables = part, pair_tables, atom_tables
        self.pairs = nn.ModuleDict(
            {f"{i}_{j}": PairBaseline(part, t, cutoffs[i, j], degree, flat=flat) for (i, j), t in pair_tables.items()}
        )
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

    @property
    def floor(self) -> float:
        """Smallest scale, eV."""
        return FLOOR if self.part.name == "A0" else SPIN_FLOOR

    def atom_mean(self, z: int) -> Tensor:
        """(size,) on-site mean of an element; of the exchange field for a moment of 1."""
        return self.get_buffer(f"mean_{z}")

    def onsite(self, z: int, moments: Tensor) -> Tensor:
        """(n, copies, size) known coefficients of some atoms of an element, float64.

        Parameters
        ----------
        z : int
            Element.
        moments : (n, n_spin) tensor
            In units of the mean of the element.
        """
        mean = self.atom_mean(z)[None, None]
        return moments.to(mean)[..., None] * mean if self.part.name == "A" else mean.expand(len(moments), 1, -1)

    def atom_scale(self, z: int) -> Tensor:
        """(size,) on-site scale of an element."""
        return self.get_buffer(f"scale_{z}")
