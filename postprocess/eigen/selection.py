"""Which levels of a Hamiltonian are wanted, and which solver suits them: chosen by size and by what is installed."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.backends import best_backend
from postprocess.eigen.options import SolverOptions

DENSE_LIMIT = 2500
"""Orbitals up to which LAPACK is as fast as anything."""
DENSE_LARGEST = 20000
"""Orbitals up to which all levels are computed without being told how; a dense matrix has 6 GiB then."""
DENSE_SHARE = 0.2
"""Share of all levels from which on LAPACK is faster."""


@dataclass(frozen=True)
class Selection:
    """All levels, a range of bands, those in a window, or those nearest an energy.

    Attributes
    ----------
    low, high : float
        The window in eV, on the energy zero of H.
    n_bands : int or None
        Instead: so many levels nearest ``center``.
    center : float
        eV.
    bands : (first, last) or None
        Instead: a range of bands counted from 0, both included; dense matrices only.
    options : SolverOptions
        How they are found.
    """

    low: float = -np.inf
    high: float = np.inf
    n_bands: int | None = None
    center: float = 0.0
    bands: tuple[int, int] | None = None
    options: SolverOptions = field(default_factory=SolverOptions)

    def __post_init__(self) -> None:
        if self.n_bands is not None and self.n_bands < 1:
            raise UsageError(f"{self.n_bands} bands asked for: expected at least one")
        if self.n_bands is None and not self.low < self.high:
            raise UsageError(f"window {self.low:g} to {self.high:g} eV: expected two energies, the lower one first")
        if not np.isfinite(self.center):
            raise UsageError(f"centre {self.center}: expected an energy in eV")
        if self.options.name == "slepc" and self.n_bands is None and not np.isfinite([self.low, self.high]).all():
            raise UsageError(f"window {self.low:g} to {self.high:g} eV: the solver slepc needs two finite energies, or a number of bands")

    @property
    def is_everything(self) -> bool:
        """Whether all levels, or a range of bands, are wanted, without a projection."""
        return self.n_bands is None and not np.isfinite([self.low, self.high]).any() and not self.options.project

    def choose(self, n_orbitals: int) -> str:
        """The name of the solver for a problem of some size.

        Raises
        ------
        UsageError
            If there are not so many bands.
        """
        if (self.n_bands or 0) > n_orbitals:
            raise UsageError(f"{self.n_bands} bands asked for, but there are {n_orbitals} orbitals")
        if self.bands is not None and not 0 <= self.bands[0] <= self.bands[1] < n_orbitals:
            raise UsageError(f"bands {self.bands[0]} to {self.bands[1]}: expected an ascending range within 0 to {n_orbitals - 1}")
        if self.options.name != "auto":
            return self.options.name
        many = (self.n_bands or 0) > DENSE_SHARE * n_orbitals
        endless = self.n_bands is None and not np.isfinite([self.low, self.high]).all()
        dense = n_orbitals <= DENSE_LIMIT or many or endless or self.bands is not None or self.options.device != "cpu"
        return "dense" if dense else best_backend()

    def describe(self, n_orbitals: int) -> str:
        """What solves a problem of some size."""
        name, device = self.choose(n_orbitals), self.options.device
        if name == "dense":
            return f"dense matrices ({'LAPACK' if device == 'cpu' else device}), {n_orbitals} orbitals"
        return f"{name}{' in single precision, refined' * self.options.single}, {n_orbitals} orbitals"

    def select(self, energies: FloatArray) -> tuple[int, npt.NDArray[np.int64]]:
        """How many of all levels, ascending, lie below the wanted ones, and the places of these."""
        if self.bands is not None:
            which = np.arange(self.bands[0], self.bands[1] + 1)
        elif self.n_bands is not None:
            which = np.sort(np.argsort(np.abs(energies - self.center), kind="stable")[: self.n_bands])
        else:
            which = np.flatnonzero((energies >= self.low) & (energies <= self.high))
        return int(which[0]) if len(which) else int((energies < self.low).sum()), which
