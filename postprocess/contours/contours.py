"""Lines of constant energy of bands in a plane of k: every point of them solves E(k) = E."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, telling
from postprocess.contours.lines import Crossings, chains, find_crossings
from postprocess.contours.plane import KPlane
from postprocess.contours.roots import BandEnergies, Targets, find_roots
from postprocess.contours.smooth import STRAIGHT, counted_twice, signed_area, smooth_line
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import SolverFactory
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs
from postprocess.states.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLERANCE = 1e-5
"""eV, of every point of a contour."""
DENSITY = 20.0
"""Points of the default mesh per 1/Angstrom (with 2 pi)."""
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
class Contours:
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

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``) or a table (``.csv``, ``.json``, ``.h5``)."""
        from deeph.files.figures import SUFFIXES, save_figure
        from postprocess.output.contour_tables import write_contours

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        else:
            write_contours(Path(path), self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the lines in the zone; see :func:`postprocess.output.contour_plot.plot_contours`."""
        from postprocess.output.contour_plot import plot_contours

        return plot_contours(self, **options)


def mesh_divisions(plane: KPlane, density: float = DENSITY) -> tuple[int, int]:
    """Points along u and v, multiples of 12: halves, thirds and quarters, where band edges often lie, are among them."""
    a, b = (12 * int(np.ceil(length * density / 12)) for length in np.linalg.norm(plane.basis, axis=1))
    return a, b


@dataclass(frozen=True)
class _Search:
    """The mesh, its levels, and how exact contours are."""

    energies: BandEnergies
    divisions: tuple[int, int]
    spectrum: Spectrum
    tolerance: float

    def values(self, spin: int, column: int, energy: float) -> FloatArray:
        """(n1, n2) E(k) - E of a band."""
        return self.spectrum.energies[spin, :, column].reshape(self.divisions) - energy


def find_contours(
    hamiltonian: Hamiltonian,
    plane: KPlane,
    energies: Sequence[float],
    *,
    fermi: FermiLevel | None = None,
    bands: Sequence[int] = (),
    divisions: tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
    solver: SolverFactory | None = None,
    jobs: Jobs | None = None,
) -> Contours:
    """Lines where bands have some energies.

    The levels are computed on a mesh. Where a band crosses an energy between two neighbouring points, the crossing is found exactly, and
    then more points between those of a line, until the middle between two of them is at most :data:`STRAIGHT` off (a warning tells where
    this fails); pockets smaller than a step of the mesh are not seen.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    plane : KPlane
        See :func:`postprocess.contours.plane.make_plane`.
    energies : sequence of float
        eV from the Fermi level, or on the energy zero of H if there is none.
    fermi : FermiLevel, optional
        See :func:`postprocess.states.fermi.find_fermi_level`.
    bands : sequence of int
        Only these, counted from 0.
    divisions : (int, int), optional
        Points along both vectors of the plane; by default :data:`DENSITY`.
    tolerance : float
        Largest ``|E(k) - E|``, eV.
    solver : SolverFactory, optional
        By default all levels with dense matrices.
    jobs : Jobs, optional
        Processes that share the k-points.

    Raises
    ------
    DataError
        If no band has any of the energies in this plane; the message tells between which it lies.
    UsageError
        If the tolerance, the energies or the mesh are out of range.
    """
    n = divisions or mesh_divisions(plane)
    if min(n) < 4 or not 0 < tolerance < 1 or not energies or not np.isfinite(energies).all():
        raise UsageError(
            f"energies {list(energies)}, mesh {n[0]} x {n[1]}, tolerance {tolerance:g} eV: expected some energies, four points or more, "
            "and a positive tolerance below 1 eV"
        )
    hamiltonian = hermitian(hamiltonian)
    zero = 0.0 if fermi is None else fermi.energy
    search = _Search(BandEnergies(hamiltonian, plane, solver, jobs), n, Spectrum(np.zeros((1, 1, 1))), tolerance)
    mesh = np.stack(np.meshgrid(np.arange(n[0]) / n[0], np.arange(n[1]) / n[1], indexing="ij"), axis=-1).reshape(-1, 2)
    with telling(f"levels on {n[0]} x {n[1]} k-points"):
        search = replace(search, spectrum=search.energies.spectrum(mesh))
    filled = np.full((len(energies), *search.spectrum.energies.shape[::2]), np.nan)
    lines: list[Contour] = []
    missing: list[str] = []
    for number, energy in enumerate(energies):
        found = _at_energy(search, zero + energy, bands, filled[number])
        if not found:
            missing.append(_nothing_there(search.spectrum, zero, energy, bands))
        lines += found
    if not lines:
        raise DataError(f"{missing[0]}: choose other energies")
    for text in missing:
        logger.warning("%s", text)
    per_level = 2 if hamiltonian.basis.spin == "none" else 1
    out = Contours(
        tuple(lines), tuple(map(float, energies)), zero, filled, search.spectrum.first_band, per_level, plane, n, search.energies.n_solved,
        tolerance, fermi,
    )  # fmt: skip
    if out.midway > max(STRAIGHT, tolerance):
        _warn_of_chords(out)
    return out


def _warn_of_chords(found: Contours) -> None:
    """Tell where the straight way between two points of a line is far from the energy, so that no coarse line is silent."""
    limit = max(STRAIGHT, found.tolerance)
    coarse = [line for line in found.lines if np.nanmax(np.abs(line.midway), initial=0.0) > limit]
    worst = max(coarse, key=lambda line: float(np.nanmax(np.abs(line.midway))))
    place = int(np.nanargmax(np.abs(worst.midway)))
    k = ", ".join(f"{x:.4f}" for x in worst.k[place])
    logger.warning(
        "%d of %d lines are coarse: half-way between two points of band %d E(k) - E is %+.4f eV (after k = %s), more than %g eV, and no "
        "point of the line was found beside; their areas are not exact: take a finer mesh",
        len(coarse), len(found.lines), worst.band + 1, worst.midway[place], k, limit,
    )  # fmt: skip


def _nothing_there(spectrum: Spectrum, zero: float, energy: float, bands: Sequence[int]) -> str:
    """Why there is no line: the band edges around the energy."""
    columns = [n for n in range(spectrum.energies.shape[2]) if not bands or n + spectrum.first_band in bands]
    levels = spectrum.energies[:, :, columns] - zero
    below, above = levels[levels < energy], levels[levels >= energy]
    edges = [f"levels below reach {below.max():+.4f} eV"] if len(below) else []
    edges += [f"those above begin at {above.min():+.4f} eV"] if len(above) else []
    what = "none of these bands has" if bands else "no band has"
    return f"{what} the energy {energy:+.4f} eV in this plane on the mesh ({', '.join(edges) or 'nothing was computed there'})"


def _at_energy(search: _Search, energy: float, bands: Sequence[int], filled: FloatArray) -> list[Contour]:
    """All lines of one energy; fills in which part of the zone lies below."""
    crossings: list[tuple[int, int, Crossings]] = []
    levels = search.spectrum.energies
    for spin, column in np.ndindex(*levels.shape[::2]):
        values = search.values(spin, column, energy)
        if (values < 0).all() or (values >= 0).all():  # NaN is neither
            filled[spin, column] = values.flat[0] < 0
        if (not bands or column + search.spectrum.first_band in bands) and np.nanmin(values) < 0 <= np.nanmax(values):
            crossings.append((spin, column, find_crossings(values)))
    if not crossings:
        return []
    with telling(f"contours at {energy:.4f} eV"):
        n = np.array(search.divisions)
        parts = [
            Targets(*(np.full(len(c.edges), x) for x in (spin, column + search.spectrum.first_band, energy)))
            for spin, column, c in crossings
        ]
        targets = Targets.joined(parts)
        ends = [np.concatenate([getattr(c, name) for _, _, c in crossings]) / n for name in ("start", "end")]
        values_there = [np.concatenate([getattr(c, name) for _, _, c in crossings]) for name in ("low", "high")]
        place, off = find_roots(search.energies, targets, ends, values_there, search.tolerance)
        cuts = np.cumsum([len(c.edges) for _, _, c in crossings])[:-1]
        out: list[Contour] = []
        for (spin, column, c), at, error in zip(crossings, np.split(place, cuts), np.split(off, cuts), strict=True):
            lines, below = _lines(search, c, at, error, (spin, column + search.spectrum.first_band, energy))
            out += lines
            filled[spin, column] = below if np.isfinite(search.values(spin, column, energy)).all() else np.nan
    return out


def _lines(
    search: _Search, crossings: Crossings, place: FloatArray, off: FloatArray, target: tuple[int, int, float]
) -> tuple[list[Contour], float]:
    """The lines of one band, and the part of the zone below."""
    spin, band, energy = target
    n = np.array(search.divisions)
    ends = place[crossings.segments] + crossings.shifts / n  # (m, 2, 2) of each segment in its triangle
    below = crossings.below + _partly_below(ends * n, crossings.partly) / np.prod(n)
    lines = []
    for chain in chains(crossings.segments, len(place)):
        steps = ends[chain, 1] - ends[chain, 0]
        points = ends[chain[0], 0] + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        errors = off[np.append(crossings.segments[chain, 0], crossings.segments[chain[-1], 1])]
        lines.append(smooth_line(search.energies, points, errors, target, search.tolerance))
        below += signed_area(lines[-1].points) - signed_area(points)
    closed = [bool(np.abs(line.points[-1] - line.points[0]).max() < 1e-9) for line in lines]
    orbits = [line.points for line, is_closed in zip(lines, closed, strict=True) if is_closed]
    twice = iter(counted_twice(orbits))
    out = []
    for line, is_closed in zip(lines, closed, strict=True):
        if is_closed and next(twice):
            below -= signed_area(line.points)
            continue
        inner = slice(0, -1 if is_closed else None)
        k, xy = search.energies.plane.fractional(line.points[inner]), search.energies.plane.cartesian(line.points[inner])
        midway = line.midway if is_closed else np.append(line.midway, np.nan)
        out.append(Contour(energy, spin, band, k, xy, line.off[inner], midway, is_closed))
    return out, below


def _partly_below(ends: FloatArray, partly: FloatArray) -> float:
    """Area in steps^2 of the parts below in the triangles that lines cross, by straight lines."""
    a, b = ends[:, 0] - partly[:, :2], ends[:, 1] - partly[:, :2]
    alone = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return float(np.where(partly[:, 2] < 0, alone, 0.5 - alone).sum())
