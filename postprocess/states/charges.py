"""The density matrix from occupied states, and Mulliken charges and moments of the atoms."""

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.dense import hermitian
from postprocess.eigen.kjobs import Jobs, KTask, Result, run_tasks
from postprocess.eigen.spectrum import compute_spectrum, k_tasks
from postprocess.states.states import Dense

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Occupation:
    """Fermi-Dirac occupation of levels.

    Attributes
    ----------
    fermi_energy : float
        eV.
    temperature : float
        Kelvin.
    """

    fermi_energy: float
    temperature: float

    def __call__(self, energies: FloatArray) -> FloatArray:
        """Occupation of each level, 0 to 1."""
        from scipy.special import expit

        return np.asarray(expit(-(energies - self.fermi_energy) / (KELVIN * self.temperature)))


def fill_levels(energies: FloatArray, n_levels: float, temperature: float) -> Occupation:
    """The Fermi level at which levels hold a number of electrons.

    Parameters
    ----------
    energies : array
        eV.
    n_levels : float
        Sum of the occupations wanted.
    temperature : float
        Kelvin.

    Raises
    ------
    DataError
        If there are not so many levels.
    """
    from scipy.optimize import brentq

    if not 0 < n_levels < energies.size:
        raise DataError(f"{n_levels:g} occupied levels wanted, but there are {energies.size}; check 'occupation' in info.json")
    low, high = float(energies.min()) - 1, float(energies.max()) + 1
    level = brentq(lambda e: Occupation(e, temperature)(energies).sum() - n_levels, low, high, xtol=1e-13)
    return Occupation(float(level), temperature)


@dataclass(frozen=True)
class _DensityWork:
    """Density matrix of one k-point on the pattern of H, times its share of the mesh."""

    hamiltonian: Hamiltonian
    occupation: Occupation
    share: float
    solver: Dense

    def __call__(self, task: KTask) -> Result:
        k = np.array(task.k)
        levels = self.solver(self.hamiltonian)(k, task.spin)
        f = self.occupation(levels.energies)
        C = levels.vectors[:, f > 1e-14]
        rho = (C * (f[f > 1e-14] * self.share)) @ C.conj().T
        start = self.hamiltonian.H_bloch.pattern.orbital_start
        phase = self.hamiltonian.H_bloch.phases(k).conj()
        blocks = self.hamiltonian.hamiltonian
        out = PairBlocks.zeros(blocks.pairs, blocks.shapes, 1, np.complex128)
        for (rows, columns), index in blocks.groups():
            i, j = start[blocks.pairs[index, 3]], start[blocks.pairs[index, 4]]
            part = rho[(i[:, None] + np.arange(rows))[:, :, None], (j[:, None] + np.arange(columns))[:, None, :]]
            out.put(index, (part * phase[index][:, None, None])[None])
        return {"entries": out.entries[0]}


def compute_density_matrix(
    hamiltonian: Hamiltonian, k: FloatArray, *, temperature: float = 300.0, jobs: Jobs | None = None
) -> tuple[PairBlocks, float]:
    """Rho(R) = 1/N_k sum_nk f_nk C C^dagger exp(-2 pi i k.R), with the spin of H.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    k : (n_k, 3) array
        A mesh that holds -k with every k, equal weights.
    temperature : float
        Of the Fermi-Dirac occupation, Kelvin.
    jobs : Jobs, optional
        Processes that share the k-points, and where they are computed.

    Returns
    -------
    density : PairBlocks
        On the pattern of H; real unless H has spinors.
    fermi_energy : float
        eV.

    Raises
    ------
    DataError
        If the number of electrons is not known.
    UsageError
        If the temperature is not positive.
    """
    n_electrons = hamiltonian.n_electrons
    if n_electrons is None:
        raise DataError("the number of electrons is not known: info.json has no 'occupation', so no states can be filled")
    if not temperature > 0:
        raise UsageError(f"temperature {temperature:g} K: expected a positive number")
    hamiltonian = hermitian(hamiltonian)
    jobs = jobs or Jobs()
    per_level = 2 if hamiltonian.basis.spin == "none" else 1
    energies = compute_spectrum(hamiltonian, k, jobs=replace(jobs, scratch=None)).energies
    occupation = fill_levels(energies, n_electrons * len(k) / per_level, temperature)
    n_spin = hamiltonian.basis.n_spin
    entries = np.zeros((n_spin, hamiltonian.hamiltonian.entries.shape[1]), complex)
    tasks = k_tasks(k, n_spin)
    work = _DensityWork(hamiltonian, occupation, 1 / len(k), Dense(device=jobs.device))
    for task, result in zip(tasks, run_tasks(work, tasks, replace(jobs, scratch=None)), strict=True):
        entries[task.spin] += result["entries"]
    keep = entries if hamiltonian.basis.spin == "spinor" else entries.real
    return replace(hamiltonian.hamiltonian, entries=np.ascontiguousarray(keep)), occupation.fermi_energy


def mulliken_charges(hamiltonian: Hamiltonian, density: PairBlocks) -> FloatArray:
    """Electrons and spin moment of each atom: N_i = sum over its orbitals of (rho S).

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its S and basis.
    density : PairBlocks
        As from :func:`compute_density_matrix`, or ``hamiltonian.extra["density_matrix"]``.

    Returns
    -------
    (n_atoms, 4) array
        Number of electrons, and the moment m_x, m_y, m_z in Bohr magneton (R. S. Mulliken, doi:10.1063/1.1740588).
    """
    S = hamiltonian.S
    spinor = hamiltonian.basis.spin == "spinor"
    atom = S.pairs[:, 3]
    parts = np.zeros((S.n_pairs, 4))
    for (rows, columns), index in S.groups():
        s, rho = S.take(index)[0], density.take(index)
        if spinor:
            block = rho[0].reshape(len(index), 2, rows, 2, columns)
            uu, ud, dd = (np.einsum("nab,nab->n", block[:, a, :, b], s) for a, b in ((0, 0), (0, 1), (1, 1)))
            parts[index] = np.stack([(uu + dd).real, 2 * ud.real, -2 * ud.imag, (uu - dd).real], axis=1)
        else:
            up, down = (np.einsum("nab,nab->n", cast("FloatArray", r.real), s) for r in (rho[0], rho[-1]))
            parts[index, 0], parts[index, 3] = up + down, up - down
    return np.stack([np.bincount(atom, part, hamiltonian.system.n_atoms) for part in parts.T], axis=1)
