"""Berry curvature and spin of bands in a plane of k: on contours, and as maps over the zone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.contours.contours import Contours, mesh_divisions
from postprocess.contours.plane import KPlane
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.lattice.mesh import Symmetry
from postprocess.states.batches import LARGEST, evaluate_batches
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["energy", "curvature", "spin-x", "spin-y", "spin-z"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)
NOTHING = {"curvature": 1e-4, "spin-x": 1e-6, "spin-y": 1e-6, "spin-z": 1e-6}
"""What is nowhere larger is zero to the digits: Angstrom^2 (next to points where bands touch it is a quotient of small numbers), 1."""


def zero_line(what: str, values: FloatArray) -> list[str]:
    """What is said of a quantity that is zero to the digits; nothing of others."""
    if what not in NOTHING or np.abs(values).max() > NOTHING[what]:
        return []
    unit = " Angstrom^2" if what == "curvature" else ""
    return [f"zero         {what} is nowhere larger than {NOTHING[what]:g}{unit}: it is zero, as inversion with time reversal makes it"]


@dataclass(frozen=True)
class PlaneGeometry:
    """Energies (n_k, n), curvature along the normal (n_k, n) or of a group (n_k,), and spin (n_k, 3, n); a BatchQuantity.

    Attributes
    ----------
    normal : tuple of 3 float
        Unit vector.
    curvature, spin : bool
        What is wanted.
    group : tuple of int
        Levels whose curvature is wanted as that of one group.
    source : str or None
        Of the positions.
    """

    symmetry: ClassVar[Symmetry] = "none"
    normal: tuple[float, float, float]
    curvature: bool = False
    spin: bool = False
    group: tuple[int, ...] = ()
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k."""
        basis, normal = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source)), np.array(self.normal)

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            out: Result = {"energies": g.energies}
            if self.curvature and self.group:
                out["curvature"] = np.einsum("kann,a->k", g.curvature_matrix(self.group), normal).real
            elif self.curvature:
                out["curvature"] = np.einsum("kan,a->kn", g.curvature(), normal)
            if self.spin:
                out["spin"] = g.spin_texture()
            return out

        return compute


def check_quantities(hamiltonian: Hamiltonian, *, spin: bool) -> None:
    """Refuse what this H has not.

    Raises
    ------
    DataError
        If spin is asked for and the states are no spinors.
    UsageError
        If there are too many orbitals for dense matrices.
    """
    if spin and hamiltonian.basis.spin != "spinor":
        kind = "no spin" if hamiltonian.basis.spin == "none" else "collinear spins, which are up or down at every k"
        raise DataError(f"{hamiltonian.system} has {kind}: a spin texture takes spinors (a run with spin-orbit coupling, or non-collinear)")
    if hamiltonian.n_orbitals > LARGEST:
        raise UsageError(f"{hamiltonian.n_orbitals} orbitals are too many for the dense matrices of curvature and spin; {LARGEST} at most")


def with_quantities(
    found: Contours,
    hamiltonian: Hamiltonian,
    *,
    curvature: bool = False,
    spin: bool = False,
    source: Source | None = None,
    jobs: Jobs | None = None,
) -> Contours:
    """The same contours with Berry curvature and spin at their points.

    Parameters
    ----------
    found : Contours
        See :func:`postprocess.contours.contours.find_contours`.
    hamiltonian : Hamiltonian
        Of the same, with position matrices if there are any.
    curvature, spin : bool
        What is wanted.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    jobs : Jobs, optional
        Processes.

    Raises
    ------
    DataError, UsageError
        As :func:`check_quantities`.
    """
    check_quantities(hamiltonian, spin=spin)
    hamiltonian = hermitian(hamiltonian)
    n = found.plane.normal
    quantity = PlaneGeometry((float(n[0]), float(n[1]), float(n[2])), curvature, spin, source=source)
    with telling("curvature and spin on contours"):
        values = evaluate_batches(hamiltonian, np.concatenate([line.k for line in found.lines]), quantity, jobs=jobs)
    lines, start = [], 0
    for line in found.lines:
        part = np.arange(start, start + len(line.k))
        start += len(line.k)
        own = values["curvature"][line.spin, part, line.band] if curvature else None
        spins = values["spin"][line.spin, part, :, line.band] if spin else None
        lines.append(replace(line, curvature=own, spins=spins))
    return replace(found, lines=tuple(lines), positions=find_positions(hamiltonian, source).source if curvature else "")


@dataclass(frozen=True)
class ZoneMap:
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

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``) or a table (``.csv``, ``.json``, ``.h5``)."""
        from deeph.files.figures import SUFFIXES, save_figure
        from postprocess.output.contour_tables import write_map

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        else:
            write_map(Path(path), self)

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
