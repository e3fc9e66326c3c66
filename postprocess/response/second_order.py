"""Direct currents of second order in the field of light: shift current and injection current.

E(t) = E(omega) e^{-i omega t} + c.c., charge -e of the electron, pairs n, m with E_mn = E_m - E_n:

* shift: j_a = 2 sigma_abc E_b(omega) E_c(-omega), sigma_abc = -(pi e^3/4 hbar^2) int sum f_nm Im[r_b,mn r_c,nm;a + r_c,mn r_b,nm;a]
  [delta(omega_mn - omega) + delta(omega_nm - omega)]: the charge -e times the shift of the transition.
* injection: dj_a/dt = 2 eta_abc E_b(omega) E_c(-omega), eta_abc = -(pi e^3/hbar^2) int sum f_nm (v_a,mm - v_a,nn) r_b,mn r_c,nm
  delta(omega_mn - omega): the real part, symmetric in b and c, for linear light, the imaginary part for circular light.

J. E. Sipe and A. I. Shkrebtii, doi:10.1103/PhysRevB.61.5337.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.physics.units import HBAR
from deeph.runtime.errors import UsageError
from postprocess.eigen.hermitian import hermitian
from postprocess.geometry.positions import find_positions
from postprocess.lattice.mesh import Symmetry
from postprocess.response.covariant import Frame, SecondDerivatives
from postprocess.response.forbidden import Mask, forbidden_third_rank
from postprocess.response.measure import E2_OVER_HBAR, Measure, measure
from postprocess.response.transitions import Conditions, LightSettings, Pairs, filled_levels, means_in_windows
from postprocess.states.adaptive import Integral
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]
Direct = Literal["shift", "injection"]
DIRECT: tuple[str, ...] = get_args(Direct)
Kind = Literal["shift", "injection", "harmonic"]
TENSORS = {"tensor": -1, "watched": -1}
"""Arrays of :class:`SecondOrderSums` that turn with k, and the axis of their components."""


class SecondOrderSums(ABC):
    """A tensor of rank three for each photon energy at each k, a sum over pairs of levels; a BatchQuantity."""

    conditions: Conditions

    @property
    def symmetry(self) -> Symmetry:
        """With time reversal the tensor of -k is that of k, or its complex conjugate, with a sign: see the classes."""
        return "reversal" if self.conditions.reversal else "none"

    def of(self, hamiltonian: Hamiltonian) -> Callable[[FloatArray, int], Result]:
        """The function of k: ``tensor`` (n_k, m, 27); ``watched``; ``filled`` (n_k, 2): levels, and this squared."""
        basis, c = self.conditions.prepared(hamiltonian), self.conditions
        second = SecondDerivatives(basis)

        def compute(k: FloatArray, spin: int) -> Result:
            frame = Frame.at(basis, second, k, spin, c.broadening.width)
            tensor = np.array([self.spectrum(frame, n, pairs) for n, pairs in enumerate(c.pairs(frame.geometry))])
            return {"tensor": tensor, "watched": means_in_windows(tensor), "filled": filled_levels(c.occupation(frame.energies))}

        return compute

    @abstractmethod
    def spectrum(self, frame: Frame, n: int, pairs: Pairs) -> Array:
        """(m, 27) of the k-point with number n."""


@dataclass(frozen=True)
class DirectCurrent(SecondOrderSums):
    """Shift current, f_nm Im[...] delta in Angstrom^3/eV, or injection current, f_nm dv r r delta in Angstrom^3.

    With time reversal -k has the same shift, and the complex conjugate injection with the other sign.
    """

    kind: Direct
    conditions: Conditions

    def spectrum(self, frame: Frame, n: int, pairs: Pairs) -> Array:
        """(m, 27) complex."""
        c = self.conditions
        if self.kind == "injection":
            values = _injection(frame.r[n], frame.slope[n], pairs)
            values = np.asarray(1j * values.imag) if c.reversal else values
        else:
            values = _shift(frame.r[n], frame.derivative[n], pairs).astype(complex)
        return np.asarray(c.broadening.delta(pairs.step - c.photons.energies[:, None]) @ (pairs.filled[:, None] * values))


def _shift(r: Array, derivative: Array, pairs: Pairs) -> FloatArray:
    """(n_pairs, 27) 2 Im[r_b,mn r_c,nm;a + r_c,mn r_b,nm;a], m the higher level; both orders of n and m have been counted."""
    out = np.einsum("bp,acp->pabc", r[:, pairs.high, pairs.low], derivative[:, :, pairs.low, pairs.high]).imag
    return np.asarray(2 * (out + out.swapaxes(2, 3)).reshape(-1, 27))


def _injection(r: Array, slope: Array, pairs: Pairs) -> Array:
    """(n_pairs, 27) [E;a, r_b]_mn r_c,nm, m the higher level: (v_a,mm - v_a,nn) r_b,mn r_c,nm, of degenerate levels with their matrices."""
    turned = slope[:, None] @ r - r @ slope[:, None]
    return np.asarray(np.einsum("abp,cp->pabc", turned[:, :, pairs.high, pairs.low], r[:, pairs.low, pairs.high]).reshape(-1, 27))


@dataclass(frozen=True)
class SecondOrder(Savable):
    """A response of second order against the photon energy; both spins of each level are counted.

    Attributes
    ----------
    kind : {"shift", "injection", "harmonic"}
        Which one.
    energies : (m,) array
        Photon energies, eV.
    values : (m, d, d, d) array
        Components a, b, c; real for the shift current, else complex.
    coarse, fine : (m, d, d, d) arrays
        On both meshes.
    unit : str
        Of the values.
    conditions : Conditions
        Fermi level, temperature, broadening.
    fermi_origin, positions : str
        Where they come from.
    measure : Measure
        Directions and units.
    forbidden : (2, d, d, d) bool array
        Components of the real and of the imaginary part that the symmetry of structure and moments makes zero.
    integral : Integral
        How far the zone is converged.
    title : str
        Name for legends and tables.
    """

    kind: Kind
    energies: FloatArray
    values: Array
    coarse: Array
    fine: Array
    unit: str
    conditions: Conditions
    fermi_origin: str
    positions: str
    measure: Measure
    forbidden: Mask
    integral: Integral
    title: str = ""

    def __repr__(self) -> str:
        low, high = self.energies[[0, -1]]
        return f"SecondOrder {self.title}, {self.kind}, {len(self.energies)} photon energies from {low:g} to {high:g} eV, {self.positions}"

    @classmethod
    def of(
        cls,
        kind: Kind,
        quantity: SecondOrderSums,
        per: float,
        unit: str,
        hamiltonian: Hamiltonian,
        fermi: FermiLevel,
        settings: LightSettings,
    ) -> "SecondOrder":
        """The integral of a quantity over the zone, times ``per``, and twice that for levels without spin."""
        size, integral = measure(hamiltonian), settings.integrate(hamiltonian, quantity, TENSORS, 3)
        both = 2.0 if hamiltonian.basis.spin == "none" else 1.0

        def tensor(values: dict[str, Array]) -> Array:
            total = both * per * values["tensor"].sum(axis=0)
            total = total.real if kind == "shift" else total
            return np.asarray(size.turned(total.reshape(-1, 3, 3, 3), 3))

        conditions, positions = quantity.conditions, find_positions(hamiltonian, settings.source).source
        forbidden = forbidden_third_rank(kind, hamiltonian, size, reversal=conditions.reversal)
        return cls(
            kind, conditions.photons.energies, tensor(integral.value), tensor(integral.coarse), tensor(integral.fine), unit, conditions,
            fermi.origin, positions, size, forbidden, integral, settings.title,
        )  # fmt: skip

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names such as xyz, in the order of the last three axes."""
        return self.measure.components(3)

    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""
        from postprocess.output.response_tables import write_second_order

        write_second_order(path, self)

    def plot(self, **options: Any) -> "Axes":
        """Draw its components; options of :class:`postprocess.output.look.Look`."""
        from postprocess.output.response_plot import plot_second_order

        return plot_second_order(self, **options)


def direct_current(hamiltonian: Hamiltonian, kind: Direct, fermi: FermiLevel, settings: LightSettings | None = None) -> SecondOrder:
    """Shift current or injection current of one structure.

    Parameters
    ----------
    kind : {"shift", "injection"}
        Which one.
    hamiltonian, fermi, settings
        As for :func:`postprocess.response.optics.optical_response`.

    Returns
    -------
    SecondOrder
        In A/V^2 (shift) or A/(V^2 s) (injection) of a crystal; of a layer times m.

    Raises
    ------
    UsageError
        If the structure is a molecule, or the kind is none.
    DataError
        As :func:`postprocess.geometry.positions.find_positions`.
    """
    if kind not in DIRECT:
        raise UsageError(f"current {kind!r}: expected one of {', '.join(DIRECT)}")
    hamiltonian, settings = hermitian(hamiltonian), settings or LightSettings()
    size, quantity = measure(hamiltonian), DirectCurrent(kind, settings.conditions(hamiltonian, fermi))
    per = -np.pi * E2_OVER_HBAR * size.per_size(3)
    per *= 0.25 if kind == "shift" else 1 / HBAR
    unit = "A" + ("", " m", " m^2")[3 - size.dimension] + {"shift": "/V^2", "injection": "/(V^2 s)"}[kind]
    return SecondOrder.of(kind, quantity, per, unit, hamiltonian, fermi, settings)
