"""Images of scanning tunnelling microscopes by J. Tersoff and D. R. Hamann (doi:10.1103/PhysRevB.31.805).

The current through a tip with an s orbital at r is proportional to the local density of states there, integrated from the Fermi level to
the bias: I(r, V) ~ sum_nk w_k |psi_nk(r)|^2 of the levels between E_F and E_F + eV. Positive bias of the sample: its empty states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray
from postprocess.density.constant_current import STEP, default_current, height_of
from postprocess.density.local import ELECTRONS, Share
from postprocess.density.surface import Surface
from postprocess.density.vacuum import LOWEST, Vacuum, density_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mode = Literal["height", "current"]
HIGHER = 6.0
"""Angstrom above the height that is given, up to which a density is looked for in vacuum."""


@dataclass(frozen=True)
class Image(Savable):
    """An image of a surface.

    Attributes
    ----------
    values : (n1, n2) array
        At (i/n1) a + (j/n2) b: density at constant height, height (Angstrom) at constant current.
    mode : str
        "height" or "current".
    setting : float
        The height (Angstrom), or the density.
    cell : (2, 2) array
        a and b in the plane, Angstrom.
    atoms : (n, 2) array
        Outermost atoms in the plane, within 1 Angstrom of the highest.
    symbols : tuple of str
        Of these.
    what : str
        What tunnels, in words.
    title : str
        Name for legends and tables.
    density_unit : str
        See :class:`postprocess.density.local.LevelWindow`.
    """

    values: FloatArray
    mode: Mode
    setting: float
    cell: FloatArray
    atoms: FloatArray
    symbols: tuple[str, ...]
    what: str
    title: str = ""
    density_unit: str = ELECTRONS

    def __repr__(self) -> str:
        unit = "Angstrom" if self.mode == "current" else self.density_unit
        return f"Image {self.title}, constant {self.mode}, {self.values.min():.4g} to {self.values.max():.4g} {unit}"

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.stm_files import write_image

        write_image(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the image; see :func:`postprocess.output.stm_files.plot_image`."""
        from postprocess.output.stm_files import plot_image

        return plot_image(self, **options)


@dataclass(frozen=True)
class Tip:
    """How the tip moves.

    Attributes
    ----------
    mode : {"height", "current"}
        The density at a height, or the height of a density.
    height : float
        Angstrom above the outermost atom; at constant current the density is the mean one at this height, or the largest one that is
        reached everywhere.
    current : float or None
        The density at constant current instead, electrons/Angstrom^3 (at one energy states/(eV Angstrom^3)).
    spacing : float
        Of points, Angstrom.
    """

    mode: Mode = "height"
    height: float = 2.0
    current: float | None = None
    spacing: float = 0.15


def take_image(
    shares: Sequence[Share],
    orbitals: Mapping[int, Orbitals],
    hamiltonian: Hamiltonian,
    surface: Surface,
    tip: Tip,
    *,
    vacuum: Vacuum | None = None,
    what: str = "",
    title: str = "",
    density_unit: str = ELECTRONS,
) -> Image:
    """An image of a surface.

    Parameters
    ----------
    shares, orbitals, hamiltonian, surface, vacuum
        As for :func:`density_above`.
    tip : Tip
        How it moves.
    what, title, density_unit : str
        See :class:`Image`.

    Raises
    ------
    DataError
        As :func:`density_above` and :func:`height_of`.
    """

    def density(at: FloatArray) -> FloatArray:
        return density_above(shares, orbitals, hamiltonian, surface, at, spacing=tip.spacing, vacuum=vacuum)

    values, setting = np.zeros((0, 0)), tip.height
    if tip.mode == "height" or tip.current is None:
        values = density(np.array([tip.height]))[0]
    if tip.mode == "current":
        top = tip.height + HIGHER if vacuum is not None else surface.reach(orbitals) - STEP
        at = np.arange(LOWEST, top + STEP / 2, STEP)
        above = density(at)
        setting = default_current(float(values.mean()), above, tip.height, density_unit) if tip.current is None else tip.current
        values = height_of(above, at, setting, density_unit)
    positions, axes = surface.system.positions, surface.axes
    outer = positions @ surface.normal > -1.0
    symbols = tuple(symbol for symbol, seen in zip(surface.system.symbols, outer, strict=True) if seen)
    cell, atoms = surface.system.cell[1:] @ axes.T, positions[outer] @ axes.T
    return Image(values, tip.mode, setting, cell, atoms, symbols, what, title, density_unit)
