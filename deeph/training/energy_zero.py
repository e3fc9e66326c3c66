"""One energy zero or several? H and H + mu S are the same physics, and data from several sources may have a mu each.

A network cannot know where a structure was given its zero. Where the zeros scatter, the error is measured without its part
mu S, mu = <dH, S>/<S, S>, in training and in all metrics, and the baseline is fitted to H without it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from deeph.config import LossConfig
from deeph.inference import predict_anyway
from deeph.nn.fit import Structures
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import PairBlocks, energy_zero
from deeph.physics.hamiltonian import Hamiltonian
from deeph.runtime.log import logger
from deeph.training.evaluate import baseline_alone

MAX_LOOKED_AT = 50
"""Structures, evenly spread, whose zeros are compared."""
MAX_SCATTER, MAX_SCATTER_OF_FORMULAS = 0.2, 0.5
"""Standard deviations of mu up to which one zero is taken for granted, eV: of one formula, and of several, after a linear function of the
composition was taken out. Clean data have 0.02 to 0.03 (displaced bilayers of graphene, boron nitride) and 0.24 (molecules)."""


class Scatter(NamedTuple):
    """Mean of mu over the structures, its standard deviation beyond what the composition explains, and what is accepted, eV."""

    mean: float
    deviation: float
    accepted: float

    @property
    def mixed(self) -> bool:
        """Whether the structures have different energy zeros."""
        return self.deviation > self.accepted


def rest_of(structure: Hamiltonian, baseline: HamiltonianModel) -> tuple[PairBlocks, float]:
    """What the baseline leaves of H, eV, and the mu in it."""
    H = structure.hamiltonian
    rest = PairBlocks(H.pairs, H.shapes, H.entries - predict_anyway(baseline, structure).hamiltonian.entries)
    return rest, energy_zero(rest, structure.S)


def scatter_of_zeros(structures: Structures, baseline: HamiltonianModel) -> Scatter:
    """Compare the energy zeros of some structures.

    Parameters
    ----------
    structures : sequence of Hamiltonian
        Not all are looked at if they are many.
    baseline : HamiltonianModel
        Fitted to them; see :func:`deeph.training.evaluate.baseline_alone`.
    """
    n = len(structures)
    mus, fractions = [], []
    for number in np.unique(np.linspace(0, n - 1, min(n, MAX_LOOKED_AT)).astype(int)).tolist():
        structure = structures[number]
        mus.append(rest_of(structure, baseline)[1])
        fractions.append([float((structure.system.numbers == z).mean()) for z in baseline.basis.shells])
    mu, composition = np.array(mus), np.array(fractions)
    left = mu - composition @ np.linalg.lstsq(composition, mu, rcond=None)[0]
    one = bool(np.ptp(composition, axis=0).max() < 1e-9)
    return Scatter(float(mu.mean()), float(left.std()), MAX_SCATTER if one else MAX_SCATTER_OF_FORMULAS)


class OneZero:
    """Structures whose H got one energy zero: H - (mu - mean) S, with the mu of what a baseline leaves; their mean zero is kept."""

    def __init__(self, structures: Structures, baseline: HamiltonianModel) -> None:
        self.structures, self.baseline = structures, baseline
        self.mean = scatter_of_zeros(structures, baseline).mean

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, number: int, /) -> Hamiltonian:
        structure = self.structures[number]
        H, (_, mu) = structure.hamiltonian, rest_of(structure, self.baseline)
        return replace(structure, H=replace(H, entries=H.entries - (mu - self.mean) * structure.S.entries))


def fit_with_zero(fit: Callable[[Structures], HamiltonianModel], structures: Structures, config: LossConfig) -> HamiltonianModel:
    """Fit a model, and once more without the energy zeros where the structures have different ones.

    Parameters
    ----------
    fit : callable
        Makes a model from structures; the weights are to be the same in each call.
    structures : sequence of Hamiltonian
        The training set.
    config : LossConfig
        ``energy_zero`` decides, or leaves it to the data.

    Returns
    -------
    HamiltonianModel
        With ``free_zero`` set where the zero is not learned.
    """
    model = fit(structures)
    if config.energy_zero == "learned":
        return model
    scatter = scatter_of_zeros(structures, baseline_alone(model))
    if scatter.mixed and config.energy_zero == "auto":
        logger.warning(
            "the structures have different energy zeros: mu = <dH, S>/<S, S> of what the baseline leaves scatters by %.3g eV. The zero is "
            "left free: errors do not count it, and that of a prediction is arbitrary "
            '(loss.energy_zero = "learned" trains on H as it is)',
            scatter.deviation,
        )
    elif config.energy_zero == "auto":
        logger.info("energy zeros agree: mu scatters by %.2g meV", 1e3 * scatter.deviation)
        return model
    model = fit(OneZero(structures, baseline_alone(model)))
    model.free_zero = True
    return model
