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
from deeph.physics.system import FloatArray
from deeph.runtime.log import logger
from deeph.training.evaluate import baseline_alone

MAX_LOOKED_AT = 50
"""Structures, evenly spread, whose zeros are compared."""
MAX_SCATTER, MAX_ATOMS = 0.2, 3.0
"""Standard deviations of mu up to which one zero is taken for granted, after a linear function of the composition was taken out: in eV,
and in units of what the differences between the atoms of a structure lead to. Clean data have 0.02 to 0.03 eV and 0.4 units (displaced
bilayers of graphene), and 0.10 to 0.24 eV and 0.6 to 1.6 units (molecules of one formula or of many)."""


class Scatter(NamedTuple):
    """Mean of mu over the structures, its standard deviation beyond what the composition explains, and what is accepted, eV.

    The deviation is NaN if there are not more structures than compositions that are linearly independent.
    """

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

    mu of a structure is about the mean of what its atoms have, which differs between the atoms of one structure as well, by their
    surroundings: where these scatter by s, mu of N independent atoms scatters by s / sqrt(N) although there is one zero.

    Parameters
    ----------
    structures : sequence of Hamiltonian
        Not all are looked at if they are many.
    baseline : HamiltonianModel
        Fitted to them; see :func:`deeph.training.evaluate.baseline_alone`.
    """
    n = len(structures)
    mus, fractions, atoms = [], [], []
    for number in np.unique(np.linspace(0, n - 1, min(n, MAX_LOOKED_AT)).astype(int)).tolist():
        structure = structures[number]
        rest, mu = rest_of(structure, baseline)
        element = np.equal.outer(structure.system.numbers, list(baseline.basis.shells)).astype(float)
        mus.append(mu)
        fractions.append(element.mean(axis=0))
        atoms.append((_of_atoms(rest, structure), element))
    within = _deviation(*(np.concatenate([x - x.mean(axis=0) for x in parts]) for parts in zip(*atoms, strict=True)))
    deviation = _deviation(np.array(mus), np.array(fractions))
    n_atoms = sum(len(own) for own, _ in atoms) / len(mus)
    return Scatter(float(np.mean(mus)), deviation, max(MAX_SCATTER, MAX_ATOMS * within / n_atoms**0.5))


def _of_atoms(rest: PairBlocks, structure: Hamiltonian) -> FloatArray:
    """(n_atoms,) <dH, S>/<S, S> of the blocks of each atom, eV."""
    S = structure.S
    S = S.to_spinor() if (rest.shapes != S.shapes).any() else S
    product, square = (np.add.reduceat((blocks.entries.real * S.entries).sum(axis=0), S.offsets[:-1]) for blocks in (rest, S))
    atom = S.pairs[:, 3]
    return np.asarray(np.bincount(atom, product) / np.bincount(atom, square) / rest.n_components)


def _deviation(values: FloatArray, functions: FloatArray) -> float:
    """Standard deviation of (n,) values beyond the best combination of (n, m) functions; NaN if these explain any values."""
    coefficients, _, rank, _ = np.linalg.lstsq(functions, values, rcond=None)
    free = len(values) - int(rank)
    return float(np.sqrt(((values - functions @ coefficients) ** 2).sum() / free)) if free else float("nan")


class OneZero:
    """Structures whose H got one energy zero: H - (mu - mean) S, with the mu of what a baseline leaves; their mean zero is kept."""

    def __init__(self, structures: Structures, baseline: HamiltonianModel) -> None:
        self.structures, self.baseline = structures, baseline
        self.mean = scatter_of_zeros(structures, baseline).mean

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, number: int, /) -> Hamiltonian:
        structure = self.structures[number]
        H, S, (_, mu) = structure.hamiltonian, structure.S, rest_of(structure, self.baseline)
        S = S.to_spinor() if (H.shapes != S.shapes).any() else S
        return replace(structure, H=replace(H, entries=H.entries - (mu - self.mean) * S.entries))


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
        if np.isnan(scatter.deviation):
            logger.info("energy zeros are taken for one: no two structures are alike enough in composition to compare theirs")
        else:
            logger.info("energy zeros agree: mu scatters by %.3g meV beyond what the composition explains, and differences between the "
                        "atoms of a structure account for up to %.3g meV", 1e3 * scatter.deviation, 1e3 * scatter.accepted)  # fmt: skip
        return model
    model = fit(OneZero(structures, baseline_alone(model)))
    model.free_zero = True
    return model
