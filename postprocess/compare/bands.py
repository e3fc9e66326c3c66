"""Errors of one band structure against another."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.difference import Errors
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError
from postprocess.bands.bands import Bands

WINDOW = 2.0
"""Half width, eV, of the range around the Fermi level that counts as near it."""


@dataclass(frozen=True)
class BandComparison:
    """Differences of two band structures on the same path, in meV.

    Attributes
    ----------
    alignment : str
        Which energy zeros were set equal.
    shift : float
        Mean signed difference after this alignment, meV.
    all_bands : Errors
        Over all bands, spins and k.
    near_fermi : Errors or None
        Over the reference levels within 2 eV of its Fermi level.
    valence, conduction : Errors or None
        The last band whose mean lies below the reference's Fermi level, and the next one.
    """

    alignment: str
    shift: float
    all_bands: Errors
    near_fermi: Errors | None
    valence: Errors | None
    conduction: Errors | None


def compare_bands(reference: Bands, other: Bands, *, align: bool = True) -> BandComparison:
    """Compare two band structures, band by band in ascending order.

    Parameters
    ----------
    reference, other : Bands
        On the same k-points, with the same number of bands.
    align : bool
        Measure both from their own Fermi levels (if both are known), instead of from the energy zero of H.

    Raises
    ------
    DataError
        If k-points or numbers of bands differ.
    """
    if reference.energies.shape != other.energies.shape or not np.allclose(reference.path.k, other.path.k, rtol=0, atol=1e-6):
        raise DataError(
            f"bands {other.energies.shape} and {reference.energies.shape} (spins, k-points, bands) are not on the same k-points "
            "with the same number of bands"
        )
    difference = other.energies - reference.energies
    alignment = "none: both on the energy zero of H"
    if align and reference.fermi_energy is not None and other.fermi_energy is not None:
        difference = difference - (other.fermi_energy - reference.fermi_energy)
        levels = [f"{b.fermi_energy:.4f} eV ({b.fermi_origin})" for b in (reference, other)]
        alignment = f"Fermi levels {levels[0]} and {levels[1]}"
    near = valence = conduction = None
    if reference.fermi_energy is not None:
        above = reference.energies - reference.fermi_energy
        near = _errors(difference[np.abs(above) < WINDOW])
        filled = (above.mean(axis=1) <= 0).sum(axis=1)  # per spin
        valence = _errors(_bands(difference, filled - 1))
        conduction = _errors(_bands(difference, filled))
    return BandComparison(alignment, 1e3 * float(difference.mean()), _errors(difference) or Errors(0, 0, 0, 0), near, valence, conduction)


def _bands(difference: FloatArray, index: FloatArray) -> FloatArray:
    """The differences of one band per spin; nothing where there is no such band."""
    chosen = [d[:, n] for d, n in zip(difference, index.tolist(), strict=True) if 0 <= n < d.shape[1]]
    return np.concatenate(chosen) if chosen else np.zeros(0)


def _errors(difference: FloatArray) -> Errors | None:
    size = 1e3 * np.abs(difference)
    if not size.size:
        return None
    return Errors(size.size, float(size.mean()), float(np.sqrt((size**2).mean())), float(size.max()))
