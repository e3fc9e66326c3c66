"""PythTB: the files of Wannier90, and a ``tb_model``; its orbitals sit at the centres of the Loewdin orbitals."""

from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Divisions, Hamiltonian
from deeph.runtime.errors import UsageError
from postprocess.export.loewdin import loewdin
from postprocess.export.wannier90 import centres

NOTHING = 1e-14
"""eV; elements below are left out."""


def make(h: Hamiltonian, *, mesh: Divisions | None = None) -> Any:
    """A ``pythtb.tb_model``; spinors are orbitals of a model without spin, all up, then all down."""
    import pythtb

    if not hasattr(pythtb, "tb_model"):
        raise UsageError(
            "this is PythTB 2, whose models are built otherwise: h.export('pythtb', FOLDER), whose files its Wannier90 reader takes"
        )
    model = loewdin(h, "pythtb", mesh=mesh, positions=True)
    out = pythtb.tb_model(3, 3, model.system.cell, centres(model) @ np.linalg.inv(model.system.cell))
    home = int(np.flatnonzero(~model.R.any(axis=1))[0])
    out.set_onsite(np.diagonal(model.H[0, home]).real.tolist())
    for cell, H in zip(model.R.tolist(), model.H[0], strict=True):
        if cell < [0, 0, 0]:
            continue  # PythTB adds the adjoint itself
        for i, j in np.argwhere(np.abs(H) > NOTHING).tolist():
            if any(cell) or i < j:
                out.set_hop(complex(H[i, j]), i, j, cell)
    return out
