"""Sums over pairs of an occupied and an empty level, for many photon energies."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.geometry.bloch_basis import BlochBasis
from postprocess.geometry.geometry import Geometry
from postprocess.geometry.positions import Source, find_positions
from postprocess.geometry.symmetries import Turning, tensor_wedge
from postprocess.lattice.mesh import Divisions, Symmetry
from postprocess.response.light import Broadening, Photons, keeps_time_reversal
from postprocess.states.adaptive import Integral, Refinement, integrate_adaptively
from postprocess.states.batches import BatchQuantity
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Jobs, Result
from postprocess.states.occupation import Occupation

if TYPE_CHECKING:
    from postprocess.geometry.allowed import Axis

Array = npt.NDArray[Any]
FILLED = 1e-10
"""Pairs whose occupations differ by less do not count."""
PIECE = 2**20
"""Pairs times photon energies that are held at a time."""
ABSORPTION = {"chi": -1, "hall": -1, "drude": -1}
"""Tensors that :class:`Absorption` gives, and the axis of their components."""
WATCHED = 16
"""Windows of photon energies whose mean absorption says how far a mesh is converged."""


class Pairs(NamedTuple):
    """Pairs of one k-point: lower and higher level, distance in eV (scissor included), difference of the occupations."""

    low: IntArray
    high: IntArray
    step: FloatArray
    filled: FloatArray


@dataclass(frozen=True)
class LightSettings:
    """What all responses to light are asked for with.

    Attributes
    ----------
    divisions : tuple of 3 int, optional
        Of the mesh. Under time reversal only one of k and -k is computed.
    photons, broadening
        Photon energies and the width of transitions.
    temperature : float
        Of the occupation, Kelvin.
    relaxation : float
        hbar/tau of the Drude peak, eV.
    scissor : float
        eV by which empty levels are moved up.
    source : {"matrix", "atoms"}, optional
        Of the positions.
    refinement : Refinement
        Of the mesh where the response varies; none by default.
    jobs : Jobs
        Processes, and where finished batches are kept.
    title : str
        Name for legends and tables.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    divisions: Divisions | None = None
    photons: Photons = field(default_factory=Photons)
    broadening: Broadening = field(default_factory=Broadening)
    temperature: float = 0.0
    relaxation: float = 0.1
    scissor: float = 0.0
    source: Source | None = None
    refinement: Refinement = field(default_factory=lambda: Refinement(rounds=0))
    jobs: Jobs = field(default_factory=Jobs)
    title: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.relaxation < np.inf and 0 <= self.temperature < np.inf and np.isfinite(self.scissor)):
            raise UsageError(
                f"hbar/tau {self.relaxation:g} eV, {self.temperature:g} K, scissor {self.scissor:g} eV: expected a positive number, zero "
                "or more, and a number"
            )

    def conditions(self, hamiltonian: Hamiltonian, fermi: FermiLevel) -> "Conditions":
        """For one structure."""
        own = self.photons, self.broadening, self.scissor, self.source
        return Conditions(fermi.energy, self.temperature, *own, reversal=keeps_time_reversal(hamiltonian))

    def integrate(self, hamiltonian: Hamiltonian, quantity: BatchQuantity, tensors: Mapping[str, int], rank: int) -> Integral:
        """Over the zone, of those k-points that symmetry relates one; see :func:`postprocess.geometry.symmetries.tensor_wedge`."""
        n_points = len(make_mesh(hamiltonian, self.divisions, symmetry=quantity.symmetry).points)
        polar: Axis = "polar"
        turning = Turning((polar,) * rank, (np.eye(3),) * rank)
        wedge = tensor_wedge(hamiltonian, quantity, tensors.keys() - {"watched"}, turning, n_points, self.jobs)
        return integrate_adaptively(
            hamiltonian,
            quantity,
            self.divisions,
            watched="watched",
            refinement=self.refinement,
            jobs=self.jobs,
            wedge=wedge,
            tensor_axes=tensors,
        )


@dataclass(frozen=True)
class Conditions:
    """Under which light is absorbed.

    Attributes
    ----------
    fermi_energy : float
        eV.
    temperature : float
        Of the occupation, Kelvin.
    photons : Photons
        Photon energies.
    broadening : Broadening
        Width of the transitions.
    scissor : float
        eV by which empty levels are moved up; positions between the levels stay.
    source : str or None
        Of the positions.
    reversal : bool
        Time reversal holds: only one of k and -k is computed, and what is odd in k is left out.
    """

    fermi_energy: float
    temperature: float = 0.0
    photons: Photons = field(default_factory=Photons)
    broadening: Broadening = field(default_factory=Broadening)
    scissor: float = 0.0
    source: Source | None = None
    reversal: bool = False

    def prepared(self, hamiltonian: Hamiltonian) -> BlochBasis:
        """The basis at any k."""
        return BlochBasis(hamiltonian, find_positions(hamiltonian, self.source))

    def occupation(self, energies: FloatArray) -> FloatArray:
        """Of each level."""
        return Occupation(self.fermi_energy, self.temperature)(energies)

    def pairs(self, g: Geometry) -> Iterator[Pairs]:
        """Those of each k-point that take part, from different groups of degenerate levels."""
        f = self.occupation(g.energies)
        for energies, filled, group in zip(g.energies, f, g.groups, strict=True):
            low, high = np.nonzero((filled[:, None] - filled[None] > FILLED) & (group[:, None] < group[None]))
            yield Pairs(low, high, energies[high] - energies[low] + self.scissor, filled[low] - filled[high])


@dataclass(frozen=True)
class Absorption:
    """Susceptibility, joint density of states, Hall and Drude part at each k; a BatchQuantity."""

    conditions: Conditions

    @property
    def symmetry(self) -> Symmetry:
        """With time reversal -k has the complex conjugate tensors of k."""
        return "reversal" if self.conditions.reversal else "none"

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k.

        ``chi`` (n_k, m, 9): sum of f_nm [r_a,nm r_b,mn / (E_mn - E) + its partner], Angstrom^2/eV; ``joint`` (n_k, m): 1/eV; ``hall``
        (n_k, 9): i sum (f_m - f_n) r_a,nm r_b,mn, Angstrom^2; ``drude`` (n_k, 9): sum of -df/dE v_a v_b, eV Angstrom^2;
        ``filled``, ``watched``.
        """
        basis, c = self.conditions.prepared(hamiltonian), self.conditions

        def compute(k: FloatArray, spin: int) -> Result:
            g = Geometry(basis, k, spin=spin)
            chi, joint, hall = (np.array(part) for part in zip(*self._pair_sums(g), strict=True))
            smooth = chi.imag.reshape(*chi.shape[:2], 3, 3).trace(axis1=2, axis2=3) * c.photons.energies
            filled = filled_levels(c.occupation(g.energies))
            watched = means_in_windows(smooth[:, :, None])[..., 0]
            return {"chi": chi, "joint": joint, "hall": hall, "drude": self._drude(g), "filled": filled, "watched": watched}

        return compute

    def _pair_sums(self, g: Geometry) -> Iterator[tuple[Array, FloatArray, FloatArray]]:
        c = self.conditions
        r, energies = g.between, c.photons.energies
        for n, (low, high, step, filled) in enumerate(c.pairs(g)):
            P = np.einsum("ap,bp->pab", r[n][:, low, high], r[n][:, high, low]).reshape(-1, 9)
            P = P.real.astype(complex) if c.reversal else P
            chi, joint = np.zeros((len(energies), 9), complex), np.zeros(len(energies))
            size = max(1, PIECE // len(energies))
            for start in range(0, len(step), size):
                part = slice(start, start + size)
                weighted = filled[part, None] * P[part]
                chi += c.broadening.pole(step[part] - energies[:, None]) @ weighted
                chi += c.broadening.pole(step[part] + energies[:, None]).conj() @ weighted.conj()
                joint += c.broadening.delta(step[part] - energies[:, None]) @ filled[part]
            yield chi, joint, 2 * filled @ P.imag

    def _drude(self, g: Geometry) -> FloatArray:
        return np.asarray(velocities_squared(g) @ self._surface(g.energies)[..., None])[..., 0]

    def _surface(self, energies: FloatArray) -> FloatArray:
        """-df/dE; at zero temperature a peak of the width of the transitions."""
        c = self.conditions
        if c.temperature == 0:
            return Broadening(c.broadening.width).delta(energies - c.fermi_energy)
        return minus_df(energies - c.fermi_energy, c.temperature)


def filled_levels(occupation: FloatArray) -> FloatArray:
    """(n_k, 2) number of filled levels, and its square, of (n_k, n_levels) occupations."""
    filled = occupation.sum(axis=1)
    return np.stack([filled, filled**2], axis=1)


def levels_cross(filled: FloatArray) -> bool:
    """Whether levels cross the Fermi level anywhere on a mesh: (n_spin, 2) means of :func:`filled_levels` show a scatter."""
    count, squared = np.moveaxis(filled, -1, 0)
    return bool((np.abs(squared - count**2) > 1e-6 * (1 + squared)).any())


def means_in_windows(spectra: Array) -> FloatArray:
    """(n_k, windows, components) means of spectra (n_k, m, components) in :data:`WATCHED` windows, real and imaginary parts."""
    parts = [spectra.real, spectra.imag] if np.iscomplexobj(spectra) else [spectra]
    smooth = np.concatenate(parts, axis=2)
    windows = np.array_split(smooth, min(WATCHED, smooth.shape[1]), axis=1)
    return np.stack([part.mean(axis=1) for part in windows], axis=1)


def minus_df(energies: FloatArray, temperature: float) -> FloatArray:
    """-df/dE of the Fermi-Dirac occupation, 1/eV; energies from the Fermi level, temperature in Kelvin."""
    from scipy.special import expit

    from deeph.physics.units import KELVIN

    x = energies / (KELVIN * temperature)
    return np.asarray(expit(x) * expit(-x) / (KELVIN * temperature))


def velocities_squared(g: Geometry) -> FloatArray:
    """(n_k, 9, n) v_a v_b of each level, of degenerate ones summed over the group, (eV Angstrom)^2."""
    together = g.groups[:, :, None] == g.groups[:, None, :]
    v = g.velocity * together[:, None]
    return np.asarray(np.einsum("kanm,kbmn->kabn", v, v).real.reshape(len(g.k), 9, -1))
