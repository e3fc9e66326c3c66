"""Band structures for other programs: gnuplot columns and OpenMX's ``.Band``."""

from pathlib import Path

import numpy as np

from deeph.physics.units import OPENMX
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands


def write_gnuplot(path: Path, bands: Bands) -> None:
    """Columns distance, energy, weights; an empty line ends a segment, two end a band.

    Energies are in eV, minus the Fermi level if it is known. ``plot 'bands.dat' using 1:2 with lines`` draws all bands,
    ``plot 'bands.dat' using 1:2:(2*$3) with points pointtype 7 pointsize variable`` the first weight. Band n is ``index n``.
    """
    zero = bands.fermi_energy or 0.0
    kind = "E (eV)" if bands.fermi_energy is None else f"E - E_F (eV), E_F = {zero:.9f}"
    lines = [f"# {bands.title}", f"# distance (1/Angstrom, with 2 pi)  {kind}  {'  '.join(bands.weights)}"]
    lines += [f"# {label} at {tick:.9f}" for label, tick in zip(bands.path.labels, bands.path.ticks, strict=True)]
    for spin, energies in enumerate(bands.energies):
        for band in range(bands.n_bands):
            lines.append(f"# spin {spin + 1}, band {bands.first_band + band + 1}")
            columns = [bands.path.distances, energies[:, band] - zero, *(w[spin, :, band] for w in bands.weights.values())]
            rows = [" ".join(f"{x:.9f}" for x in row) for row in np.array(columns).T]
            lines += ["\n".join([*rows[points], ""]) for points in bands.path.segments]
            lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def write_openmx(path: Path, bands: Bands) -> None:
    """OpenMX's format, absolute energies in Hartree with OpenMX's constants.

    Raises
    ------
    UsageError
        If the k-points form no path, some bands lie outside the computed window, or the Fermi level or the cell is not known.
    """
    if len(bands.path.labels) < 2:
        raise UsageError(f"{path}: the .Band format holds bands along lines, but these k-points form no path")
    if bands.path.reciprocal is None or bands.fermi_energy is None:
        raise UsageError(f"{path}: the .Band format needs the Fermi level and the cell, which are not known here")
    if not np.isfinite(bands.energies).all():
        raise UsageError(f"{path}: the .Band format needs the same bands at every k, but only those in a window were computed")
    n_spin, n_k, n_bands = bands.energies.shape
    corners = [name.split("|") for name in bands.path.labels]
    lines = [
        f" {n_bands}  {n_spin - 1}  {bands.fermi_energy / OPENMX.hartree:.15f}",
        " ".join(f"{x:.15f}" for x in bands.path.reciprocal.ravel() * OPENMX.bohr),
        str(len(bands.path.segments)),
    ]
    for segment, start, stop in zip(bands.path.segments, corners[:-1], corners[1:], strict=True):
        ends = [" ".join(f"{x:.15f}" for x in k) for k in bands.path.k[[segment.start, segment.stop - 1]]]
        lines.append(f"{segment.stop - segment.start}  {'  '.join(ends)}  {start[-1]} {stop[0]}")
    for k in range(n_k):
        for spin in range(n_spin):
            lines.append(f"{n_bands}  " + " ".join(f"{x:.15f}" for x in bands.path.k[k]))
            lines.append(" ".join(f"{x:.15f}" for x in bands.energies[spin, k] / OPENMX.hartree))
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
