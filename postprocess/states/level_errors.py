"""Error bars of levels, to first order, from the modes of the error of a predicted H; see :mod:`deeph.physics.error_bars`."""

from dataclasses import dataclass
from typing import ClassVar

from deeph.physics.error_bars import bloch_modes, level_errors
from deeph.physics.system import FloatArray
from postprocess.states.states import States

LEVEL_ERROR = "level error"
"""Label of the standard deviations of levels, eV, among the weights of bands."""


@dataclass(frozen=True)
class LevelErrors:
    """Standard deviation of each level, eV; a projector for Hamiltonians whose error bars have modes."""

    signed: ClassVar[bool] = True  # no share
    same_at: ClassVar[str] = "-k"

    def __call__(self, states: States) -> dict[str, FloatArray]:
        """Of the states at one k."""
        modes = bloch_modes(states.hamiltonian.error_bloch, states.k, states.hamiltonian.basis.n_spin, states.spin)
        return {LEVEL_ERROR: level_errors(states.energies, states.C, modes)}
