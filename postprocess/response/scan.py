"""Responses to static fields against the Fermi level: integrals of something each level has, with a weight that its energy gives."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import KELVIN
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.against_fermi import AgainstFermi, FermiScan, spins_of_levels, values_of
from postprocess.geometry.allowed import Axis, Reversal, forbidden_components
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.geometry.symmetries import OF_LEVELS, OfLevels, Turning, Values, tensor_wedge
from postprocess.lattice.mesh import Divisions, Symmetry
from postprocess.response.light import keeps_time_reversal
from postprocess.response.transitions import minus_df
from postprocess.states.adaptive import Refinement, integrate_adaptively
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.occupation import Occupation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TENSOR_AXES = {"sums": -2, "watched": -1}
"""Which axis of the sums holds the components of a tensor."""
Weight = Callable[[FloatArray, float], FloatArray]
"""Of levels with energies from the Fermi level (eV), at a temperature (Kelvin)."""


def filled(energies: FloatArray, temperature: float) -> FloatArray:
    """The occupation f."""
    return Occupation(0.0, temperature)(energies)


def entropy(energies: FloatArray, temperature: float) -> FloatArray:
    """-f ln f - (1 - f) ln(1 - f): 1/(k_B T) times the integral of (E - mu)(-df/dE) from the level upwards."""
    x = np.abs(energies) / (KELVIN * temperature)
    decay = np.exp(-x)
    return np.asarray(np.log1p(decay) + x * decay / (1 + decay))


def heat(energies: FloatArray, temperature: float) -> FloatArray:
    """(E - mu)(-df/dE)."""
    return energies * minus_df(energies, temperature)


def heat_squared(energies: FloatArray, temperature: float) -> FloatArray:
    """(E - mu)^2 (-df/dE), eV."""
    return energies**2 * minus_df(energies, temperature)


@dataclass(frozen=True)
class LevelSums:
    """Sums over the levels, for several Fermi levels; a BatchQuantity.

    Attributes
    ----------
    values : function
        What each level has.
    weights : tuple of functions
        One sum each.
    even : bool
        The values at -k are those at k if time reversal holds.
    fermi_levels : tuple of float
        eV.
    fermi_energy, temperature : float
        eV and Kelvin.
    source : str or None
        Of the positions.
    reversal : bool
        Time reversal holds.
    """

    values: Values
    weights: tuple[Weight, ...]
    even: bool
    fermi_levels: tuple[float, ...]
    fermi_energy: float
    temperature: float
    source: Source | None = None
    reversal: bool = False

    @property
    def symmetry(self) -> Symmetry:
        """One of k and -k is enough where they have the same values."""
        return "reversal" if self.even and self.reversal else "none"

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``sums`` (n_k, weights, c, m), and ``watched`` (n_k, m, c): the first one at the Fermi energy and others."""
        basis = BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))
        levels = np.array([self.fermi_energy, *self.fermi_levels])

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            values, distance = self.values(g), g.energies[:, :, None] - levels
            sums = np.stack([values @ weight(distance, self.temperature) for weight in self.weights], axis=1)
            watched = np.moveaxis(sums[:, 0], -1, 1)
            if len(self.fermi_levels) == 1:
                watched = watched[:, :1]
            return {"sums": sums, "watched": watched}

        return compute


@dataclass(frozen=True, kw_only=True, repr=False)
class FermiResponse(AgainstFermi):
    """One response against the Fermi level."""

    def plot(self, **options: Any) -> "Axes":
        """Draw it against the Fermi level; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.response_plot import plot_fermi_response

        return plot_fermi_response(self, **options)

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.response_tables import write_fermi_response

        write_fermi_response(path, self)


@dataclass(frozen=True)
class Settings:
    """What all responses against the Fermi level are asked for with.

    Attributes
    ----------
    divisions : tuple of 3 int, optional
        Of the mesh.
    scan : FermiScan
        Further Fermi levels, and the temperature.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    refinement : Refinement
        Of the mesh where the response varies.
    jobs : Jobs
        Processes, and where finished batches are kept.
    title : str
        Name for legends and tables.
    """

    divisions: Divisions | None = None
    scan: FermiScan = field(default_factory=lambda: FermiScan(temperature=300.0))
    source: Source | None = None
    refinement: Refinement = field(default_factory=Refinement)
    jobs: Jobs = field(default_factory=Jobs)
    title: str = ""

    def warm(self, what: str) -> None:
        """UsageError at zero temperature, where a response is a sum over a surface that no mesh holds."""
        if self.scan.temperature <= 0:
            raise UsageError(
                f"{what} at 0 K is a sum over the Fermi surface, which no mesh holds: give a temperature, such as 20 K or 300 K"
            )


@dataclass(frozen=True)
class Recipe:
    """How a response is made of the levels.

    Attributes
    ----------
    what, unit : str
        Its name, and the unit of its components.
    components : tuple of str
        Their names.
    values, weights, even
        See :class:`LevelSums`.
    make : function
        Of the sums (weights, c, m), both spins, per cell, to (m, components) values.
    kinds, frames, reversal, exchange
        How the tensor turns, see :func:`postprocess.geometry.allowed.forbidden_components`; components are those of one or more of them.
    """

    what: str
    unit: str
    components: tuple[str, ...]
    values: Values
    weights: tuple[Weight, ...]
    make: Callable[[FloatArray], FloatArray]
    kinds: tuple[Axis, ...]
    frames: tuple[FloatArray, ...]
    reversal: Reversal = "even"
    exchange: int = 0
    even: bool = False


def fermi_response(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: Settings, recipe: Recipe) -> FermiResponse:
    """Integrate what each level has, and make a response of the means over the zone."""
    hamiltonian, scan = hermitian(hamiltonian), settings.scan
    energies = scan.energies(fermi)
    conditions = tuple(energies.tolist()), fermi.energy, scan.temperature, settings.source, keeps_time_reversal(hamiltonian)
    quantity = LevelSums(recipe.values, recipe.weights, recipe.even, *conditions)
    mesh = make_mesh(hamiltonian, settings.divisions, symmetry="none").divisions
    turning = Turning(recipe.kinds, recipe.frames, recipe.reversal, OF_LEVELS)
    wedge = tensor_wedge(hamiltonian, OfLevels(recipe.values, settings.source), ("values",), turning, math.prod(mesh), settings.jobs)
    if wedge.order > 1:  # time reversal is one of its operations
        quantity = replace(quantity, even=False)
    options: dict[str, Any] = {"refinement": settings.refinement, "jobs": settings.jobs, "wedge": wedge, "tensor_axes": TENSOR_AXES}
    integral = integrate_adaptively(hamiltonian, quantity, settings.divisions, watched="watched", **options)
    both = spins_of_levels(hamiltonian)
    forbidden = forbidden_components(hamiltonian, recipe.kinds, recipe.frames, recipe.reversal, exchange=recipe.exchange)
    return FermiResponse(
        what=recipe.what, energies=energies, components=recipe.components, unit=recipe.unit, fermi_energy=fermi.energy,
        forbidden=np.resize(forbidden, len(recipe.components)), fermi_origin=fermi.origin,
        positions=find_positions(hamiltonian, settings.source).source, temperature=scan.temperature, title=settings.title,
        **values_of(integral, lambda stage: recipe.make(both * stage["sums"].sum(axis=0))),
    )  # fmt: skip
