"""Band edges and gaps of the levels at some k-points."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.system import FloatArray

SAME_GAP = 1e-4
"""eV; a gap at one k that is wider by less is as narrow as the gap between any two: K and K' differ by the noise of a DFT code's grid."""


@dataclass(frozen=True)
class BandEdge:
    """A valence band maximum or conduction band minimum on a path.

    Attributes
    ----------
    energy : float
        eV, on the energy zero of H.
    spin, band : int
        Channel and band, counted from 0.
    k : (3,) array
        Fractional wave vector.
    """

    energy: float
    spin: int
    band: int
    k: FloatArray


@dataclass(frozen=True)
class DirectGap:
    """The smallest gap at one k of the path: its width in eV, and the fractional k."""

    width: float
    k: FloatArray


@dataclass(frozen=True)
class Gap:
    """What separates occupied from empty bands **on the path**; the true extrema may lie elsewhere.

    Attributes
    ----------
    vbm, cbm : BandEdge
        Highest level at or below the Fermi energy, lowest level above it; both at one k if the gap is direct.
    is_metal : bool
        Whether a band crosses the Fermi energy.
    is_direct : bool
        Whether the gap is as narrow at one k, to 0.1 meV.
    is_bound : bool
        Whether levels are known on both sides of the Fermi energy at some of the k-points only: where they are not, an edge may lie
        closer, and the gap can only be narrower.
    direct : DirectGap or None
        The smallest gap at one k; None if levels on both sides are known at none.
    """

    vbm: BandEdge
    cbm: BandEdge
    is_metal: bool
    is_direct: bool
    is_bound: bool
    direct: DirectGap | None

    @property
    def width(self) -> float:
        """Gap in eV; 0 for a metal."""
        return 0.0 if self.is_metal else self.cbm.energy - self.vbm.energy


def find_gap(energies: FloatArray, k: FloatArray, fermi_energy: float, first_band: int = 0) -> Gap | None:
    """Band edges of levels that are numbered alike at every k.

    Parameters
    ----------
    energies : (n_spin, n_k, n_bands) array
        eV; NaN where a level is not known.
    k : (n_k, 3) array
        Fractional.
    fermi_energy : float
        eV.
    first_band : int
        Number of the first of these bands among all.

    Returns
    -------
    Gap or None
        None if all levels lie on one side of the Fermi energy.
    """
    below, above = energies <= fermi_energy, energies > fermi_energy  # NaN is neither
    if not (above.any() and below.any()):
        return None
    occupied, empty = np.where(below, energies, -np.inf), np.where(above, energies, np.inf)
    width = empty.min(axis=(0, 2)) - occupied.max(axis=(0, 2))
    metal = bool((below.any(axis=1) & above.any(axis=1)).any())
    place = int(np.argmin(width))
    direct = DirectGap(float(width[place]), k[place]) if np.isfinite(width[place]) else None
    is_direct = direct is not None and direct.width - float(empty.min() - occupied.max()) < SAME_GAP
    at = slice(place, place + 1) if is_direct else slice(None)

    def edge(levels: FloatArray, where: int) -> BandEdge:
        spin, n, band = (int(i) for i in np.unravel_index(where, levels[:, at].shape))
        return BandEdge(float(levels[:, at][spin, n, band]), spin, first_band + band, k[at][n])

    vbm, cbm = edge(occupied, int(np.argmax(occupied[:, at]))), edge(empty, int(np.argmin(empty[:, at])))
    from_lowest = first_band == 0 and np.isfinite(energies[..., 0])  # nothing lies below the lowest band of all
    is_bound = not bool(((below.any(axis=2) | from_lowest) & above.any(axis=2)).all())
    return Gap(vbm, cbm, metal, is_direct, is_bound, direct)
