"""The groups of bands whose topology is asked for, their states at many k, and the gaps that they need."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.states.integrate import SameAt, evaluate
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.states import States
from postprocess.topology.links import ComplexArray

TOUCHING = 1e-4
"""eV; levels closer than this are degenerate: no group of bands ends between them."""
SAME_COUNT = 1e-3
"""Electrons by which their number may differ from a whole one."""


@dataclass(frozen=True)
class BandGroup:
    """Bands ``first`` to ``stop - 1``, counted from 0, of one spin channel.

    Attributes
    ----------
    first, stop : int
        As in a slice.
    spin : int
        Channel.
    filled : bool
        Whether these are the filled bands of an insulator: then no k may have a level above that is lower than one of theirs anywhere.
    """

    first: int
    stop: int
    spin: int = 0
    filled: bool = False

    @property
    def size(self) -> int:
        """Number of bands."""
        return self.stop - self.first

    def __str__(self) -> str:
        """Such as ``bands 1 to 10 (filled)``, counted from 1."""
        return f"bands {self.first + 1} to {self.stop}" + " (filled)" * self.filled


@dataclass(frozen=True)
class GroupStates:
    """The states of a group at one k; a :class:`postprocess.states.integrate.Quantity`."""

    first: int
    stop: int

    @property
    def needs_vectors(self) -> bool:
        """Unless only energies are asked for, with an empty group."""
        return self.stop > self.first

    @property
    def same_at(self) -> SameAt:
        """Lattice gauge."""
        return "k+G"

    def __call__(self, states: States) -> Result:
        """All energies (n,) and the coefficients (n, m) of the group."""
        return {"energies": states.energies, "C": states.C[:, self.first : self.stop]}


@dataclass(frozen=True)
class AtPoints:
    """States of a group at some k-points, all energies with them.

    Attributes
    ----------
    k : (n_k, 3) array
        Fractional.
    C : list of (n_orbitals, m) arrays
        Coefficients.
    gap : float
        Smallest distance of a level of the group from the next one outside it at the same k, eV.
    """

    k: FloatArray
    C: list[ComplexArray]
    gap: float


def states_of(hamiltonian: Hamiltonian, group: BandGroup, k: FloatArray, jobs: Jobs | None = None) -> AtPoints:
    """The states of a group at (..., 3) fractional k, once at each distinct one.

    Raises
    ------
    DataError
        If the group touches other bands, or is filled and others overlap with it in energy.
    """
    points = np.asarray(k, float).reshape(-1, 3)
    results, place = evaluate(hamiltonian, points, GroupStates(group.first, group.stop), jobs=jobs)
    place = place[group.spin]
    distinct = {n: results[n] for n in sorted(set(place.tolist()))}
    energies = np.stack([distinct[n]["energies"] for n in place.tolist()])
    return AtPoints(points, [distinct[n]["C"] for n in place.tolist()], check_gap(energies, points, group))


def check_gap(energies: FloatArray, k: FloatArray, group: BandGroup) -> float:
    """The smallest direct gap (eV) between a group and all other bands, infinite if there are none.

    Raises
    ------
    DataError
        If it is closed, or the group is filled and the next band overlaps with it: a metal.
    """
    n_all, smallest = energies.shape[1], np.inf
    for below in {group.first, group.stop} - {0, n_all}:
        direct = energies[:, below] - energies[:, below - 1]
        place = int(direct.argmin())
        smallest = min(smallest, float(direct[place]))
        if direct[place] < TOUCHING:
            raise DataError(
                f"bands {below} and {below + 1} touch: {direct[place]:.2g} eV between them at k = {k_text(k[place])}; expected a gap at "
                f"every k, for topology belongs to a group of bands that is separate from all others{_other_ends(energies, below)}"
            )
    if group.filled and group.stop < n_all:
        _check_insulator(energies, k, group, smallest)
    return smallest


def _other_ends(energies: FloatArray, wanted: int) -> str:
    """After which bands next to ``wanted`` there is a gap at these k, as what to do."""
    ends = np.flatnonzero((energies[:, 1:] - energies[:, :-1]).min(axis=0, initial=np.inf) >= TOUCHING) + 1
    near = [str(n) for n in (*ends[ends < wanted][-1:], *ends[ends > wanted][:1])]
    return f". Name such a group (--bands N-M): at the k looked at it may end with band {' or '.join(near)}" if near else ""


def _check_insulator(energies: FloatArray, k: FloatArray, group: BandGroup, direct: float) -> None:
    top, bottom = energies[:, group.stop - 1], energies[:, group.stop]
    highest, lowest = int(top.argmax()), int(bottom.argmin())
    overlap = float(top[highest] - bottom[lowest])
    if overlap > 0:
        raise DataError(
            f"this is a metal: band {group.stop} reaches {top[highest]:.4f} eV at k = {k_text(k[highest])}, above band {group.stop + 1}, "
            f"which comes down to {bottom[lowest]:.4f} eV at k = {k_text(k[lowest])}; they overlap by {overlap:.4f} eV, so that the same "
            f"number of bands is not filled at every k. Name the group of bands that is meant: --bands 1-{group.stop} (they are apart "
            f"at each k, by {direct:.4f} eV at least)"
        )


def k_text(k: FloatArray) -> str:
    """Such as ``(0.3333, 0.3333, 0)``."""
    return f"({', '.join(f'{x:.4g}' for x in np.asarray(k) + 0.0)})"


def filled_groups(hamiltonian: Hamiltonian, k: FloatArray, energies: list[FloatArray]) -> list[BandGroup]:
    """The filled bands of each spin channel of an insulator.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its electrons are counted, or, if their number is not known, the levels below its Fermi level.
    k : (n_k, 3) array
        Fractional; a few suffice.
    energies : list of (n_k, n_orbitals) arrays
        Of each channel there.

    Raises
    ------
    DataError
        If the number of filled bands is no whole one or differs among the k-points: a metal.
    """
    n = hamiltonian.n_electrons
    if n is None:
        if hamiltonian.fermi_energy is None:
            raise DataError(
                "neither the number of electrons nor the Fermi level is known (info.json); name the group of bands: --bands 1-N"
            )
        counts = np.array([(e < hamiltonian.fermi_energy).sum(axis=1) for e in energies])
    else:
        both = 2 if hamiltonian.basis.spin == "none" else 1
        levels = n / both
        if abs(levels - round(levels)) > SAME_COUNT:
            raise DataError(
                f"{n:g} electrons per cell fill {levels:g} bands: no insulator, so that no group of bands is the filled one. Name the "
                "group that is meant: --bands 1-N"
            )
        lowest = np.argsort(np.concatenate(energies, axis=1), axis=1, kind="stable")[:, : round(levels)]  # of touching levels, too
        counts = np.array([(lowest // energies[0].shape[1] == spin).sum(axis=1) for spin in range(len(energies))])
    for spin, count in enumerate(counts):
        least, most = int(count.argmin()), int(count.argmax())
        if count[least] < count[most]:
            channel = f" of spin {('up', 'down')[spin]}" * (len(counts) > 1)
            raise DataError(
                f"this is a metal: {count[least]} bands{channel} are filled at k = {k_text(k[least])}, {count[most]} at "
                f"k = {k_text(k[most])}. Name the group of bands that is meant: --bands 1-N"
            )
    return [BandGroup(0, int(count[0]), spin, filled=True) for spin, count in enumerate(counts) if count[0]]


def named_group(hamiltonian: Hamiltonian, first: int, last: int) -> list[BandGroup]:
    """The bands ``first`` to ``last`` counted from 1, in each spin channel.

    Raises
    ------
    UsageError
        If there are not so many.
    """
    n = hamiltonian.n_orbitals
    if not 1 <= first <= last <= n:
        raise UsageError(f"bands {first} to {last}: expected two numbers from 1 to {n}, counted from the lowest band")
    return [BandGroup(first - 1, last, spin) for spin in range(hamiltonian.basis.n_spin)]


def energies_at(hamiltonian: Hamiltonian, k: FloatArray, jobs: Jobs | None = None) -> list[FloatArray]:
    """All levels (n_k, n_orbitals) of each spin channel at (n_k, 3) fractional k, eV."""
    results, place = evaluate(hamiltonian, k, GroupStates(0, 0), jobs=jobs)
    return [np.stack([results[n]["energies"] for n in of_spin.tolist()]) for of_spin in place]
