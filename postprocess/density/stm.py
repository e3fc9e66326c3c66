"""Images of scanning tunnelling microscopes by J. Tersoff and D. R. Hamann (doi:10.1103/PhysRevB.31.805).

The current through a tip with an s orbital at r is proportional to the local density of states there, integrated from the Fermi level to
the bias: I(r, V) ~ sum_nk w_k |psi_nk(r)|^2 of the levels between E_F and E_F + eV. Positive bias of the sample: its empty states.

Localized orbitals end at their cutoff, and fall off too steeply before. Where a vacuum barrier is given, states are continued from a plane
near the surface: in vacuum each Fourier component of psi at k + G decays as exp(-kappa z), kappa^2 = 2 m (E_vac - E)/hbar^2 + |k + G|^2
(compare O. Paz, I. Brihuega, J. M. Gomez-Rodriguez and J. M. Soler, doi:10.1103/PhysRevLett.94.056103).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.layers import heights
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray, IntArray, System
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger, telling
from postprocess.density.local import Share, local_density
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.grid import Grid, compute_psi, orbitals_on_planes
from postprocess.states.realspace import check_orbitals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Side = Literal["top", "bottom"]
Mode = Literal["height", "current"]
STEP = 0.05
"""Angstrom between planes of a constant-current image."""
LOWEST = 0.5
"""Angstrom above the outermost atom where the tip never goes nearer."""
SMALLEST = 1e-12
"""Of the density at constant current; less is nothing."""
NODE = 1e-3
"""Part of the mean density; where less is reached all states have a node."""
HIGHER = 6.0
"""Angstrom above the height that is given, up to which a density is looked for in vacuum."""


@dataclass(frozen=True)
class Surface:
    """One side of a layer, in a cell whose first vector is the outward normal; heights are counted from the outermost atom.

    Attributes
    ----------
    system : System
        The same atoms, the outermost one at height zero.
    order : (3,) int array
        Which lattice vector of the structure each of the three is.
    """

    system: System
    order: IntArray

    @classmethod
    def of(cls, hamiltonian: Hamiltonian, side: Side = "top") -> "Surface":
        """That of a layer; "top" is the side to which its vacuum vector points.

        Raises
        ------
        DataError
            If the structure is no layer.
        """
        system, periodic = hamiltonian.system, np.array(periodic_directions(hamiltonian))
        if periodic.sum() != 2:
            kind = "periodic in three directions" if periodic.all() else "no layer"
            raise DataError(
                f"{system} is {kind}: a tip needs a surface, a layer or slab with vacuum above it (h.cut makes a slab of a crystal)"
            )
        axis = int(np.flatnonzero(~periodic)[0])
        a, b = (n for n in range(3) if n != axis)
        normal = np.cross(system.cell[a], system.cell[b])
        normal *= np.sign(normal @ system.cell[axis]) / np.linalg.norm(normal)
        above = heights(system, axis)[0]
        period = float(system.cell[axis] @ normal)
        wraps = np.rint((above - above[0] - (system.positions - system.positions[0]) @ normal) / period)  # atoms across the boundary
        positions = system.positions + wraps[:, None] * system.cell[axis]
        if side == "bottom":
            normal = -normal
        outward = positions @ normal
        moved = positions - outward.max() * normal
        first = normal * (4 * float(np.ptp(outward)) + 100.0)  # nothing reaches the next image
        return cls(System(np.array([first, system.cell[a], system.cell[b]]), moved, system.numbers), np.array([axis, a, b]))

    @property
    def normal(self) -> FloatArray:
        """(3,) unit vector."""
        return np.asarray(self.system.cell[0] / np.linalg.norm(self.system.cell[0]))

    def reach(self, orbitals: Mapping[int, Orbitals]) -> float:
        """Height where the last orbital ends, Angstrom."""
        cutoffs = np.array([orbitals[z].cutoff for z in self.system.numbers.tolist()])
        return float((self.system.positions @ self.normal + cutoffs).max())

    def grid(self, step: float, spacing: float) -> Grid:
        """Planes so far apart from height zero on, and points in them at most ``spacing`` apart."""
        lateral = Grid.with_spacing(self.system, spacing).shape[1:]
        n = int(np.ceil(np.linalg.norm(self.system.cell[0]) / step))
        cell = self.system.cell.copy()
        cell[0] = self.normal * n * step
        return Grid(replace(self.system, cell=cell), (n, *lateral))

    def shares(self, shares: Sequence[Share]) -> list[Share]:
        """States with k in this cell, none across the vacuum."""
        return [replace(share, k=np.concatenate([[0.0], share.k[self.order[1:]]])) for share in shares]


@dataclass(frozen=True)
class Vacuum:
    """How states are continued above a surface.

    Attributes
    ----------
    level : float
        Of the vacuum, eV on the energy zero of H.
    start : float
        Height of the plane from which on they are continued, Angstrom.
    """

    level: float
    start: float = 1.5


@dataclass(frozen=True)
class Image:
    """An image of a surface.

    Attributes
    ----------
    values : (n1, n2) array
        At (i/n1) a + (j/n2) b: density (electrons/Angstrom^3, or per eV) at constant height, height (Angstrom) at constant current.
    mode : str
        "height" or "current".
    setting : float
        The height (Angstrom), or the density (electrons/Angstrom^3).
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
    """

    values: FloatArray
    mode: Mode
    setting: float
    cell: FloatArray
    atoms: FloatArray
    symbols: tuple[str, ...]
    what: str
    title: str = ""

    @property
    def density_unit(self) -> str:
        """Of densities: of a window of levels, or at one energy."""
        return "electrons/Angstrom^3" if self.what.startswith("levels") else "states/(eV Angstrom^3)"

    def __repr__(self) -> str:
        unit = "Angstrom" if self.mode == "current" else self.density_unit
        return f"Image {self.title}, constant {self.mode}, {self.values.min():.4g} to {self.values.max():.4g} {unit}"

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``) or a table (``.csv``, ``.json``, ``.h5``)."""
        from deeph.files.figures import SUFFIXES, save_figure
        from postprocess.output.stm_files import write_image

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        else:
            write_image(Path(path), self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the image; see :func:`postprocess.output.stm_files.plot_image`."""
        from postprocess.output.stm_files import plot_image

        return plot_image(self, **options)


def density_above(
    shares: Sequence[Share],
    orbitals: Mapping[int, Orbitals],
    hamiltonian: Hamiltonian,
    surface: Surface,
    at: FloatArray,
    *,
    spacing: float,
    vacuum: Vacuum | None = None,
) -> FloatArray:
    """(n, n1, n2) local density of states on planes at some heights above a surface.

    Parameters
    ----------
    shares : sequence of Share
        States in the cell of the structure.
    orbitals : mapping of atomic number to Orbitals
        Those of the basis.
    hamiltonian : Hamiltonian
        Its basis.
    surface : Surface
        Which side.
    at : (n,) array
        Heights, ascending, Angstrom.
    spacing : float
        Of points in the planes, Angstrom.
    vacuum : Vacuum, optional
        How states are continued; by default the orbitals as they are.

    Raises
    ------
    DataError
        If the orbitals end below, or a level lies above the vacuum level.
    UsageError
        If a height lies below :data:`LOWEST`.
    """
    check_orbitals(orbitals, hamiltonian.basis)
    if not len(at) or at.min() < LOWEST:
        raise UsageError(f"height {at.min() if len(at) else 0:g} Angstrom above the outermost atom: expected {LOWEST:g} or more")
    reach = surface.reach(orbitals)
    if max(at.max() if vacuum is None else 0.0, 0.0 if vacuum is None else vacuum.start) >= reach:
        raise DataError(
            f"the orbitals end {reach:.2f} Angstrom above the outermost atom, and nothing is known beyond: choose a smaller height, or "
            "continue the states into the vacuum from a lower plane (--vacuum EV, the barrier above E_F)"
        )
    shares = surface.shares(shares)
    near = at if vacuum is None else at[at <= vacuum.start]
    parts = [_on_plane(shares, orbitals, hamiltonian, surface, float(height), spacing) for height in near]
    if vacuum is not None and len(near) < len(at):
        parts.append(_continued(shares, orbitals, hamiltonian, surface, at[len(near) :], spacing, vacuum))
    return np.concatenate(parts)


def _at_height(surface: Surface, height: float, spacing: float) -> Grid:
    """A grid whose first plane is at a height."""
    grid = surface.grid(1.0, spacing)
    return replace(grid, system=replace(grid.system, positions=grid.system.positions - height * surface.normal))


def _on_plane(
    shares: Sequence[Share], orbitals: Mapping[int, Orbitals], hamiltonian: Hamiltonian, surface: Surface, height: float, spacing: float
) -> FloatArray:
    return local_density(shares, orbitals, _at_height(surface, height, spacing), hamiltonian, range(1))


def _continued(
    shares: Sequence[Share],
    orbitals: Mapping[int, Orbitals],
    hamiltonian: Hamiltonian,
    surface: Surface,
    at: FloatArray,
    spacing: float,
    vacuum: Vacuum,
) -> FloatArray:
    """Densities above the plane from which states decay as in vacuum."""
    grid = _at_height(surface, vacuum.start, spacing)
    n1, n2 = grid.shape[1:]
    atoms = list(orbitals_on_planes(orbitals, grid, range(1)))
    reciprocal = 2 * np.pi * np.linalg.pinv(grid.system.cell[1:]).T
    out = np.zeros((len(at), n1, n2))
    G = np.stack(np.meshgrid(np.fft.fftfreq(n1, 1 / n1), np.fft.fftfreq(n2, 1 / n2), indexing="ij"), axis=-1)
    place = np.stack(np.meshgrid(np.arange(n1) / n1, np.arange(n2) / n2, indexing="ij"), axis=-1)
    with telling(f"states in vacuum at {len(at)} heights", len(shares), "k-points") as progress:
        for share in shares:
            psi = compute_psi(atoms, (1, n1, n2), share.k, share.C, hamiltonian.basis.spin_factor)[:, :, 0]
            barrier = vacuum.level - share.energies
            if barrier.min() <= 0:
                raise DataError(f"a level lies {-barrier.min():.3f} eV above the vacuum level: choose a larger barrier, or a smaller bias")
            components = np.fft.fft2(psi * np.exp(-2j * np.pi * place @ share.k[1:]), axes=(-2, -1))
            lateral = (((G + share.k[1:]) @ reciprocal) ** 2).sum(axis=-1)
            kappa = np.sqrt(2 * barrier[:, None, None] / HBAR2_OVER_MASS + lateral)
            for n, height in enumerate(at):
                there = np.fft.ifft2(components * np.exp(-kappa * (height - vacuum.start)), axes=(-2, -1))
                out[n] += np.einsum("smab,m->ab", np.abs(there) ** 2, share.weights)
            progress.advance()
    return out


def height_of(density: FloatArray, at: FloatArray, value: float) -> FloatArray:
    """(n1, n2) the largest height where the density is a value, between planes by its logarithm.

    Parameters
    ----------
    density : (n, n1, n2) array
        At ascending heights.
    at : (n,) array
        The heights, Angstrom.
    value : float
        Electrons/Angstrom^3.

    Raises
    ------
    DataError
        If it is reached nowhere between the planes at some place.
    """
    above = density >= value
    if above[-1].any():
        raise DataError(
            f"the density is above {value:.3g} electrons/Angstrom^3 still at {at[-1]:.2f} Angstrom: choose a larger current, or less height"
        )
    if not above.any(axis=0).all():
        part = 100 * float(1 - above.any(axis=0).mean())
        raise DataError(
            f"on {part:.1f} % of the surface the density is below {value:.3g} electrons/Angstrom^3 down to {at[0]:.2f} Angstrom: choose a "
            f"smaller current; {reached_everywhere(density):.3g} electrons/Angstrom^3 are reached everywhere"
        )
    last = len(at) - 1 - np.argmax(above[::-1], axis=0)
    log = np.log(np.maximum(density, SMALLEST * value))
    inner, outer = (np.take_along_axis(log, n[None], axis=0)[0] for n in (last, last + 1))
    step = (inner - np.log(value)) / (inner - outer)
    return np.asarray(at[last] + step * (at[last + 1] - at[last]))


def reached_everywhere(density: FloatArray) -> float:
    """The largest value that densities (n, n1, n2) reach at every place, at some height."""
    return float(density.max(axis=0).min())


def _default_current(mean: float, density: FloatArray, height: float) -> float:
    """The mean density at the height, or less where it is not reached everywhere, as above a node of the states."""
    reached = reached_everywhere(density)
    if reached >= mean:
        return mean
    if reached < NODE * mean:
        raise DataError(
            f"the mean density at {height:g} Angstrom is {mean:.3g} electrons/Angstrom^3, but all states have a node somewhere, where "
            f"no more than {reached:.3g} is reached down to {LOWEST:g} Angstrom: no tip can follow it there; take more k-points "
            "or a larger bias, or a constant height"
        )
    part = 100 * float((density.max(axis=0) < mean).mean())
    logger.warning(
        "the mean density at %g Angstrom, %.3g electrons/Angstrom^3, is not reached on %.1f %% of the surface down to %g Angstrom, near "
        "a node or where orbitals are short: the current is that of %.3g electrons/Angstrom^3, the largest that is reached everywhere",
        height, mean, part, LOWEST, reached,
    )  # fmt: skip
    return reached


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
        The density at constant current instead, electrons/Angstrom^3.
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
) -> Image:
    """An image of a surface.

    Parameters
    ----------
    shares, orbitals, hamiltonian, surface, vacuum
        As for :func:`density_above`.
    tip : Tip
        How it moves.
    what, title : str
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
        setting = _default_current(float(values.mean()), above, tip.height) if tip.current is None else tip.current
        values = height_of(above, at, setting)
    positions, axes = surface.system.positions, _plane_axes(surface)
    outer = positions @ surface.normal > -1.0
    symbols = tuple(symbol for symbol, seen in zip(surface.system.symbols, outer, strict=True) if seen)
    return Image(values, tip.mode, setting, surface.system.cell[1:] @ axes.T, positions[outer] @ axes.T, symbols, what, title)


def _plane_axes(surface: Surface) -> FloatArray:
    """(2, 3) x and y of a layer in the xy plane, else its first vector and what is normal to it."""
    normal = surface.normal
    if abs(normal[2]) > 1 - 1e-9:
        return np.eye(3)[:2]
    first = surface.system.cell[1] / np.linalg.norm(surface.system.cell[1])
    return np.array([first, np.cross(normal, first)])
