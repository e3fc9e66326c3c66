"""Electric polarisation by Berry phases: R. D. King-Smith and D. Vanderbilt, Phys. Rev. B 47, 1651 (1993), doi:10.1103/PhysRevB.47.1651.

P = (e/V) sum_a p_a a_a with p_a = sum_i Z_i f_ia - g sum of the Wannier centres along a; f are fractional positions, g is 2 where a band
holds both spins. Each p_a is known but for whole numbers (a Wannier centre, or the name of an ion, one cell on): multiples of g where all Z
are, else any. Only differences mean something, between structures so near to each other that the branch can be followed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import SYMBOLS, FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.kjobs import Jobs
from postprocess.topology.groups import SAME_COUNT, BandGroup, states_of
from postprocess.topology.links import CoarseMeshError, PeriodicParts, check_links
from postprocess.topology.wilson import wilson_loop

ELEMENTARY = 1.602176634e-19
"""Coulomb."""
C_PER_M2 = ELEMENTARY * 1e20
"""1 e/Angstrom^2."""
IN_SPAN = 1e-9
"""Of a unit vector; what is missing is rounding."""
WHOLE = 1e-6
"""Deviation of a charge from a whole number."""
JUMP = 0.3
"""Of a quantum: largest change between neighbouring lines of k, and between neighbouring structures of a path."""


@dataclass(frozen=True)
class Polarisation:
    """The polarisation of one structure, on one of its branches.

    Attributes
    ----------
    electronic, ionic : (3,) arrays
        p_a of electrons and ions; 0 along directions that are not periodic.
    cell : (3, 3) array
        Lattice vectors in rows, Angstrom.
    periodic : (3,) bool array
        Directions with a polarisation.
    smallest : float
        Singular value of the links.
    gap : float
        Smallest distance from the empty bands at the same k, eV.
    position : str
        Where the position matrix comes from.
    quantum : int
        Whole numbers by which branches differ are multiples of this: 2 where bands hold both spins and all ions have even charges.
    """

    electronic: FloatArray
    ionic: FloatArray
    cell: FloatArray
    periodic: FloatArray
    smallest: float
    gap: float
    position: str
    quantum: int = 1

    @property
    def fractions(self) -> FloatArray:
        """(3,) p_a, in units of e along each lattice vector."""
        return np.asarray(self.electronic + self.ionic)

    @property
    def dipole(self) -> FloatArray:
        """(3,) V P, e Angstrom."""
        return np.asarray(self.fractions @ self.cell)

    @property
    def cartesian(self) -> FloatArray:
        """(3,) P: C/m^2 of a crystal, e/Angstrom of a layer, e of a chain."""
        axes = np.flatnonzero(self.periodic)
        measure = float(np.sqrt(np.linalg.det(self.cell[axes] @ self.cell[axes].T)))
        return np.asarray(self.dipole / measure * (C_PER_M2 if len(axes) == 3 else 1.0))

    @property
    def defined(self) -> npt.NDArray[np.bool_]:
        """(3,) which of x, y, z lie in the span of the periodic directions; across vacuum there is no Berry phase, but a dipole."""
        span = np.linalg.qr(self.cell[np.flatnonzero(self.periodic)].T)[0]
        return np.asarray(np.linalg.norm(span, axis=1) > 1 - IN_SPAN)

    @property
    def unit(self) -> str:
        """Of :attr:`cartesian`."""
        return {3: "C/m^2", 2: "e/Angstrom", 1: "e"}[int(self.periodic.sum())]


def ion_charges(hamiltonian: Hamiltonian, charges: Mapping[str, float]) -> FloatArray:
    """(n_atoms,) valence charges of the ions, e.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its number of electrons is that of the neutral cell.
    charges : mapping of element to float
        May be empty for a single element.

    Raises
    ------
    UsageError
        If one is missing, or the cell is not neutral.
    """
    system, n = hamiltonian.system, hamiltonian.n_electrons
    if n is None:
        raise DataError("the number of electrons is not known (occupation in info.json), which the charges of the ions have to balance")
    missing = sorted(set(system.symbols) - set(charges))
    if missing and len(set(system.symbols)) == 1:
        return np.full(system.n_atoms, n / system.n_atoms)
    if missing:
        example = " ".join(f"{symbol}=..." for symbol in dict.fromkeys(system.symbols))
        raise UsageError(f"the charge of the ions of {', '.join(missing)} (electrons of the pseudo-atom) is not known: --ions {example}")
    out = np.array([charges[symbol] for symbol in system.symbols])
    if abs(out.sum() - n) > 1e-6:
        raise UsageError(f"ions of {out.sum():g} e in all and {n:g} electrons: expected a neutral cell")
    return out


def polarisation(
    hamiltonian: Hamiltonian,
    groups: Sequence[BandGroup],
    charges: FloatArray,
    *,
    n_along: int,
    n_across: int,
    jobs: Jobs | None = None,
) -> Polarisation:
    """The polarisation of an insulator.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With n_electrons equal to the sum of the charges.
    groups : sequence of BandGroup
        Filled bands of each spin channel.
    charges : (n_atoms,) array
        Of the ions, e.
    n_along, n_across : int
        k-points along the lines, and lines along each direction across.

    Raises
    ------
    DataError
        If there is no gap, the mesh is too coarse, or the groups do not hold as many electrons as the ions have charge.
    """
    periodic = np.array(periodic_directions(hamiltonian))
    parts = PeriodicParts(hamiltonian)
    electronic, smallest, gap = np.zeros(3), 1.0, np.inf
    both = 2 if hamiltonian.basis.spin == "none" else 1
    electrons = both * sum(group.size for group in groups)
    if abs(electrons - charges.sum()) > SAME_COUNT:
        raise DataError(
            f"the bands hold {electrons} electrons and the ions {charges.sum():g} e: a polarisation is that of all electrons of a neutral "
            "cell, else it depends on the origin. Leave --bands out, or name all filled bands"
        )
    for axis, group in product(np.flatnonzero(periodic).tolist(), groups):
        mean, least, direct = _mean_centre(hamiltonian, parts, group, axis, periodic, n_along, n_across, jobs)
        electronic[axis] -= both * mean
        smallest, gap = min(smallest, least), min(gap, direct)
    ionic = np.where(periodic, charges @ hamiltonian.system.fractional, 0.0)
    even = both == 2 and bool((np.abs(charges / 2 - np.rint(charges / 2)) < WHOLE).all())
    return Polarisation(electronic, ionic, hamiltonian.system.cell, periodic, smallest, gap, parts.position, 2 if even else 1)


def _mean_centre(
    hamiltonian: Hamiltonian,
    parts: PeriodicParts,
    group: BandGroup,
    axis: int,
    periodic: FloatArray,
    n_along: int,
    n_across: int,
    jobs: Jobs | None,
) -> tuple[float, float, float]:
    """The sum of the Wannier centres along an axis, averaged over the lines across, with the smallest singular value and the gap."""
    across = [a for a in np.flatnonzero(periodic).tolist() if a != axis]
    steps = np.linspace(0, 1, n_along + 1)
    offsets = np.array(list(product(np.arange(n_across) / n_across, repeat=len(across)))).reshape(n_across ** len(across), len(across))
    k = np.zeros((len(offsets), n_along + 1, 3))
    k[..., axis] = steps
    k[..., across] = offsets[:, None]
    states = states_of(hamiltonian, group, k, jobs)
    phases, smallest = [], 1.0
    for line in range(len(offsets)):
        own = range(line * len(steps), (line + 1) * len(steps))
        loop, least = wilson_loop(parts, states.k[own], [states.C[n] for n in own])
        phases.append(-float(np.angle(np.linalg.eigvals(loop)).sum()) / (2 * np.pi))
        smallest = min(smallest, least)
    check_links(smallest, f"on lines along k{axis + 1}")
    branch = np.array(phases).reshape([n_across] * len(across))
    for n in range(len(across)):
        branch = np.unwrap(branch, period=1, axis=n)
    for n in range(len(across)):
        step = np.abs(branch - np.roll(branch, 1, axis=n)).max()
        if step > JUMP:
            raise CoarseMeshError(
                f"the Berry phases along k{axis + 1} cannot be followed from line to line: a step of {step:.2f} quanta (expected below "
                f"{JUMP:g}). Take more lines (--mesh); with a Chern number, there is no polarisation"
            )
    return float(branch.mean()), smallest, states.gap


def followed(path: Sequence[Polarisation]) -> list[Polarisation]:
    """The polarisations along a path of structures on one branch: each as near to the one before as whole quanta allow.

    Raises
    ------
    DataError
        If two neighbours differ by more than :data:`JUMP` quanta, so that the nearest branch is a guess.
    """
    out = list(path[:1])
    for number, one in enumerate(path[1:], 2):
        difference = (one.fractions - out[-1].fractions) / one.quantum
        rest = difference - np.rint(difference)
        if np.abs(rest).max() > JUMP:
            raise DataError(
                f"from structure {number - 1} to {number} of the path the polarisation changes by {np.abs(rest).max():.2f} quanta (of "
                f"{one.quantum} e along a lattice vector; expected below {JUMP:g}): the branch cannot be followed; put others in between"
            )
        out.append(replace(one, electronic=one.electronic - one.quantum * np.rint(difference)))
    return out


def born_charges(
    reference: tuple[Hamiltonian, Polarisation], displaced: Sequence[tuple[Hamiltonian, Polarisation]]
) -> dict[int, FloatArray]:
    """Born effective charges Z*_ab = d(V P_a)/d u_b of the atoms that were moved, by differences.

    Parameters
    ----------
    reference, displaced
        Structures with one atom moved each, by 0.005 to 0.05 Angstrom, and their polarisations. Opposite moves of an atom cancel the
        error of second order.

    Returns
    -------
    dict of int to (3, 3) array
        For each moved atom (counted from 0), e; columns along directions in which it was not moved are NaN.

    Raises
    ------
    DataError
        If the structures differ by something else, or the branch cannot be followed.
    """
    moves: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    base, start = reference
    for data, value in displaced:
        if data.system.symbols != base.system.symbols or np.abs(data.system.cell - base.system.cell).max() > 1e-6:
            raise DataError("the structures for Born charges differ by more than the position of an atom: other cell or elements")
        u = data.system.fractional - base.system.fractional
        u = (u - np.rint(u)) @ base.system.cell
        moved = np.flatnonzero(np.linalg.norm(u, axis=1) > 1e-6)
        if len(moved) != 1:
            raise DataError(f"{len(moved)} atoms are moved in one of the structures; Born charges need one at a time")
        difference = value.fractions - start.fractions
        change = (difference - value.quantum * np.rint(difference / value.quantum)) @ base.system.cell
        moves.setdefault(int(moved[0]), []).append((u[moved[0]], change))
    return {atom: _tensor(np.array([u for u, _ in pairs]), np.array([p for _, p in pairs])) for atom, pairs in sorted(moves.items())}


def _tensor(u: FloatArray, change: FloatArray) -> FloatArray:
    """(3, 3) Z with change = Z u by least squares; columns along directions without moves are NaN."""
    Z = np.linalg.lstsq(u, change, rcond=None)[0].T
    spanned = np.linalg.pinv(u) @ u
    return np.asarray(np.where(np.abs(np.diag(spanned) - 1) < 1e-6, Z, np.nan))


def parse_charges(texts: Sequence[str]) -> dict[str, float]:
    """``Ga=13`` and the like.

    Raises
    ------
    UsageError
        If one is something else.
    """
    out = {}
    for text in texts:
        symbol, _, value = text.partition("=")
        try:
            out[symbol] = float(value)
        except ValueError:
            out[symbol] = np.nan
        if symbol not in SYMBOLS or not np.isfinite(out[symbol]):
            raise UsageError(f"--ions {text}: expected an element and the charge of its ion, such as Ga=13")
    return out
