"""Errors of one band structure against another."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.difference import Errors
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.bands.bands import Bands
from postprocess.compare.like import OVERLAP_WEIGHT

WINDOW = (-2.0, 2.0)
"""eV from the Fermi level: what counts as near it."""
DEPENDENT = 0.05
"""Levels with a smaller c^dagger S c / c^dagger c are made of nearly dependent orbitals: an error of H appears in them at least 20 times
as large. In OpenMX's bases with two or three functions a shell these are levels more than 30 eV above the Fermi level."""

Mask = npt.NDArray[np.bool_]


class LevelError(NamedTuple):
    """An energy in the reference and in the other data, eV on the energy zero of each, and its error after alignment, meV."""

    reference: float
    other: float
    error: float


@dataclass(frozen=True)
class EdgeErrors:
    """Errors of the band edges of an insulator, by the numbers of the reference's bands; HOMO and LUMO of a molecule.

    Attributes
    ----------
    valence, conduction : LevelError
        The highest level of the last occupied bands, the lowest one of the next.
    gap : LevelError
        Between them.
    """

    valence: LevelError
    conduction: LevelError
    gap: LevelError


@dataclass(frozen=True)
class BandComparison:
    """Differences of two band structures at the same k-points, band by band, in meV.

    Attributes
    ----------
    alignment : str
        Which energy zeros were set equal.
    shift : float or None
        Mean signed difference after this alignment, over the levels of ``all_bands``, meV.
    fermi_energy : float or None
        The reference's, eV on its energy zero.
    window : (low, high)
        Of ``near_fermi``, eV from the reference's Fermi level.
    near_fermi : Errors or None
        Over the reference levels in this window.
    occupied : Errors or None
        Over the reference levels up to its Fermi level, as far as they were computed.
    valence, conduction : Errors or None
        The last band whose mean lies below the reference's Fermi level, and the next one.
    edges : EdgeErrors or None
        None for metals, and where the bands next to the gap are not known at every k.
    all_bands : Errors or None
        Over all levels that are there on both sides, but the nearly dependent ones.
    nearly_dependent : Errors or None
        Over the levels whose c^dagger S c / c^dagger c is below ``threshold``; None if there is none, or it is not known.
    threshold : float
        See :data:`DEPENDENT`.
    lowest_dependent : float or None
        Energy of the lowest of these levels of the reference, eV on its energy zero.
    only_reference, only_other : int
        Levels that only one of the two has, because windows end between them; they are in none of the errors.
    """

    alignment: str
    shift: float | None
    fermi_energy: float | None
    window: tuple[float, float]
    near_fermi: Errors | None
    occupied: Errors | None
    valence: Errors | None
    conduction: Errors | None
    edges: EdgeErrors | None
    all_bands: Errors | None
    nearly_dependent: Errors | None
    threshold: float
    lowest_dependent: float | None
    only_reference: int
    only_other: int


def compare_bands(reference: Bands, other: Bands, *, align: bool = True, window: tuple[float, float] = WINDOW) -> BandComparison:
    """Compare two band structures, bands of the same number with each other.

    Parameters
    ----------
    reference, other : Bands
        At the same k-points. If the states were asked for :class:`postprocess.compare.like.OverlapWeight`, those of the reference before
        those of the other one tell which levels are nearly dependent.
    align : bool
        Measure both from their own Fermi levels (if both are known), instead of from the energy zero of H.
    window : (low, high)
        eV from the reference's Fermi level: what counts as near it.

    Raises
    ------
    DataError
        If spins or k-points differ, the levels have no numbers, or no band is known on both sides.
    """
    if len(reference.energies) != len(other.energies) or not _same_k(reference, other):
        shapes = [f"{len(b.energies)} spin channels at {len(b.path.k)} k-points" for b in (other, reference)]
        raise DataError(f"bands of {shapes[0]} and of {shapes[1]} are not of the same spin on the same k-points")
    check_counted(reference)
    check_counted(other)
    E, E_other = (_columns(b, b.energies, reference, other) for b in (reference, other))
    known = np.isfinite(E) & np.isfinite(E_other)
    if not known.any():
        ranges = [f"{b.first_band + 1} to {b.first_band + b.n_bands} of {b.title}" for b in (reference, other)]
        raise DataError(f"no band is known on both sides: bands {ranges[0]} and {ranges[1]}; choose a wider window or more bands")
    zero, alignment = _alignment(reference, other, align=align)
    difference = E_other - E - zero
    dependent = known & (_overlap_weights(reference, other, E.shape) < DEPENDENT)
    near = occupied = valence = conduction = edges = None
    if reference.fermi_energy is not None:
        above = E - reference.fermi_energy
        near = _errors(difference[known & (above > window[0]) & (above < window[1])])
        occupied = _errors(difference[known & (above <= 0)])
        filled = _filled(above, known)
        valence, conduction = (_errors(_bands(difference, known, filled + n)) for n in (-1, 0))
        edges = _edges((E, E_other), above, zero, from_lowest=min(reference.first_band, other.first_band) == 0)
    rest = difference[known & ~dependent]
    missing = [int(np.isfinite(b.energies).sum() - known.sum()) for b in (reference, other)]
    return BandComparison(
        alignment=alignment,
        shift=1e3 * float(rest.mean()) if rest.size else None,
        fermi_energy=reference.fermi_energy,
        window=window,
        near_fermi=near,
        occupied=occupied,
        valence=valence,
        conduction=conduction,
        edges=edges,
        all_bands=_errors(rest),
        nearly_dependent=_errors(difference[dependent]),
        threshold=DEPENDENT,
        lowest_dependent=float(E[dependent].min()) if dependent.any() else None,
        only_reference=missing[0],
        only_other=missing[1],
    )


def check_counted(bands: Bands) -> None:
    """DataError if the levels below the first one were not counted: then the bands have no numbers by which they are compared."""
    if not bands.counted:
        raise DataError(
            f"{bands.title}: the levels found were not counted, so it is not known which bands they are, and they cannot be compared; "
            "leave out --no-verify, or use --window"
        )


def _same_k(reference: Bands, other: Bands) -> bool:
    k, k_other = reference.path.k, other.path.k
    return k.shape == k_other.shape and np.allclose(k, k_other, rtol=0, atol=1e-6)


def _columns(bands: Bands, values: FloatArray, reference: Bands, other: Bands) -> FloatArray:
    """Values (n_spin, n_k, n_bands) of one of the two in the columns of both: bands of one number side by side, NaN where there is none."""
    first = min(reference.first_band, other.first_band)
    last = max(b.first_band + b.n_bands for b in (reference, other))
    out = np.full((*values.shape[:2], last - first), np.nan)
    start = bands.first_band - first
    out[..., start : start + bands.n_bands] = values
    return out


def _alignment(reference: Bands, other: Bands, *, align: bool) -> tuple[float, str]:
    """What the energies of the other one are too high by, eV, and what was set equal."""
    if not align or reference.fermi_energy is None or other.fermi_energy is None:
        return 0.0, "none: both on the energy zero of H"
    levels = [f"{b.fermi_energy:.4f} eV ({b.fermi_origin})" for b in (reference, other)]
    return other.fermi_energy - reference.fermi_energy, f"Fermi levels {levels[0]} and {levels[1]}"


def _overlap_weights(reference: Bands, other: Bands, shape: tuple[int, ...]) -> FloatArray:
    for bands in (reference, other):
        if OVERLAP_WEIGHT in bands.weights:
            return _columns(bands, bands.weights[OVERLAP_WEIGHT], reference, other)
    return np.full(shape, np.nan)


def _filled(above: FloatArray, known: Mask) -> npt.NDArray[np.int64]:
    """(n_spin,) how many of the bands lie below the Fermi level in the mean of the k-points where they are known."""
    n = known.sum(axis=1)
    mean = np.where(known, above, 0.0).sum(axis=1) / np.maximum(n, 1)
    ordered = np.where(n > 0, mean <= 0, False)
    columns = np.arange(above.shape[2])
    return np.asarray(np.where(ordered, columns + 1, 0).max(axis=1))


def _bands(difference: FloatArray, known: Mask, index: npt.NDArray[np.int64]) -> FloatArray:
    """The differences of one band per spin; nothing where there is no such band."""
    chosen = [d[:, n][m[:, n]] for d, m, n in zip(difference, known, index.tolist(), strict=True) if 0 <= n < d.shape[1]]
    return np.concatenate(chosen) if chosen else np.zeros(0)


def _edges(energies: tuple[FloatArray, FloatArray], above: FloatArray, zero: float, *, from_lowest: bool) -> EdgeErrors | None:
    """Band edges, if equally many bands are occupied at each k, and those next to the gap are known everywhere on both sides.

    ``above`` is the reference's energy from its Fermi level, ``from_lowest`` tells whether nothing lies below the first band.
    """
    E, E_other = energies
    n_bands = E.shape[2]
    last = np.where(above <= 0, np.arange(n_bands), -1).max(axis=2)  # (n_spin, n_k)
    if (last != last[:, :1]).any():
        return None
    below = [(spin, n) for spin, n in enumerate(last[:, 0].tolist()) if n >= 0]
    empty = [(spin, n + 1) for spin, n in enumerate(last[:, 0].tolist()) if n + 1 < n_bands]
    if not below or len(empty) < len(E) or (len(below) < len(E) and not from_lowest):  # a channel may hold no electron
        return None

    def edge(levels: FloatArray, bands: list[tuple[int, int]], sign: int) -> float:
        return sign * float(np.max([sign * levels[spin, :, n] for spin, n in bands]))  # NaN stays NaN

    valence = edge(E, below, 1), edge(E_other, below, 1)
    conduction = edge(E, empty, -1), edge(E_other, empty, -1)
    if not np.isfinite([*valence, *conduction]).all():
        return None
    gaps = conduction[0] - valence[0], conduction[1] - valence[1]
    return EdgeErrors(
        LevelError(*valence, 1e3 * (valence[1] - valence[0] - zero)),
        LevelError(*conduction, 1e3 * (conduction[1] - conduction[0] - zero)),
        LevelError(*gaps, 1e3 * (gaps[1] - gaps[0])),
    )


def _errors(difference: FloatArray) -> Errors | None:
    size = 1e3 * np.abs(difference)
    if not size.size:
        return None
    return Errors(size.size, float(size.mean()), float(np.sqrt((size**2).mean())), float(size.max()))
