"""Energy, Berry curvature and spin of a band over a plane of k."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from deeph.runtime.log import telling
from postprocess.contours.contours import mesh_divisions
from postprocess.contours.plane import KPlane
from postprocess.contours.quantities import QUANTITIES, PlaneGeometry, Quantity, check_quantities
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.positions import Source, find_positions
from postprocess.states.batches import evaluate_batches
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ZoneMap(Savable):
    """A quantity of a band over the zone.

    Attributes
    ----------
    what : str
        "energy" (eV from ``zero``), "curvature" (Angstrom^2, along the normal of the plane) or "spin-x", "spin-y", "spin-z" (-1 to 1).
    bands : tuple of int
        Whose, counted from 0.
    spin : int
        Channel of collinear spins.
    values : (n1, n2) array
        At k = origin + (i/n1) u + (j/n2) v of the plane.
    spins : (n1, n2, 3) array or None
        Expectation values of the Pauli matrices.
    plane : KPlane
        Where.
    zero : float
        eV on the energy zero of H.
    fermi : FermiLevel or None
        The Fermi level.
    positions : str
        Where they come from; empty if none were used.
    title : str
        Name for legends and tables.
    """

    what: Quantity
    bands: tuple[int, ...]
    spin: int
    values: FloatArray
    spins: FloatArray | None
    plane: KPlane
    zero: float
    fermi: FermiLevel | None = None
    positions: str = ""
    title: str = ""

    def __repr__(self) -> str:
        return f"ZoneMap {self.title}, {self.what} of {self.band_text}, from {self.values.min():.4g} to {self.values.max():.4g}"

    @property
    def band_text(self) -> str:
        """Such as ``band 5``."""
        return f"band{'s' * (len(self.bands) > 1)} {', '.join(str(n + 1) for n in self.bands)}"

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.contour_tables import write_map

        write_map(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the map; see :func:`postprocess.output.contour_plot.plot_map`."""
        from postprocess.output.contour_plot import plot_map

        return plot_map(self, **options)


@dataclass(frozen=True)
class MapOf:
    """What a map shows.

    Attributes
    ----------
    what : str
        See :class:`ZoneMap`.
    bands : tuple of int
        One, counted from 0; of the curvature several, as one group.
    spin : int
        Channel of collinear spins.
    arrows : bool
        Whether the spin is wanted besides.

    Raises
    ------
    UsageError
        If there is no band, or more than one without being a group.
    """

    what: Quantity
    bands: Sequence[int]
    spin: int = 0
    arrows: bool = False

    def __post_init__(self) -> None:
        if self.what not in QUANTITIES or not len(self.bands):
            raise UsageError(f"a map of {self.what!r}: expected one of {', '.join(QUANTITIES)}, and a band")
        if len(self.bands) > 1 and (self.what != "curvature" or self.with_spin):
            what = "spin" if self.with_spin else self.what
            raise UsageError(f"a map of {what} shows one band, not {len(self.bands)}: name it, such as band {max(self.bands) + 1}")

    @property
    def with_spin(self) -> bool:
        """Whether it takes the spin of the states."""
        return self.arrows or self.what.startswith("spin")


def compute_map(
    hamiltonian: Hamiltonian,
    plane: KPlane,
    of: MapOf,
    *,
    fermi: FermiLevel | None = None,
    divisions: tuple[int, int] | None = None,
    source: Source | None = None,
    jobs: Jobs | None = None,
    title: str = "",
) -> ZoneMap:
    """A quantity of a band over the zone.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H, and position matrices if there are any.
    plane : KPlane
        See :func:`postprocess.contours.plane.make_plane`.
    of : MapOf
        What of which band.
    fermi, divisions, jobs
        As for :func:`postprocess.contours.contours.find_contours`.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    title : str
        Name for legends and tables.

    Raises
    ------
    UsageError
        If there are no such bands.
    DataError
        If H has no such quantity.
    """
    check_quantities(hamiltonian, spin=of.with_spin)
    what, group = of.what, tuple(sorted(of.bands))
    if not 0 <= group[0] <= group[-1] < hamiltonian.n_orbitals:
        raise UsageError(f"bands {[n + 1 for n in group]}: this structure has bands 1 to {hamiltonian.n_orbitals}")
    hamiltonian = hermitian(hamiltonian)
    n = divisions or mesh_divisions(plane)
    xy = np.stack(np.meshgrid(np.arange(n[0]) / n[0], np.arange(n[1]) / n[1], indexing="ij"), axis=-1)
    normal = plane.normal
    together = group if what == "curvature" and len(group) > 1 else ()
    quantity = PlaneGeometry((float(normal[0]), float(normal[1]), float(normal[2])), what == "curvature", of.with_spin, together, source)
    with telling(f"{what} on {n[0]} x {n[1]} k-points"):
        found = evaluate_batches(hamiltonian, plane.fractional(xy.reshape(-1, 2)), quantity, jobs=jobs)
    zero = 0.0 if fermi is None else fermi.energy
    spins = found["spin"][of.spin, :, :, group[0]].reshape(*n, 3) if of.with_spin else None
    if what == "energy":
        values = found["energies"][of.spin, :, group[0]] - zero
    elif what == "curvature":
        values = found["curvature"][of.spin] if together else found["curvature"][of.spin, :, group[0]]
    else:
        values = found["spin"][of.spin, :, "xyz".index(what[-1]), group[0]]
    where = find_positions(hamiltonian, source).source if what == "curvature" else ""
    return ZoneMap(what, group, of.spin, values.reshape(n), spins, plane, zero, fermi, where, title)
