"""What is printed about contours and maps."""

from typing import Any

import numpy as np

from postprocess.contours.maps import ZoneMap
from postprocess.contours.quantities import zero_line
from postprocess.contours.result import Contours
from postprocess.output.plot import SPIN_NAMES

LISTED = 24
"""Lines told one by one."""


def contour_lines(found: Contours, n_electrons: float | None) -> list[str]:
    """Plane, mesh, and for each energy the bands that cross it, their lines, areas, filling and carriers."""
    n, plane = found.divisions, found.plane
    off = max(float(np.abs(line.off).max()) for line in found.lines)
    out = [f"plane        {plane.text}, {n[0]} x {n[1]} k-points, {plane.area:.4f} 1/Angstrom^2"]
    out.append(
        f"contours     {sum(len(line.k) for line in found.lines)} points, |E(k) - E| at most {off:.1e} eV, {found.n_k} k-points in all"
    )
    out.append(f"between      half-way between neighbouring points |E(k) - E| is at most {found.midway:.1e} eV")
    if found.positions:
        out.append(f"positions    {found.positions}")
    out += _zeros(found)
    told = 0
    for number, energy in enumerate(found.energies):
        out.append(f"E = {energy:+.4f} eV" + _electrons(found, number, n_electrons))
        for spin, band in sorted({(line.spin, line.band) for line in found.of(energy)}):
            lines = [line for line in found.of(energy) if (line.spin, line.band) == (spin, band)]
            channel = f" {SPIN_NAMES[spin]}" * (found.filled.shape[1] > 1)
            part = float(found.filled[number, spin, band - found.first_band])
            carriers = ""
            if plane.is_layer and np.isfinite(part):
                density = found.carriers(number, spin, band)
                carriers = f", {abs(density):.4g} {'electrons' if density >= 0 else 'holes'}/cm^2"
            filling = f": {100 * part:.4f} % of the plane lies below{carriers}" if np.isfinite(part) else ""
            out.append(f"  band {band + 1}{channel}{filling}")
            for line in lines:
                told += 1
                if told <= LISTED:
                    area = f"area {line.area:+.6f} 1/Angstrom^2, {line.frequency:.1f} T" if line.closed else "open"
                    out.append(f"    {'closed' if line.closed else 'line'}, {len(line.k)} points, {area}")
    if told > LISTED:
        out.append(f"  ... and {told - LISTED} more lines, in tables")
    return out


def _zeros(found: Contours) -> list[str]:
    """Curvature and spin that are nothing on all lines."""
    curvature = [line.curvature for line in found.lines if line.curvature is not None]
    spins = [line.spins for line in found.lines if line.spins is not None]
    out = zero_line("curvature", np.concatenate(curvature)) if curvature else []
    return out + [text for n, x in enumerate("xyz") if spins for text in zero_line(f"spin-{x}", np.concatenate(spins)[:, n])]


def _electrons(found: Contours, number: int, n_electrons: float | None) -> str:
    """Electrons below an energy by the areas of a layer (Luttinger), where all bands are known."""
    if not found.plane.is_layer or found.first_band or not np.isfinite(found.filled[number]).all():
        return ""
    counted = found.electrons_per_level * float(found.filled[number].sum())
    return f": {counted:.6f} electrons per cell below" + (f" (neutral: {n_electrons:g})" if n_electrons is not None else "")


def contour_record(found: Contours) -> dict[str, Any]:
    """The same by name."""
    lines = [
        {
            "energy": line.energy - found.zero, "band": line.band + 1, "spin": line.spin, "n_points": len(line.k), "closed": line.closed,
            "largest_midway": float(np.nanmax(np.abs(line.midway), initial=0.0)),
            "area": line.area if line.closed else None, "frequency_T": line.frequency if line.closed else None,
        }
        for line in found.lines
    ]  # fmt: skip
    filled = [[[None if np.isnan(x) else float(x) for x in row] for row in part] for part in found.filled]
    record: dict[str, Any] = {"title": found.title, "plane": found.plane.text, "area_of_the_plane": found.plane.area, "zero": found.zero}
    record |= {
        "energies": list(found.energies),
        "tolerance": found.tolerance,
        "largest_midway": found.midway,
        "mesh": list(found.divisions),
        "n_k": found.n_k,
    }
    return record | {"first_band": found.first_band + 1, "filled": filled, "lines": lines}


def map_lines(found: ZoneMap) -> list[str]:
    """Range of a map, and where it is largest."""
    n = found.values.shape
    unit = {"energy": "eV from the Fermi level", "curvature": "Angstrom^2"}.get(found.what, "")
    out = [f"map          {found.what} of {found.band_text}, plane {found.plane.text}, {n[0]} x {n[1]} k-points"]
    for name, place in (("smallest", found.values.argmin()), ("largest", found.values.argmax())):
        i, j = np.unravel_index(int(place), n)
        k = ", ".join(f"{x:.4f}" for x in found.plane.fractional(np.array([i / n[0], j / n[1]])) + 0.0)
        out.append(f"  {name:<10} {found.values[i, j]:+.6f} {unit}  at k = ({k})")
    out += zero_line(found.what, found.values)
    return [*out, f"positions    {found.positions}"] if found.positions else out


def map_record(found: ZoneMap) -> dict[str, Any]:
    """The same by name."""
    ends = {"smallest": float(found.values.min()), "largest": float(found.values.max())}
    return {"title": found.title, "what": found.what, "bands": [n + 1 for n in found.bands], "positions": found.positions or None, **ends}
