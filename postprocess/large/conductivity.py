"""Optical and Hall conductivity of large cells: from the levels near the Fermi energy, or by kernel polynomials with error bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import Eigensolver
from postprocess.geometry.positions import Positions, find_positions
from postprocess.large.kubo import NEAR, WARM_NEAR, PairFunctions
from postprocess.large.kubo_work import KuboWork, VectorTask
from postprocess.large.level_work import LevelWork
from postprocess.large.settings import ConductivitySettings
from postprocess.lattice.mesh import Divisions, KMesh, check_divisions
from postprocess.response.light import keeps_time_reversal
from postprocess.response.measure import E2_OVER_HBAR, Measure, measure, unit_of
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import KTask, fingerprint, run_tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LargeConductivity(Savable):
    """Conductivity of a large cell; both spins of each level are counted.

    Attributes
    ----------
    energies : (m,) array
        Photon energies, eV.
    sigma : (m, d, d) complex array
        Its Hermitian part, which absorbs: S/m of a crystal, S of a layer. Free carriers are a Gaussian around zero.
    errors : (m, d, d) array
        Standard errors of its real part by random vectors; NaN if there is only one at each k, zero without any.
    hall : (d, d) array or None
        Static Hall conductivity of an insulator, in the same unit.
    hall_errors : (d, d) array or None
        Standard errors.
    method : str
        How it was computed.
    settings : ConductivitySettings
        Widths, temperature.
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
    method: str
    settings: ConductivitySettings
    fermi_energy: float
    fermi_origin: str
    positions: str
    measure: Measure
    divisions: Divisions

    def __repr__(self) -> str:
        low, high = self.energies[[0, -1]]
        return (
            f"LargeConductivity {self.settings.title}, {len(self.energies)} photon energies from {low:g} to {high:g} eV, {self.describe()}"
        )

    @property
    def unit(self) -> str:
        """Of the conductivity."""
        return unit_of("S", 2 - self.measure.dimension)

    def describe(self) -> str:
        """How it was computed."""
        size = " x ".join(map(str, self.divisions))
        return f"{self.method}, width {self.settings.width:g} eV, {self.settings.temperature:g} K, {size} mesh"

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.large_files import write_large

        write_large(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the conductivity with its error bars; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.large_files import plot_large

        return plot_large(self, **options)


def kubo_conductivity(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: ConductivitySettings | None = None) -> LargeConductivity:
    """Optical conductivity, and the static Hall conductivity, of one structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Periodic in at least one direction; H and S are made Hermitian.
    fermi : FermiLevel
        The Fermi energy.
    settings : ConductivitySettings, optional
        Mesh, photon energies, widths, random vectors.

    Raises
    ------
    UsageError
        If the structure is a molecule, a number is out of range, or the mesh has several points where nothing is periodic.
    DataError
        If S is not positive definite, the memory does not suffice, or as :func:`postprocess.geometry.positions.find_positions`.
    """
    setup = _Setup.of(hamiltonian, fermi, settings or ConductivitySettings())
    settings = setup.settings
    tasks = [VectorTask(spin, k, number) for spin, k in setup.points for number in range(settings.n_vectors)]
    how = settings.hall, settings.seed, settings.options.single
    work = KuboWork(setup.hamiltonian, setup.positions, setup.frame, setup.functions, *how, len(tasks))
    identity = setup.identity(tasks, *how)
    found = run_tasks(work, tasks, settings.jobs, identity=identity, unit="random vectors")
    sigma, errors = setup.mean([one["absorption"] for one in found], _hermitian_part)
    hall = hall_errors = None
    if settings.hall:
        hall, hall_errors = setup.mean([one["hall"] for one in found], _hall_part)
    n = max(int(one["moments"]) for one in found)
    return setup.result(
        sigma, errors, f"{n} moments, {settings.n_vectors} random vectors", hall.real if hall is not None else None, hall_errors
    )


def level_conductivity(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: ConductivitySettings | None = None) -> LargeConductivity:
    """Optical conductivity from the levels that photons of these energies reach, by the sparse eigensolver: for low energies.

    Parameters
    ----------
    hamiltonian, fermi, settings
        As for :func:`kubo_conductivity`; random vectors and ``hall`` do not matter.

    Raises
    ------
    UsageError
        As :func:`kubo_conductivity`.
    DataError
        As the eigensolver, and :func:`postprocess.geometry.positions.find_positions`.
    """
    setup = _Setup.of(hamiltonian, fermi, settings or ConductivitySettings())
    settings, reach = setup.settings, setup.functions.reach(NEAR, WARM_NEAR)
    solver = Eigensolver(low=fermi.energy - reach, high=fermi.energy + reach, options=settings.options)
    work = LevelWork(setup.hamiltonian, solver, setup.positions, setup.frame, setup.functions)
    tasks = [KTask(spin, k) for spin, k in setup.points]
    found = run_tasks(work, tasks, settings.jobs, identity=setup.identity(tasks, settings.options))
    sigma, _ = setup.mean([one["absorption"] for one in found], _hermitian_part)
    n = [int(one["levels"]) for one in found]
    return setup.result(sigma, np.zeros(sigma.shape), f"{min(n)} to {max(n)} levels within {reach:.3g} eV of the Fermi level", None, None)


@dataclass(frozen=True)
class _Setup:
    """What both ways share."""

    hamiltonian: Hamiltonian
    fermi: FermiLevel
    settings: ConductivitySettings
    positions: Positions
    size: Measure
    mesh: KMesh
    functions: PairFunctions
    reversal: bool

    @classmethod
    def of(cls, hamiltonian: Hamiltonian, fermi: FermiLevel, settings: ConductivitySettings) -> "_Setup":
        hamiltonian = hermitian(hamiltonian)
        if settings.divisions:
            check_divisions(hamiltonian, settings.divisions)
        reversal = keeps_time_reversal(hamiltonian)
        mesh = make_mesh(hamiltonian, settings.divisions, symmetry="reversal" if reversal else "none")
        found = find_positions(hamiltonian, settings.source)
        return cls(hamiltonian, fermi, settings, found, measure(hamiltonian), mesh, settings.functions(fermi.energy), reversal)

    @property
    def frame(self) -> tuple[tuple[float, ...], ...]:
        """Directions in rows."""
        return tuple(map(tuple, self.size.frame.tolist()))

    @property
    def points(self) -> list[tuple[int, tuple[float, float, float]]]:
        """Spin and k."""
        return [(spin, (a, b, c)) for spin in range(self.hamiltonian.basis.n_spin) for a, b, c in self.mesh.points.tolist()]

    def identity(self, tasks: Sequence[Any], *options: Any) -> str:
        """What tells this work from another."""
        s, f = self.settings, self.functions
        own = s.photons, f.width, f.temperature, f.fermi_energy, f.least, self.positions.source, self.frame
        return fingerprint(self.hamiltonian, tasks, own, options) if s.jobs.scratch else ""

    def mean(self, values: Sequence[Array], part: Callable[[Array], Array]) -> tuple[Array, FloatArray]:
        """Sum over spins, mean over k and random vectors in SI units, and the standard error of its real part."""
        both = 2.0 if self.hamiltonian.basis.spin == "none" else 1.0
        samples = np.array([part(x.real if self.reversal else x) for x in values])  # -k has the conjugate tensor
        samples = both * E2_OVER_HBAR * self.size.per_size(2) * samples
        samples = samples.reshape(self.hamiltonian.basis.n_spin, len(self.mesh.points), -1, *samples.shape[1:])
        n = samples.shape[2]
        mean = np.einsum("skv...,k->...", samples, self.mesh.weights) / n
        if n < 2:
            return mean, np.full(mean.shape, np.nan)
        variance = samples.real.var(axis=2, ddof=1) / n
        return mean, np.sqrt(np.einsum("sk...,k->...", variance, self.mesh.weights**2))

    def result(
        self, sigma: Array, errors: FloatArray, method: str, hall: FloatArray | None, hall_errors: FloatArray | None
    ) -> LargeConductivity:
        """With the photon energies first."""
        return LargeConductivity(
            self.settings.photons.energies, np.moveaxis(sigma, -1, 0), np.moveaxis(errors, -1, 0), hall, hall_errors, method,
            self.settings, self.fermi.energy, self.fermi.origin, self.positions.source, self.size, self.mesh.divisions,
        )  # fmt: skip


def _hermitian_part(x: Array) -> Array:
    """What absorbs, of (d, d, m) tensors."""
    return np.asarray((x + x.conj().swapaxes(0, 1)) / 2)


def _hall_part(x: Array) -> FloatArray:
    """The antisymmetric tensor of sums (d, d) over pairs; zero under time reversal."""
    return np.asarray(-(x - x.T).imag / 2)
