"""What all responses to static fields have: Fermi levels, values at each of them, and how far the integral over the zone is converged."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import UsageError
from postprocess.states.adaptive import Integral
from postprocess.states.fermi import FermiLevel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
class AgainstFermi(ABC):
    """A response against the Fermi level.

    Attributes
    ----------
    what : str
        Its name.
    energies : (m,) array
        Fermi levels, eV, on the energy zero of H.
    values : (m, c) array
        Components at each of them.
    at_fermi : (c,) array
        At the Fermi energy.
    on_meshes : (2, c) array
        The same on the coarse and on the fine mesh, before refinement.
    from_coarse : (c,) array
        The same of the coarse mesh, refined as often as the fine one.
    components : tuple of str
        Their names.
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
    at_fermi: FloatArray
    on_meshes: FloatArray
    from_coarse: FloatArray
    components: tuple[str, ...]
    unit: str
    fermi_energy: float
    fermi_origin: str
    positions: str
    temperature: float
    integral: Integral
    title: str = ""

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {x:.6g}" for name, x in zip(self.components, self.at_fermi, strict=True))
        return f"{type(self).__name__} {self.title}, {self.what}, {values} {self.unit} at E_F {self.fermi_energy:.3f} eV"

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``) or a table (``.csv``, ``.json``, ``.h5``)."""
        from deeph.files.figures import SUFFIXES, save_figure

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        else:
            self.write_table(Path(path))

    @abstractmethod
    def plot(self, **options: Any) -> "Axes":
        """Draw it against the Fermi level; options of :class:`postprocess.output.look.Look`."""

    @abstractmethod
    def write_table(self, path: Path) -> None:
        """Write a ``.csv``, ``.json`` or ``.h5``."""


def spins_of_levels(hamiltonian: Hamiltonian) -> float:
    """2 where each level holds both spins."""
    return 2.0 if hamiltonian.basis.spin == "none" else 1.0
