"""Circular dichroism of transitions at single k-points: how much more of the one circular light they absorb than of the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions


@dataclass(frozen=True)
class Dichroism:
    """Degree of circular polarization of the transitions from one group of levels to another.

    Attributes
    ----------
    k : (n_k, 3) array
        Fractional.
    degree : (n_spin, n_k) array
        (|P+|^2 - |P-|^2) / (|P+|^2 + |P-|^2) with P+- = <c|v_x +- i v_y|v>, summed over the groups; NaN where no light is absorbed.
    strength : (n_spin, n_k) array
        |P+|^2 + |P-|^2, (eV Angstrom)^2.
    energy : (n_spin, n_k) array
        Distance of the groups, eV.
    positions : str
        Where they come from.
    valence, conduction : tuple of int
        The groups, counted from 0.
    apart : float
        eV from the levels of a group to the next one at any of the k-points.
    """

    k: FloatArray
    degree: FloatArray
    strength: FloatArray
    energy: FloatArray
    positions: str
    valence: tuple[int, ...]
    conduction: tuple[int, ...]
    apart: float


def dichroism(
    hamiltonian: Hamiltonian,
    k: npt.ArrayLike,
    valence: Sequence[int],
    conduction: Sequence[int],
    *,
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    source: Source | None = None,
) -> Dichroism:
    """Degree of circular polarization of light along a direction.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        H and S are made Hermitian.
    k : (n_k, 3) array
        Fractional.
    valence, conduction : sequences of int
        Levels, counted from 0; degenerate levels have to be in one group together.
    direction : (3,) array
        Along which the light goes; x and y of P+- are normal to it.
    source : {"matrix", "atoms"}, optional
        Of the positions.

    Raises
    ------
    UsageError
        If there are no such levels, a level is in both groups, the direction is zero, or degenerate levels are torn apart.
    """
    hamiltonian = hermitian(hamiltonian)
    positions = find_positions(hamiltonian, source)
    frame = _across(np.asarray(direction, float))
    basis, points = BlochBasis(hamiltonian, positions), np.asarray(k, float).reshape(-1, 3)
    n = hamiltonian.n_orbitals
    _check_levels(valence, conduction, n)
    found: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    apart = np.inf
    for spin in range(hamiltonian.basis.n_spin):
        g = Geometry(basis, points, spin=spin)
        for group in (valence, conduction):
            if (g.separation(group) < g.tolerance).any():
                where = points[int(np.argmin(g.separation(group)))]
                raise UsageError(
                    f"bands {', '.join(str(m + 1) for m in group)} touch others at k = {np.round(where, 4).tolist()}: put degenerate bands "
                    "into one group"
                )
            apart = min(apart, float(g.separation(group).min()))
        v = np.einsum("ia,kanm->kinm", frame, g.velocity[:, :, np.array(conduction)[:, None], np.array(valence)])
        plus, minus = (_strength(v[:, 0] + sign * 1j * v[:, 1]) for sign in (1, -1))
        total = plus + minus
        degree = np.where(total > 0, (plus - minus) / np.where(total > 0, total, 1.0), np.nan)
        gap = g.energies[:, list(conduction)].min(axis=1) - g.energies[:, list(valence)].max(axis=1)
        found.append((degree, total, gap))
    degrees, strengths, gaps = (np.array(part) for part in zip(*found, strict=True))
    return Dichroism(points, degrees, strengths, gaps, positions.source, tuple(valence), tuple(conduction), apart)


def edges(hamiltonian: Hamiltonian, k: npt.ArrayLike, fermi_energy: float) -> tuple[list[int], list[int]]:
    """The uppermost occupied and the lowest empty level with their degenerate equals, at all k-points together.

    Raises
    ------
    UsageError
        If not equally many levels are filled at all of them, or none or all.
    """
    hamiltonian = hermitian(hamiltonian)
    basis, below, above = BlochBasis(hamiltonian, find_positions(hamiltonian)), set[int](), set[int]()
    filled: set[int] = set()
    for spin in range(hamiltonian.basis.n_spin):
        g = Geometry(basis, np.asarray(k, float).reshape(-1, 3), spin=spin)
        for energies, groups in zip(g.energies, g.groups, strict=True):
            count = int((energies < fermi_energy).sum())
            filled.add(count)
            if 0 < count < len(energies):
                below |= set(np.flatnonzero(groups == groups[count - 1]).tolist())
                above |= set(np.flatnonzero(groups == groups[count]).tolist())
    if len(filled) > 1 or not below or below & above:
        raise UsageError("these k-points have no common gap at the Fermi level: give the bands, --from and --to")
    return sorted(below), sorted(above)


def _strength(P: npt.NDArray[Any]) -> FloatArray:
    return np.asarray((np.abs(P) ** 2).sum(axis=(1, 2)))


def _across(direction: FloatArray) -> FloatArray:
    """(2, 3) two directions normal to one, right-handed with it; x and y for z."""
    length = float(np.linalg.norm(direction))
    if direction.shape != (3,) or not 0 < length < np.inf:
        raise UsageError(f"direction {direction.tolist()} of the light: expected three numbers that are not all zero")
    n = direction / length
    start = np.eye(3)[0] if abs(n[0]) < 0.9 else np.eye(3)[1]
    first = start - (start @ n) * n
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(n, first)])


def _check_levels(valence: Sequence[int], conduction: Sequence[int], n: int) -> None:
    """UsageError if the groups are none."""
    both = [*valence, *conduction]
    if not valence or not conduction or len(set(both)) < len(both):
        raise UsageError("dichroism takes two groups of bands without a common one, such as 25,26 and 27,28")
    if min(both) < 0 or max(both) >= n:
        raise UsageError(f"bands {', '.join(str(m + 1) for m in both)}: this structure has bands 1 to {n}")
