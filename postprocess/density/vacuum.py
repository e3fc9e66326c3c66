"""Densities above a surface, also where the orbitals have ended.

Localized orbitals end at their cutoff, and fall off too steeply before. Where a vacuum barrier is given, states are continued from a plane
near the surface: in vacuum each Fourier component of psi at k + G decays as exp(-kappa z), kappa^2 = 2 m (E_vac - E)/hbar^2 + |k + G|^2
(compare O. Paz, I. Brihuega, J. M. Gomez-Rodriguez and J. M. Soler, doi:10.1103/PhysRevLett.94.056103).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR2_OVER_MASS
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.density.local import Share, local_density
from postprocess.density.surface import Surface
from postprocess.states.grid import compute_psi, orbitals_on_planes
from postprocess.states.realspace import check_orbitals

LOWEST = 0.5
"""Angstrom above the outermost atom where the tip never goes nearer."""
SAME_STEP = 1e-9
"""Angstrom; steps between heights that differ by less are the same."""


@dataclass(frozen=True)
class Vacuum:
    """How states are continued above a surface.

    Attributes
    ----------
    level : float
        Of the vacuum, eV on the energy zero of H.
    start : float
        Height of the plane from which on they are continued, Angstrom.
    """

    level: float
    start: float = 1.5


def density_above(
    shares: Sequence[Share],
    orbitals: Mapping[int, Orbitals],
    hamiltonian: Hamiltonian,
    surface: Surface,
    at: FloatArray,
    *,
    spacing: float,
    vacuum: Vacuum | None = None,
) -> FloatArray:
    """(n, n1, n2) local density of states on planes at some heights above a surface.

    Parameters
    ----------
    shares : sequence of Share
        States in the cell of the structure.
    orbitals : mapping of atomic number to Orbitals
        Those of the basis.
    hamiltonian : Hamiltonian
        Its basis.
    surface : Surface
        Which side.
    at : (n,) array
        Heights, ascending, Angstrom.
    spacing : float
        Of points in the planes, Angstrom.
    vacuum : Vacuum, optional
        How states are continued; by default the orbitals as they are.

    Raises
    ------
    DataError
        If the orbitals end below, or the window reaches above the vacuum level.
    UsageError
        If a height lies below :data:`LOWEST`.
    """
    check_orbitals(orbitals, hamiltonian.basis)
    if not len(at) or at.min() < LOWEST:
        raise UsageError(f"height {at.min() if len(at) else 0:g} Angstrom above the outermost atom: expected {LOWEST:g} or more")
    reach = surface.reach(orbitals)
    if max(at.max() if vacuum is None else 0.0, 0.0 if vacuum is None else vacuum.start) >= reach:
        raise DataError(
            f"the orbitals end {reach:.2f} Angstrom above the outermost atom, and nothing is known beyond: choose a smaller height, or "
            "continue the states into the vacuum from a lower plane (--vacuum EV, the barrier above E_F)"
        )
    shares = surface.shares(shares)
    near = at if vacuum is None else at[at <= vacuum.start]
    parts = [_on_planes(shares, orbitals, hamiltonian, surface, heights, spacing) for heights in _equally_spaced(near)]
    if vacuum is not None and len(near) < len(at):
        parts.append(_continued(shares, orbitals, hamiltonian, surface, at[len(near) :], spacing, vacuum))
    return np.concatenate(parts)


def _equally_spaced(heights: FloatArray) -> list[FloatArray]:
    """All heights together if they are equally far apart, which one grid has, else one by one."""
    if len(heights) > 2 and np.ptp(np.diff(heights)) < SAME_STEP:
        return [heights]
    return [np.array([height]) for height in heights]


def _on_planes(
    shares: Sequence[Share], orbitals: Mapping[int, Orbitals], hamiltonian: Hamiltonian, surface: Surface, at: FloatArray, spacing: float
) -> FloatArray:
    step = float(np.diff(at).mean()) if len(at) > 1 else 1.0
    return local_density(shares, orbitals, surface.grid(float(at[0]), step, spacing), hamiltonian, range(len(at)))


def _continued(
    shares: Sequence[Share],
    orbitals: Mapping[int, Orbitals],
    hamiltonian: Hamiltonian,
    surface: Surface,
    at: FloatArray,
    spacing: float,
    vacuum: Vacuum,
) -> FloatArray:
    """Densities above the plane from which states decay as in vacuum."""
    grid = surface.grid(vacuum.start, 1.0, spacing)
    n1, n2 = grid.shape[1:]
    atoms = list(orbitals_on_planes(orbitals, grid, range(1)))
    reciprocal = 2 * np.pi * np.linalg.pinv(grid.system.cell[1:]).T
    out = np.zeros((len(at), n1, n2))
    lowest = vacuum.level - max(float(share.energies.max()) for share in shares)
    if lowest <= 0:
        raise DataError(
            f"levels count up to {-lowest:.3f} eV above the vacuum level, where none decays: a larger barrier, or a smaller bias"
        )
    G = np.stack(np.meshgrid(np.fft.fftfreq(n1, 1 / n1), np.fft.fftfreq(n2, 1 / n2), indexing="ij"), axis=-1)
    place = np.stack(np.meshgrid(np.arange(n1) / n1, np.arange(n2) / n2, indexing="ij"), axis=-1)
    with telling(f"states in vacuum at {len(at)} heights", len(shares), "k-points") as progress:
        for share in shares:
            psi = compute_psi(atoms, (1, n1, n2), share.k, share.C, hamiltonian.basis.spin_factor)[:, :, 0]
            components = np.fft.fft2(psi * np.exp(-2j * np.pi * place @ share.k[1:]), axes=(-2, -1))
            lateral = (((G + share.k[1:]) @ reciprocal) ** 2).sum(axis=-1)
            kappa = np.sqrt(2 * (vacuum.level - share.energies)[:, None, None] / HBAR2_OVER_MASS + lateral)
            for n, height in enumerate(at):
                there = np.fft.ifft2(components * np.exp(-kappa * (height - vacuum.start)), axes=(-2, -1))
                out[n] += np.einsum("smab,m->ab", np.abs(there) ** 2, share.weights)
            progress.advance()
    return out
