"""Lines of constant energy as results: their areas, frequencies, carriers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.files.savable import Savable
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR
from postprocess.contours.plane import KPlane
from postprocess.states.fermi import FermiLevel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TESLA = 1e20 * HBAR / (2 * np.pi)
"""Quantum oscillations: tesla for each 1/Angstrom^2 that an orbit encloses, hbar / 2 pi e (L. Onsager, doi:10.1080/14786440908521019)."""


@dataclass(frozen=True)
class Contour:
    """One line.

    Attributes
    ----------
    energy : float
        eV, on the energy zero of H.
    spin, band : int
        Channel, and number counted from 0.
    k : (n, 3) array
        Fractional, not wrapped; of a closed line the first point is not repeated.
    xy : (n, 2) array
        1/Angstrom on the axes of the plane, from its origin.
    off : (n,) array
        E(k) - E, eV.
    midway : (n,) array
        E(k) - E in the middle between each point and the next, eV; NaN at the end of an open line.
    closed : bool
        Whether it comes back to its first point; else it leads to a point of another period, or ends where nothing was computed.
    limit : float
        What ``midway`` should not exceed, eV.
    curvature : (n,) array or None
        Berry curvature of the band, component normal to the plane, Angstrom^2.
    spins : (n, 3) array or None
        Expectation values of the Pauli matrices.
    """

    energy: float
    spin: int
    band: int
    k: FloatArray
    xy: FloatArray
    off: FloatArray
    midway: FloatArray
    closed: bool
    limit: float
    curvature: FloatArray | None = None
    spins: FloatArray | None = None

    def __repr__(self) -> str:
        kind = f"closed, area {self.area:+.4g} 1/Angstrom^2" if self.closed else "open"
        return f"Contour band {self.band + 1} at {self.energy:.4f} eV, {len(self.k)} points, {kind}"

    @property
    def area(self) -> float:
        """1/Angstrom^2 that a closed line encloses: positive around lower energies (electrons), negative around higher ones (holes)."""
        x, y = self.xy.T
        return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2) if self.closed else float("nan")

    @property
    def frequency(self) -> float:
        """Of quantum oscillations with the field along the normal, tesla."""
        return TESLA * abs(self.area)


@dataclass(frozen=True)
class Contours(Savable):
    """Lines of several energies.

    Attributes
    ----------
    lines : tuple of Contour
        By energy, spin and band.
    energies : tuple of float
        eV from ``zero``, as they were asked for.
    zero : float
        eV on the energy zero of H: the Fermi level, or 0.
    filled : (n_energies, n_spin, n_bands) array
        Part of the zone where each band lies below each energy, within the plane; NaN where this was not asked for, or a partial solver
        left levels out.
    first_band : int
        Number of the first of these bands.
    electrons_per_level : int
        2 without spin.
    plane : KPlane
        Where.
    divisions : (int, int)
        Of the mesh on which they were looked for.
    n_k : int
        k-points computed in all.
    tolerance : float
        eV.
    fermi : FermiLevel or None
        The Fermi level.
    positions : str
        Where those of the curvature come from; empty if there is none.
    title : str
        Name for legends and tables.
    """

    lines: tuple[Contour, ...]
    energies: tuple[float, ...]
    zero: float
    filled: FloatArray
    first_band: int
    electrons_per_level: int
    plane: KPlane
    divisions: tuple[int, int]
    n_k: int
    tolerance: float
    fermi: FermiLevel | None = None
    positions: str = ""
    title: str = ""

    def __repr__(self) -> str:
        return f"Contours {self.title}, {len(self.lines)} lines at {len(self.energies)} energies, plane {self.plane.text}"

    @property
    def midway(self) -> float:
        """Largest ``|E(k) - E|`` in the middle between two neighbouring points of a line, eV."""
        return float(max(np.nanmax(np.abs(line.midway), initial=0.0) for line in self.lines))

    def of(self, energy: float) -> tuple[Contour, ...]:
        """The lines of one energy, eV from ``zero``."""
        return tuple(line for line in self.lines if abs(line.energy - self.zero - energy) < 1e-9)

    def carriers(self, number: int, spin: int, band: int) -> float:
        """Electrons (positive) or holes (negative) of a band of a layer at one of the energies, per cm^2, the fewer of both."""
        part = float(self.filled[number, spin, band - self.first_band])
        per_cell = self.electrons_per_level * (part if part <= 0.5 else part - 1)
        return per_cell * self.plane.area / (2 * np.pi) ** 2 * 1e16

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.contour_tables import write_contours

        write_contours(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the lines in the zone; see :func:`postprocess.output.contour_plot.plot_contours`."""
        from postprocess.output.contour_plot import plot_contours

        return plot_contours(self, **options)
