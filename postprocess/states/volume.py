"""Densities and wave functions on the points of a cell, as results that are saved as cube files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.states.grid import Grid
from postprocess.states.realspace import DENSITY, PSI, check_size, compute_density, states_at_a_time, write_cube
from postprocess.states.signed import compute_wave_functions
from postprocess.states.states import States


@dataclass(frozen=True, repr=False)
class Volume:
    """A function in the cell.

    Attributes
    ----------
    grid : Grid
        Its points.
    parts : dict of str to (n1, n2, n3) array
        One with the name "", or real and imaginary part ``re``, ``im`` of each spin ``up``, ``down``, such as ``up_re``. Densities in
        electrons/Angstrom^3, wave functions in Angstrom^(-3/2).
    what : str
        What it is, in words.
    energy : float or None
        Of a state, eV.
    signed : bool
        Whether it is a wave function, and no density.
    """

    grid: Grid
    parts: dict[str, FloatArray]
    what: str
    energy: float | None = None
    signed: bool = False

    def __repr__(self) -> str:
        parts = f", parts {', '.join(self.parts)}" if len(self.parts) > 1 else ""
        return f"Volume {self.what}, {' x '.join(map(str, self.grid.shape))} points, integral {self.integral:.6f}{parts}"

    @property
    def values(self) -> FloatArray:
        """(n1, n2, n3) the only part.

        Raises
        ------
        UsageError
            If there are several.
        """
        if len(self.parts) != 1:
            raise UsageError(f"{self.what} has the parts {', '.join(self.parts)}: take one of .parts")
        return next(iter(self.parts.values()))

    @property
    def integral(self) -> float:
        """Over the cell: of a density itself, of a wave function of its square."""
        total = sum(float((values**2 if self.signed else values).sum()) for values in self.parts.values())
        return total * self.grid.volume

    def save(self, path: str | Path) -> None:
        """Write ``psi.cube``, or one file a part: ``psi_up_re.cube``, ...

        Raises
        ------
        UsageError
            If the name does not end in ``.cube``.
        """
        path = Path(path)
        if path.suffix != ".cube":
            raise UsageError(f"{path}: expected a name ending in .cube")
        for name, values in self.parts.items():
            own = path.with_name(f"{path.stem}_{name}.cube") if name else path
            comment = f"{self.what} {name}".strip() + f", integral {self.integral:.6f}"
            write_cube(own, self.grid, values, comment, PSI if self.signed else DENSITY)


def volumes_of_states(states: States, orbitals: Mapping[int, Orbitals], grid: Grid, *, signed: bool) -> list[Volume]:
    """Wave functions with their sign (see :mod:`postprocess.states.signed`) or ``|psi|^2`` of all states at a k, in their order.

    Raises
    ------
    UsageError
        If they do not fit in memory.
    DataError
        If the orbitals are not those of the basis.
    """
    n, components = len(states.energies), 2 * states.hamiltonian.basis.spin_factor if signed else 1
    check_size(grid, n * components)
    out, together = [], max(1, states_at_a_time(grid) // components)
    k = ", ".join(f"{x:.6g}" for x in states.k)
    for first in range(0, n, together):
        which = np.arange(first, min(first + together, n))
        part = replace(states, levels=states.levels.chosen(which, None, None))
        if signed:
            found = compute_wave_functions(part, orbitals, grid)
            made = [found.parts(state) for state in range(len(which))]
        else:
            made = [{"": one} for one in compute_density(part, orbitals, grid)]
        for energy, parts in zip(part.energies.tolist(), made, strict=True):
            what = f"{'psi' if signed else '|psi|^2'} at k = ({k}), spin {states.spin + 1}, {energy:.6f} eV"
            out.append(Volume(grid, parts, what, energy, signed))
    return out
