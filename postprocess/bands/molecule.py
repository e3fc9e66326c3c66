"""The levels of a molecule around HOMO and LUMO."""

from typing import NamedTuple

import numpy as np

from postprocess.bands.bands import Bands

SHOWN = 6
"""Levels on either side of the gap."""


class MolecularLevel(NamedTuple):
    """One level: its number from 1, its spin channel, eV on the energy zero of H, and its place, such as HOMO-1."""

    number: int
    spin: int
    energy: float
    name: str


def frontier_orbitals(bands: Bands, n: int = SHOWN) -> list[MolecularLevel]:
    """The levels nearest the gap, n on either side of it (fewer where fewer are known), ascending, of both spins."""
    if bands.fermi_energy is None or not bands.counted:
        return []
    levels = bands.levels[:, 0]
    spin, band = np.nonzero(np.isfinite(levels))
    order = np.argsort(levels[spin, band], kind="stable")
    spin, band = spin[order], band[order]
    energies = levels[spin, band]
    n_filled = int((energies <= bands.fermi_energy).sum())
    chosen = range(max(0, n_filled - n), min(len(energies), n_filled + n))
    names = [
        "HOMO" + f"-{n_filled - 1 - i}" * (i < n_filled - 1) if i < n_filled else "LUMO" + f"+{i - n_filled}" * (i > n_filled)
        for i in chosen
    ]
    return [
        MolecularLevel(bands.first_band + int(band[i]) + 1, int(spin[i]), float(energies[i]), name)
        for i, name in zip(chosen, names, strict=True)
    ]


def describe_levels(levels: list[MolecularLevel], *, collinear: bool) -> list[str]:
    """A line for each of them, the highest first."""
    return [
        f"level {x.number:<5} {x.energy:+12.6f} eV  {x.name}" + f", spin {('up', 'down')[x.spin]}" * collinear for x in reversed(levels)
    ]
