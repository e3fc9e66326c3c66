"""Densities of states: total and projected, on k meshes or by the kernel polynomial method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.density.counting import MeshLevels, SmearedCount, StateCount, TetrahedronCount
from postprocess.density.fermi import RESOLUTION, FermiInterval, find_fermi_level, known_electrons, mesh_gap, regular_mesh
from postprocess.eigen.dense import hermitian
from postprocess.eigen.kjobs import Jobs, KTask, Result, fingerprint, run_tasks
from postprocess.lattice.mesh import Divisions, KMesh, make_mesh
from postprocess.lattice.periodic import in_plane_reciprocal
from postprocess.states.projections import Projections
from postprocess.states.states import Dense, States

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Method = Literal["tetrahedron", "gaussian", "kpm"]
METHODS = ("tetrahedron", "gaussian", "kpm")
TOTAL = "total"
NEAR = 5e-4
"""Half of the interval, in eV, whose mean is the density at the Fermi level."""


@dataclass(frozen=True)
class DOS:
    """Density of states and what it is made of, per cell.

    Every value is the mean over the interval of its energy, so the sum times the distance of the energies is the number of states between
    the first and the last interval, van Hove singularities and flat bands included.

    Attributes
    ----------
    energies : (m,) array
        Equidistant, eV, on the energy zero of H (not shifted).
    density : (n_spin, n_projections, m) array
        States per eV and cell; both spins together unless they are collinear.
    counts : (n_spin, n_projections, m) array
        Number of states below each energy.
    names : tuple of str
        Of the projections; the first is "total".
    method : str
        How it was computed, with its settings.
    fermi_energy : float or None
        eV, on the same zero.
    fermi_origin : str
        Where the Fermi level comes from.
    counted : FermiInterval or None
        The Fermi level that this density of states gives for the number of electrons.
    n_electrons : float or None
        Electrons per cell.
    filled, at_fermi : (n_spin, n_projections) array or None
        Number of states below the Fermi level, and states per eV there.
    errors : (n_spin, n_projections, m) array or None
        Standard errors of ``counts`` where random vectors were used.
    title : str
        Name for legends and tables.
    """

    energies: FloatArray
    density: FloatArray
    counts: FloatArray
    names: tuple[str, ...]
    method: str
    fermi_energy: float | None = None
    fermi_origin: str = "not known"
    counted: FermiInterval | None = None
    n_electrons: float | None = None
    filled: FloatArray | None = None
    at_fermi: FloatArray | None = None
    errors: FloatArray | None = None
    title: str = ""

    def save(self, path: str | Path) -> None:
        """Write a table: ``.csv``, ``.json`` or ``.h5``; see :mod:`postprocess.output.dos_tables`."""
        from postprocess.output.dos_tables import write_dos

        write_dos(Path(path), self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the density of states; options of :func:`postprocess.output.dos_plot.plot_dos`."""
        from postprocess.output.dos_plot import plot_dos

        return plot_dos(self, **options)


@dataclass(frozen=True)
class Window:
    """Energies of a density of states, eV from the Fermi level (absolute if there is none); the ends of the levels where None."""

    low: float | None = None
    high: float | None = None
    points: int = 1001

    def __post_init__(self) -> None:
        ends = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        if not ends[0] < ends[1] or np.isnan(ends).any() or self.points < 2:
            raise UsageError(f"window {ends[0]:g} to {ends[1]:g} eV with {self.points} energies: expected the lower end first, two or more")


def compute_mesh_levels(
    hamiltonian: Hamiltonian, mesh: KMesh, projections: Projections | None = None, *, jobs: Jobs | None = None
) -> MeshLevels:
    """All levels on a mesh, and their shares in groups of orbitals.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    mesh : KMesh
        See :func:`postprocess.lattice.mesh.make_mesh`. For groups that its symmetries mix, such as single atoms, use one without symmetry.
    projections : Projections, optional
        Groups of orbitals.
    jobs : Jobs, optional
        How the k-points are shared, and where they are computed.
    """
    hamiltonian = hermitian(hamiltonian)
    n_spin = hamiltonian.basis.n_spin
    tasks = [KTask(spin, (float(k[0]), float(k[1]), float(k[2]))) for spin in range(n_spin) for k in mesh.points]
    work = _MeshWork(hamiltonian, projections or Projections(), Dense(device=jobs.device if jobs else "cpu"))
    identity = fingerprint(hamiltonian, tasks, work.projections.names) if jobs and jobs.scratch else ""
    results = run_tasks(work, tasks, jobs, identity=identity)
    arrays = {name: np.stack([r[name] for r in results]) for name in ("energies", "shares")}
    energies, shares = (a.reshape(n_spin, len(mesh.points), *a.shape[1:]) for a in arrays.values())
    both = 2.0 if hamiltonian.basis.spin == "none" else 1.0
    weights = both * np.concatenate([np.ones((*energies.shape, 1)), shares], axis=-1)
    return MeshLevels(mesh, in_plane_reciprocal(hamiltonian), energies, weights)


@dataclass(frozen=True)
class _MeshWork:
    """Levels and shares at one k-point."""

    hamiltonian: Hamiltonian
    projections: Projections
    solver: Dense

    def __call__(self, task: KTask) -> Result:
        k, wanted = np.array(task.k), bool(self.projections.names)
        levels = self.solver(self.hamiltonian)(k, task.spin, vectors=wanted)
        shares = np.zeros((len(levels.energies), 0))
        if wanted:
            states = States(self.hamiltonian, k, task.spin, levels.energies, levels.vectors)
            shares = self.projections.shares(states.C, states.SC)
        return {"energies": levels.energies, "shares": shares}


def mesh_count(levels: MeshLevels, method: str, width: float = 0.05) -> tuple[StateCount, str]:
    """The count of states of a method on a mesh, and its description.

    Raises
    ------
    UsageError
        If the method is unknown, or the width not positive.
    """
    size = " x ".join(map(str, levels.mesh.divisions))
    kinds = {0: "levels of one k-point", 1: "linear interpolation", 2: "triangles", 3: "tetrahedra"}
    if method == "tetrahedron":
        return TetrahedronCount(levels), f"{kinds[levels.mesh.dimension]}, {size} mesh"
    if method != "gaussian":
        raise UsageError(f"method {method!r}: expected one of {', '.join(METHODS)}")
    if not 0 < width < np.inf:
        raise UsageError(f"width {width:g} eV: expected a positive number")
    return SmearedCount(levels, width), f"Gaussians of standard deviation {width:g} eV, {size} mesh"


def compute_dos(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    *,
    method: str = "tetrahedron",
    width: float = 0.05,
    window: Window | None = None,
    projections: Projections | None = None,
    fermi: float | str | None = None,
    jobs: Jobs | None = None,
) -> DOS:
    """Density of states on a mesh.

    Parameters
    ----------
    hamiltonian, mesh, projections, jobs
        As for :func:`compute_mesh_levels`.
    method : {"tetrahedron", "gaussian"}
        Linear interpolation, or levels widened by ``width`` (standard deviation in eV).
    window : Window, optional
        By default all levels.
    fermi : float or "count", optional
        The Fermi level in eV, or "count" to fill the states with the known number of electrons. By default that of the data, else
        from the number of electrons, else none.

    Raises
    ------
    DataError
        If there is no H, S(k) is not positive definite, the number of electrons is needed but not known, or no level lies in the window.
    """
    levels = compute_mesh_levels(hamiltonian, mesh, projections, jobs=jobs)
    count, text = mesh_count(levels, method, width)
    reach = 9 * width if method == "gaussian" else 1e-3
    bounds = (float(levels.energies.min()) - reach, float(levels.energies.max()) + reach)
    names = (TOTAL, *(projections.names if projections else ()))
    dos = assemble(hamiltonian, count, bounds, names=names, method=text, window=window or Window(), fermi=fermi)
    if method == "gaussian" and dos.counted is not None:  # between the tails of the Gaussians is less than the gap
        dos = replace(dos, counted=mesh_gap(levels, dos.counted.energy))
    return dos


def compute_fermi_energy(hamiltonian: Hamiltonian, *, mesh: Divisions | None = None, jobs: Jobs | None = None) -> float:
    """Fermi level at zero temperature by tetrahedra; in an insulator half way between the band edges on the mesh.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``n_electrons``.
    mesh : tuple of 3 int, optional
        Gamma-centred; by default about 0.2 1/Angstrom between points.
    jobs : Jobs, optional
        How the k-points are shared, and where they are computed.

    Returns
    -------
    float
        eV.

    Raises
    ------
    DataError
        If the number of electrons is not known or does not fit the number of bands.
    """
    n_electrons = known_electrons(hamiltonian)
    divisions = mesh or regular_mesh(hamiltonian)
    levels = compute_mesh_levels(hamiltonian, make_mesh(hamiltonian, divisions), jobs=replace(jobs or Jobs(), scratch=None))
    bracket = float(levels.energies.min()) - 1e-3, float(levels.energies.max()) + 1e-3
    found = find_fermi_level(TetrahedronCount(levels), n_electrons, bracket)
    if found.high - found.low > 10 * RESOLUTION:
        gap = mesh_gap(levels, found.energy)
        return (gap.low + gap.high) / 2
    return found.energy


def assemble(
    hamiltonian: Hamiltonian,
    count: StateCount,
    bounds: tuple[float, float],
    *,
    window: Window,
    fermi: float | str | None,
    names: Sequence[str] = (TOTAL,),
    method: str = "",
    error: float = 0.0,
) -> DOS:
    """A density of states from a count of states; ``bounds`` enclose all levels, ``error`` is that of the count of electrons."""
    counted = None
    if hamiltonian.n_electrons is not None:
        counted = find_fermi_level(count, hamiltonian.n_electrons, bounds, error=error)
    level, origin = choose_fermi(hamiltonian, counted, fermi)
    zero = level or 0.0
    low, high = bounds[0] if window.low is None else zero + window.low, bounds[1] if window.high is None else zero + window.high
    half = (high - low) / (window.points - 1) / 2
    counts = count(np.asarray(low + half * np.arange(-1, 2 * window.points), np.float64))
    density = (counts[..., 2::2] - counts[..., :-2:2]) / (2 * half)
    if not (counts[:, 0, -1] - counts[:, 0, 0]).any():
        relative = "" if level is None else f" (E_F = {level:.4f} eV)"
        raise DataError(f"no states between {low:.4f} and {high:.4f} eV{relative}; the levels span {bounds[0]:.4f} to {bounds[1]:.4f} eV")
    filled = at_fermi = None
    if level is not None:
        near = count(level + NEAR * np.array([-1.0, 0.0, 1.0]))
        filled, at_fermi = near[..., 1], (near[..., 2] - near[..., 0]) / (2 * NEAR)
    energies = np.linspace(low, high, window.points)
    return DOS(
        energies, density, counts[..., 1::2], tuple(names), method, level, origin, counted, hamiltonian.n_electrons, filled, at_fermi
    )


def choose_fermi(hamiltonian: Hamiltonian, counted: FermiInterval | None, fermi: float | str | None) -> tuple[float | None, str]:
    """The Fermi level that is asked for, and where it comes from.

    Raises
    ------
    DataError
        If it is to be counted and the number of electrons is not known.
    """
    if isinstance(fermi, int | float):
        return float(fermi), "given"
    if fermi is None and hamiltonian.fermi_energy is not None:
        return hamiltonian.fermi_energy, "stored with the data"
    if counted is not None:
        return counted.energy, f"{hamiltonian.n_electrons:g} electrons counted"
    if fermi is None:
        return None, "not known"
    raise DataError("the number of electrons is not known: info.json has no 'occupation', so no Fermi level can be computed")
