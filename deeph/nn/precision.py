"""How many digits a predicted matrix needs."""

import numpy as np
import numpy.typing as npt
import torch

from deeph.nn.model import HamiltonianModel
from deeph.physics.hamiltonian import Hamiltonian

ROUNDING = 1e-4  # eV; what writing H may change


def output_dtype(model: HamiltonianModel, structure: Hamiltonian) -> npt.DTypeLike:
    """Single precision, or double where its rounding would exceed 0.1 meV: from 1.7 keV on, the core levels of all-electron codes.

    Complex for spinors. A network in double precision gives double precision.

    Parameters
    ----------
    model : HamiltonianModel
        The mean on-site blocks of its training set tell how large H is, or H - H0.
    structure : Hamiltonian
        Its elements, and its H0 if the model takes one.
    """
    tables, mean = model.tables("A0"), model.baseline().atom_mean
    largest = max(float(tables.atom_blocks(z, mean(z)[None, None]).abs().max()) for z in np.unique(structure.system.numbers).tolist())
    if model.given.zeroth:
        largest += float(np.abs(structure.extra["H0"].entries).max(initial=0.0))
    double = model.dtype == torch.float64 or largest * np.finfo(np.float32).eps / 2 > ROUNDING
    if model.basis.spin == "spinor":
        return np.complex128 if double else np.complex64
    return np.float64 if double else np.float32
