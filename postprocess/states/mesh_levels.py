"""All levels on a regular mesh of k-points, and their shares in groups of orbitals."""

from dataclasses import dataclass

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.options import SolverOptions
from postprocess.eigen.solver import Eigensolver
from postprocess.lattice.mesh import KMesh
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.states.integrate import SameAt, evaluate
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.orbital_groups import Projections
from postprocess.states.states import States


@dataclass(frozen=True)
class MeshLevels:
    """Levels on a mesh.

    Attributes
    ----------
    mesh : KMesh
        Where.
    reciprocal : (3, 3) array
        Reciprocal vectors in rows, 1/Angstrom.
    energies : (n_spin, n_k, n_bands) array
        eV, ascending.
    weights : (n_spin, n_k, n_bands, n_projections) array
        What each level contributes to each projection; the first one is the total, 1, or 2 where a level holds both spins.
    """

    mesh: KMesh
    reciprocal: FloatArray
    energies: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class _LevelsAndShares:
    """The quantity; see :class:`postprocess.states.integrate.Quantity`."""

    projections: Projections

    @property
    def needs_vectors(self) -> bool:
        """Only for shares."""
        return bool(self.projections.names)

    @property
    def same_at(self) -> SameAt:
        """Shares of spins turn over at -k."""
        return "k+G"

    def __call__(self, states: States) -> Result:
        """Energies (m,) and shares (m, n_groups) at one k."""
        shares = self.projections.shares(states.C, states.SC) if self.needs_vectors else np.zeros((len(states.energies), 0))
        return {"energies": states.energies, "shares": shares}


def compute_mesh_levels(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    projections: Projections | None = None,
    *,
    options: SolverOptions | None = None,
    jobs: Jobs | None = None,
) -> MeshLevels:
    """All levels on a mesh, and their shares in groups of orbitals.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    mesh : KMesh
        See :func:`postprocess.eigen.band_symmetries.make_mesh`. For groups that its symmetries mix, such as single atoms, use one without
        symmetry.
    projections : Projections, optional
        Groups of orbitals.
    options : SolverOptions, optional
        Of the dense matrices.
    jobs : Jobs, optional
        How the k-points are shared, and where they are kept.
    """
    hamiltonian = hermitian(hamiltonian)
    solver = Eigensolver(options=options or SolverOptions(name="dense"))
    results, place = evaluate(hamiltonian, mesh.points, _LevelsAndShares(projections or Projections()), solver=solver, jobs=jobs)
    arrays = {name: np.stack([r[name] for r in results]) for name in ("energies", "shares")}
    energies, shares = (a[place] for a in arrays.values())
    both = 2.0 if hamiltonian.basis.spin == "none" else 1.0
    weights = both * np.concatenate([np.ones((*energies.shape, 1)), shares], axis=-1)
    return MeshLevels(mesh, in_plane_reciprocal(hamiltonian), energies, weights)
