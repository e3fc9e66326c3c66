"""Levels around a shift by the factorization of H - sigma S and block Lanczos."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deeph.runtime.errors import DataError
from deeph.runtime.log import logger
from postprocess.eigen.factorization import SingularError
from postprocess.eigen.lanczos import Operator, nearest_pairs
from postprocess.eigen.levels import Levels

Array = npt.NDArray[Any]


class ShiftedPencil(Operator, Protocol):
    """A :class:`postprocess.eigen.pencil.Pencil`, or one with vectors projected out."""

    def factor(self, sigma: float) -> None:
        """Prepare for the shift."""

    def apply_H(self, X: Array) -> Array:
        """H X."""


def levels_around(pencil: ShiftedPencil, center: float, n: int, known: Array | None) -> tuple[float, Levels]:
    """Lanczos around an energy, nearest levels first; a shift that lies on a level is moved a little."""
    for step in (0.0, 1.7e-3, -2.3e-3, 1.1e-2):
        sigma = center + step
        try:
            pencil.factor(sigma)
            pairs = nearest_pairs(pencil, sigma, n, known=known)
        except SingularError as error:
            logger.debug("%s; the shift is moved", error)
            continue
        logger.debug("%d levels near %.4f eV after %d solves", n, sigma, pairs.n_solves)
        return sigma, _polished(pencil, sigma, pairs.vectors)
    raise DataError(f"H - E S is singular for all E near {center:.4f} eV: H and S have a common null vector, or levels are dense there")


def _polished(pencil: ShiftedPencil, sigma: float, vectors: Array) -> Levels:
    """H diagonalized within the space that was found: energies with an error quadratic in that of the vectors."""
    from scipy.linalg import eigh

    HV, SV = pencil.apply_H(vectors), pencil.apply_S(vectors)
    energies, Y = eigh(vectors.conj().T @ HV, vectors.conj().T @ SV)
    Y = Y[:, np.argsort(np.abs(energies - sigma))]
    energies = energies[np.argsort(np.abs(energies - sigma))]
    SC = SV @ Y
    residuals = np.linalg.norm(pencil.project(HV @ Y - SC * energies), axis=0) / np.linalg.norm(SC, axis=0)
    return Levels(energies, vectors @ Y, residuals, None, None)
