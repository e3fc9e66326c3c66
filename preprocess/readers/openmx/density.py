"""The density matrix in OpenMX's ``.scfout``, and the magnetic moments of the atoms that follow from it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deeph.physics.blocks import Array, PairBlocks
from deeph.physics.system import FloatArray
from preprocess.readers.common import spinor_blocks
from preprocess.readers.openmx.scfout import Scfout


def mulliken_moments(raw: Scfout) -> FloatArray | None:
    """Magnetic moment of each atom from its share of the density matrix times the overlap.

    Parameters
    ----------
    raw : Scfout
        OpenMX keeps conj(c_m) c_n, so that the up-down part is (m_x + i m_y)/2.

    Returns
    -------
    (n_atoms, 3) array or None
        Bohr magneton; collinear moments lie along z. None for a run without spin.
    """
    if raw.spin == 0:
        return None
    sizes = raw.n_orbitals[raw.pairs[:, 3]] * raw.n_orbitals[raw.pairs[:, 4]]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    up, down, *mixed = [np.bincount(raw.pairs[:, 3], np.add.reduceat(D * raw.S, starts), len(raw.n_orbitals)) for D in raw.density]
    x, y = (2 * mixed[0], 2 * mixed[1]) if raw.spin == 3 else (np.zeros_like(up), np.zeros_like(up))
    return np.stack([x, y, up - down], axis=1)


def density_matrix(raw: Scfout, ordered: Callable[[Array], PairBlocks]) -> PairBlocks | None:
    """Rho = sum of f c c^dagger with the spin of H, Hermitian.

    Parameters
    ----------
    raw : Scfout
        The file.
    ordered : callable
        Makes blocks in the project's orbital order from entries of the file.

    Returns
    -------
    PairBlocks or None
        None for non-collinear runs before OpenMX 3.9, whose files lack the imaginary parts of the up-up and down-down blocks.
    """
    if raw.spin != 3:
        return ordered(raw.density).hermitized()
    if not len(raw.density_imaginary):
        return None
    diagonal = ordered(raw.density[:2] - 1j * raw.density_imaginary).hermitized()
    ud = ordered(raw.density[2] - 1j * raw.density[3])
    parts = np.concatenate([diagonal.entries[:1], ud.entries, ud.adjoint().entries, diagonal.entries[1:]])
    return spinor_blocks(replace(diagonal, entries=parts))
