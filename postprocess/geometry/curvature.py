"""Berry curvature, metric, orbital moment and spin of the levels along a path, or on a mesh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.lattice.kpath import KPath
from postprocess.lattice.mesh import Divisions, Symmetry, check_divisions
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.states.batches import evaluate_batches
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LevelGeometry:
    """What the levels at each k have; a BatchQuantity.

    Attributes
    ----------
    fermi_energy : float or None
        eV; levels below it are occupied.
    group : tuple of int
        Levels (from 0) whose curvature is wanted instead of that of the occupied ones.
    source : str or None
        Of the positions.
    """

    symmetry: ClassVar[Symmetry] = "none"
    fermi_energy: float | None
    group: tuple[int, ...] = ()
    source: Source | None = None

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k, whose arrays :class:`Curvature` explains."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            curl, kubo = g.curvatures()
            out = {"energies": g.energies, "levels": curl, "kubo_levels": kubo, "metric": g.metric(), "orbital_moment": g.orbital_moment()}
            if hamiltonian.basis.spin != "none":
                out["spin"] = g.spin_texture()
            if self.group:
                for name, method in (("curl", "curl"), ("kubo", "kubo")):
                    out[name] = np.einsum("kann->ka", g.curvature_matrix(self.group, method)).real  # type: ignore[arg-type]
                out["separation"] = g.separation(self.group)
                return out
            occupied = g.energies < (-np.inf if self.fermi_energy is None else self.fermi_energy)
            out |= {"curl": np.einsum("kan,kn->ka", curl, occupied), "kubo": np.einsum("kan,kn->ka", kubo, occupied)}
            edges = np.where(occupied, g.energies, -np.inf).max(axis=1), np.where(occupied, np.inf, g.energies).min(axis=1)
            return out | {"separation": edges[1] - edges[0]}

        return compute


@dataclass(frozen=True)
class Curvature(Savable):
    """Berry curvature and its relatives at many k-points; vectors have the components yz, zx, xy, that is x, y, z.

    Attributes
    ----------
    k : (n_k, 3) array
        Fractional.
    energies : (n_spin, n_k, n) array
        eV, ascending, on the energy zero of H.
    curl, kubo : (n_spin, n_k, 3) arrays
        Trace of the curvature of the occupied levels or of the group, Angstrom^2: with the part of r|u> outside the basis, and without.
    levels, kubo_levels : (n_spin, n_k, 3, n) arrays
        Of each level, see :meth:`postprocess.geometry.geometry.Geometry.curvature`.
    metric : (n_spin, n_k, 3, 3, n) array
        Quantum metric within the basis, Angstrom^2.
    orbital_moment : (n_spin, n_k, 3, n) array
        Within the basis, Bohr magneton.
    spin : (n_spin, n_k, 3, n) array or None
        Expectation values of the Pauli matrices; None where H has no spin.
    separation : (n_spin, n_k) array
        Distance of the group, or of the occupied levels, to the others, eV.
    what : str
        Whose curvature ``curl`` is, in words.
    fermi_energy : float or None
        eV.
    fermi_origin : str
        Where it comes from.
    positions : str
        Where they come from.
    path : KPath or None
        The path, if it is one.
    divisions : tuple of 3 int or None
        The mesh, if it is one.
    reciprocal : (3, 3) array
        Reciprocal vectors in rows, 1/Angstrom.
    title : str
        Name for legends and tables.
    """

    k: FloatArray
    energies: FloatArray
    curl: FloatArray
    kubo: FloatArray
    levels: FloatArray
    kubo_levels: FloatArray
    metric: FloatArray
    orbital_moment: FloatArray
    spin: FloatArray | None
    separation: FloatArray
    what: str
    fermi_energy: float | None
    fermi_origin: str
    positions: str
    path: KPath | None
    divisions: Divisions | None
    reciprocal: FloatArray = field(repr=False)
    title: str = ""

    def __repr__(self) -> str:
        return f"Curvature {self.title}, {len(self.k)} k-points, {self.what}, at most {np.abs(self.curl).max():.4g} Angstrom^2"

    @property
    def difference(self) -> float:
        """Largest difference of ``curl`` and ``kubo``, Angstrom^2."""
        return float(np.abs(self.curl - self.kubo).max())

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.berry_tables import write_curvature

        write_curvature(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the curvature along a path, below the bands; see :func:`postprocess.output.berry_plot.plot_curvature`."""
        from postprocess.output.berry_plot import plot_curvature

        return plot_curvature(self, **options)


def compute_curvature(
    hamiltonian: Hamiltonian,
    where: KPath | Divisions,
    fermi: FermiLevel | None,
    *,
    group: Sequence[int] = (),
    source: Source | None = None,
    jobs: Jobs | None = None,
    title: str = "",
) -> Curvature:
    """Berry curvature, metric, orbital moment and spin along a path or on a mesh.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    where : KPath or tuple of 3 int
        A path, or the divisions of a mesh with a point at Gamma.
    fermi : FermiLevel, optional
        Levels below it are occupied; needed unless a group is given.
    group : sequence of int
        Levels, counted from 0, that are taken as one group.
    source : {"matrix", "atoms"}, optional
        Of the positions; by default the matrix if the data hold one.
    jobs : Jobs, optional
        Processes, and where finished batches are kept.
    title : str
        Name for legends and tables.

    Raises
    ------
    DataError
        If there are neither a Fermi level nor a group, or as :func:`postprocess.geometry.positions.find_positions`.
    UsageError
        If the group is none of the levels, or the structure is a molecule.
    """
    hamiltonian = hermitian(hamiltonian)
    if not any(periodic_directions(hamiltonian)):
        raise UsageError(f"{hamiltonian.system.formula} is a molecule: its states depend on no k, and have no Berry curvature")
    if not group and fermi is None:
        raise DataError("which levels are occupied is not known, for there is no Fermi level: give one, or the numbers of the bands")
    if group and not 0 <= min(group) <= max(group) < hamiltonian.n_orbitals:
        raise UsageError(f"bands {min(group) + 1} to {max(group) + 1}: this structure has bands 1 to {hamiltonian.n_orbitals}")
    quantity = LevelGeometry(None if fermi is None else fermi.energy, tuple(sorted(group)), source)
    if not isinstance(where, KPath):
        check_divisions(hamiltonian, where)
    k = where.k if isinstance(where, KPath) else mesh_points(where)
    found = evaluate_batches(hamiltonian, k, quantity, jobs=jobs)
    return Curvature(
        k, spin=found.pop("spin", None), what=group_words(group), fermi_energy=None if fermi is None else fermi.energy,
        fermi_origin="not known" if fermi is None else fermi.origin, positions=find_positions(hamiltonian, source).source,
        path=where if isinstance(where, KPath) else None, divisions=None if isinstance(where, KPath) else where,
        reciprocal=in_plane_reciprocal(hamiltonian), title=title, **found,
    )  # fmt: skip


def mesh_points(divisions: Divisions) -> FloatArray:
    """(n_k, 3) all points of a mesh with one at Gamma, the last direction fastest."""
    return np.stack(np.meshgrid(*[np.arange(n) / n for n in divisions], indexing="ij"), axis=-1).reshape(-1, 3)


def group_words(group: Sequence[int]) -> str:
    """Such as ``bands 13, 14``, counted from 1."""
    if not group:
        return "occupied levels"
    return f"band{'s' * (len(group) > 1)} {', '.join(str(n + 1) for n in sorted(group))}"
