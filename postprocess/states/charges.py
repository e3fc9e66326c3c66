"""The density matrix from occupied states, and Mulliken charges and moments of the atoms."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.eigen.band_symmetries import conjugate_at_minus_k
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.mesh import IDENTITY, Divisions, KMesh, reduced_mesh
from postprocess.states.fermi import known_electrons
from postprocess.states.integrate import SameAt, evaluate, integrate
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.occupation import Occupation, fill_levels
from postprocess.states.spectrum import KeptStates, LevelsAndWeights
from postprocess.states.states import States

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _DensityMatrix:
    """The quantity: rho(R) of one k-point on the pattern of H; see :class:`postprocess.states.integrate.Quantity`."""

    occupation: Occupation
    needs_vectors: bool = True
    same_at: SameAt = "k+G"

    def __call__(self, states: States) -> Result:
        hamiltonian = states.hamiltonian
        f = self.occupation(states.energies)
        C = states.C[:, f > 1e-14]
        rho = (C * f[f > 1e-14]) @ C.conj().T
        start = hamiltonian.H_bloch.pattern.orbital_start
        phase = hamiltonian.H_bloch.phases(states.k).conj()
        blocks = hamiltonian.hamiltonian
        out = PairBlocks.zeros(blocks.pairs, blocks.shapes, 1, np.complex128)
        for (rows, columns), index in blocks.groups():
            i, j = start[blocks.pairs[index, 3]], start[blocks.pairs[index, 4]]
            part = rho[(i[:, None] + np.arange(rows))[:, :, None], (j[:, None] + np.arange(columns))[:, None, :]]
            out.put(index, (part * phase[index][:, None, None])[None])
        return {"entries": out.entries[0]}


def density_mesh(hamiltonian: Hamiltonian, divisions: Divisions, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> KMesh:
    """The mesh of a density matrix: of k and -k one is enough where their states are conjugate."""
    operations = np.stack([IDENTITY, -IDENTITY]) if conjugate_at_minus_k(hamiltonian) else IDENTITY[None]
    return reduced_mesh(divisions, shift, operations)


def compute_density_matrix(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    *,
    temperature: float = 300.0,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> tuple[PairBlocks, float]:
    """Rho(R) = 1/N_k sum_nk f_nk C C^dagger exp(-2 pi i k.R), with the spin of H.

    The states of all k-points are kept until the Fermi level is known: 16 bytes times the square of the number of orbitals for each k.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    mesh : KMesh
        See :func:`density_mesh`.
    temperature : float
        Of the Fermi-Dirac occupation, Kelvin; 0 fills the levels one after the other.
    options : SolverOptions, optional
        Of the dense matrices.
    jobs : Jobs, optional
        Processes that share the k-points.

    Returns
    -------
    density : PairBlocks
        On the pattern of H; real where H is, and has no spinors.
    fermi_energy : float
        eV.

    Raises
    ------
    DataError
        If the number of electrons is not known.
    UsageError
        If the temperature is negative.
    """
    n_electrons = known_electrons(hamiltonian)
    hamiltonian, spin = hermitian(hamiltonian), hamiltonian.basis.spin
    solver = Eigensolver(options=replace(options or SolverOptions(), name="dense"))
    jobs = replace(jobs or Jobs(), scratch=None)
    results, place = evaluate(hamiltonian, mesh.points, LevelsAndWeights(keep="complex128"), solver=solver, jobs=jobs)
    energies = np.stack([one["energies"] for one in results])[place]
    occupation = fill_levels(energies, n_electrons / (2 if spin == "none" else 1), temperature, weights=mesh.weights[:, None])
    entries = integrate(hamiltonian, mesh, _DensityMatrix(occupation), solver=KeptStates(results, place, mesh.points))["entries"]
    keep = entries.real if conjugate_at_minus_k(hamiltonian) else entries
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
            uu, ud, du, dd = (np.einsum("nab,nab->n", block[:, a, :, b], s) for a, b in product((0, 1), repeat=2))
            parts[index] = np.stack([(uu + dd).real, (ud + du).real, (du - ud).imag, (uu - dd).real], axis=1)
        else:
            up, down = (np.einsum("nab,nab->n", cast("FloatArray", r.real), s) for r in (rho[0], rho[-1]))
            parts[index, 0], parts[index, 3] = up + down, up - down
    return np.stack([np.bincount(atom, part, hamiltonian.system.n_atoms) for part in parts.T], axis=1)
