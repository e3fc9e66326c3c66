"""What a model is given besides atoms and neighbours: the overlap, and a zeroth-order Hamiltonian H0 to start from.

H0 is the Hamiltonian of superposed atoms, without self-consistency. It holds most of H, core levels and three-centre integrals
included, for the price of one step of the run: with it the network learns H - H0, and a prediction is H0 plus what the network says.
"""

from typing import NamedTuple

import numpy as np

from deeph.config import ModelConfig
from deeph.physics.blocks import PairBlocks
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import half_pairs
from deeph.physics.system import IntArray
from deeph.runtime.errors import ModelError

HOW = (
    "deeph-pyscf JOB.toml OUT --set output.hamiltonian=false, with the settings of the training set, writes S and H0 of new structures "
    "without a self-consistent run"
)


class Given(NamedTuple):
    """Which known matrices a model takes.

    Attributes
    ----------
    zeroth : bool
        H - H0 is learned.
    potential : bool
        Potentials of shells times S are added to H, see :mod:`deeph.nn.shell_potential`.
    """

    zeroth: bool = False
    potential: bool = False

    def __str__(self) -> str:
        settings = {"H0": self.zeroth, "potentials": self.potential}
        return ", ".join(name for name, wanted in settings.items() if wanted) or "none"

    @classmethod
    def of(cls, config: ModelConfig, have: int, number: int) -> "Given":
        """What a new model takes, where ``have`` of the ``number`` structures to train on hold H0.

        Raises
        ------
        ModelError
            If H0 is to be used and some structures lack it.
        """
        if config.zeroth == "use" and have < number:
            raise ModelError(f'model.zeroth = "use", but {number - have} of {number} structures have no H0 (hamiltonian_zeroth.h5); {HOW}')
        return cls(config.zeroth != "never" and 0 < have == number, config.potential)

    @property
    def extra(self) -> tuple[str, ...]:
        """The further matrices of structure folders that have to be read, see :data:`deeph.physics.patterns.EXTRA`."""
        return ("H0",) if self.zeroth else ()

    def check(self, structure: Hamiltonian) -> None:
        """Refuse a structure without what the model starts from.

        Raises
        ------
        ModelError
            If H0 is missing.
        """
        if self.zeroth and "H0" not in structure.extra:
            raise ModelError(f"the model predicts H - H0, and the structure has no H0 (hamiltonian_zeroth.h5): {HOW}")

    def learned(self, structure: Hamiltonian) -> PairBlocks:
        """What is to be learned, eV: H, or H - H0."""
        H = structure.hamiltonian
        return PairBlocks(H.pairs, H.shapes, H.entries - structure.extra["H0"].entries) if self.zeroth else H


NOTHING_GIVEN = Given()


def put_zeroth(H: PairBlocks, H0: PairBlocks, index: IntArray) -> None:
    """Copy the given blocks of H0, of one of each two partners, and the adjoint to the partners."""
    for _, members in H0.selected(index).groups():
        values = H0.take(index[members]).astype(H.entries.dtype)
        H.put(index[members], values)
        H.put(H.partners[index[members]], np.ascontiguousarray(values.conj().swapaxes(-1, -2)))


def beyond(pairs: IntArray, partners: IntArray, bonds: IntArray) -> IntArray:
    """Positions in the pattern of one of each two partners that the network does not look at, on-site pairs left out."""
    half = half_pairs(pairs)
    return np.asarray(half[~np.isin(half, np.concatenate([bonds, partners[bonds]]))])
