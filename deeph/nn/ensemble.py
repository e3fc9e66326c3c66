"""Several networks for one H: their mean is the prediction, and how far they are apart tells its error."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deeph.nn.calibration import Calibration
from deeph.nn.model import HamiltonianModel
from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.system import FloatArray, IntArray
from deeph.runtime.errors import ModelError

if TYPE_CHECKING:
    from deeph.physics.hamiltonian import Hamiltonian

LEAST = 2
"""Members without which there is no spread."""


class Ensemble:
    """Networks that were trained on the same structures and differ in their seeds.

    Parameters
    ----------
    members : sequence of HamiltonianModel
        Two or more.
    calibration : Calibration
        What their spread means, see :func:`deeph.training.ensemble.make_ensemble`.

    Raises
    ------
    ModelError
        If there are too few, or they are not models of the same matrices.
    """

    def __init__(self, members: "list[HamiltonianModel]", calibration: Calibration) -> None:
        check_members({f"member {n + 1}": member for n, member in enumerate(members)})
        self.members, self.calibration = tuple(members), calibration

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.members)}, each a {self.members[0]!r}"

    def to(self, device: str) -> "Ensemble":
        """The same on another device."""
        for member in self.members:
            member.to(device)
        return self

    def predict(self, x: Any, overlap: Any = None, basis: Any = None, device: str | None = None, moments: Any = None) -> "Hamiltonian":
        """The mean H of the members, with ``error_bars``; see :meth:`deeph.nn.model.HamiltonianModel.predict`."""
        from deeph.facade import predict

        return predict(self, x, overlap, basis, device, moments)


Predictor = HamiltonianModel | Ensemble
"""What predicts an H."""


def members_of(model: Predictor) -> tuple[HamiltonianModel, ...]:
    """The networks of a model, the first of which tells what all have in common: basis, parts, cutoffs, where it comes from."""
    return model.members if isinstance(model, Ensemble) else (model,)


def check_members(members: dict[str, HamiltonianModel]) -> None:
    """ModelError unless two or more models, by their names, are of the same matrices and on a learned energy zero."""
    if len(members) < LEAST:
        raise ModelError(f"an ensemble of {len(members)}: expected {LEAST} models or more, since its error bars are their differences")
    names = list(members)
    first = _alike(members[names[0]])
    for name in names[1:]:
        for what, value in _alike(members[name]).items():
            if value != first[what]:
                raise ModelError(f"{name} has the {what} {value}, but {names[0]} {first[what]}: not one ensemble")
    if free := [name for name, member in members.items() if member.free_zero]:
        raise ModelError(
            f"{free[0]} leaves the energy zero of H free (its training data had different ones): members of an ensemble would lie on "
            'different ones, and their mean on none; give the data one zero, or train with loss.energy_zero = "learned"'
        )


def _alike(model: HamiltonianModel) -> dict[str, Any]:
    return {
        "orbitals": model.basis.to_symbols(),
        "spin": model.basis.spin,
        "parts of H": [part.name for part in model.spin],
        "cutoffs": model.cutoffs,
        "magnetic elements": model.magnetic,
        "known matrices": model.given,
        "precision": str(model.dtype),
    }


@dataclass(frozen=True)
class MeanBlocks(PairBlocks):
    """Blocks of the mean of several members: what one member puts into it after ``n_before`` others is averaged with what is there.

    Attributes
    ----------
    n_before : int
        Members whose mean is there.
    squares : (n_pairs,) array
        Summed squared deviations from the mean, over the elements of each block; updated block by block (B. P. Welford,
        doi:10.1080/00401706.1962.10490022), so that no member's H is kept.
    own : PairBlocks or None
        Where the blocks of this member go, too.
    """

    n_before: int = 0
    squares: FloatArray = field(default_factory=lambda: np.zeros(0))
    own: PairBlocks | None = None

    def put(self, index: IntArray, blocks: Array) -> None:
        """Average blocks with those that are there."""
        if self.own is not None:
            self.own.put(index, blocks)
        if self.n_before == 0:
            super().put(index, blocks)
            return
        mean = self.take(index)
        off = blocks - mean
        share = 1 / (self.n_before + 1)
        self.squares[index] += (1 - share) * (np.abs(off) ** 2).sum(axis=(0, 2, 3), dtype=float)
        super().put(index, mean + share * off)
