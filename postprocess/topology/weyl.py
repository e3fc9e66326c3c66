"""Weyl points: where two bands touch at single k of a crystal, and their charge.

Two states near a touching have the Hamiltonian d(k).sigma; Newton's method finds d = 0 from the analytic derivatives of H(k) and S(k). The
charge is the flux of the Berry curvature of the lower bands out of a small sphere, in 2 pi.
"""

from dataclasses import dataclass

import numpy as np

from deeph.physics.eigenvalues import solve_states_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.potential import PAULI
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.lattice.periodic import periodic_directions
from postprocess.states.integrate import evaluate
from postprocess.states.kjobs import Jobs
from postprocess.topology.chern import surface_flux
from postprocess.topology.groups import BandGroup, GroupStates, states_of
from postprocess.topology.links import PeriodicParts

STEPS = 30
"""Of Newton's method from each starting point."""
FOUND = 1e-7
"""eV; a smaller gap is none."""
LONGEST = 0.1
"""Step, 1/Angstrom."""
SAME = 1e-4
"""1/Angstrom; touchings nearer to each other are one."""
RADIUS = 0.02
"""Of the sphere, 1/Angstrom, unless another touching is near."""
SPHERE = (12, 16)
"""Its mesh: from pole to pole, and around."""


@dataclass(frozen=True)
class WeylPoint:
    """A touching of two bands.

    Attributes
    ----------
    k : (3,) array
        Fractional, from 0 to 1.
    energy : float
        eV.
    charge : int
        Flux of the Berry curvature of the lower bands out of a sphere around it, in 2 pi.
    radius : float
        Of that sphere, 1/Angstrom.
    smallest : float
        Singular value of its links.
    gap : float
        Left at k, eV.
    """

    k: FloatArray
    energy: float
    charge: int
    radius: float
    smallest: float
    gap: float


def find_weyl_points(
    hamiltonian: Hamiltonian, n_below: int, divisions: tuple[int, int, int], *, spin: int = 0, jobs: Jobs | None = None
) -> list[WeylPoint]:
    """Touchings of the bands ``n_below`` and ``n_below + 1`` (counted from 1), with their charges.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Of a crystal.
    n_below : int
        Bands below the touching.
    divisions : (n1, n2, n3)
        Mesh of the search: Newton's method starts from its local minima of the gap.

    Raises
    ------
    DataError
        If the structure is no crystal.
    UsageError
        If there is no band above.
    """
    if not 1 <= n_below < hamiltonian.n_orbitals:
        raise UsageError(f"bands {n_below} and {n_below + 1}: this structure has bands 1 to {hamiltonian.n_orbitals}")
    if sum(periodic_directions(hamiltonian)) < 3:
        raise DataError("Weyl points belong to crystals, and this structure is not periodic in three directions")
    starts = _local_minima(hamiltonian, n_below, divisions, spin, jobs)
    with telling(f"looking for touching bands from {len(starts)} local minima of the gap"):
        found = [point for k in starts if (point := _converged(hamiltonian, k, n_below, spin)) is not None]
    places = _distinct(hamiltonian, [k for k, _, _ in found])
    chosen = [found[n] for n in places]
    apart = _distances(hamiltonian, np.array([k for k, _, _ in chosen]).reshape(-1, 3))
    parts, group = PeriodicParts(hamiltonian), BandGroup(0, n_below, spin)
    out = []
    for (k, energy, gap), distance in zip(chosen, apart, strict=True):
        radius = min(RADIUS, 0.4 * float(distance))
        flux, smallest, _ = surface_flux(parts, states_of(hamiltonian, group, sphere(hamiltonian, k, radius), jobs), SPHERE)
        out.append(WeylPoint(k % 1, energy, round(flux.sum()), radius, smallest, gap))
    return out


def sphere(hamiltonian: Hamiltonian, k: FloatArray, radius: float) -> FloatArray:
    """(n1 + 1, n2 + 1, 3) fractional k on a sphere (1/Angstrom); the normal is outward."""
    theta, phi = np.linspace(0, np.pi, SPHERE[0] + 1)[:, None], np.linspace(0, 2 * np.pi, SPHERE[1] + 1)
    phi[-1] = 0  # the very same points
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    return np.asarray(k + radius * unit @ np.linalg.inv(hamiltonian.system.reciprocal))


def _local_minima(hamiltonian: Hamiltonian, n_below: int, divisions: tuple[int, int, int], spin: int, jobs: Jobs | None) -> FloatArray:
    """Points of a mesh whose gap is not larger than that of their 26 neighbours; the mesh is off the symmetric points."""
    axes = [(np.arange(n) + 0.5 / (axis + 2)) / n for axis, n in enumerate(divisions)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    results, place = evaluate(hamiltonian, k.reshape(-1, 3), GroupStates(0, 0), jobs=jobs)
    energies = np.stack([results[n]["energies"] for n in place[spin].tolist()])
    gap = (energies[:, n_below] - energies[:, n_below - 1]).reshape(divisions)
    shifts = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    lowest = np.min([np.roll(gap, shift, axis=(0, 1, 2)) for shift in shifts], axis=0)
    return np.asarray(k[gap <= lowest])


def _converged(hamiltonian: Hamiltonian, k: FloatArray, n_below: int, spin: int) -> tuple[FloatArray, float, float] | None:
    """Newton's method for d(k) = 0 from one point; None where the bands stay apart or touch along a line."""
    H, S = hamiltonian.H_bloch, hamiltonian.S_bloch
    for _ in range(STEPS):
        energies, C = solve_states_at_k(H.dense(k, component=spin), S.dense(k), k)
        pair = energies[n_below - 1 : n_below + 1]
        gap, mean = float(pair[1] - pair[0]), float(pair.mean())
        if gap < FOUND:
            return k, mean, gap
        two = C[:, n_below - 1 : n_below + 1]
        slopes = []
        for a in range(3):
            change = H.derivative(k, [a], component=spin) @ two - mean * (S.derivative(k, [a]) @ two)
            slopes.append(np.einsum("sij,ji->s", PAULI, two.conj().T @ change).real / 2)
        step = np.linalg.lstsq(np.array(slopes).T, np.array([0, 0, gap / 2]), rcond=1e-6)[0]
        step *= min(1.0, LONGEST / max(float(np.linalg.norm(step)), 1e-30))
        k = k + step @ np.linalg.inv(hamiltonian.system.reciprocal)
    return None


def _distances(hamiltonian: Hamiltonian, k: FloatArray) -> FloatArray:
    """(n,) from each point to the nearest other one, 1/Angstrom; infinite for a single one."""
    difference = k[:, None] - k
    vectors = (difference - np.rint(difference)) @ hamiltonian.system.reciprocal
    length = np.linalg.norm(vectors, axis=-1) + np.diag(np.full(len(k), np.inf))
    return np.asarray(length.min(axis=1, initial=np.inf))


def _distinct(hamiltonian: Hamiltonian, k: list[FloatArray]) -> list[int]:
    """The first of each set of equal points."""
    kept: list[int] = []
    for n, point in enumerate(k):
        difference = np.array([point - k[m] for m in kept]).reshape(-1, 3)
        vectors = (difference - np.rint(difference)) @ hamiltonian.system.reciprocal
        if not (np.linalg.norm(vectors, axis=1) < SAME).any():
            kept.append(n)
    return kept
