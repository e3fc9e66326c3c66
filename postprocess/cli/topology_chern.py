"""Chern and mirror Chern numbers, Wannier centres on a plane and Weyl points of ``deeph-topology``."""

from functools import partial
from typing import Any

import numpy as np

from deeph.runtime.errors import UsageError
from postprocess.cli.topology_task import SEARCH, Found, Task, links_text, only_group, plane_name, spin_text
from postprocess.geometry.positions import find_positions
from postprocess.output.topology_files import flow_record, flow_rows
from postprocess.response.light import keeps_time_reversal
from postprocess.topology.chern import ChernNumber, Plane, chern_number, lattice_plane
from postprocess.topology.groups import BandGroup, k_text
from postprocess.topology.mirror import mirror_chern_number
from postprocess.topology.weyl import find_weyl_points
from postprocess.topology.wilson import Lines, WannierFlow


def _chern(task: Task, group: BandGroup, plane: Plane, n: int, m: int) -> ChernNumber:
    return chern_number(task.data, group, plane, (n, m), jobs=task.jobs)


def find_chern(task: Task) -> Found:
    """Chern numbers of each spin channel on the planes."""
    if keeps_time_reversal(task.data) and all(2 * offset % 1 == 0 for _, offset in task.planes()):
        return _no_chern(task)
    rows: list[list[Any]] = [["plane", "spin", "C", "gap_eV", "smallest_singular_value"]]
    lines: list[str] = []
    numbers, smallest, position = [], 1.0, ""
    for axis, offset in task.planes():
        plane = lattice_plane(task.data, axis, offset)
        n, m = (task.points(int(np.argmax(np.abs(g)))) for g in (plane.first, plane.second))
        for group in task.groups:
            found = task.refined(partial(_chern, task, group, plane), n, m)
            spin = spin_text(task.data, group)
            size, most = " x ".join(map(str, found.divisions)), np.abs(found.flux).max()
            lines.append(
                f"C            {found.number:+d} on {plane_name(axis, offset)}{spin}, {group}; direct gap {found.gap:.6f} eV, mesh {size}, "
                f"largest flux of a plaquette {most:.3f} turns"
            )
            rows.append([plane_name(axis, offset), group.spin, found.number, found.gap, found.smallest])
            numbers.append({"plane": [axis + 1, offset], "spin": group.spin, "chern": found.number, "gap_eV": found.gap,
                            "mesh": list(found.divisions), "bands": [group.first + 1, group.stop]})  # fmt: skip
            smallest, position = min(smallest, found.smallest), found.position
    lines += ["             C = integral of Omega / 2 pi; Hall conductivity -C e^2/h", *links_text(smallest, position)]
    return Found(lines, {"chern": numbers, "smallest_singular_value": smallest, "position": position}, rows, f"Chern numbers; {position}")


def _no_chern(task: Task) -> Found:
    """Zero for certain, without any k-point."""
    planes = task.planes()
    where = ", ".join(plane_name(axis, offset) for axis, offset in planes)
    lines = [f"C            +0 on {where}: H keeps time reversal, which takes k to -k and turns the curvature over; nothing was computed"]
    if task.data.basis.spin == "spinor":
        lines.append("             what time reversal allows: --find z2")
    else:
        lines.append(f"             H has spin '{task.data.basis.spin}', real: for topology take a run with spin-orbit coupling")
    numbers = [{"plane": [axis + 1, offset], "chern": 0} for axis, offset in planes]
    rows: list[list[Any]] = [["plane", "C"], *([plane_name(axis, offset), 0] for axis, offset in planes)]
    return Found(lines, {"chern": numbers, "time_reversal": True}, rows, "Chern numbers; zero by time reversal")


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
    flows = {f"{name}{spin_text(task.data, group)}": task.refined(partial(flow_of, group), n, m) for group in task.groups}
    lines = [f"bands        {task.groups[0]}"]
    for name, flow in flows.items():
        size = f"{len(flow.t)} lines of {flow.n_points} k-points along k{int(np.argmax(flow.along)) + 1}"
        lines.append(f"centres      {name}: {size}, direct gap {flow.gap:.6f} eV")
    smallest, position = min(f.smallest for f in flows.values()), next(iter(flows.values())).position
    lines += links_text(smallest, position)
    record = {"planes": {n: flow_record(f) for n, f in flows.items()}, "smallest_singular_value": smallest, "position": position}
    comment = f"Wannier centres in lattice vectors; {position}"
    return Found(lines, record, flow_rows(flows), comment, lambda title: plot_flows(flows, largest_gap=False, title=title))


def find_mirror(task: Task) -> Found:
    """The mirror Chern number of a plane."""
    axis, offset = task.planes()[-1]
    group, plane = only_group(task), lattice_plane(task.data, axis, offset)
    n, m = (task.points(int(np.argmax(np.abs(g)))) for g in (plane.first, plane.second))
    found = task.refined(lambda n, m: mirror_chern_number(task.data, group, axis, offset, (n, m), jobs=task.jobs), n, m)
    smallest = min(found.plus.smallest, found.minus.smallest)
    lines = [
        f"bands        {group}",
        f"mirror C     {found.number:g} on {plane_name(axis, offset)}: {found.plus.number:+d} of +i, {found.minus.number:+d} of -i",
        f"direct gap   {found.plus.gap:.6f} eV on a mesh of {' x '.join(map(str, found.plus.divisions))}",
        f"  H breaks the mirror by {1e3 * found.violation:.2g} meV; mirror eigenvalues of the states at least {found.clearest:.4f}",
        *links_text(smallest, found.plus.position),
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
        n_below = task.args.bands[-1] + 1
    elif data.n_electrons is None or data.basis.spin == "collinear":
        raise UsageError("name the bands below the touching: --bands 1-N")
    else:
        n_below = round(data.n_electrons / (2 if data.basis.spin == "none" else 1))
    n1, n2, n3 = task.args.search or [task.points(axis, SEARCH) for axis in range(3)]
    spins = range(data.basis.n_spin)
    points = [(spin, p) for spin in spins for p in find_weyl_points(data, n_below, (n1, n2, n3), spin=spin, jobs=task.jobs)]
    total = [sum(point.charge for of, point in points if of == spin) for spin in spins]
    added = ", ".join(f"{charge:+d}{spin_text(data, BandGroup(0, n_below, spin))}" for spin, charge in enumerate(total))
    lines = [f"bands        {n_below} and {n_below + 1}; search from the local minima on {n1} x {n2} x {n3} k-points",
             f"touchings    {len(points)}, charges add up to {added}"]  # fmt: skip
    rows: list[list[Any]] = [["k1", "k2", "k3", "energy_eV", "charge", "radius", "spin"]]
    for spin, point in points:
        where = f"{k_text(point.k):<28} {point.energy:+.6f} eV   charge {point.charge:+d}   sphere {point.radius:.3g} 1/Angstrom"
        lines.append(f"  {where}{spin_text(data, BandGroup(0, n_below, spin))}")
        rows.append([*map(float, point.k), point.energy, point.charge, point.radius, spin])
    if any(total):
        lines.append("  the charges of all Weyl points of a crystal add up to 0: some were missed, take a finer --search")
    position = find_positions(data).source
    if points:
        lines += links_text(min(p.smallest for _, p in points), position)
    record = {"n_below": n_below, "search": [n1, n2, n3], "total_charge": sum(total), "position": position, "points": [
        {"k": p.k.tolist(), "energy_eV": p.energy, "charge": p.charge, "radius": p.radius, "gap_eV": p.gap, "spin": of}
        for of, p in points]}  # fmt: skip
    return Found(lines, record, rows, f"touchings of bands {n_below} and {n_below + 1}; {position}")
