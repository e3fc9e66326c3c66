"""Z2 of ``deeph-topology``, and the strength of spin-orbit coupling at which it changes."""

from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.errors import DataError
from postprocess.cli.topology_task import HALF_LINES, Found, Task, links_text, only_group
from postprocess.lattice.periodic import periodic_directions
from postprocess.output.topology_files import flow_record, flow_rows
from postprocess.topology.groups import BandGroup, k_text
from postprocess.topology.operations import find_operation
from postprocess.topology.parity import Parities, z2_by_parity
from postprocess.topology.spin_orbit import find_transition
from postprocess.topology.z2 import Z2Indices, check_time_reversal, indices_text, z2_by_flow


def find_z2(task: Task) -> Found:
    """Z2 by Wannier centres, and by parities where there is inversion."""
    from postprocess.output.topology_plot import plot_flows

    check_time_reversal(task.data)
    group = only_group(task)
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
    lines += [f"direct gap   at least {gap:.6f} eV on these lines", *links_text(smallest, first.position)]
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


def find_spin_orbit_transition(task: Task) -> Found:
    """The strength of spin-orbit coupling at which Z2 changes."""
    check_time_reversal(task.data)
    group, data = only_group(task), task.data
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
