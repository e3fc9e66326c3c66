"""What all responses to static fields have: Fermi levels, values at each of them, and how far the integral over the zone is converged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.files.savable import Savable
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.geometry.allowed import named, what_is_zero, zero_to_rounding
from postprocess.states.adaptive import Integral
from postprocess.states.fermi import FermiLevel
from postprocess.states.kjobs import Result


@dataclass(frozen=True)
class FermiScan:
    """Fermi levels from ``low`` to ``high`` (eV from the Fermi energy), how many, and the temperature of the occupation in Kelvin.

    Raises
    ------
    UsageError
        If they do not ascend, or the temperature is negative.
    """

    low: float = 0.0
    high: float = 0.0
    points: int = 1
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if not (-np.inf < self.low <= self.high < np.inf and self.points >= 1 and 0 <= self.temperature < np.inf):
            raise UsageError(
                f"{self.points} Fermi levels from {self.low:g} to {self.high:g} eV at {self.temperature:g} K: expected one or more, the "
                "lower end first, and a temperature of zero or more"
            )

    def energies(self, fermi: FermiLevel) -> FloatArray:
        """(points,) eV, on the energy zero of H."""
        return fermi.energy + np.linspace(self.low, self.high, self.points)


@dataclass(frozen=True, kw_only=True, repr=False)
class AgainstFermi(Savable):
    """A response against the Fermi level.

    Attributes
    ----------
    what : str
        Its name.
    energies : (m,) array
        Fermi levels, eV, on the energy zero of H.
    values, errors : (m, c) array
        Components at each of them, and how far each is converged: the larger one of what the last round of refinement changed and of the
        difference to the mesh half as fine, refined as often.
    at_fermi, error_at_fermi : (c,) array
        The same at the Fermi energy.
    on_meshes : (2, c) array
        The same on the coarse and on the fine mesh, before refinement.
    from_coarse : (c,) array
        The same of the coarse mesh, refined as often as the fine one.
    components : tuple of str
        Their names.
    forbidden : (c,) bool array
        Those that the symmetry of structure and moments makes zero, see :mod:`postprocess.geometry.allowed`.
    unit : str
        Of the values.
    fermi_energy : float
        eV.
    fermi_origin, positions : str
        Where they come from.
    temperature : float
        Of the occupation, Kelvin.
    integral : Integral
        How far the zone is converged, at all Fermi levels.
    title : str
        Name for legends and tables.
    """

    what: str
    energies: FloatArray
    values: FloatArray
    errors: FloatArray
    at_fermi: FloatArray
    error_at_fermi: FloatArray
    on_meshes: FloatArray
    from_coarse: FloatArray
    components: tuple[str, ...]
    forbidden: npt.NDArray[np.bool_]
    unit: str
    fermi_energy: float
    fermi_origin: str
    positions: str
    temperature: float
    integral: Integral
    title: str = ""

    def __repr__(self) -> str:
        shown = zip(self.components, self.at_fermi, self.zero, strict=True)
        values = ", ".join(f"{name} {x:.6g}" for name, x, zero in shown if not zero)
        others = f", zero to rounding: {named(self.components, self.zero)}" if self.zero.any() else ""
        return f"{type(self).__name__} {self.title}, {self.what}, {values} {self.unit} at E_F {self.fermi_energy:.3f} eV{others}"

    @property
    def everything(self) -> FloatArray:
        """(m + 2, c) values at the Fermi energy, the same from the coarse mesh, and at all Fermi levels."""
        return np.concatenate([self.at_fermi[None], self.from_coarse[None], self.values])

    @property
    def zero(self) -> npt.NDArray[np.bool_]:
        """(c,) components of the size of rounding, see :func:`postprocess.geometry.allowed.zero_to_rounding`."""
        return zero_to_rounding(self.everything)

    def describe_convergence(self) -> list[str]:
        """Of the components themselves, in lines of text: what is zero by symmetry or to rounding, how far the others are converged."""
        zero = what_is_zero(self.components, self.everything, self.forbidden, self.unit)
        lines = [zero] if zero else []
        if len(self.energies) > 1:
            error = np.nan_to_num(self.errors).max(axis=1)
            worst = int(np.argmax(error))
            where = f"{self.energies[worst] - self.fermi_energy:+.3f} eV"
            lines.append(
                f"error about {self.error_at_fermi.max():.2g} {self.unit} at the Fermi level; of {len(error)} levels half are below "
                f"{np.median(error):.2g}, the largest is {error[worst]:.2g} at {where}"
            )
        return lines


def values_of(integral: Integral, make: Callable[[Result], FloatArray]) -> dict[str, Any]:
    """What an integral gives to an :class:`AgainstFermi`.

    Parameters
    ----------
    integral : Integral
        Over the zone.
    make : function
        Of its means at one stage to (1 + m, c) values, those at the Fermi energy first.
    """
    stages = (integral.value, integral.coarse, integral.fine, integral.coarse_value, integral.before)
    best, coarse, fine, other, before = map(make, stages)
    errors = np.maximum(np.abs(best - other), np.abs(best - before))
    return {
        "values": best[1:], "errors": errors[1:], "at_fermi": best[0], "error_at_fermi": errors[0], "from_coarse": other[0],
        "on_meshes": np.stack([coarse[0], fine[0]]), "integral": integral,
    }  # fmt: skip


def spins_of_levels(hamiltonian: Hamiltonian) -> float:
    """2 where each level holds both spins."""
    return 2.0 if hamiltonian.basis.spin == "none" else 1.0
