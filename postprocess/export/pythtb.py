"""PythTB: the files of Wannier90, and a model; its orbitals sit at the centres of the Loewdin orbitals."""

from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from postprocess.export.loewdin import loewdin
from postprocess.export.wannier90 import centres

NOTHING = 1e-14
"""eV; elements below are left out."""


def make(h: Hamiltonian, *, mesh: Divisions | None = None) -> Any:
    """A ``pythtb.TBModel``, or ``tb_model`` of PythTB 1; spinors are orbitals of a model without spin, all up, then all down."""
    import pythtb

    model = loewdin(h, "pythtb", mesh=mesh, positions=True)
    cell, places = model.system.cell, centres(model) @ np.linalg.inv(model.system.cell)
    if hasattr(pythtb, "TBModel"):
        out = pythtb.TBModel(pythtb.Lattice(cell, places, periodic_dirs=[0, 1, 2]))
    else:
        out = pythtb.tb_model(3, 3, cell, places)
    home = int(np.flatnonzero(~model.R.any(axis=1))[0])
    out.set_onsite(np.diagonal(model.H[0, home]).real.tolist())
    for R, H in zip(model.R.tolist(), model.H[0], strict=True):
        if R < [0, 0, 0]:
            continue  # PythTB adds the adjoint itself
        for i, j in np.argwhere(np.abs(H) > NOTHING).tolist():
            if any(R) or i < j:
                out.set_hop(complex(H[i, j]), i, j, R)
    return out
