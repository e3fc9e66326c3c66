"""Kwant: a ``Builder`` of the bulk with Loewdin orbitals, one site an atom."""

from typing import Any

import numpy as np

from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.responses import Divisions
from postprocess.export.loewdin import loewdin

NOTHING = 1e-14
"""eV; blocks below are left out."""


def make(h: Hamiltonian, *, mesh: Divisions | None = None) -> Any:
    """A ``kwant.Builder`` with the translations of the lattice vectors along which H connects cells.

    A site of atom i is ``kwant.lattice.general(...).sublattices[i]`` with all its orbitals (``norbs``); leads and scattering regions are
    cut from it with ``Builder.fill``.
    """
    import kwant

    model = loewdin(h, "kwant", mesh=mesh)
    rows = [np.flatnonzero(model.orbitals.atom == atom) for atom in range(model.system.n_atoms)]
    lattice = kwant.lattice.general(
        model.system.cell.tolist(),
        model.system.positions.tolist(),
        norbs=[len(row) for row in rows],
        name=[str(atom) for atom in range(model.system.n_atoms)],
    )
    connected = model.R.any(axis=0)
    symmetry = kwant.TranslationalSymmetry(*model.system.cell[connected].tolist()) if connected.any() else None
    out = kwant.Builder(symmetry)
    home = model.H[0, int(np.flatnonzero(~model.R.any(axis=1))[0])]
    for site, row in zip(lattice.sublattices, rows, strict=True):
        out[site(0, 0, 0)] = home[np.ix_(row, row)]
    for cell, H in zip(model.R.tolist(), model.H[0], strict=True):
        if cell < [0, 0, 0]:
            continue  # Kwant adds the adjoint itself
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                block = H[np.ix_(a, b)]
                if (any(cell) or i < j) and np.abs(block).max() > NOTHING:
                    out[lattice.sublattices[i](0, 0, 0), lattice.sublattices[j](*cell)] = block
    return out
