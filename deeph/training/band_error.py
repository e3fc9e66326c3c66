"""Band errors of a model on a few chosen structures: what the errors of H mean for the levels one looks at.

Counted are the DFT levels up to 2 eV above the Fermi level (all occupied ones and the lowest empty ones), at Gamma and at 1/2 and 1/3 of
every reciprocal vector along which blocks reach other cells, band by band in ascending order, on the energy zero of H if it is learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeph.files.dataset import Dataset
from deeph.inference import predict_anyway as predict
from deeph.nn.model import HamiltonianModel
from deeph.physics.eigenvalues import solve_at_k
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError

WINDOW = 2.0
"""Levels up to this far above the Fermi level count, eV."""

FRACTIONS = (0.0, 1 / 2, 1 / 3)
"""k along every direction with neighbours in other cells, in units of the reciprocal vectors."""


@dataclass(frozen=True)
class BandReference:
    """DFT levels of one structure.

    Attributes
    ----------
    structure : Hamiltonian
        With the DFT H.
    k : (n_k, 3) array
        Fractional wave vectors.
    energies : (n_spin, n_k, n_bands) array
        eV, ascending.
    counted : (n_spin, n_k, n_bands) bool array
        Which levels count.
    """

    structure: Hamiltonian
    k: FloatArray
    energies: FloatArray
    counted: npt.NDArray[np.bool_]

    def error(self, model: HamiltonianModel) -> float:
        """Mean absolute error of the levels that count, meV; of a model whose energy zero is free, after the best common shift."""
        difference = (levels(predict(model, self.structure), self.k) - self.energies)[self.counted]
        shift = float(np.median(difference)) if model.free_zero else 0.0
        return 1e3 * float(np.abs(difference - shift).mean())


def make_reference(structure: Hamiltonian) -> BandReference:
    """Diagonalize the DFT H.

    Raises
    ------
    DataError
        If neither Fermi level nor number of electrons is known, or S(k) is not positive definite.
    """
    k = np.outer(FRACTIONS, structure.S.pairs[:, :3].any(axis=0))
    energies = levels(structure, k)
    return BandReference(structure, k, energies, energies <= fermi_level(structure, energies) + WINDOW)


def fermi_level(structure: Hamiltonian, energies: FloatArray) -> float:
    """The Fermi level of the DFT code, or else the highest level that the electrons fill at the given k-points, eV."""
    if structure.fermi_energy is not None:
        return structure.fermi_energy
    if structure.n_electrons is None:
        raise DataError("the Fermi level is not known: info.json holds neither 'fermi_energy_eV' nor 'occupation'")
    per_level = 2 if structure.basis.spin == "none" else 1
    filled = round(structure.n_electrons * energies.shape[1] / per_level)
    if not 0 < filled <= energies.size:
        raise DataError(f"{structure.n_electrons:g} electrons (occupation in info.json) do not fit into {energies.shape[2]} bands")
    return float(np.sort(energies, axis=None)[filled - 1])


def levels(structure: Hamiltonian, k: FloatArray) -> FloatArray:
    """(n_spin, n_k, n_bands) energies, eV, one k-point in memory at a time."""
    H, S = structure.H_bloch, structure.S_bloch
    return np.array([[solve_at_k(H.dense(q, component=c), S.dense(q), q) for q in k] for c in range(H.n_components)])


def make_references(dataset: Dataset, names: Sequence[str]) -> list[BandReference]:
    """References of some structures of a dataset; errors name the structure."""
    references = []
    for name in names:
        try:
            references.append(make_reference(dataset.read(name)))
        except DataError as error:
            raise DataError(f"{name} (train.band_structures): {error}") from error
    return references


def band_mae(model: HamiltonianModel, references: Sequence[BandReference]) -> float:
    """Mean over the structures of their band errors, meV."""
    return float(np.mean([reference.error(model) for reference in references]))
