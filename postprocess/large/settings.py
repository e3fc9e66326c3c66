"""What the conductivity of a large cell is asked for with."""

from dataclasses import dataclass, field

import numpy as np

from deeph.runtime.errors import UsageError
from postprocess.eigen.options import SolverOptions
from postprocess.geometry.positions import Source
from postprocess.large.kubo import PairFunctions
from postprocess.lattice.mesh import Divisions
from postprocess.response.light import Photons
from postprocess.states.kjobs import Jobs


@dataclass(frozen=True)
class ConductivitySettings:
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
    options : SolverOptions
        Which factorization; ``single`` for everything in single precision, which takes half of the memory.
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
    options: SolverOptions = field(default_factory=SolverOptions)
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
