"""Berry curvature, metric and orbital moment of a group of bands of a large cell along a path or on a mesh, and its Chern number."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import logger
from postprocess.eigen.backends import BACKENDS
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.geometry.curvature import Curvature, group_words, mesh_points
from postprocess.geometry.positions import Positions, Source, find_positions
from postprocess.large.find_group import Bands, find_group
from postprocess.large.group import GroupGeometry
from postprocess.large.sparse_basis import SparseBasis
from postprocess.large.sternheimer import check_isolated
from postprocess.lattice.kpath import KPath
from postprocess.lattice.mesh import Divisions, check_divisions
from postprocess.lattice.periodic import in_plane_reciprocal, periodic_directions
from postprocess.states.integrate import distinct_k
from postprocess.states.kjobs import Jobs, KTask, Result, Results, fingerprint, run_tasks
from postprocess.topology.chern import ChernNumber, lattice_plane, surface_flux
from postprocess.topology.groups import AtPoints, BandGroup
from postprocess.topology.links import CoarseMeshError, PeriodicParts


@dataclass(frozen=True)
class GroupWork:
    """A group of bands at one k; see :func:`postprocess.states.kjobs.run_tasks`.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    bands : Bands
        Which ones.
    positions : Positions
        On the pattern of S.
    keep : bool
        Whether the states are wanted, too.
    geometry : bool
        Whether anything is wanted besides energies and states.
    """

    hamiltonian: Hamiltonian
    bands: Bands
    positions: Positions
    keep: bool = False
    geometry: bool = True

    def __call__(self, task: KTask) -> Result:
        """Energies (g,), separation, and as :class:`postprocess.geometry.curvature.Curvature` names them, ``C`` (n, g)."""
        k = np.array(task.k)
        try:
            pencil = self._pencils.at(k, task.spin)
            group = find_group(pencil, self.bands)
            check_isolated(group)
            out: Result = {"energies": group.energies, "separation": np.array(group.separation)}
            if self.geometry:
                out |= self._geometry(GroupGeometry(self._basis, pencil, k, group, task.spin), k)
        except DataError as error:
            raise type(error)(f"k = ({', '.join(f'{x:.6g}' for x in k + 0.0)}): {error}") from error
        return out | {"C": group.C.astype(complex)} if self.keep else out

    def _geometry(self, g: GroupGeometry, k: FloatArray) -> Result:
        out: Result = {"energies": g.energies, "metric": g.metric(), "orbital_moment": g.orbital_moment()}
        for name, method in (("levels", "curl"), ("kubo_levels", "kubo")):
            out[name] = g.curvature(method)  # type: ignore[arg-type]
        for method in ("curl", "kubo"):
            out[method] = np.einsum("ann->a", g.curvature_matrix(method)).real  # type: ignore[arg-type]
        text = "k = %s: %s from %.4f to %.4f eV, %.4f eV from others, first-order states in %d steps"
        logger.info(text, np.round(k, 6).tolist(), self.bands, g.energies[0], g.energies[-1], g.group.separation, g.n_steps)
        return out

    @cached_property
    def _pencils(self) -> BlochPencils:
        options = self.bands.options
        return BlochPencils(self.hamiltonian, backend=options.name if options.name in BACKENDS else None, single=options.single)

    @cached_property
    def _basis(self) -> SparseBasis:
        return SparseBasis(self.hamiltonian, self.positions)


def group_curvature(
    hamiltonian: Hamiltonian,
    where: KPath | Divisions,
    bands: Bands,
    *,
    source: Source | None = None,
    jobs: Jobs | None = None,
    title: str = "",
) -> tuple[Curvature, list[ChernNumber]]:
    """Geometry of a group of bands, by sparse states and linear solves.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    where : KPath or tuple of 3 int
        A path, or the divisions of a mesh with a point at Gamma.
    bands : Bands
        The group; other bands must be separate from it at every k.
    source : {"matrix", "atoms"}, optional
        Of the positions; by default the matrix if the data hold one.
    jobs : Jobs, optional
        Processes, and where finished k-points are kept.
    title : str
        Name for legends and tables.

    Returns
    -------
    curvature : Curvature
        Of the group and of its levels alone, without the other levels.
    chern : list of ChernNumber
        One of each spin channel, by links, if ``where`` is a mesh of two directions and fine enough; else none.

    Raises
    ------
    UsageError
        If there are no such bands, the structure is a molecule, or the mesh has several points where nothing is periodic.
    DataError
        If another level touches the group somewhere, or the levels cannot be counted.
    """
    hamiltonian = checked(hamiltonian, bands)
    if not isinstance(where, KPath):
        check_divisions(hamiltonian, where)
    k = where.k if isinstance(where, KPath) else mesh_points(where)
    positions = find_positions(hamiltonian, source)
    plane = not isinstance(where, KPath) and sum(n > 1 for n in where) == 2
    first, place = distinct_k(k, "k+G")
    found = _run(GroupWork(hamiltonian, bands, positions, keep=plane), k[first], jobs)
    n_spin, n = hamiltonian.basis.n_spin, len(first)
    arrays = {name: [] for name in found[0] if name != "C"}  # type: dict[str, list[FloatArray]]
    for one in found:
        for name, values in arrays.items():
            values.append(one[name])
    ready = {name: np.array(values).reshape(n_spin, n, *np.shape(values[0]))[:, place] for name, values in arrays.items()}
    curvature = Curvature(
        k, spin=None, what=group_words(range(bands.first, bands.stop)), fermi_energy=None, fermi_origin="not needed",
        positions=positions.source, path=where if isinstance(where, KPath) else None,
        divisions=None if isinstance(where, KPath) else where, reciprocal=in_plane_reciprocal(hamiltonian), title=title, **ready,
    )  # fmt: skip
    chern: list[ChernNumber] = []
    try:
        chern += [_chern(hamiltonian, bands, where, positions, found, spin) for spin in range(n_spin) if plane]  # type: ignore[arg-type]
    except CoarseMeshError as error:
        logger.warning("no Chern number: %s", error)
    return curvature, chern


def group_chern_number(
    hamiltonian: Hamiltonian, divisions: Divisions, bands: Bands, *, source: Source | None = None, jobs: Jobs | None = None
) -> list[ChernNumber]:
    """Chern numbers alone, of each spin channel: no linear solves.

    Parameters and errors are those of :func:`group_curvature`, and a mesh that is too coarse for the links is a DataError.
    """
    hamiltonian = checked(hamiltonian, bands)
    if sum(n > 1 for n in divisions) != 2:
        raise UsageError(f"mesh {' '.join(map(str, divisions))}: a Chern number takes a mesh of two directions, such as 12 12 1")
    check_divisions(hamiltonian, divisions)
    positions = find_positions(hamiltonian, source)
    found = _run(GroupWork(hamiltonian, bands, positions, keep=True, geometry=False), mesh_points(divisions), jobs)
    return [_chern(hamiltonian, bands, divisions, positions, found, spin) for spin in range(hamiltonian.basis.n_spin)]


def checked(hamiltonian: Hamiltonian, bands: Bands) -> Hamiltonian:
    """With Hermitian matrices; UsageError if it has no such bands, or no k."""
    hamiltonian = hermitian(hamiltonian)
    if not any(periodic_directions(hamiltonian)):
        raise UsageError(f"{hamiltonian.system.formula} is a molecule: its states depend on no k, and have no Berry curvature")
    if not 0 <= bands.first < bands.stop <= hamiltonian.n_orbitals:
        raise UsageError(f"{bands}: this structure has bands 1 to {hamiltonian.n_orbitals}")
    return hamiltonian


def _run(work: GroupWork, k: FloatArray, jobs: Jobs | None) -> Results:
    tasks = [KTask(spin, (a, b, c)) for spin in range(work.hamiltonian.basis.n_spin) for a, b, c in k.tolist()]
    options = work.bands, work.positions.source, work.keep, work.geometry
    identity = fingerprint(work.hamiltonian, tasks, *options) if jobs and jobs.scratch else ""
    return run_tasks(work, tasks, jobs, identity=identity)


def _chern(hamiltonian: Hamiltonian, bands: Bands, divisions: Divisions, positions: Positions, found: Results, spin: int) -> ChernNumber:
    """From the states at all points of a mesh."""
    axis = int(np.argmin(divisions))
    plane = lattice_plane(hamiltonian, axis)
    n = np.array(divisions)
    sides = int(n @ np.abs(plane.first)), int(n @ np.abs(plane.second))
    k = plane.mesh(sides).reshape(-1, 3)
    place = np.ravel_multi_index(tuple((np.rint(k * n).astype(int) % n).T), divisions) + spin * int(n.prod())
    C = {int(number): found[int(number)]["C"] for number in np.unique(place)}
    gap = min(float(found[number]["separation"]) for number in C)
    parts = PeriodicParts(hamiltonian, positions)
    flux, smallest, gap = surface_flux(parts, AtPoints(k, [C[number] for number in place.tolist()], gap), sides)
    return ChernNumber(round(flux.sum()), BandGroup(bands.first, bands.stop, spin), flux, sides, smallest, gap, parts.position)
