"""What ``deeph-topology`` computes, and how it tells it: one function for each quantity."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import SPIN_ORBIT, TIME_ODD, largest_parts
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.geometry.positions import find_positions
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.output.topology_files import flow_record, flow_rows
from postprocess.states.kjobs import Jobs
from postprocess.topology.chern import ChernNumber, Plane, chern_number, lattice_plane
from postprocess.topology.groups import BandGroup, energies_at, filled_groups, k_text, named_group
from postprocess.topology.links import CoarseMeshError
from postprocess.topology.mirror import mirror_chern_number
from postprocess.topology.operations import find_operation
from postprocess.topology.parity import Parities, invariant_points, z2_by_parity
from postprocess.topology.polarisation import Polarisation, born_charges, followed, ion_charges, parse_charges, polarisation
from postprocess.topology.spin_orbit import find_transition
from postprocess.topology.weyl import find_weyl_points
from postprocess.topology.wilson import Lines, WannierFlow
from postprocess.topology.z2 import Z2Indices, check_time_reversal, indices_text, z2_by_flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSITY, SEARCH = 12.0, 6.0
"""k-points per 1/Angstrom (with 2 pi) along a line to begin with, and of the mesh on which touchings are looked for."""
DOUBLINGS = 3
"""Times that a default mesh is doubled where it is too coarse."""
HALF_LINES = 11
"""Of Z2, to begin with."""
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

    @property
    def data(self) -> Hamiltonian:
        """The first structure."""
        return self.structures[0]

    @cached_property
    def groups(self) -> list[BandGroup]:
        """Bands of each spin channel, as they were named, else the filled ones."""
        return self.groups_of(self.data)

    def groups_of(self, data: Hamiltonian) -> list[BandGroup]:
        """The same of another structure."""
        if self.args.bands:
            return named_group(data, *self.args.bands)
        return filled_groups(data, energies_at(data, invariant_points(data), self.jobs))

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


def _links_text(smallest: float, position: str) -> list[str]:
    return [f"links        smallest singular value {smallest:.4f} (1: perfect, refused below 0.7)", f"positions    {position}"]


def _only_group(task: Task) -> BandGroup:
    if len(task.groups) != 1:
        raise DataError("this quantity is for one spin channel, and H is collinear: see --find chern")
    return task.groups[0]


def find_z2(task: Task) -> Found:
    """Z2 by Wannier centres, and by parities where there is inversion."""
    from postprocess.output.topology_plot import plot_flows

    check_time_reversal(task.data)
    group = _only_group(task)
    axes = np.flatnonzero(periodic_directions(task.data)).tolist()
    n = max((task.points(axis) for axis in axes), default=8)
    result = task.refined(lambda n, m: z2_by_flow(task.data, group, n, n_lines=m, jobs=task.jobs), n, HALF_LINES)
    parity, why = _parities(task, group)
    flows = {name: plane.flow for name, plane in result.planes.items()}
    first = next(iter(flows.values()))
    smallest, gap = min(f.smallest for f in flows.values()), min(f.gap for f in flows.values())
    lines = [f"bands        {group}", f"Z2           {result} by the flow of Wannier centres"]
    lines += [
        f"  {name:<10} {plane.index}   {len(plane.flow.t)} lines of {first.n_points} k-points" for name, plane in result.planes.items()
    ]
    lines += _parity_lines(parity) if parity else [f"parities     not used: {why}"]
    lines += [f"direct gap   at least {gap:.6f} eV on these lines", *_links_text(smallest, first.position)]
    if parity and parity.indices != result.indices:
        raise DataError("\n".join([*lines, "the two routes contradict each other: the k mesh is too coarse, or H breaks its inversion"]))
    record = {
        "bands": [group.first + 1, group.stop], "z2": list(result.indices), "position": first.position, "gap_eV": gap,
        "smallest_singular_value": smallest, "planes": {n: {"z2": p.index, **flow_record(p.flow)} for n, p in result.planes.items()},
        "parity": None if parity is None else _parity_record(parity),
    }  # fmt: skip
    comment = f"Z2 = {result}; Wannier centres in lattice vectors; {first.position}"
    return Found(
        lines, record, flow_rows(flows), comment, lambda title: plot_flows(flows, largest_gap=True, title=f"{title}: Z2 = {result}")
    )


def _parities(task: Task, group: BandGroup) -> tuple[Parities | None, str]:
    """Z2 by parities, or why not; an inversion that H breaks too much is a reason, too."""
    try:
        return z2_by_parity(task.data, group), ""
    except DataError as error:
        return None, str(error)


def _parity_lines(parity: Parities) -> list[str]:
    centre = ", ".join(f"{x:.4g}" for x in parity.centre)
    lines = [f"             {indices_text(parity.indices)} by parities (Fu, Kane) about the inversion centre ({centre})"]
    for k, delta, odd, gap in zip(parity.k, parity.products, parity.odd, parity.gaps, strict=True):
        lines.append(f"  {k_text(k):<16} {delta:+d}   {odd} odd states, gap {gap:.6f} eV")
    least, broken = parity.clearest, 1e3 * parity.violation
    return [*lines, f"  H breaks inversion by {broken:.2g} meV; parities of the states at least {least:.4f}"]


def _parity_record(parity: Parities) -> dict[str, Any]:
    return {
        "z2": list(parity.indices), "k": parity.k.tolist(), "products": parity.products.tolist(), "odd": parity.odd.tolist(),
        "gaps_eV": parity.gaps.tolist(), "clearest": parity.clearest, "violation_eV": parity.violation,
        "centre": parity.centre.tolist(),
    }  # fmt: skip


def _spin(data: Hamiltonian, group: BandGroup) -> str:
    return f", spin {('up', 'down')[group.spin]}" if data.basis.spin == "collinear" else ""


def _chern(task: Task, group: BandGroup, plane: Plane, n: int, m: int) -> ChernNumber:
    return chern_number(task.data, group, plane, (n, m), jobs=task.jobs)


def find_chern(task: Task) -> Found:
    """Chern numbers of each spin channel on the planes."""
    rows: list[list[Any]] = [["plane", "spin", "C", "gap_eV", "smallest_singular_value"]]
    lines: list[str] = []
    numbers, smallest, position = [], 1.0, ""
    for axis, offset in task.planes():
        plane = lattice_plane(task.data, axis, offset)
        n, m = (task.points(int(np.argmax(np.abs(g)))) for g in (plane.first, plane.second))
        for group in task.groups:
            found = task.refined(partial(_chern, task, group, plane), n, m)
            spin = _spin(task.data, group)
            size, most = " x ".join(map(str, found.divisions)), np.abs(found.flux).max()
            lines.append(
                f"C            {found.number:+d} on {plane_name(axis, offset)}{spin}, {group}; direct gap {found.gap:.6f} eV, mesh {size}, "
                f"largest flux of a plaquette {most:.3f} turns"
            )
            rows.append([plane_name(axis, offset), group.spin, found.number, found.gap, found.smallest])
            numbers.append({"plane": [axis + 1, offset], "spin": group.spin, "chern": found.number, "gap_eV": found.gap,
                            "mesh": list(found.divisions), "bands": [group.first + 1, group.stop]})  # fmt: skip
            smallest, position = min(smallest, found.smallest), found.position
    lines += ["             C = integral of Omega / 2 pi; Hall conductivity -C e^2/h", *_links_text(smallest, position)]
    return Found(lines, {"chern": numbers, "smallest_singular_value": smallest, "position": position}, rows, f"Chern numbers; {position}")


def find_wilson(task: Task) -> Found:
    """Wannier centres on a plane, over the whole zone."""
    from postprocess.output.topology_plot import plot_flows

    axis, offset = task.planes()[-1]
    along = (axis + 1) % 3 if task.args.along is None else task.args.along - 1
    if along == axis:
        raise UsageError(f"--along {along + 1} is not in the plane {plane_name(axis, offset)}")
    across = 3 - axis - along
    e = np.eye(3)

    def flow_of(group: BandGroup, n: int, m: int) -> WannierFlow:
        lines = Lines(task.data, group, offset * e[axis], e[along], e[across], n_points=n, jobs=task.jobs)
        return lines.flow(np.linspace(0, 1, m + 1))

    name, n, m = plane_name(axis, offset), task.points(along), task.points(across)
    flows = {f"{name}{_spin(task.data, group)}": task.refined(partial(flow_of, group), n, m) for group in task.groups}
    lines = [f"bands        {task.groups[0]}"]
    for name, flow in flows.items():
        size = f"{len(flow.t)} lines of {flow.n_points} k-points along k{int(np.argmax(flow.along)) + 1}"
        lines.append(f"centres      {name}: {size}, direct gap {flow.gap:.6f} eV")
    smallest, position = min(f.smallest for f in flows.values()), next(iter(flows.values())).position
    lines += _links_text(smallest, position)
    record = {"planes": {n: flow_record(f) for n, f in flows.items()}, "smallest_singular_value": smallest, "position": position}
    comment = f"Wannier centres in lattice vectors; {position}"
    return Found(lines, record, flow_rows(flows), comment, lambda title: plot_flows(flows, largest_gap=False, title=title))


def find_mirror(task: Task) -> Found:
    """The mirror Chern number of a plane."""
    axis, offset = task.planes()[-1]
    group, plane = _only_group(task), lattice_plane(task.data, axis, offset)
    n, m = (task.points(int(np.argmax(np.abs(g)))) for g in (plane.first, plane.second))
    found = task.refined(lambda n, m: mirror_chern_number(task.data, group, axis, offset, (n, m), jobs=task.jobs), n, m)
    smallest = min(found.plus.smallest, found.minus.smallest)
    lines = [
        f"bands        {group}",
        f"mirror C     {found.number:g} on {plane_name(axis, offset)}: {found.plus.number:+d} of +i, {found.minus.number:+d} of -i",
        f"direct gap   {found.plus.gap:.6f} eV on a mesh of {' x '.join(map(str, found.plus.divisions))}",
        f"  H breaks the mirror by {1e3 * found.violation:.2g} meV; mirror eigenvalues of the states at least {found.clearest:.4f}",
        *_links_text(smallest, found.plus.position),
    ]
    record = {"mirror_chern": found.number, "plus": found.plus.number, "minus": found.minus.number, "plane": [axis + 1, offset],
              "gap_eV": found.plus.gap, "violation_eV": found.violation, "smallest_singular_value": smallest,
              "position": found.plus.position}  # fmt: skip
    rows: list[list[Any]] = [
        ["plane", "mirror_chern", "plus", "minus"],
        [plane_name(axis, offset), found.number, found.plus.number, found.minus.number],
    ]
    return Found(lines, record, rows, f"mirror Chern number; {found.plus.position}")


def find_weyl(task: Task) -> Found:
    """Weyl points between the last band of the group and the next one."""
    data = task.data
    if task.args.bands:
        n_below = task.args.bands[1]
    elif data.n_electrons is None or data.basis.spin == "collinear":
        raise UsageError("name the bands below the touching: --bands 1-N")
    else:
        n_below = round(data.n_electrons / (2 if data.basis.spin == "none" else 1))
    n1, n2, n3 = task.args.search or [task.points(axis, SEARCH) for axis in range(3)]
    spins = range(data.basis.n_spin)
    points = [(spin, p) for spin in spins for p in find_weyl_points(data, n_below, (n1, n2, n3), spin=spin, jobs=task.jobs)]
    total = [sum(point.charge for of, point in points if of == spin) for spin in spins]
    added = ", ".join(f"{charge:+d}{_spin(data, BandGroup(0, n_below, spin))}" for spin, charge in enumerate(total))
    lines = [f"bands        {n_below} and {n_below + 1}; search from the local minima on {n1} x {n2} x {n3} k-points",
             f"touchings    {len(points)}, charges add up to {added}"]  # fmt: skip
    rows: list[list[Any]] = [["k1", "k2", "k3", "energy_eV", "charge", "radius", "spin"]]
    for spin, point in points:
        where = f"{k_text(point.k):<28} {point.energy:+.6f} eV   charge {point.charge:+d}   sphere {point.radius:.3g} 1/Angstrom"
        lines.append(f"  {where}{_spin(data, BandGroup(0, n_below, spin))}")
        rows.append([*map(float, point.k), point.energy, point.charge, point.radius, spin])
    if any(total):
        lines.append("  the charges of all Weyl points of a crystal add up to 0: some were missed, take a finer --search")
    position = find_positions(data).source
    if points:
        lines += _links_text(min(p.smallest for _, p in points), position)
    record = {"n_below": n_below, "search": [n1, n2, n3], "total_charge": sum(total), "position": position, "points": [
        {"k": p.k.tolist(), "energy_eV": p.energy, "charge": p.charge, "radius": p.radius, "gap_eV": p.gap, "spin": of}
        for of, p in points]}  # fmt: skip
    return Found(lines, record, rows, f"touchings of bands {n_below} and {n_below + 1}; {position}")


def _polarisations(task: Task) -> list[Polarisation]:
    charges = parse_charges(task.args.ions)
    axes = np.flatnonzero(periodic_directions(task.data)).tolist()
    n = max((task.points(axis) for axis in axes), default=8)

    def one(data: Hamiltonian) -> Polarisation:
        ions = ion_charges(data, charges)
        groups = task.groups_of(data)
        return task.refined(lambda n, m: polarisation(data, groups, ions, n_along=n, n_across=m, jobs=task.jobs), n, max(4, n // 2))

    return followed([one(data) for data in task.structures])


def find_polarisation(task: Task) -> Found:
    """Polarisation, along a path of structures on one branch."""
    path = _polarisations(task)
    unit, names = path[0].unit, [folder.resolve().name for folder in task.args.folders]
    lines = [f"polarisation in e along a1, a2, a3 (known but for whole numbers), then in {unit} along x, y, z"]
    rows: list[list[Any]] = [["structure", "p1", "p2", "p3", "Px", "Py", "Pz"]]
    for name, one in zip(names, path, strict=True):
        values = [*map(float, one.fractions), *map(float, one.cartesian)]
        lines.append(f"  {name:<16} {' '.join(f'{x:10.6f}' for x in values)}")
        rows.append([name, *values])
    if len(path) > 1:
        change = path[-1].fractions - path[0].fractions
        moved = path[-1].cartesian - path[0].cartesian
        lines.append(f"  {'last - first':<16} {' '.join(f'{x:10.6f}' for x in [*change, *moved])}")
    smallest, position = min(p.smallest for p in path), path[0].position
    lines += [f"direct gap   at least {min(p.gap for p in path):.6f} eV", *_links_text(smallest, position)]
    record = {"unit": unit, "position": position, "smallest_singular_value": smallest, "structures": [
        {"name": name, "fractions": p.fractions.tolist(), "electronic": p.electronic.tolist(), "ionic": p.ionic.tolist(),
         "cartesian": p.cartesian.tolist()} for name, p in zip(names, path, strict=True)]}  # fmt: skip
    return Found(lines, record, rows, f"polarisation in e along the lattice vectors, then in {unit}; {position}")


def find_born(task: Task) -> Found:
    """Born charges of the atoms that the further structures move."""
    if len(task.structures) < 2:
        raise UsageError("--find born: name the structure, then folders of it with one atom moved in each")
    path = _polarisations(task)
    pairs = list(zip(task.structures, path, strict=True))
    tensors = born_charges(pairs[0], pairs[1:])
    lines = ["Born charges Z*_ab = d(V P_a)/d u_b, e; rows a, columns b = x, y, z"]
    rows: list[list[Any]] = [["atom", "element", *(a + b for a in "xyz" for b in "xyz")]]
    for atom, Z in tensors.items():
        lines.append(f"  atom {atom + 1} ({task.data.system.symbols[atom]})")
        lines += ["    " + " ".join(f"{x:10.5f}" for x in row) for row in Z]
        rows.append([atom + 1, task.data.system.symbols[atom], *map(float, Z.ravel())])
    lines += _links_text(min(p.smallest for p in path), path[0].position)
    record = {"position": path[0].position, "born": {str(atom + 1): [[None if np.isnan(x) else float(x) for x in row] for row in Z]
                                                     for atom, Z in tensors.items()}}  # fmt: skip
    return Found(lines, record, rows, f"Born charges, e; {path[0].position}")


def find_spin_orbit_transition(task: Task) -> Found:
    """The strength of spin-orbit coupling at which Z2 changes."""
    check_time_reversal(task.data)
    group, data = _only_group(task), task.data
    inverted = find_operation(data.system, -np.eye(3))[0] is not None
    n = max(task.points(axis) for axis in np.flatnonzero(periodic_directions(data)).tolist())

    def index(scaled: Hamiltonian) -> tuple[tuple[int, ...], float]:
        if inverted:
            parity = z2_by_parity(scaled, group)
            return parity.indices, float(parity.gaps.min())
        group_ = BandGroup(group.first, group.stop)
        flow: Z2Indices = task.refined(lambda n, m: z2_by_flow(scaled, group_, n, n_lines=m, jobs=task.jobs), n, HALF_LINES)
        return flow.indices, min(plane.flow.gap for plane in flow.planes.values())

    found = find_transition(data, index)
    route = "parities" if inverted else "the flow of Wannier centres"
    where = "at the time-reversal invariant k" if inverted else "on the lines of k"
    rows: list[list[Any]] = [["spin_orbit", "z2", "gap_eV"]]
    if found is None:
        value = indices_text(index(data)[0])
        lines = [f"transition   none: Z2 = {value} by {route} at every strength of spin-orbit coupling from 0 to 1"]
        return Found(lines, {"transition": None, "z2": value}, rows, "no transition")
    strength = (found.low + found.high) / 2
    change = f"Z2 = {indices_text(found.below)} below, {indices_text(found.above)} above, by {route}"
    lines = [
        f"transition   at {strength:.4f} +- {(found.high - found.low) / 2:.4f} times the spin-orbit coupling of the data: {change}",
        f"             smallest gap {where}, {1e3 * found.gap:.4f} meV there",
    ]
    for step, indices, gap in found.steps:
        lines.append(
            f"  {step:8.5f}   {f'{indices_text(indices):<12} gap {gap:.6f} eV' if indices else 'gap too small for the mesh, or closed'}"
        )
        rows.append([step, indices_text(indices) if indices else "", gap if np.isfinite(gap) else ""])
    record = {"strength": strength, "below": list(found.below), "above": list(found.above), "gap_eV": found.gap, "route": route,
              "steps": [{"strength": s, "z2": list(i), "gap_eV": g if i else None} for s, i, g in found.steps]}  # fmt: skip
    return Found(lines, record, rows, f"Z2 against the strength of spin-orbit coupling, by {route}")


FINDERS: dict[str, Callable[[Task], Found]] = {
    "z2": find_z2,
    "chern": find_chern,
    "wilson": find_wilson,
    "mirror": find_mirror,
    "weyl": find_weyl,
    "polarisation": find_polarisation,
    "born": find_born,
    "transition": find_spin_orbit_transition,
}
