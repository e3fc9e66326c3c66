"""Figures of responses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from deeph.files.figures import COLOURS, GREY, LINE, THIN, figure_of, legend_above, new_figure, styled
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.geometry.allowed import zero_to_rounding
from postprocess.output.look import Look, rename, set_title
from postprocess.response.optics import OpticalResponse
from postprocess.response.scan import FermiResponse
from postprocess.response.second_order import SecondOrder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEEN = 0.01
"""Components that stay below this part of the largest one are not drawn."""
SAME = 1e-3
"""Components that differ by less than this part of the largest one are drawn once."""


def plot_optics(found: OpticalResponse, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw the real part of the conductivity against the photon energy; ``window`` in eV.

    Raises
    ------
    UsageError
        If the look is not possible.
    """
    values = found.sigma.real.reshape(len(found.energies), -1)
    names = [rf"$\sigma_{{{name}}}$" for name in found.measure.components(2)]
    return _curves(found.energies, values, names, r"$\hbar\omega$ (eV)", rf"Re $\sigma$ ({_text(found.unit)})", window, look)


def plot_second_order(found: SecondOrder, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw the components against the photon energy: of injection the part of circular light, of a second harmonic magnitudes.

    ``window`` in eV.

    Raises
    ------
    UsageError
        If the look is not possible.
    """
    before, letter, after = {"shift": ("", r"\sigma", ""), "injection": (r"\mathrm{Im}\,", r"\eta", ""), "harmonic": ("|", r"\chi", "|")}[
        found.kind
    ]
    values = {"shift": found.values.real, "injection": found.values.imag, "harmonic": np.abs(found.values)}[found.kind]
    names = [rf"${before}{letter}_{{{name}}}{after}$" for name in found.components]
    up = f"${before}{letter}{after}$ ({_text(found.unit)})"
    values, forbidden = values.reshape(len(found.energies), -1), found.forbidden[int(found.kind == "injection")].ravel()
    values = np.where(forbidden if forbidden.all() else zero_to_rounding(values), 0.0, values)
    return _curves(found.energies, values, names, r"$\hbar\omega$ (eV)", up, window, look)


def plot_fermi_response(found: FermiResponse, *, window: tuple[float, float] | None = None, **look: Unpack[Look]) -> "Axes":
    """Draw a response against the Fermi level; ``window`` in eV on the axis of the figure.

    Raises
    ------
    UsageError
        If there is one Fermi level only, or the look is not possible.
    """
    if len(found.energies) < 2:
        raise UsageError(f"a figure of the {found.what} takes several Fermi levels: give a window")
    absolute = look.get("zero") == "none"
    energies = found.energies - (0.0 if absolute else found.fermi_energy)
    axis = "$E$ (eV)" if absolute else r"$E - E_\mathrm{F}$ (eV)"
    values = np.where(found.zero, 0.0, found.values)
    return _curves(energies, values, list(found.components), axis, f"{found.what}\n({_text(found.unit)})", window, look)


def _curves(
    x: FloatArray, y: FloatArray, names: Sequence[str], across: str, up: str, window: tuple[float, float] | None, look: Look
) -> "Axes":
    """One curve for each component that can be seen, and for equal ones together."""
    shown = _distinct(y)
    if len(shown) > len(COLOURS):
        shown = sorted(sorted(shown, key=lambda group: -float(np.nanmax(np.abs(y[:, group[0]]))))[: len(COLOURS)])
    labels = rename([", ".join(names[n] for n in group) for group in shown], look)
    with styled(look.get("style")):
        ax = new_figure(size=look.get("size")).subplots()
        for group, name, colour in zip(shown, labels, COLOURS, strict=False):
            ax.plot(x, y[:, group[0]], color=colour, lw=LINE, label=name)
        ax.axhline(0.0, color=GREY, lw=THIN, zorder=0)
        ax.set_xlim(*(window or (float(x[0]), float(x[-1]))))
        ax.set_xlabel(across)
        ax.set_ylabel(up)
        set_title(ax, look)
        legend_above(ax)
        figure_of(ax).draw_without_rendering()
    return ax


def _distinct(y: FloatArray) -> list[list[int]]:
    """Columns that can be seen, equal ones together; the first one if all vanish."""
    y = np.nan_to_num(y)
    largest = float(np.abs(y).max())
    groups: list[list[int]] = []
    for n in range(y.shape[1]):
        if not np.abs(y[:, n]).max() > SEEN * largest:
            continue
        same = next((group for group in groups if np.abs(y[:, group[0]] - y[:, n]).max() < SAME * largest), None)
        if same is None:
            groups.append([n])
        else:
            same.append(n)
    return groups or [[0]]


def _text(unit: str) -> str:
    """A unit as matplotlib sets it."""
    return unit.replace("V^2", "V$^2$").replace("m^2", "m$^2$").replace("m^3", "m$^3$").replace("hbar", r"$\hbar$")
