"""Optical conductivity, dielectric function and joint density of states.

chi_ab(E) = (e^2 / eps0) int d^dk/(2 pi)^d sum_nm (f_n - f_m) r_a,nm r_b,mn / (E_m - E_n - E - i0), and sigma = -i omega eps0 chi + the
anomalous Hall conductivity + the Drude peak (e^2/hbar) i D / (E + i hbar/tau), D = int sum (-df/dE) v_a v_b.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import CODATA
from deeph.runtime.errors import UsageError
from postprocess.eigen.band_symmetries import make_mesh
from postprocess.eigen.hermitian import hermitian
from postprocess.eigen.solver import compute_energies
from postprocess.geometry.positions import find_positions
from postprocess.lattice.mesh import Divisions
from postprocess.response.forbidden import Mask, forbidden_conductivity
from postprocess.response.measure import E2_OVER_HBAR, METRE, Measure, measure, unit_of
from postprocess.response.transitions import ABSORPTION, Absorption, Conditions, LightSettings, levels_cross
from postprocess.states.adaptive import Integral
from postprocess.states.fermi import FermiLevel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
E2_OVER_EPS0 = 4 * np.pi * CODATA.hartree * CODATA.bohr
"""eV Angstrom."""
IMPEDANCE = 376.730313412
"""Of the vacuum, Ohm (CODATA 2022)."""
NOTHING = 1e-6
"""eV Angstrom^2; a smaller Drude weight is the tail of levels far from the Fermi level."""


@dataclass(frozen=True)
class OpticalResponse(Savable):
    """What a structure answers to light of long wavelength; both spins of each level are counted.

    Tensors have the directions ``measure.names`` on their last two axes.

    Attributes
    ----------
    energies : (m,) array
        Photon energies, eV.
    susceptibility : (m, d, d) complex array
        Of transitions between levels; without a unit for a crystal, Angstrom for a layer, Angstrom^2 for a chain.
    hall : (d, d) array
        Anomalous Hall conductivity, by the Kubo sum.
    drude_weight : (d, d) array
        D in (e^2/hbar) D: eV S/m of a crystal, eV S of a layer. Divided by hbar/tau it is the conductivity.
    relaxation : float
        hbar/tau, eV.
    joint : (m,) array
        Joint density of states, 1/eV and cell.
    conditions : Conditions
        Fermi level, temperature, broadening.
    fermi_origin, positions : str
        Where they come from.
    measure : Measure
        Directions and units.
    forbidden : (d, d) bool array
        Components that the symmetry of structure and moments makes zero.
    integral : Integral
        How far the zone is converged.
    sigma_coarse, sigma_fine : (m, d, d) complex arrays
        Of transitions between levels, on both meshes.
    title : str
        Name for legends and tables.
    """

    energies: FloatArray
    susceptibility: Array
    hall: FloatArray
    drude_weight: FloatArray
    relaxation: float
    joint: FloatArray
    conditions: Conditions
    fermi_origin: str
    positions: str
    measure: Measure
    forbidden: Mask
    integral: Integral
    sigma_coarse: Array
    sigma_fine: Array
    title: str = ""

    def __repr__(self) -> str:
        low, high = self.energies[[0, -1]]
        return f"OpticalResponse {self.title}, {len(self.energies)} photon energies from {low:g} to {high:g} eV, {self.positions}"

    @property
    def unit(self) -> str:
        """Of the conductivity."""
        return unit_of("S", 2 - self.measure.dimension)

    @property
    def interband(self) -> Array:
        """(m, d, d) conductivity of transitions between levels, without Drude peak."""
        per_eV = E2_OVER_HBAR / E2_OVER_EPS0 * METRE ** (2 - self.measure.dimension)
        return np.asarray(self.hall - 1j * per_eV * self.energies[:, None, None] * self.susceptibility)

    @property
    def drude(self) -> Array:
        """(m, d, d) conductivity of the Drude peak."""
        return np.asarray(1j * self.drude_weight / (self.energies[:, None, None] + 1j * self.relaxation))

    @property
    def sigma(self) -> Array:
        """(m, d, d) conductivity."""
        return self.interband + self.drude

    @property
    def epsilon(self) -> Array:
        """(m, 3, 3) dielectric function of a crystal; infinite or NaN at E = 0 where there is a direct current.

        Raises
        ------
        UsageError
            Of layers and chains, which have none.
        """
        if self.measure.dimension < 3:
            raise UsageError("only a crystal has a dielectric function; a layer has its sheet conductivity and its susceptibility")
        moving = self.hall + self.drude
        with np.errstate(divide="ignore", invalid="ignore"):  # of a metal it is infinite at zero energy
            divided = np.where(np.abs(moving) > 0, 1j * E2_OVER_EPS0 / E2_OVER_HBAR * METRE * moving / self.energies[:, None, None], 0)
        return np.asarray(np.eye(3) + self.susceptibility + divided)

    @property
    def electronic(self) -> FloatArray:
        """(d, d) at the first photon energy, zero unless chosen: eps_inf of a crystal with fixed ions, else the susceptibility."""
        return np.asarray(self.susceptibility[0].real + np.eye(3) if self.measure.dimension == 3 else self.susceptibility[0].real)

    @property
    def plasma_energy(self) -> FloatArray:
        """(3,) hbar omega_p along x, y, z of the Drude peak of a crystal, eV."""
        if self.measure.dimension < 3:
            raise UsageError("only a crystal has a plasma energy; a layer has its Drude weight")
        return np.asarray(np.sqrt(np.maximum(self.drude_weight.diagonal(), 0) * E2_OVER_EPS0 / E2_OVER_HBAR * METRE))

    @property
    def absorbance(self) -> FloatArray:
        """(m, d) part of normally incident light that a free layer absorbs, to first order: Re sigma times the impedance of the vacuum."""
        if self.measure.dimension != 2:
            raise UsageError("the absorbance is that of a layer")
        return np.asarray(IMPEDANCE * np.einsum("maa->ma", self.sigma.real))

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.response_tables import write_optics

        write_optics(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw the conductivity; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.response_plot import plot_optics

        return plot_optics(self, **options)


def optical_response(hamiltonian: Hamiltonian, fermi: FermiLevel, settings: LightSettings | None = None) -> OpticalResponse:
    """Optical conductivity of one structure.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Periodic in at least one direction; H and S are made Hermitian.
    fermi : FermiLevel
        Its energy separates filled from empty levels.
    settings : LightSettings, optional
        Mesh, photon energies, widths.

    Raises
    ------
    UsageError
        If the structure is a molecule, or a number is out of range.
    DataError
        As :func:`postprocess.geometry.positions.find_positions`.
    """
    hamiltonian, settings = hermitian(hamiltonian), settings or LightSettings()
    size, conditions = measure(hamiltonian), settings.conditions(hamiltonian, fermi)
    integral = settings.integrate(hamiltonian, Absorption(conditions), ABSORPTION, 2)
    both = 2.0 if hamiltonian.basis.spin == "none" else 1.0
    energies = conditions.photons.energies

    def tensor(values: dict[str, Array], name: str) -> Array:
        total = both * values[name].sum(axis=0)
        return np.asarray(size.turned(total.reshape(*total.shape[:-1], 3, 3), 2))

    def interband(values: dict[str, Array]) -> Array:
        flow = tensor(values, "hall") - 1j * energies[:, None, None] * tensor(values, "chi")
        return np.asarray(E2_OVER_HBAR * size.per_size(2) * flow)

    drude = tensor(integral.value, "drude")
    if conditions.temperature == 0 and not levels_cross(integral.value["filled"]):
        drude = np.zeros_like(drude)  # of an insulator the peak at the Fermi level has nothing but its tails
    return OpticalResponse(
        energies, E2_OVER_EPS0 / size.size * tensor(integral.value, "chi"),
        hall=E2_OVER_HBAR * size.per_size(2) * tensor(integral.value, "hall"),
        drude_weight=E2_OVER_HBAR * size.per_size(2) * np.where(np.abs(drude) < NOTHING, 0, drude), relaxation=settings.relaxation,
        joint=both * integral.value["joint"].sum(axis=0), conditions=conditions, fermi_origin=fermi.origin,
        positions=find_positions(hamiltonian, settings.source).source, measure=size,
        forbidden=forbidden_conductivity(hamiltonian, size, reversal=conditions.reversal), integral=integral,
        sigma_coarse=interband(integral.coarse), sigma_fine=interband(integral.fine), title=settings.title,
    )  # fmt: skip


def smallest_direct_gap(hamiltonian: Hamiltonian, divisions: Divisions, conditions: Conditions) -> tuple[float, FloatArray]:
    """The smallest distance of a filled and an empty level at one k of a mesh (eV, scissor included), and this k (3,)."""
    hamiltonian = hermitian(hamiltonian)
    mesh = make_mesh(hamiltonian, divisions)
    energies = compute_energies(hamiltonian, mesh.points)
    below = np.where(energies < conditions.fermi_energy, energies, -np.inf).max(axis=-1)
    above = np.where(energies < conditions.fermi_energy, np.inf, energies).min(axis=-1)
    gap = (above - below).min(axis=0)
    place = int(np.argmin(gap))
    return float(gap[place]) + conditions.scissor, mesh.points[place]
