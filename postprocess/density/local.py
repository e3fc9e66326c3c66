"""Local densities of states: sum over the zone of w_k |psi_nk(r)|^2 for the levels in a window of energy.

Each level is widened to a Gaussian of some width; what of it lies in the window counts: the integral over space is the number of electrons
that the levels of the window hold, as the integral of the density of states is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import telling
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.mesh import Divisions, check_divisions
from postprocess.states.charges import density_mesh
from postprocess.states.grid import Grid, compute_psi, numbers_on_a_plane, orbitals_on_planes
from postprocess.states.integrate import evaluate
from postprocess.states.kjobs import Jobs
from postprocess.states.realspace import check_orbitals
from postprocess.states.spectrum import LevelsAndWeights, kept_levels

Array = npt.NDArray[Any]
WIDTH = 0.05
"""eV, of a level by default."""
TAIL = 4.0
"""Widths from the window from which on a level counts for nothing."""
ELECTRONS, STATES = "electrons/Angstrom^3", "states/(eV Angstrom^3)"
"""Units of densities of a window, and at one energy."""
AT_ONCE = 2**25
"""Numbers of orbitals, and of psi, that are held at a time."""


@dataclass(frozen=True)
class LevelWindow:
    """Levels that count, and how much: those between two energies, or (``at`` one energy) as a density per eV.

    Attributes
    ----------
    low, high : float
        eV on the energy zero of H; equal: the density of states there, 1/eV.
    width : float
        Standard deviation of a level, eV.

    Raises
    ------
    UsageError
        If they are out of order, or no width is given where one is needed.
    """

    low: float
    high: float
    width: float = WIDTH

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low <= self.high):
            raise UsageError(f"window {self.low:g} to {self.high:g} eV: expected two energies, the lower one first")
        if not 0 <= self.width < 10 or (self.width == 0 and self.low == self.high):
            raise UsageError(f"width {self.width:g} eV of a level: expected a number of eV below 10, and above zero at a single energy")

    @property
    def density_unit(self) -> str:
        """Of densities in space: of all levels in a window, or at one energy."""
        return ELECTRONS if self.low < self.high else STATES

    def inside(self, energies: FloatArray) -> FloatArray:
        """Levels, or the end of the window next to them: at which energy they count."""
        return np.clip(energies, self.low, self.high)

    def weights(self, energies: FloatArray) -> FloatArray:
        """How much levels count: 0 to 1, or 1/eV at a single energy."""
        from scipy.special import ndtr

        if self.low == self.high:
            x = (energies - self.low) / self.width
            return np.asarray(np.exp(-(x**2) / 2) / (np.sqrt(2 * np.pi) * self.width))
        if self.width == 0:
            return np.asarray(((energies > self.low) & (energies <= self.high)).astype(float))
        return np.asarray(ndtr((self.high - energies) / self.width) - ndtr((self.low - energies) / self.width))


@dataclass(frozen=True)
class Share:
    """States of one k and spin channel that count.

    Attributes
    ----------
    k : (3,) array
        Fractional.
    energies : (m,) array
        At which they count, eV: the levels, of those beside the window its end.
    C : (n_orbitals, m) array
        Coefficients.
    weights : (m,) array
        Electrons (or electrons per eV) of the cell that each stands for.
    """

    k: FloatArray
    energies: FloatArray
    C: Array
    weights: FloatArray


class EmptyWindowError(DataError):
    """No level lies in a window."""


def states_in_window(
    hamiltonian: Hamiltonian, divisions: Divisions, window: LevelWindow, *, options: SolverOptions | None = None, jobs: Jobs | None = None
) -> list[Share]:
    """The states of a mesh with a point at Gamma that count in a window; of k and -k one where they are conjugate.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    divisions : tuple of 3 int
        Of the mesh.
    window : LevelWindow
        Which count.
    options : SolverOptions, optional
        How they are found.
    jobs : Jobs, optional
        Processes that share the k-points.

    Raises
    ------
    UsageError
        If the divisions are not three positive numbers, or there are several across vacuum.
    EmptyWindowError
        If no level of the mesh lies in the window.
    """
    check_divisions(hamiltonian, divisions)  # a surface has no k across its vacuum
    hamiltonian = hermitian(hamiltonian)
    mesh = density_mesh(hamiltonian, divisions)
    reach = TAIL * window.width + 1e-6
    solver = Eigensolver(low=window.low - reach, high=window.high + reach, options=options or SolverOptions())
    with telling(f"states from {window.low:.3f} to {window.high:.3f} eV"):
        results, place = evaluate(hamiltonian, mesh.points, LevelsAndWeights(keep="complex128"), solver=solver, jobs=jobs)
    both, out = 2.0 if hamiltonian.basis.spin == "none" else 1.0, []
    for of_spin in place:
        for k, weight, number in zip(mesh.points, mesh.weights, of_spin.tolist(), strict=True):
            levels = kept_levels(results[number])
            w = both * weight * window.weights(levels.energies)
            if len(w):
                out.append(Share(k, window.inside(levels.energies), levels.vectors, w))
    if not out:
        raise EmptyWindowError(
            f"no level lies from {window.low:.4f} to {window.high:.4f} eV (energy zero of H) at the {len(mesh.points)} k-points: choose "
            "another window or bias, or a finer mesh"
        )
    return out


def local_density(
    shares: Sequence[Share], orbitals: Mapping[int, Orbitals], grid: Grid, hamiltonian: Hamiltonian, planes: range | None = None
) -> FloatArray:
    """Density of states in space.

    Parameters
    ----------
    shares : sequence of Share
        See :func:`states_in_window`; their k in the cell of the grid.
    orbitals : mapping of atomic number to Orbitals
        Those of the basis.
    grid : Grid
        Points; its atoms in the order of the Hamiltonian.
    hamiltonian : Hamiltonian
        Its basis.
    planes : range, optional
        Of the grid along its first vector; by default all.

    Returns
    -------
    (n_planes, n2, n3) array
        Electrons/Angstrom^3, never negative; at a single energy per eV.

    Raises
    ------
    DataError
        If the orbitals are not those of the basis.
    """
    check_orbitals(orbitals, hamiltonian.basis)
    planes = range(grid.shape[0]) if planes is None else planes
    out = np.zeros((len(planes), *grid.shape[1:]))
    n_spinor = hamiltonian.basis.spin_factor
    most = max(share.C.shape[1] for share in shares) * n_spinor * grid.shape[1] * grid.shape[2]
    step = max(1, int(AT_ONCE // max(most, numbers_on_a_plane(orbitals, grid))))
    pieces = [range(planes.start + n, min(planes.start + n + step, planes.stop)) for n in range(0, len(planes), step)]
    with telling(f"densities on {out.size} points", len(pieces) * len(shares), "sums over one k") as progress:
        for piece in pieces:
            atoms = list(orbitals_on_planes(orbitals, grid, piece))
            target = out[piece.start - planes.start : piece.stop - planes.start]
            for share in shares:
                psi = compute_psi(atoms, target.shape, share.k, share.C, n_spinor)
                target += np.einsum("smabc,m->abc", psi.real**2 + psi.imag**2, share.weights)
                progress.advance()
    return out
