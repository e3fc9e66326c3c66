"""Z2 by the flow of Wannier centres: A. A. Soluyanov and D. Vanderbilt, Phys. Rev. B 83, 235401 (2011), doi:10.1103/PhysRevB.83.235401.

The middle of the largest gap between the centres is followed from one time-reversal invariant line to the next one, over half of the zone;
Z2 is the parity of the number of centres that it jumps over. Lines are added where it would not be followed safely.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.magnetism import SPIN_ORBIT, TIME_ODD, largest_parts
from deeph.physics.system import IntArray
from deeph.runtime.errors import DataError
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.kjobs import Jobs
from postprocess.topology.groups import BandGroup
from postprocess.topology.links import CoarseMeshError
from postprocess.topology.wilson import Lines, WannierFlow, merged

FAR = 0.3
"""Of the largest gap: how far a centre may move to the next line before a line is added between the two."""
ROUNDS = 6
"""Times that lines are added: 64 times as many."""
PAIRED = 0.02
"""Of the lattice vector: how far the two centres of a Kramers pair may be apart at a time-reversal invariant line."""


@dataclass(frozen=True)
class Z2Flow:
    """Z2 of a plane of the zone.

    Attributes
    ----------
    index : int
        0 or 1.
    flow : WannierFlow
        Over half of the plane.
    """

    index: int
    flow: WannierFlow


@dataclass(frozen=True)
class Z2Indices:
    """Z2 by Wannier centres: of a layer one index, of a crystal (nu0; nu1 nu2 nu3).

    Attributes
    ----------
    indices : tuple of int
        nu, or nu0, nu1, nu2, nu3.
    planes : dict of str to Z2Flow
        The planes that they come from, such as ``"k3 = 1/2"``.
    """

    indices: tuple[int, ...]
    planes: dict[str, Z2Flow]

    def __str__(self) -> str:
        return indices_text(self.indices)


def indices_text(indices: tuple[int, ...]) -> str:
    """``1``, or ``(1;000)``."""
    return str(indices[0]) if len(indices) == 1 else f"({indices[0]};{''.join(map(str, indices[1:]))})"


def check_time_reversal(hamiltonian: Hamiltonian) -> None:
    """Refuse an H without spin-orbit coupling, or without time reversal.

    Raises
    ------
    DataError
        With what to do.
    """
    spin = hamiltonian.basis.spin
    if spin != "spinor":
        raise DataError(
            f"this H has spin '{spin}', without spin-orbit coupling: every band is there for both spins alike and Z2 is always 0. Compute "
            "it non-collinear with spin-orbit coupling (OpenMX: scf.SpinPolarization NC, scf.SpinOrbit.Coupling on), or ask for the Chern "
            "number of each spin: --find chern"
        )
    parts = largest_parts(hamiltonian.hamiltonian, spin)
    odd = max(parts["A"], parts["B0"])
    if odd > TIME_ODD:
        raise DataError(
            f"H is magnetic: parts that are odd under time reversal reach {1e3 * odd:.3g} meV (expected below {1e3 * TIME_ODD:g}), and Z2 "
            "belongs to time-reversal invariant H. Ask for Chern numbers instead: --find chern"
        )


def has_spin_orbit(hamiltonian: Hamiltonian) -> bool:
    """Whether H has a spin-orbit part; without it Z2 is 0 for certain."""
    return largest_parts(hamiltonian.hamiltonian, hamiltonian.basis.spin)["B"] > SPIN_ORBIT


def z2_by_flow(hamiltonian: Hamiltonian, group: BandGroup, n_points: int, *, n_lines: int = 11, jobs: Jobs | None = None) -> Z2Indices:
    """Z2 of a layer or of a crystal, by its Wannier centres alone.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Time-reversal invariant spinors.
    group : BandGroup
        An even number of bands.
    n_points : int
        k-points of each line, along the whole zone.
    n_lines : int
        Over half of the zone, to begin with.

    Raises
    ------
    DataError
        If H has no time reversal or no spin-orbit coupling, the group is not separate, or the mesh too coarse.
    """
    check_time_reversal(hamiltonian)
    axes = np.flatnonzero(periodic_directions(hamiltonian))
    if len(axes) < 2:
        raise DataError(f"Z2 belongs to layers and crystals; this structure is periodic along {len(axes)} directions")
    e = np.eye(3)

    def plane(axis: int, offset: float) -> Z2Flow:
        along, across = (a for a in range(3) if a != axis)
        lines = Lines(hamiltonian, group, offset * e[axis], e[along], e[across], n_points=n_points, jobs=jobs)
        return z2_of_lines(lines, n_lines)

    if len(axes) == 2:
        axis = int(np.setdiff1d(np.arange(3), axes)[0])
        only = plane(axis, 0.0)
        return Z2Indices((only.index,), {f"k{axis + 1} = 0": only})
    planes = {f"k{axis + 1} = {'1/2' if offset else '0'}": plane(axis, offset) for axis, offset in product(range(3), (0.0, 0.5))}
    at_edge = [planes[f"k{axis + 1} = 1/2"].index for axis in range(3)]
    strong = {(planes[f"k{axis + 1} = 0"].index + at_edge[axis]) % 2 for axis in range(3)}
    if len(strong) > 1:
        found = ", ".join(f"{name}: {flow.index}" for name, flow in planes.items())
        raise CoarseMeshError(
            f"the planes contradict each other ({found}): the k mesh is too coarse, or the gap closes. Take more k-points"
        )
    return Z2Indices((strong.pop(), *at_edge), planes)


def z2_of_lines(lines: Lines, n_lines: int) -> Z2Flow:
    """Z2 of the plane of some lines, between t = 0 and 1/2, which time reversal leaves as they are.

    Raises
    ------
    CoarseMeshError
        If the largest gap cannot be followed with :data:`ROUNDS` times as many lines.
    """
    flow = lines.flow(np.linspace(0, 0.5, n_lines))
    for _ in range(ROUNDS):
        unsafe = _unsafe(flow)
        if not len(unsafe):
            break
        flow = merged(flow, lines.flow((flow.t[unsafe] + flow.t[unsafe + 1]) / 2))
    else:
        if len(unsafe := _unsafe(flow)):
            raise CoarseMeshError(
                f"the Wannier centres cannot be followed between t = {flow.t[unsafe[0]]:.4f} and {flow.t[unsafe[0] + 1]:.4f} even with "
                f"{len(flow.t)} lines: take more points on each (--mesh), or a gap closes nearby (smallest {1e3 * flow.gap:.3g} meV)"
            )
    _check_pairs(flow)
    return Z2Flow(int(sum(jumps(flow)) % 2), flow)


def jumps(flow: WannierFlow) -> list[int]:
    """Centres between the middle of the largest gap of each line and that of the next one, at the next one."""
    middle, _ = flow.gaps
    low, high = np.minimum(middle[:-1], middle[1:]), np.maximum(middle[:-1], middle[1:])
    after = flow.centres[1:]
    return [int(n) for n in ((after > low[:, None]) & (after < high[:, None])).sum(axis=1)]


def _unsafe(flow: WannierFlow) -> IntArray:
    """Lines after which a centre moves by more than a part of the largest gap, however the two lines are matched around the circle."""
    _, width = flow.gaps
    turns = [np.concatenate([flow.centres[1:, s:], flow.centres[1:, :s]], axis=1) for s in range(flow.centres.shape[1])]
    moves = [np.abs((after - flow.centres[:-1] + 0.5) % 1 - 0.5).max(axis=1) for after in turns]
    return np.flatnonzero(np.min(moves, axis=0) > FAR * np.minimum(width[:-1], width[1:]))


def _check_pairs(flow: WannierFlow) -> None:
    """At t = 0 and 1/2 the centres are there in pairs: if not, H has no time reversal, or the lines too few points."""
    for line, t in ((0, 0.0), (-1, 0.5)):
        x = flow.centres[line]
        if len(x) % 2:
            raise DataError(f"{len(x)} bands: expected an even number, for time reversal makes pairs of them")
        split = min(np.abs((x[s::2] - np.roll(x, -1)[s::2] + 0.5) % 1 - 0.5).max() for s in (0, 1))
        if split > PAIRED:
            raise DataError(
                f"the Wannier centres at t = {t:g} are no pairs: two of them are {split:.3f} lattice vectors apart (expected below "
                f"{PAIRED:g}). H has no time reversal symmetry, or the lines need more k-points (--mesh)"
            )
