"""Wave functions with their sign on a grid: the phase is fixed, and real where they can be.

**Phase.** A state is known up to a factor. It is chosen so that the real part is as large as it can be: the integral of psi^2 over the cell
(of spinors the sum over both components) is real and positive. Then the point where the real part is largest is made positive (of several
the first one of the grid). Where H is real and k = -k + G, degenerate states are first combined to real ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.orbitals import Orbitals
from deeph.physics.system import FloatArray
from postprocess.eigen.band_symmetries import conjugate_at_minus_k
from postprocess.states.grid import Grid
from postprocess.states.realspace import check_orbitals, planes_at_once, psi_on_planes
from postprocess.states.states import States

Array = npt.NDArray[Any]
DEGENERATE = 1e-6
"""eV; levels so close are combined."""
REAL = 1e-6
"""Norm of the imaginary part of what is real."""


@dataclass(frozen=True)
class WaveFunctions:
    """States on a grid.

    Attributes
    ----------
    psi : (m, n_spinor, n1, n2, n3) complex array
        1/Angstrom^(3/2); spin up first.
    is_real : (m,) bool array
        Whether the imaginary part vanishes.
    """

    psi: Array
    is_real: npt.NDArray[np.bool_]

    def parts(self, n: int) -> dict[str, FloatArray]:
        """What one state is written as: itself (named ``""``) if it is real, else ``re`` and ``im``; of spinors ``up``, ``down_im``, ..."""
        out: dict[str, FloatArray] = {}
        for spin, component in zip(("",) if len(self.psi[n]) == 1 else ("up", "down"), self.psi[n], strict=True):
            kinds = {"": component.real} if self.is_real[n] else {"re": component.real, "im": component.imag}
            out |= {"_".join(filter(None, (spin, kind))): values for kind, values in kinds.items()}
        return out


def compute_wave_functions(states: States, orbitals: Mapping[int, Orbitals], grid: Grid) -> WaveFunctions:
    """Wave functions with the phase of this module.

    Parameters
    ----------
    states : States
        Of one k, as many as fit in memory (16 bytes a point, state and spin).
    orbitals : mapping of atomic number to Orbitals
        Those of the basis.
    grid : Grid
        Where.

    Raises
    ------
    DataError
        If the orbitals are not those of the basis.
    """
    check_orbitals(orbitals, states.hamiltonian.basis)
    states = real_combinations(states)
    n_spinor = states.hamiltonian.basis.spin_factor
    psi = np.empty((n_spinor, states.C.shape[1], *grid.shape), complex)
    step = planes_at_once(states, orbitals, grid)
    for first in range(0, grid.shape[0], step):
        planes = range(first, min(first + step, grid.shape[0]))
        psi[:, :, planes.start : planes.stop] = psi_on_planes(states, orbitals, grid, planes)
    psi = psi.swapaxes(0, 1)
    real = np.zeros(len(psi), bool)
    for n in range(len(psi)):
        psi[n] *= np.exp(-0.5j * np.angle((psi[n] ** 2).sum()))
        size = np.abs(psi[n].real)
        psi[n] *= np.sign(psi[n].real.flat[int(np.argmax(size >= (1 - 1e-6) * size.max()))])
        real[n] = (psi[n].imag ** 2).sum() * grid.volume < REAL
    return WaveFunctions(psi, real)


def real_combinations(states: States) -> States:
    """The same states, degenerate ones combined so that their coefficients are real, where H is real and k = -k + G.

    M = C^T S C of a complete group is unitary and symmetric, and so is its root: with C' = C M^(-1/2) both C'^T S C' and C'^dagger S C' are
    1, so that C' is real.
    """
    if not conjugate_at_minus_k(states.hamiltonian) or (np.abs(2 * states.k - np.rint(2 * states.k)) > 1e-9).any():
        return states
    groups = np.split(np.arange(len(states.energies)), np.flatnonzero(np.diff(states.energies) > DEGENERATE) + 1)
    C = states.C.astype(complex)
    for group in groups:
        C[:, group] = C[:, group] @ _inverse_root(C[:, group].T @ states.SC[:, group])
    return replace(states, levels=replace(states.levels, vectors=C))


def _inverse_root(M: Array) -> Array:
    """M^(-1/2) of a unitary matrix; the branch is cut where its eigenvalues leave the widest gap, so that equal ones have equal roots."""
    from scipy.linalg import schur

    T, Z = schur(M, output="complex")
    angles = np.angle(np.diag(T))
    around = np.sort(angles)
    gaps = np.diff(np.append(around, around[0] + 2 * np.pi))
    cut = around[np.argmax(gaps)] + gaps.max() / 2
    return np.asarray(Z * np.exp(-0.5j * (cut + (angles - cut) % (2 * np.pi))) @ Z.conj().T)
