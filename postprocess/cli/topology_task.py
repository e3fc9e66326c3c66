"""What ``deeph-topology`` is asked for, and what the text of its results has in common."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import SPIN_ORBIT, TIME_ODD, largest_parts
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.states.kjobs import Jobs
from postprocess.topology.groups import BandGroup, check_gap, energies_at, filled_groups, named_group
from postprocess.topology.links import CoarseMeshError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSITY, SEARCH = 12.0, 6.0
"""k-points per 1/Angstrom (with 2 pi) along a line to begin with, and of the mesh on which touchings are looked for."""
DOUBLINGS = 3
"""Times that a default mesh is doubled where it is too coarse."""
FIRST_LOOK = 6
"""k-points along each direction where levels are looked at for a gap before any state is computed; Gamma, M and K are among them."""
HALF_LINES = 11
"""Of Z2, to begin with."""
PLANAR = ("chern", "wilson", "mirror")
"""Quantities of planes of k."""
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """A result as text, as what JSON holds, as rows of a table (head first), and as a figure."""

    lines: list[str]
    record: dict[str, Any]
    rows: list[list[Any]] = field(default_factory=list)
    comment: str = ""
    figure: "Callable[[str], Axes] | None" = None


@dataclass(frozen=True)
class Task:
    """Options, structures, and processes."""

    args: argparse.Namespace
    structures: list[Hamiltonian]
    jobs: Jobs
    quantity: str

    @property
    def data(self) -> Hamiltonian:
        """The first structure."""
        return self.structures[0]

    @cached_property
    def groups(self) -> list[BandGroup]:
        """Bands of each spin channel, as they were named, else the filled ones."""
        return self.groups_of(self.data)

    def groups_of(self, data: Hamiltonian) -> list[BandGroup]:
        """The same of another structure, told at once if they have no gap on a coarse mesh.

        Raises
        ------
        DataError
            With the k-points where bands touch or overlap.
        """
        k = self._first_look(data)
        energies = energies_at(data, k, self.jobs)
        groups = named_group(data, self.args.bands[0] + 1, self.args.bands[-1] + 1) if self.args.bands else filled_groups(data, k, energies)
        for group in groups:
            check_gap(energies[group.spin], k, group)
        return groups

    def _first_look(self, data: Hamiltonian) -> FloatArray:
        """(n_k, 3) coarse mesh of the planes on which the quantity is computed, else of the whole zone: a gap elsewhere does not matter."""
        n = np.where(periodic_directions(data), FIRST_LOOK, 1)
        if self.quantity not in PLANAR:
            return make_mesh(data, (int(n[0]), int(n[1]), int(n[2])), symmetry="reversal").points
        k = []
        for axis, offset in self.planes() if self.quantity == "chern" else self.planes()[-1:]:
            a, b, c = np.where(np.arange(3) == axis, 1, n).tolist()
            x, y, z = (offset * np.eye(3)[axis]).tolist()
            k.append(make_mesh(data, (a, b, c), shift=(x, y, z), symmetry="reversal").points)
        return np.concatenate(k)

    def points(self, axis: int, density: float = DENSITY) -> int:
        """k-points along a reciprocal vector, an even number."""
        return 2 * max(4, int(np.ceil(density * np.linalg.norm(in_plane_reciprocal(self.data)[axis]) / 2)))

    def refined(self, compute: Callable[[int, int], T], n: int, m: int) -> T:
        """``compute`` with the mesh of the user, else with n and m, doubled where that is too coarse."""
        if self.args.mesh:
            n, m = self.args.mesh
            if min(n, m) < 2:
                raise UsageError(f"--mesh {n} {m}: expected two numbers above 1")
            return compute(n, m)
        for doubling in range(DOUBLINGS + 1):
            try:
                return compute(n << doubling, m << doubling)
            except CoarseMeshError as error:
                if doubling == DOUBLINGS:
                    raise
                logger.info("%s", str(error).split(". ")[0] + "; twice as many points")
        raise AssertionError

    def planes(self) -> list[tuple[int, float]]:
        """The plane that was named; else that of a layer, or the three planes k_i = 0 of a crystal."""
        axes = np.flatnonzero(periodic_directions(self.data))
        if self.args.plane:
            axis, offset = self.args.plane
            if not {0, 1, 2} - {axis} <= set(axes.tolist()):
                raise UsageError(f"--plane {axis + 1}=...: the structure is not periodic along both directions of this plane")
            return [(axis, offset)]
        if len(axes) < 2:
            raise DataError(f"the structure is periodic along {len(axes)} direction(s): a plane of k needs two")
        return [(int(np.setdiff1d(np.arange(3), axes)[0]), 0.0)] if len(axes) == 2 else [(axis, 0.0) for axis in range(3)]


def automatic(data: Hamiltonian) -> str:
    """Z2 of spinors with spin-orbit coupling and time reversal, else Chern numbers."""
    if data.basis.spin != "spinor":
        return "chern"
    parts = largest_parts(data.hamiltonian, "spinor")
    return "z2" if max(parts["A"], parts["B0"]) <= TIME_ODD and parts["B"] > SPIN_ORBIT else "chern"


def plane_name(axis: int, offset: float) -> str:
    """Such as ``k3 = 1/2``."""
    return f"k{axis + 1} = {'1/2' if offset == 0.5 else f'{offset:g}'}"


def links_text(smallest: float, position: str) -> list[str]:
    """How well neighbouring states match, and where positions come from."""
    return [f"links        smallest singular value {smallest:.4f} (1: perfect, refused below 0.7)", f"positions    {position}"]


def only_group(task: Task) -> BandGroup:
    """The bands of the one spin channel; DataError of collinear H."""
    if len(task.groups) != 1:
        raise DataError("this quantity is for one spin channel, and H is collinear: see --find chern")
    return task.groups[0]


def spin_text(data: Hamiltonian, group: BandGroup) -> str:
    """The spin channel, where there are two."""
    return f", spin {('up', 'down')[group.spin]}" if data.basis.spin == "collinear" else ""
