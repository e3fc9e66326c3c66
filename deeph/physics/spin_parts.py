"""The spin structure of a matrix: H = A0 + i B0 + sum_a (A_a + i B_a) sigma_a with real A0, B0, A_a, B_a in real orbitals.

Of a Hermitian matrix the A are symmetric and the B antisymmetric under the exchange of (i, j, R) and (j, i, -R) with the transpose.
Time reversal sigma_y H* sigma_y leaves A0 and B_a as they are and changes the sign of B0 and A_a: without magnetism there are only the
spin-free part A0 and the spin-orbit part B_a. Collinear spins have A0, the mean of up and down, and A_z, half their difference.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deeph.physics.basis import Spin
from deeph.runtime.errors import DataError

Array = npt.NDArray[Any]
PartName = Literal["A0", "B0", "A", "B"]
PARTS: tuple[PartName, ...] = ("A0", "B0", "A", "B")
"""In this order everywhere. Without time reversal symmetry all four may be there."""


def split_spin(blocks: Array, spin: Spin) -> dict[PartName, Array]:
    """The parts of equally shaped blocks.

    Parameters
    ----------
    blocks : (n_components, n, rows, columns) array
        As :meth:`deeph.physics.blocks.PairBlocks.take` gives them: one real matrix, two real ones (collinear), or one complex spinor matrix
        [[uu, ud], [du, dd]].
    spin : {"none", "collinear", "spinor"}
        Of the matrix.

    Returns
    -------
    dict of str to (n, n_a, rows, columns) array
        ``A0`` alone without spin; ``A0`` and ``A`` (n_a = 1, along z) of collinear spins; all four of spinors, where ``A`` and ``B`` have
        n_a = 3 (x, y, z), and rows and columns are spatial orbitals. ``A0`` and ``B0`` have n_a = 1.
    """
    if spin == "none":
        return {"A0": blocks[0][:, None]}
    if spin == "collinear":
        up, down = blocks
        return {"A0": (up + down)[:, None] / 2, "A": (up - down)[:, None] / 2}
    n, rows, columns = blocks.shape[1:]
    parts = blocks[0].reshape(n, 2, rows // 2, 2, columns // 2)
    uu, ud, du, dd = parts[:, 0, :, 0], parts[:, 0, :, 1], parts[:, 1, :, 0], parts[:, 1, :, 1]
    scalar, vector = (uu + dd)[:, None] / 2, np.stack([ud + du, 1j * (ud - du), uu - dd], axis=1) / 2
    return {"A0": scalar.real, "B0": scalar.imag, "A": vector.real, "B": vector.imag}


def join_spin(parts: dict[PartName, Array], spin: Spin) -> Array:
    """The reverse of :func:`split_spin`; parts of a spinor that are not given are zero.

    Raises
    ------
    DataError
        If ``A0`` is missing.
    """
    if "A0" not in parts:
        raise DataError(f"the parts {sorted(parts)} of a matrix lack the spin-free one, A0")
    mean = parts["A0"][:, 0]
    if spin == "none":
        return np.asarray(mean[None])
    if spin == "collinear":
        half = parts["A"][:, 0] if "A" in parts else np.zeros_like(mean)
        return np.stack([mean + half, mean - half])
    n, rows, columns = mean.shape
    scalar = mean + 1j * parts["B0"][:, 0] if "B0" in parts else mean
    x, y, z = np.moveaxis(_vector(parts, mean), 1, 0)
    out = np.empty((1, n, 2, rows, 2, columns), np.result_type(mean, np.complex64))
    out[0, :, 0, :, 0], out[0, :, 0, :, 1] = scalar + z, x - 1j * y
    out[0, :, 1, :, 0], out[0, :, 1, :, 1] = x + 1j * y, scalar - z
    return out.reshape(1, n, 2 * rows, 2 * columns)


def _vector(parts: dict[PartName, Array], mean: Array) -> Array:
    """(n, 3, rows, columns) A + i B."""
    n, rows, columns = mean.shape
    out = np.zeros((n, 3, rows, columns), np.result_type(mean, np.complex64))
    if "A" in parts:
        out += parts["A"]
    if "B" in parts:
        out += 1j * parts["B"]
    return out
