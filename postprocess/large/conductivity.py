"""Optical and Hall conductivity of large cells by kernel polynomials: no level is computed, and random vectors give error bars."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from deeph.runtime.log import SILENCE, duration, logger, telling
from postprocess.density.kpm import KPMOperator
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.pencil import BlochPencils
from postprocess.eigen.work import available_memory
from postprocess.geometry.positions import Positions, Source, find_positions
from postprocess.large.kubo import PairFunctions, sums_over_pairs
from postprocess.large.kubo_moments import Velocity, double_moments
from postprocess.large.sparse_basis import SparseBasis
from postprocess.lattice.mesh import Divisions
from postprocess.response.light import Photons, keeps_time_reversal
from postprocess.response.measure import E2_OVER_HBAR, Measure, measure, unit_of
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result, fingerprint, run_tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
SHARE = 0.5
"""Of the free memory, for the vectors of one recursion."""


class VectorTask(NamedTuple):
    """One random vector at one fractional k of one spin channel."""

    spin: int
    k: tuple[float, float, float]
    number: int


@dataclass(frozen=True)
class KuboSettings:
    """How the conductivity is computed.

    Attributes
    ----------
    divisions : tuple of 3 int, optional
        Of the mesh.
    photons : Photons
        Photon energies.
    width : float
        Standard deviation of transitions, eV; it sets the number of moments, and with it the time.
    temperature : float
        Of the occupation, Kelvin; above zero, because a sharp edge takes endless polynomials.
    n_vectors : int
        Random vectors at each k and spin; two or more for error bars.
    hall : bool
        Whether the static Hall conductivity is computed, too: a number for insulators.
    gap : float
        eV; for the Hall conductivity, not more than the gap.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    single : bool
        Everything in single precision: half of the memory.
    seed : int
        Of the random numbers.
    jobs : Jobs
        Processes, and where finished vectors are kept.
    title : str
        Name for legends and tables.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    divisions: Divisions | None = None
    photons: Photons = field(default_factory=lambda: Photons(0.0, 2.0, 101))
    width: float = 0.1
    temperature: float = 300.0
    n_vectors: int = 10
    hall: bool = False
    gap: float = 0.1
    source: Source | None = None
    single: bool = False
    seed: int = 0
    jobs: Jobs = field(default_factory=Jobs)
    title: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.width < np.inf and 0 < self.temperature < np.inf and 0 < self.gap < np.inf and self.n_vectors >= 1):
            raise UsageError(
                f"width {self.width:g} eV, {self.temperature:g} K, gap {self.gap:g} eV, {self.n_vectors} random vectors: expected numbers "
                "above zero (a sharp occupation, 0 K, takes endless polynomials)"
            )

    def functions(self, fermi_energy: float) -> PairFunctions:
        """What is summed over pairs of levels."""
        return PairFunctions(fermi_energy, self.temperature, self.photons.energies, self.width, self.gap / 2)


@dataclass(frozen=True)
class KuboWork:
    """The sums over pairs of levels that one random vector gives; see :func:`postprocess.states.kjobs.run_tasks`.

    Attributes
    ----------
    hamiltonian : Hamiltonian
        With Hermitian H and S.
    positions : Positions
        On the pattern of S.
    frame : (d, 3) tuple
        Directions.
    functions : PairFunctions
        What is summed.
    settings : KuboSettings
        Precision, seed.
    n_tasks : int
        How many there are, to tell what all of them take.
    """

    hamiltonian: Hamiltonian
    positions: Positions
    frame: tuple[tuple[float, ...], ...]
    functions: PairFunctions
    settings: KuboSettings
    n_tasks: int

    def __call__(self, task: VectorTask) -> Result:
        """``absorption`` (d, d, m) and ``hall`` (d, d) of one random vector, Angstrom^2; the number of moments."""
        hall, k = self.settings.hall, np.array(task.k)
        name = f"k = ({', '.join(f'{x:.6g}' for x in k + 0.0)}), vector {task.number + 1}"
        if (task.spin, task.k) not in self._prepared:
            with telling(f"{name}: preparing H, S and the ends of the spectrum"):
                self._prepared.clear()
                operator = KPMOperator(self._pencils.at(k, task.spin), single=self.settings.single)
                velocity = Velocity.along(self._basis, k, task.spin, np.array(self.frame), operator.dtype)
                self._prepared[task.spin, task.k] = operator, velocity
        operator, velocity = self._prepared[task.spin, task.k]
        n = self.functions.moments(operator.half_width, hall=hall)
        self._announce(operator, n, first=not task.number and not any(task.k))
        with telling(name, n + 1) as progress:
            moments = double_moments(operator, velocity, n, operator.random_phases(1, self._random(task)), advance=progress.advance)[0]
        out = sums_over_pairs(self.functions, moments, operator.center, operator.half_width, hall=hall)
        return {**out, "moments": np.array(n)}

    def _random(self, task: VectorTask) -> np.random.Generator:
        """Random numbers that no other seed, spin, k or vector has."""
        return np.random.default_rng([self.settings.seed, task.spin, task.number, *(np.array(task.k) + 0.0).view(np.uint64).tolist()])

    @cached_property
    def _prepared(self) -> dict[tuple[int, tuple[float, float, float]], tuple[KPMOperator, Velocity]]:
        """Those of the last k, for its next vector."""
        return {}

    @cached_property
    def _pencils(self) -> BlochPencils:
        return BlochPencils(self.hamiltonian)

    @cached_property
    def _basis(self) -> SparseBasis:
        return SparseBasis(self.hamiltonian, self.positions)

    def _announce(self, operator: KPMOperator, n: int, *, first: bool) -> None:
        """Say what a vector takes, before it starts.

        Raises
        ------
        DataError
            If the vectors need more memory than there is.
        """
        columns = 1 + len(self.frame)
        size = float(columns + 1) * (n + 1) * operator.n * operator.dtype.itemsize + 8.0 * 16 * n * n
        if size > SHARE * available_memory():
            raise DataError(
                f"{n} moments of {operator.n} orbitals need {size / 2**30:.1f} GiB of memory for their vectors, but only "
                f"{SHARE * available_memory() / 2**30:.1f} GiB may be taken; choose a larger width (--broadening), or single precision"
            )
        seconds = (n + 1) * seconds_per_step(operator, columns)
        low, high = operator.center - operator.half_width, operator.center + operator.half_width
        text = (
            "levels within %.3f to %.3f eV, %d moments; a random vector takes %.2f GiB of memory and %s besides matrix products, %d to do"
        )
        level = logging.INFO if first or seconds > SILENCE else logging.DEBUG
        logger.log(level, text, low, high, n, (size + operator.memory) / 2**30, duration(seconds), self.n_tasks)


def seconds_per_step(operator: KPMOperator, columns: int) -> float:
    """Of the recursion with so many vectors, measured."""
    recursion = operator.chebyshev(*operator.half_solve(operator.random_phases(columns, np.random.default_rng(0))))
    next(recursion)
    start = perf_counter()
    next(recursion)
    next(recursion)
    return (perf_counter() - start) / 2


@dataclass(frozen=True)
class KuboConductivity:
    """Conductivity by kernel polynomials; both spins of each level are counted.

    Attributes
    ----------
    energies : (m,) array
        Photon energies, eV.
    sigma : (m, d, d) complex array
        Its Hermitian part, which absorbs: S/m of a crystal, S of a layer. Free carriers are a Gaussian around zero.
    errors : (m, d, d) array
        Standard errors of its real part by the random vectors; NaN if there is only one at each k.
    hall : (d, d) array or None
        Static Hall conductivity of an insulator, in the same unit.
    hall_errors : (d, d) array or None
        Standard errors.
    n_moments : int
        The most at one k.
    settings : KuboSettings
        Mesh, widths, random vectors.
    fermi_energy : float
        eV.
    fermi_origin, positions : str
        Where they come from.
    measure : Measure
        Directions and units.
    divisions : tuple of 3 int
        Of the mesh.
    """

    energies: FloatArray
    sigma: Array
    errors: FloatArray
    hall: FloatArray | None
    hall_errors: FloatArray | None
    n_moments: int
    settings: KuboSettings
    fermi_energy: float
    fermi_origin: str
    positions: str
    measure: Measure
    divisions: Divisions

    def __repr__(self) -> str:
        low, high = self.energies[[0, -1]]
        return (
            f"KuboConductivity {self.settings.title}, {len(self.energies)} photon energies from {low:g} to {high:g} eV, {self.describe()}"
        )

    @property
    def unit(self) -> str:
        """Of the conductivity."""
        return unit_of("S", 2 - self.measure.dimension)

    def describe(self) -> str:
        """How it was computed."""
        s = self.settings
        size = " x ".join(map(str, self.divisions))
        return f"{self.n_moments} moments (width {s.width:g} eV, {s.temperature:g} K), {s.n_vectors} random vectors, {size} mesh"

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``) or a table (``.csv``, ``.json``, ``.h5``)."""
        from deeph.files.figures import SUFFIXES, save_figure
        from postprocess.output.kubo_files import write_kubo

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        else:
            write_kubo(Path(path), self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the conductivity with its error bars; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.kubo_files import plot_kubo

        return plot_kubo(self, **options)


def kubo_conductivity(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: KuboSettings | None = None) -> KuboConductivity:
    """Optical conductivity, and the static Hall conductivity, of one structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Periodic in at least one direction; H and S are made Hermitian.
    fermi : FermiLevel
        The Fermi energy.
    settings : KuboSettings, optional
        Mesh, photon energies, widths, random vectors.

    Raises
    ------
    UsageError
        If the structure is a molecule, or a number is out of range.
    DataError
        If S is not positive definite, the memory does not suffice, or as :func:`postprocess.geometry.positions.find_positions`.
    """
    hamiltonian, settings = hermitian(hamiltonian), settings or KuboSettings()
    size, positions, reversal = measure(hamiltonian), find_positions(hamiltonian, settings.source), keeps_time_reversal(hamiltonian)
    mesh = make_mesh(hamiltonian, settings.divisions, symmetry="reversal" if reversal else "none")
    functions = settings.functions(fermi.energy)
    tasks = [
        VectorTask(spin, (a, b, c), number)
        for spin in range(hamiltonian.basis.n_spin)
        for a, b, c in mesh.points.tolist()
        for number in range(settings.n_vectors)
    ]
    work = KuboWork(hamiltonian, positions, tuple(map(tuple, size.frame.tolist())), functions, settings, len(tasks))
    own = functions.width, functions.temperature, functions.fermi_energy, functions.least, settings.photons, settings.hall
    identity = fingerprint(hamiltonian, tasks, own, settings.seed, settings.single, positions.source) if settings.jobs.scratch else ""
    found = run_tasks(work, tasks, settings.jobs, identity=identity, unit="random vectors")
    both = 2.0 if hamiltonian.basis.spin == "none" else 1.0
    unit = both * E2_OVER_HBAR * size.per_size(2)

    def collected(name: str, part: Callable[[Array], Array]) -> tuple[Array, FloatArray]:
        samples = np.array([part(one[name]) for one in found])
        samples = samples.reshape(-1, len(mesh.points), settings.n_vectors, *samples.shape[1:])
        return _mean(unit * samples, mesh.weights)

    sigma, errors = collected("absorption", lambda x: _absorbing(x, real=reversal))
    hall = hall_errors = None
    if settings.hall:
        hall, hall_errors = collected("hall", lambda x: np.zeros(x.shape) if reversal else -(x - x.T).imag / 2)
    return KuboConductivity(
        settings.photons.energies, np.moveaxis(sigma, -1, 0), np.moveaxis(errors, -1, 0), hall, hall_errors,
        max(int(one["moments"]) for one in found), settings, fermi.energy, fermi.origin, positions.source, size, mesh.divisions,
    )  # fmt: skip


def _absorbing(x: Array, *, real: bool) -> Array:
    """The Hermitian part of (d, d, m) tensors; under time reversal -k has the conjugate one."""
    out = (x + x.conj().swapaxes(0, 1)) / 2
    return np.asarray(out.real if real else out)


def _mean(samples: Array, weights: FloatArray) -> tuple[Array, FloatArray]:
    """Sum over spins, mean over k with weights of samples (n_spin, n_k, n_vectors, ...), and the standard error of its real part."""
    n = samples.shape[2]
    mean = np.einsum("skv...,k->...", samples, weights) / n
    if n < 2:
        return mean, np.full(mean.shape, np.nan)
    variance = samples.real.var(axis=2, ddof=1) / n
    return mean, np.sqrt(np.einsum("sk...,k->...", variance, weights**2))
