"""Paths through the Brillouin zone: from labels, coordinates, or a file of another code."""

import logging
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray, System
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.lattice.points import coordinates, point_name
from postprocess.lattice.special_points import SpecialPoints, special_points

SPACING = 0.02
"""Usual distance of k-points, 1/Angstrom with 2 pi: steep bands that cross within it look as if they did so in a point."""
FEWEST, MOST = 100, 600
"""Usual numbers of k-points of the shortest and the longest paths."""


class Segment(NamedTuple):
    """A straight line between two k-points, sampled with both ends."""

    start: FloatArray
    stop: FloatArray
    n_points: int
    start_label: str
    stop_label: str


@dataclass(frozen=True)
class KPath:
    """Sampled lines between k-points.

    Each segment holds both its ends, so a corner of the path occurs twice, as in the band files of OpenMX and DeepH.

    Attributes
    ----------
    k : (n_k, 3) array
        Fractional wave vectors.
    distances : (n_k,) array
        Length along the path, 1/Angstrom **with** 2 pi (a slope dE/dk is hbar v), of the part of k in the plane of a slab or along the
        axis of a chain, see :func:`postprocess.lattice.periodic.in_plane_reciprocal`. It does not advance across a break.
    ticks : (n_ticks,) array
        Where the corners lie, in the same unit.
    labels : tuple of str
        Name of each corner, ``"G"`` for Gamma, ``"K|U"`` where the path breaks.
    bounds : (n_segments + 1,) int array
        Segment s holds the points ``bounds[s]`` to ``bounds[s + 1] - 1``.
    reciprocal : (3, 3) array or None
        Reciprocal vectors in rows with 2 pi, 1/Angstrom, to which ``k`` refers.
    """

    k: FloatArray
    distances: FloatArray
    ticks: FloatArray
    labels: tuple[str, ...]
    bounds: IntArray
    reciprocal: FloatArray | None = None

    @property
    def segments(self) -> list[slice]:
        """The points of each segment; draw one line per segment."""
        return [slice(a, b) for a, b in pairwise(self.bounds.tolist())]

    @classmethod
    def from_segments(cls, structure: System | Hamiltonian, segments: list[Segment]) -> "KPath":
        """Sample segments one after the other.

        Parameters
        ----------
        structure : System or Hamiltonian
            Gives the distances.
        segments : list of Segment
            At least one, each with at least two points.

        Raises
        ------
        UsageError
            If there is no segment, or one has fewer than two points or no length.
        """
        if not segments:
            raise UsageError("a k-path needs at least two k-points, for example GMKG")
        to_cartesian = in_plane_reciprocal(structure)
        k, distances, ticks, labels, total = [], [], [0.0], [segments[0].start_label], 0.0
        for number, s in enumerate(segments, 1):
            if s.n_points < 2:
                raise UsageError(f"segment {number} ({s.start_label}-{s.stop_label}) has {s.n_points} k-points; expected at least 2")
            length = float(np.linalg.norm((s.stop - s.start) @ to_cartesian))
            if length < 1e-8:
                raise UsageError(f"segment {number} ({s.start_label}-{s.stop_label}) starts and ends at the same k-point")
            if number > 1 and not np.allclose(s.start, segments[number - 2].stop, rtol=0, atol=1e-6):
                labels[-1] = f"{labels[-1]}|{s.start_label}"
            k.append(np.linspace(s.start, s.stop, s.n_points))
            distances.append(total + np.linspace(0, length, s.n_points))
            total += length
            ticks.append(total)
            labels.append(s.stop_label)
        bounds = np.concatenate([[0], np.cumsum([s.n_points for s in segments])])
        system = structure if isinstance(structure, System) else structure.system
        return cls(np.concatenate(k), np.concatenate(distances), np.array(ticks), tuple(labels), bounds, system.reciprocal)


def make_kpath(structure: System | Hamiltonian, text: str | None = None, *, n_points: int | None = None) -> KPath:
    """A path from labels and coordinates.

    Parameters
    ----------
    structure : System or Hamiltonian
        Labels are resolved from its lattice, see :func:`postprocess.lattice.special_points.special_points`; a Hamiltonian tells best
        along which vectors it is periodic.
    text : str, optional
        ``"GMKG"`` or ``"G-M-K-G"``; a bar or comma breaks the path (``"GMK|GA"``); coordinates as ``"G M=1/2,0,0 K=1/3,1/3,0"``.
        By default the usual path of the lattice; of a molecule Gamma alone, one point.
    n_points : int, optional
        Points of the whole path, both ends of every segment counted, shared among the segments by their length. By default one
        for every :data:`SPACING`, but :data:`FEWEST` to :data:`MOST`.

    Raises
    ------
    UsageError
        If a label is unknown to this lattice, a coordinate is not a number, or ``n_points`` is below two for each segment.
    """
    candidates = special_points(structure)
    if candidates[0].lattice == "molecule" and (text is None or text.strip().upper() in ("G", "GAMMA")):
        system = structure if isinstance(structure, System) else structure.system
        return KPath(np.zeros((1, 3)), np.zeros(1), np.zeros(1), ("G",), np.array([0, 1]), system.reciprocal)
    lattice, runs = _resolve(_parse(candidates[0].path if text is None else text), candidates)
    to_cartesian = in_plane_reciprocal(structure)
    _explain(lattice, runs, candidates, to_cartesian)
    lines = [(a, b) for run in runs for a, b in pairwise(run)]
    lengths = np.linalg.norm(np.array([b[1] - a[1] for a, b in lines]) @ to_cartesian, axis=1)
    if n_points is None:
        n_points = max(2 * len(lines), int(np.clip(np.ceil(lengths.sum() / SPACING), FEWEST, MOST)))
    counts = _share(n_points, lengths)
    segments = [Segment(a[1], b[1], int(n), a[0], b[0]) for (a, b), n in zip(lines, counts, strict=True)]
    return KPath.from_segments(structure, segments)


def _share(n_points: int, lengths: FloatArray) -> IntArray:
    """Points of each segment, ``n_points`` together, so that the longest step of the path is as short as possible."""
    if n_points < 2 * len(lengths):
        raise UsageError(
            f"{n_points} k-points for a path of {len(lengths)} segments: each holds both its ends, so it needs at least {2 * len(lengths)}"
        )
    counts = np.full(len(lengths), 2)
    for _ in range(n_points - counts.sum()):
        counts[np.argmax(lengths / (counts - 1))] += 1
    return counts


def _parse(text: str) -> list[list[tuple[str, FloatArray | None]]]:
    """Continuous runs of (label, k); k is None where the lattice has to tell."""
    runs: list[list[tuple[str, FloatArray | None]]] = [[]]
    for word in text.replace("|", " , ").split():
        name, equals, numbers = word.rpartition("=")
        if equals or re.match(r"[-+.\d]", word):
            if (k := coordinates(numbers)) is None:
                raise UsageError(f"{word!r} in the path: expected three fractional coordinates such as K=1/3,1/3,0")
            runs[-1].append((point_name(name or numbers), k))
            continue
        for part in re.findall(r"GAMMA|Gamma|gamma|[A-Za-zΓ][\d']*|[^-]", word):
            if part == ",":
                runs.append([])
            else:
                runs[-1].append((point_name(part), None))
    if any(len(run) < 2 for run in runs):
        raise UsageError(f"the path {text!r} needs at least two k-points before and after each break, for example GMKG")
    return runs


Runs = list[list[tuple[str, FloatArray]]]


def _resolve(runs: list[list[tuple[str, FloatArray | None]]], candidates: tuple[SpecialPoints, ...]) -> tuple[SpecialPoints, Runs]:
    """Fill in the coordinates of the labels, all from the first lattice that knows every one of them."""
    wanted = {name for run in runs for name, k in run if k is None}
    for lattice in candidates:
        if wanted <= lattice.points.keys():
            return lattice, [[(name, lattice.points[name] if k is None else k) for name, k in run] for run in runs]
    name = min(wanted - candidates[0].points.keys())
    offered = "; ".join(f"{c.lattice} lattice: {c.describe()}" for c in candidates)
    raise UsageError(f"{name!r} is not a k-point of this structure ({offered}); use these or give coordinates, e.g. {name}=1/2,0,0")


def _explain(lattice: SpecialPoints, runs: Runs, candidates: tuple[SpecialPoints, ...], to_cartesian: FloatArray) -> None:
    """Say whose labels a path through a strained cell has, aloud where one might have meant the points of the other lattice."""
    own, near = candidates[0], candidates[-1]
    labels = {name for run in runs for name, k in run if k is lattice.points.get(name)} - {"G"}
    if not labels or near is own:
        return
    if lattice is not own:
        logger.warning("the cell is a strained %s lattice (exactly: %s); the path uses %s", near.lattice, own.lattice, near.describe())
        return
    other = sorted(n for n in labels & near.points.keys() if not _as_long(own.points[n], near.points[n], to_cartesian))
    text = (
        "labels of the %s lattice: %s; of the %s lattice, which it is nearly, they would be %s"
        if other
        else ("labels of the %s lattice: %s; those of the %s lattice, which it is nearly, are known as well: %s")
    )
    logger.log(logging.WARNING if other else logging.INFO, text, own.lattice, own.describe(), near.lattice, near.describe())


def read_kpath(file: str | Path, structure: System | Hamiltonian) -> KPath:
    """A path from a DeepH ``K_PATH`` file or from the ``Band.kpath`` block of an OpenMX input.

    Both hold a line ``n  k1 k2 k3  k1 k2 k3  LABEL LABEL`` per segment; numbers may have Fortran's exponents (``0.5d0``).

    Parameters
    ----------
    file : path
        The file.
    structure : System or Hamiltonian
        A label that contradicts its lattice is reported, the coordinates of the file count.

    Raises
    ------
    DataError
        If the file is missing or a line cannot be understood.
    """
    file = Path(file)
    try:  # comments of an input may be in any encoding
        lines = list(enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1))
    except OSError as error:
        raise DataError(f"the k-path file {file} could not be read: {error}") from error
    marks = [n for n, line in lines if re.match(r"\s*(<band\.kpath|band\.kpath>)\s*(#.*)?$", line, re.IGNORECASE)]
    if any(line.strip().lower().startswith("<band.kpath.unitcell") for _, line in lines):
        raise DataError(f"{file}: its k-path refers to another cell (Band.KPath.UnitCell); give the path in the cell of the structure")
    if len(marks) == 1:
        raise DataError(f"{file}, line {marks[0]}: the k-path has only one of its two ends, <Band.kpath and Band.kpath>")
    if marks:
        lines = lines[marks[0] : marks[1] - 1]
    segments = [_read_segment(line, f"{file}, line {n}") for n, line in lines if line.split("#", maxsplit=1)[0].strip()]
    if not segments:
        raise DataError(f"{file} holds no k-path; expected lines such as '20 0 0 0 0.5 0 0 G M' (K_PATH or an OpenMX input)")
    _warn_wrong_labels(file, segments, structure)
    return KPath.from_segments(structure, segments)


def _warn_wrong_labels(file: Path, segments: list[Segment], structure: System | Hamiltonian) -> None:
    """Say so where a label such as K stands at coordinates that are K of another cell (60 and 120 degrees are easily confused)."""
    lattices, to_cartesian = special_points(structure), in_plane_reciprocal(structure)
    corners = {s.start_label: s.start for s in segments} | {s.stop_label: s.stop for s in segments}
    for label, k in corners.items():
        known = [lattice for lattice in lattices if label in lattice.points]
        if known and not any(_as_long(k, lattice.points[label], to_cartesian) for lattice in known):
            at, lattice = np.round(k, 4).tolist(), known[0]
            logger.warning("%s: %s at %s is not that point of this %s lattice: %s", file, label, at, lattice.lattice, lattice.describe())


def _read_segment(line: str, where: str) -> Segment:
    words = line.split("#", maxsplit=1)[0].split()
    try:
        n, numbers = int(words[0]), np.array([float(x.lower().replace("d", "e")) for x in words[1:7]])
        start_label, stop_label = words[7:9]
    except (ValueError, IndexError) as error:
        raise DataError(f"{where}: {line.strip()!r} is not a path segment; expected 'n  k1 k2 k3  k1 k2 k3  LABEL LABEL'") from error
    if n < 2 or not np.isfinite(numbers).all() or np.allclose(numbers[:3], numbers[3:], rtol=0, atol=1e-8):
        raise DataError(f"{where}: {line.strip()!r}: expected at least 2 k-points between two different, finite k")
    return Segment(numbers[:3], numbers[3:], n, point_name(start_label), point_name(stop_label))


def _as_long(k: FloatArray, other: FloatArray, to_cartesian: FloatArray) -> bool:
    """Whether the shortest vectors equivalent to two k are equally long to within 5 %: else these are not points of one kind."""
    a, b = _shortest(k, to_cartesian), _shortest(other, to_cartesian)
    return abs(a - b) <= 0.05 * max(a, b)


def _shortest(k: FloatArray, to_cartesian: FloatArray) -> float:
    """Length of the shortest vector equivalent to k, 1/Angstrom."""
    G = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return float(np.linalg.norm((k - np.rint(k) + G) @ to_cartesian, axis=1).min())
