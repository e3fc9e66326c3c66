"""Figures of densities of states."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postprocess.density.dos import DOS
from postprocess.output.plot import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROJECTION_COLOURS = (*COLOURS[1:], "#6b46c1", "#319795", "#d53f8c", "#718096")
MAX_CURVES = 12
"""Projections drawn by default."""


def plot_dos(dos: DOS, *, names: Sequence[str] | None = None, vertical: bool = False, ax: "Axes | None" = None) -> "Axes":
    """Draw a density of states; that of spin down to the other side.

    Parameters
    ----------
    dos : DOS
        Energies are shifted to the Fermi level if it is known.
    names : sequence of str, optional
        Of the projections; by default the first ones.
    vertical : bool
        With the energy upwards, to stand beside bands.
    ax : matplotlib axes, optional
        By default a new figure.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [n for n, name in enumerate(dos.names) if (name in names if names is not None else n <= MAX_CURVES)]
    energies = dos.energies - (dos.fermi_energy or 0.0)
    with mpl.rc_context(STYLE):
        if ax is None:
            ax = Figure(figsize=(1.8, 3.2) if vertical else (3.4, 2.6), layout="constrained").subplots()
        for spin, sign in zip(range(len(dos.density)), (1, -1), strict=False):
            for place, n in enumerate(shown):
                curve = sign * dos.density[spin, n]
                colour = COLOURS[0] if n == 0 else PROJECTION_COLOURS[(place - 1) % len(PROJECTION_COLOURS)]
                line = ax.plot(*((curve, energies) if vertical else (energies, curve)), color=colour, lw=1.2 if n == 0 else 0.9)
                if spin == 0:
                    line[0].set_label(dos.names[n])
        across, along = (ax.axvline, ax.axhline) if vertical else (ax.axhline, ax.axvline)
        if len(dos.density) > 1:
            across(0.0, color="0.6", lw=0.6)
        if dos.fermi_energy is not None:
            along(0.0, color="0.6", lw=0.6, ls=(0, (4, 3)), zorder=0)
        _label(ax, dos, vertical=vertical)
        if len(shown) > 1:
            ax.legend(fontsize="small", handlelength=1.2)
    return ax


def _label(ax: "Axes", dos: DOS, *, vertical: bool) -> None:
    energy = "$E$ (eV)" if dos.fermi_energy is None else r"$E - E_\mathrm{F}$ (eV)"
    states, zero = "states/eV", dos.fermi_energy or 0.0
    limits = (dos.energies[0] - zero, dos.energies[-1] - zero)
    if vertical:
        ax.set(xlabel=states, ylabel=energy, ylim=limits)
    else:
        ax.set(xlabel=energy, ylabel=states, xlim=limits)
    if len(dos.density) == 1:
        (ax.set_xlim if vertical else ax.set_ylim)(0.0, None)
