"""All lines of one energy: those that cross the mesh, and those between its points."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deeph.physics.system import FloatArray
from deeph.runtime.log import logger, telling
from postprocess.contours.lines import Crossings, chains, find_crossings
from postprocess.contours.pockets import Seeds, extreme_points, follow, outline
from postprocess.contours.result import Contour
from postprocess.contours.roots import BandEnergies, Targets, find_roots
from postprocess.contours.smooth import Smooth, counted_twice, encloses, signed_area, smooth_line
from postprocess.states.spectrum import Spectrum


@dataclass(frozen=True)
class Search:
    """The mesh, its levels, and how exact contours are."""

    energies: BandEnergies
    divisions: tuple[int, int]
    spectrum: Spectrum
    tolerance: float

    def values(self, spin: int, column: int, energy: float) -> FloatArray:
        """(n1, n2) E(k) - E of a band."""
        return self.spectrum.energies[spin, :, column].reshape(self.divisions) - energy


@dataclass
class _Band:
    """One band at one energy.

    Attributes
    ----------
    target : (int, int, float)
        Spin channel, number of the band, energy (eV).
    values : (n1, n2) array
        E(k) - E, eV.
    lines : list of Smooth
        Those found.
    below : float
        Part of the plane that lies below.
    """

    target: tuple[int, int, float]
    values: FloatArray
    lines: list[Smooth] = field(default_factory=list)
    below: float = 0.0

    @property
    def crosses(self) -> bool:
        """Whether the mesh has points on both sides."""
        return bool(np.nanmin(self.values) < 0 <= np.nanmax(self.values))

    def closed(self) -> list[Smooth]:
        """Lines that come back to their first point."""
        return [line for line in self.lines if line.is_closed]


def lines_at(search: Search, energy: float, bands: Sequence[int], filled: FloatArray) -> list[Contour]:
    """All lines of one energy; fills in which part of the zone lies below, of (n_spin, n_bands) bands."""
    wanted: list[_Band] = []
    first = search.spectrum.first_band
    for spin, column in np.ndindex(*filled.shape):
        values = search.values(spin, column, energy)
        if (values < 0).all() or (values >= 0).all():  # NaN is neither
            filled[spin, column] = values.flat[0] < 0
        if (not bands or column + first in bands) and np.isfinite(values).any():
            wanted.append(_Band((spin, column + first, energy), values, below=float(values.flat[0] < 0)))
    with telling(f"contours at {energy:.4f} eV"):
        _across_the_mesh(search, [band for band in wanted if band.crosses])
        _between_its_points(search, wanted)
        for band in wanted:
            _needles(search, band)
    out: list[Contour] = []
    for band in wanted:
        out += _contours(search, band)
        if band.lines:
            filled[band.target[0], band.target[1] - first] = band.below if np.isfinite(band.values).all() else np.nan
    return out


def _across_the_mesh(search: Search, bands: Sequence[_Band]) -> None:
    """Lines between neighbouring points of the mesh, and the part of the zone below."""
    if not bands:
        return
    crossings = [find_crossings(band.values) for band in bands]
    targets = Targets.joined([_targets(band, len(c.edges)) for band, c in zip(bands, crossings, strict=True)])
    ends = [np.concatenate([getattr(c, name) for c in crossings]) / np.array(search.divisions) for name in ("start", "end")]
    values_there = [np.concatenate([getattr(c, name) for c in crossings]) for name in ("low", "high")]
    place, off = find_roots(search.energies, targets, ends, values_there, search.tolerance)
    cuts = np.cumsum([len(c.edges) for c in crossings])[:-1]
    for band, c, at, error in zip(bands, crossings, np.split(place, cuts), np.split(off, cuts), strict=True):
        _join(search, band, c, at, error)


def _join(search: Search, band: _Band, crossings: Crossings, place: FloatArray, off: FloatArray) -> None:
    """Join the crossings of one band to lines."""
    n = np.array(search.divisions)
    ends = place[crossings.segments] + crossings.shifts / n  # (m, 2, 2) of each segment in its triangle
    band.below = crossings.below + _partly_below(ends * n, crossings.partly) / np.prod(n)
    for chain in chains(crossings.segments, len(place)):
        steps = ends[chain, 1] - ends[chain, 0]
        points = ends[chain[0], 0] + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        errors = off[np.append(crossings.segments[chain, 0], crossings.segments[chain[-1], 1])]
        band.lines.append(smooth_line(search.energies, points, errors, band.target, search.tolerance))
        band.below += signed_area(band.lines[-1].points) - signed_area(points)


def _between_its_points(search: Search, bands: Sequence[_Band]) -> None:
    """Closed lines around extrema of bands that lie between points of the mesh."""
    basis, step = search.energies.plane.basis, 1 / np.array(search.divisions)
    found = [extreme_points(band.values, basis) for band in bands]
    owner = np.repeat(np.arange(len(bands)), [len(points) for points, _ in found])
    if not len(owner):
        return
    targets = Targets.joined([_targets(band, len(points)) for band, (points, _) in zip(bands, found, strict=True)])
    off = np.concatenate([band.values[tuple(points.T)] for band, (points, _) in zip(bands, found, strict=True)])
    slopes = np.concatenate([np.full(len(points), slope) for points, slope in found])
    seeds, kept = follow(search.energies, Seeds(targets, np.concatenate([p for p, _ in found]) * step, off), slopes, step)
    for number, of in enumerate(owner[kept].tolist()):
        _enclose(search, bands[of], seeds[np.array([number])], step)


def _enclose(search: Search, band: _Band, seed: Seeds, step: FloatArray) -> None:
    """Add the line around a place, unless it is known."""
    if _is_known(band.closed(), seed):
        return
    around = outline(search.energies, seed, step, search.tolerance)
    line = None if around is None else smooth_line(search.energies, *around, band.target, search.tolerance)
    if line is None or line.is_coarse:  # of a ring the rays from inside meet both lines
        k = ", ".join(f"{x:.4f}" for x in search.energies.plane.fractional(seed.places)[0])
        logger.warning(
            "band %d is on the other side of %.4f eV at k = (%s), between the points of the mesh, and no closed line was found around that "
            "place: take a finer mesh",
            band.target[1] + 1, band.target[2], k,
        )  # fmt: skip
        return
    band.lines.append(line)
    band.below += signed_area(line.points)


def _is_known(lines: Sequence[Smooth], seed: Seeds) -> bool:
    """Whether a place in a pocket lies in one of its lines."""
    side = 1 if seed.off[0] < 0 else -1
    return any(encloses(line.points, seed.places) and signed_area(line.points) * side > 0 for line in lines)


def _needles(search: Search, band: _Band) -> None:
    """Closed lines that stayed coarse, as those of needles are which the mesh sees at some points only: once more from their inside."""
    for number, line in enumerate(band.lines):
        if not (line.is_closed and line.is_coarse):
            continue
        middle = line.points[:-1].mean(axis=0)[None]
        targets = _targets(band, 1)
        seed = Seeds(targets, middle, targets.off(search.energies, middle))
        others = [other for other in band.closed() if not other.is_coarse]
        if (seed.off[0] < 0) != (signed_area(line.points) > 0) or _is_known(others, seed):
            continue
        around = outline(search.energies, seed, 1 / np.array(search.divisions), search.tolerance)
        if around is None:
            continue
        better = smooth_line(search.energies, *around, band.target, search.tolerance)
        if not better.is_coarse:
            band.below += signed_area(better.points) - signed_area(line.points)
            band.lines[number] = better


def _contours(search: Search, band: _Band) -> list[Contour]:
    """The lines of a band as results, without those that lie in others as no line can."""
    spin, number, energy = band.target
    twice = iter(counted_twice([line.points for line in band.closed()]))
    out = []
    for line in band.lines:
        closed = line.is_closed
        if closed and next(twice):
            band.below -= signed_area(line.points)
            continue
        inner = slice(0, -1 if closed else None)
        k, xy = search.energies.plane.fractional(line.points[inner]), search.energies.plane.cartesian(line.points[inner])
        midway = line.midway if closed else np.append(line.midway, np.nan)
        out.append(Contour(energy, spin, number, k, xy, line.off[inner], midway, closed, line.limit))
    return out


def _targets(band: _Band, n: int) -> Targets:
    return Targets(*(np.full(n, x) for x in band.target))


def _partly_below(ends: FloatArray, partly: FloatArray) -> float:
    """Area in steps^2 of the parts below in the triangles that lines cross, by straight lines."""
    a, b = ends[:, 0] - partly[:, :2], ends[:, 1] - partly[:, :2]
    alone = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return float(np.where(partly[:, 2] < 0, alone, 0.5 - alone).sum())
