"""What can be chosen of every figure of results: names, title, size, energy zero, style."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict, get_args

import numpy as np

from deeph.files.figures import figure_of
from deeph.runtime.errors import UsageError
from postprocess.bands.bands import Bands
from postprocess.density.dos import DOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Zero = Literal["fermi", "vbm", "none"]
ZEROS: tuple[str, ...] = get_args(Zero)
NO_GAP = 1e-4
"""eV; a narrower one of a density of states is no gap."""


class Look(TypedDict, total=False):
    """Keywords of every ``plot()``, options of every command that draws.

    ``label``: names in the place of those in the legend (of fat bands: of the panels), in their order; ``title``: above the figure;
    ``size``: width and height in cm; ``zero``: the energy zero, "fermi" (unless it is not known), "vbm" (the highest level below the Fermi
    level; the HOMO of molecules) or "none" (that of H); ``style``: name of a matplotlib style, or a style file, whose settings go before.
    """

    label: Sequence[str]
    title: str
    size: tuple[float, float]
    zero: Zero
    style: str | Path


class Reference(NamedTuple):
    """Where energies are counted from: what is subtracted from each result (eV), the name of the axis, and where a line belongs on it."""

    zeros: tuple[float, ...]
    text: str
    line: float | None


def choose_zero(results: Sequence[Bands | DOS], zero: str = "fermi") -> Reference:
    """The energy zero of a figure; energies stay as they are if it is the Fermi level and some result has none.

    Raises
    ------
    UsageError
        If the top of the valence band is asked for and there is none, or the zero is an unknown one.
    """
    if zero not in ZEROS:
        raise UsageError(f"energy zero {zero!r}: expected one of {', '.join(ZEROS)}")
    levels = [one.fermi_energy for one in results]
    known = [level for level in levels if level is not None]
    if zero == "vbm":
        name = "HOMO" if all(isinstance(one, Bands) and len(one.path.k) == 1 for one in results) else "VBM"
        return Reference(tuple(valence_top(one) for one in results), rf"$E - E_\mathrm{{{name}}}$ (eV)", 0.0)
    if zero == "none" or len(known) < len(levels):
        same = len(known) == len(levels) and np.ptp(known) < NO_GAP
        return Reference((0.0,) * len(levels), "$E$ (eV)", known[0] if same else None)
    return Reference(tuple(known), r"$E - E_\mathrm{F}$ (eV)", 0.0)


def valence_top(result: Bands | DOS) -> float:
    """The highest level below the Fermi level, eV; UsageError of a metal, and where it is not known."""
    if isinstance(result, Bands):
        gap = result.gap
        if gap is not None and not gap.is_metal:
            return gap.vbm.energy
        why = "its Fermi level is not known" if gap is None else "its bands cross the Fermi level"
    else:
        counted = result.counted
        if counted is not None and result.errors is None and counted.high - counted.low > NO_GAP:
            return counted.low
        why = "its density of states shows no gap at the number of electrons"
    raise UsageError(f"{result.title}: energies cannot be counted from the top of the valence band, for {why}; use the zero fermi or none")


def rename(names: Sequence[str], look: Look) -> list[str]:
    """The names of a figure as the user wants them.

    Raises
    ------
    UsageError
        If their number is another one.
    """
    label = look.get("label")
    if not label:
        return list(names)
    if len(label) != len(names):
        raise UsageError(f"{len(label)} labels for {len(names)} names of the figure: {', '.join(names)}")
    return list(label)


def set_title(ax: "Axes", look: Look) -> None:
    """The title of the figure, above everything."""
    if title := look.get("title"):
        figure_of(ax).suptitle(title)
