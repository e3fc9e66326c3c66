"""Conductivities of large cells in tables and figures."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from deeph.files.figures import COLOURS, GREY, LINE, THIN, figure_of, legend_above, new_figure, styled
from deeph.files.folders import new_file
from postprocess.large.conductivity import LargeConductivity
from postprocess.output import records
from postprocess.output.berry_tables import check_suffix
from postprocess.output.look import Look, rename, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_large(path: Path, found: LargeConductivity) -> None:
    """Write a conductivity; the suffix tells the format.

    A ``.csv`` has a row per photon energy (eV): real and imaginary part of each component of the Hermitian part of the conductivity, and
    the standard error of the real part. ``.h5`` and ``.json`` hold the same by name, with the Hall conductivity and the conditions.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    check_suffix(path, "a response")
    names = found.measure.components(2)
    parts = {"sigma_real": found.sigma.real, "sigma_imag": found.sigma.imag, "error": found.errors}
    record = parts | {
        "energies": found.energies, "components": names, "unit": found.unit, "method": found.method, "positions": found.positions,
        "width": found.settings.width, "temperature": found.settings.temperature, "fermi_energy": found.fermi_energy,
        "fermi_origin": found.fermi_origin, "divisions": found.divisions, "title": found.settings.title,
    }  # fmt: skip
    if found.hall is not None:
        record |= {"hall": found.hall, "hall_error": found.hall_errors}
    with new_file(path) as temporary:
        if path.suffix in records.SUFFIXES:
            records.write_record(temporary, record)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(
                f"# {found.settings.title}: optical conductivity in {found.unit}, energy in eV; {found.describe()}; {found.positions}\n"
            )
            rows = csv.writer(file)
            rows.writerow(["energy", *(f"{part}_{name}" for part in parts for name in names)])
            columns = [found.energies[:, None], *(values.reshape(len(values), -1) for values in parts.values())]
            for row in np.concatenate(columns, axis=1):
                rows.writerow([f"{x:.9g}" for x in row])


def plot_large(found: LargeConductivity, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw the real part of the diagonal components with bands of one standard error; ``window`` in eV.

    Raises
    ------
    UsageError
        If the look is not possible.
    """
    labels = rename([rf"$\sigma_{{{name}{name}}}$" for name in found.measure.names], look)
    with styled(look.get("style")):
        ax = new_figure(size=look.get("size")).subplots()
        for a, (name, colour) in enumerate(zip(labels, COLOURS, strict=False)):
            y, error = found.sigma[:, a, a].real, np.nan_to_num(found.errors[:, a, a])
            ax.plot(found.energies, y, color=colour, lw=LINE, label=name)
            ax.fill_between(found.energies, y - error, y + error, color=colour, alpha=0.25, lw=0)
        ax.axhline(0.0, color=GREY, lw=THIN, zorder=0)
        ax.set_xlim(*(window or (float(found.energies[0]), float(found.energies[-1]))))
        ax.set_xlabel(r"$\hbar\omega$ (eV)")
        ax.set_ylabel(rf"Re $\sigma$ ({found.unit})")
        set_title(ax, look)
        legend_above(ax)
        figure_of(ax).draw_without_rendering()
    return ax
