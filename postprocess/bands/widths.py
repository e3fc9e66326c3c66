"""Extent of single bands, and splittings of pairs of them."""

from dataclasses import dataclass

import numpy as np

from postprocess.bands.bands import Bands


@dataclass(frozen=True)
class BandWidth:
    """Extent of one band on a path; spin and band counted from 0, energies in eV on the zero of H."""

    spin: int
    band: int
    low: float
    high: float

    @property
    def width(self) -> float:
        """High minus low, eV."""
        return self.high - self.low

    @property
    def center(self) -> float:
        """Half way between, eV."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Splitting:
    """Distance of the two bands of a pair at a named k of the path.

    Attributes
    ----------
    label : str
        Of the k-point.
    pair : str
        "valence" or "conduction".
    energy : float
        eV: between the two highest occupied or the two lowest empty bands of spinors, or spin up minus spin down of collinear spins.
    """

    label: str
    pair: str
    energy: float


def bandwidths(bands: Bands) -> list[BandWidth]:
    """Extent of each band that is known at all k of the path."""
    whole = np.isfinite(bands.energies).all(axis=1)
    return [
        BandWidth(int(s), bands.first_band + int(n), float(bands.energies[s, :, n].min()), float(bands.energies[s, :, n].max()))
        for s, n in np.argwhere(whole)
    ]


def spin_splittings(bands: Bands, *, spinor: bool) -> list[Splitting]:
    """How far spin splits the valence and the conduction band at the named points of the path of an insulator.

    Parameters
    ----------
    bands : Bands
        With a gap.
    spinor : bool
        Whether the two states of a pair are neighbouring bands of one channel, or the edges of two channels.
    """
    gap = bands.gap
    if gap is None or gap.is_metal or bands.fermi_energy is None or not (spinor or len(bands.energies) == 2):
        return []
    out, energies = [], bands.levels
    filled = [int(np.flatnonzero((e <= bands.fermi_energy).any(axis=0)).max(initial=-1)) + 1 for e in energies]  # the same at every k
    for label, n in _named_places(bands).items():
        for pair, step in (("valence", -1), ("conduction", 0)):
            if spinor:
                levels = energies[0, n, filled[0] - 2 : filled[0]] if step else energies[0, n, filled[0] : filled[0] + 2]
            else:
                levels = np.array([e[n, m + step] for e, m in zip(energies, filled, strict=True) if 0 <= m + step < e.shape[1]])[::-1]
            if len(levels) == 2 and np.isfinite(levels).all():
                out.append(Splitting(label, pair, float(levels[1] - levels[0])))
    return out


def _named_places(bands: Bands) -> dict[str, int]:
    """Which k-point each label of the path belongs to; both sides of a break count."""
    out: dict[str, int] = {}
    for n, segment in enumerate(bands.path.segments):
        out.setdefault(bands.path.labels[n].rpartition("|")[2], segment.start)
        if n + 1 < len(bands.path.labels):  # not a single point
            out.setdefault(bands.path.labels[n + 1].partition("|")[0], segment.stop - 1)
    return out
