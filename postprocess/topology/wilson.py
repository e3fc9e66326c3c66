"""Wilson loops and hybrid Wannier centres: A. A. Soluyanov and D. Vanderbilt, Phys. Rev. B 83, 235401 (2011); R. Yu et al., 84, 075119."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.states.kjobs import Jobs
from postprocess.topology.groups import BandGroup, k_text, states_of
from postprocess.topology.links import ComplexArray, PeriodicParts, check_links, unitary


@dataclass(frozen=True)
class WannierFlow:
    """Hybrid Wannier centres along one lattice vector, against k across it.

    Attributes
    ----------
    t : (n_lines,) array
        Where the lines are, from 0 to the end, in units of ``across``.
    centres : (n_lines, m) array
        In units of the lattice vector of the lines, 0 to 1, ascending.
    origin, along, across : (3,) arrays
        Line t runs from k = origin + t across to this + along (fractional, ``along`` a reciprocal lattice vector).
    n_points : int
        k-points of each line.
    smallest : float
        Singular value of the links.
    gap : float
        Smallest distance from other bands at the same k, eV.
    position : str
        Where the position matrix comes from.
    """

    t: FloatArray
    centres: FloatArray
    origin: FloatArray
    along: FloatArray
    across: FloatArray
    n_points: int
    smallest: float
    gap: float
    position: str

    @property
    def gaps(self) -> tuple[FloatArray, FloatArray]:
        """(n_lines,) the middle of the largest gap between the centres of each line, and its width."""
        following = np.concatenate([self.centres[:, 1:], self.centres[:, :1] + 1], axis=1)
        width = following - self.centres
        place = width.argmax(axis=1)[:, None]
        widest = np.take_along_axis(width, place, 1)[:, 0]
        return np.asarray((np.take_along_axis(self.centres, place, 1)[:, 0] + widest / 2) % 1), widest


class Lines:
    """Closed lines of k across a plane, of one group of bands.

    Parameters
    ----------
    hamiltonian, group
        What is looked at.
    origin, along, across : (3,) arrays
        See :class:`WannierFlow`.
    n_points : int
        k-points of each line.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        group: BandGroup,
        origin: FloatArray,
        along: FloatArray,
        across: FloatArray,
        *,
        n_points: int,
        jobs: Jobs | None = None,
    ) -> None:
        self._hamiltonian, self._group, self._jobs = hamiltonian, group, jobs
        self.origin, self.along, self.across = (np.asarray(x, float) for x in (origin, along, across))
        self.n_points, self._parts = n_points, PeriodicParts(hamiltonian)

    def flow(self, t: FloatArray) -> WannierFlow:
        """The centres of the lines at some t, ascending.

        Raises
        ------
        DataError
            If the group is not separate from other bands, or the lines have too few points.
        """
        t = np.asarray(t, float)
        steps = np.linspace(0, 1, self.n_points + 1)
        k = self.origin + t[:, None, None] * self.across + steps[:, None] * self.along
        states = states_of(self._hamiltonian, self._group, k, self._jobs)
        centres, smallest = [], 1.0
        for line in range(len(t)):
            own = range(line * len(steps), (line + 1) * len(steps))
            loop, least = wilson_loop(self._parts, states.k[own], [states.C[n] for n in own])
            check_links(least, f"on the line through k = {k_text(k[line, 0])}")
            centres.append(np.sort((-np.angle(np.linalg.eigvals(loop)) / (2 * np.pi)) % 1))
            smallest = min(smallest, least)
        return WannierFlow(
            t, np.array(centres), self.origin, self.along, self.across, self.n_points, smallest, states.gap, self._parts.position
        )


def wilson_loop(parts: PeriodicParts, k: FloatArray, C: list[ComplexArray]) -> tuple[ComplexArray, float]:
    """(m, m) product of the unitary links along a line of k, and their smallest singular value.

    Parameters
    ----------
    parts : PeriodicParts
        Of the basis.
    k : (n + 1, 3) array
        The last one is the first but for a reciprocal lattice vector.
    C : list of (n_orbitals, m) arrays
        Those at the last k equal to those at the first one.
    """
    loop, smallest = np.eye(C[0].shape[1], dtype=complex), 1.0
    for n in range(len(k) - 1):
        U, value = unitary(parts.link(k[n], C[n], k[n + 1], C[n + 1]))
        loop, smallest = loop @ U, min(smallest, value)
    return loop, smallest


def merged(first: WannierFlow, second: WannierFlow) -> WannierFlow:
    """Both with their lines in the order of t."""
    t = np.concatenate([first.t, second.t])
    order = np.argsort(t)
    return WannierFlow(
        t[order], np.concatenate([first.centres, second.centres])[order], first.origin, first.along, first.across, first.n_points,
        min(first.smallest, second.smallest), min(first.gap, second.gap), first.position,
    )  # fmt: skip
