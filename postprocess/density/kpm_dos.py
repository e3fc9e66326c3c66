"""Densities of states of large cells by the kernel polynomial method, at one k or a few."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.density.dos import DOS, TOTAL, Window, assemble
from postprocess.density.kpm import Moments
from postprocess.density.kpm_work import KPMSettings, KPMWork
from postprocess.eigen.hermitian import hermitian
from postprocess.lattice.mesh import KMesh
from postprocess.states.fermi import fermi_from_count
from postprocess.states.kjobs import Jobs, KTask, fingerprint, run_tasks
from postprocess.states.orbital_groups import Projections

LARGEST = 2**22
"""Numbers of states, of all vectors and energies, that are worked on at once."""


@dataclass(frozen=True)
class KPMCount:
    """States below energies from moments at several k; see :class:`postprocess.states.tetrahedra.StateCount`.

    Attributes
    ----------
    traces, local : sequences of sequences of Moments
        For each spin and k: of the total, and of the projections.
    weights : (n_k,) array
        Of the k-points, times two where a level holds both spins.
    exact : bool
        Whether the projections are exact, rather than means over random vectors.
    """

    traces: Sequence[Sequence[Moments]]
    local: Sequence[Sequence[Moments]]
    weights: FloatArray
    exact: bool = False

    def __call__(self, energies: FloatArray) -> FloatArray:
        """States below energies."""
        return np.stack([np.concatenate([self._sum(of_spin, energies) for of_spin in both]) for both in self._spins()])

    def errors(self, energies: FloatArray) -> FloatArray:
        """(n_spin, n_projections, m) standard errors from the scatter of the random vectors; NaN if there is only one."""
        out = []
        for traces, local in self._spins():
            total = self._scatter(traces, energies)
            rest = np.zeros((local[0].values.shape[1], len(energies))) if self.exact else self._scatter(local, energies)
            out.append(np.concatenate([total, rest]))
        return np.stack(out)

    def density_errors(self, energies: FloatArray) -> FloatArray:
        """(n_spin, n_projections, m) standard errors of the mean densities (1/eV) of equidistant intervals around energies."""
        half = (energies[1] - energies[0]) / 2
        edges = np.append(energies - half, energies[-1] + half)
        out = []
        for traces, local in self._spins():
            total = self._scatter(traces, edges, between=True)
            exact = np.zeros((local[0].values.shape[1], len(energies)))
            out.append(np.concatenate([total, exact if self.exact else self._scatter(local, edges, between=True)]))
        return np.asarray(np.stack(out) / (2 * half))

    def kernel_errors(self, energies: FloatArray) -> FloatArray:
        """(n_spin, m) by how much the total changes with half of the moments, which is more than what the kernel's width leaves open.

        A density that varies slowly is smeared by its second derivative times the width squared, so a third of the change would do.
        """
        fewer = [[replace(m, values=m.values[..., : m.values.shape[-1] // 2]) for m in traces] for traces in self.traces]
        return np.asarray(np.abs((self.total(energies) - replace(self, traces=fewer).total(energies))[:, 0]))

    @property
    def total(self) -> "KPMCount":
        """Without the projections."""
        return replace(self, local=[[replace(m, values=m.values[:, :0]) for m in local] for local in self.local])

    @property
    def bounds(self) -> tuple[float, float]:
        """Energies that enclose all levels."""
        every = [m for traces in self.traces for m in traces]
        return min(m.center - m.half_width for m in every), max(m.center + m.half_width for m in every)

    def _spins(self) -> Iterator[tuple[Sequence[Moments], Sequence[Moments]]]:
        yield from zip(self.traces, self.local, strict=True)

    def _sum(self, moments: Sequence[Moments], energies: FloatArray) -> FloatArray:
        """(n_densities, m) over the k-points."""
        return np.asarray(sum(w * m.mean.counts(energies)[0] for w, m in zip(self.weights, moments, strict=True)))

    def _scatter(self, moments: Sequence[Moments], energies: FloatArray, *, between: bool = False) -> FloatArray:
        """(n_densities, m) standard errors of the sum over k-points, whose random vectors are independent.

        Of the states below the energies, or ``between`` neighbouring ones.
        """
        n_samples, n = moments[0].values.shape[:2]
        m = len(energies) - between
        if n_samples < 2:
            return np.full((n, m), np.nan)
        variance = np.zeros((n, m))
        for part in np.array_split(np.arange(n), max(1, min(n, variance.size * n_samples // LARGEST))):
            for w, one in zip(self.weights, moments, strict=True):
                samples = replace(one, values=one.values[:, part]).counts(energies)
                samples = np.diff(samples, axis=-1) if between else samples
                variance[part] += w**2 * samples.var(axis=0, ddof=1) / n_samples
        return np.sqrt(variance)


def compute_moments(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    settings: KPMSettings,
    projections: Projections | None = None,
    *,
    jobs: Jobs | None = None,
) -> KPMCount:
    """Moments at the points of a mesh, Gamma alone for a very large cell.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With H; its Hermitian part is used.
    mesh : KMesh
        See :func:`postprocess.eigen.band_symmetries.make_mesh`.
    settings : KPMSettings
        Kernel, random vectors, precision.
    projections : Projections, optional
        Groups of orbitals.
    jobs : Jobs, optional
        How the k-points are shared; it changes no number.
    """
    hamiltonian = replace(hermitian(hamiltonian))  # the sparse matrices of a large cell do not stay with the caller
    n_spin, names = hamiltonian.basis.n_spin, projections.names if projections else ()
    tasks = [KTask(spin, (float(k[0]), float(k[1]), float(k[2]))) for spin in range(n_spin) for k in mesh.points]
    groups = projections.groups if projections and names else np.zeros((0, hamiltonian.H_bloch.n_orbitals), bool)
    work = KPMWork(hamiltonian, settings, groups, tasks[0], len(tasks))
    results = run_tasks(work, tasks, jobs, identity=fingerprint(hamiltonian, tasks, settings, names) if jobs and jobs.scratch else "")
    traces, local = [], []
    for one in results:
        scale = float(one["center"]), float(one["half_width"])
        traces.append(Moments(*scale, one["total"]))
        local.append(Moments(*scale, one["local"]))
    n_k, both = len(mesh.points), 2.0 if hamiltonian.basis.spin == "none" else 1.0
    channels = [slice(spin * n_k, (spin + 1) * n_k) for spin in range(n_spin)]
    return KPMCount([traces[c] for c in channels], [local[c] for c in channels], both * mesh.weights, settings.exact)


def compute_kpm_dos(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    settings: KPMSettings | None = None,
    *,
    window: Window | None = None,
    projections: Projections | None = None,
    fermi: float | str | None = None,
    jobs: Jobs | None = None,
) -> DOS:
    """Density of states by the kernel polynomial method, with the errors of the random vectors.

    Parameters
    ----------
    hamiltonian, mesh, settings, projections, jobs
        As for :func:`compute_moments`.
    window, fermi
        As for :func:`postprocess.density.dos.compute_dos`. The interval of the counted Fermi level is what the random vectors (95 of 100
        times) and the width of the kernel leave open.

    Raises
    ------
    DataError
        As for :func:`postprocess.density.dos.compute_dos`; if S is not positive definite, or the memory does not suffice.
    """
    settings = settings or KPMSettings()
    count = compute_moments(hamiltonian, mesh, settings, projections, jobs=jobs)
    names = (TOTAL, *(projections.names if projections else ()))
    error = _electron_error(count, hamiltonian.n_electrons, settings.n_vectors)
    n_moments = count.traces[0][0].values.shape[-1]
    size = " x ".join(map(str, mesh.divisions))
    exact = ", exact projections" if settings.exact and len(names) > 1 else ""
    method = (
        f"kernel polynomials, {n_moments} moments (width {settings.width:g} eV), {settings.n_vectors} random vectors{exact}, {size} mesh"
    )
    dos = assemble(hamiltonian, count, count.bounds, names=names, method=method, window=window or Window(), fermi=fermi, error=error)
    return replace(dos, errors=count.errors(dos.energies), density_errors=count.density_errors(dos.energies))


def _electron_error(count: KPMCount, n_electrons: float | None, n_vectors: int) -> float:
    """By how many electrons the count near the Fermi level may be wrong; 0 where that cannot be told.

    Of few vectors the scatter itself is uncertain, hence Student's distribution for the part of a normal one within two standard
    deviations. What the kernel does passes through zero at some energies, so its largest value within a width around the level is taken.
    """
    from scipy.stats import norm, t

    if n_electrons is None or n_vectors < 2:
        return 0.0
    total = count.total
    level, width = fermi_from_count(total, n_electrons, total.bounds).energy, max(m.width for traces in total.traces for m in traces)
    scatter = np.linalg.norm(total.errors(np.array([level])))
    kernel = count.kernel_errors(level + width * np.linspace(-1, 1, 9)).sum(axis=0).max()
    return float(np.hypot(t.ppf(norm.cdf(2.0), n_vectors - 1) * scatter, kernel))
