"""Densities of states of large cells by the kernel polynomial method, at one k or a few."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.log import logger
from postprocess.density.dos import DOS, TOTAL, Window, assemble
from postprocess.density.kpm import KPMOperator, Moments, local_moments, moments_for, trace_moments
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.lattice.mesh import KMesh
from postprocess.states.projections import Projections


class KPMSettings(NamedTuple):
    """How the polynomials are made.

    Attributes
    ----------
    width : float
        Standard deviation of the kernel in the middle of the spectrum, eV; it sets the number of moments.
    n_vectors : int
        Random vectors for the total at each k.
    single : bool
        Single precision: half of the memory.
    seed : int
        Of the random numbers.
    """

    width: float = 0.1
    n_vectors: int = 10
    single: bool = False
    seed: int = 0


@dataclass(frozen=True)
class KPMCount:
    """States below energies from moments at several k; see :class:`postprocess.states.counting.StateCount`.

    Attributes
    ----------
    traces, local : sequences of sequences of Moments
        For each spin and k: of the total, and of the projections.
    weights : (n_k,) array
        Of the k-points, times two where a level holds both spins.
    """

    traces: Sequence[Sequence[Moments]]
    local: Sequence[Sequence[Moments]]
    weights: FloatArray

    def __call__(self, energies: FloatArray) -> FloatArray:
        """States below energies."""
        return np.stack(
            [
                sum(
                    w * np.concatenate([total.counts(energies).mean(axis=0), part.counts(energies)[0]])
                    for w, total, part in zip(self.weights, traces, local, strict=True)
                )
                for traces, local in zip(self.traces, self.local, strict=True)
            ]
        )

    def errors(self, energies: FloatArray) -> FloatArray:
        """(n_spin, m) standard errors of the total from the scatter of the random vectors; NaN if there is only one."""
        variances = [
            [w**2 * _variance(total.counts(energies)[:, 0]) for w, total in zip(self.weights, traces, strict=True)]
            for traces in self.traces
        ]
        return np.asarray(np.sqrt(np.sum(variances, axis=1)))

    def kernel_errors(self, energies: FloatArray) -> FloatArray:
        """(n_spin, m) by how much the total changes with half of the moments, which is more than what the kernel's width leaves open.

        A density that varies slowly is smeared by its second derivative times the width squared, so a third of the change would do.
        """
        fewer = [[replace(m, values=m.values[..., : m.values.shape[-1] // 2]) for m in traces] for traces in self.traces]
        return np.asarray(np.abs((self(energies) - replace(self, traces=fewer)(energies))[:, 0]))

    @property
    def bounds(self) -> tuple[float, float]:
        """Energies that enclose all levels."""
        every = [m for traces in self.traces for m in traces]
        return min(m.center - m.half_width for m in every), max(m.center + m.half_width for m in every)


def _variance(samples: FloatArray) -> FloatArray:
    n = len(samples)
    return np.asarray(samples.var(axis=0, ddof=1) / n if n > 1 else np.full(samples.shape[1], np.nan))


def compute_moments(hamiltonian: Hamiltonian, mesh: KMesh, settings: KPMSettings, projections: Projections | None = None) -> KPMCount:
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
        Groups of orbitals: their densities are exact, at the price of a recursion for each orbital.
    """
    import time

    pencils = BlochPencils(replace(hermitian(hamiltonian)))
    groups = projections.groups if projections and len(projections.names) else np.zeros((0, pencils.n), bool)
    traces: list[list[Moments]] = []
    local: list[list[Moments]] = []
    for spin in range(hamiltonian.basis.n_spin):
        traces.append([])
        local.append([])
        for number, k in enumerate(mesh.points):
            operator = KPMOperator(pencils.at(k, spin), single=settings.single)
            n, start, before = moments_for(operator, settings.width), time.process_time(), operator.n_steps
            traces[-1].append(trace_moments(operator, n, settings.n_vectors, seed=settings.seed + number))
            local[-1].append(local_moments(operator, groups, n))
            steps = operator.n_steps - before
            logger.info(
                "k-point %d of %d: levels within %.3f to %.3f eV, %d moments, %d vectors, %.2e CPU s a step",
                number + 1, len(mesh.points), operator.center - operator.half_width, operator.center + operator.half_width,
                n, settings.n_vectors, (time.process_time() - start) / steps,
            )  # fmt: skip
    both = 2.0 if hamiltonian.basis.spin == "none" else 1.0
    return KPMCount(traces, local, both * mesh.weights)


def compute_kpm_dos(
    hamiltonian: Hamiltonian,
    mesh: KMesh,
    settings: KPMSettings | None = None,
    *,
    window: Window | None = None,
    projections: Projections | None = None,
    fermi: float | str | None = None,
) -> DOS:
    """Density of states by the kernel polynomial method, with the errors of the random vectors.

    Parameters
    ----------
    hamiltonian, mesh, settings, projections
        As for :func:`compute_moments`.
    window, fermi
        As for :func:`postprocess.density.dos.compute_dos`. The interval of the counted Fermi level is what twice the standard error of the
        random vectors and the width of the kernel leave open.

    Raises
    ------
    DataError
        As for :func:`postprocess.density.dos.compute_dos`; if S is not positive definite, or the memory does not suffice.
    """
    settings = settings or KPMSettings()
    count = compute_moments(hamiltonian, mesh, settings, projections)
    names = (TOTAL, *(projections.names if projections else ()))
    error = 0.0
    if hamiltonian.n_electrons is not None and settings.n_vectors > 1:
        near = assemble(hamiltonian, count, count.bounds, window=Window(points=2), fermi="count").counted
        if near is not None:
            at = np.array([near.energy])
            error = float(np.hypot(2 * np.linalg.norm(count.errors(at)), count.kernel_errors(at).sum()))
    n_moments = count.traces[0][0].values.shape[-1]
    size = " x ".join(map(str, mesh.divisions))
    method = f"kernel polynomials, {n_moments} moments (width {settings.width:g} eV), {settings.n_vectors} random vectors, {size} mesh"
    dos = assemble(hamiltonian, count, count.bounds, names=names, method=method, window=window or Window(), fermi=fermi, error=error)
    errors = np.zeros_like(dos.counts)
    errors[:, 0] = count.errors(dos.energies)
    return replace(dos, errors=errors)
