"""The sum of the occupied levels.

Where the exchange field of one H is turned and all else is kept, its difference is the magnetic force theorem's estimate of the difference
of the total energies (A. I. Liechtenstein et al., doi:10.1016/0304-8853(87)90721-9; G. H. O. Daalderop, P. J. Kelly and
M. F. H. Schuurmans, doi:10.1103/PhysRevB.41.11919). Two H of two self-consistent densities, as DFT gives them for two directions of the
moments and a network predicts them, differ in their potentials as well: the sum of levels changes by the density times that, which the
double counting takes out of the total energy.
"""

from dataclasses import replace

from deeph.physics.hamiltonian import Hamiltonian
from postprocess.eigen.options import SolverOptions
from postprocess.lattice.mesh import KMesh
from postprocess.states.fermi import known_electrons
from postprocess.states.kjobs import Jobs
from postprocess.states.mesh_levels import compute_mesh_levels
from postprocess.states.occupation import fill_levels


def compute_band_energy(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    *,
    temperature: float = 300.0,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> float:
    """1/N_k sum_nk f_nk E_nk, both spins, in eV per cell on the energy zero of H.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    mesh : KMesh
        See :func:`postprocess.states.charges.density_mesh`: no symmetries but exact ones, since energies of directions of the moments
        differ by less than the noise that others are judged by.
    temperature : float
        Of the Fermi-Dirac occupation, Kelvin; 0 fills the levels one after the other. The same for what is compared.
    options, jobs
        As for :func:`postprocess.states.mesh_levels.compute_mesh_levels`; nothing is kept.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of levels.
    UsageError
        If the temperature is negative.
    """
    n_electrons = known_electrons(hamiltonian)
    dense = replace(options or SolverOptions(), name="dense")
    levels = compute_mesh_levels(hamiltonian, mesh, options=dense, jobs=replace(jobs or Jobs(), scratch=None))
    weights = levels.weights[..., 0] * mesh.weights[:, None]
    occupation = fill_levels(levels.energies, n_electrons, temperature, weights=weights)
    return float((weights * occupation(levels.energies) * levels.energies).sum())
